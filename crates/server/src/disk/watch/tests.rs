use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use leasehold_storage::{Bounds, DiskFile, Done, OpenMode, Operation, Slot};
use leasehold_types::GroupId;

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

/// A log with something to sync that is never synced.
struct StuckLog;

impl LogStore for StuckLog {
    fn submit(&self, _: Operation, _: Done) {}

    fn entries(&self, _: GroupId, _: Range<u64>, _: usize) -> io::Result<Vec<(u64, Bytes)>> {
        Ok(Vec::new())
    }

    fn bounds(&self, _: GroupId) -> Bounds {
        Bounds::default()
    }

    fn surplus(&self, _: GroupId, _: u64) -> Option<u64> {
        None
    }

    fn slot(&self, _: GroupId, _: Slot) -> Option<Bytes> {
        None
    }

    fn health(&self) -> LogHealth {
        log(1, 0)
    }
}

/// A folder that says how much room it has once it is let, and nothing else.
struct StuckDisk(Mutex<Receiver<()>>);

impl StuckDisk {
    fn new() -> (Self, Sender<()>) {
        let (release, held) = channel();
        (Self(Mutex::new(held)), release)
    }
}

impl Disk for StuckDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, _: &str, _: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Until the test lets go of the other end.
        let _released = held.recv();
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A second goes by between two looks.
#[derive(Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        at(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_that_does_not_even_tell_its_room_is_found_out() {
    let (disk, release) = StuckDisk::new();
    let (health, mut told) = watch::channel(DiskHealth::default());
    let watch = DiskWatch {
        log: Arc::new(StuckLog),
        disk: Arc::new(disk),
        clock: Arc::new(Ticking::default()),
        marks: Watermarks { low: 0, segment: 0 },
        health,
        room: watch::Sender::default(),
    };
    let watching = tokio::spawn(watch.run());
    let lost = told.wait_for(|health| *health == DiskHealth::Dead);
    let found = tokio::time::timeout(Duration::from_secs(60), lost).await;
    found.unwrap().unwrap();
    watching.abort();
    drop(release);
}
