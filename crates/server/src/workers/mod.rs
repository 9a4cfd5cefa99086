//! The workers of this gateway: their sessions, what they are told, and the slots that each lends to leaders.
//!
//! A worker talks to one gateway and its jobs come from many shards. The gateway passes on and divides; it decides
//! nothing about a job and vouches for nothing: renewals are answered by leaders only, a write is answered once it is
//! applied, and of a lease it knows nothing at all. What it does decide is which leader may use a free slot, by
//! [`core::lending`](leasehold_core::lending).
//!
//! One task tends each session: it polls the lending, makes its offers and ends it. Whatever happens to a session from
//! outside (a message, a grant, news of work) changes its state under a short lock and wakes that task.
//!
//! What must hold: a grant either reaches the worker's connection, or is named unknown, or is handed back at once; no
//! lock is held across an await; everything that a worker or a leader can make grow is bounded.

mod attach;
mod deliver;
mod leaders;
mod leaving;
mod map;
mod offers;
mod outlet;
mod registry;
mod renewals;
mod session;
mod stream;
mod tend;
mod unary;
mod writes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leasehold_api::{ApiError, v1};
use leasehold_core::lending::Board;
use leasehold_types::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use crate::cluster::Cluster;
use crate::gateway::Router;
use crate::metrics::Metrics;
use crate::seam::Seam;

use leaders::Leaders;
use registry::Registry;
use writes::Writes;

/// What worker sessions work with.
pub struct WorkerSessionsOptions {
    /// The metadata, as this node knows it.
    pub cluster: Cluster,
    /// The way to the leaders.
    pub router: Router,
    /// Where the counting goes.
    pub metrics: Metrics,
    /// Time and randomness.
    pub seam: Seam,
}

/// This gateway's worker sessions. Clones are cheap and share them.
#[derive(Clone)]
pub struct WorkerSessions {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    leaders: Leaders,
    metrics: Metrics,
    seam: Seam,
    registry: Registry,
    board: Mutex<Board>,
    writes: Writes,
    /// The sessions' tenders.
    tenders: TaskTracker,
    /// No new sessions: the node is stopping.
    leaving: CancellationToken,
    /// Nothing goes on.
    stopped: CancellationToken,
}

impl WorkerSessions {
    /// No sessions yet. Starts the task that follows the shard map; everything ends with [`leave`](Self::leave).
    #[must_use]
    pub fn new(options: WorkerSessionsOptions) -> Self {
        let stopped = CancellationToken::new();
        let inner = Arc::new(Inner {
            writes: Writes::new(options.router.clone(), stopped.clone()),
            leaders: Leaders::new(options.router, options.seam.clone()),
            registry: Registry::new(options.metrics.clone()),
            cluster: options.cluster,
            metrics: options.metrics,
            seam: options.seam,
            board: Mutex::default(),
            tenders: TaskTracker::new(),
            leaving: CancellationToken::new(),
            stopped,
        });
        tokio::spawn(map::follow(Arc::clone(&inner)));
        Self { inner }
    }

    /// Serves one worker's connection: its first message is its hello. Returns at once with what to send it; whatever
    /// is wrong ends that stream with a status.
    ///
    /// # Errors
    /// When the node is stopping.
    pub fn open(
        &self,
        messages: Streaming<v1::WorkerMessage>,
    ) -> Result<mpsc::Receiver<Result<v1::GatewayMessage, Status>>, ApiError> {
        self.inner.refuse_when_leaving()?;
        let (outlet, answers) = outlet::channel();
        tokio::spawn(stream::serve(Arc::clone(&self.inner), messages, outlet));
        Ok(answers)
    }

    /// An outcome as the service gives it back; refusals are counted.
    pub(crate) fn counted<T>(&self, result: Result<T, ApiError>) -> Result<T, Status> {
        result.map_err(|error| {
            self.inner.metrics.refused(error.code, 1);
            error.into()
        })
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner.registry.len()
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.seam.clock.now()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_when_leaving(&self) -> Result<(), ApiError> {
        if self.leaving.is_cancelled() {
            let node = self.cluster.node();
            let message = format!("node {node} is stopping: dial another endpoint");
            return Err(ApiError::unavailable(message));
        }
        Ok(())
    }
}
