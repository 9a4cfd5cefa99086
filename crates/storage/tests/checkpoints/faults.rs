//! Failing and full disks: what was committed stays, and nobody is told otherwise.

use leasehold_storage::{Checkpoint, CheckpointError, MemoryDisk};

use crate::support::{JOBS, Model, PAYLOADS, change, group, key, length, open, store};

fn some_commits(checkpoint: &Checkpoint) -> Model {
    let mut model = Model::default();
    for version in 0..3 {
        change(checkpoint, &mut model, version, 60).unwrap();
    }
    model
}

fn assert_full(error: &CheckpointError) {
    let message = error.to_string();
    assert!(matches!(error, CheckpointError::Full { .. }), "{message}");
    assert!(
        message.contains("checkpoint-g3") && message.contains("free some space"),
        "{message}"
    );
}

#[test]
fn disk_that_fills_up_at_any_write_keeps_the_old_commit_and_goes_on_when_there_is_room() {
    let prepared = MemoryDisk::new();
    let model = some_commits(&open(&prepared));
    for writes in (0..).step_by(3) {
        let disk = prepared.fork();
        let checkpoint = open(&disk);
        disk.set_writes_left(Some(writes));
        let mut model = model.clone();
        let mut next = model.clone();
        let failed = change(&checkpoint, &mut next, 3, 60).err();
        disk.set_writes_left(None);
        let found = Model::of(&checkpoint.view().unwrap()).unwrap();
        let Some(error) = failed else {
            assert!(next.is(&found) && writes > 20, "{writes}");
            return;
        };
        assert_full(&error);
        assert!(model.is(&found), "after {writes} writes");
        for version in 3..5 {
            change(&checkpoint, &mut model, version, 60).unwrap();
        }
        disk.crash();
        model.assert_is(&open(&disk).view().unwrap());
    }
}

#[test]
fn disk_without_room_for_more_pages_says_so_and_keeps_the_old_commit() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let mut model = some_commits(&checkpoint);
    disk.set_capacity(Some(length(&disk)));
    for _ in 0..3 {
        let mut writing = checkpoint.begin().unwrap();
        let full = (0..10_000).find_map(|number| {
            let put = writing.put(PAYLOADS, &key(number), &[5; 1000]);
            put.err()
        });
        assert_full(&full.expect("there is no room for that"));
        assert_full(&writing.commit(b"head").unwrap_err());
        model.assert_is(&checkpoint.view().unwrap());
    }
    let mut writing = checkpoint.begin().unwrap();
    writing.remove(JOBS, &key(1)).unwrap();
    writing.commit(&model.head.clone().unwrap()).unwrap();
    model.remove(JOBS, &key(1));
    disk.set_capacity(None);
    change(&checkpoint, &mut model, 4, 500).unwrap();
    model.assert_is(&checkpoint.view().unwrap());
}

#[test]
fn view_from_before_the_disk_was_full_says_so_and_a_new_one_can_be_read() {
    let disk = MemoryDisk::new();
    let checkpoint = open(&disk);
    let model = some_commits(&checkpoint);
    let view = checkpoint.view().unwrap();
    disk.set_writes_left(Some(0));
    let error = change(&checkpoint, &mut model.clone(), 3, 60).unwrap_err();
    assert_full(&error);
    assert_full(&view.get(JOBS, &key(1)).unwrap_err());
    disk.set_writes_left(None);
    model.assert_is(&checkpoint.view().unwrap());
}

#[test]
fn failed_sync_ends_the_checkpoint_until_the_process_starts_again() {
    for puts in [0, 50, 400] {
        let disk = MemoryDisk::new();
        let store_of_this_process = store(&disk);
        let checkpoint = store_of_this_process.open(group()).unwrap();
        let model = some_commits(&checkpoint);
        let view = checkpoint.view().unwrap();
        let mut writing = checkpoint.begin().unwrap();
        for number in 0..puts {
            writing.put(PAYLOADS, &key(number), &[7; 1000]).unwrap();
        }
        disk.fail_next_syncs(1);
        let error = writing.commit(b"never").unwrap_err();
        let is_sync = |error: &CheckpointError| error.to_string().contains("cannot sync");
        assert!(is_sync(&error), "{error}");
        assert!(is_sync(&view.get(JOBS, &key(1)).unwrap_err()));
        assert!(is_sync(&checkpoint.view().err().unwrap()));
        assert!(is_sync(&checkpoint.begin().err().unwrap()));
        assert!(is_sync(&checkpoint.compact_if_worth().unwrap_err()));
        drop((view, checkpoint));
        let again = store_of_this_process.open(group());
        assert!(is_sync(&again.err().unwrap()));
        disk.crash();
        model.assert_is(&open(&disk).view().unwrap());
    }
}

#[test]
fn change_made_again_by_the_process_after_a_failed_sync_is_durable() {
    let prepared = MemoryDisk::new();
    let model = some_commits(&open(&prepared));
    for spared in 0.. {
        let disk = prepared.fork();
        let checkpoint = open(&disk);
        disk.fail_syncs_after(spared, 1);
        let failed = change(&checkpoint, &mut model.clone(), 3, 60).err();
        drop(checkpoint);
        disk.fail_next_syncs(0);
        // Another process on the same machine: all that was written is there to be read, on the disk or not.
        let mut model = model.clone();
        change(&open(&disk), &mut model, 3, 60).unwrap();
        disk.crash();
        model.assert_is(&open(&disk).view().unwrap());
        if failed.is_none() {
            assert!(spared > 2, "it hardly ever syncs");
            return;
        }
    }
}

#[test]
fn failed_write_ends_the_handle_and_keeps_the_old_commit() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    let checkpoint = store.open(group()).unwrap();
    let mut model = some_commits(&checkpoint);
    disk.fail_next_writes(1);
    let error = change(&checkpoint, &mut model.clone(), 3, 60).unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::Io {
                action: "write",
                ..
            }
        ),
        "{error}"
    );
    assert!(checkpoint.view().is_err() && checkpoint.begin().is_err());
    drop(checkpoint);
    let checkpoint = store.open(group()).unwrap();
    model.assert_is(&checkpoint.view().unwrap());
    change(&checkpoint, &mut model, 3, 60).unwrap();
    model.assert_is(&checkpoint.view().unwrap());
}

#[test]
fn folder_that_cannot_be_synced_gives_no_checkpoint_in_this_process() {
    let disk = MemoryDisk::new();
    let store = store(&disk);
    drop(store.open(group()).unwrap());
    let checkpoint = store.open(group()).unwrap();
    let incoming = store.receive(group()).unwrap();
    disk.fail_next_syncs(1);
    assert!(checkpoint.replace_by(&incoming).is_err());
    assert!(checkpoint.view().is_err());
    drop((checkpoint, incoming));
    assert!(store.open(group()).is_err());
}
