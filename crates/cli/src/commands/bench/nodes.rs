//! The bench's own cluster: real `leasehold serve` processes on loopback, this very binary.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use leasehold_api::v1;
use leasehold_client::{Client, ClientError, Kind};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::target::client;
use crate::commands::reach;

const REGIONS: [&str; 3] = ["eu", "us", "ap"];
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
    region: &'static str,
    client: String,
    peer: String,
    folder: PathBuf,
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
        let mut nodes = Self {
            nodes: lay_out(root.path(), launch.nodes)?,
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
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    /// SIGSTOP: the node stands still, with everything that it holds.
    pub(super) fn pause(&self, at: usize) -> io::Result<()> {
        signal(self.nodes[at].process.as_ref(), Signal::STOP)
    }

    /// SIGCONT.
    pub(super) fn resume(&self, at: usize) -> io::Result<()> {
        signal(self.nodes[at].process.as_ref(), Signal::CONT)
    }

    /// Region, process and address of each, for people.
    pub(super) fn names(&self) -> String {
        let name = |node: &Node| {
            let process = node.process.as_ref().and_then(Child::id);
            let process = process.map_or_else(String::new, |process| process.to_string());
            format!("{} {process} on {}", node.region, node.client)
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
            signal(node.process.as_ref(), Signal::KILL)?;
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
            signal(node.process.as_ref(), Signal::TERM)?;
            // One that stands still hears nothing.
            signal(node.process.as_ref(), Signal::CONT)?;
        }
        for node in &mut self.nodes {
            let Some(mut process) = node.process.take() else {
                continue;
            };
            if timeout(STOP_WITHIN, process.wait()).await.is_err() {
                signal(Some(&process), Signal::KILL)?;
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
        let peers: Vec<&str> = others.map(|(_, node)| node.peer.as_str()).collect();
        let mut command = Command::new(&self.program);
        let node = &self.nodes[at];
        command
            .args(["serve", "--region", node.region, "--data"])
            .arg(node.folder.join("data"))
            .args(["--listen", &node.client, "--peer-listen", &node.peer])
            .args(["--log-format", "text", "--log-level", "warn,openraft=off"]);
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
        let process = spawn(&mut command, &node.log())?;
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
    fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    fn failed(&mut self) -> Option<anyhow::Error> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        Some(anyhow::anyhow!(
            "the node of region {} ended with {status}, and last said:\n{}",
            self.region,
            tail.join("\n")
        ))
    }
}

fn lay_out(root: &Path, count: usize) -> anyhow::Result<Vec<Node>> {
    let ports = free_ports(count * 2)?;
    let regions = REGIONS.into_iter().zip(ports.chunks(2));
    let node = |(region, ports): (&'static str, &[u16])| {
        let folder = root.join(region);
        std::fs::create_dir_all(&folder).with_context(|| format!("folder {}", folder.display()))?;
        Ok(Node {
            region,
            client: format!("127.0.0.1:{}", ports[0]),
            peer: format!("127.0.0.1:{}", ports[1]),
            folder,
            process: None,
        })
    };
    regions.map(node).collect()
}

/// Held all at once, so that no port is given twice.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let held = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<io::Result<Vec<_>>>()?;
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.with_context(|| format!("log {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {:?}", command.as_std().get_program()))
}

/// To the process's whole group; one that has ended needs no signal.
fn signal(process: Option<&Child>, signal: Signal) -> io::Result<()> {
    let id = process.and_then(Child::id);
    let group = id
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    match group.map(|group| kill_process_group(group, signal)) {
        None | Some(Ok(()) | Err(rustix::io::Errno::SRCH)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
    }
}

/// Whether every region has its shard, with as many voters as there are regions, and a leader.
async fn is_whole(client: &Client, regions: usize) -> bool {
    let whole = |shard: &v1::Shard| {
        shard.leader != 0 && shard.voters.len() == regions && shard.error.is_none()
    };
    match shards(client).await {
        Ok(shards) => shards.len() == regions && shards.iter().all(whole),
        Err(_not_yet) => false,
    }
}

async fn shards(client: &Client) -> Result<Vec<v1::Shard>, ClientError> {
    let ask = |channel| async move {
        let request = v1::ListShardsRequest {};
        reach::admin(channel).list_shards(request).await
    };
    Ok(client.call(Kind::Read, ask).await?.shards)
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
