//! At most one result of a job is ever accepted, and it never changes.

use std::collections::BTreeMap;

use leasehold_types::{Digest, FenceToken, JobId};

use super::Invariant;
use crate::shard::command::{Batch, Command};
use crate::shard::job::JobState;
use crate::shard::outcome::{Applied, Outcome};
use crate::shard::state::ShardState;

#[derive(Default)]
pub(super) struct OneResult {
    accepted: BTreeMap<JobId, (FenceToken, Digest)>,
}

impl Invariant for OneResult {
    fn observe(
        &mut self,
        batch: &Batch,
        applied: &Applied,
        state: &ShardState,
    ) -> Result<(), String> {
        for (command, outcome) in batch.commands.iter().zip(&applied.outcomes) {
            let Command::Complete(complete) = command else {
                continue;
            };
            let given = (complete.fence, complete.digest);
            let known = self.accepted.get(&complete.job);
            let repeated = matches!(outcome, Outcome::Completed { repeated: true });
            let accepted = matches!(outcome, Outcome::Completed { repeated: false });
            let is_wrong = (accepted && known.is_some()) || (repeated && known != Some(&given));
            if is_wrong {
                return Err(format!("{known:?} was accepted, and now {given:?}"));
            }
            if accepted {
                self.accepted.insert(complete.job, given);
            }
        }
        let kept = |(job, accepted): &(&JobId, &(FenceToken, Digest))| {
            state.header(**job).is_none_or(|header| {
                matches!(&header.state, JobState::Done(done)
                    if (done.fence, done.digest) == **accepted)
            })
        };
        match self.accepted.iter().find(|entry| !kept(entry)) {
            Some((job, _)) => Err(format!("the result of job {job} has changed")),
            None => Ok(()),
        }
    }
}
