//! The `gannet` program: its command line, and what else is worth sharing.
//!
//! The program is [`run`]. Beside it stand the parts that other programs of the workspace measure
//! with: readers of [`vectors`], [`recall`] by distance, and [`latency`] percentiles. Storage,
//! search and durability are the engine's; nothing here keeps state between runs.

#![forbid(unsafe_code)]

mod args;
mod database;
mod demo;
mod entries;
mod failure;
mod output;
mod progress;
mod queries;
mod units;
mod usage;
mod verbs;

pub mod latency;
pub mod recall;
pub mod vectors;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

use failure::Exit;

/// Runs the program on `args`, the first of which is its own name, and says how to exit.
///
/// Answers go to stdout. What went wrong is one line on stderr that begins with `gannet: `; then
/// the exit code is not 0. `gannet --help` lists the codes.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match args::Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            complain(&usage::one_line(&error));
            return Exit::Usage.into();
        }
        Err(help) => {
            // Help and version are printed for whoever still listens.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match verbs::run(cli.verb, &mut output::Output::new(cli.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure::one_line(&failure));
            failure.exit().into()
        }
    }
}

/// The one line on stderr. Where even that cannot be written, the exit code has to do.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "gannet: {line}");
}
