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
        let end = |most| AttemptEnd::Released {
            reason: cut(&release.reason, most).into(),
        };
        match release.cause {
            ReleaseCause::Worker if times >= limits::RELEASES => {
                let job = release.job;
                return Err(Refusal::TooManyReleases { job, times });
            }
            ReleaseCause::Worker => {
                self.record(release.job, end(limits::DETAIL_BYTES));
                self.state
                    .amend(release.job, |job| job.header.tries.released = times + 1);
            }
            // What is said of it stays in memory.
            ReleaseCause::Undelivered => {
                self.record_undelivered(release.job, end(limits::REASON_BYTES));
            }
        }
        self.state
            .restate(release.job, JobState::Ready, &mut self.changes);
        Ok(Outcome::AttemptEnded(Next::Ready))
    }

    /// One line stands for all grants in a row that went astray, and says what is known of the newest: they must not
    /// push what really happened to the job out of its history, nor make it grow without bound.
    fn record_undelivered(&mut self, job: JobId, end: AttemptEnd) {
        if let Some(attempt) = self.attempt(job, end) {
            self.state.amend(job, |job| job.record_astray(attempt));
        }
    }
}
