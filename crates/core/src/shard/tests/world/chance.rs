//! Chance from a seed: SplitMix64, as in `retry`, but drawn one after the other.

use crate::retry;
use crate::shard::tests::fixture::job;

#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        retry::draw(self.0, job(0))
    }

    /// A number below the bound; 0 for a bound of 0.
    pub(super) fn up_to(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True so many times in a thousand.
    pub(super) fn is(&mut self, in_a_thousand: u64) -> bool {
        self.up_to(1_000) < in_a_thousand
    }
}
