//! Crashes: real nodes under real load, killed at random and at chosen moments, and a checker that goes by nothing but
//! what the clients were told.
//!
//! `run` is the driver. It lays out a cluster ([`cluster`], [`seat`]), puts it under load ([`load`]), draws crashes from
//! a seed ([`plan`]), and compares what is there with what was acknowledged ([`history`]). A node under test is this very
//! program, run again as `node`: the real server over a disk that dies at chosen operations and can lose power ([`disk`],
//! [`points`]).
//!
//! What must hold: the checker knows nothing of the server, a crash at a chosen point really happens there, and a disk
//! that lies about its syncs is found out (`--lie`; there is a test of that).

mod args;
mod clock;
mod cluster;
mod content;
mod control;
mod disk;
mod history;
mod ledger;
mod load;
mod node;
mod plan;
mod points;
mod report;
mod run;
mod seat;
mod tally;
mod violation;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Some(Command::Node(node)) => node::run(node).await,
        Some(Command::Points) => {
            points::POINTS.iter().for_each(|point| println!("{point}"));
            Ok(ExitCode::SUCCESS)
        }
        None => Box::pin(drive(&arguments.run)).await,
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

/// Runs the harness: 0 when every promise was kept, 1 when one was broken, 2 when it could not be run.
async fn drive(arguments: &args::RunArgs) -> anyhow::Result<ExitCode> {
    let outcome = run::run(arguments).await?;
    report::print(arguments, &outcome)?;
    Ok(match outcome.broken {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}
