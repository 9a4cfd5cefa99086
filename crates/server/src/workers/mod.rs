//! The workers of this gateway: their sessions, and the slots that each lends to the leaders of shards.

use std::time::Duration;

use leasehold_api::v1;

use crate::cluster::Cluster;
use crate::gateway::Router;
use crate::metrics::Metrics;
use crate::seam::Seam;

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
pub struct WorkerSessions;

impl WorkerSessions {
    /// No sessions yet. Starts the task that lends slots; it ends with [`leave`](Self::leave).
    #[must_use]
    pub fn new(_options: WorkerSessionsOptions) -> Self {
        Self
    }

    /// Hands jobs and stops from a shard's leader to the sessions here. Sessions that are not here are named in the
    /// answer, so that the leader releases their grants.
    pub async fn deliver(&self, delivery: v1::Delivery) -> v1::DeliveryAnswer {
        let sessions = delivery.assignments.into_iter().map(|a| a.session);
        v1::DeliveryAnswer {
            unknown_sessions: sessions.collect(),
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        0
    }

    /// Asks every worker to dial another endpoint, takes no new ones, and returns once all have gone or `within` has
    /// passed.
    pub async fn leave(&self, _within: Duration) {}
}
