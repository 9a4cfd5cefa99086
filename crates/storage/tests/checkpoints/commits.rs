//! Commits, views and what each of them sees.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_storage::{
    Checkpoint, CheckpointError, CheckpointStore, MemoryDisk, Rows, Table, View, Writing,
};

use crate::support::{
    FILE, JOBS, Model, PAYLOADS, change, each_disk, group, key, names, open, small,
};

const fn is_send_and_sync<T: Send + Sync>() {}
const fn is_send<T: Send + 'static>() {}

const _: () = {
    is_send_and_sync::<CheckpointStore>();
    is_send_and_sync::<Checkpoint>();
    is_send_and_sync::<View>();
    is_send::<Writing>();
    is_send::<Rows>();
};

#[test]
fn checkpoint_that_was_never_committed_is_empty() {
    each_disk(|disk| {
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        let view = checkpoint.view().unwrap();
        assert_eq!(view.head(), None);
        assert_eq!(view.get(JOBS, b"a").unwrap(), None);
        assert!(view.scan(JOBS, ..).unwrap().next().is_none());
        assert_eq!(names(disk.as_ref()), [FILE]);
    });
}

#[test]
fn committed_rows_are_there_after_each_reopening() {
    each_disk(|disk| {
        let mut model = Model::default();
        for version in 0..8 {
            let store = CheckpointStore::new(Arc::clone(&disk), small());
            let checkpoint = store.open(group()).unwrap();
            model.assert_is(&checkpoint.view().unwrap());
            change(&checkpoint, &mut model, version, 100).unwrap();
            model.assert_is(&checkpoint.view().unwrap());
        }
    });
}

#[test]
fn commit_survives_a_crash_and_what_was_not_committed_does_not() {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    let checkpoint = open(&disk);
    change(&checkpoint, &mut model, 0, 100).unwrap();
    let mut writing = checkpoint.begin().unwrap();
    for number in 0..1000 {
        writing.put(JOBS, &key(number), b"not committed").unwrap();
    }
    disk.crash();
    drop(writing);
    model.assert_is(&open(&disk).view().unwrap());
}

#[test]
fn writing_that_is_dropped_changed_nothing() {
    each_disk(|disk| {
        let checkpoint = CheckpointStore::new(disk, small()).open(group()).unwrap();
        let mut model = Model::default();
        change(&checkpoint, &mut model, 0, 200).unwrap();
        for _ in 0..3 {
            let mut writing = checkpoint.begin().unwrap();
            for number in 0..3000 {
                writing.put(PAYLOADS, &key(number), &[7; 500]).unwrap();
            }
            writing.remove(JOBS, &key(1)).unwrap();
            drop(writing);
            model.assert_is(&checkpoint.view().unwrap());
        }
        change(&checkpoint, &mut model, 1, 200).unwrap();
        model.assert_is(&checkpoint.view().unwrap());
    });
}

#[test]
fn view_sees_its_commit_whatever_is_committed_later() {
    each_disk(|disk| {
        let checkpoint = CheckpointStore::new(disk, small()).open(group()).unwrap();
        let mut model = Model::default();
        let mut pinned = Vec::new();
        for version in 0..6 {
            change(&checkpoint, &mut model, version, 150).unwrap();
            let view = checkpoint.view().unwrap();
            let rows = view.scan(JOBS, ..).unwrap();
            pinned.push((view, rows, model.clone()));
        }
        for (view, rows, model) in pinned {
            model.assert_is(&view);
            drop(view);
            let rows: Vec<_> = rows.map(Result::unwrap).collect();
            assert_eq!(rows, Vec::from_iter(model.rows[&JOBS].clone()));
        }
    });
}

#[test]
fn second_writing_is_refused_until_the_first_one_ends() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let first = checkpoint.begin().unwrap();
    let second = checkpoint.clone().begin().err().unwrap();
    assert!(matches!(second, CheckpointError::Busy { .. }), "{second}");
    drop(first);
    let first = checkpoint.begin().unwrap();
    first.commit(b"head").unwrap();
    drop(checkpoint.begin().unwrap());
}

#[test]
fn last_change_of_a_row_within_a_writing_counts() {
    let checkpoint = open(&MemoryDisk::new());
    let mut writing = checkpoint.begin().unwrap();
    writing.put(JOBS, b"a", b"1").unwrap();
    writing.remove(JOBS, b"a").unwrap();
    writing.put(JOBS, b"b", b"1").unwrap();
    writing.put(JOBS, b"b", b"2").unwrap();
    writing.remove(JOBS, b"c").unwrap();
    writing.put(JOBS, b"c", b"").unwrap();
    writing.put(JOBS, b"", b"empty key").unwrap();
    writing.remove(PAYLOADS, b"never there").unwrap();
    writing.commit(b"").unwrap();
    let view = checkpoint.view().unwrap();
    assert_eq!(view.head(), Some(Bytes::new()));
    assert_eq!(view.scan(JOBS, ..).unwrap().count(), 3);
    assert_eq!(view.get(JOBS, b"a").unwrap(), None);
    assert_eq!(view.get(JOBS, b"b").unwrap().unwrap(), "2");
    assert_eq!(view.get(JOBS, b"c").unwrap().unwrap(), "");
    assert_eq!(view.get(JOBS, b"").unwrap().unwrap(), "empty key");
}

#[test]
fn scan_gives_the_rows_of_its_range_by_rising_key() {
    let checkpoint = open(&MemoryDisk::new());
    let mut writing = checkpoint.begin().unwrap();
    for name in ["d", "b", "a", "c"] {
        writing.put(JOBS, name.as_bytes(), b"").unwrap();
    }
    writing.commit(b"head").unwrap();
    let view = checkpoint.view().unwrap();
    let scan = |first: Bound<&str>, last: Bound<&str>| {
        let range = (first.map(str::as_bytes), last.map(str::as_bytes));
        let rows = view.scan(JOBS, range).unwrap().map(Result::unwrap);
        let keys: Vec<u8> = rows.flat_map(|(key, _)| key).collect();
        String::from_utf8(keys).unwrap()
    };
    use Bound::{Excluded, Included, Unbounded};
    assert_eq!(scan(Unbounded, Unbounded), "abcd");
    assert_eq!(scan(Included("b"), Unbounded), "bcd");
    assert_eq!(scan(Excluded("b"), Unbounded), "cd");
    assert_eq!(scan(Unbounded, Excluded("c")), "ab");
    assert_eq!(scan(Included("aa"), Included("c")), "bc");
    assert_eq!(scan(Included("b"), Included("b")), "b");
    for (first, last) in [
        (Included("c"), Included("b")),
        (Included("b"), Excluded("b")),
        (Excluded("b"), Included("b")),
        (Excluded("b"), Excluded("b")),
        (Excluded("x"), Excluded("b")),
    ] {
        assert_eq!(scan(first, last), "", "{first:?} {last:?}");
    }
}

#[test]
fn checkpoint_opened_twice_is_the_same_one() {
    let store = CheckpointStore::new(Arc::new(MemoryDisk::new()), small());
    let first = store.open(group()).unwrap();
    let second = store.open(group()).unwrap();
    let writing = first.begin().unwrap();
    assert!(matches!(second.begin(), Err(CheckpointError::Busy { .. })));
    writing.commit(b"head").unwrap();
    assert_eq!(second.view().unwrap().head().unwrap(), "head");
}

#[test]
fn view_and_rows_that_outlive_every_handle_are_still_pinned() {
    each_disk(|disk| {
        let store = CheckpointStore::new(disk, small());
        let mut model = Model::default();
        let checkpoint = store.open(group()).unwrap();
        change(&checkpoint, &mut model, 0, 200).unwrap();
        let pinned = model.clone();
        let view = checkpoint.view().unwrap();
        let rows = view.scan(PAYLOADS, ..).unwrap();
        drop(checkpoint);
        for version in 1..6 {
            let checkpoint = store.open(group()).unwrap();
            change(&checkpoint, &mut model, version, 200).unwrap();
        }
        pinned.assert_is(&view);
        drop(view);
        for version in 6..12 {
            let checkpoint = store.open(group()).unwrap();
            change(&checkpoint, &mut model, version, 200).unwrap();
        }
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        assert_eq!(rows, Vec::from_iter(pinned.rows[&PAYLOADS].clone()));
        model.assert_is(&store.open(group()).unwrap().view().unwrap());
    });
}

#[test]
fn groups_do_not_see_each_other() {
    each_disk(|disk| {
        let store = CheckpointStore::new(disk, small());
        let groups = [1, 2, 3].map(leasehold_types::GroupId::new);
        for group in groups {
            let checkpoint = store.open(group).unwrap();
            let mut writing = checkpoint.begin().unwrap();
            writing
                .put(JOBS, b"who", group.to_string().as_bytes())
                .unwrap();
            writing.commit(b"head").unwrap();
        }
        for (group, expected) in groups.into_iter().zip(["g1", "g2", "g3"]) {
            let view = store.open(group).unwrap().view().unwrap();
            assert_eq!(view.get(JOBS, b"who").unwrap().unwrap(), expected);
        }
    });
}

#[test]
fn value_of_many_megabytes_comes_back_whole() {
    each_disk(|disk| {
        let value = crate::support::value(1, 1, 9_000_001);
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        let mut writing = checkpoint.begin().unwrap();
        writing.put(PAYLOADS, b"large", &value).unwrap();
        writing.commit(b"head").unwrap();
        drop((checkpoint, store));
        let store = CheckpointStore::new(disk, small());
        let view = store.open(group()).unwrap().view().unwrap();
        assert!(view.get(PAYLOADS, b"large").unwrap().unwrap() == value);
    });
}

#[test]
fn same_changes_give_the_same_file() {
    let file = || {
        let disk = MemoryDisk::new();
        let checkpoint = open(&disk);
        let mut model = Model::default();
        for version in 0..5 {
            change(&checkpoint, &mut model, version, 300).unwrap();
        }
        drop(checkpoint);
        drop(open(&disk));
        disk.read(FILE).unwrap()
    };
    assert!(file() == file());
}

#[test]
fn name_of_a_table_is_kept() {
    assert_eq!(Table::new("a-b_C9").name(), "a-b_C9");
}

#[test]
#[should_panic(expected = "letters, digits, dashes and underscores")]
fn name_of_a_table_that_is_not_plain_is_refused() {
    let _ = Table::new("checkpoint:meta");
}
