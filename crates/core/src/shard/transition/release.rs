//! A job is handed back without having been run.
//!
//! It goes back to its old place and counts as no attempt. A worker that hands back is counted and bounded: two
//! workers that both refuse a job would pass it between them for ever. A job that never reached its worker is not
//! counted at all, or a broken link of ours would turn a healthy job into poison; that it does not spin is up to the
//! leader, which offers nothing through a gateway that it cannot reach.

use leasehold_types::{JobId, limits};

use super::{Applying, cut};
use crate::shard::command::{Release, ReleaseCause};
use crate::shard::job::{AttemptEnd, JobState};
use crate::shard::outcome::{Next, Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn release(&mut self, release: &Release) -> Result<Outcome, Refusal> {
        let (job, _) = self.state.held(release.job, release.fence)?;
        let times = job.header.tries.released;
        let reason = cut(&release.reason).into();
        let end = AttemptEnd::Released { reason };
        match release.cause {
            ReleaseCause::Worker if times >= limits::RELEASES => {
                let job = release.job;
                return Err(Refusal::TooManyReleases { job, times });
            }
            ReleaseCause::Worker => {
                self.record(release.job, end);
                self.state
                    .amend(release.job, |job| job.header.tries.released = times + 1);
            }
            ReleaseCause::Undelivered => self.record_undelivered(release.job, end),
        }
        self.state
            .restate(release.job, JobState::Ready, &mut self.changes);
        Ok(Outcome::AttemptEnded(Next::Ready))
    }

    /// One line stands for a run of grants that went astray alike: they must not push what really happened to the job
    /// out of its history.
    fn record_undelivered(&mut self, job: JobId, end: AttemptEnd) {
        self.state.amend(job, |job| {
            job.change_body(|_, body| drop(body.history.pop_if(|last| last.end == end)));
        });
        self.record(job, end);
    }
}
