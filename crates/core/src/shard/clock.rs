//! The leader's shard clock.
//!
//! It goes on from the stamp in the replicated state by the leader's own monotonic time, so that no two nodes' clocks
//! are ever compared and the time without a leader does not count against anybody's lease.

use leasehold_types::Timestamp;

/// Turns a leader's monotonic time into stamps. Made once for each leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardClock {
    stamp: Timestamp,
    monotonic: Timestamp,
}

impl ShardClock {
    /// Starts at the state's stamp. `monotonic` is the leader's own clock now: one that also counts time in which the
    /// machine was suspended, or a leader that slept would trust dead leases.
    #[must_use]
    pub const fn new(stamp: Timestamp, monotonic: Timestamp) -> Self {
        Self { stamp, monotonic }
    }

    /// The shard clock when the leader's own clock shows `monotonic`; never before the stamp it started at.
    #[must_use]
    pub fn stamp(&self, monotonic: Timestamp) -> Timestamp {
        self.stamp + monotonic.since(self.monotonic)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn clock_goes_on_from_the_state_by_monotonic_time_and_never_back() {
        let at = Timestamp::from_micros;
        let clock = ShardClock::new(at(500), at(9_000));
        assert_eq!(clock.stamp(at(9_000)), at(500));
        assert_eq!(clock.stamp(at(9_000) + Duration::from_micros(7)), at(507));
        assert_eq!(clock.stamp(at(1)), at(500));
    }
}
