//! `token`: makes and explains tokens with the secret of the settings.

use std::process::ExitCode;

use uuid::Uuid;

use super::args::Token;
use crate::{
    access::{Claims, Keys, own_secret},
    config::Settings,
    error::{Code, Error, Result},
    time::{end_of, instant, now},
};

/// Prints a new token, or what a token says.
pub fn run(command: &Token, settings: &Settings) -> Result<ExitCode> {
    let keys = keys(settings)?;
    match command {
        Token::Mint { rid, life } => {
            let usage =
                |_| Error::new(Code::Usage, "the stream's id is a UUID, as /api/token returned it");
            let sub: Uuid = rid.parse().map_err(usage)?;
            println!("{}", keys.sign(&Claims { sub, exp: end_of(*life) })?);
            Ok(ExitCode::SUCCESS)
        }
        Token::Inspect { token } => {
            let Claims { sub, exp } = keys.verify(token)?;
            let until = humantime::format_rfc3339_seconds(instant(exp));
            let state = if exp <= now() { "expired" } else { "valid" };
            println!("stream {sub}\nexpires {until}\n{state}");
            Ok(if exp <= now() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

/// The keys that `serve` signs with.
pub fn keys(settings: &Settings) -> Result<Keys> {
    if settings.token.secret.is_empty() {
        return Ok(Keys::new(&[own_secret(&settings.state.dir)?]));
    }
    Ok(Keys::new(&settings.token.secret))
}
