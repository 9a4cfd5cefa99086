//! A worker hands a job back without having run it.
//!
//! It goes back to its old place and counts as no attempt, which is why it is bounded: two workers that both refuse a
//! job would pass it between them for ever.

use leasehold_types::limits;

use super::{Applying, cut};
use crate::shard::command::Release;
use crate::shard::job::{AttemptEnd, JobState};
use crate::shard::outcome::{Next, Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn release(&mut self, release: &Release) -> Result<Outcome, Refusal> {
        let (job, _) = self.state.held(release.job, release.fence)?;
        let times = job.header.tries.released;
        if times >= limits::RELEASES {
            let job = release.job;
            return Err(Refusal::TooManyReleases { job, times });
        }
        let reason = cut(&release.reason).into();
        self.record(release.job, AttemptEnd::Released { reason });
        self.state
            .amend(release.job, |job| job.header.tries.released = times + 1);
        self.state
            .restate(release.job, JobState::Ready, &mut self.changes);
        Ok(Outcome::AttemptEnded(Next::Ready))
    }
}
