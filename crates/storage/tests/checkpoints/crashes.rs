//! A crash at any point leaves the last commit that was acknowledged, or one that was under way, whole.

use leasehold_storage::{Checkpoint, CheckpointError, Disk, MemoryDisk, OpenMode};

use crate::support::{
    FILE, INCOMING, JOBS, Model, PAYLOADS, change, group, key, names, open, store,
};

/// Models that may be found: the last acknowledged, and what was under way.
struct Expected {
    acknowledged: Model,
    under_way: Option<Model>,
}

impl Expected {
    fn new(acknowledged: Model) -> Self {
        Self {
            acknowledged,
            under_way: None,
        }
    }

    /// Makes a commit; if that fails, it is unknown whether it happened.
    fn change(&mut self, checkpoint: &Checkpoint, version: u64) -> Result<(), CheckpointError> {
        let mut next = self.acknowledged.clone();
        match change(checkpoint, &mut next, version, 40) {
            Ok(()) => self.acknowledged = next,
            Err(error) => {
                self.under_way = Some(planned(&self.acknowledged, version));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Opens what the crash left, and checks that it is one of the two and goes on working.
    fn check(&self, disk: &MemoryDisk, case: &str) {
        let checkpoint = store(disk)
            .open(group())
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let found = Model::of(&checkpoint.view().unwrap());
        let mut found = found.unwrap_or_else(|error| panic!("{case}: {error}"));
        let is_new = self.under_way.as_ref().is_some_and(|new| new.is(&found));
        assert!(
            is_new || self.acknowledged.is(&found),
            "{case}: neither the old nor the new"
        );
        change(&checkpoint, &mut found, 90, 30).unwrap();
        disk.crash();
        found.assert_is(&open(disk).view().unwrap());
    }
}

/// What a change would have made of a model.
fn planned(model: &Model, version: u64) -> Model {
    let disk = MemoryDisk::new();
    let scratch = open(&disk);
    let mut next = model.clone();
    change(&scratch, &mut next, version, 40).unwrap();
    next
}

/// A disk on which some commits were made, and what they made.
fn some_commits() -> (MemoryDisk, Model) {
    let disk = MemoryDisk::new();
    let mut model = Model::default();
    let checkpoint = open(&disk);
    for version in 0..4 {
        change(&checkpoint, &mut model, version, 40).unwrap();
    }
    drop(checkpoint);
    (disk, model)
}

/// Lets the power fail in each sync of a deed, with several seeds each, and then checks what is left.
fn crash_in_each_sync(
    prepared: &MemoryDisk,
    seeds: u64,
    mut deed: impl FnMut(&MemoryDisk) -> (Expected, bool),
) {
    for sync in 0.. {
        let mut is_through = false;
        for seed in 0..seeds {
            let disk = prepared.fork();
            disk.crash_in_sync(sync, seed);
            let (expected, was_through) = deed(&disk);
            is_through |= was_through;
            disk.crash_torn(seed);
            expected.check(&disk, &format!("sync {sync}, seed {seed}"));
        }
        if is_through {
            return;
        }
    }
}

#[test]
fn crash_in_any_sync_of_opening_and_committing_leaves_the_old_commit_or_the_new() {
    let (prepared, model) = some_commits();
    crash_in_each_sync(&prepared, 12, |disk| {
        let mut expected = Expected::new(model.clone());
        let done = store(disk).open(group()).and_then(|checkpoint| {
            expected.change(&checkpoint, 4)?;
            expected.change(&checkpoint, 5)
        });
        (expected, done.is_ok())
    });
}

#[test]
fn crash_in_any_sync_after_a_kill_in_the_midst_of_growing_leaves_the_old_commit_or_the_new() {
    let (prepared, model) = some_commits();
    let length = prepared.read(FILE).unwrap().len() as u64;
    crash_in_each_sync(&prepared, 12, |disk| {
        let file = disk.open(FILE, OpenMode::Existing).unwrap();
        file.set_length(length + 64 * 4096).unwrap();
        let mut expected = Expected::new(model.clone());
        let done = store(disk).open(group());
        let done = done.and_then(|checkpoint| expected.change(&checkpoint, 4));
        (expected, done.is_ok())
    });
}

#[test]
fn crash_in_any_sync_of_making_a_checkpoint_leaves_none_or_an_empty_one() {
    crash_in_each_sync(&MemoryDisk::new(), 40, |disk| {
        let mut expected = Expected::new(Model::default());
        let done = store(disk).open(group());
        let done = done.and_then(|checkpoint| expected.change(&checkpoint, 0));
        (expected, done.is_ok())
    });
}

#[test]
fn crash_between_any_two_puts_leaves_the_old_commit() {
    let (prepared, model) = some_commits();
    for seed in 0..60 {
        let disk = prepared.fork();
        let checkpoint = open(&disk);
        let mut writing = checkpoint.begin().unwrap();
        for number in 0..seed * 20 {
            writing.put(PAYLOADS, &key(number * 3), &[9; 700]).unwrap();
            writing.remove(JOBS, &key(number)).unwrap();
        }
        disk.crash_torn(seed);
        drop(writing);
        Expected::new(model.clone()).check(&disk, &format!("seed {seed}"));
    }
}

#[test]
fn crashes_one_after_the_other_leave_each_acknowledged_commit() {
    let (disk, model) = some_commits();
    let mut expected = Expected::new(model);
    for seed in 0..150 {
        disk.crash_in_sync(seed % 13, seed);
        let opened = store(&disk).open(group());
        let _ = opened.and_then(|checkpoint| {
            expected.change(&checkpoint, seed)?;
            expected.change(&checkpoint, seed + 1)
        });
        disk.crash_torn(seed);
        let found = Model::of(&open(&disk).view().unwrap()).unwrap();
        let under_way = expected.under_way.take();
        let is_new = under_way.as_ref().is_some_and(|new| new.is(&found));
        assert!(is_new || expected.acknowledged.is(&found), "seed {seed}");
        expected.acknowledged = found;
    }
}

#[test]
fn crash_in_any_sync_of_a_replacement_leaves_the_old_checkpoint_or_the_new() {
    let (prepared, old) = some_commits();
    let mut new = Model::default();
    change(&open(&MemoryDisk::new()), &mut new, 7, 60).unwrap();
    crash_in_each_sync(&prepared, 12, |disk| {
        let mut expected = Expected::new(old.clone());
        let store = store(disk);
        let done = store.open(group()).and_then(|checkpoint| {
            let incoming = store.receive(group())?;
            change(&incoming, &mut Model::default(), 7, 60)?;
            expected.under_way = Some(new.clone());
            checkpoint.replace_by(&incoming)
        });
        if done.is_ok() {
            expected.acknowledged = new.clone();
            expected.under_way = None;
        }
        (expected, done.is_ok())
    });
}

#[test]
fn crash_between_a_replacement_and_its_folder_sync_leaves_the_old_checkpoint_or_the_new() {
    let (prepared, old) = some_commits();
    let (mut olds, mut news) = (0, 0);
    for seed in 0..40 {
        let disk = prepared.fork();
        let store = store(&disk);
        let incoming = store.receive(group()).unwrap();
        let mut new = Model::default();
        change(&incoming, &mut new, 7, 60).unwrap();
        disk.rename(INCOMING, FILE).unwrap();
        disk.crash_torn(seed);
        let found = Model::of(&open(&disk).view().unwrap()).unwrap();
        assert!(old.is(&found) || new.is(&found), "seed {seed}");
        olds += u32::from(old.is(&found));
        news += u32::from(new.is(&found));
        assert_eq!(names(&disk), [FILE], "seed {seed}");
    }
    assert!(olds > 0 && news > 0, "{olds} {news}");
}

#[test]
fn crash_in_any_sync_of_a_commit_over_many_runs_of_blocks_leaves_the_old_commit_or_the_new() {
    let disk = MemoryDisk::new();
    let mut old = Model::default();
    let large = |checkpoint: &Checkpoint, model: &Model, version| {
        let mut next = model.clone();
        let mut writing = checkpoint.begin()?;
        for number in (0..60_u64).filter(|number| number % 3 != version) {
            let row =
                crate::support::value(number, version, 30_000 + (number % 60) as usize * 3_000);
            writing.put(JOBS, &key(number), &row)?;
            next.put(JOBS, key(number), row);
        }
        next.head = Some(key(version));
        let committed = writing.commit(&key(version));
        Ok((next, committed))
    };
    for version in 0..2 {
        let made: Result<_, CheckpointError> = large(&open(&disk), &old, version);
        old = made.unwrap().0;
    }
    assert!(disk.read(FILE).unwrap().len() > 3 * 4 * 1024 * 1024);
    let new = large(&open(&disk.fork()), &old, 2).unwrap().0;
    for (sync, seed) in [(0, 1), (1, 2), (3, 3), (9, 4), (20, 5), (40, 6)] {
        let disk = disk.fork();
        let checkpoint = open(&disk);
        disk.crash_in_sync(sync, seed);
        let committed = large(&checkpoint, &old, 2).and_then(|(_, committed)| committed);
        assert!(committed.is_err(), "there are more syncs than {sync}");
        let found = Model::of(&open(&disk).view().unwrap()).unwrap();
        assert!(old.is(&found) || new.is(&found), "sync {sync}");
    }
}

#[test]
fn crash_in_any_sync_of_a_compaction_leaves_every_row() {
    let (prepared, mut model) = some_commits();
    let checkpoint = open(&prepared);
    for version in 4..16 {
        change(&checkpoint, &mut model, version, 150).unwrap();
    }
    let mut writing = checkpoint.begin().unwrap();
    for number in 0..2400 {
        for table in crate::support::TABLES {
            writing.remove(table, &key(number)).unwrap();
            model.remove(table, &key(number));
        }
    }
    writing.commit(&model.head.clone().unwrap()).unwrap();
    drop(checkpoint);
    crash_in_each_sync(&prepared, 6, |disk| {
        let expected = Expected::new(model.clone());
        let done = store(disk)
            .open(group())
            .and_then(|checkpoint| checkpoint.compact_if_worth());
        if let Ok(is_compacted) = done {
            assert!(is_compacted);
        }
        (expected, done.is_ok())
    });
}
