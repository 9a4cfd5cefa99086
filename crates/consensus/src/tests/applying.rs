//! What a machine is given of the log.

use std::sync::Arc;

use futures_util::stream;
use leasehold_storage::{CheckpointOptions, CheckpointStore, MemoryDisk};
use leasehold_types::GroupId;
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;

use super::Counter;
use crate::keeper::Keeper;
use crate::state::{Shared, StateMachine};
use crate::types::{Entry, EntryPayload, LeaderId, LogId, Payload, SnapshotMeta};

/// A log that gives less than was asked for must not make a replica that is different from the others.
#[tokio::test]
async fn entry_that_does_not_follow_the_last_is_not_applied() {
    let disk = Arc::new(MemoryDisk::new());
    let checkpoints = Arc::new(CheckpointStore::new(disk, CheckpointOptions::default()));
    let (group, meta) = (GroupId::new(1), SnapshotMeta::default());
    let shared = Arc::new(Shared::new(Counter::default(), meta, u64::MAX));
    let checkpoint = checkpoints.open(group).unwrap();
    let keeper = Keeper::new(group, Arc::clone(&shared), checkpoints, checkpoint, None);
    keeper.serve();
    let mut machine = StateMachine::new(Arc::clone(&shared), Arc::new(keeper));
    let leader = LeaderId {
        term: 1,
        node_id: 1,
    };
    let entry = |index: u64| {
        let command = Payload::proposed(index);
        let payload = EntryPayload::<Counter>::Normal(command);
        Ok((
            Entry::<Counter>::new(LogId::new(leader, index), payload),
            None,
        ))
    };
    let applied = machine.apply(stream::iter([0, 1, 3].map(entry))).await;
    let error = applied.unwrap_err().to_string();
    assert!(error.contains("no entry at index 2"), "{error}");
    assert_eq!(
        shared.read(|machine| machine.applied.clone()),
        [(0, 0), (1, 1)]
    );
}
