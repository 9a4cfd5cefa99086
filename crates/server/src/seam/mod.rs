//! The one place where a node touches time, network, disk, randomness and threads.
//!
//! Everything else in this crate gets a [`Seam`] and asks it. In production each part is the operating system's; in a
//! deterministic simulation each is replaced, and the very same server code runs on. Waiting needs no seam of its
//! own: `tokio::time` is what a simulation drives.

mod entropy;
mod net;
mod system;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use leasehold_storage::{Disk, LogWriter};
use leasehold_types::Timestamp;

pub use entropy::{Entropy, SeededEntropy};
pub use net::{BoxedIo, Connection, Incoming, Listener, Net};
pub use system::{SystemClock, SystemEntropy, SystemNet, SystemThreads};

/// Reads the time. See [`SystemClock`] for the real one.
pub trait Clock: Send + Sync + 'static {
    /// This node's monotonic clock, which goes on counting while the machine is suspended. Its zero means nothing.
    fn now(&self) -> Timestamp;

    /// The calendar time, for logs and for people; never for a decision.
    fn wall(&self) -> SystemTime;
}

/// Starts what needs a thread of its own in production and is a task in a simulation.
pub trait Threads: Send + Sync + 'static {
    /// Runs the log's writer until its log is closed.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    fn run_log_writer(&self, writer: LogWriter) -> io::Result<()>;
}

/// Everything that a node may touch of the world.
#[derive(Clone)]
pub struct Seam {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Network.
    pub net: Arc<dyn Net>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The node's data folder.
    pub disk: Arc<dyn Disk>,
    /// Threads.
    pub threads: Arc<dyn Threads>,
}

impl Seam {
    /// The operating system's clock, network, randomness and threads, over this folder.
    #[must_use]
    pub fn system(disk: Arc<dyn Disk>) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            net: Arc::new(SystemNet),
            entropy: Arc::new(SystemEntropy),
            disk,
            threads: Arc::new(SystemThreads),
        }
    }
}
