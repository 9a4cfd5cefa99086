//! A result is accepted: at most one, under the current fence, for ever.

use leasehold_types::{JobId, limits};

use super::Applying;
use crate::shard::command::Complete;
use crate::shard::job::{Acceptance, AttemptEnd, JobState};
use crate::shard::outcome::{Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn complete(&mut self, complete: &Complete) -> Result<Outcome, Refusal> {
        if self.is_repeated(complete) {
            return Ok(Outcome::Completed { repeated: true });
        }
        self.state.held(complete.job, complete.fence)?;
        check_size(complete.job, complete.result.len())?;
        self.record(complete.job, AttemptEnd::Completed);
        self.state.amend(complete.job, |job| {
            // An empty result is none: nothing of it is written, nor read back.
            let result = Some(complete.result.clone()).filter(|result| !result.is_empty());
            job.change_body(|body| body.result = result);
        });
        let done = JobState::Done(Box::new(Acceptance {
            fence: complete.fence,
            digest: complete.digest,
            at: self.state.head.stamp,
        }));
        self.state.restate(complete.job, done, &mut self.changes);
        Ok(Outcome::Completed { repeated: false })
    }

    /// Whether this very result was accepted before: its answer was lost on the way, and the worker asks again.
    fn is_repeated(&self, complete: &Complete) -> bool {
        let header = self.state.header(complete.job);
        header.is_some_and(|header| {
            matches!(&header.state, JobState::Done(done)
                if done.fence == complete.fence && done.digest == complete.digest)
        })
    }
}

fn check_size(job: JobId, given: usize) -> Result<(), Refusal> {
    let most = limits::INLINE_BYTES;
    if given <= most {
        return Ok(());
    }
    Err(Refusal::Invalid(format!(
        "result of job {job} has {given} bytes, at most {most} are taken"
    )))
}
