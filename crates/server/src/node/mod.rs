//! One node, from its data folder to its open doors, and back.
//!
//! Starting goes from the inside out: folder, log, place in a cluster, metadata, shards, and the doors last; stopping
//! goes the other way. A node that was part of a cluster before needs nobody's answer to start, so that a cluster that
//! was killed as a whole comes back as a whole; a new one waits for its cluster, and says so.
//!
//! What must hold: whatever cannot work is refused before anything is changed, with the thing and the way out; and a
//! node that is stopped has told its workers, given its leaderships away and synced its log, or has said what it could
//! not do in time.

mod entry;
mod error;
mod founded;
mod gauges;
mod groups;
mod handler;
mod keepsake;
mod readiness;
mod serve;
mod start;
mod stop;
mod store;
mod watch;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use leasehold_core::metadata::command::Addresses;
use leasehold_storage::OsDisk;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::config::{Config, ShutdownConfig};
use crate::http::{Readiness, Ready};
use crate::metrics::Metrics;
use crate::seam::Seam;
use crate::shards::Shards;
use crate::workers::WorkerSessions;

pub use error::{NodeError, StartError};

use store::Store;

/// A running node. It is ended by [`Node::stop`] or [`Node::halt`]; dropping it closes its doors, and leaves its
/// replicas running until their runtime ends.
pub struct Node {
    cluster: Cluster,
    shards: Shards,
    sessions: WorkerSessions,
    readiness: Readiness,
    metrics: Metrics,
    addresses: Addresses,
    store: Store,
    tasks: Tasks,
    openings: Tasks,
    doors: serve::Doors,
    ended: channel::Receiver<Option<NodeError>>,
    shutdown: ShutdownConfig,
}

/// The node's own tasks; all of them end when the token is cancelled.
#[derive(Clone)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// For a task that looks after its own end, since it must not be dropped half-way.
    fn spawn_whole(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Node {
    /// Starts a node over the operating system: its data folder, its clock, its network.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn open(config: Config) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(async move {
            let disk = OsDisk::open(&config.data)?;
            Self::start(config, Seam::system(Arc::new(disk))).await
        })
    }

    /// Starts a node. Returns once its doors are open, which for a node that has yet to join means once its cluster let
    /// it in; it may then take a little to be ready, see [`Node::ready`].
    ///
    /// # Errors
    /// See [`StartError`]. Nothing of the node runs any more then.
    /// The future is a boxed one so that the whole node is compiled here, once, and not in each crate that starts one.
    pub fn start(config: Config, seam: Seam) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(start::start(config, seam))
    }

    /// Where the node can be reached: its real ports, or what it was told to make known.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// This node's place in its cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// This node's shard replicas.
    #[must_use]
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// What the node counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the node takes work.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Waits until the node takes work.
    pub async fn ready(&self) {
        let mut readiness = self.readiness.watch();
        // The sender lives as long as this node.
        let _ = readiness.wait_for(|ready| *ready == Ready::Yes).await;
    }

    /// Waits until the node can go on no longer. It should then be [stopped](Node::stop) and its process ended.
    pub async fn wait(&self) -> NodeError {
        let mut ended = self.ended.clone();
        let error = match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone(),
            Err(_) => None,
        };
        error.unwrap_or(NodeError::Stopped)
    }

    /// Ends the node as a crash would, telling nobody and handing nothing over, but with its tasks ended and its folder
    /// free. What was acknowledged is on disk.
    pub async fn halt(self) {
        Box::pin(stop::halt(self)).await;
    }

    /// Stops the node in good order: takes no more work, tells its workers, hands its leaderships over, waits for open
    /// requests, all within the bounds of [`ShutdownConfig`], and closes its log.
    pub fn stop(self) -> BoxFuture<'static, ()> {
        Box::pin(stop::stop(self))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.stop.cancel();
        self.sessions.abandon();
        self.doors.slam();
    }
}
