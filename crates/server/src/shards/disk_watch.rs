//! Whether the node's log keeps up with what is written to it.
//!
//! A disk that hangs does not fail: writes just never come back, while the node's links, and so its leaderships, stay
//! alive (etcd-io/etcd#13527). So the log's own counters are watched from outside by the clock: when something waits
//! to be synced and nothing was synced for a while, this node first stops handing out work, then gives its
//! leaderships away, and in the end has to go.

use std::sync::Arc;
use std::time::Duration;

use leasehold_storage::{LogHealth, LogStore};
use leasehold_types::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::seam::Clock;

/// How long a write may be under way before nothing more is granted.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// How long before leaderships are handed over.
const HAND_OVER_AFTER: Duration = Duration::from_secs(5);
/// How long before the process should end.
const DEAD_AFTER: Duration = Duration::from_secs(10);
/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The most that the time between two looks counts for.
const GAP_MAX: Duration = Duration::from_secs(1);

/// How the node's log is doing, from well to lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum DiskHealth {
    /// Writes come back.
    #[default]
    KeepsUp,
    /// A write is overdue by more than 2 s: nothing is granted and no renewal answered.
    Slow,
    /// By more than 5 s: leaderships go to other nodes.
    HandOver,
    /// By more than 10 s, or the log has failed: the process should end.
    Dead,
}

/// Follows the log's health and tells of every change, until nobody listens. One a node.
pub async fn watch_disk(
    log: Arc<dyn LogStore>,
    clock: Arc<dyn Clock>,
    tell: watch::Sender<DiskHealth>,
) {
    let mut tracker = StallTracker::new(clock.now());
    while !tell.is_closed() {
        let health = tracker.observe(&log.health(), clock.now());
        tell.send_if_modified(|before| {
            let news = *before != health;
            if news {
                say(*before, health);
            }
            *before = health;
            news
        });
        sleep(LOOK_EVERY).await;
    }
}

fn say(before: DiskHealth, now: DiskHealth) {
    match now {
        DiskHealth::KeepsUp => tracing::info!(?before, "disk keeps up again"),
        DiskHealth::Slow => tracing::warn!("disk does not sync: no leases are granted meanwhile"),
        DiskHealth::HandOver => {
            tracing::error!("disk does not sync for 5 s: handing leaderships over");
        }
        DiskHealth::Dead => {
            tracing::error!(
                "disk is lost: the process has to end; check the volume before a restart"
            );
        }
    }
}

/// For how long nothing was synced although something waits.
#[derive(Debug)]
struct StallTracker {
    synced: u64,
    looked_at: Timestamp,
    stalled: Duration,
}

impl StallTracker {
    const fn new(now: Timestamp) -> Self {
        Self {
            synced: 0,
            looked_at: now,
            stalled: Duration::ZERO,
        }
    }

    /// SUBTLE: a machine that slept for an hour has not stalled for an hour, so no gap between two looks counts for
    /// more than a second.
    fn observe(&mut self, log: &LogHealth, now: Timestamp) -> DiskHealth {
        if log.failed.is_some() {
            return DiskHealth::Dead;
        }
        self.stalled += now.since(self.looked_at).min(GAP_MAX);
        self.looked_at = now;
        if log.unsynced_batches == 0 || log.synced_batches != self.synced {
            self.synced = log.synced_batches;
            self.stalled = Duration::ZERO;
        }
        verdict(self.stalled)
    }
}

fn verdict(stalled: Duration) -> DiskHealth {
    if stalled > DEAD_AFTER {
        DiskHealth::Dead
    } else if stalled > HAND_OVER_AFTER {
        DiskHealth::HandOver
    } else if stalled > SLOW_AFTER {
        DiskHealth::Slow
    } else {
        DiskHealth::KeepsUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn log(unsynced: u64, synced: u64) -> LogHealth {
        LogHealth {
            unsynced_batches: unsynced,
            synced_batches: synced,
            ..LogHealth::default()
        }
    }

    /// Looks once a second from `from` to `to`, and gives the last finding.
    fn look(tracker: &mut StallTracker, log: &LogHealth, from: u64, to: u64) -> DiskHealth {
        let looks = (from..=to).map(|second| tracker.observe(log, at(second)));
        looks.last().expect("at least one look")
    }

    #[test]
    fn stall_is_graded_by_its_length_and_ends_with_the_next_sync() {
        let mut tracker = StallTracker::new(at(0));
        let stuck = log(3, 7);
        assert_eq!(look(&mut tracker, &stuck, 0, 2), DiskHealth::KeepsUp);
        assert_eq!(look(&mut tracker, &stuck, 3, 3), DiskHealth::Slow);
        assert_eq!(look(&mut tracker, &stuck, 4, 6), DiskHealth::HandOver);
        assert_eq!(look(&mut tracker, &stuck, 7, 11), DiskHealth::Dead);
        assert_eq!(look(&mut tracker, &log(3, 8), 12, 12), DiskHealth::KeepsUp);
    }

    #[test]
    fn idle_log_never_counts_as_stalled() {
        let mut tracker = StallTracker::new(at(0));
        assert_eq!(look(&mut tracker, &log(0, 7), 0, 100), DiskHealth::KeepsUp);
        assert_eq!(
            look(&mut tracker, &log(1, 7), 101, 102),
            DiskHealth::KeepsUp
        );
    }

    #[test]
    fn machine_that_slept_has_not_stalled_meanwhile() {
        let mut tracker = StallTracker::new(at(0));
        let busy = log(1, 7);
        tracker.observe(&busy, at(0));
        assert_eq!(tracker.observe(&busy, at(3_600)), DiskHealth::KeepsUp);
    }

    #[test]
    fn failed_log_is_lost_at_once() {
        let mut tracker = StallTracker::new(at(0));
        let failed = LogHealth {
            failed: Some("no space left".to_owned()),
            ..LogHealth::default()
        };
        assert_eq!(tracker.observe(&failed, at(0)), DiskHealth::Dead);
    }
}
