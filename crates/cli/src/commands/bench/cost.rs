//! What a run costs: processor time, memory and bytes, as the kernel counts them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::clock::now;
use super::counters::Logged;
use super::target::Target;
use super::throughput::{Window, as_f64};
use crate::output::fields;

const MIB: f64 = 1024.0 * 1024.0;
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

/// What a job, a renewal or a change cost. Costs of the server are none where its processes are not the bench's own.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cost {
    /// What the figures below are for one of: a job, a renewal, or a change.
    pub(crate) per: &'static str,
    pub(crate) server_cpu_us: Option<f64>,
    pub(crate) client_cpu_us: f64,
    /// Processors in use by all nodes, on average.
    pub(crate) server_cores: Option<f64>,
    pub(crate) client_cores: f64,
    pub(crate) server_rss_bytes: Option<u64>,
    pub(crate) server_rss_peak_bytes: Option<u64>,
    /// Syncs of the nodes' logs, all nodes together. None, as with the bytes, where a node did not say.
    pub(crate) syncs: Option<f64>,
    pub(crate) log_bytes: Option<f64>,
    /// What the kernel was given to write, checkpoints and all.
    pub(crate) disk_bytes: Option<f64>,
}

impl Cost {
    /// Processor time over the window; syncs and bytes of the log from before the first job until after the last.
    pub(super) fn of(window: &Window, (before, after): (&Logged, &Logged), jobs: u64) -> Self {
        let seconds = window.took.as_secs_f64().max(1e-9);
        let each = |amount: f64, jobs: u64| amount / as_f64(jobs.max(1));
        let (earlier, later) = (window.before, window.after);
        let client = (later.client.cpu.saturating_sub(earlier.client.cpu)).as_secs_f64();
        let server = earlier.server.zip(later.server);
        let cpu = server.map(|(from, to)| to.cpu.saturating_sub(from.cpu).as_secs_f64());
        let logged = after.since(before);
        let disk = server.map(|(from, to)| to.written_bytes.saturating_sub(from.written_bytes));
        Self {
            per: "job",
            server_cpu_us: cpu.map(|cpu| each(cpu * 1e6, window.jobs)),
            client_cpu_us: each(client * 1e6, window.jobs),
            server_cores: cpu.map(|cpu| cpu / seconds),
            client_cores: client / seconds,
            server_rss_bytes: later.server.map(|usage| usage.rss_bytes),
            server_rss_peak_bytes: later.server.map(|usage| usage.rss_peak_bytes),
            syncs: logged.map(|counts| each(as_f64(counts.syncs), jobs)),
            log_bytes: logged.map(|counts| each(as_f64(counts.bytes), jobs)),
            disk_bytes: disk.map(|bytes| each(as_f64(bytes), window.jobs)),
        }
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let per = self.per;
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "not known".to_owned());
        let server = self.server_cpu_us.zip(self.server_cores);
        let server = server.map(|(each, cores)| format!("{each:.1} us/{per}, {cores:.2} cores"));
        let client = format!(
            "{:.1} us/{per}, {:.2} cores",
            self.client_cpu_us, self.client_cores
        );
        let memory = self.server_rss_bytes.zip(self.server_rss_peak_bytes);
        let memory = memory.map(|(now, peak)| {
            let mib = |bytes| as_f64(bytes) / MIB;
            format!("{:.0} MiB, at most {:.0} MiB", mib(now), mib(peak))
        });
        let syncs = self.syncs.map(|syncs| format!("{syncs:.4} /{per}"));
        let logged = self.log_bytes.map(|bytes| format!("{bytes:.0} B/{per}"));
        let disk = self.disk_bytes.map(|bytes| format!("{bytes:.0} B/{per}"));
        fields(&[
            ("server cpu", or_unknown(server)),
            ("client cpu", client),
            ("server memory", or_unknown(memory)),
            ("log syncs", or_unknown(syncs)),
            ("log written", or_unknown(logged)),
            ("disk written", or_unknown(disk)),
        ])
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
