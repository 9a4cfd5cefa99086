//! A dead letter is put back, with all its tries before it and a whole deadline of its queue.

use leasehold_types::JobId;

use super::Applying;
use crate::shard::command::Redrive;
use crate::shard::job::{Job, JobState, Tries};
use crate::shard::outcome::{Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn redrive(&mut self, redrive: &Redrive) -> Result<Outcome, Refusal> {
        let job = self.dead_letter(redrive.job, "only a dead letter can be redriven")?;
        self.check_pool(&job.header.requirement, &job.header.tenant)?;
        let policy = self.state.queues.policy(&job.header.queue);
        let deadline = policy.map(|policy| policy.job_deadline).unwrap_or_default();
        let expires_at = self.state.head.stamp + deadline;
        self.state.amend(redrive.job, |job| {
            job.header.expires_at = expires_at;
            job.header.tries = redriven(job.header.tries);
            // Part of them may be in the checkpoint alone: what apply reads of a history begins anew, on every replica.
            job.change_body(|_, body| body.earlier.append(&mut body.history));
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

/// Grants are counted on, since they number the attempts of the history; the rest starts over.
fn redriven(tries: Tries) -> Tries {
    Tries {
        granted: tries.granted,
        redriven: tries.redriven.saturating_add(1),
        ..Tries::default()
    }
}
