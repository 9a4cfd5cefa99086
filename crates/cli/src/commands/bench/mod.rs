//! `bench`: the project's own load generator and measuring tool.
//!
//! One run starts real nodes (or goes to some that run already), puts load on them over thin connections, and reports
//! what came of it together with what it cost and on what machine. Whether a job was lost or doubled is judged in
//! every run: a speed at which promises break is no speed.

mod args;
mod backlog;
mod checkpoints;
mod clock;
mod confirm;
mod cost;
mod counters;
mod drain;
mod fill;
mod follower;
mod jobs;
mod latency;
mod ledger;
mod load;
mod metadata;
mod nodes;
mod open_loop;
mod progress;
mod recovery;
mod renewals;
mod report;
mod run;
mod schedule;
mod target;
mod throughput;
mod times;
mod trace;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;

use crate::args::TimingsArg;
use crate::commands::StopSignals;
use crate::commands::reach::millis;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

pub(crate) use args::BenchCommand;
use args::{CommonArgs, JobArgs};
use cost::{Machine, settle, sync_probe};
use nodes::{Launch, Nodes};
use progress::Progress;
use report::{Measured, Report, Setup, SyncProbes};
use run::Run;
use target::{QueuePlan, Target};
use wire::Calls;

/// What every measurement works with.
struct Bench {
    common: CommonArgs,
    job: JobArgs,
    target: Target,
    progress: Progress,
}

pub(crate) async fn run(command: BenchCommand) -> Result<(), Failure> {
    let command = command
        .checked()
        .map_err(|why| Failure::new(Exit::Refused, why))?;
    let mut stop = StopSignals::listen()?;
    let report = tokio::select! {
        biased;
        () = stop.received() => return Err(Failure::new(Exit::Failed, "stopped before its end")),
        report = Box::pin(measure(&command)) => report?,
    };
    let format = Format::from_flag(command.common().json);
    output::print(format, &report, Report::describe)?;
    verdict(&report)
}

fn verdict(report: &Report) -> Result<(), Failure> {
    let broken = report.broken_promises();
    match broken.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Exit::BrokenPromise, broken.join("; "))),
    }
}

async fn measure(command: &BenchCommand) -> anyhow::Result<Report> {
    let common = command.common();
    let before = probe(common).await?;
    let mut bench = prepare(command).await?;
    let measured = measured(&mut bench, command).await;
    let setup = setup(command, &bench);
    let measured = match bench.target.nodes.take() {
        Some(nodes) => end(nodes, measured).await?,
        None => measured?,
    };
    let after = probe(common).await?;
    let sync_us = before.zip(after).map(|(before, after)| SyncProbes {
        before: before.as_secs_f64() * 1e6,
        after: after.as_secs_f64() * 1e6,
    });
    Ok(Report {
        test: command.name(),
        version: env!("CARGO_PKG_VERSION"),
        setup,
        machine: Machine::look()?,
        sync_us,
        figures: measured.figures,
        cost: measured.cost,
        jobs: measured.jobs,
        errors: measured.errors,
    })
}

/// How long the disk takes for a sync once it has come to rest; none of a cluster elsewhere. On a thread of its own: it
/// may take long, and whoever stops the bench is not to wait for it.
async fn probe(common: &CommonArgs) -> anyhow::Result<Option<Duration>> {
    if !common.endpoints.is_empty() {
        return Ok(None);
    }
    let disk = disk(common);
    let probe = move || {
        std::fs::create_dir_all(&disk).with_context(|| format!("folder {}", disk.display()))?;
        settle(&disk)?;
        sync_probe(&disk)
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a measurement is no simulation: it may have threads"
    )]
    let probing = tokio::task::spawn_blocking(probe);
    probing.await?.map(Some)
}

/// Stops the nodes. Where one ended by itself, that is why nothing was measured.
async fn end(mut nodes: Nodes, measured: anyhow::Result<Measured>) -> anyhow::Result<Measured> {
    let measured = measured.map_err(|error| match nodes.failed() {
        Some(failed) => failed.context(format!("{error:#}")),
        None => error,
    });
    nodes.stop().await?;
    measured
}

fn disk(common: &CommonArgs) -> PathBuf {
    common.data_dir.clone().unwrap_or_else(std::env::temp_dir)
}

async fn prepare(command: &BenchCommand) -> anyhow::Result<Bench> {
    let common = command.common();
    let progress = Progress::new(common.quiet);
    let mut target = match common.endpoints.as_slice() {
        [] => own_nodes(common, progress, None).await?,
        endpoints => Target::new(endpoints, None, queue(common))?,
    };
    if command.job().is_some() {
        target.make_queue().await?;
    }
    Ok(Bench {
        common: common.clone(),
        job: command.job().cloned().unwrap_or_default(),
        target,
        progress,
    })
}

/// A new cluster, whose nodes keep as much of the log as they are configured to, or so much.
async fn own_nodes(
    common: &CommonArgs,
    progress: Progress,
    log_kept_mib: Option<u32>,
) -> anyhow::Result<Target> {
    let launch = Launch {
        nodes: common.nodes(),
        timings: timings(common.timings),
        config: common.config.clone(),
        log_kept_mib,
    };
    let nodes = Nodes::start(launch, &disk(common)).await?;
    progress.say(&format!(
        "nodes are up: {}, data in {}",
        nodes.names(),
        nodes.folder().display()
    ));
    let mut endpoints = nodes.endpoints();
    endpoints.truncate(common.through.unwrap_or(common.nodes()));
    Target::new(&endpoints, Some(nodes), queue(common))
}

fn queue(common: &CommonArgs) -> QueuePlan {
    QueuePlan {
        name: common.queue.clone(),
        retain: common.retain,
        lease: common.lease,
    }
}

async fn measured(bench: &mut Bench, command: &BenchCommand) -> anyhow::Result<Measured> {
    match command {
        BenchCommand::Throughput(arguments) => throughput::run(bench, arguments).await,
        BenchCommand::Latency(arguments) => latency::run(bench, arguments).await,
        BenchCommand::Backlog(arguments) => backlog::run(bench, arguments).await,
        BenchCommand::Recovery(arguments) => recovery::run(bench, arguments).await,
        BenchCommand::Follower(arguments) => follower::run(bench, arguments).await,
        BenchCommand::Renewals(arguments) => renewals::run(bench, arguments).await,
        BenchCommand::Metadata(arguments) => metadata::run(bench, arguments).await,
    }
}

impl Bench {
    fn calls(&self) -> Calls {
        match self.job.unary {
            true => Calls::Unary,
            false => Calls::Streams,
        }
    }

    /// How long nothing may move before what is open counts as lost: a lease may have to run out first.
    fn patience(&self) -> Duration {
        const BESIDE: Duration = Duration::from_secs(10);
        self.target.policy().lease + BESIDE
    }

    fn result(&self) -> Bytes {
        Bytes::from(vec![0; self.job.result])
    }

    fn new_run(&self) -> Arc<Run> {
        Arc::new(Run::new(&self.common.queue, self.job.payload))
    }

    /// A run through a queue of its own, which is made.
    async fn new_run_beside(&self) -> anyhow::Result<Arc<Run>> {
        let queue = self.target.queue_beside().await?;
        Ok(Arc::new(Run::new(&queue, self.job.payload)))
    }
}

fn setup(command: &BenchCommand, bench: &Bench) -> Setup {
    let (common, (connections, batch)) = (&bench.common, command.shape());
    let (is_own, policy) = (common.endpoints.is_empty(), bench.target.policy());
    let endpoints = bench.target.endpoints().iter();
    Setup {
        nodes: is_own.then_some(common.nodes()),
        endpoints: endpoints.map(ToString::to_string).collect(),
        timings: is_own.then(|| timings(common.timings)),
        calls: match (command.job(), bench.calls()) {
            (Some(_), Calls::Streams) => "streams",
            (Some(_), Calls::Unary) | (None, _) => "unary",
        },
        connections,
        batch,
        payload_bytes: command.job().map(|job| job.payload),
        result_bytes: command.job().map(|job| job.result),
        retain_ms: millis(policy.retain),
        lease_ms: millis(policy.lease),
    }
}

const fn timings(timings: TimingsArg) -> &'static str {
    match timings {
        TimingsArg::Wan => "wan",
        TimingsArg::Lan => "lan",
    }
}
