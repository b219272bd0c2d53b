//! The commands, and what their ends mean to a shell.

pub mod args;
mod check;
mod demo;
mod health;
mod house;
mod logging;
mod progress;
mod serve;
mod token;
mod transcode;

use std::process::ExitCode;

use self::args::{Args, Command};
use crate::{
    config::{Settings, Sources},
    error::{Code, Error, Result},
};

/// Reads the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(farewell) => {
            if farewell.exit == 0 {
                print!("{}", farewell.text);
            } else {
                eprint!("{}", farewell.text);
            }
            return farewell.exit.into();
        }
    };
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hls-broker: {error}");
            error.code().exit().into()
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    match args.command() {
        Command::Serve => serve::run(&sources(args)?),
        Command::Check => check::run(&sources(args)?),
        Command::Health { url } => health::run(url.as_deref(), || settings(args)),
        Command::Token(command) => token::run(command, &settings(args)?),
        Command::Transcode { audio, vtt, out_dir } => {
            transcode::run(&optional_sources(args)?, audio, vtt.as_deref(), out_dir)
        }
        Command::Demo => demo::run(&args.options),
    }
}

/// Where the settings come from.
fn sources(args: &Args) -> Result<Sources> {
    Sources::find(args.options.config.as_deref(), std::env::vars_os(), args.options.overrides())
}

/// As [`sources`], or the defaults for commands that need no file.
fn optional_sources(args: &Args) -> Result<Sources> {
    match &args.options.config {
        Some(_) => sources(args),
        None => Sources::without_file(std::env::vars_os(), args.options.overrides()),
    }
}

fn settings(args: &Args) -> Result<Settings> {
    sources(args)?.load()
}

/// A runtime with as many threads as there are cores.
fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Error::new(Code::Internal, format!("the runtime cannot start: {e}")))
}
