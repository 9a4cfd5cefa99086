//! What a run costs: processor time, memory and bytes as the kernel counts them, syncs as the nodes count them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use leasehold_client::Address;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// What the nodes' logs have done, over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Logged {
    pub(super) syncs: u64,
    pub(super) bytes: u64,
}

/// Reads the nodes' counters once they have stood still, which they do a second after the last job.
pub(super) async fn logged(target: &Target) -> anyhow::Result<Logged> {
    const SAMPLED_EVERY: Duration = Duration::from_millis(1100);
    tokio::time::sleep(SAMPLED_EVERY).await;
    let mut logged = Logged::default();
    for endpoint in target.endpoints() {
        let page = metrics(endpoint).await;
        let page = page.with_context(|| format!("reading http://{endpoint}/metrics"))?;
        logged.syncs += counter(&page, "leasehold_log_syncs");
        logged.bytes += counter(&page, "leasehold_log_written_bytes");
    }
    Ok(logged)
}

async fn metrics(endpoint: &Address) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(endpoint.as_str()).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {endpoint}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}

/// The sum over all label sets; 0 where there are none.
fn counter(page: &str, name: &str) -> u64 {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_whole_name = rest.starts_with([' ', '{']);
        let value = rest.rsplit_once(' ')?.1;
        is_whole_name.then(|| value.parse::<u64>().ok())?
    });
    values.sum()
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

/// Median of appending 4 KiB to a file in this folder and syncing it.
pub(super) fn sync_probe(folder: &Path) -> anyhow::Result<Duration> {
    let path = folder.join("sync-probe");
    let mut file = File::create(&path).with_context(|| format!("file {}", path.display()))?;
    let mut took = Vec::with_capacity(PROBES);
    for _probe in 0..PROBES {
        let start = now();
        file.write_all(&[7; PROBE_BYTES])?;
        file.sync_data()?;
        took.push(start.elapsed());
    }
    fs::remove_file(&path)?;
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
    fn counter_is_summed_over_its_labels_and_no_other_name_is_taken_for_it() {
        let page = "x_total{a=\"1\"} 3\nx_total{a=\"2\"} 4\nx_totals 9\n# x_total 8\ny_total 5\n";
        assert_eq!(counter(page, "x_total"), 7);
        assert_eq!(counter(page, "y_total"), 5);
        assert_eq!(counter(page, "z_total"), 0);
    }

    #[test]
    fn probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(sync_probe(folder.path()).unwrap() > Duration::ZERO);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
