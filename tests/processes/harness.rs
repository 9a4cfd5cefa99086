//! Real nodes and workers, started, killed and started again on loopback.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const LEASEHOLD: &str = env!("CARGO_BIN_EXE_leasehold");

/// A process group that ends with its owner.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        use std::os::unix::process::CommandExt as _;
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            child,
            log: log.to_owned(),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // A process that has ended already needs no signal.
        let _ = kill_process_group(group.unwrap(), signal);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Waits until the process has said something; at most for half a minute.
    pub(crate) fn await_log(&self, words: &str) {
        for _look in 0..600 {
            if self.log().contains(words) {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        panic!("{words:?} was never said: {}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// One region's node: where it listens and what it keeps.
pub(crate) struct Node {
    pub(crate) region: &'static str,
    pub(crate) client: String,
    pub(crate) peer: String,
    pub(crate) folder: PathBuf,
    pub(crate) process: Option<Process>,
}

/// Nodes on loopback, with folders that go with them.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) timings: &'static str,
    pub(crate) root: TempDir,
}

const REGIONS: [&str; 5] = ["eu", "us", "ap", "sa", "af"];

impl Cluster {
    /// Lays out so many regions; starts nothing.
    pub(crate) fn new(regions: usize, timings: &'static str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let ports = free_ports(regions * 2);
        let node = |(region, ports): (&'static str, &[u16])| Node {
            region,
            client: format!("127.0.0.1:{}", ports[0]),
            peer: format!("127.0.0.1:{}", ports[1]),
            folder: root.path().join(region),
            process: None,
        };
        let nodes = REGIONS.into_iter().zip(ports.chunks(2)).map(node).collect();
        Self {
            nodes,
            timings,
            root,
        }
    }

    /// Starts every node: the first founds, the others join it.
    pub(crate) fn start_all(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.start(at));
    }

    /// Starts one node, or starts it again.
    pub(crate) fn start(&mut self, at: usize) {
        let mut command = self.command(at);
        let log = self.log_of(at);
        self.nodes[at].process = Some(Process::start(&mut command, &log));
    }

    /// The command line of one node.
    pub(crate) fn command(&self, at: usize) -> Command {
        let node = &self.nodes[at];
        let mut command = Command::new(LEASEHOLD);
        command.args(["serve", "--region", node.region, "--listen", &node.client]);
        command
            .args(["--peer-listen", &node.peer, "--data"])
            .arg(&node.folder);
        if node.folder.exists() {
            return self.with_peers(command, at);
        }
        if at == 0 {
            let regions = self.nodes.len().to_string();
            command.args(["--init", "--timings", self.timings, "--regions", &regions]);
            return command;
        }
        self.with_peers(command, at)
    }

    fn with_peers(&self, mut command: Command, at: usize) -> Command {
        let others = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let peers: Vec<&str> = others.map(|(_, node)| node.peer.as_str()).collect();
        if !peers.is_empty() {
            command.args(["--join", &peers.join(",")]);
        }
        command
    }

    pub(crate) fn log_of(&self, at: usize) -> PathBuf {
        self.root
            .path()
            .join(format!("{}.log", self.nodes[at].region))
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at].process.take().unwrap().kill();
    }

    /// Everything that clients may talk to.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    /// Runs the binary as a person would, against this cluster.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(LEASEHOLD)
            .args(arguments)
            .env("LEASEHOLD_ENDPOINTS", self.endpoints().join(","))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The same, and what it printed must be JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.cli(&[arguments, &["--json"]].concat());
        assert!(
            output.status.success(),
            "{arguments:?}: {output:?}\n{}",
            self.logs()
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until every shard of the cluster has a leader and as many voters as there should be.
    pub(crate) fn await_whole(&self) {
        let voters = if self.nodes.len() >= 3 { 3 } else { 1 };
        self.await_shards("whole", |shard| {
            shard["leader"] != 0
                && shard["voters"]
                    .as_array()
                    .is_some_and(|all| all.len() == voters)
        });
    }

    /// Waits until all shards are as wanted; asks again and again, at most for two minutes.
    pub(crate) fn await_shards(&self, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        for _ask in 0..240 {
            let output = self.cli(&["shard", "list", "--json", "--timeout", "5s"]);
            let shards: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            let shards = shards.as_array().cloned().unwrap_or_default();
            if shards.len() == self.nodes.len() && shards.iter().all(&wanted) {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(500));
        }
        panic!("the shards are not {what}:\n{}", self.logs());
    }

    /// All that the nodes have said, for a failed test.
    pub(crate) fn logs(&self) -> String {
        let logs = (0..self.nodes.len()).map(|at| {
            let log = std::fs::read_to_string(self.log_of(at)).unwrap_or_default();
            format!("--- {}\n{log}", self.nodes[at].region)
        });
        logs.collect()
    }
}

/// Held all at once, so that no port is given twice.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    held.iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}
