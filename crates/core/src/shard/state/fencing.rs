//! Whether a worker's write still counts: the one comparison of fences that everything goes by.

use leasehold_types::{FenceToken, JobId};

use super::ShardState;
use crate::shard::job::{Job, JobState, Lease};
use crate::shard::outcome::{Refusal, Stale};

impl ShardState {
    /// Why a write under this fence no longer counts; none while the fence is the job's current lease.
    #[must_use]
    pub fn stale(&self, job: JobId, fence: FenceToken) -> Option<Stale> {
        let Some(header) = self.header(job) else {
            return Some(Stale::Unknown);
        };
        match &header.state {
            JobState::Leased(lease) if lease.fence == fence => None,
            JobState::Leased(lease) => Some(Stale::Superseded(lease.fence)),
            JobState::Waiting { .. } | JobState::Ready => Some(Stale::Ended),
            JobState::Done(_) => Some(Stale::Done),
            JobState::Cancelled { .. } => Some(Stale::Cancelled),
            JobState::Dead { .. } => Some(Stale::Dead),
        }
    }

    /// The job and its lease, if this fence is the current one.
    pub(in crate::shard) fn held(
        &self,
        id: JobId,
        fence: FenceToken,
    ) -> Result<(&Job, &Lease), Refusal> {
        let leased = self.jobs.get(id).and_then(|job| match &job.header.state {
            JobState::Leased(lease) if lease.fence == fence => Some((job, lease.as_ref())),
            JobState::Leased(_)
            | JobState::Waiting { .. }
            | JobState::Ready
            | JobState::Done(_)
            | JobState::Cancelled { .. }
            | JobState::Dead { .. } => None,
        });
        leased.ok_or_else(|| Refusal::StaleFence {
            job: id,
            given: fence,
            why: self.stale(id, fence).unwrap_or(Stale::Ended),
        })
    }

    /// Whether the job's result was accepted under this fence.
    pub(in crate::shard) fn was_done_under(&self, job: JobId, given: FenceToken) -> bool {
        let header = self.header(job);
        header.is_some_and(
            |header| matches!(&header.state, JobState::Done(done) if done.fence == given),
        )
    }

    /// The current lease of a job.
    pub(in crate::shard) fn lease(&self, job: JobId) -> Option<&Lease> {
        self.header(job)?.lease()
    }
}
