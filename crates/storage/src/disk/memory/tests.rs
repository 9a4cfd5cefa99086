use super::*;
use crate::disk::{read_all, replace};

fn content(disk: &MemoryDisk, name: &str) -> Option<Vec<u8>> {
    disk.read(name).ok()
}

#[test]
fn crash_keeps_what_was_synced_and_nothing_else() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", OpenMode::Create).unwrap();
    file.write_at(0, b"old").unwrap();
    file.sync().unwrap();
    disk.sync_folder().unwrap();
    file.write_at(0, b"new and longer").unwrap();
    disk.crash();
    assert_eq!(content(&disk, "a").unwrap(), b"old");
    assert!(
        file.write_at(0, b"x").is_err(),
        "a handle outlived its process"
    );
}

#[test]
fn synced_file_whose_name_was_not_synced_is_gone() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", OpenMode::Create).unwrap();
    file.write_at(0, b"x").unwrap();
    file.sync().unwrap();
    disk.crash();
    assert_eq!(disk.list().unwrap(), Vec::<String>::new());
}

#[test]
fn failed_sync_loses_bytes_even_if_a_later_one_succeeds() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", OpenMode::Create).unwrap();
    disk.sync_folder().unwrap();
    file.write_at(0, b"x").unwrap();
    disk.fail_next_syncs(1);
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(read_all(file.as_ref()).unwrap(), b"x");
    disk.crash();
    assert_eq!(content(&disk, "a").unwrap(), b"");
}

#[test]
fn replaced_file_is_old_or_new_after_any_torn_crash() {
    for seed in 0..64 {
        let disk = MemoryDisk::new();
        replace(&disk, "a", b"old").unwrap();
        let file = disk.open("a.tmp", OpenMode::Create).unwrap();
        file.write_at(0, b"new").unwrap();
        file.sync().unwrap();
        disk.rename("a.tmp", "a").unwrap();
        disk.crash_torn(seed);
        let found = content(&disk, "a").unwrap();
        assert!(found == b"old" || found == b"new", "seed {seed}: {found:?}");
    }
}

/// A crash in the middle of a rename can leave both names, for one file.
#[test]
fn replacing_again_after_a_crash_never_tears_what_is_there() {
    let versions: [&[u8]; 3] = [b"one", b"two", b"three"];
    for (first, second) in (0..32).flat_map(|first| (0..32).map(move |second| (first, second))) {
        let disk = MemoryDisk::new();
        replace(&disk, "a", versions[0]).unwrap();
        disk.crash_in_sync(1, first);
        assert!(replace(&disk, "a", versions[1]).is_err());
        disk.crash_in_sync(0, second);
        assert!(replace(&disk, "a", versions[2]).is_err());
        let found = content(&disk, "a").unwrap();
        assert!(
            versions.contains(&found.as_slice()),
            "seeds {first}, {second}: {found:?}"
        );
    }
}

#[test]
fn torn_crash_is_the_same_for_the_same_seed_and_differs_between_seeds() {
    let outcome = |seed| {
        let disk = MemoryDisk::new();
        let file = disk.open("a", OpenMode::Create).unwrap();
        disk.sync_folder().unwrap();
        file.write_at(100, &[7; 4096]).unwrap();
        disk.crash_torn(seed);
        content(&disk, "a").unwrap()
    };
    assert_eq!(outcome(3), outcome(3));
    assert!((0..8).any(|seed| outcome(seed) != outcome(3)));
}

#[test]
fn full_disk_refuses_growth_and_nothing_else() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(10));
    let file = disk.open("a", OpenMode::Create).unwrap();
    file.write_at(0, &[1; 10]).unwrap();
    let error = file.write_at(5, &[1; 10]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.write_at(0, &[2; 10]).unwrap();
    assert_eq!(disk.space().unwrap().free, 0);
}

#[test]
fn disk_with_room_for_some_more_writes_is_full_after_them() {
    let disk = MemoryDisk::new();
    let file = disk.open("a", OpenMode::Create).unwrap();
    disk.set_writes_left(Some(2));
    file.write_at(0, b"x").unwrap();
    file.set_length(5).unwrap();
    for full in [file.write_at(0, b"y"), file.set_length(1)] {
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
    disk.set_writes_left(None);
    file.write_at(0, b"z").unwrap();
    assert_eq!(disk.writes(), 3);
}
