//! Gateways that this leader could not deliver to.
//!
//! A gateway may reach the leader while the leader does not reach it. Its workers' offers would then draw the head of
//! the queue into nowhere, over and over. So a gateway that a delivery did not reach is put aside: nothing is lent
//! through it for a while, and its workers' slots go to other leaders. After the pause its offers are taken again, as
//! a trial; each trial that fails makes the next pause longer, and the first delivery that arrives ends it all.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_types::{NodeId, Timestamp};

/// The first pause.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Pause {
    length: Duration,
    until: Timestamp,
}

/// The gateways that were not reached lately.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    pauses: BTreeMap<NodeId, Pause>,
}

impl Gateways {
    /// A delivery did not arrive, as far as anybody knows. Says whether that is news: what was sent before the newest
    /// trial began is not, however late it is found out.
    pub(super) fn missed(&mut self, gateway: NodeId, sent_at: Timestamp, now: Timestamp) -> bool {
        let length = match self.pauses.get(&gateway) {
            Some(pause) if sent_at < pause.until => return false,
            Some(pause) => (pause.length * 2).min(PAUSE_MAX),
            None => PAUSE,
        };
        let until = now + length;
        self.pauses.insert(gateway, Pause { length, until });
        true
    }

    /// A delivery arrived.
    pub(super) fn reached(&mut self, gateway: NodeId) {
        self.pauses.remove(&gateway);
    }

    /// Whether it was missed and not reached since: on trial, or put aside.
    pub(super) fn is_doubted(&self, gateway: NodeId) -> bool {
        self.pauses.contains_key(&gateway)
    }

    /// Whether nothing is lent through it now.
    pub(super) fn is_aside(&self, gateway: NodeId, now: Timestamp) -> bool {
        (self.pauses.get(&gateway)).is_some_and(|pause| now < pause.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: NodeId = NodeId::new(7);
    const START: Timestamp = Timestamp::from_micros(1);

    #[test]
    fn pauses_double_with_every_trial_that_fails_up_to_a_bound() {
        let mut gateways = Gateways::default();
        let mut now = START;
        for secs in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(gateways.missed(GATEWAY, now, now));
            let pause = Duration::from_secs(secs);
            assert!(gateways.is_aside(GATEWAY, now + pause - Duration::from_micros(1)));
            now = now + pause;
            assert!(!gateways.is_aside(GATEWAY, now));
        }
    }

    #[test]
    fn deliveries_lost_together_count_as_one() {
        let mut gateways = Gateways::default();
        assert!(gateways.missed(GATEWAY, START, START));
        // Sent with the first, and found out when the pause is long over.
        assert!(!gateways.missed(GATEWAY, START, START + PAUSE * 9));
        assert!(!gateways.is_aside(GATEWAY, START + PAUSE * 9));
    }

    #[test]
    fn gateway_that_is_reached_starts_anew() {
        let mut gateways = Gateways::default();
        gateways.missed(GATEWAY, START, START);
        gateways.reached(GATEWAY);
        assert!(!gateways.is_aside(GATEWAY, START) && !gateways.is_doubted(GATEWAY));
    }
}
