//! A leased job, as the handler gets it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leasehold_api::convert::workers::LeasedJob;
use leasehold_core::shard::command::WorkPhase;
use leasehold_types::{FenceToken, JobId, QueueName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::vitals::Vitals;
use crate::clock::now;

/// A leased job. Clones share its progress and its token, so it can be handed to threads and tasks of your own.
#[derive(Debug, Clone)]
pub struct WorkItem {
    job: Arc<LeasedJob>,
    vitals: Arc<Vitals>,
    started: Instant,
}

impl WorkItem {
    pub(super) fn new(job: LeasedJob, vitals: Arc<Vitals>) -> Self {
        Self {
            job: Arc::new(job),
            vitals,
            started: now(),
        }
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.job.job
    }

    /// Its queue.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.job.queue
    }

    /// What to work on.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.job.payload
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.job.attempt
    }

    /// The fence token of this lease. Put it into every write to another system that can refuse an older one.
    #[must_use]
    pub fn fence(&self) -> FenceToken {
        self.job.fence
    }

    /// Says how far the work is: a count that only rises, of tokens, frames or bytes put out so far. Costs one atomic
    /// write. A lease whose progress stands still is taken away after the queue's stall limit.
    pub fn progress(&self, total: u64) {
        self.vitals.raise_to(total);
    }

    /// The same, as what came since the last call.
    pub fn advance(&self, more: u64) {
        self.vitals.raise_by(more);
    }

    /// Says what the work is at. A started job is never `Queued` again: that is taken as `Running`.
    pub fn phase(&self, phase: WorkPhase) {
        let phase = match phase {
            WorkPhase::Queued | WorkPhase::Running => WorkPhase::Running,
            WorkPhase::Loading => WorkPhase::Loading,
            WorkPhase::Uploading => WorkPhase::Uploading,
        };
        self.vitals.enter(phase);
    }

    /// Cancelled once the lease is lost or the job was cancelled. The handler's future is dropped at the same time;
    /// the token is for what it has started outside itself.
    #[must_use]
    pub fn cancelled(&self) -> CancellationToken {
        self.vitals.stopped().clone()
    }

    /// Until the attempt's time limit or the job's deadline, whichever comes first. A lease can be lost earlier.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let limit = self.job.attempt_limit.min(self.job.remaining);
        limit.saturating_sub(now().duration_since(self.started))
    }
}
