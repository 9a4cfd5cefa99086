//! What `bench` takes, and what it refuses before anything is started.

mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use leasehold_types::{QueueName, limits};

use super::metadata::queue_name;
use crate::args::TimingsArg;
use values::{batch, connections, jobs, nodes, queued, size};

const EXAMPLES: &str = "\
Examples:
  leasehold bench throughput                             # one node of its own, 64 connections, batches of 64
  leasehold bench throughput --batch 1 --duration 30s    # one job at a time on every connection
  leasehold bench throughput --nodes 3 --json > run.json # three replicas on this machine
  leasehold bench latency --rate 100                     # what a job waits for when the node is mostly idle
  leasehold bench backlog --jobs 1000000                 # memory a job, and speed with a million jobs queued
  leasehold bench recovery --jobs 100000                 # kill -9 under load, then every job is looked for
  leasehold bench renewals --leases 10000                # how many leases can be kept alive
  leasehold bench latency --queued 1000000 -d 60s        # the same while checkpoints of a million jobs are written
  leasehold bench follower --away 5m                     # a replica that was away catches up
  leasehold bench metadata --nodes 3 --clients 256       # policy changes that a majority takes
  leasehold bench throughput --endpoint a:7101,b:7101    # a cluster that runs already

Nodes of its own are real `leasehold serve` processes on loopback; their data goes to a temporary folder and is removed.
Choose the disk with --data-dir: the temporary folder of many systems is no disk at all. Exits with 10 when a job was
lost, doubled or damaged.";

/// One measurement.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum BenchCommand {
    /// Whole jobs a second: submitted, leased, completed and acknowledged, in a closed loop
    #[command(after_help = EXAMPLES)]
    Throughput(ThroughputArgs),
    /// How long jobs wait at a set rate, from when each was meant to be sent
    #[command(after_help = EXAMPLES)]
    Latency(LatencyArgs),
    /// Speed and memory with a long queue, against the same without
    #[command(after_help = EXAMPLES)]
    Backlog(BacklogArgs),
    /// Kill every node under load, start again, and look for every job
    #[command(after_help = EXAMPLES)]
    Recovery(RecoveryArgs),
    /// Let a follower stand still under load, and see it catch up, from the log and with a snapshot; takes three nodes
    #[command(after_help = EXAMPLES)]
    Follower(FollowerArgs),
    /// Leases kept alive a second
    #[command(after_help = EXAMPLES)]
    Renewals(RenewalsArgs),
    /// Changes of the metadata a second, each acknowledged by a majority
    #[command(after_help = EXAMPLES)]
    Metadata(MetadataArgs),
}

/// What every measurement takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommonArgs {
    /// A cluster that runs already; without it the bench starts nodes of its own
    #[arg(
        long = "endpoint",
        alias = "endpoints",
        short = 'e',
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub(crate) endpoints: Vec<String>,
    /// Nodes to start: 1, or 3 for three replicas of everything; 1 where not said and the measurement needs no more
    #[arg(long, value_parser = nodes, conflicts_with = "endpoints")]
    pub(crate) nodes: Option<usize>,
    /// How many of the nodes the clients connect to, the first ones; the others may be stopped, killed or started again
    /// by hand while it runs
    #[arg(long, value_name = "NODES", conflicts_with = "endpoints")]
    pub(crate) through: Option<usize>,
    /// Timings of the nodes' groups
    #[arg(long, value_enum, default_value_t = TimingsArg::Lan, conflicts_with = "endpoints")]
    pub(crate) timings: TimingsArg,
    /// Folder on the disk to measure; the data goes into a folder of its own there, and is removed
    #[arg(long, value_name = "FOLDER", conflicts_with = "endpoints")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file of the nodes, for settings beyond these
    #[arg(long, value_name = "FILE", conflicts_with = "endpoints")]
    pub(crate) config: Option<PathBuf>,
    /// The queue; made with this retention and lease when it is not there
    #[arg(long, default_value = "bench")]
    pub(crate) queue: String,
    /// How long finished jobs, their results and ids are kept
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "2m")]
    pub(crate) retain: Duration,
    /// Length of a lease
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "30s")]
    pub(crate) lease: Duration,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing on standard error while it runs
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// What every measurement of jobs takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JobArgs {
    /// Size of a job's payload, such as 512, 1KiB or 64KiB
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1KiB")]
    pub(crate) payload: usize,
    /// Size of a job's result
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0")]
    pub(crate) result: usize,
    /// A call for each submit, lease and result instead of streams
    #[arg(long)]
    pub(crate) unary: bool,
}

/// The shape of a closed loop.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LoopArgs {
    /// Submitters, and as many workers; each has a connection of its own
    #[arg(long, short = 'c', default_value_t = 64, value_parser = connections)]
    pub(crate) connections: usize,
    /// Jobs in one submit, and slots of one worker
    #[arg(long, short = 'b', default_value_t = 64, value_parser = batch)]
    pub(crate) batch: u32,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ThroughputArgs {
    #[command(flatten)]
    pub(crate) load: LoopArgs,
    /// How long to measure
    #[arg(long, short = 'd', value_name = "TIME", value_parser = crate::args::time, default_value = "10s")]
    pub(crate) duration: Duration,
    /// Measure until so many jobs are completed instead
    #[arg(long, short = 'n', value_parser = jobs, conflicts_with = "duration")]
    pub(crate) jobs: Option<u64>,
    /// How long the loop runs before it is measured
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "2s")]
    pub(crate) warm_up: Duration,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArgs {
    /// Jobs a second, evenly spaced
    #[arg(long, short = 'r', default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) rate: u64,
    /// Submitters, and as many workers
    #[arg(long, short = 'c', default_value_t = 8, value_parser = connections)]
    pub(crate) connections: usize,
    /// Slots of one worker
    #[arg(long, default_value_t = 1, value_parser = batch)]
    pub(crate) slots: u32,
    /// Jobs in a queue beside, in the same shards; waits while checkpoints are written are then shown by themselves
    #[arg(long, value_name = "JOBS", value_parser = queued, default_value = "0")]
    pub(crate) queued: u64,
    /// How long to measure
    #[arg(long, short = 'd', value_name = "TIME", value_parser = crate::args::time, default_value = "10s")]
    pub(crate) duration: Duration,
    /// How long jobs are sent before they are measured
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "1s")]
    pub(crate) warm_up: Duration,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BacklogArgs {
    /// Jobs that are queued and stay queued
    #[arg(long, short = 'n', default_value_t = 1_000_000, value_parser = jobs)]
    pub(crate) jobs: u64,
    /// Submitters, and as many workers, while speed is measured
    #[arg(long, short = 'c', default_value_t = 64, value_parser = connections)]
    pub(crate) connections: usize,
    /// Jobs in one submit, and slots of one worker, while speed is measured
    #[arg(long, short = 'b', default_value_t = 1, value_parser = batch)]
    pub(crate) batch: u32,
    /// How long to measure speed, each time
    #[arg(long, short = 'd', value_name = "TIME", value_parser = crate::args::time, default_value = "5s")]
    pub(crate) duration: Duration,
    /// How long the loop runs before it is measured, each time
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "1s")]
    pub(crate) warm_up: Duration,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RecoveryArgs {
    /// Jobs queued before the kill
    #[arg(long, short = 'n', default_value_t = 100_000, value_parser = jobs)]
    pub(crate) jobs: u64,
    /// How long jobs are submitted and completed beside the queue before the kill comes in the middle of it
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "2s")]
    pub(crate) load: Duration,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct FollowerArgs {
    /// How long a follower stands still, while the others keep their log for it
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "5m")]
    pub(crate) away: Duration,
    /// Jobs queued while a follower stands still, and the others keep no log for it
    #[arg(long, short = 'n', default_value_t = 200_000, value_parser = jobs)]
    pub(crate) jobs: u64,
    /// Jobs a second, evenly spaced, all the while
    #[arg(long, short = 'r', default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) rate: u64,
    /// Submitters, and as many workers
    #[arg(long, short = 'c', default_value_t = 8, value_parser = connections)]
    pub(crate) connections: usize,
    /// Slots of one worker
    #[arg(long, default_value_t = 16, value_parser = batch)]
    pub(crate) slots: u32,
    /// How long to measure before the follower stands still, and again once it has caught up
    #[arg(long, short = 'd', value_name = "TIME", value_parser = crate::args::time, default_value = "10s")]
    pub(crate) duration: Duration,
    /// How long jobs are sent before they are measured
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "1s")]
    pub(crate) warm_up: Duration,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RenewalsArgs {
    /// Leases that are held
    #[arg(long, short = 'n', default_value_t = 10_000, value_parser = jobs)]
    pub(crate) leases: u64,
    /// Workers that hold them, each on a connection of its own
    #[arg(long, short = 'c', default_value_t = 64, value_parser = connections)]
    pub(crate) connections: usize,
    /// How long to measure
    #[arg(long, short = 'd', value_name = "TIME", value_parser = crate::args::time, default_value = "10s")]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MetadataArgs {
    /// Clients, each with a connection and a queue of its own, named after `--queue`, and one change under way
    #[arg(long, short = 'c', default_value_t = 256, value_parser = connections)]
    pub(crate) clients: usize,
    /// How long to measure
    #[arg(long, short = 'd', value_name = "TIME", value_parser = crate::args::time, default_value = "10s")]
    pub(crate) duration: Duration,
    /// How long changes are made before they are measured
    #[arg(long, value_name = "TIME", value_parser = crate::args::time, default_value = "2s")]
    pub(crate) warm_up: Duration,
    /// Ask for the policy that stands: through the metadata's log as well, and no shard is told of anything
    #[arg(long)]
    pub(crate) unchanged: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl CommonArgs {
    /// Nodes to start.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.unwrap_or(1)
    }

    fn check(&self) -> Result<(), String> {
        let nodes = self.nodes();
        match self.through {
            Some(through) if !(1..=nodes).contains(&through) => Err(format!(
                "--through: there are {nodes} nodes, give 1 to {nodes}"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl FollowerArgs {
    /// Three nodes, and no client at the one that stands still.
    fn settle(&mut self) {
        self.common.nodes.get_or_insert(3);
        self.common.through.get_or_insert(2);
    }

    fn check(&self) -> Result<(), String> {
        let common = &self.common;
        match (common.endpoints.as_slice(), common.nodes, common.through) {
            ([], Some(3), Some(1 | 2)) => Ok(()),
            ([], _, _) => Err("follower takes three nodes, and clients at two at most".into()),
            (_, _, _) => {
                Err("follower stops a node: it takes no --endpoint, let it start its own".into())
            }
        }
    }
}

impl MetadataArgs {
    /// The longest name that one of its queues will have is a name.
    fn check(&self) -> Result<(), String> {
        let prefix = &self.common.queue;
        let last = queue_name(prefix, self.clients - 1);
        let is_name = QueueName::new(&last).map(|_| ());
        is_name.map_err(|error| format!("--queue {prefix} makes names such as {last}: {error}"))
    }
}

impl RenewalsArgs {
    /// Leases of the worker that holds the most.
    fn slots(&self) -> u32 {
        let slots = self.leases.div_ceil(self.connections as u64);
        u32::try_from(slots).unwrap_or(u32::MAX)
    }
}

impl BenchCommand {
    pub(super) const fn common(&self) -> &CommonArgs {
        match self {
            Self::Throughput(arguments) => &arguments.common,
            Self::Latency(arguments) => &arguments.common,
            Self::Backlog(arguments) => &arguments.common,
            Self::Recovery(arguments) => &arguments.common,
            Self::Follower(arguments) => &arguments.common,
            Self::Renewals(arguments) => &arguments.common,
            Self::Metadata(arguments) => &arguments.common,
        }
    }

    /// What its jobs are like; none of a measurement without jobs.
    pub(super) const fn job(&self) -> Option<&JobArgs> {
        match self {
            Self::Throughput(arguments) => Some(&arguments.job),
            Self::Latency(arguments) => Some(&arguments.job),
            Self::Backlog(arguments) => Some(&arguments.job),
            Self::Recovery(arguments) => Some(&arguments.job),
            Self::Follower(arguments) => Some(&arguments.job),
            Self::Renewals(arguments) => Some(&arguments.job),
            Self::Metadata(_) => None,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Throughput(_) => "throughput",
            Self::Latency(_) => "latency",
            Self::Backlog(_) => "backlog",
            Self::Recovery(_) => "recovery",
            Self::Follower(_) => "follower",
            Self::Renewals(_) => "renewals",
            Self::Metadata(_) => "metadata",
        }
    }

    /// Connections, and jobs of a submit or slots of a worker.
    pub(super) fn shape(&self) -> (usize, u32) {
        match self {
            Self::Throughput(arguments) => (arguments.load.connections, arguments.load.batch),
            Self::Latency(arguments) => (arguments.connections, arguments.slots),
            Self::Backlog(arguments) => (arguments.connections, arguments.batch),
            Self::Recovery(_) => super::recovery::LOAD,
            Self::Follower(arguments) => (arguments.connections, arguments.slots),
            Self::Renewals(arguments) => (arguments.connections, arguments.slots()),
            Self::Metadata(arguments) => (arguments.clients, 1),
        }
    }

    /// With what follows from the measurement itself, where that was not said.
    ///
    /// # Errors
    /// Of what no single argument can tell, in words, with the way out.
    pub(super) fn checked(mut self) -> Result<Self, String> {
        if let Self::Follower(arguments) = &mut self {
            arguments.settle();
        }
        self.check().map(|()| self)
    }

    fn check(&self) -> Result<(), String> {
        self.common().check()?;
        match self {
            Self::Throughput(arguments) => fits(arguments.load.batch, arguments.job.payload),
            Self::Backlog(arguments) => fits(arguments.batch, arguments.job.payload),
            Self::Latency(_) => Ok(()),
            Self::Recovery(arguments) if arguments.common.endpoints.is_empty() => Ok(()),
            Self::Recovery(_) => {
                Err("recovery kills its nodes: it takes no --endpoint, let it start its own".into())
            }
            Self::Follower(arguments) => arguments.check(),
            Self::Renewals(arguments) => slots(arguments.leases, arguments.connections),
            Self::Metadata(arguments) => arguments.check(),
        }
    }
}

/// Whether a submit of so many jobs keeps to the bound of a request.
fn fits(batch: u32, payload: usize) -> Result<(), String> {
    /// What a job takes on the wire beside its payload, at most.
    const BESIDE: usize = 256;
    let most = limits::REQUEST_BYTES / (payload + BESIDE);
    if batch as usize <= most {
        return Ok(());
    }
    Err(format!(
        "--batch {batch} of --payload {payload} bytes is more than a request may have: give --batch {most} or less"
    ))
}

fn slots(leases: u64, connections: usize) -> Result<(), String> {
    let most = connections as u64 * u64::from(limits::WORKER_CREDIT);
    if leases <= most {
        return Ok(());
    }
    let needed = leases.div_ceil(u64::from(limits::WORKER_CREDIT));
    Err(format!(
        "{connections} workers hold at most {most} leases: give --connections {needed} or more"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: BenchCommand,
    }

    fn parse(line: &str) -> Result<BenchCommand, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let parsed = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        parsed.command.checked()
    }

    #[test]
    fn batch_that_no_request_can_carry_is_refused_with_one_that_fits() {
        assert!(parse("throughput --batch 64 --payload 32KiB").is_ok());
        let refused = parse("throughput --batch 1000 --payload 64KiB").unwrap_err();
        assert!(refused.contains("--batch 63"), "{refused}");
    }

    #[test]
    fn clients_queues_must_have_names_that_a_queue_may_have() {
        assert!(parse("metadata --nodes 3 --clients 256 -d 10s").is_ok());
        let odd = parse("metadata --queue a+b --clients 2").unwrap_err();
        assert!(
            odd.contains("--queue a+b") && odd.contains("a+b-1"),
            "{odd}"
        );
        let prefix = "x".repeat(limits::NAME_BYTES - 2);
        assert!(parse(&format!("metadata --clients 10 --queue {prefix}")).is_ok());
        assert!(parse(&format!("metadata --clients 11 --queue {prefix}")).is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "throughput --endpoint a:1 --nodes 3",
            "throughput --jobs 5 --duration 1s",
            "latency --rate 0",
            "recovery -e a:1",
            "renewals --leases 5000 --connections 2",
            "metadata --clients 0",
            "metadata --payload 100",
            "metadata --clients 5000",
            "metadata --endpoints a:1 --nodes 3",
            "throughput --nodes 3 --through 4",
            "throughput --endpoints a:1 --through 1",
            "follower --nodes 1",
            "follower --through 3",
            "follower --endpoints a:1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
