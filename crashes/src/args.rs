//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::points::{self, Point};

/// Kills real nodes at random and at chosen moments, and checks that nothing acknowledged is lost or done twice.
#[derive(Debug, Parser)]
#[command(
    name = "leasehold-crashes",
    version,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One node under test; the driver starts these
    #[command(hide = true)]
    Node(NodeArgs),
    /// List the points at which a node can be made to crash
    Points,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Crashes to survive
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) kills: u32,
    /// Nodes of a cluster; without it clusters of one and of three take turns
    #[arg(long, value_parser = nodes)]
    pub(crate) nodes: Option<usize>,
    /// What is drawn is drawn from this
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Submits that have to be acknowledged between two crashes
    #[arg(long, default_value_t = 2_000)]
    pub(crate) submits: u64,
    /// Crashes of one cluster, before its jobs are drained, all of it is checked, and a new one is founded
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) kills_per_cluster: u32,
    /// Crash only at this point, where it can be; see `points`
    #[arg(long, value_name = "NAME", value_parser = point)]
    pub(crate) point: Option<&'static Point>,
    /// Fail the power at every crash
    #[arg(long)]
    pub(crate) power_only: bool,
    /// Use a disk that acknowledges syncs of the log before they are done: the run must then fail
    #[arg(long)]
    pub(crate) lie: bool,
    /// Put data and logs in this empty folder instead of a temporary one; those of a failed cluster stay
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Configuration file
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Found a cluster
    #[arg(long)]
    pub(crate) init: bool,
    /// Crash at this point: name, how-many-th, kill or power
    #[arg(long)]
    pub(crate) arm: Option<String>,
    /// Syncs of the log that have to follow a sync before it counts
    #[arg(long, default_value_t = 0)]
    pub(crate) syncs_behind: usize,
    /// Decides what a power failure takes
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

fn nodes(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("a cluster has 1 node or 3".to_owned()),
    }
}

fn point(text: &str) -> Result<&'static Point, String> {
    let unknown = || "there is no such point: see `leasehold-crashes points`".to_owned();
    points::find(text).ok_or_else(unknown)
}
