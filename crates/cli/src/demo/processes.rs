//! The demo's three regions: real processes, started, killed and started again.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::process::{Child, Command};

use crate::processes::{self, Place, REGIONS, signal, spawn};

/// One region: a node, and a worker with a few slots.
pub(crate) struct Region {
    pub(crate) place: Place,
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

/// Picks free ports and folders; starts nothing yet.
pub(crate) fn lay_out(root: &Path) -> anyhow::Result<Vec<Region>> {
    let places = processes::lay_out(root, REGIONS.len())?.into_iter();
    let region = |place| Region {
        place,
        node: None,
        worker: None,
    };
    Ok(places.map(region).collect())
}

impl Region {
    /// Starts the node: as the founder when it joins nobody.
    pub(crate) fn start_node(
        &mut self,
        launcher: &Launcher,
        join: &[String],
    ) -> anyhow::Result<()> {
        let mut command = self.place.serve(&launcher.program);
        command.args(["--log-format", "text", "--log-level", "info"]);
        match join {
            [] => command.args(["--init", "--timings", "lan", "--regions", "3"]),
            addresses => command.args(["--join", &addresses.join(",")]),
        };
        self.node = Some(spawn(&mut command, &self.place.log())?);
        Ok(())
    }

    /// Starts the worker: its own region first, the others for the day it is gone.
    pub(crate) fn start_worker(
        &mut self,
        launcher: &Launcher,
        others: &[String],
    ) -> anyhow::Result<()> {
        let endpoints: Vec<&str> = std::iter::once(&self.place.client)
            .chain(others)
            .map(String::as_str)
            .collect();
        let mut command = Command::new(&launcher.program);
        command.args(["worker", "exec", "--queue", launcher.queue, "--slots"]);
        command.arg(launcher.slots.to_string());
        command.args([
            "--name",
            &format!("worker.{}", self.place.region),
            "--endpoint",
            &endpoints.join(","),
        ]);
        command.args(["--", "sh", "-c", launcher.script]);
        self.worker = Some(spawn(&mut command, &self.place.folder.join("worker.log"))?);
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
        let name = self.place.region;
        let check = |what: &str, child: &mut Option<Child>| {
            let status = child.as_mut()?.try_wait().ok()??;
            Some(format!("the {what} of region {name} ended with {status}"))
        };
        check("node", &mut self.node).or_else(|| check("worker", &mut self.worker))
    }
}

async fn end(mut process: Child, by: Signal) -> io::Result<()> {
    signal(&process, by)?;
    process.wait().await?;
    Ok(())
}
