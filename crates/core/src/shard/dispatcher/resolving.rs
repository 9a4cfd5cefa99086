//! What was lost on the way: proposals whose outcome never came, and leases that nobody told the leader of.
//!
//! The state tells in the end. Until it does, nothing is given up and nothing is done twice: the log takes an end of a
//! lease only once, and a job that is leased cannot be granted again.

use std::time::Duration;

use leasehold_types::{JobId, Timestamp, limits};

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

    /// Whatever came of a grant in doubt, its slot is free again and its job may be granted.
    fn resolve_grant(&mut self, state: &ShardState, job: JobId, now: Timestamp) {
        let Some(pending) = self.in_flight.take_grant(job) else {
            return;
        };
        self.settle_credit(pending.session, false);
        self.reactivate(state, job);
        self.hand_back_unheard(state, job, now);
    }

    /// Hands a job back whose grant was applied after its outcome had been given up.
    ///
    /// A job leaves this leader when its grant is settled, and its lease is watched from then on. So a lease of this
    /// leadership that is not watched, of a job that is not being granted either, is one that nobody was told of: it
    /// goes back at once, however late it was applied, rather than cost a lease and count as lost.
    pub(super) fn hand_back_unheard(&mut self, state: &ShardState, job: JobId, now: Timestamp) {
        let Some(lease) = state.lease(job) else {
            return;
        };
        let is_told = self.leases.under(job, lease.fence).is_some();
        if is_told || self.in_flight.is_granting(job) {
            return;
        }
        self.leases.watch_new(job, lease, now);
        if lease.fence.epoch() == self.epoch {
            self.leases.end(job, Ending::Return);
        }
    }

    /// Whether the leases watched may not be those of the state. Counts tell only most of it: after a lost outcome one
    /// lease too many may hide one too few.
    pub(super) fn needs_reconciling(&self, state: &ShardState) -> bool {
        let differ = self.leases.len() != state.index.leased().len();
        differ || self.reconcile_at < self.distrust_until
    }

    /// The outcome of a batch is lost: what it did may show at any time from now on.
    pub(super) fn distrust(&mut self, now: Timestamp) {
        self.distrust_until = now + DISTRUST_FOR;
    }

    /// Compares every lease watched with those of the state. Only what came of a lost batch can differ.
    pub(super) fn reconcile(&mut self, state: &ShardState, now: Timestamp) {
        if now < self.reconcile_at {
            return;
        }
        let is_needed = self.needs_reconciling(state);
        self.reconcile_at = now + RECONCILE_EVERY;
        if !is_needed {
            return;
        }
        for job in state.index.leased() {
            self.hand_back_unheard(state, *job, now);
        }
        self.leases
            .retain(|job, fence| state.held(job, fence).is_ok());
    }
}

/// How long after a lost outcome the leases are compared one by one.
const DISTRUST_FOR: Duration = limits::LEASE_MAX;
