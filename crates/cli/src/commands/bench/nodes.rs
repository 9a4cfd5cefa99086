//! The bench's own cluster: real `leasehold serve` processes on loopback, this very binary.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::target::client;
use crate::commands::reach::is_whole;
use crate::processes::{Place, lay_out, signal, spawn};

/// Longest that a cluster may take until every shard has its voters and a leader.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// Longest that one look at it may take: it has not begun to serve.
const ASK_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest that a node may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Lines of a node's log that are shown when it has ended by itself.
const TAIL_LINES: usize = 10;

/// How nodes are started.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    pub(super) nodes: usize,
    pub(super) timings: &'static str,
    /// For settings that are no flag of `serve`.
    pub(super) config: Option<PathBuf>,
    /// In the place of what the configuration says.
    pub(super) log_kept_mib: Option<u32>,
}

/// The nodes and their data, which is removed with them.
pub(super) struct Nodes {
    launch: Launch,
    program: PathBuf,
    nodes: Vec<Node>,
    root: tempfile::TempDir,
}

struct Node {
    place: Place,
    process: Option<Child>,
}

impl Nodes {
    /// Starts a new cluster in a folder of its own under `disk`, and waits until it is whole.
    pub(super) async fn start(launch: Launch, disk: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(disk).with_context(|| format!("folder {}", disk.display()))?;
        let root = tempfile::Builder::new()
            .prefix("leasehold-bench-")
            .tempdir_in(disk)
            .with_context(|| format!("folder {}", disk.display()))?;
        let launch = launch.settled(root.path())?;
        let places = lay_out(root.path(), launch.nodes)?.into_iter();
        let mut nodes = Self {
            nodes: places.map(Node::at).collect(),
            program: std::env::current_exe().context("the path of this program")?,
            launch,
            root,
        };
        (0..nodes.nodes.len()).try_for_each(|at| nodes.start_node(at, true))?;
        nodes.await_whole().await?;
        Ok(nodes)
    }

    /// Where all data is.
    pub(super) fn folder(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn endpoints(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| node.place.client.clone())
            .collect()
    }

    /// SIGSTOP: the node stands still, with everything that it holds.
    pub(super) fn pause(&self, at: usize) -> io::Result<()> {
        self.nodes[at].signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(super) fn resume(&self, at: usize) -> io::Result<()> {
        self.nodes[at].signal(Signal::CONT)
    }

    /// Region, process and address of each, for people.
    pub(super) fn names(&self) -> String {
        let name = |node: &Node| {
            let process = node.process.as_ref().and_then(Child::id);
            let process = process.map_or_else(String::new, |process| process.to_string());
            format!("{} {process} on {}", node.place.region, node.place.client)
        };
        let names: Vec<String> = self.nodes.iter().map(name).collect();
        names.join(", ")
    }

    pub(super) fn processes(&self) -> Vec<u32> {
        let id = |node: &Node| node.process.as_ref().and_then(Child::id);
        self.nodes.iter().filter_map(id).collect()
    }

    /// SIGKILL to every node at once.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        for node in &self.nodes {
            node.signal(Signal::KILL)?;
        }
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                process.wait().await?;
            }
        }
        Ok(())
    }

    /// Starts every node again, in the folder that it had.
    pub(super) fn start_again(&mut self) -> anyhow::Result<()> {
        (0..self.nodes.len()).try_for_each(|at| self.start_node(at, false))
    }

    /// SIGTERM to all, SIGKILL to those that take too long; the data goes with the value.
    pub(super) async fn stop(mut self) -> io::Result<()> {
        for node in &self.nodes {
            node.signal(Signal::TERM)?;
            // One that stands still hears nothing.
            node.signal(Signal::CONT)?;
        }
        for node in &mut self.nodes {
            let Some(mut process) = node.process.take() else {
                continue;
            };
            if timeout(STOP_WITHIN, process.wait()).await.is_err() {
                signal(&process, Signal::KILL)?;
                process.wait().await?;
            }
        }
        self.root.close()
    }

    /// Whether a node has ended by itself, with the last that it said.
    pub(super) fn failed(&mut self) -> Option<anyhow::Error> {
        self.nodes.iter_mut().find_map(Node::failed)
    }

    /// Returns when a node has ended by itself; never while all go on.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        loop {
            if let Some(failed) = self.failed() {
                return failed;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn start_node(&mut self, at: usize, is_first: bool) -> anyhow::Result<()> {
        let others = self.nodes.iter().enumerate();
        let others = others.filter(|(other, _)| *other != at);
        let peers: Vec<&str> = others.map(|(_, node)| node.place.peer.as_str()).collect();
        let node = &self.nodes[at];
        let mut command = node.place.serve(&self.program);
        command.args(["--log-format", "text", "--log-level", "warn,openraft=off"]);
        if let Some(config) = &self.launch.config {
            command.arg("--config").arg(config);
        }
        match is_first && at == 0 {
            true => {
                let regions = self.launch.nodes.to_string();
                command.args(["--init", "--timings", self.launch.timings]);
                command.args(["--regions", &regions]);
            }
            false if peers.is_empty() => {}
            false => {
                command.args(["--join", &peers.join(",")]);
            }
        }
        let process = spawn(&mut command, &node.place.log())?;
        self.nodes[at].process = Some(process);
        Ok(())
    }

    async fn await_whole(&mut self) -> anyhow::Result<()> {
        let (endpoints, regions) = (self.endpoints(), self.nodes.len());
        let client = client(endpoints, ASK_WITHIN)?;
        let whole = async {
            while !is_whole(&client, regions).await {
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            failure = self.failure() => Err(failure),
            whole = timeout(WHOLE_WITHIN, whole) => {
                whole.with_context(|| format!("the cluster was not whole within {WHOLE_WITHIN:?}"))
            }
        }
    }
}

impl Launch {
    /// With a configuration file of its own, where something in it is to differ.
    fn settled(self, folder: &Path) -> anyhow::Result<Self> {
        let Some(mib) = self.log_kept_mib else {
            return Ok(self);
        };
        let text = match &self.config {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("configuration {}", file.display()))?,
            None => String::new(),
        };
        let file = folder.join("leasehold.toml");
        std::fs::write(&file, with_log_kept(&text, mib)?)
            .with_context(|| format!("configuration {}", file.display()))?;
        Ok(Self {
            config: Some(file),
            ..self
        })
    }
}

fn with_log_kept(config: &str, mib: u32) -> anyhow::Result<String> {
    let mut config: toml::Table = config.parse().context("configuration")?;
    let storage = config.entry("storage");
    let storage = storage.or_insert_with(|| toml::Table::new().into());
    let storage = storage.as_table_mut();
    let storage = storage.context("configuration: storage is a section")?;
    storage.insert("log_kept_mib".to_owned(), i64::from(mib).into());
    Ok(config.to_string())
}

impl Node {
    const fn at(place: Place) -> Self {
        Self {
            place,
            process: None,
        }
    }

    /// One that is not there needs no signal.
    fn signal(&self, by: Signal) -> io::Result<()> {
        let process = self.process.as_ref();
        process.map_or(Ok(()), |process| signal(process, by))
    }

    fn failed(&mut self) -> Option<anyhow::Error> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        let log = std::fs::read_to_string(self.place.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        Some(anyhow::anyhow!(
            "the node of region {} ended with {status}, and last said:\n{}",
            self.place.region,
            tail.join("\n")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_setting_is_put_over_a_configuration_and_the_others_stay() {
        let file = "[storage]\nsegment_mib = 8\nlog_kept_mib = 5\n\n[log]\nlevel = \"warn\"\n";
        let settled: toml::Table = with_log_kept(file, 0).unwrap().parse().unwrap();
        assert_eq!(settled["storage"]["log_kept_mib"].as_integer(), Some(0));
        assert_eq!(settled["storage"]["segment_mib"].as_integer(), Some(8));
        assert_eq!(settled["log"]["level"].as_str(), Some("warn"));
        let alone: toml::Table = with_log_kept("", 7).unwrap().parse().unwrap();
        assert_eq!(alone["storage"]["log_kept_mib"].as_integer(), Some(7));
    }
}
