//! How many slots a worker has free, net of the assignments that are still on their way to it.

use leasehold_types::{Timestamp, limits};

use super::Arrival;

#[derive(Debug, Clone)]
pub(super) struct Credit {
    /// As the worker counted when it had received `received` assignments and got `returned` slots back.
    free: u32,
    received: u64,
    returned: u64,
    /// Assignments passed on over this connection.
    sent: u64,
    /// Slots given back over this connection.
    given_back: u64,
    closed: bool,
    message: u64,
    /// Messages heard, whatever their numbers.
    spoken: u64,
    heard_at: Timestamp,
}

impl Credit {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self {
            free: 0,
            received: 0,
            returned: 0,
            sent: 0,
            given_back: 0,
            closed: false,
            message: 0,
            spoken: 0,
            heard_at: now,
        }
    }

    pub(super) fn heard(&mut self, number: u64, now: Timestamp) {
        self.message = self.message.max(number);
        self.spoken += 1;
        self.heard_at = now;
    }

    /// A worker that claims more than it was sent is taken to have received all of it.
    pub(super) fn set(&mut self, free: u32, received: u64, returned: u64) {
        self.free = free;
        self.received = received.min(self.sent);
        self.returned = returned.min(self.given_back);
    }

    /// The worker is told that a slot of its is free again.
    pub(super) const fn give_back(&mut self) {
        self.given_back += 1;
    }

    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    /// What the worker counted as free and what it was given back since, less what it had not received when it counted.
    /// Never more than a worker may have: one that sends writes without end is given back without end.
    pub(super) fn lendable(&self) -> u32 {
        if self.closed {
            return 0;
        }
        let freed = u64::from(self.free) + (self.given_back - self.returned);
        let on_their_way = self.sent - self.received;
        let free = freed.saturating_sub(on_their_way);
        // SUBTLE: what came back and what was sent both rise for as long as the worker says nothing new, and only their
        // difference is bounded.
        u32::try_from(free).map_or(limits::WORKER_CREDIT, |free| {
            free.min(limits::WORKER_CREDIT)
        })
    }

    /// One assignment goes to the worker, if a slot is free for it.
    pub(super) fn take(&mut self) -> Arrival {
        if self.lendable() == 0 {
            return Arrival::NoSlot;
        }
        self.sent += 1;
        Arrival::Taken
    }

    pub(super) const fn message(&self) -> u64 {
        self.message
    }

    pub(super) const fn spoken(&self) -> u64 {
        self.spoken
    }

    pub(super) const fn heard_at(&self) -> Timestamp {
        self.heard_at
    }
}
