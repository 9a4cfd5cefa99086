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

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::args::{Arguments, Command};
use crate::demo;
use crate::exit::{Exit, Failure};

/// How long what runs on other threads may go on once the command has ended.
const LINGER: Duration = Duration::from_secs(2);

/// Runs the command to its end.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("starting the runtime: {error}")))?;
    to_its_end(runtime, Box::pin(dispatch(arguments.command)), LINGER)
}

/// SUBTLE: what still runs on other threads is not waited for any longer. The runtime's own end would wait for ever when
/// the disk holds one of them up, and nobody would hear why the node could not go on.
fn to_its_end<T>(runtime: Runtime, command: impl Future<Output = T>, linger: Duration) -> T {
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(linger);
    done
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn command_ends_with_its_result_while_a_disk_still_holds_a_thread_up() {
        let (release, held) = channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let was_waited_for = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&was_waited_for);
        let disk = move || {
            begin.send(()).unwrap();
            // Bounded, so that a command which waits for it fails here and does not hang.
            let _ = held.recv_timeout(Duration::from_secs(20));
            ended.store(true, Ordering::SeqCst);
        };
        let command = async {
            #[expect(clippy::disallowed_methods, reason = "stands for a disk that hangs")]
            drop(tokio::task::spawn_blocking(disk));
            begun.await.unwrap();
            "its result"
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let result = to_its_end(runtime, command, Duration::ZERO);
        assert_eq!(result, "its result");
        assert!(!was_waited_for.load(Ordering::SeqCst));
        drop(release);
    }
}
