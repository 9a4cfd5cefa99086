//! The `leasehold` binary: a node, a demo, and every command that people use.

mod args;
mod commands;
mod demo;
mod exec;
mod exit;
mod handles;
mod output;
mod processes;
mod render;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// A shard allocates and frees a few dozen small things for each job, on whichever thread: the allocator of the C library
/// spends a quarter of a busy node's time on that, and keeps what was freed.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
