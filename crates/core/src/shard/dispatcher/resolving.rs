//! What was lost on the way: proposals whose outcome never came, and leases that nobody told the leader of.
//!
//! The state tells in the end. Until it does, nothing is given up and nothing is done twice: the log takes an end of a
//! lease only once, and a job that is leased cannot be granted again.

use leasehold_types::{JobId, Timestamp};

use super::in_flight::Doubt;
use super::watch::Ending;
use super::{Dispatcher, RECONCILE_EVERY};
use crate::shard::state::ShardState;

impl Dispatcher {
    /// Compares what has been in doubt for long enough with the state.
    pub(super) fn resolve_doubts(&mut self, state: &ShardState, now: Timestamp) {
        for doubt in self.in_flight.ripe(now) {
            match doubt {
                Doubt::Grant(job) => self.resolve_grant(state, job, now),
                Doubt::Ending(job, fence) => match state.held(job, fence) {
                    Ok(_) => self.leases.end_again(job, fence),
                    Err(_) => self.leases.unwatch_under(job, fence),
                },
                Doubt::Closing(job) => {
                    self.in_flight.closing.remove(&job);
                }
                Doubt::Note(job, fence) => self.leases.noted(job, fence, None, now),
            }
        }
    }

    /// A grant in doubt that was applied is handed back at once: its worker never heard of it.
    fn resolve_grant(&mut self, state: &ShardState, job: JobId, now: Timestamp) {
        let Some(pending) = self.in_flight.take_grant(job) else {
            return;
        };
        self.settle_credit(pending.session, false);
        self.reactivate(state, job);
        let Some(lease) = state.lease(job) else {
            return;
        };
        if Some(lease.fence) != pending.before && lease.session == pending.session {
            self.leases.watch_new(job, lease, now);
            self.leases.end(job, Ending::Return);
        }
    }

    /// Whether the leases watched cannot be those of the state.
    pub(super) fn needs_reconciling(&self, state: &ShardState) -> bool {
        self.leases.len() != state.index.leased().len()
    }

    /// Watches every lease of the state. Only a grant that was applied after its outcome was lost can be missing.
    pub(super) fn reconcile(&mut self, state: &ShardState, now: Timestamp) {
        if now < self.reconcile_at {
            return;
        }
        self.reconcile_at = now + RECONCILE_EVERY;
        if !self.needs_reconciling(state) {
            return;
        }
        for job in state.index.leased() {
            if let Some(lease) = state.lease(*job) {
                self.leases.watch_new(*job, lease, now);
            }
        }
        self.leases
            .retain(|job, fence| state.held(job, fence).is_ok());
    }
}
