//! The room that a checkpoint takes, and how it is given back.

use std::sync::Arc;

use leasehold_storage::{CheckpointError, CheckpointStore, Disk, MemoryDisk, OsDisk};

use crate::support::{
    FILE, JOBS, Model, PAYLOADS, TABLES, change, each_disk, group, key, length, names, open, small,
    used, value, value_files,
};

/// Some megabytes, all but a few rows of which go away again.
fn mostly_removed(checkpoint: &leasehold_storage::Checkpoint) -> Model {
    let mut model = Model::default();
    for version in 0..8 {
        change(checkpoint, &mut model, version, 500).unwrap();
    }
    let mut writing = checkpoint.begin().unwrap();
    for number in (0..4000).filter(|number| number % 100 != 99) {
        for table in [JOBS, PAYLOADS] {
            writing.remove(table, &key(number)).unwrap();
            model.remove(table, &key(number));
        }
    }
    writing.commit(&model.head.clone().unwrap()).unwrap();
    model
}

#[test]
fn file_that_is_mostly_free_space_is_compacted_and_keeps_its_rows() {
    each_disk(|disk| {
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        let mut model = mostly_removed(&checkpoint);
        let view = checkpoint.view().unwrap();
        let before = length(disk.as_ref());
        assert!(checkpoint.compact_if_worth().unwrap());
        let after = length(disk.as_ref());
        assert!(after * 4 < before, "{before} {after}");
        model.assert_is(&view);
        model.assert_is(&checkpoint.view().unwrap());
        assert_eq!(names(disk.as_ref()), [FILE]);
        assert!(!checkpoint.compact_if_worth().unwrap());
        change(&checkpoint, &mut model, 8, 100).unwrap();
        drop((checkpoint, store));
        let store = CheckpointStore::new(disk, small());
        model.assert_is(&store.open(group()).unwrap().view().unwrap());
    });
}

#[test]
fn compaction_is_durable_when_it_returns() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let model = mostly_removed(&checkpoint);
    assert!(checkpoint.compact_if_worth().unwrap());
    disk.crash();
    model.assert_is(&open(&disk).view().unwrap());
}

#[test]
fn checkpoint_is_not_compacted_while_it_is_changed_or_when_it_is_well_filled() {
    let checkpoint = open(&MemoryDisk::new());
    let mut model = Model::default();
    for version in 0..8 {
        change(&checkpoint, &mut model, version, 200).unwrap();
        assert!(!checkpoint.compact_if_worth().unwrap());
    }
    let checkpoint = open(&MemoryDisk::new());
    let _ = mostly_removed(&checkpoint);
    let writing = checkpoint.begin().unwrap();
    assert!(!checkpoint.compact_if_worth().unwrap());
    drop(writing);
    assert!(checkpoint.compact_if_worth().unwrap());
}

#[test]
fn compaction_without_room_says_so_and_leaves_the_checkpoint_as_it_was() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let mut model = mostly_removed(&checkpoint);
    for room in [0, 4096, 100_000] {
        disk.set_capacity(Some(used(&disk) + room));
        let error = checkpoint.compact_if_worth().unwrap_err();
        assert!(
            matches!(error, CheckpointError::Full { .. }),
            "{room}: {error}"
        );
        assert_eq!(names(&disk), [FILE]);
        model.assert_is(&checkpoint.view().unwrap());
    }
    disk.set_capacity(None);
    change(&checkpoint, &mut model, 9, 50).unwrap();
    model.assert_is(&checkpoint.view().unwrap());
}

#[test]
fn room_of_removed_rows_is_used_again() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let mut lengths = Vec::new();
    for round in 0..12_u64 {
        let mut writing = checkpoint.begin().unwrap();
        for number in 0..500 {
            let old = round.saturating_sub(1) * 500 + number;
            let new = round * 500 + number;
            for table in TABLES {
                writing.remove(table, &key(old)).unwrap();
                writing.put(table, &key(new), &[3; 1000]).unwrap();
            }
        }
        writing.commit(b"head").unwrap();
        lengths.push((length(&disk), used(&disk)));
    }
    assert_eq!(lengths[4], lengths[11], "{lengths:?}");
}

#[test]
fn file_takes_little_more_on_the_disk_than_its_pages() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
    let store = CheckpointStore::new(Arc::clone(&disk) as Arc<dyn Disk>, small());
    let checkpoint = store.open(group()).unwrap();
    let mut writing = checkpoint.begin().unwrap();
    for number in 0..8000 {
        let row = value(number, 1, 1000);
        for table in TABLES {
            writing.put(table, &key(number), &row).unwrap();
        }
    }
    writing.commit(b"head").unwrap();
    let taken = |name| folder.path().join(name).metadata().unwrap().blocks() * 512;
    assert!((8_000_000..16_000_000).contains(&taken(FILE.to_owned())));
    let values: u64 = value_files(disk.as_ref()).into_iter().map(taken).sum();
    assert!((8_000_000..9_000_000).contains(&values), "{values}");
}
