//! What the log promises beyond openraft's own suite.

use std::sync::Arc;

use leasehold_storage::{LogStore, MemoryLog};
use openraft::entry::RaftEntry;

use super::*;
use crate::tests::{Counter, HeldLog};
use crate::types::{EntryPayload, LeaderId, Payload};

const GROUP: GroupId = GroupId::new(1);

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: 1 }, index)
}

fn entries(term: u64, indexes: Range<u64>) -> Vec<Entry<Counter>> {
    indexes
        .map(|index| {
            let payload = EntryPayload::<Counter>::Normal(Payload::proposed(index));
            Entry::<Counter>::new(id(term, index), payload)
        })
        .collect()
}

fn open(store: &Arc<HeldLog>) -> Log<Counter> {
    Log::open(GROUP, Arc::clone(store) as _).unwrap()
}

/// What `committed` would be read as after a power failure.
async fn committed_after_a_power_failure(store: &HeldLog) -> Option<LogId> {
    let store = Arc::new(store.after_power_failure());
    open(&store).read_committed().await.unwrap()
}

#[tokio::test]
async fn committed_is_written_with_the_entries_that_follow_it() {
    let store = Arc::new(HeldLog::default());
    let mut log = open(&store);
    log.append(entries(1, 0..3), IOFlushed::noop())
        .await
        .unwrap();
    log.save_committed(Some(id(1, 2))).await.unwrap();
    assert_eq!(committed_after_a_power_failure(&store).await, None);
    log.append(entries(1, 3..4), IOFlushed::noop())
        .await
        .unwrap();
    assert_eq!(
        committed_after_a_power_failure(&store).await,
        Some(id(1, 2))
    );
}

#[tokio::test]
async fn committed_never_runs_ahead_of_the_disk() {
    let store = Arc::new(HeldLog::default());
    let mut log = open(&store);
    log.append(entries(1, 0..3), IOFlushed::noop())
        .await
        .unwrap();
    store.hold();
    log.append(entries(1, 3..6), IOFlushed::noop())
        .await
        .unwrap();
    log.save_committed(Some(id(1, 5))).await.unwrap();
    assert_eq!(log.read_committed().await.unwrap(), None);
    store.release();
    assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 5)));
}

#[tokio::test]
async fn entries_written_in_place_of_truncated_ones_count_as_unwritten() {
    let store = Arc::new(HeldLog::default());
    let mut log = open(&store);
    log.append(entries(1, 0..8), IOFlushed::noop())
        .await
        .unwrap();
    log.truncate_after(Some(id(1, 4))).await.unwrap();
    store.hold();
    log.append(entries(1, 5..8), IOFlushed::noop())
        .await
        .unwrap();
    log.save_committed(Some(id(1, 6))).await.unwrap();
    assert_eq!(log.read_committed().await.unwrap(), None);
}

#[tokio::test]
async fn entries_come_back_from_the_store_as_they_came_from_memory() {
    let store = Arc::new(HeldLog::default());
    let mut log = open(&store);
    log.append(entries(1, 0..5), IOFlushed::noop())
        .await
        .unwrap();
    let remembered = log.try_get_log_entries(1..4).await.unwrap();
    let read = open(&store).try_get_log_entries(1..4).await.unwrap();
    assert_eq!(format!("{remembered:?}"), format!("{read:?}"));
    let indexes: Vec<u64> = read.iter().map(RaftEntry::index).collect();
    assert_eq!(indexes, [1, 2, 3]);
}

#[tokio::test]
async fn message_to_a_follower_is_bounded_in_bytes() {
    let store: Arc<dyn LogStore> = Arc::new(MemoryLog::default());
    let mut log = Log::<Counter>::open(GROUP, store).unwrap();
    let large = |index| {
        let command = Payload::received(vec![0; MESSAGE_BYTES / 2].into());
        Entry::<Counter>::new(id(1, index), EntryPayload::<Counter>::Normal(command))
    };
    let entries: Vec<_> = (0..6).map(large).collect();
    log.append(entries, IOFlushed::noop()).await.unwrap();
    assert_eq!(log.limited_get_log_entries(0, 6).await.unwrap().len(), 2);
    assert_eq!(log.try_get_log_entries(0..6).await.unwrap().len(), 6);
}

#[test]
fn portions_hold_what_fits_or_one() {
    let entry = |index, bytes| (index, Bytes::from(vec![0; bytes]));
    let given = [
        entry(1, 4),
        entry(2, 4),
        entry(3, 4),
        entry(4, 99),
        entry(5, 1),
    ];
    let portions = portions(given.into_iter(), 10);
    let indexes: Vec<Vec<u64>> = portions
        .iter()
        .map(|portion| portion.iter().map(|(index, _)| *index).collect())
        .collect();
    assert_eq!(indexes, [vec![1, 2], vec![3], vec![4], vec![5]]);
}
