//! A submit that was acknowledged is never lost: its job is held until it has ended, and known for a while after.

use std::collections::BTreeSet;

use leasehold_types::JobId;

use super::Invariant;
use crate::shard::command::Batch;
use crate::shard::outcome::{Applied, Change, Outcome};
use crate::shard::state::ShardState;

#[derive(Default)]
pub(super) struct AcknowledgedSubmit {
    acknowledged: BTreeSet<JobId>,
    ended: BTreeSet<JobId>,
}

impl Invariant for AcknowledgedSubmit {
    fn observe(&mut self, _: &Batch, applied: &Applied, state: &ShardState) -> Result<(), String> {
        for outcome in &applied.outcomes {
            if let Outcome::Submitted(submitted) = outcome {
                self.acknowledged.insert(submitted.job);
            }
        }
        for change in &applied.changes {
            match change {
                Change::Finished(job) => drop(self.ended.insert(*job)),
                Change::Ready(job) => drop(self.ended.remove(job)),
                Change::Leased { .. } | Change::LeaseEnded { .. } => {}
            }
        }
        let lost = |job: &&JobId| state.header(**job).is_none() && !self.ended.contains(job);
        match self.acknowledged.iter().find(lost) {
            Some(job) => Err(format!("acknowledged job {job} is lost")),
            None => Ok(()),
        }
    }
}
