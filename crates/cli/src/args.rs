//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit;

/// Takes in AI inference jobs and sees each one through, over regions that fail.
#[derive(Debug, Parser)]
#[command(name = "leasehold", version, after_help = exit::HELP, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch three regions on this machine lose one and finish every job exactly once
    Demo(DemoArgs),
    /// Run three regions on loopback until Ctrl-C, to try things out
    Dev(DevArgs),
    /// Run one node
    Serve(ServeArgs),
    /// Submit jobs and follow them
    #[command(subcommand)]
    Job(JobCommand),
    /// Work jobs
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Create queues and set their policies
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Look at dead letters and put them back
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Look at the cluster
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Look at the shards
    #[command(subcommand)]
    Shard(ShardCommand),
    /// Look at a node's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure speed, latency, memory and recovery
    #[command(subcommand)]
    Bench(crate::commands::BenchCommand),
}

/// Where the cluster is and how to print.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// Nodes to talk to, of any region; the next is tried when one is gone
    #[arg(
        long = "endpoint",
        short = 'e',
        value_name = "HOST:PORT",
        env = "LEASEHOLD_ENDPOINTS",
        value_delimiter = ',',
        default_value = DEFAULT_ENDPOINTS,
        global = true
    )]
    pub(crate) endpoints: Vec<String>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Longest to try, over all nodes
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s", global = true)]
    pub(crate) timeout: Duration,
}

/// Where `dev` listens.
pub(crate) const DEFAULT_ENDPOINTS: &str = "127.0.0.1:7101,127.0.0.1:7201,127.0.0.1:7301";

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Jobs to submit, one for each text document that the demo writes
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(30..=20_000))]
    pub(crate) jobs: u32,
    /// Take each file of this folder instead of writing documents
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Keep data and logs here instead of in a temporary folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
    /// Seed of the documents
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Keep data here, and find it again next time
    #[arg(long, value_name = "FOLDER", default_value = "leasehold-data/dev")]
    pub(crate) data: PathBuf,
    /// First port; each region takes two, a hundred apart
    #[arg(long, default_value_t = 7101)]
    pub(crate) port: u16,
    /// Timings of the groups
    #[arg(long, value_enum, default_value_t = TimingsArg::Lan)]
    pub(crate) timings: TimingsArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimingsArg {
    /// Between regions
    Wan,
    /// Within one site
    Lan,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file; flags and LEASEHOLD_* variables are over it
    #[arg(long, short = 'c', value_name = "FILE", env = "LEASEHOLD_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Found a new cluster with this node; exactly one node is started so, once
    #[arg(long)]
    pub(crate) init: bool,
    /// This node's region
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Folder of this node's data
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Where clients, workers and HTTP come in
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Where other nodes come in
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) peer_listen: Option<String>,
    /// Address for clients and workers to dial, when it is not the one listened on
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// Address for other nodes to dial, when it is not the one listened on
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) peer_advertise: Option<String>,
    /// Peer addresses of nodes of the cluster to join
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) join: Vec<String>,
    /// With --init: timings of every group
    #[arg(long, value_enum)]
    pub(crate) timings: Option<TimingsArg>,
    /// With --init: regions that the cluster starts with
    #[arg(long, value_name = "N")]
    pub(crate) regions: Option<u16>,
    /// Listen beyond loopback without TLS and tokens
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Log as text or as JSON
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormatArg>,
    /// Log level or filter, such as `info` or `leasehold_server=debug`
    #[arg(long, value_name = "FILTER")]
    pub(crate) log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file and print what would be in force
    Check {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Submit one job, or one for each of several files
    Submit(SubmitArgs),
    /// Show one job with the history of its attempts
    Get {
        /// The job
        job: String,
        /// Print only the result's bytes
        #[arg(long)]
        result: bool,
        /// Print only the payload's bytes
        #[arg(long, conflicts_with = "result")]
        payload: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Wait until a job has ended and print its result
    Wait {
        /// The job
        job: String,
        /// Longest to wait
        #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "5m")]
        wait_for: Duration,
        #[command(flatten)]
        connection: Connection,
    },
    /// List jobs
    List(ListArgs),
    /// End a job that has not ended
    Cancel {
        /// The job
        job: String,
        /// Why, for its history
        #[arg(long, default_value = "cancelled by its owner")]
        reason: String,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// Payload as text; without it and without --file, standard input is read
    #[arg(conflicts_with = "file")]
    pub(crate) payload: Option<String>,
    /// A file as payload; several make several jobs
    #[arg(long, short = 'f', value_name = "FILE", num_args = 1..)]
    pub(crate) file: Vec<PathBuf>,
    /// The queue
    #[arg(long, short = 'q', default_value = "default")]
    pub(crate) queue: String,
    /// Whose job it is; the queue's owner when absent
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Your own idempotency key: the same key finds the same job
    #[arg(long, short = 'k', conflicts_with = "file", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) key: Option<String>,
    /// 0 to 9, higher first among one tenant's jobs
    #[arg(long, default_value_t = leasehold_types::limits::PRIORITY_DEFAULT)]
    pub(crate) priority: u8,
    /// Not before this long from now
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) delay: Option<Duration>,
    /// Longest from submit to result; the queue's own when absent
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) deadline: Option<Duration>,
    /// Label that the worker must carry
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Capacity that the worker must have at least
    #[arg(long = "needs", value_name = "NAME=NUMBER", value_parser = amount)]
    pub(crate) capacity: Vec<(String, u64)>,
    /// Wait for the end and print the result
    #[arg(long, short = 'w')]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only of this queue
    #[arg(long, short = 'q')]
    pub(crate) queue: Option<String>,
    /// Only of this tenant
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Only in this state
    #[arg(long, short = 's', value_enum)]
    pub(crate) state: Option<StateArg>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 50)]
    pub(crate) limit: usize,
    /// Go on where the last page ended
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    Waiting,
    Ready,
    Leased,
    Done,
    Cancelled,
    Dead,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Run a command for each job: payload on its stdin, result from its stdout
    Exec(ExecArgs),
}

#[derive(Debug, Args)]
#[command(after_help = crate::exec::HELP)]
pub(crate) struct ExecArgs {
    /// Queues to serve
    #[arg(long, short = 'q', value_delimiter = ',', default_value = "default")]
    pub(crate) queue: Vec<String>,
    /// This worker's name; the host's name and process id when absent
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Jobs at the same time
    #[arg(long, short = 'j', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) slots: u32,
    /// Label that this worker carries
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Capacity that this worker has
    #[arg(long = "has", value_name = "NAME=NUMBER", value_parser = amount)]
    pub(crate) capacity: Vec<(String, u64)>,
    /// What an exit code of the command means; over the table below
    #[arg(long = "exit", value_name = "CODE=CLASS", value_parser = crate::exec::exit_rule)]
    pub(crate) exit_rules: Vec<(i32, leasehold_core::shard::command::FailureClass)>,
    /// How long running jobs may go on after SIGTERM
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    pub(crate) grace: Duration,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Create a queue
    Create(QueueArgs),
    /// Change a queue's policy; what is not named stays
    Set(QueueArgs),
    /// Show a queue's policy and counts
    Get {
        /// The queue
        name: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// List the queues
    List {
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    /// The queue
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PolicyArgs {
    /// Whose queue it is
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Length of a lease
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) lease: Option<Duration>,
    /// Longest time without progress; 0 for none
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) stall_limit: Option<Duration>,
    /// Longest that one attempt may run
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) attempt_limit: Option<Duration>,
    /// Longest from submit to result
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) job_deadline: Option<Duration>,
    /// Whether a verdict on a worker's region may end its leases early
    #[arg(long)]
    pub(crate) requeue_on_verdict: Option<bool>,
    /// Attempts for transient failures, the first included
    #[arg(long, value_name = "N")]
    pub(crate) max_attempts: Option<u32>,
    /// Lost leases after which a job counts as poison
    #[arg(long, value_name = "N")]
    pub(crate) max_losses: Option<u32>,
    /// Ceiling of the first wait after a failure
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) backoff_base: Option<Duration>,
    /// Ceiling of all waits
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) backoff_cap: Option<Duration>,
    /// How long finished jobs and their results are kept
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) retain_done: Option<Duration>,
    /// How long dead letters and cancelled jobs are kept
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) retain_failed: Option<Duration>,
    /// How long ids and keys are remembered after the end
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) retain_keys: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters
    List {
        /// Only of this queue
        #[arg(long, short = 'q')]
        queue: Option<String>,
        /// Only of this class, such as `poison`
        #[arg(long, value_parser = crate::exec::failure_class)]
        class: Option<leasehold_core::shard::command::FailureClass>,
        /// At most so many
        #[arg(long, short = 'n', default_value_t = 50)]
        limit: usize,
        /// Go on where the last page ended
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show one dead letter with its whole history
    Get {
        /// The job
        job: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Put dead letters back into their queues
    Redrive {
        /// The jobs
        #[arg(required = true)]
        jobs: Vec<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove dead letters before their retention ends
    Discard {
        /// The jobs
        #[arg(required = true)]
        jobs: Vec<String>,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show regions, nodes and what is not yet as it should be
    Status {
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShardCommand {
    /// List shards with their leaders and counts
    List {
        #[command(flatten)]
        connection: Connection,
    },
}

/// `30s`, `5m`, `1h 30m`; a bare 0 is taken too.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit, such as 30s, 5m or 1h"))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn amount(text: &str) -> Result<(String, u64), String> {
    let (name, number) = text.split_once('=').ok_or("write NAME=NUMBER")?;
    let number = number
        .parse()
        .map_err(|_| format!("{number:?} is no whole number"))?;
    Ok((name.to_owned(), number))
}

#[cfg(test)]
mod tests;
