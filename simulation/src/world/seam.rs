//! Simulated time, disk, randomness and threads.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use leasehold_server::seam::{Clock, Seam, SeededEntropy, Threads};
use leasehold_storage::{LogWriter, MemoryDisk};
use leasehold_types::Timestamp;

use super::SimulatedNet;

/// How long a simulated disk takes for one write and sync.
const DISK_LATENCY: Duration = Duration::from_millis(1);

/// The simulation's own time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimulatedClock;

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO + turmoil::sim_elapsed().unwrap_or_default()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + turmoil::since_epoch().unwrap_or_default()
    }
}

/// No threads: the log's writer is a task like any other.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimulatedThreads;

impl Threads for SimulatedThreads {
    fn run_log_writer(&self, writer: LogWriter) -> io::Result<()> {
        tokio::spawn(writer.run(|| tokio::time::sleep(DISK_LATENCY)));
        Ok(())
    }
}

/// The whole seam of one simulated node.
#[must_use]
pub fn seam(disk: &MemoryDisk, seed: u64) -> Seam {
    Seam {
        clock: Arc::new(SimulatedClock),
        net: Arc::new(SimulatedNet),
        entropy: Arc::new(SeededEntropy::new(seed)),
        disk: Arc::new(disk.clone()),
        threads: Arc::new(SimulatedThreads),
    }
}
