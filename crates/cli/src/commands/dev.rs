//! `dev`: three regions on loopback in one process, until Ctrl-C.

use std::path::Path;

use leasehold_core::policy::Timings;
use leasehold_server::config::{Config, ListenConfig, LogConfig};
use leasehold_server::node::Node;
use leasehold_server::telemetry;
use leasehold_types::RegionName;

use super::serve::{StopSignals, start};
use crate::args::DevArgs;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::processes::REGIONS;

pub(crate) async fn run(arguments: DevArgs) -> Result<(), Failure> {
    let log = LogConfig {
        level: "warn,openraft=off".to_owned(),
        ..LogConfig::default()
    };
    telemetry::install(&log).map_err(|error| Failure::new(Exit::Refused, error))?;
    let mut stop = StopSignals::listen()?;
    let nodes = tokio::select! {
        biased;
        () = stop.received() => return Ok(()),
        nodes = start_all(&arguments) => nodes?,
    };
    output::line(&banner(&arguments))?;
    stop.received().await;
    output::line("stopping")?;
    // One after the other: each can hand its leaderships to one that stays, and the last has nobody to wait for.
    for node in nodes {
        node.stop().await;
    }
    Ok(())
}

/// All at once: a node that joins waits for the founder, and a cluster found again needs its majority.
async fn start_all(arguments: &DevArgs) -> Result<Vec<Node>, Failure> {
    let known = arguments.data.join(REGIONS[0]).exists();
    let starts = (0..REGIONS.len()).map(|at| start(config(arguments, at, known)));
    futures_util::future::try_join_all(starts).await
}

fn config(arguments: &DevArgs, at: usize, known: bool) -> Config {
    let mut config = Config {
        region: RegionName::new(REGIONS[at]).expect("a valid name"),
        data: folder(&arguments.data, at),
        init: at == 0 && !known,
        listen: ListenConfig {
            client: client_address(arguments.port, at),
            peer: peer_address(arguments.port, at),
            ..ListenConfig::default()
        },
        ..Config::default()
    };
    config.founding.timings = Timings::from(arguments.timings);
    config.founding.regions = u16::try_from(REGIONS.len()).unwrap_or(u16::MAX);
    let others = (0..REGIONS.len()).filter(|other| *other != at);
    config.cluster.join = match config.init {
        true => Vec::new(),
        false => others
            .map(|other| peer_address(arguments.port, other))
            .collect(),
    };
    config
}

fn folder(data: &Path, at: usize) -> std::path::PathBuf {
    data.join(REGIONS[at])
}

fn client_address(first: u16, at: usize) -> String {
    format!("127.0.0.1:{}", port(first, at))
}

fn peer_address(first: u16, at: usize) -> String {
    format!("127.0.0.1:{}", port(first, at).saturating_add(1))
}

/// A hundred apart; past the last port they pile up and the start says that the port is taken.
fn port(first: u16, at: usize) -> u16 {
    let apart = u16::try_from(at * 100).unwrap_or(u16::MAX);
    first.saturating_add(apart)
}

fn banner(arguments: &DevArgs) -> String {
    let endpoints: Vec<String> = (0..REGIONS.len())
        .map(|at| client_address(arguments.port, at))
        .collect();
    let regions = REGIONS
        .iter()
        .zip(&endpoints)
        .map(|(region, address)| format!("  {region}  {address}\n"));
    let flag = match arguments.port {
        7101 => String::new(),
        _other => format!(" --endpoint {}", endpoints.join(",")),
    };
    format!(
        "three regions are up, data in {}:\n{}\ntry, in other shells:\n  \
         leasehold worker exec{flag} -- wc -w\n  \
         leasehold job submit{flag} --wait \"hello from another shell\"\n  \
         leasehold shard list{flag}\n\nCtrl-C stops all three",
        arguments.data.display(),
        regions.collect::<String>(),
    )
}
