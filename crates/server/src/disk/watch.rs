//! Whether the node's log keeps up with what is written to it, and whether its volume has room.
//!
//! A disk that hangs does not fail: writes just never come back, while the node's links, and so its leaderships, stay
//! alive (etcd-io/etcd#13527). So the log's own counters are watched from outside by the clock: when something waits
//! to be synced and nothing was synced for a while, this node first stops handing out work, then gives its
//! leaderships away, and in the end has to go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use leasehold_consensus::elsewhere;
use leasehold_storage::{Disk, DiskSpace, LogHealth, LogStore};
use leasehold_types::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use super::room::{DiskRoom, RoomLevel, Watermarks};
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
    /// Writes come back, out of the log's reserve: leaderships go to other nodes, and work goes on where there are none.
    Full,
    /// A write is overdue by more than 2 s: nothing is granted and no renewal answered.
    Slow,
    /// By more than 5 s: leaderships go to other nodes.
    HandOver,
    /// By more than 10 s, or the log has failed: the process should end.
    Dead,
}

impl DiskHealth {
    /// Whether work may be handed out and renewals be answered.
    #[must_use]
    pub fn keeps_up(self) -> bool {
        match self {
            Self::KeepsUp | Self::Full => true,
            Self::Slow | Self::HandOver | Self::Dead => false,
        }
    }

    /// Whether leaderships should go to other nodes.
    #[must_use]
    pub fn hands_over(self) -> bool {
        match self {
            Self::KeepsUp | Self::Slow => false,
            Self::Full | Self::HandOver | Self::Dead => true,
        }
    }
}

/// Follows the log's health and the room on its volume. One a node.
pub struct DiskWatch {
    /// The node's log.
    pub log: Arc<dyn LogStore>,
    /// Its data folder.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the room gets short.
    pub marks: Watermarks,
    /// Who hears of the health.
    pub health: watch::Sender<DiskHealth>,
    /// Who hears of the room.
    pub room: watch::Sender<DiskRoom>,
}

impl DiskWatch {
    /// Tells of every change, until nobody listens.
    pub async fn run(self) {
        join(self.follow_the_log(), self.follow_the_room()).await;
    }

    async fn follow_the_log(&self) {
        let mut tracker = StallTracker::new(self.clock.now());
        while !self.health.is_closed() {
            self.look_at_the_log(&mut tracker);
            sleep(LOOK_EVERY).await;
        }
    }

    /// SUBTLE: asking a file system for its room may wait for the very disk whose hanging is to be noticed.
    async fn follow_the_room(&self) {
        while !self.health.is_closed() {
            let disk = Arc::clone(&self.disk);
            let space = elsewhere(move || disk.space()).await;
            self.look_at_the_room(space);
            sleep(LOOK_EVERY).await;
        }
    }

    fn look_at_the_log(&self, tracker: &mut StallTracker) {
        let log = self.log.health();
        let stall = tracker.observe(&log, self.clock.now());
        let is_full = self.room.borrow().level == RoomLevel::Full;
        let least = match is_full {
            true => DiskHealth::Full,
            false => DiskHealth::KeepsUp,
        };
        let health = stall.max(least);
        self.health.send_if_modified(|before| {
            let news = *before != health;
            if news {
                say(*before, health, log.failed.as_deref());
            }
            *before = health;
            news
        });
    }

    /// Where the file system does not say, things stay as they were: the log finds out by itself.
    fn look_at_the_room(&self, space: io::Result<DiskSpace>) {
        let spare = self.log.health().spare_bytes;
        match space {
            Ok(space) => self.tell_room(space, spare),
            Err(error) => {
                tracing::debug!(%error, "the data folder's volume does not tell its room")
            }
        }
    }

    fn tell_room(&self, space: DiskSpace, spare: u64) {
        self.room.send_if_modified(|before| {
            let room = self.marks.judge(before.level, space, spare);
            if before.level != room.level {
                say_room(before.level, room);
            }
            let news = *before != room;
            *before = room;
            news
        });
    }
}

fn say_room(before: RoomLevel, room: DiskRoom) {
    let DiskRoom {
        free, total, low, ..
    } = room;
    match room.level {
        RoomLevel::Ample => tracing::info!(?before, free, total, "volume has room again"),
        RoomLevel::Low => tracing::warn!(
            free,
            low,
            total,
            "volume is nearly full: new jobs are refused, those that are in are finished"
        ),
        RoomLevel::Full => tracing::error!(
            free,
            total,
            "volume is full: the log lives on its reserve, and the node ends with it; make room"
        ),
    }
}

fn say(before: DiskHealth, now: DiskHealth, failed: Option<&str>) {
    match now {
        DiskHealth::KeepsUp => tracing::info!(?before, "disk keeps up again"),
        DiskHealth::Full => tracing::error!("disk is full: handing leaderships over"),
        DiskHealth::Slow => tracing::warn!("disk does not sync: no leases are granted meanwhile"),
        DiskHealth::HandOver => {
            tracing::error!("disk does not sync for 5 s: handing leaderships over");
        }
        DiskHealth::Dead => {
            tracing::error!(
                failed,
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
mod tests;
