//! What was synced stays, what was not goes, and the process dies where it was told to.

use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use super::*;
use crate::points::find;

const SEGMENT: &str = "log-0000000001.seg";

/// What there was when the process would have died. (In a test it goes on.)
struct Death {
    why: String,
    segment: Vec<u8>,
}

/// A folder that outlives its disks, as it outlives processes.
struct World {
    root: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self, syncs_behind: usize) -> (CrashingDisk, Receiver<Death>) {
        let (died, deaths) = channel();
        let segment = self.root.path().join("data").join(SEGMENT);
        let disk = CrashingDisk::open(CrashingDiskOptions {
            folder: self.root.path().join("data"),
            yard: self.root.path().join("yard"),
            syncs_behind,
            seed: 7,
            die: Box::new(move |why| {
                let why = why.to_owned();
                let segment = std::fs::read(&segment).unwrap_or_default();
                let _ = died.send(Death { why, segment });
            }),
        });
        (disk.unwrap(), deaths)
    }

    /// Power fails, and all that is unsynced goes.
    fn lose_all(disk: &CrashingDisk) {
        Self::lose(disk, Loss::All, 1);
        disk.0.names().lose_power(0).unwrap();
    }

    /// Power fails, and bytes go.
    fn lose(disk: &CrashingDisk, loss: Loss, seed: u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        for cell in disk.0.names().cells() {
            cell.lose_power(loss, &mut rng).unwrap();
        }
    }

    fn content(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.root.path().join("data").join(name)).ok()
    }
}

fn put(disk: &CrashingDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.open(name, OpenMode::Create).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync().unwrap();
    disk.sync_folder().unwrap();
    file
}

#[test]
fn synced_bytes_and_names_stay() {
    let world = World::new();
    let (disk, _) = world.open(0);
    put(&disk, "a", &[1; 1500]);
    World::lose_all(&disk);
    assert_eq!(world.content("a").unwrap(), [1; 1500]);
}

#[test]
fn unsynced_bytes_go_and_the_old_ones_come_back() {
    let world = World::new();
    let (disk, _) = world.open(0);
    let file = put(&disk, "a", &[1; 1500]);
    file.write_at(100, &[2; 3000]).unwrap();
    assert_eq!(file.length().unwrap(), 3100);
    World::lose_all(&disk);
    assert_eq!(world.content("a").unwrap(), [1; 1500]);
}

#[test]
fn file_that_was_cut_is_whole_again() {
    let world = World::new();
    let (disk, _) = world.open(0);
    let file = put(&disk, "a", &[1; 1500]);
    file.set_length(10).unwrap();
    drop(disk.open("a", OpenMode::Create).unwrap());
    assert!(world.content("a").unwrap().is_empty());
    World::lose_all(&disk);
    assert_eq!(world.content("a").unwrap(), [1; 1500]);
}

#[test]
fn unsynced_cut_is_lost_as_a_whole_or_not_at_all() {
    let (mut whole, mut cut) = (0, 0);
    for seed in 0..40 {
        let world = World::new();
        let (disk, _) = world.open(0);
        let file = put(&disk, "a", &[1; 5_000]);
        file.set_length(700).unwrap();
        World::lose(&disk, Loss::Some(0.5), seed);
        let content = world.content("a").unwrap();
        assert!(content.iter().all(|byte| *byte == 1), "seed {seed}");
        match content.len() {
            5_000 => whole += 1,
            700 => cut += 1,
            length => panic!("seed {seed}: {length} bytes"),
        }
    }
    assert!(whole > 0 && cut > 0, "{whole} {cut}");
}

#[test]
fn nothing_from_before_a_cut_that_stands_comes_back_behind_it() {
    for seed in 0..40 {
        let world = World::new();
        let (disk, _) = world.open(0);
        let file = put(&disk, "a", &[1; 5_000]);
        file.set_length(1_024).unwrap();
        file.write_at(1_024, &[2; 2_048]).unwrap();
        World::lose(&disk, Loss::Some(0.5), seed);
        let content = world.content("a").unwrap();
        let is_new = |bytes: &[u8]| bytes.iter().all(|byte| [0, 2].contains(byte));
        let (kept, behind) = content.split_at(1_024);
        assert_eq!(kept, [1; 1_024], "seed {seed}");
        let is_whole = content == [1; 5_000];
        assert!(
            is_whole || [0, 2_048].contains(&behind.len()) && is_new(behind),
            "seed {seed}"
        );
    }
}

#[test]
fn synced_file_whose_name_was_not_synced_is_gone() {
    let world = World::new();
    let (disk, _) = world.open(0);
    let file = disk.open("a", OpenMode::Create).unwrap();
    file.write_at(0, b"x").unwrap();
    file.sync().unwrap();
    World::lose_all(&disk);
    assert_eq!(world.content("a"), None);
}

#[test]
fn unsynced_rename_and_removal_are_taken_back() {
    let world = World::new();
    let (disk, _) = world.open(0);
    put(&disk, "a", b"old");
    put(&disk, "a.tmp", b"new");
    put(&disk, "b", b"kept");
    disk.rename("a.tmp", "a").unwrap();
    disk.remove("b").unwrap();
    assert_eq!(world.content("a").unwrap(), b"new");
    World::lose_all(&disk);
    assert_eq!(world.content("a").unwrap(), b"old");
    assert_eq!(world.content("a.tmp").unwrap(), b"new");
    assert_eq!(world.content("b").unwrap(), b"kept");
}

#[test]
fn synced_rename_and_removal_stay() {
    let world = World::new();
    let (disk, _) = world.open(0);
    put(&disk, "a", b"old");
    put(&disk, "a.tmp", b"new");
    disk.rename("a.tmp", "a").unwrap();
    disk.sync_folder().unwrap();
    World::lose_all(&disk);
    assert_eq!(world.content("a").unwrap(), b"new");
    assert_eq!(world.content("a.tmp"), None);
    assert_eq!(disk.0.yard.list().unwrap(), [""; 0]);
}

#[test]
fn what_a_killed_process_left_unsynced_can_still_be_lost() {
    let world = World::new();
    let (disk, _) = world.open(0);
    let file = put(&disk, "a", &[1; 600]);
    file.write_at(0, &[2; 600]).unwrap();
    disk.open("b", OpenMode::Create).unwrap();
    disk.crash(Flavour::Kill);
    drop((file, disk));
    let (disk, _) = world.open(0);
    assert_eq!(world.content("a").unwrap(), [2; 600]);
    World::lose_all(&disk);
    assert_eq!(world.content("a").unwrap(), [1; 600]);
    assert_eq!(world.content("b"), None);
}

#[test]
fn file_that_a_killed_process_removed_comes_back_without_what_was_never_synced() {
    let world = World::new();
    let (disk, _) = world.open(0);
    for name in ["a", "b"] {
        let file = put(&disk, name, &[1; 600]);
        file.write_at(0, &[2; 600]).unwrap();
    }
    put(&disk, "b.tmp", &[3; 600]);
    disk.remove("a").unwrap();
    disk.rename("b.tmp", "b").unwrap();
    disk.crash(Flavour::Kill);
    drop(disk);
    let (disk, _) = world.open(0);
    World::lose_all(&disk);
    assert_eq!(world.content("a").unwrap(), [1; 600]);
    assert_eq!(world.content("b").unwrap(), [1; 600]);
}

#[test]
fn what_the_next_process_synced_stays() {
    let world = World::new();
    let (disk, _) = world.open(0);
    let file = put(&disk, "a", &[1; 600]);
    file.write_at(0, &[2; 600]).unwrap();
    disk.crash(Flavour::Kill);
    drop((file, disk));
    let (disk, _) = world.open(0);
    disk.open("a", OpenMode::Existing).unwrap().sync().unwrap();
    World::lose_all(&disk);
    assert_eq!(world.content("a").unwrap(), [2; 600]);
}

#[test]
fn disk_that_lies_loses_its_last_syncs() {
    let world = World::new();
    let (disk, _) = world.open(1);
    let file = put(&disk, SEGMENT, &[1; 600]);
    file.write_at(0, &[2; 600]).unwrap();
    file.sync().unwrap();
    World::lose_all(&disk);
    assert_eq!(world.content(SEGMENT).unwrap(), [1; 600]);
}

#[test]
fn torn_write_has_its_first_half_done_when_the_process_dies() {
    let world = World::new();
    let (disk, deaths) = world.open(0);
    let file = put(&disk, SEGMENT, &[1; 1024]);
    disk.arm(Order {
        point: find("log-write-torn").unwrap(),
        nth: 1,
        flavour: Flavour::Kill,
    });
    file.write_at(0, &[2; 1024]).unwrap();
    let death = deaths.try_recv().unwrap();
    assert!(death.why.starts_with("Write log-"), "{}", death.why);
    assert_eq!(death.segment, [[2; 512], [1; 512]].concat());
    file.write_at(0, &[3; 1024]).unwrap();
    assert!(deaths.try_recv().is_err());
}

#[test]
fn removal_of_what_is_not_there_is_no_place_for_a_crash() {
    let world = World::new();
    let (disk, deaths) = world.open(0);
    put(&disk, "a", b"x");
    disk.arm(Order {
        point: find("recovery-removal").unwrap(),
        nth: 1,
        flavour: Flavour::Kill,
    });
    let error = disk.remove("b").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(deaths.try_recv().is_err());
    disk.remove("a").unwrap();
    assert_eq!(deaths.try_recv().unwrap().why, "Remove a");
}

#[test]
fn file_goes_by_the_name_that_it_has_and_not_by_the_one_it_was_opened_under() {
    let world = World::new();
    let (disk, deaths) = world.open(0);
    let file = put(&disk, "checkpoint-g1.incoming", b"x");
    disk.rename("checkpoint-g1.incoming", "checkpoint-g1")
        .unwrap();
    disk.sync_folder().unwrap();
    let arm = |point| {
        let order = Order {
            point: find(point).unwrap(),
            nth: 1,
            flavour: Flavour::Kill,
        };
        disk.arm(order);
        file.sync().unwrap();
        deaths.try_recv().is_ok()
    };
    assert!(!arm("incoming-not-synced"));
    assert!(arm("checkpoint-not-synced"));
}

#[test]
fn process_dies_at_its_point_though_the_half_of_the_write_failed() {
    let world = World::new();
    let (disk, deaths) = world.open(0);
    let file = put(&disk, SEGMENT, &[1; 1024]);
    disk.arm(Order {
        point: find("log-write-torn").unwrap(),
        nth: 1,
        flavour: Flavour::Kill,
    });
    // Beyond what any file may be long.
    file.write_at(i64::MAX as u64 - 100, &[2; 1024])
        .unwrap_err();
    assert!(deaths.try_recv().is_ok());
}

#[test]
fn crash_by_power_says_what_was_lost() {
    let world = World::new();
    let (disk, deaths) = world.open(0);
    disk.open("a", OpenMode::Create)
        .unwrap()
        .write_at(0, &[1; 10])
        .unwrap();
    disk.crash(Flavour::Power);
    let said = deaths.try_recv().unwrap();
    assert!(said.why.starts_with("ordered; lost "), "{}", said.why);
}
