//! A result is accepted only under a fence that was granted for its job, and only under the newest of them.

use std::collections::BTreeMap;

use leasehold_types::{FenceToken, JobId};

use super::Invariant;
use crate::shard::command::{Batch, Command};
use crate::shard::outcome::{Applied, Outcome};
use crate::shard::state::ShardState;

#[derive(Default)]
pub(super) struct AcceptedFence {
    newest: BTreeMap<JobId, FenceToken>,
}

impl Invariant for AcceptedFence {
    fn observe(&mut self, batch: &Batch, applied: &Applied, _: &ShardState) -> Result<(), String> {
        for (command, outcome) in batch.commands.iter().zip(&applied.outcomes) {
            if let Outcome::Granted(granted) = outcome {
                self.newest.insert(granted.job, granted.fence);
            }
            let Command::Complete(complete) = command else {
                continue;
            };
            let newest = self.newest.get(&complete.job);
            if matches!(outcome, Outcome::Completed { .. }) && newest != Some(&complete.fence) {
                let (job, fence) = (complete.job, complete.fence);
                return Err(format!(
                    "job {job} accepted under {fence}, newest {newest:?}"
                ));
            }
        }
        Ok(())
    }
}
