//! Randomness, injected: job ids, session ids and jitter.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use leasehold_types::{JobId, SessionId, VirtualShard};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Where the SDK's random numbers come from. Clones share one source.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<StdRng>>);

impl Entropy {
    /// Seeded by the operating system: what everybody wants outside tests.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the seam: everything else draws from an injected source"
    )]
    pub fn from_system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_rng(&mut rand::rng()))))
    }

    /// The same numbers for the same seed, for simulations. Two clients with one seed mint the same ids.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Uniform over all of `u64`.
    pub(crate) fn draw(&self) -> u64 {
        self.with(Rng::next_u64)
    }

    /// A new job id in one of `count` slices from `first`; the caller has checked that they exist.
    pub(crate) fn job_id(&self, first: u16, count: u16) -> JobId {
        let mut random = [0; 12];
        self.with(|rng| rng.fill_bytes(&mut random));
        let offset = (u64::from(count) * (self.draw() >> 32)) >> 32;
        let offset = u16::try_from(offset).expect("less than a u16 count");
        JobId::new(VirtualShard::new(first + offset), random)
    }

    pub(crate) fn session(&self) -> SessionId {
        let high = u128::from(self.draw()) << 64;
        SessionId::from_random(high | u128::from(self.draw()))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_inside_their_slices() {
        let entropy = Entropy::seeded(1);
        for _ in 0..1_000 {
            let shard = entropy.job_id(7, 3).virtual_shard().get();
            assert!((7..10).contains(&shard), "{shard}");
        }
        let last = entropy.job_id(u16::MAX, 1);
        assert_eq!(last.virtual_shard().get(), u16::MAX);
    }

    #[test]
    fn one_seed_draws_the_same_and_clones_share_the_source() {
        let (one, other) = (Entropy::seeded(5), Entropy::seeded(5));
        assert_eq!(one.draw(), other.draw());
        let clone = one.clone();
        assert_ne!(one.draw(), clone.draw());
        assert_ne!(Entropy::from_system().draw(), Entropy::from_system().draw());
    }
}
