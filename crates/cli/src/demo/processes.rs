//! The demo's three regions: real processes, started, killed and started again.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// One region: a node, and a worker with a few slots.
pub(crate) struct Region {
    pub(crate) name: &'static str,
    pub(crate) client: String,
    peer: String,
    folder: PathBuf,
    node: Option<Child>,
    worker: Option<Child>,
}

/// How the regions are started.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    pub(crate) program: PathBuf,
    pub(crate) script: &'static str,
    pub(crate) queue: &'static str,
    pub(crate) slots: u32,
}

pub(crate) const NAMES: [&str; 3] = ["eu", "us", "ap"];

/// Picks free ports and folders; starts nothing yet.
pub(crate) fn lay_out(root: &Path) -> anyhow::Result<Vec<Region>> {
    let ports = free_ports(NAMES.len() * 2)?;
    let mut regions = Vec::new();
    for (name, ports) in NAMES.into_iter().zip(ports.chunks(2)) {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("folder {}", folder.display()))?;
        regions.push(Region {
            name,
            client: format!("127.0.0.1:{}", ports[0]),
            peer: format!("127.0.0.1:{}", ports[1]),
            folder,
            node: None,
            worker: None,
        });
    }
    Ok(regions)
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

impl Region {
    /// Where this region's processes write what they have to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// Where other nodes come in.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// Starts the node: as the founder when it joins nobody.
    pub(crate) fn start_node(
        &mut self,
        launcher: &Launcher,
        join: &[String],
    ) -> anyhow::Result<()> {
        let mut command = Command::new(&launcher.program);
        command
            .args(["serve", "--region", self.name, "--data"])
            .arg(self.folder.join("data"));
        command.args(["--listen", &self.client, "--peer-listen", &self.peer]);
        command.args(["--log-format", "text", "--log-level", "info"]);
        match join {
            [] => command.args(["--init", "--timings", "lan", "--regions", "3"]),
            addresses => command.args(["--join", &addresses.join(",")]),
        };
        self.node = Some(spawn(&mut command, &self.log())?);
        Ok(())
    }

    /// Starts the worker: its own region first, the others for the day it is gone.
    pub(crate) fn start_worker(
        &mut self,
        launcher: &Launcher,
        others: &[String],
    ) -> anyhow::Result<()> {
        let endpoints: Vec<&str> = std::iter::once(&self.client)
            .chain(others)
            .map(String::as_str)
            .collect();
        let mut command = Command::new(&launcher.program);
        command.args(["worker", "exec", "--queue", launcher.queue, "--slots"]);
        command.arg(launcher.slots.to_string());
        command.args([
            "--name",
            &format!("worker.{}", self.name),
            "--endpoint",
            &endpoints.join(","),
        ]);
        command.args(["--", "sh", "-c", launcher.script]);
        self.worker = Some(spawn(&mut command, &self.folder.join("worker.log"))?);
        Ok(())
    }

    /// SIGKILL to everything in the region, at once.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        for child in [self.node.take(), self.worker.take()].into_iter().flatten() {
            end(child, Signal::KILL).await?;
        }
        Ok(())
    }

    /// SIGTERM to everything in the region, worker first.
    pub(crate) async fn stop(&mut self) -> io::Result<()> {
        for child in [self.worker.take(), self.node.take()].into_iter().flatten() {
            end(child, Signal::TERM).await?;
        }
        Ok(())
    }

    /// Whether a process of this region ended by itself; which, and how.
    pub(crate) fn has_failed(&mut self) -> Option<String> {
        let name = self.name;
        let check = |what: &str, child: &mut Option<Child>| {
            let status = child.as_mut()?.try_wait().ok()??;
            Some(format!("the {what} of region {name} ended with {status}"))
        };
        check("node", &mut self.node).or_else(|| check("worker", &mut self.worker))
    }
}

fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let log_file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("log {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log_file.try_clone()?)
        .stderr(log_file)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {:?}", command.as_std().get_program()))
}

async fn end(mut child: Child, signal: Signal) -> io::Result<()> {
    let group = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(group) = group {
        kill_process_group(group, signal)?;
    }
    child.wait().await?;
    Ok(())
}
