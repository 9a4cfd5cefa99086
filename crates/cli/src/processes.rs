//! Nodes of one's own, as the demo and the bench start them: processes of this very binary on loopback, one a region,
//! each with its ports and a folder.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// Names of the regions, in the order in which they are started.
pub(crate) const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// Where a node is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) region: &'static str,
    /// Where clients come in.
    pub(crate) client: String,
    /// Where other nodes come in.
    pub(crate) peer: String,
    pub(crate) folder: PathBuf,
}

impl Place {
    /// Where its processes write what they have to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// The command line of a node here, but for whom it joins and what else is to be set.
    pub(crate) fn serve(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .args(["serve", "--region", self.region, "--data"])
            .arg(self.folder.join("data"))
            .args(["--listen", &self.client, "--peer-listen", &self.peer]);
        command
    }
}

/// Picks free ports and makes folders for so many regions, three at most; starts nothing.
pub(crate) fn lay_out(root: &Path, regions: usize) -> anyhow::Result<Vec<Place>> {
    let ports = free_ports(regions * 2)?;
    let places = REGIONS.into_iter().zip(ports.chunks(2));
    let place = |(region, ports): (&'static str, &[u16])| {
        let folder = root.join(region);
        std::fs::create_dir_all(&folder).with_context(|| format!("folder {}", folder.display()))?;
        Ok(Place {
            region,
            client: format!("127.0.0.1:{}", ports[0]),
            peer: format!("127.0.0.1:{}", ports[1]),
            folder,
        })
    };
    places.map(place).collect()
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

/// Starts a process group of its own that writes to this log and ends with the value.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
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
pub(crate) fn signal(process: &Child, signal: Signal) -> io::Result<()> {
    let group = process
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    match group.map(|group| kill_process_group(group, signal)) {
        None | Some(Ok(()) | Err(rustix::io::Errno::SRCH)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
    }
}
