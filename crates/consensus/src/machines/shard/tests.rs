//! A shard's rows, through a checkpoint and back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leasehold_core::policy::QueuePolicy;
use leasehold_core::requirement::Requirement;
use leasehold_core::shard::Command;
use leasehold_core::shard::command::{Cancel, LeaderStart, PutPolicy, Submit};
use leasehold_core::shard::state::RUN;
use leasehold_core::shard::view::Elsewhere;
use leasehold_storage::{Checkpoint, CheckpointOptions, CheckpointStore, MemoryDisk};
use leasehold_types::{
    BootCount, Digest, GroupId, Incarnation, JobId, NodeId, QueueName, ShardEpoch, Timestamp,
    VirtualShard,
};

use super::*;

/// A shard, and its checkpoint.
struct Kept {
    state: ShardState,
    checkpoint: Checkpoint,
}

fn queue() -> QueueName {
    QueueName::new("chat").unwrap()
}

fn job(number: u8) -> JobId {
    JobId::new(VirtualShard::new(0), [number; 12])
}

impl Kept {
    fn new() -> Self {
        let disk = Arc::new(MemoryDisk::new());
        let store = CheckpointStore::new(disk, CheckpointOptions::default());
        let mut kept = Self {
            state: ShardState::new(Incarnation::new(1)),
            checkpoint: store.open(GroupId::new(1)).unwrap(),
        };
        kept.apply(Command::LeaderStart(LeaderStart {
            previous: ShardEpoch::ZERO,
            node: NodeId::new(1),
            boot: BootCount::new(1),
        }));
        kept.apply(Command::PutPolicy(Box::new(PutPolicy {
            queue: queue(),
            policy: QueuePolicy::default(),
            index: 1,
        })));
        kept
    }

    fn apply(&mut self, command: Command) {
        let batch = Batch {
            epoch: self.state.epoch(),
            stamp: Timestamp::from_micros(1),
            seed: 0,
            commands: vec![command],
        };
        let _ = self.state.apply(&batch);
    }

    fn submit(&mut self, number: u8) {
        self.apply(Command::Submit(Box::new(Submit {
            job: job(number),
            queue: queue(),
            tenant: None,
            key: None,
            payload: Bytes::from(vec![number; 500]),
            digest: Digest::new([number; 32]),
            priority: 4,
            delay: Duration::ZERO,
            deadline: None,
            requirement: Requirement::default(),
        })));
    }

    fn cancel(&mut self, number: u8) {
        let (job, reason) = (job(number), String::new());
        self.apply(Command::Cancel(Cancel { job, reason }));
    }

    fn write(&mut self) -> View {
        let mut writing = self.checkpoint.begin().unwrap();
        let mut frozen = Machine::freeze(&mut self.state);
        let mut written = Vec::new();
        while let Some(portion) = self.state.take(&mut frozen) {
            written.push(ShardState::write(&portion, &mut writing).unwrap());
        }
        writing.commit(b"head").unwrap();
        written
            .into_iter()
            .for_each(|runs| self.state.release(runs));
        self.checkpoint.view().unwrap()
    }
}

fn rows(view: &View, table: Table) -> usize {
    view.scan(table, ..).unwrap().count()
}

fn elsewhere(state: &ShardState, number: u8) -> Elsewhere {
    state
        .elsewhere(job(number))
        .expect("its payload is written")
}

#[test]
fn payloads_of_a_run_are_one_row_that_goes_with_the_last_of_them() {
    let mut kept = Kept::new();
    (0..16).for_each(|number| kept.submit(number));
    assert_eq!(rows(&kept.write(), PAYLOADS), 1);
    (0..15).for_each(|number| kept.cancel(number));
    assert_eq!(rows(&kept.write(), PAYLOADS), 1);
    kept.cancel(15);
    assert_eq!(rows(&kept.write(), PAYLOADS), 0);
}

#[test]
fn bundles_that_come_next_are_read_along_and_no_more_than_that() {
    let mut kept = Kept::new();
    (0..80).for_each(|number| kept.submit(number));
    let view = kept.write();
    for (ahead, expected) in [(0, &[16][..]), (2, &[16, 32, 48]), (9, &[16, 32, 48, 64])] {
        let bundles = payloads::look(&view, &BTreeSet::from([16]), ahead).unwrap();
        assert!(bundles.keys().eq(expected));
        for (first, bundle) in bundles {
            let jobs = bundle.parts.into_iter().map(|(job, part)| {
                assert_eq!(part, vec![u8::try_from(job).unwrap(); 500]);
                job
            });
            assert!(jobs.eq(first..first + RUN));
        }
    }
}

#[test]
fn shard_that_is_loaded_finds_every_payload_that_was_written() {
    let mut kept = Kept::new();
    for numbers in [0..3, 3..20] {
        numbers.for_each(|number| kept.submit(number));
        kept.write();
    }
    let view = kept.write();
    let loaded = ShardState::load(&view).unwrap();
    for number in 0..20 {
        let at = elsewhere(&loaded, number);
        assert_eq!(at, elsewhere(&kept.state, number));
        let payload = stored::part(&view, at, Part::Payload).unwrap();
        assert_eq!(payload.unwrap(), vec![number; 500]);
    }
}
