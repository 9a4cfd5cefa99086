//! A ready job is leased: the one place where a fence token is issued.

use std::time::Duration;

use leasehold_types::FenceToken;

use super::Applying;
use crate::shard::command::{Grant, WorkPhase};
use crate::shard::job::{JobHeader, JobState, Lease};
use crate::shard::outcome::{Granted, Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn grant(&mut self, grant: &Grant) -> Result<Outcome, Refusal> {
        let header = &self.state.known(grant.job)?.header;
        self.check_grantable(header)?;
        let policy = self.state.queues.policy(&header.queue);
        let length = policy.map(|policy| policy.lease).unwrap_or_default();
        let fence = self.next_fence();
        let lease = self.lease(grant, fence, length);
        let mut attempt = 0;
        self.state.amend(grant.job, |job| {
            job.header.tries.granted = job.header.tries.granted.saturating_add(1);
            job.header.last_fence = Some(fence);
            attempt = job.header.tries.granted;
        });
        let leased = JobState::Leased(Box::new(lease));
        self.state.restate(grant.job, leased, &mut self.changes);
        Ok(Outcome::Granted(Granted {
            job: grant.job,
            fence,
            attempt,
            lease: length,
        }))
    }

    fn check_grantable(&self, header: &JobHeader) -> Result<(), Refusal> {
        let wrong = |wanted| Refusal::WrongState {
            job: header.id,
            state: header.state.name(),
            wanted,
        };
        match &header.state {
            JobState::Ready if header.expires_at > self.state.head.stamp => Ok(()),
            JobState::Ready => Err(wrong("its deadline has passed")),
            JobState::Waiting { .. }
            | JobState::Leased(_)
            | JobState::Done(_)
            | JobState::Cancelled { .. }
            | JobState::Dead { .. } => Err(wrong("only a ready job can be leased")),
        }
    }

    fn next_fence(&mut self) -> FenceToken {
        let head = &mut self.state.head;
        head.granted += 1;
        FenceToken::new(head.incarnation, head.epoch, head.granted)
    }

    fn lease(&self, grant: &Grant, fence: FenceToken, length: Duration) -> Lease {
        let now = self.state.head.stamp;
        Lease {
            fence,
            session: grant.session,
            worker: grant.worker.clone(),
            region: grant.region.clone(),
            granted_at: now,
            length,
            contact: now,
            rearms: 0,
            left: length,
            progress: 0,
            progressed_at: now,
            // Not started as far as anybody knows; the first renewal says more.
            phase: WorkPhase::Queued,
        }
    }
}
