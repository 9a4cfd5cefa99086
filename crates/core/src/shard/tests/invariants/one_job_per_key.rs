//! One idempotency key stands for one job. For histories in which no key is old enough to be forgotten.

use std::collections::BTreeMap;

use leasehold_types::{IdempotencyKey, JobId, TenantName};

use super::Invariant;
use crate::shard::command::{Batch, Command};
use crate::shard::outcome::{Applied, Outcome};
use crate::shard::state::ShardState;

#[derive(Default)]
pub(super) struct OneJobPerKey {
    jobs: BTreeMap<(Option<TenantName>, IdempotencyKey), JobId>,
}

impl Invariant for OneJobPerKey {
    fn observe(&mut self, batch: &Batch, applied: &Applied, _: &ShardState) -> Result<(), String> {
        for (command, outcome) in batch.commands.iter().zip(&applied.outcomes) {
            let (Command::Submit(submit), Outcome::Submitted(submitted)) = (command, outcome)
            else {
                continue;
            };
            let Some(key) = submit.key.clone() else {
                continue;
            };
            if submitted.repeated && submitted.job == submit.job {
                // Found by its id, which may stand for another key's job.
                continue;
            }
            let key = (submit.tenant.clone(), key);
            let first = *self.jobs.entry(key).or_insert(submitted.job);
            if first != submitted.job {
                let (key, second) = (&submit.key, submitted.job);
                return Err(format!("key {key:?} stands for {first} and {second}"));
            }
        }
        Ok(())
    }
}
