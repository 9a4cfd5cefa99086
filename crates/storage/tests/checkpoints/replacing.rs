//! Receiving a checkpoint, letting it take the place of another, and giving it up.

use std::sync::Arc;

use leasehold_storage::{CheckpointError, CheckpointStore, Disk, MemoryDisk, OpenMode};

use crate::support::{FILE, INCOMING, Model, change, each_disk, group, names, open, small, store};

const TEMPORARY: &str = "checkpoint-g3.tmp";

fn is_gone<T>(result: Result<T, CheckpointError>) -> bool {
    matches!(result, Err(CheckpointError::Gone { .. }))
}

fn is_busy<T>(result: Result<T, CheckpointError>) -> bool {
    matches!(result, Err(CheckpointError::Busy { .. }))
}

#[test]
fn replaced_checkpoint_shows_the_new_rows_and_its_views_the_old() {
    each_disk(|disk| {
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        let clone = checkpoint.clone();
        let mut pinned = Vec::new();
        let mut model = Model::default();
        for round in 0..4 {
            change(&checkpoint, &mut model, round, 80).unwrap();
            pinned.push((checkpoint.view().unwrap(), model));
            let incoming = store.receive(group()).unwrap();
            model = Model::default();
            change(&incoming, &mut model, 10 * round, 90).unwrap();
            change(&incoming, &mut model, 10 * round + 1, 90).unwrap();
            checkpoint.replace_by(&incoming).unwrap();
            model.assert_is(&checkpoint.view().unwrap());
            model.assert_is(&clone.view().unwrap());
            assert!(is_gone(incoming.view()) && is_gone(incoming.begin()));
            assert!(is_gone(checkpoint.replace_by(&incoming)));
            assert_eq!(names(disk.as_ref()), [FILE]);
        }
        change(&clone, &mut model, 99, 50).unwrap();
        model.assert_is(&checkpoint.view().unwrap());
        for (view, model) in pinned {
            model.assert_is(&view);
        }
    });
}

#[test]
fn replacement_is_durable_when_it_returns() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let checkpoint = store.open(group()).unwrap();
    change(&checkpoint, &mut Model::default(), 1, 50).unwrap();
    let incoming = store.receive(group()).unwrap();
    let mut model = Model::default();
    change(&incoming, &mut model, 2, 50).unwrap();
    checkpoint.replace_by(&incoming).unwrap();
    disk.crash();
    model.assert_is(&open(&disk).view().unwrap());
}

#[test]
fn checkpoint_is_not_replaced_while_either_is_being_changed() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let checkpoint = store.open(group()).unwrap();
    let incoming = store.receive(group()).unwrap();
    let writing = checkpoint.begin().unwrap();
    assert!(is_busy(checkpoint.replace_by(&incoming)));
    drop(writing);
    let writing = incoming.begin().unwrap();
    assert!(is_busy(checkpoint.replace_by(&incoming)));
    drop(writing);
    checkpoint.replace_by(&incoming).unwrap();
}

#[test]
fn only_one_checkpoint_is_received_for_a_group_at_a_time() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let checkpoint = store.open(group()).unwrap();
    let first = store.receive(group()).unwrap();
    change(&first, &mut Model::default(), 1, 50).unwrap();
    assert!(is_busy(store.receive(group())));
    drop(first);
    let second = store.receive(group()).unwrap();
    Model::default().assert_is(&second.view().unwrap());
    checkpoint.replace_by(&second).unwrap();
    store.receive(group()).unwrap();
}

#[test]
fn received_checkpoint_that_is_given_up_leaves_no_file() {
    each_disk(|disk| {
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        let incoming = store.receive(group()).unwrap();
        let mut model = Model::default();
        change(&incoming, &mut model, 1, 80).unwrap();
        let view = incoming.view().unwrap();
        drop(incoming);
        assert_eq!(names(disk.as_ref()), [FILE, INCOMING]);
        model.assert_is(&view);
        drop(view);
        assert_eq!(disk.list().unwrap(), [FILE]);
        let incoming = store.receive(group()).unwrap();
        change(&incoming, &mut Model::default(), 2, 80).unwrap();
        checkpoint.replace_by(&incoming).unwrap();
        drop((incoming, store));
        assert_eq!(names(disk.as_ref()), [FILE]);
    });
}

#[test]
fn received_checkpoint_for_which_there_is_no_room_leaves_no_file() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let _checkpoint = store.open(group()).unwrap();
    for writes in (0..).step_by(3) {
        disk.set_writes_left(Some(writes));
        let received = store.receive(group());
        let received = received.and_then(|new| change(&new, &mut Model::default(), 1, 80));
        disk.set_writes_left(None);
        assert_eq!(disk.list().unwrap(), [FILE], "after {writes} writes");
        match received {
            Ok(()) => return,
            Err(error) => assert!(matches!(error, CheckpointError::Full { .. }), "{error}"),
        }
    }
}

#[test]
fn leftovers_of_checkpoints_are_removed_and_other_files_are_not() {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    change(&open(&disk), &mut model, 1, 50).unwrap();
    for name in [INCOMING, TEMPORARY, "snapshot-g1.tmp", "checkpoint-g1"] {
        disk.open(name, OpenMode::Create).unwrap();
    }
    let checkpoint = open(&disk);
    model.assert_is(&checkpoint.view().unwrap());
    assert_eq!(names(&disk), ["checkpoint-g1", FILE, "snapshot-g1.tmp"]);
}
