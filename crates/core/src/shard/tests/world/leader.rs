//! The leader: a real dispatcher and a real shard clock, behind a gate and beside a verdict that come and go.

use leasehold_types::{FenceToken, JobId, ShardEpoch, Timestamp};

use crate::shard::command::{Batch, Command};
use crate::shard::dispatcher::{Assignment, Gate, Offer, Renewal, RenewalAnswer};
use crate::shard::outcome::Applied;
use crate::shard::state::ShardState;
use crate::shard::tests::desk::region;
use crate::shard::{Dispatcher, ShardClock};

pub(super) struct Leader {
    pub(super) epoch: ShardEpoch,
    pub(super) dispatcher: Dispatcher,
    clock: ShardClock,
    pub(super) gate: Gate,
    pub(super) is_unreachable: bool,
}

impl Leader {
    pub(super) fn new(state: &ShardState, monotonic: Timestamp) -> Self {
        Self {
            epoch: state.epoch(),
            dispatcher: Dispatcher::new(state, state.stamp()),
            clock: ShardClock::new(state.stamp(), monotonic),
            gate: Gate::OPEN,
            is_unreachable: false,
        }
    }

    pub(super) fn now(&self, monotonic: Timestamp) -> Timestamp {
        self.clock.stamp(monotonic)
    }

    pub(super) fn heal(&mut self) {
        self.gate = Gate::OPEN;
        self.is_unreachable = false;
    }

    pub(super) fn poll(&mut self, state: &ShardState, now: Timestamp) -> (Vec<Command>, bool) {
        let eu = region("eu");
        let is_unreachable = |region: &_| self.is_unreachable && *region == eu;
        let poll = (self.dispatcher).poll(state, self.gate, &is_unreachable, now);
        (poll.commands, poll.tick)
    }

    pub(super) fn grant_eagerly(&mut self, state: &ShardState, batch: &mut Batch, room: usize) {
        let eu = region("eu");
        let is_unreachable = |region: &_| self.is_unreachable && *region == eu;
        (self.dispatcher).grant_eagerly(state, batch, room, self.gate, &is_unreachable);
    }

    /// Whether a write is let into the log.
    pub(super) fn passes(&self, state: &ShardState, write: &Command) -> bool {
        let lease: Option<(JobId, FenceToken)> = match write {
            Command::Complete(write) => Some((write.job, write.fence)),
            Command::Fail(write) => Some((write.job, write.fence)),
            Command::Release(write) => Some((write.job, write.fence)),
            Command::LeaderStart(_)
            | Command::Submit(_)
            | Command::Grant(_)
            | Command::Contact(_)
            | Command::Expire(_)
            | Command::Cancel(_)
            | Command::Redrive(_)
            | Command::Discard(_)
            | Command::Purge(_)
            | Command::PutPolicy(_) => None,
        };
        let check = |(job, fence)| self.dispatcher.check_fence(state, job, fence);
        lease.is_none_or(|lease| check(lease).is_ok())
    }

    pub(super) fn offer(&mut self, offer: Offer, now: Timestamp) {
        self.dispatcher.offer(offer, now);
    }

    pub(super) fn renew(
        &mut self,
        state: &ShardState,
        offer: &Offer,
        renewals: &[Renewal],
        now: Timestamp,
    ) -> Vec<RenewalAnswer> {
        let (session, message) = (offer.session, offer.message);
        (self.dispatcher).renew(state, session, renewals, message, self.gate, now)
    }

    pub(super) fn settle(
        &mut self,
        state: &ShardState,
        batch: &Batch,
        applied: &Applied,
        now: Timestamp,
    ) -> Vec<Assignment> {
        self.dispatcher.settle(state, batch, Ok(applied), now)
    }

    pub(super) fn settle_unknown(&mut self, state: &ShardState, batch: &Batch, now: Timestamp) {
        let nothing = self.dispatcher.settle(state, batch, Err(()), now);
        assert!(nothing.is_empty(), "assigned without a commit");
    }
}
