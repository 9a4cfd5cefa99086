//! Renewals: a worker says that it is alive and how far it got, and is told to go on or to stop.

use leasehold_types::{SessionId, Timestamp};

use super::message::{Gate, Renewal, RenewalAnswer};
use super::{Dispatcher, terms};
use crate::shard::outcome::Stale;
use crate::shard::state::ShardState;

impl Dispatcher {
    /// Answers a worker's renewals, one for one. The fence alone proves the right to a lease: a worker that came back
    /// under another session, or through another gateway, keeps what it holds.
    ///
    /// Behind a closed gate the worker counts as heard but is promised nothing: the leader then waits longer than the
    /// worker works, which is always safe, and a stall of ours ends no healthy lease.
    pub fn renew(
        &mut self,
        state: &ShardState,
        session: SessionId,
        renewals: &[Renewal],
        message: u64,
        gate: Gate,
        now: Timestamp,
    ) -> Vec<RenewalAnswer> {
        if let Some(session) = self.sessions.get_mut(session) {
            session.message = session.message.max(message);
            session.heard_at = now;
        }
        let answers = renewals.iter().map(|r| self.renew_one(state, r, gate, now));
        answers.collect()
    }

    fn renew_one(
        &mut self,
        state: &ShardState,
        renewal: &Renewal,
        gate: Gate,
        now: Timestamp,
    ) -> RenewalAnswer {
        let (job, fence) = (renewal.job, renewal.fence);
        let stop = |why| RenewalAnswer::Stop { job, fence, why };
        if let Some(why) = self.why_stale(state, job, fence) {
            return stop(why);
        }
        let (Some(lease), Some(terms)) = (state.lease(job), terms(state, job, fence)) else {
            return stop(Stale::Unknown);
        };
        self.leases.watch_new(job, lease, now);
        let is_inherited = fence.epoch() != self.epoch;
        self.leases.hear(renewal, is_inherited, terms, now);
        if !gate.is_open() {
            return RenewalAnswer::Later { job };
        }
        let lease = lease.length;
        RenewalAnswer::Keep { job, fence, lease }
    }
}
