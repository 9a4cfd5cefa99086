//! Which leader a worker's free slots are lent to: one slot to one leader at a time.
//!
//! Every shard has a leader of its own, and a slot that two of them grant to at once is a slot too few. So a gateway
//! *lends*: it tells a leader how many grants it may have outstanding for a session, and tells no two leaders the
//! same slot. An offer is an absolute number, never a delta: it may be lost, doubled or late, and the next one puts
//! it right. Taking a slot back is the hard half. The leader may be granting at that very moment, so the slot counts
//! as lent until the leader has answered the lower number and every grant that it had made by then has arrived.
//!
//! A grant that never arrives (its message was lost) would hold its slot for ever; it is written off after a lease,
//! when the leader has ended that lease as well. In the same way everything lent to a leader that has been silent
//! for a lease is void: it forgets the offer by then (it is asked to, see `dispatcher::Offer`).
//!
//! Slots go first to shards at home with work waiting, then to other shards with work, and what is left idles at
//! home, where the next job is likeliest and nearest. News of work elsewhere come over the [`Board`], which all
//! sessions of a gateway share; a session that moves a slot takes the job that it goes for off the board, so that a
//! thousand idle workers do not all run for the same five jobs.
//!
//! What must hold: what all leaders together may still grant is never more than the slots that were free when it was
//! offered; and an idle session costs one offer per refresh, however many shards there are.

mod board;
mod credit;
mod loan;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_types::{QueueName, ShardEpoch, ShardId, Timestamp, limits};

use crate::policy::BackoffPolicy;

pub use board::Board;

use credit::Credit;
use loan::Loan;
use share::Candidate;

/// Waits between offers to a leader that does not answer.
const RETRY: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(3),
};

/// Failures in a row after which a shard is only lent to when there is no other.
const FAILURES: u32 = 2;

/// How often things happen, from the leases of a session's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// An unchanged offer is repeated so often, so that the leader knows the session lives.
    pub refresh: Duration,
    /// What was lent to a leader that is silent for so long is void: a little longer than the leader itself goes by.
    pub void: Duration,
}

impl Pace {
    /// The pace for sessions whose leases are all of this length.
    #[must_use]
    pub fn of_lease(lease: Duration) -> Self {
        Self::of_leases(lease, lease)
    }

    /// The pace for sessions whose leases are between these lengths. The shortest says how often the worker has to be
    /// heard; a leader goes by the longest before it takes a worker for gone, so nothing may be void before that.
    #[must_use]
    pub fn of_leases(shortest: Duration, longest: Duration) -> Self {
        Self {
            refresh: shortest / limits::RENEWALS_PER_LEASE,
            void: longest + longest / limits::RENEWALS_PER_LEASE,
        }
    }
}

/// An offer to be sent to a shard's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotOffer {
    /// Where to.
    pub shard: ShardId,
    /// Names this call when its outcome is reported; rises with every offer of the session.
    pub call: u64,
    /// The leadership whose grants are counted; zero until one has answered.
    pub epoch: ShardEpoch,
    /// Grants that may be outstanding: made and not arrived.
    pub free: u32,
    /// Grants of this leadership that have arrived or are written off.
    pub granted_seen: u64,
    /// Number of the worker's newest message.
    pub message: u64,
}

/// What a leader answered to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferAnswer {
    /// Its leadership.
    pub epoch: ShardEpoch,
    /// Grants that this leadership has made to the session so far.
    pub granted: u64,
    /// Jobs ready in the session's queues.
    pub backlog: u64,
    /// It lends nothing on the offer: it has no room for another session, or cannot reach this gateway.
    pub is_refused: bool,
}

/// What to do with a grant that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Arrival {
    /// Pass it on to the worker: its slot is now taken.
    Taken,
    /// No slot is free for it: hand it back. Happens after lost messages and in takeovers.
    NoSlot,
}

/// One session's slots, and to whom they are lent.
#[derive(Debug, Clone)]
pub struct Lending {
    queues: Vec<QueueName>,
    pace: Pace,
    /// Differs between sessions, so that idle ones spread over shards.
    spread: u64,
    credit: Credit,
    loans: BTreeMap<ShardId, Loan>,
    calls: u64,
    polled_at: Timestamp,
}

impl Lending {
    /// Nothing free and nothing lent yet. `spread` is any number that differs between sessions.
    #[must_use]
    pub fn new(queues: Vec<QueueName>, pace: Pace, spread: u64, now: Timestamp) -> Self {
        Self {
            queues,
            pace,
            spread,
            credit: Credit::new(now),
            loans: BTreeMap::new(),
            calls: 0,
            polled_at: now,
        }
    }

    /// The leases of the session's queues changed.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// The pace in force.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        self.pace
    }

    /// Any message of the worker: it lives. `number` is the message's own, 0 for one without.
    pub fn heard(&mut self, number: u64, now: Timestamp) {
        self.credit.heard(number, now);
    }

    /// The worker says how many slots are free, having received so many assignments on this connection, and so many
    /// slots [given back](Self::give_back).
    pub fn credit(&mut self, free: u32, received: u64, returned: u64) {
        self.credit.set(free, received, returned);
    }

    /// The worker is being told that a lease of its is over, and that the slot counts as free.
    pub const fn give_back(&mut self) {
        self.credit.give_back();
    }

    /// The worker wants no more.
    pub fn close(&mut self) {
        self.credit.close();
    }

    /// A grant has arrived: its number among those of this leadership to this session.
    pub fn arrived(
        &mut self,
        shard: ShardId,
        epoch: ShardEpoch,
        grant: u64,
        now: Timestamp,
    ) -> Arrival {
        let loan = self.loans.entry(shard).or_default();
        loan.arrived(epoch, grant, now);
        self.credit.take()
    }

    /// A leader answered an offer.
    pub fn answered(&mut self, shard: ShardId, call: u64, answer: OfferAnswer, now: Timestamp) {
        if let Some(loan) = self.loans.get_mut(&shard) {
            loan.answered(call, answer, now);
        }
    }

    /// An offer was not answered. `certainly_not_done`: it did not reach a leader. `draw` is any random number.
    pub fn failed(
        &mut self,
        shard: ShardId,
        call: u64,
        certainly_not_done: bool,
        draw: u64,
        now: Timestamp,
    ) {
        if let Some(loan) = self.loans.get_mut(&shard) {
            loan.failed(call, certainly_not_done, draw, now);
        }
    }

    /// The offers to send now. Call after every event and at [`next_deadline`](Self::next_deadline).
    pub fn poll(&mut self, board: &mut Board, now: Timestamp) -> Vec<SlotOffer> {
        self.polled_at = now;
        let pace = self.pace;
        self.loans
            .values_mut()
            .for_each(|loan| loan.age(&pace, now));
        for shard in board.shards() {
            self.loans.entry(shard).or_default();
        }
        let targets = share::share(self.lendable(now), self.candidates(board, now), self.spread);
        let mut headroom = self.lendable(now).saturating_sub(self.lent());
        let mut offers = Vec::new();
        for (shard, target) in targets {
            offers.extend(self.step(shard, target, &mut headroom, board, now));
        }
        offers
    }

    /// When [`poll`](Self::poll) should be called again although nothing happened; none while nothing is lent.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let spoken = self.credit.spoken();
        let loans = self.loans.values();
        let of_loans = loans.flat_map(|loan| loan.deadlines(&self.pace, spoken));
        let silent = (self.lent() > 0).then(|| self.credit.heard_at() + self.pace.void);
        of_loans
            .chain(silent)
            .filter(|at| *at > self.polled_at)
            .min()
    }

    /// Since when the worker has said nothing.
    #[must_use]
    pub fn heard_at(&self) -> Timestamp {
        self.credit.heard_at()
    }

    /// Number of the worker's newest message.
    #[must_use]
    pub fn message(&self) -> u64 {
        self.credit.message()
    }

    /// Slots that may be lent now, lent ones included: none once the worker has been silent for a lease.
    #[must_use]
    pub fn lendable(&self, now: Timestamp) -> u32 {
        let is_silent = now.since(self.credit.heard_at()) >= self.pace.void;
        if is_silent { 0 } else { self.credit.lendable() }
    }

    /// What all leaders together may still grant.
    #[must_use]
    pub fn lent(&self) -> u32 {
        let sum: u64 = self.loans.values().map(Loan::exposure).sum();
        u32::try_from(sum).unwrap_or(u32::MAX)
    }

    /// Shards that have been made an offer, and so have to be told when the session ends.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        let told = self.loans.iter().filter(|(_, loan)| loan.is_known());
        told.map(|(shard, _)| *shard)
    }

    fn candidates(&self, board: &Board, now: Timestamp) -> Vec<Candidate> {
        let candidate = |(shard, loan): (&ShardId, &Loan)| {
            let news = board.backlog(*shard, &self.queues, now);
            Candidate {
                shard: *shard,
                home: board.is_home(*shard),
                usable: board.has(*shard) && loan.is_usable(news.1),
                backlog: loan.backlog(news, &self.pace, now),
                lent: u32::try_from(loan.exposure()).unwrap_or(u32::MAX),
                lingers: loan.lingers(&self.pace, now),
            }
        };
        self.loans.iter().map(candidate).collect()
    }

    fn step(
        &mut self,
        shard: ShardId,
        target: u32,
        headroom: &mut u32,
        board: &mut Board,
        now: Timestamp,
    ) -> Option<SlotOffer> {
        let spoken = self.credit.spoken();
        let loan = self.loans.get_mut(&shard)?;
        let lent = u32::try_from(loan.exposure()).unwrap_or(u32::MAX);
        let raise = target.saturating_sub(lent).min(*headroom);
        let free = loan.next_offer(target, raise, &self.pace, spoken, now)?;
        if free > lent {
            *headroom -= free - lent;
            board.claim(shard, &self.queues, u64::from(free - lent));
        }
        self.calls += 1;
        let (epoch, granted_seen) = loan.ask(self.calls, free, spoken, now);
        Some(SlotOffer {
            shard,
            call: self.calls,
            epoch,
            free,
            granted_seen,
            message: self.credit.message(),
        })
    }
}
