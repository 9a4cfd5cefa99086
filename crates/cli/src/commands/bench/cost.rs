//! What a run costs: processor time, memory and bytes, as the kernel counts them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::clock::now;
use super::target::Target;

/// Ticks a second in `/proc/PID/stat`: part of the kernel's interface, 100 on every machine that Rust is built for.
const TICKS: u64 = 100;
/// Synced writes of the disk probe.
const PROBES: usize = 101;
/// Bytes of each of them.
const PROBE_BYTES: usize = 4096;

/// What one process has used since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) rss_bytes: u64,
    pub(super) rss_peak_bytes: u64,
    /// Handed to the disk.
    pub(super) written_bytes: u64,
}

impl Usage {
    /// All zero for a process that is gone.
    pub(super) fn of(process: u32) -> Self {
        let read = |file| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        let status = read("status");
        Self {
            cpu: cpu(&read("stat")).unwrap_or_default(),
            rss_bytes: field(&status, "VmRSS:").unwrap_or(0) * 1024,
            rss_peak_bytes: field(&status, "VmHWM:").unwrap_or(0) * 1024,
            written_bytes: field(&read("io"), "write_bytes:").unwrap_or(0),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            rss_bytes: self.rss_bytes + other.rss_bytes,
            rss_peak_bytes: self.rss_peak_bytes + other.rss_peak_bytes,
            written_bytes: self.written_bytes + other.written_bytes,
        }
    }
}

/// User and system time. The name of a program may hold blanks, so fields are counted from behind it.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 1000 / TICKS))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Everything at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    /// All nodes together; none where they are not the bench's own.
    pub(super) server: Option<Usage>,
    pub(super) client: Usage,
}

impl Reading {
    pub(super) fn of(target: &Target) -> Self {
        let processes = target.processes();
        let server = processes.iter().map(|process| Usage::of(*process));
        Self {
            server: server.reduce(Usage::and),
            client: Usage::of(std::process::id()),
        }
    }
}

/// The machine that everything ran on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
}

impl Machine {
    pub(super) fn look() -> anyhow::Result<Self> {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            memory_bytes: field(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        })
    }
}

/// Waits until the disk has written everything that it was given, by whomever. Files removed a moment ago count too:
/// on a disk that is told of unused blocks, syncs take many times as long until that is through.
pub(super) fn settle(folder: &Path) -> anyhow::Result<()> {
    let opened = File::open(folder).with_context(|| format!("folder {}", folder.display()))?;
    rustix::fs::syncfs(opened).with_context(|| format!("syncing the disk of {}", folder.display()))
}

/// Median of appending 4 KiB to a file in this folder and syncing it. The file has no name: it can be in nobody's way.
pub(super) fn sync_probe(folder: &Path) -> anyhow::Result<Duration> {
    let file = tempfile::tempfile_in(folder);
    let mut file = file.with_context(|| format!("a file in folder {}", folder.display()))?;
    let mut took = Vec::with_capacity(PROBES);
    for _probe in 0..PROBES {
        let start = now();
        file.write_all(&[7; PROBE_BYTES])?;
        file.sync_data()?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok(took[PROBES / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_blanks() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu(""), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id());
        assert!(usage.rss_bytes > 0 && usage.rss_peak_bytes >= usage.rss_bytes);
    }

    #[test]
    fn probe_leaves_everything_in_the_folder_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("sync-probe");
        fs::write(&mine, "mine").unwrap();
        assert!(sync_probe(folder.path()).unwrap() > Duration::ZERO);
        assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
