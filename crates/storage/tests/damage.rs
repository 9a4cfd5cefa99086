//! Damage on the disk is refused with the file and the offset, or lies where nothing was acknowledged; it is never
//! served and never cut away with what was acknowledged.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::Arc;

use leasehold_storage::{
    Disk, LogStore, LogWriter, MemoryDisk, OpenLogError, OpenMode, SegmentedLog, Slot,
};

mod support;

use support::{
    View, append, append_long, group, perform, purge, put, small_segments, submit, view,
};

fn open(disk: &MemoryDisk) -> Result<(SegmentedLog, LogWriter), OpenLogError> {
    SegmentedLog::open(Arc::new(disk.clone()), small_segments())
}

fn settle(writer: &mut LogWriter) {
    while writer.step().unwrap() {}
}

/// Six segments, the first with one frame, and one prepared, with entries of two groups, purges and votes, ended well.
fn log_of_many_segments() -> (MemoryDisk, Vec<View>) {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk).unwrap();
    for index in 0..42 {
        let _ = submit(&log, append_long(group(1), index, 1200));
        let _ = submit(&log, append(group(2), index, &["small"]));
        let _ = submit(&log, put(group(2), Slot::Vote, "vote"));
        settle(&mut writer);
    }
    let _ = submit(&log, purge(group(2), 20));
    log.close();
    settle(&mut writer);
    let views = views(&log);
    (disk, views)
}

fn views(log: &dyn LogStore) -> Vec<View> {
    [1, 2]
        .map(|number| view(log, group(number)).unwrap())
        .into()
}

fn segments(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name.ends_with(".seg"));
    names
}

/// The last but one: the last is the one that was prepared.
fn segment_in_use(disk: &MemoryDisk) -> String {
    let names = segments(disk);
    names[names.len() - 2].clone()
}

fn end_of_content(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}

/// Bytes to damage: all of what frames are made of at both ends, and samples between and after.
fn places(content: &[u8]) -> Vec<usize> {
    let end = end_of_content(content);
    let dense = (0..60)
        .chain(4096..4300)
        .chain(end.saturating_sub(200)..end + 40);
    let sparse = (60..4096)
        .step_by(501)
        .chain((4300..content.len()).step_by(97));
    dense
        .chain(sparse)
        .filter(|at| *at < content.len())
        .collect()
}

#[test]
fn flipped_bit_anywhere_in_a_log_that_ended_well_is_refused_or_harmless() {
    let (disk, expected) = log_of_many_segments();
    assert_eq!(
        segments(&disk).len(),
        7,
        "the scenario is what its name says"
    );
    let mut refused = 0;
    for name in segments(&disk) {
        for at in places(&disk.read(&name).unwrap()) {
            let damaged = disk.fork();
            damaged
                .flip_bit(&name, at as u64 * 8 + at as u64 % 8)
                .unwrap();
            match open(&damaged) {
                Ok((log, _writer)) => assert_eq!(views(&log), expected, "byte {at} of {name}"),
                Err(OpenLogError::Corrupt { file, offset, .. }) => {
                    refused += 1;
                    assert_eq!(file, name, "byte {at} of {name}");
                    assert!(offset <= at as u64, "byte {at} of {name} found at {offset}");
                }
                Err(other) => panic!("byte {at} of {name}: {other}"),
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn flipped_bit_in_the_last_frame_is_refused_once_the_writer_was_idle() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk).unwrap();
    let _ = submit(&log, append(group(1), 0, &["acknowledged"]));
    settle(&mut writer);
    drop((log, writer));
    disk.flip_bit(&segments(&disk)[0], (4096 + 60) * 8).unwrap();
    let error = open(&disk).err().unwrap().to_string();
    assert!(
        error.contains("log-0000000001.seg") && error.contains("offset 4128"),
        "{error}"
    );
    assert!(error.contains("restore it from a backup"), "{error}");
}

#[test]
fn damaged_frame_that_nothing_vouches_for_is_cut_as_torn() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk).unwrap();
    for index in 0..3 {
        let _ = submit(&log, append(group(1), index, &["content"]));
        assert!(writer.step().unwrap());
    }
    disk.crash();
    let name = &segment_in_use(&disk);
    let end = end_of_content(&disk.read(name).unwrap()) as u64;
    disk.flip_bit(name, (end - 2) * 8).unwrap();
    let (log, _writer) = open(&disk).unwrap();
    assert_eq!(log.bounds(group(1)).next, 2);
    assert_eq!(
        end_of_content(&disk.read(name).unwrap()) % 8,
        7,
        "the torn frame is zeros now"
    );
}

#[test]
fn segment_that_ends_within_its_first_block_is_an_empty_one() {
    // Power failed while the segment was taken into use: the sector with its header landed, those after it did not.
    let disk = MemoryDisk::new();
    drop(open(&disk).unwrap());
    let name = segments(&disk)[0].clone();
    let file = disk.open(&name, OpenMode::Existing).unwrap();
    file.set_length(512).unwrap();
    let (log, mut writer) = open(&disk).unwrap();
    let _ = submit(&log, append(group(1), 0, &["content"]));
    settle(&mut writer);
    disk.crash();
    assert_eq!(open(&disk).unwrap().0.bounds(group(1)).next, 1);
}

#[test]
fn damage_after_the_log_was_opened_is_never_served() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk).unwrap();
    for index in 0..20 {
        let _ = submit(&log, append_long(group(1), index, 500));
        settle(&mut writer);
    }
    // The first entry has long left the cache of 4 KiB.
    disk.flip_bit(&segments(&disk)[0], (4096 + 32 + 24 + 100) * 8)
        .unwrap();
    let error = log.entries(group(1), 0..1, 1000).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let message = error.to_string();
    assert!(
        message.contains("log-0000000001.seg") && message.contains("offset 4128"),
        "{message}"
    );
    assert_eq!(log.entries(group(1), 1..20, usize::MAX).unwrap().len(), 19);
}

/// The same log, its process killed in the middle.
fn log_that_was_killed() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk).unwrap();
    for index in 0..42 {
        let _ = submit(&log, append_long(group(1), index, 1200));
        assert!(writer.step().unwrap());
    }
    disk.crash();
    disk
}

#[test]
fn missing_segment_is_named_also_when_it_was_the_last() {
    for disk in [log_of_many_segments().0, log_that_was_killed()] {
        for name in segments(&disk) {
            let disk = disk.fork();
            disk.remove(&name).unwrap();
            let error = open(&disk).err().unwrap();
            assert!(
                matches!(&error, OpenLogError::Missing { file } if *file == name),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn all_segments_from_one_on_cannot_be_lost_unnoticed() {
    for disk in [log_of_many_segments().0, log_that_was_killed()] {
        let names = segments(&disk);
        for kept in 0..names.len() {
            let disk = disk.fork();
            names[kept..]
                .iter()
                .for_each(|name| disk.remove(name).unwrap());
            let error = open(&disk).err().unwrap();
            assert!(
                matches!(&error, OpenLogError::Missing { file } if *file == names[kept]),
                "{kept}: {error}"
            );
        }
    }
}

#[test]
fn segment_in_use_that_was_emptied_is_refused() {
    for disk in [log_of_many_segments().0, log_that_was_killed()] {
        let names = segments(&disk);
        let (prepared, in_use) = names.split_last().unwrap();
        for name in in_use {
            let disk = disk.fork();
            disk.open(name, OpenMode::Create).unwrap();
            let error = open(&disk).err().unwrap();
            assert!(
                matches!(&error, OpenLogError::Corrupt { file, offset: 0, .. } if file == name),
                "{name}: {error}"
            );
        }
        disk.open(prepared, OpenMode::Create).unwrap();
        open(&disk).unwrap();
    }
}

#[test]
fn log_that_ended_well_is_refused_when_any_of_its_end_is_cut_off() {
    let (disk, _) = log_of_many_segments();
    let (log, writer) = open(&disk).unwrap();
    let writer = support::spawn(writer);
    perform(&log, append(group(2), 42, &["last"])).unwrap();
    log.close();
    writer.join().unwrap().unwrap();
    let name = segment_in_use(&disk);
    let end = end_of_content(&disk.read(&name).unwrap()) as u64;
    for length in (48..end).step_by(7) {
        let disk = disk.fork();
        let file = disk.open(&name, OpenMode::Existing).unwrap();
        file.set_length(length).unwrap();
        let error = open(&disk).err();
        assert!(
            matches!(&error, Some(OpenLogError::Corrupt { file, .. }) if *file == name),
            "cut to {length} of {end} bytes: {error:?}"
        );
    }
}

#[test]
fn folder_that_must_hold_a_log_and_has_none_is_refused() {
    let (disk, expected) = log_of_many_segments();
    let reopen = || SegmentedLog::open_existing(Arc::new(disk.clone()), small_segments());
    assert_eq!(views(&reopen().unwrap().0), expected);
    for name in disk.list().unwrap() {
        disk.remove(&name).unwrap();
    }
    let error = reopen().err().unwrap();
    assert!(
        matches!(&error, OpenLogError::Missing { file } if file == "log-start"),
        "{error}"
    );
    assert!(disk.list().unwrap().is_empty(), "nothing was begun anew");
}

#[test]
fn log_whose_start_note_is_lost_or_damaged_is_refused() {
    let (disk, _) = log_of_many_segments();
    let lost = disk.fork();
    lost.remove("log-start").unwrap();
    assert!(matches!(
        open(&lost).err().unwrap(),
        OpenLogError::Missing { .. }
    ));
    for bit in 0..disk.read("log-start").unwrap().len() as u64 * 8 {
        let damaged = disk.fork();
        damaged.flip_bit("log-start", bit).unwrap();
        assert!(open(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn segments_swapped_by_hand_are_refused() {
    let (disk, _) = log_of_many_segments();
    let names = segments(&disk);
    disk.rename(&names[2], "aside").unwrap();
    disk.rename(&names[3], &names[2]).unwrap();
    disk.rename("aside", &names[3]).unwrap();
    assert!(matches!(
        open(&disk).err().unwrap(),
        OpenLogError::Corrupt { offset: 0, .. }
    ));
}

#[test]
fn log_of_a_newer_format_is_refused_with_both_numbers_and_left_alone() {
    let (disk, _) = log_of_many_segments();
    let name = segments(&disk)[4].clone();
    let mut head = disk.read(&name).unwrap()[..48].to_vec();
    head[8] = 9;
    let checksum = crc32fast::hash(&head[..44]);
    head[44..].copy_from_slice(&checksum.to_le_bytes());
    disk.open(&name, OpenMode::Existing)
        .unwrap()
        .write_at(0, &head)
        .unwrap();
    let before: Vec<_> = segments(&disk)
        .iter()
        .map(|name| disk.read(name).unwrap())
        .collect();
    let error = open(&disk).err().unwrap();
    assert!(
        matches!(
            error,
            OpenLogError::NewerFormat {
                found: 9,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    let after: Vec<_> = segments(&disk)
        .iter()
        .map(|name| disk.read(name).unwrap())
        .collect();
    assert!(before == after);
}

#[test]
fn disk_that_cannot_be_read_is_an_error_and_not_an_empty_log() {
    let (disk, _) = log_of_many_segments();
    disk.fail_next_syncs(1);
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, OpenLogError::Io { .. }), "{error}");
    open(&disk).unwrap();
}

#[test]
fn frame_in_an_entrys_content_is_not_taken_for_a_frame_of_the_log() {
    // The content of an entry is a piece of another log, headers included, as a nested backup would be.
    let (donor, _) = log_of_many_segments();
    let piece = donor.read(&segments(&donor)[1]).unwrap()[4096..9000].to_vec();
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk).unwrap();
    for index in 0..2 {
        let _ = submit(
            &log,
            append(group(1), index, &["noted, as the first of its segment"]),
        );
        assert!(writer.step().unwrap());
    }
    let name = segment_in_use(&disk);
    let end = end_of_content(&disk.read(&name).unwrap()) as u64;
    let entries = vec![(2, piece.into())];
    let _ = submit(
        &log,
        leasehold_storage::Operation::Append {
            group: group(1),
            entries,
        },
    );
    assert!(writer.step().unwrap());
    disk.flip_bit(&name, (end + 40) * 8).unwrap();
    let (log, _writer) = open(&disk).unwrap();
    assert_eq!(
        log.bounds(group(1)).next,
        2,
        "torn, as nothing of this log vouches for it"
    );
}

#[test]
fn log_that_ended_well_goes_on_where_it_ended() {
    let (disk, expected) = log_of_many_segments();
    let (log, writer) = open(&disk).unwrap();
    assert_eq!(views(&log), expected);
    let thread = support::spawn(writer);
    perform(&log, append(group(2), 42, &["more"])).unwrap();
    log.close();
    thread.join().unwrap().unwrap();
    let (log, _writer) = open(&disk).unwrap();
    assert_eq!(log.bounds(group(2)).next, 43);
}
