//! `check`: validates the settings and shows what is in force.

use std::process::ExitCode;

use crate::{
    config::{self, Sources},
    error::Result,
};

/// Prints warnings to stderr and the effective settings, secrets masked, to stdout.
pub fn run(sources: &Sources) -> Result<ExitCode> {
    let settings = sources.load()?;
    for warning in config::warnings(&settings) {
        eprintln!("warning: {warning}");
    }
    print!("{}", settings.to_yaml());
    Ok(ExitCode::SUCCESS)
}
