//! `serve`: one node, until SIGTERM or Ctrl-C.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use leasehold_core::policy::Timings;
use leasehold_server::config::{Config, LogFormat, Overrides};
use leasehold_server::node::Node;
use leasehold_server::telemetry;
use leasehold_types::RegionName;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::args::{LogFormatArg, ServeArgs, TimingsArg};
use crate::exit::{Exit, Failure};
use crate::handles;

/// Longest that a node which cannot go on may take to stop.
const WIND_DOWN: Duration = Duration::from_secs(10);

pub(crate) async fn run(arguments: ServeArgs) -> Result<(), Failure> {
    let config = load(arguments)?;
    telemetry::install(&config.log).map_err(|error| Failure::new(Exit::Refused, error))?;
    let mut stop = StopSignals::listen()?;
    let node = tokio::select! {
        biased;
        () = stop.received() => return Ok(()),
        node = start(config) => node?,
    };
    tokio::select! {
        biased;
        () = stop.received() => {}
        error = node.wait() => {
            wind_down(node).await;
            return Err(chain(Exit::Failed, error));
        }
    }
    node.stop().await;
    Ok(())
}

/// What a node that cannot go on still does for others: its workers are sent elsewhere, and leaderships that can still be
/// handed over are. What its disk holds up is not waited for: that may be for ever.
async fn wind_down(node: Node) {
    if timeout(WIND_DOWN, node.stop()).await.is_err() {
        tracing::warn!(within = ?WIND_DOWN, "stopping was not finished in time");
    }
}

/// Opens the data folder and starts a node in it.
pub(crate) async fn start(config: Config) -> Result<Node, Failure> {
    handles::take_all();
    Node::open(config)
        .await
        .map_err(|error| chain(Exit::Refused, error))
}

/// With everything that led to it.
pub(crate) fn chain(exit: Exit, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(exit, format!("{:#}", anyhow::Error::from(error)))
}

fn load(arguments: ServeArgs) -> Result<Config, Failure> {
    let text = arguments.config.as_deref().map(read).transpose()?;
    Config::load(text.as_deref(), std::env::vars(), overrides(arguments)?)
        .map_err(|error| chain(Exit::Refused, error))
}

pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("configuration {}", file.display()))
}

fn overrides(arguments: ServeArgs) -> Result<Overrides, Failure> {
    let region = arguments.region.as_deref().map(RegionName::new).transpose();
    Ok(Overrides {
        init: arguments.init.then_some(true),
        region: region.map_err(|error| Failure::new(Exit::Refused, error))?,
        data: arguments.data,
        listen: arguments.listen,
        peer_listen: arguments.peer_listen,
        advertise: arguments.advertise,
        peer_advertise: arguments.peer_advertise,
        join: (!arguments.join.is_empty()).then_some(arguments.join),
        timings: arguments.timings.map(Timings::from),
        regions: arguments.regions,
        insecure: arguments.insecure.then_some(true),
        log_format: arguments.log_format.map(LogFormat::from),
        log_level: arguments.log_level,
    })
}

impl From<TimingsArg> for Timings {
    fn from(timings: TimingsArg) -> Self {
        match timings {
            TimingsArg::Wan => Self::Wan,
            TimingsArg::Lan => Self::Lan,
        }
    }
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

/// SIGTERM and Ctrl-C.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on neither ends the process by itself.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next of them.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
