//! One file for each group of commands.

mod bench;
mod cluster;
mod config;
mod dev;
mod dlq;
mod job;
mod queue;
pub(crate) mod reach;
mod serve;
mod shard;
mod worker;

pub(crate) use bench::BenchCommand;
pub(crate) use serve::StopSignals;

use crate::args::{Arguments, Command};
use crate::demo;
use crate::exit::{Exit, Failure};

/// Runs the command to its end.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("starting the runtime: {error}")))?;
    runtime.block_on(Box::pin(dispatch(arguments.command)))
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Job(command) => job::run(command).await,
        Command::Worker(command) => worker::run(command).await,
        Command::Queue(command) => queue::run(command).await,
        Command::Dlq(command) => dlq::run(command).await,
        Command::Cluster(command) => cluster::run(command).await,
        Command::Shard(command) => shard::run(command).await,
        Command::Config(command) => config::run(command),
        Command::Bench(command) => bench::run(command).await,
    }
}
