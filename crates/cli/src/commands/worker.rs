//! `worker exec`: a worker that runs a command for each job.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_client::{CancellationToken, WorkError, WorkItem, Worker};
use leasehold_server::config::LogConfig;
use leasehold_server::telemetry;

use super::reach::client;
use super::serve::StopSignals;
use crate::args::{ExecArgs, WorkerCommand};
use crate::exec::{ExitRules, Launch, kill_all, run as run_command, verdict};
use crate::exit::{Exit, Failure};

pub(crate) async fn run(command: WorkerCommand) -> Result<(), Failure> {
    let WorkerCommand::Exec(arguments) = command;
    exec(arguments).await
}

async fn exec(arguments: ExecArgs) -> Result<(), Failure> {
    check_command(&arguments.command)?;
    say_what_happens()?;
    let client = client(&arguments.connection)?;
    let stop = CancellationToken::new();
    let signals = stop_on_signal(stop.clone())?;
    let rules: ExitRules = arguments.exit_rules.into_iter().collect();
    let shared = Arc::new((arguments.command, rules));
    let handler = move |item: WorkItem| {
        let shared = Arc::clone(&shared);
        async move { work(&shared.0, &shared.1, item).await }
    };
    let mut worker = Worker::builder(&client)
        .name(arguments.name.unwrap_or_else(default_name))
        .queues(arguments.queue)
        .slots(arguments.slots)
        .grace(arguments.grace);
    for (name, value) in arguments.labels {
        worker = worker.label(name, value);
    }
    for (name, amount) in arguments.capacity {
        worker = worker.capacity(name, amount);
    }
    let ended = worker.run(handler, stop).await;
    signals.abort();
    ended.map_err(|error| Failure::new(Exit::Failed, error))
}

/// A command that is not there would use up the tries of job after job.
fn check_command(command: &[String]) -> Result<(), Failure> {
    let program = Path::new(command.first().map_or("", String::as_str));
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there = match program.components().count() {
        0 | 1 => std::env::split_paths(&folders).any(|folder| folder.join(program).is_file()),
        _path => program.is_file(),
    };
    if is_there {
        return Ok(());
    }
    let message = format!(
        "command {} is not there: give a program in PATH, or its path",
        program.display()
    );
    Err(Failure::new(Exit::NotFound, message))
}

/// Sessions that open and break are said on stderr: a worker without jobs looks the same otherwise.
fn say_what_happens() -> Result<(), Failure> {
    let log = LogConfig {
        level: "warn,leasehold_client=info".to_owned(),
        ..LogConfig::default()
    };
    telemetry::install(&log).map_err(|error| Failure::new(Exit::Failed, error))
}

/// The first signal stops gracefully; a second one at once.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let mut signals = StopSignals::listen()?;
    Ok(tokio::spawn(async move {
        signals.received().await;
        eprintln!("stopping: running jobs may finish, a second signal ends them");
        stop.cancel();
        signals.received().await;
        kill_all();
        std::process::exit(130);
    }))
}

async fn work(command: &[String], rules: &ExitRules, item: WorkItem) -> Result<Bytes, WorkError> {
    let launch = Launch {
        command,
        environment: vec![
            ("LEASEHOLD_JOB_ID", item.id().to_string()),
            ("LEASEHOLD_QUEUE", item.queue().to_string()),
            ("LEASEHOLD_ATTEMPT", item.attempt().to_string()),
            ("LEASEHOLD_FENCE", item.fence().to_string()),
        ],
        payload: item.payload().clone(),
    };
    let progress = |bytes| item.advance(bytes);
    let finished = run_command(launch, &progress).await.map_err(|error| {
        let program = command.first().map_or("", String::as_str);
        WorkError::infrastructure(format!("running {program}: {error}"))
    })?;
    verdict(rules, finished)
        .map_err(|failed| WorkError::new(failed.class, failed.message).with_detail(failed.detail))
}

fn default_name() -> String {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_lowercase();
    let plain: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(40)
        .collect();
    format!("{plain}.{}", std::process::id())
}
