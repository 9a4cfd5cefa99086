//! What became of every job of a run, one byte a job: the judge of lost and doubled jobs.
//!
//! Kept by number in chunks that are made when first touched, so that a run of unknown length needs no table made
//! ahead, and connections that work on different jobs share nothing but the chunk.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

const CHUNK: usize = 1 << 16;
const CHUNKS: usize = 1 << 12;

/// Most jobs of one run.
pub(super) const JOBS_MAX: u64 = (CHUNK * CHUNKS) as u64;

/// What may be known of a job. Each is set once and never taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// Its submit was acknowledged.
    Accepted,
    /// Its submit may have been done or not.
    Unsure,
    /// It was looked for in the end, and has not been done.
    Missed,
    /// A worker handed a result in.
    Reported,
    /// The result was acknowledged as the job's one result.
    Completed,
    /// A second result was acknowledged as its one result, or it was given out after its end was known.
    Doubled,
    /// It came with a payload that is not the one submitted.
    Damaged,
}

impl Fact {
    const fn bit(self) -> u8 {
        match self {
            Self::Accepted => 1,
            Self::Unsure => 2,
            Self::Missed => 4,
            Self::Reported => 8,
            Self::Completed => 16,
            Self::Doubled => 32,
            Self::Damaged => 64,
        }
    }
}

/// What is known of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known(u8);

impl Known {
    pub(super) const fn is(self, fact: Fact) -> bool {
        self.0 & fact.bit() != 0
    }
}

type Chunk = Box<[AtomicU8]>;

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger(Box<[OnceLock<Chunk>]>);

impl Ledger {
    pub(super) fn new() -> Self {
        Self((0..CHUNKS).map(|_| OnceLock::new()).collect())
    }

    /// Notes a fact, and returns what was known before.
    pub(super) fn note(&self, number: u64, fact: Fact) -> Known {
        match self.cell(number) {
            Some(cell) => Known(cell.fetch_or(fact.bit(), Ordering::AcqRel)),
            None => Known(0),
        }
    }

    /// A worker was given the job, with the right payload or not.
    pub(super) fn delivered(&self, number: u64, is_intact: bool) {
        if self.known(number).is(Fact::Completed) {
            self.note(number, Fact::Doubled);
        }
        if !is_intact {
            self.note(number, Fact::Damaged);
        }
    }

    /// A result was acknowledged; `repeated` when it is the very one that was accepted before. Returns what was known
    /// before.
    pub(super) fn completed(&self, number: u64, repeated: bool) -> Known {
        let before = self.note(number, Fact::Completed);
        if before.is(Fact::Completed) && !repeated {
            self.note(number, Fact::Doubled);
        }
        before
    }

    pub(super) fn known(&self, number: u64) -> Known {
        let cell = self.cell(number);
        Known(cell.map_or(0, |cell| cell.load(Ordering::Acquire)))
    }

    /// Counts over all jobs below `end`.
    pub(super) fn tally(&self, end: u64) -> Tally {
        let mut tally = Tally::default();
        (0..end).for_each(|number| tally.add(self.known(number)));
        tally
    }

    /// The jobs below `end` that had a result handed in, and whose end is not known.
    pub(super) fn unconfirmed(&self, end: u64) -> Vec<u64> {
        let is_open = |number: &u64| {
            let known = self.known(*number);
            known.is(Fact::Reported) && !known.is(Fact::Completed)
        };
        (0..end).filter(is_open).collect()
    }

    fn cell(&self, number: u64) -> Option<&AtomicU8> {
        let number = usize::try_from(number).ok()?;
        let chunk = self.0.get(number / CHUNK)?;
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| AtomicU8::new(0)).collect());
        chunk.get(number % CHUNK)
    }
}

/// What became of the jobs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Tally {
    /// Submits acknowledged.
    pub(crate) accepted: u64,
    /// Submits that may have been done or not.
    pub(crate) unsure: u64,
    /// Results acknowledged, one a job.
    pub(crate) completed: u64,
    /// Acknowledged, and neither finished although the run waited for longer than a lease, nor found to be done.
    pub(crate) lost: u64,
    /// Accepted two results, or given out after its end was known.
    pub(crate) doubled: u64,
    /// Came with another payload than the one submitted.
    pub(crate) damaged: u64,
    /// A result was handed in, and whether it was accepted is not known: the job may have been kept for long enough.
    pub(crate) unconfirmed: u64,
}

impl Tally {
    /// Of two runs together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            unsure: self.unsure + other.unsure,
            completed: self.completed + other.completed,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            damaged: self.damaged + other.damaged,
            unconfirmed: self.unconfirmed + other.unconfirmed,
        }
    }

    fn add(&mut self, known: Known) {
        let is = |fact| u64::from(known.is(fact));
        self.accepted += is(Fact::Accepted);
        self.unsure += is(Fact::Unsure);
        self.completed += is(Fact::Completed);
        self.doubled += is(Fact::Doubled);
        self.damaged += is(Fact::Damaged);
        let is_open = known.is(Fact::Accepted) && !known.is(Fact::Completed);
        let is_doubtful = known.is(Fact::Reported) && !known.is(Fact::Missed);
        self.lost += u64::from(is_open && !is_doubtful);
        self.unconfirmed += u64::from(is_open && is_doubtful);
    }

    /// What may never be, in words; empty when all is well.
    pub(crate) fn broken_promises(&self) -> Vec<String> {
        let counts = [
            (self.lost, "were acknowledged and never finished"),
            (
                self.doubled,
                "were given out or accepted again after their end",
            ),
            (self.damaged, "came with another payload"),
        ];
        let broken = counts.into_iter().filter(|(count, _)| *count > 0);
        broken
            .map(|(count, what)| format!("{count} jobs {what}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_job_that_nobody_finished_is_lost_and_one_without_an_answer_is_not() {
        let ledger = Ledger::new();
        ledger.note(0, Fact::Accepted);
        ledger.note(1, Fact::Unsure);
        ledger.note(CHUNK as u64 + 1, Fact::Accepted);
        ledger.delivered(CHUNK as u64 + 1, true);
        ledger.completed(CHUNK as u64 + 1, false);
        let tally = ledger.tally(2 * CHUNK as u64);
        let expected = Tally {
            accepted: 2,
            unsure: 1,
            completed: 1,
            lost: 1,
            ..Tally::default()
        };
        assert_eq!(tally, expected);
        assert_eq!(tally.broken_promises().len(), 1);
    }

    #[test]
    fn second_result_or_a_grant_after_the_end_is_doubled_and_a_repeat_is_not() {
        let ledger = Ledger::new();
        for number in 0..3 {
            ledger.note(number, Fact::Accepted);
            ledger.delivered(number, true);
            ledger.completed(number, false);
        }
        ledger.completed(0, true);
        ledger.completed(1, false);
        ledger.delivered(2, true);
        let tally = ledger.tally(3);
        assert_eq!((tally.completed, tally.doubled), (3, 2));
    }

    #[test]
    fn job_given_to_two_workers_before_its_end_breaks_nothing() {
        let ledger = Ledger::new();
        ledger.note(0, Fact::Accepted);
        ledger.delivered(0, true);
        ledger.delivered(0, true);
        ledger.note(0, Fact::Reported);
        let tally = ledger.tally(1);
        assert_eq!(
            (tally.unconfirmed, tally.broken_promises()),
            (1, Vec::new())
        );
        assert_eq!(ledger.unconfirmed(1), [0]);
    }

    #[test]
    fn job_that_was_handed_in_and_is_not_done_in_the_end_is_lost() {
        let ledger = Ledger::new();
        for number in 0..2 {
            ledger.note(number, Fact::Accepted);
            ledger.note(number, Fact::Reported);
        }
        ledger.note(0, Fact::Missed);
        let tally = ledger.tally(2);
        assert_eq!((tally.lost, tally.unconfirmed), (1, 1));
        ledger.completed(0, false);
        assert_eq!(ledger.tally(2).lost, 0);
    }

    #[test]
    fn other_payload_is_damage_even_where_the_job_was_completed() {
        let ledger = Ledger::new();
        ledger.note(0, Fact::Accepted);
        ledger.delivered(0, false);
        ledger.completed(0, false);
        assert_eq!(ledger.tally(1).broken_promises().len(), 1);
    }
}
