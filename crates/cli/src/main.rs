//! The `leasehold` binary: a node, a demo, and every command that people use.

mod args;
mod commands;
mod demo;
mod exec;
mod exit;
mod output;
mod render;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
