//! What every log store does, whatever it is made of.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use leasehold_storage::{
    Bounds, Disk, LogStore, MemoryDisk, MemoryLog, Operation, OsDisk, SegmentedLog, Slot,
};

mod support;

use support::{
    append, append_long, group, perform, purge, put, small_segments, spawn, submit, texts,
    truncate, view,
};

/// A store under test, with what keeps it alive.
struct Subject {
    log: Option<Box<dyn LogStore>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    _folder: Option<tempfile::TempDir>,
}

impl Subject {
    fn log(&self) -> &dyn LogStore {
        self.log.as_deref().expect("there until it is dropped")
    }

    fn over(disk: Arc<dyn Disk>, folder: Option<tempfile::TempDir>) -> Self {
        let (log, writer) = SegmentedLog::open(disk, small_segments()).unwrap();
        Self {
            log: Some(Box::new(log)),
            writer: Some(spawn(writer)),
            _folder: folder,
        }
    }
}

/// Closes the log and sees that its writer ended well.
impl Drop for Subject {
    fn drop(&mut self) {
        drop(self.log.take());
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap().unwrap();
        }
    }
}

fn in_memory() -> Subject {
    Subject {
        log: Some(Box::new(MemoryLog::new())),
        writer: None,
        _folder: None,
    }
}

fn over_memory_disk() -> Subject {
    Subject::over(Arc::new(MemoryDisk::new()), None)
}

fn over_folder() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(folder.path().join("node")).unwrap();
    Subject::over(Arc::new(disk), Some(folder))
}

macro_rules! for_every_store {
    ($($rule:ident),+ $(,)?) => {
        mod memory_log { $(#[test] fn $rule() { super::$rule(super::in_memory().log()); })+ }
        mod segmented_log_over_memory { $(#[test] fn $rule() { super::$rule(super::over_memory_disk().log()); })+ }
        mod segmented_log_over_folder { $(#[test] fn $rule() { super::$rule(super::over_folder().log()); })+ }
    };
}

for_every_store!(
    log_of_an_unknown_group_spans_nothing,
    appended_entries_come_back_in_order,
    empty_log_begins_anywhere_and_then_has_no_gaps,
    truncate_drops_the_end_and_appends_go_on_there,
    truncate_of_all_keeps_the_purge,
    purge_drops_the_front_and_keeps_its_mark,
    purge_past_the_end_moves_the_log_there,
    purge_below_an_earlier_one_changes_nothing,
    slots_hold_their_last_value,
    groups_do_not_mix,
    surplus_is_what_can_go_so_that_enough_bytes_stay,
    read_gives_at_least_one_entry_and_stops_at_its_limit,
    read_outside_the_log_gives_what_there_is,
    refused_operation_changes_nothing_and_harms_no_other,
    answers_come_in_the_order_of_submission,
    submitted_entries_are_visible_before_they_are_durable,
    entries_of_many_segments_come_back,
    last_index_there_is_is_refused,
);

fn log_of_an_unknown_group_spans_nothing(log: &dyn LogStore) {
    let found = view(log, group(9)).unwrap();
    assert_eq!(found.bounds, Bounds::default());
    assert_eq!(
        (found.vote, found.committed, found.entries.len()),
        (None, None, 0)
    );
    assert_eq!(log.health().failed, None);
}

fn appended_entries_come_back_in_order(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["a", "b"])).unwrap();
    perform(log, append(group(1), 2, &[])).unwrap();
    perform(log, append(group(1), 2, &["", "d"])).unwrap();
    let expected = [(0, "a"), (1, "b"), (2, ""), (3, "d")];
    assert_eq!(
        texts(log, group(1)),
        expected.map(|(index, text)| (index, text.to_owned()))
    );
    let bounds = log.bounds(group(1));
    assert_eq!((bounds.first, bounds.next, bounds.purged), (0, 4, None));
}

fn empty_log_begins_anywhere_and_then_has_no_gaps(log: &dyn LogStore) {
    perform(log, append(group(1), 7, &["a"])).unwrap();
    assert_eq!(
        (log.bounds(group(1)).first, log.bounds(group(1)).next),
        (7, 8)
    );
    for index in [6, 7, 9] {
        let error = perform(log, append(group(1), index, &["x"])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("next index is 8"), "{error}");
    }
    assert_eq!(texts(log, group(1)), [(7, "a".to_owned())]);
}

fn truncate_drops_the_end_and_appends_go_on_there(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["a", "b", "c"])).unwrap();
    perform(log, truncate(group(1), Some(5))).unwrap();
    assert_eq!(log.bounds(group(1)).next, 3);
    perform(log, truncate(group(1), Some(0))).unwrap();
    assert_eq!(log.bounds(group(1)).next, 1);
    perform(log, append(group(1), 1, &["B"])).unwrap();
    assert_eq!(
        texts(log, group(1)),
        [(0, "a".to_owned()), (1, "B".to_owned())]
    );
}

fn truncate_of_all_keeps_the_purge(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["a", "b", "c"])).unwrap();
    perform(log, purge(group(1), 0)).unwrap();
    perform(log, truncate(group(1), None)).unwrap();
    let bounds = log.bounds(group(1));
    assert_eq!((bounds.first, bounds.next), (1, 1));
    assert_eq!(bounds.purged.as_deref(), Some(&b"mark of 0"[..]));
    assert!(perform(log, append(group(1), 0, &["x"])).is_err());
    perform(log, append(group(1), 1, &["y"])).unwrap();
}

fn purge_drops_the_front_and_keeps_its_mark(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["a", "b", "c"])).unwrap();
    perform(log, purge(group(1), 1)).unwrap();
    assert_eq!(texts(log, group(1)), [(2, "c".to_owned())]);
    let bounds = log.bounds(group(1));
    assert_eq!((bounds.first, bounds.next), (2, 3));
    assert_eq!(bounds.purged.as_deref(), Some(&b"mark of 1"[..]));
}

fn purge_past_the_end_moves_the_log_there(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["a"])).unwrap();
    perform(log, purge(group(1), 100)).unwrap();
    let bounds = log.bounds(group(1));
    assert_eq!((bounds.first, bounds.next), (101, 101));
    perform(log, append(group(1), 101, &["b"])).unwrap();
    assert_eq!(texts(log, group(1)), [(101, "b".to_owned())]);
}

fn purge_below_an_earlier_one_changes_nothing(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["a", "b", "c"])).unwrap();
    perform(log, purge(group(1), 1)).unwrap();
    perform(log, purge(group(1), 0)).unwrap();
    assert_eq!(
        log.bounds(group(1)).purged.as_deref(),
        Some(&b"mark of 1"[..])
    );
    let mark = Bytes::from_static(b"again");
    let again = Operation::Purge {
        group: group(1),
        upto: 1,
        mark,
    };
    perform(log, again).unwrap();
    assert_eq!(log.bounds(group(1)).purged.as_deref(), Some(&b"again"[..]));
}

fn slots_hold_their_last_value(log: &dyn LogStore) {
    perform(log, put(group(1), Slot::Vote, "v1")).unwrap();
    perform(log, put(group(1), Slot::Committed, "c1")).unwrap();
    perform(log, put(group(1), Slot::Vote, "v2")).unwrap();
    assert_eq!(log.slot(group(1), Slot::Vote).as_deref(), Some(&b"v2"[..]));
    assert_eq!(
        log.slot(group(1), Slot::Committed).as_deref(),
        Some(&b"c1"[..])
    );
}

fn surplus_is_what_can_go_so_that_enough_bytes_stay(log: &dyn LogStore) {
    assert_eq!(log.surplus(group(1), 0), None);
    perform(log, append(group(1), 5, &["1234", "", "123", "12"])).unwrap();
    let surplus = || [0, 1, 3, 5, 6].map(|kept| log.surplus(group(1), kept));
    assert_eq!(surplus(), [Some(8), Some(7), Some(6), Some(6), None]);
    perform(log, truncate(group(1), Some(7))).unwrap();
    assert_eq!(surplus(), [Some(7), Some(6), Some(6), None, None]);
    perform(log, purge(group(1), 5)).unwrap();
    assert_eq!(surplus(), [Some(7), Some(6), Some(6), None, None]);
    perform(log, purge(group(1), 9)).unwrap();
    assert_eq!(surplus(), [None; 5]);
}

fn groups_do_not_mix(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["a"])).unwrap();
    perform(log, append(group(2), 5, &["b"])).unwrap();
    perform(log, put(group(2), Slot::Vote, "v")).unwrap();
    perform(log, truncate(group(1), None)).unwrap();
    assert_eq!(texts(log, group(1)), []);
    assert_eq!(texts(log, group(2)), [(5, "b".to_owned())]);
    assert_eq!(log.slot(group(1), Slot::Vote), None);
}

fn read_gives_at_least_one_entry_and_stops_at_its_limit(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["aaaa", "bbbb", "cccc"])).unwrap();
    let count = |max_bytes| log.entries(group(1), 0..3, max_bytes).unwrap().len();
    assert_eq!(
        (count(0), count(4), count(8), count(11), count(12)),
        (1, 1, 2, 2, 3)
    );
}

fn read_outside_the_log_gives_what_there_is(log: &dyn LogStore) {
    perform(log, append(group(1), 3, &["a", "b", "c"])).unwrap();
    let indexes = |range| {
        let entries = log.entries(group(1), range, usize::MAX).unwrap();
        entries
            .into_iter()
            .map(|(index, _)| index)
            .collect::<Vec<_>>()
    };
    assert_eq!(indexes(0..5), [3, 4]);
    assert_eq!(indexes(5..u64::MAX), [5]);
    assert_eq!(indexes(6..9), []);
    assert_eq!(indexes(4..4), []);
}

fn refused_operation_changes_nothing_and_harms_no_other(log: &dyn LogStore) {
    perform(log, append(group(1), 0, &["a"])).unwrap();
    let before = view(log, group(1)).unwrap();
    let entries = vec![(1, Bytes::new()), (3, Bytes::new())];
    let gap = Operation::Append {
        group: group(1),
        entries,
    };
    let error = perform(log, gap).unwrap_err();
    assert!(
        error.to_string().contains("index 3 where 2 was expected"),
        "{error}"
    );
    assert_eq!(view(log, group(1)).unwrap(), before);
    perform(log, append(group(1), 1, &["b"])).unwrap();
}

fn answers_come_in_the_order_of_submission(log: &dyn LogStore) {
    let (sender, receiver) = std::sync::mpsc::channel();
    for number in 0..100_u64 {
        // Every third is refused: a refusal waits its turn as well.
        let index = if number % 3 == 0 {
            u64::MAX
        } else {
            log.bounds(group(1)).next
        };
        let sender = sender.clone();
        let done = move |result: io::Result<()>| {
            let _ = sender.send((number, result.is_ok()));
        };
        log.submit(append(group(1), index, &["x"]), Box::new(done));
    }
    drop(sender);
    let expected = (0..100).map(|number| (number, number % 3 != 0));
    assert_eq!(
        receiver.iter().collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
}

fn submitted_entries_are_visible_before_they_are_durable(log: &dyn LogStore) {
    for index in 0..50 {
        let answer = submit(log, append(group(1), index, &["x"]));
        assert_eq!(log.bounds(group(1)).next, index + 1);
        assert_eq!(log.entries(group(1), index..index + 1, 1).unwrap().len(), 1);
        answer.recv().unwrap().unwrap();
    }
}

fn entries_of_many_segments_come_back(log: &dyn LogStore) {
    for index in 0..100 {
        perform(log, append_long(group(1), index, 1500)).unwrap();
    }
    let entries = log.entries(group(1), 0..100, usize::MAX).unwrap();
    assert_eq!(entries.len(), 100);
    for (index, content) in entries {
        let Operation::Append { entries, .. } = append_long(group(1), index, 1500) else {
            unreachable!("append_long appends")
        };
        assert_eq!(content, entries[0].1, "entry {index}");
    }
}

fn last_index_there_is_is_refused(log: &dyn LogStore) {
    for operation in [
        append(group(1), u64::MAX, &["x"]),
        truncate(group(1), Some(u64::MAX)),
        purge(group(1), u64::MAX),
    ] {
        let error = perform(log, operation).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(log.bounds(group(1)), Bounds::default());
}
