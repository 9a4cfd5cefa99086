//! Purging gives the disk back, and no quiet group keeps it.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::Arc;

use leasehold_storage::{Disk, LogOptions, LogStore, LogWriter, MemoryDisk, SegmentedLog, Slot};

mod support;

use support::{
    View, append, append_long, group, purge, put, small_segments, spawn, submit, truncate, view,
};

const IDLE: u32 = 1;
const BUSY: u32 = 2;

fn open(disk: &MemoryDisk) -> (SegmentedLog, LogWriter) {
    SegmentedLog::open(Arc::new(disk.clone()), small_segments()).unwrap()
}

fn settle(writer: &mut LogWriter) {
    while writer.step().unwrap() {}
}

fn segments(disk: &MemoryDisk) -> usize {
    let names = disk.list().unwrap();
    names.iter().filter(|name| name.ends_with(".seg")).count()
}

/// A busy group that keeps its last entries only, over many segments.
fn keep_busy(log: &SegmentedLog, writer: &mut LogWriter, entries: u64) {
    let start = log.bounds(group(BUSY)).next;
    for index in start..start + entries {
        let _ = submit(log, append_long(group(BUSY), index, 1000));
        if index % 8 == 7 {
            let _ = submit(log, purge(group(BUSY), index - 4));
        }
        writer.step().unwrap();
    }
}

#[test]
fn purged_segments_are_removed() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    for index in 0..100 {
        let _ = submit(&log, append_long(group(1), index, 1000));
        settle(&mut writer);
    }
    let full = segments(&disk);
    assert!(full >= 9, "{full}");
    let _ = submit(&log, purge(group(1), 99));
    settle(&mut writer);
    assert!(segments(&disk) <= 2, "{:?}", disk.list());
    assert_eq!(
        log.health().disk_bytes,
        disk.list()
            .unwrap()
            .iter()
            .filter(|name| name.ends_with(".seg"))
            .map(|name| disk.read(name).unwrap().len() as u64)
            .sum::<u64>()
    );
}

#[test]
fn segment_is_kept_while_a_truncate_of_its_entries_is_not_durable() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    for index in 0..40 {
        let _ = submit(&log, append_long(group(1), index, 1000));
        settle(&mut writer);
    }
    let before = segments(&disk);
    let _ = submit(&log, truncate(group(1), None));
    assert_eq!(segments(&disk), before);
    disk.crash();
    let (log, _writer) = open(&disk);
    assert_eq!(log.bounds(group(1)).next, 40);
}

#[test]
fn idle_group_does_not_pin_old_segments() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    let _ = submit(&log, append(group(IDLE), 10, &["a", "b", "c", "d"]));
    let _ = submit(&log, put(group(IDLE), Slot::Vote, "vote"));
    let _ = submit(&log, put(group(IDLE), Slot::Committed, "committed"));
    let _ = submit(&log, purge(group(IDLE), 10));
    let _ = submit(&log, truncate(group(IDLE), Some(12)));
    settle(&mut writer);
    let idle: View = view(&log, group(IDLE)).unwrap();
    keep_busy(&log, &mut writer, 500);
    assert!(segments(&disk) <= 6, "{:?}", disk.list());
    assert_eq!(view(&log, group(IDLE)).unwrap(), idle);
    disk.crash();
    let (log, _writer) = open(&disk);
    assert_eq!(view(&log, group(IDLE)).unwrap(), idle);
    assert_eq!(log.bounds(group(BUSY)).next, 500);
}

#[test]
fn idle_group_with_many_entries_is_moved_in_bounded_pieces() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    for index in 0..30 {
        let _ = submit(&log, append_long(group(IDLE), index, 1000));
    }
    settle(&mut writer);
    let idle = view(&log, group(IDLE)).unwrap();
    let start = log.bounds(group(BUSY)).next;
    for index in start..start + 400 {
        let _ = submit(&log, append_long(group(BUSY), index, 1000));
        let _ = submit(&log, purge(group(BUSY), index));
        let before = log.health().bytes_written;
        writer.step().unwrap();
        let written = log.health().bytes_written - before;
        assert!(written < 8 * 1024, "one batch wrote {written} bytes");
    }
    assert!(segments(&disk) <= 16, "{:?}", disk.list());
    disk.crash();
    let (log, _writer) = open(&disk);
    assert_eq!(view(&log, group(IDLE)).unwrap(), idle);
}

#[test]
fn writing_forward_ends_when_nothing_is_submitted() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    for index in 0..60 {
        let _ = submit(&log, append_long(group(IDLE), index, 300));
        keep_busy(&log, &mut writer, 3);
    }
    let _ = submit(&log, purge(group(BUSY), 1000));
    let steps = (0..1000).take_while(|_| writer.step().unwrap()).count();
    assert!(steps < 1000, "still writing forward");
    let written = log.health().bytes_written;
    assert!(!writer.step().unwrap());
    assert_eq!(log.health().bytes_written, written);
    assert_eq!(view(&log, group(IDLE)).unwrap().entries.len(), 60);
}

#[test]
fn writing_forward_never_overtakes_what_was_submitted_before() {
    let disk = MemoryDisk::new();
    let options = LogOptions {
        batch_bytes: 1500,
        ..small_segments()
    };
    let (log, mut writer) = SegmentedLog::open(Arc::new(disk.clone()), options).unwrap();
    let quiet = |number: u64| group(10 + u32::try_from(number).unwrap());
    for number in 0..60 {
        let _ = submit(&log, put(quiet(number), Slot::Vote, "old"));
        let _ = submit(&log, purge(quiet(number), 1));
    }
    settle(&mut writer);
    // Whenever it is that the quiet groups are written forward: one of them has news that wait behind other work.
    for number in 0..60 {
        let done = 2 * number;
        let _ = submit(&log, purge(group(BUSY), done));
        let _ = submit(&log, append_long(group(BUSY), done + 1, 1350));
        let ahead = submit(&log, append_long(group(BUSY), done + 2, 1450));
        let _ = submit(&log, put(quiet(number), Slot::Vote, "new"));
        let _ = submit(&log, purge(quiet(number), 2));
        writer.step().unwrap();
        writer.step().unwrap();
        ahead.recv().unwrap().unwrap();
        let (crashed, _writer) = open(&disk.fork());
        assert_eq!(
            crashed.slot(quiet(number), Slot::Vote).as_deref(),
            Some(&b"old"[..])
        );
        assert_eq!(crashed.bounds(quiet(number)).next, 2, "the purge waits");
        settle(&mut writer);
    }
    assert!(segments(&disk) <= 4, "{:?}", disk.list());
}

#[test]
fn reader_keeps_its_entries_while_they_are_moved_and_purged() {
    let disk = MemoryDisk::new();
    let (log, writer) = open(&disk);
    let log = Arc::new(log);
    let thread = spawn(writer);
    for index in 0..20 {
        support::perform(log.as_ref(), append_long(group(IDLE), index, 200)).unwrap();
    }
    let expected = view(log.as_ref(), group(IDLE)).unwrap();
    let reader = {
        let (log, expected) = (Arc::clone(&log), expected.clone());
        let thread = std::thread::Builder::new();
        let read = move || {
            (0..300).for_each(|_| assert_eq!(view(log.as_ref(), group(IDLE)).unwrap(), expected))
        };
        thread.spawn(read).unwrap()
    };
    for index in 0..300 {
        support::perform(log.as_ref(), append_long(group(BUSY), index, 1000)).unwrap();
        support::perform(log.as_ref(), purge(group(BUSY), index)).unwrap();
    }
    reader.join().unwrap();
    log.close();
    thread.join().unwrap().unwrap();
    assert!(segments(&disk) <= 6, "{:?}", disk.list());
}
