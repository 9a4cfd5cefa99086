//! Whatever is submitted, and wherever power fails: what was acknowledged is there afterwards, nothing is doubled,
//! nothing reordered. The plain twin says what "there" means.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use leasehold_storage::{
    LogOptions, LogStore, LogWriter, MemoryDisk, MemoryLog, Operation, SegmentedLog, Slot,
};
use proptest::prelude::*;

mod support;

use support::{View, group, perform, small_segments, view};

const GROUPS: u32 = 3;
const CHURNED: u32 = 2;

/// Batches so small that much is still queued when a batch is written.
fn options() -> LogOptions {
    LogOptions {
        batch_bytes: 1500,
        ..small_segments()
    }
}

/// One thing that happens. Positions are relative, so that most of what is drawn is legal.
#[derive(Debug, Clone)]
enum Event {
    Append {
        group: u32,
        count: u64,
        length: usize,
    },
    Truncate {
        group: u32,
        back: u64,
    },
    Purge {
        group: u32,
        forward: u64,
    },
    Put {
        group: u32,
        slot: Slot,
    },
    /// One group fills segments and lets them go, so that what the others have there is written forward.
    Churn,
    /// The writer writes and syncs once.
    Step,
    /// The writer works until it has nothing to do, and seals.
    Settle,
    /// Power fails.
    Crash,
    /// Power fails, and sectors of what was unsynced land or not.
    Tear(u64),
    /// Power fails in one of the next syncs, while the writer works: frames were written, segments made or removed.
    TearInSync {
        syncs: u64,
        seed: u64,
    },
    /// The process is killed; the disk goes on.
    Kill,
    /// The process ends well.
    Close,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let length = prop_oneof![8 => 0..400_usize, 1 => 2000..6000_usize, 1 => Just(20_000)];
    let slot = prop_oneof![Just(Slot::Vote), Just(Slot::Committed)];
    let event = prop_oneof![
        12 => (0..GROUPS, 1..5_u64, length)
            .prop_map(|(group, count, length)| Event::Append { group, count, length }),
        3 => (0..GROUPS, 0..8_u64).prop_map(|(group, back)| Event::Truncate { group, back }),
        4 => (0..GROUPS, 0..12_u64).prop_map(|(group, forward)| Event::Purge { group, forward }),
        4 => (0..GROUPS, slot).prop_map(|(group, slot)| Event::Put { group, slot }),
        3 => Just(Event::Churn),
        10 => Just(Event::Step),
        4 => Just(Event::Settle),
        1 => Just(Event::Crash),
        2 => any::<u64>().prop_map(Event::Tear),
        4 => (0..6_u64, any::<u64>()).prop_map(|(syncs, seed)| Event::TearInSync { syncs, seed }),
        1 => Just(Event::Kill),
        1 => Just(Event::Close),
    ];
    prop::collection::vec(event, 1..120)
}

/// A log over a disk that fails, and all that was ever submitted to it and may still be there.
struct World {
    disk: MemoryDisk,
    log: SegmentedLog,
    writer: LogWriter,
    submitted: Vec<Operation>,
    /// How many of them were acknowledged.
    acknowledged: Arc<AtomicUsize>,
    made: u64,
}

fn views(log: &dyn LogStore) -> Vec<View> {
    (0..GROUPS)
        .map(|number| view(log, group(number)).unwrap())
        .collect()
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let (log, writer) = SegmentedLog::open(Arc::new(disk.clone()), options()).unwrap();
        Self {
            disk,
            log,
            writer,
            submitted: Vec::new(),
            acknowledged: Arc::default(),
            made: 0,
        }
    }

    fn content(&mut self, length: usize) -> Bytes {
        self.made += 1;
        let mut content = format!("content {}", self.made).into_bytes();
        content.resize(length.max(content.len()), b'.');
        content.into()
    }

    fn submit(&mut self, operation: Operation) {
        self.submitted.push(operation.clone());
        let (number, acknowledged) = (self.submitted.len(), Arc::clone(&self.acknowledged));
        let done = move |result: std::io::Result<()>| {
            if result.is_ok() {
                let before = acknowledged.swap(number, Ordering::Relaxed);
                assert_eq!(before + 1, number, "answered out of order");
            }
        };
        self.log.submit(operation, Box::new(done));
    }

    fn append(&mut self, number: u32, count: u64, length: usize) {
        let group = group(number);
        let next = self.log.bounds(group).next;
        let entries = (next..next + count).map(|index| (index, self.content(length)));
        let entries = entries.collect();
        self.submit(Operation::Append { group, entries });
    }

    fn churn(&mut self) {
        for _ in 0..8 {
            self.append(CHURNED, 1, 5000);
            self.writer.step().unwrap();
        }
        let (group, mark) = (group(CHURNED), self.content(0));
        let upto = self.log.bounds(group).next - 1;
        self.submit(Operation::Purge { group, upto, mark });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Append {
                group,
                count,
                length,
            } => self.append(group, count, length),
            Event::Truncate {
                group: number,
                back,
            } => {
                let group = group(number);
                let after = self.log.bounds(group).next.checked_sub(back + 1);
                self.submit(Operation::Truncate { group, after });
            }
            Event::Purge {
                group: number,
                forward,
            } => {
                let group = group(number);
                let upto = self.log.bounds(group).first + forward;
                let mark = self.content(0);
                self.submit(Operation::Purge { group, upto, mark });
            }
            Event::Put {
                group: number,
                slot,
            } => {
                let (group, value) = (group(number), self.content(0));
                self.submit(Operation::Put { group, slot, value });
            }
            Event::Churn => self.churn(),
            Event::Step => drop(self.writer.step().unwrap()),
            Event::Settle => while self.writer.step().unwrap() {},
            Event::Crash => {
                self.disk.crash();
                self.reopen();
            }
            Event::Tear(seed) => {
                self.disk.crash_torn(seed);
                self.reopen();
            }
            Event::TearInSync { syncs, seed } => {
                self.disk.crash_in_sync(syncs, seed);
                while self.writer.step().is_ok_and(|worked| worked) {}
                self.disk.crash_torn(seed);
                self.reopen();
            }
            Event::Kill => self.reopen(),
            Event::Close => {
                self.log.close();
                while self.writer.step().unwrap() {}
                self.reopen();
            }
        }
    }

    /// Opens the log again, and finds out how much of what was not acknowledged is there: it must be some first part.
    fn reopen(&mut self) {
        let disk = self.disk.clone();
        let (log, writer) = SegmentedLog::open(Arc::new(disk), options()).unwrap();
        let found = views(&log);
        (self.log, self.writer) = (log, writer);
        let least = self.acknowledged.load(Ordering::Relaxed);
        let survived = (least..=self.submitted.len())
            .find(|count| self.expected(*count) == found)
            .unwrap_or_else(|| panic!("not what {least} operations or more leave: {found:#?}"));
        self.submitted.truncate(survived);
        self.acknowledged = Arc::new(AtomicUsize::new(survived));
    }

    /// What the first operations leave.
    fn expected(&self, count: usize) -> Vec<View> {
        let model = MemoryLog::new();
        for operation in &self.submitted[..count] {
            perform(&model, operation.clone()).unwrap();
        }
        views(&model)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_every_crash_and_nothing_is_doubled_or_reordered(events in events()) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        prop_assert_eq!(views(&world.log), world.expected(world.submitted.len()));
        world.happen(Event::Settle);
        prop_assert_eq!(views(&world.log), world.expected(world.submitted.len()));
        prop_assert_eq!(world.acknowledged.load(Ordering::Relaxed), world.submitted.len());
        world.disk.crash();
        world.reopen();
    }
}
