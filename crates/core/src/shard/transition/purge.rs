//! Ended jobs go when their retention ends, and ids and keys some time after them.

use leasehold_types::limits;

use super::Applying;
use crate::shard::command::Purge;
use crate::shard::outcome::Outcome;

impl Applying<'_> {
    pub(super) fn purge(&mut self, purge: &Purge) -> Outcome {
        let limit = purge.limit.min(limits::PURGE_JOBS);
        let (mut jobs, mut keys) = (0, 0);
        while jobs < limit
            && let Some(job) = self.state.overdue_job()
        {
            self.state.release_ended(job);
            jobs += 1;
        }
        while keys < limit && self.state.forget_one() {
            keys += 1;
        }
        let now = self.state.head.stamp;
        let more = self.state.next_purge().is_some_and(|at| at <= now);
        Outcome::Purged { jobs, keys, more }
    }
}
