//! Values that lie in files of their own, apart from the tree.

use std::collections::BTreeSet;
use std::sync::Arc;

use leasehold_storage::{
    CHECKPOINT_FORMAT, Checkpoint, CheckpointError, CheckpointOptions, CheckpointStore, Disk,
    MemoryDisk, OpenMode, Table,
};

use crate::support::{
    FILE, JOBS, Model, PAYLOADS, change, each_disk, group, key, open, small, store, try_open, used,
    value, value_files,
};

/// The same table as an earlier format had it: its values in the tree.
const IN_TREE: Table = Table::new("payloads");

/// Values of some kilobytes, under rising keys.
fn put(checkpoint: &Checkpoint, model: &mut Model, numbers: std::ops::Range<u64>) {
    let mut writing = checkpoint.begin().unwrap();
    for number in numbers {
        let row = value(number, 1, 3000 + (number * 77 % 2000) as usize);
        writing.put(PAYLOADS, &key(number), &row).unwrap();
        model.put(PAYLOADS, key(number), row);
    }
    commit(writing, model);
}

fn remove(checkpoint: &Checkpoint, model: &mut Model, numbers: impl IntoIterator<Item = u64>) {
    let mut writing = checkpoint.begin().unwrap();
    for number in numbers {
        writing.remove(PAYLOADS, &key(number)).unwrap();
        model.remove(PAYLOADS, &key(number));
    }
    commit(writing, model);
}

fn commit(writing: leasehold_storage::Writing, model: &mut Model) {
    let head = model.head.get_or_insert_with(|| key(0)).clone();
    writing.commit(&head).unwrap();
}

#[test]
fn value_file_goes_with_the_last_value_that_is_wanted_of_it_and_views_go_on_reading() {
    each_disk(|disk| {
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        let mut model = Model::default();
        put(&checkpoint, &mut model, 0..100);
        let all = value_files(disk.as_ref()).len();
        assert!(all > 5, "{all}");
        let (view, before) = (checkpoint.view().unwrap(), model.clone());
        remove(&checkpoint, &mut model, 0..50);
        let half = value_files(disk.as_ref()).len();
        assert!(half < all, "{half} of {all}");
        model.assert_is(&checkpoint.view().unwrap());
        remove(&checkpoint, &mut model, 50..100);
        // One is kept to be written over.
        assert_eq!(value_files(disk.as_ref()).len(), 1);
        before.assert_is(&view);
        model.assert_is(&checkpoint.view().unwrap());
    });
}

#[test]
fn value_that_is_written_over_or_removed_in_the_same_commit_leaves_nothing() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let mut model = Model::default();
    for _ in 0..40 {
        put(&checkpoint, &mut model, 0..10);
    }
    assert!(value_files(&disk).len() <= 2);
    model.assert_is(&checkpoint.view().unwrap());
    let mut writing = checkpoint.begin().unwrap();
    for number in 0..10 {
        writing.put(PAYLOADS, &key(number), &[7; 9000]).unwrap();
        writing.remove(PAYLOADS, &key(number)).unwrap();
        model.remove(PAYLOADS, &key(number));
    }
    commit(writing, &mut model);
    assert!(value_files(&disk).len() <= 1);
    model.assert_is(&checkpoint.view().unwrap());
}

/// What the only value file has room for.
fn length_of_the_only_one(disk: &dyn Disk) -> u64 {
    let names = value_files(disk);
    assert_eq!(names.len(), 1, "{names:?}");
    let name = names.first().unwrap();
    let file = disk.open(name, OpenMode::Existing).unwrap();
    file.length().unwrap()
}

#[test]
fn file_that_nobody_wants_is_written_over_unless_a_view_still_reads_it() {
    each_disk(|disk| {
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        let mut model = Model::default();
        for is_read in [false, true, true, false, false] {
            put(&checkpoint, &mut model, 0..3);
            let pinned = is_read.then(|| (checkpoint.view().unwrap(), model.clone()));
            remove(&checkpoint, &mut model, 0..3);
            put(&checkpoint, &mut model, 5..6);
            // Three values have at least 9 000 bytes, and one of them less than 6 000.
            let is_another = length_of_the_only_one(disk.as_ref()) < 6_000;
            assert_eq!(is_another, is_read);
            model.assert_is(&checkpoint.view().unwrap());
            if let Some((view, before)) = pinned {
                before.assert_is(&view);
            }
            remove(&checkpoint, &mut model, 5..6);
        }
        drop((checkpoint, store));
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        model.assert_is(&store.open(group()).unwrap().view().unwrap());
        assert!(value_files(disk.as_ref()).is_empty());
    });
}

#[test]
fn values_of_a_change_that_is_given_up_leave_nothing() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let mut model = Model::default();
    put(&checkpoint, &mut model, 0..5);
    let (files, before) = (value_files(&disk), used(&disk));
    let mut writing = checkpoint.begin().unwrap();
    for number in 5..400 {
        writing.put(PAYLOADS, &key(number), &[7; 5000]).unwrap();
    }
    assert!(used(&disk) > before + 1_000_000);
    drop(writing);
    assert_eq!(value_files(&disk), files);
    assert!(used(&disk) < before + 100_000);
    put(&checkpoint, &mut model, 5..20);
    disk.crash();
    model.assert_is(&open(&disk).view().unwrap());
}

#[test]
fn change_that_is_given_up_gives_back_the_room_also_in_files_that_it_filled() {
    let disk = MemoryDisk::new();
    let options = CheckpointOptions {
        value_file_bytes: 1024 * 1024,
        ..small()
    };
    let store = CheckpointStore::new(Arc::new(disk.clone()), options);
    let checkpoint = store.open(group()).unwrap();
    let mut model = Model::default();
    put(&checkpoint, &mut model, 0..5);
    let (before, view) = (used(&disk), checkpoint.view().unwrap());
    let mut writing = checkpoint.begin().unwrap();
    for number in 5..400 {
        writing.put(PAYLOADS, &key(number), &[7; 5000]).unwrap();
    }
    drop(writing);
    assert!(used(&disk) < before + 50_000);
    model.assert_is(&view);
    put(&checkpoint, &mut model, 5..20);
    model.assert_is(&checkpoint.view().unwrap());
}

#[test]
fn value_without_bytes_is_kept_and_can_be_removed() {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    for (number, length) in [(1, 0), (2, 10), (3, 0)] {
        let mut writing = open(&disk).begin().unwrap();
        writing
            .put(PAYLOADS, &key(number), &value(number, 1, length))
            .unwrap();
        model.put(PAYLOADS, key(number), value(number, 1, length));
        commit(writing, &mut model);
        model.assert_is(&open(&disk).view().unwrap());
    }
    remove(&open(&disk), &mut model, [2]);
    model.assert_is(&open(&disk).view().unwrap());
    remove(&open(&disk), &mut model, [1, 3]);
    model.assert_is(&open(&disk).view().unwrap());
    assert!(value_files(&disk).is_empty());
}

#[test]
fn change_of_many_files_worth_makes_longer_files_instead() {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    put(&open(&disk), &mut model, 0..5000);
    let files = value_files(&disk).len();
    assert!((64..250).contains(&files), "{files}");
    model.assert_is(&open(&disk).view().unwrap());
}

#[test]
fn nothing_is_gathered_where_the_disk_has_little_room() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let model = sparse(&checkpoint);
    let view = checkpoint.view().unwrap();
    disk.set_capacity(Some(used(&disk) + 8 * 1024));
    assert!(!checkpoint.gather_if_worth().unwrap());
    model.assert_is(&view);
    disk.set_capacity(None);
    assert!(checkpoint.gather_if_worth().unwrap());
    model.assert_is(&checkpoint.view().unwrap());
}

#[test]
fn values_of_a_checkpoint_that_is_received_before_the_groups_own_is_opened_stay() {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    drop(open(&disk));
    let store = store(&disk);
    let incoming = store.receive(group()).unwrap();
    put(&incoming, &mut model, 0..40);
    let checkpoint = store.open(group()).unwrap();
    checkpoint.replace_by(&incoming).unwrap();
    model.assert_is(&checkpoint.view().unwrap());
    disk.crash();
    model.assert_is(&open(&disk).view().unwrap());
}

#[test]
fn value_file_that_a_crash_left_and_no_commit_names_is_removed_and_those_of_others_are_not() {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    put(&open(&disk), &mut model, 0..30);
    let files: BTreeSet<String> = value_files(&disk).into_iter().collect();
    for name in ["checkpoint-g3.values-99", "checkpoint-g30.values-7"] {
        drop(disk.open(name, OpenMode::Create).unwrap());
    }
    let checkpoint = open(&disk);
    let left: BTreeSet<String> = value_files(&disk).into_iter().collect();
    let others = BTreeSet::from(["checkpoint-g30.values-7".to_owned()]);
    assert_eq!(&left - &files, others);
    put(&checkpoint, &mut model, 30..60);
    model.assert_is(&checkpoint.view().unwrap());
}

/// Values of which a few outlive their neighbours by far.
fn sparse(checkpoint: &Checkpoint) -> Model {
    let mut model = Model::default();
    for round in 0..10 {
        put(checkpoint, &mut model, round * 50..(round + 1) * 50);
    }
    remove(
        checkpoint,
        &mut model,
        (0..500).filter(|number| number % 20 > 0),
    );
    model
}

#[test]
fn values_that_outlive_their_neighbours_are_gathered_until_most_of_what_is_kept_is_wanted() {
    each_disk(|disk| {
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        let mut model = sparse(&checkpoint);
        let (view, before) = (checkpoint.view().unwrap(), value_files(disk.as_ref()).len());
        let mut gathered = 0;
        while checkpoint.gather_if_worth().unwrap() {
            gathered += 1;
            model.assert_is(&checkpoint.view().unwrap());
            assert!(gathered < before, "it goes on and on");
        }
        let after = value_files(disk.as_ref()).len();
        assert!(
            gathered > 10 && after * 3 < before,
            "{gathered}: {before} to {after}"
        );
        model.assert_is(&view);
        put(&checkpoint, &mut model, 500..520);
        drop((view, checkpoint, store));
        let store = CheckpointStore::new(disk, small());
        model.assert_is(&store.open(group()).unwrap().view().unwrap());
    });
}

#[test]
fn nothing_is_gathered_while_most_is_wanted_or_the_checkpoint_is_changed() {
    let checkpoint = open(&MemoryDisk::new());
    let mut model = Model::default();
    put(&checkpoint, &mut model, 0..500);
    remove(&checkpoint, &mut model, (0..500).step_by(3));
    assert!(!checkpoint.gather_if_worth().unwrap());
    let checkpoint = open(&MemoryDisk::new());
    let _ = sparse(&checkpoint);
    let writing = checkpoint.begin().unwrap();
    assert!(!checkpoint.gather_if_worth().unwrap());
    drop(writing);
    assert!(checkpoint.gather_if_worth().unwrap());
}

#[test]
fn crash_in_any_sync_of_gathering_leaves_every_value() {
    let prepared = MemoryDisk::new();
    let model = sparse(&open(&prepared));
    for (sync, seed) in (0..12).flat_map(|sync| (0..6).map(move |seed| (sync, seed))) {
        let disk = prepared.fork();
        let checkpoint = open(&disk);
        disk.crash_in_sync(sync, seed);
        while let Ok(true) = checkpoint.gather_if_worth() {}
        drop(checkpoint);
        disk.crash_torn(seed);
        let mut model = model.clone();
        let checkpoint = open(&disk);
        model.assert_is(&checkpoint.view().unwrap());
        change(&checkpoint, &mut model, 70, 30).unwrap();
        model.assert_is(&open(&disk).view().unwrap());
    }
}

#[test]
fn damaged_value_is_refused_with_its_file_and_offset() {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    let checkpoint = open(&disk);
    put(&checkpoint, &mut model, 0..40);
    remove(&checkpoint, &mut model, 3..6);
    drop(checkpoint);
    let (mut refused, mut harmless) = (0, 0);
    for name in value_files(&disk) {
        let length = disk.read(&name).unwrap().len() as u64;
        for byte in (0..length).step_by(501) {
            let disk = disk.fork();
            disk.flip_bit(&name, byte * 8 + byte % 8).unwrap();
            match Model::of(&open(&disk).view().unwrap()) {
                Ok(found) => {
                    assert!(model.is(&found), "byte {byte} of {name} gave wrong rows");
                    harmless += 1;
                }
                Err(CheckpointError::Corrupt { file, offset, .. }) => {
                    refused += 1;
                    assert_eq!(file, name);
                    assert!((offset..offset + 5000).contains(&byte), "{byte}: {offset}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(refused > 200 && harmless > 10, "{refused} {harmless}");
}

#[test]
fn value_file_that_is_missing_or_was_cut_is_named_when_the_checkpoint_is_opened() {
    let disk = MemoryDisk::new();
    put(&open(&disk), &mut Model::default(), 0..40);
    for name in value_files(&disk) {
        let cut = disk.fork();
        let file = cut.open(&name, OpenMode::Existing).unwrap();
        file.set_length(file.length().unwrap() - 1).unwrap();
        let missing = disk.fork();
        missing.remove(&name).unwrap();
        for disk in [cut, missing] {
            let error = try_open(&disk).err().unwrap().to_string();
            assert!(
                error.contains(&name) && error.contains("damaged"),
                "{error}"
            );
        }
    }
}

/// A checkpoint as format 1 left it.
fn of_format_one() -> (MemoryDisk, Model) {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    let mut writing = open(&disk).begin().unwrap();
    for number in 0..60 {
        let row = value(number, 1, 2000);
        writing.put(IN_TREE, &key(number), &row).unwrap();
        model.put(PAYLOADS, key(number), row);
    }
    commit(writing, &mut model);
    write_format(&disk, 1);
    (disk, model)
}

fn write_format(disk: &MemoryDisk, format: u32) {
    let mut head = disk.read(FILE).unwrap()[..20].to_vec();
    head[8..12].copy_from_slice(&format.to_le_bytes());
    let checksum = crc32fast::hash(&head[..16]);
    head[16..].copy_from_slice(&checksum.to_le_bytes());
    let file = disk.open(FILE, OpenMode::Existing).unwrap();
    file.write_at(0, &head).unwrap();
    file.sync().unwrap();
}

fn format_of(disk: &MemoryDisk) -> u32 {
    u32::from_le_bytes(disk.read(FILE).unwrap()[8..12].try_into().unwrap())
}

#[test]
fn values_that_the_first_format_has_in_the_tree_are_read_written_over_and_removed() {
    let (disk, mut model) = of_format_one();
    let checkpoint = open(&disk);
    model.assert_is(&checkpoint.view().unwrap());
    let mut writing = checkpoint.begin().unwrap();
    for number in (0..80).step_by(3) {
        let row = value(number, 2, 1500);
        writing.put(PAYLOADS, &key(number), &row).unwrap();
        model.put(PAYLOADS, key(number), row);
        writing.remove(PAYLOADS, &key(number + 1)).unwrap();
        model.remove(PAYLOADS, &key(number + 1));
    }
    commit(writing, &mut model);
    let view = checkpoint.view().unwrap();
    model.assert_is(&view);
    for number in 0..80 {
        let expected = model.rows[&PAYLOADS].get(&key(number)).cloned();
        assert_eq!(view.get(PAYLOADS, &key(number)).unwrap(), expected);
    }
    let range = key(10)..key(30);
    let bounds = (
        std::ops::Bound::Included(range.start.as_ref()),
        std::ops::Bound::Excluded(range.end.as_ref()),
    );
    let found: Vec<_> = view
        .scan(PAYLOADS, bounds)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let expected = model.rows[&PAYLOADS].range(range.clone());
    assert!(found.iter().map(|(key, row)| (key, row)).eq(expected));
    drop((view, checkpoint));
    disk.crash();
    model.assert_is(&open(&disk).view().unwrap());
}

#[test]
fn file_of_the_first_format_is_of_this_one_before_it_can_have_values_apart() {
    let (prepared, model) = of_format_one();
    for (sync, seed) in (0..4).flat_map(|sync| (0..8).map(move |seed| (sync, seed))) {
        let disk = prepared.fork();
        disk.crash_in_sync(sync, seed);
        if let Ok(checkpoint) = try_open(&disk) {
            assert_eq!(format_of(&disk), CHECKPOINT_FORMAT);
            let _ = change(&checkpoint, &mut model.clone(), 70, 30);
        }
        disk.crash_torn(seed);
        let has_values = !value_files(&disk).is_empty();
        let format = format_of(&disk);
        assert!(
            format == CHECKPOINT_FORMAT || format == 1 && !has_values,
            "{sync} {seed}"
        );
        drop(try_open(&disk).unwrap());
    }
}

#[test]
fn incoming_checkpoint_and_the_one_in_use_never_share_a_value_file() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let checkpoint = store.open(group()).unwrap();
    let incoming = store.receive(group()).unwrap();
    let (mut here, mut there) = (Model::default(), Model::default());
    for round in 0..6 {
        put(&checkpoint, &mut here, round * 40..(round + 1) * 40);
        put(&incoming, &mut there, round * 30..(round + 1) * 30);
    }
    let mut writing = incoming.begin().unwrap();
    writing.put(JOBS, &key(1), b"there").unwrap();
    there.put(JOBS, key(1), "there".into());
    commit(writing, &mut there);
    let view = checkpoint.view().unwrap();
    here.assert_is(&view);
    checkpoint.replace_by(&incoming).unwrap();
    let alone = value_files(&disk).len();
    there.assert_is(&checkpoint.view().unwrap());
    here.assert_is(&view);
    put(&checkpoint, &mut there, 300..310);
    assert!(value_files(&disk).len() <= alone + 1);
    disk.crash();
    there.assert_is(&open(&disk).view().unwrap());
}
