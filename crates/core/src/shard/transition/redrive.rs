//! A dead letter is put back, with all its tries before it and a whole deadline of its queue.
//!
//! A job keeps its attempts for as long as it is held, so it is put back only so often: else one that is put back by a
//! clock and never succeeds would fill the shard.

use leasehold_types::{JobId, limits};

use super::Applying;
use crate::shard::command::Redrive;
use crate::shard::job::{Job, JobState, Tries};
use crate::shard::outcome::{Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn redrive(&mut self, redrive: &Redrive) -> Result<Outcome, Refusal> {
        let job = self.dead_letter(redrive.job, "only a dead letter can be redriven")?;
        check_times(redrive.job, job.header.tries.redriven)?;
        self.check_pool(&job.header.requirement, &job.header.tenant)?;
        let policy = self.state.queues.policy(&job.header.queue);
        let deadline = policy.map(|policy| policy.job_deadline).unwrap_or_default();
        let expires_at = self.state.head.stamp + deadline;
        self.state.amend(redrive.job, |job| {
            job.header.expires_at = expires_at;
            job.header.tries = redriven(job.header.tries);
        });
        self.state
            .restate(redrive.job, JobState::Ready, &mut self.changes);
        Ok(Outcome::Redriven)
    }

    /// A job that is a dead letter.
    pub(super) fn dead_letter(&self, id: JobId, wanted: &'static str) -> Result<&Job, Refusal> {
        let job = self.state.known(id)?;
        match &job.header.state {
            JobState::Dead { .. } => Ok(job),
            JobState::Waiting { .. }
            | JobState::Ready
            | JobState::Leased(_)
            | JobState::Done(_)
            | JobState::Cancelled { .. } => Err(Refusal::WrongState {
                job: id,
                state: job.header.state.name(),
                wanted,
            }),
        }
    }
}

fn check_times(job: JobId, times: u32) -> Result<(), Refusal> {
    if times < limits::REDRIVES {
        return Ok(());
    }
    Err(Refusal::TooManyRedrives { job, times })
}

/// Grants are counted on, since they number the attempts of the history; the rest starts over.
fn redriven(tries: Tries) -> Tries {
    Tries {
        granted: tries.granted,
        redriven: tries.redriven.saturating_add(1),
        ..Tries::default()
    }
}
