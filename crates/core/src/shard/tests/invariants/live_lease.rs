//! A lease is one of a job that has not ended: every lease that begins ends once, and none outlives its job.

use std::collections::BTreeMap;

use leasehold_types::{FenceToken, JobId};

use super::Invariant;
use crate::shard::command::Batch;
use crate::shard::outcome::{Applied, Change};
use crate::shard::state::ShardState;

#[derive(Default)]
pub(super) struct LiveLease {
    leases: BTreeMap<JobId, FenceToken>,
}

impl LiveLease {
    fn follow(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::Leased { job, fence } => match self.leases.insert(*job, *fence) {
                Some(old) => Err(format!("job {job} leased under {fence} while under {old}")),
                None => Ok(()),
            },
            Change::LeaseEnded { job, fence, .. } => match self.leases.remove(job) {
                Some(held) if held == *fence => Ok(()),
                held => Err(format!(
                    "job {job}: {fence} ended while held under {held:?}"
                )),
            },
            Change::Finished(job) | Change::Ready(job) => match self.leases.get(job) {
                Some(held) => Err(format!("job {job} went on while held under {held}")),
                None => Ok(()),
            },
        }
    }
}

impl Invariant for LiveLease {
    fn observe(&mut self, _: &Batch, applied: &Applied, state: &ShardState) -> Result<(), String> {
        applied.changes.iter().try_for_each(|c| self.follow(c))?;
        let leased = state.index.leased().iter();
        let in_state = leased.filter_map(|job| Some((*job, state.lease(*job)?.fence)));
        let in_state: BTreeMap<_, _> = in_state.collect();
        if in_state == self.leases {
            return Ok(());
        }
        let told = &self.leases;
        Err(format!(
            "leases in the state {in_state:?}, as told {told:?}"
        ))
    }
}
