//! The disk fails, stalls or fills up; the process ends early; the writer is a task.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use leasehold_storage::{
    Disk, LogHealth, LogStore, LogWriter, MemoryDisk, OsDisk, SegmentedLog, Slot,
};

mod support;

use support::{
    append, append_long, group, perform, put, small_segments, spawn, submit, texts, view,
};

fn open(disk: &MemoryDisk) -> (SegmentedLog, LogWriter) {
    SegmentedLog::open(Arc::new(disk.clone()), small_segments()).unwrap()
}

#[test]
fn failed_sync_poisons_the_log_for_good() {
    let disk = MemoryDisk::new();
    let (log, writer) = open(&disk);
    let writer = spawn(writer);
    perform(&log, append(group(1), 0, &["before"])).unwrap();
    // All of them: the next segment is being prepared meanwhile.
    disk.fail_next_syncs(u32::MAX);
    let error = perform(&log, append(group(1), 1, &["lost"])).unwrap_err();
    assert!(error.to_string().contains("restart this node"), "{error}");
    // The disk is well again; the log stays failed.
    disk.fail_next_syncs(0);
    assert!(perform(&log, append(group(1), 2, &["after"])).is_err());
    assert!(writer.join().unwrap().is_err());
    let failed = log.health().failed.unwrap();
    // Of the first segment, or of the second, which may have been ready by then.
    let says = [
        "cannot sync log file log-00000000",
        "simulated input/output error",
    ];
    assert!(says.iter().all(|part| failed.contains(part)), "{failed}");
    disk.crash();
    assert_eq!(texts(&open(&disk).0, group(1)), [(0, "before".to_owned())]);
}

#[test]
fn first_start_cut_short_anywhere_can_be_started_again() {
    for seed in 0..200 {
        let disk = MemoryDisk::new();
        disk.crash_in_sync(seed % 8, seed);
        // Fails in one of its syncs, or has fewer.
        let _ = SegmentedLog::open(Arc::new(disk.clone()), small_segments());
        disk.crash_torn(seed);
        let (log, mut writer) = open(&disk);
        let _ = submit(&log, append(group(1), 0, &["x"]));
        while writer.step().unwrap() {}
        disk.crash();
        assert_eq!(open(&disk).0.bounds(group(1)).next, 1, "seed {seed}");
    }
}

#[test]
fn failed_write_poisons_the_log_and_fails_all_that_wait() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    let answers = [0, 1, 2].map(|index| submit(&log, append(group(1), index, &["x"])));
    disk.fail_next_writes(1);
    assert!(writer.step().is_err());
    assert!(answers.iter().all(|answer| answer.recv().unwrap().is_err()));
    assert!(writer.step().is_err(), "nothing is written after a failure");
}

#[test]
fn frame_whose_sync_failed_is_durable_if_it_is_seen_after_a_restart() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    let _ = submit(&log, append(group(1), 0, &["x"]));
    disk.fail_next_syncs(1);
    assert!(writer.step().is_err());
    drop((log, writer));
    // The process restarts, the page cache still has the frame, though the disk will never get it from there.
    let (log, _writer) = open(&disk);
    let seen = texts(&log, group(1));
    assert_eq!(seen.len(), 1);
    disk.crash();
    assert_eq!(texts(&open(&disk).0, group(1)), seen);
}

#[test]
fn segment_begun_under_a_failed_sync_is_durable_if_it_is_seen_after_a_restart() {
    for (entries, spared) in (0..20).flat_map(|entries| [(entries, 0), (entries, 1)]) {
        let disk = MemoryDisk::new();
        let (log, mut writer) = open(&disk);
        let write = |log: &SegmentedLog, writer: &mut LogWriter| {
            let index = log.bounds(group(1)).next;
            let _ = submit(log, append_long(group(1), index, 3000));
            while writer.step()? {}
            io::Result::Ok(())
        };
        (0..entries).for_each(|_| write(&log, &mut writer).unwrap());
        disk.fail_syncs_after(spared, 1);
        let _ = write(&log, &mut writer);
        disk.fail_next_syncs(0);
        drop((log, writer));
        let (log, mut writer) = open(&disk);
        write(&log, &mut writer).unwrap();
        let seen = view(&log, group(1)).unwrap();
        disk.crash();
        let found = view(&open(&disk).0, group(1)).unwrap();
        assert!(found == seen, "{entries} entries, {spared} syncs");
    }
}

#[test]
fn full_disk_ends_the_log_and_loses_nothing_acknowledged() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    disk.set_capacity(Some(100 * 1024));
    let mut acknowledged = 0;
    let error = loop {
        let answer = submit(&log, append_long(group(1), acknowledged, 3000));
        match writer.step() {
            Ok(_) => answer.recv().unwrap().unwrap(),
            Err(error) => break error,
        }
        acknowledged += 1;
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(acknowledged > 15, "{acknowledged}");
    disk.crash();
    disk.set_capacity(None);
    assert_eq!(open(&disk).0.bounds(group(1)).next, acknowledged);
}

/// Appends until the disk refuses; how many bytes were acknowledged until then, and what it said.
fn fill_up(log: &SegmentedLog, writer: &mut LogWriter) -> (u64, io::Error) {
    let mut acknowledged = 0;
    loop {
        let index = log.bounds(group(1)).next;
        let answer = submit(log, append_long(group(1), index, 1000));
        match writer.step() {
            Ok(_) => answer.recv().unwrap().unwrap(),
            Err(error) => return (acknowledged, error),
        }
        acknowledged += 1000;
    }
}

#[test]
fn log_goes_on_in_its_spare_segment_when_others_have_filled_the_disk() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    let _ = submit(&log, append(group(1), 0, &["first"]));
    while writer.step().unwrap() {}
    let spare = log.health().spare_bytes;
    assert_eq!(spare, 16 * 1024, "the next segment is ready from the start");
    let used = disk.list().unwrap().into_iter();
    let used: usize = used.map(|name| disk.read(&name).unwrap().len()).sum();
    disk.set_capacity(Some(used as u64));
    let (acknowledged, error) = fill_up(&log, &mut writer);
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(acknowledged >= 10_000, "{acknowledged} of {spare}");
    let failed = log.health().failed.unwrap();
    assert!(
        failed.contains("log-0000000003.seg") && failed.contains("no space left"),
        "{failed}"
    );
    disk.crash();
    disk.set_capacity(None);
    let entries = acknowledged / 1000 + 1;
    assert_eq!(open(&disk).0.bounds(group(1)).next, entries);
}

#[test]
fn spare_segment_outlives_a_restart_and_needs_no_room_for_that() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    let _ = submit(&log, append(group(1), 0, &["first"]));
    while writer.step().unwrap() {}
    let names = disk.list().unwrap();
    let used = names.iter().map(|name| disk.read(name).unwrap().len());
    disk.set_capacity(Some(used.sum::<usize>() as u64 + 4096));
    drop((log, writer));
    for _ in 0..3 {
        let (log, _writer) = open(&disk);
        assert_eq!(log.health().spare_bytes, 16 * 1024);
        assert_eq!(disk.list().unwrap(), names);
        disk.crash();
    }
    let (log, mut writer) = open(&disk);
    let (acknowledged, _) = fill_up(&log, &mut writer);
    assert!(acknowledged >= 10_000, "{acknowledged}");
    disk.crash();
    let entries = acknowledged / 1000 + 1;
    assert_eq!(open(&disk).0.bounds(group(1)).next, entries);
}

#[test]
fn spare_segment_is_told_of_when_it_is_made_though_nothing_more_is_written() {
    let disk = MemoryDisk::new();
    let (log, writer) = open(&disk);
    let writer = spawn(writer);
    perform(&log, append(group(1), 0, &["only"])).unwrap();
    log.close();
    // It ends after its helper, which has made the segment by then.
    writer.join().unwrap().unwrap();
    assert_eq!(log.health().spare_bytes, 16 * 1024);
}

#[test]
fn spare_segment_is_made_again_once_there_is_room() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    let write = |index, writer: &mut LogWriter| {
        let answer = submit(&log, append_long(group(1), index, 1000));
        while writer.step().unwrap() {}
        answer.recv().unwrap().unwrap();
    };
    // Enough to go on in, too little to hold a segment in reserve as well.
    disk.set_capacity(Some(30 * 1024));
    (0..4).for_each(|index| write(index, &mut writer));
    assert_eq!(log.health().spare_bytes, 0);
    disk.set_capacity(None);
    (4..8).for_each(|index| write(index, &mut writer));
    let spare = log.health().spare_bytes;
    assert!(spare >= 16 * 1024, "{spare}");
}

#[test]
fn next_segment_that_fails_to_be_prepared_at_any_sync_costs_nothing() {
    for spared in 0..4 {
        let disk = MemoryDisk::new();
        let (log, mut writer) = open(&disk);
        // Once a frame is synced and answered, the next syncs are those of the segment that is prepared.
        let failing = disk.clone();
        let done = move |result: io::Result<()>| {
            result.unwrap();
            failing.fail_syncs_after(spared, 1);
        };
        log.submit(append(group(1), 0, &["first"]), Box::new(done));
        writer.step().unwrap();
        let crashed = disk.fork();
        disk.fail_next_syncs(0);
        for index in 1..40 {
            let _ = submit(&log, append_long(group(1), index, 1000));
            assert!(writer.step().unwrap(), "sync {spared}");
        }
        disk.crash();
        assert_eq!(open(&disk).0.bounds(group(1)).next, 40, "sync {spared}");
        assert_eq!(open(&crashed).0.bounds(group(1)).next, 1, "sync {spared}");
    }
}

#[test]
fn what_arrives_during_a_sync_shares_the_next_one() {
    let disk = MemoryDisk::new();
    let (log, writer) = open(&disk);
    let writer = spawn(writer);
    disk.hold_syncs();
    let first = submit(&log, append(group(1), 0, &["first"]));
    disk.await_held_syncs(1);
    let others: Vec<_> = (0..100)
        .map(|index| submit(&log, append(group(2), index, &["x"])))
        .collect();
    let stalled = log.health();
    assert_eq!((stalled.unsynced_batches, stalled.synced_batches), (101, 0));
    assert!(stalled.unsynced_bytes > 100);
    disk.release_syncs();
    first.recv().unwrap().unwrap();
    others
        .iter()
        .for_each(|answer| answer.recv().unwrap().unwrap());
    let health = log.health();
    assert_eq!(
        (health.syncs, health.synced_batches, health.unsynced_batches),
        (2, 101, 0)
    );
    assert_eq!((health.unsynced_bytes, health.failed), (0, None));
    drop(log);
    writer.join().unwrap().unwrap();
}

#[test]
fn closed_log_finishes_what_was_submitted_and_takes_nothing_more() {
    let disk = MemoryDisk::new();
    let (log, writer) = open(&disk);
    let answer = submit(&log, append(group(1), 0, &["last"]));
    log.close();
    let refused = perform(&log, append(group(1), 1, &["late"])).unwrap_err();
    assert!(refused.to_string().contains("closed"), "{refused}");
    spawn(writer).join().unwrap().unwrap();
    answer.recv().unwrap().unwrap();
    assert_eq!(log.health().failed, None, "an orderly end is no failure");
    disk.crash();
    assert_eq!(texts(&open(&disk).0, group(1)), [(0, "last".to_owned())]);
}

#[test]
fn writer_that_is_dropped_fails_those_who_wait() {
    let disk = MemoryDisk::new();
    let (log, writer) = open(&disk);
    let answer = submit(&log, append(group(1), 0, &["x"]));
    drop(writer);
    assert!(answer.recv().unwrap().is_err());
    assert!(log.health().failed.unwrap().contains("writer has stopped"));
}

#[test]
fn done_may_submit_again() {
    let disk = MemoryDisk::new();
    let (log, mut writer) = open(&disk);
    let log = Arc::new(log);
    let again = Arc::clone(&log);
    let done = move |result: io::Result<()>| {
        result.unwrap();
        again.submit(
            append(group(1), 1, &["second"]),
            Box::new(|result| result.unwrap()),
        );
    };
    log.submit(append(group(1), 0, &["first"]), Box::new(done));
    while writer.step().unwrap() {}
    assert_eq!(view(log.as_ref(), group(1)).unwrap().entries.len(), 2);
    assert_eq!(log.health().synced_batches, 2);
}

#[tokio::test(start_paused = true)]
async fn task_answers_after_its_pause_and_batches_what_arrives_meanwhile() {
    let disk = MemoryDisk::new();
    let (log, writer) = open(&disk);
    let task = tokio::spawn(writer.run(|| tokio::time::sleep(Duration::from_millis(5))));
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for index in 0..10 {
        let sender = sender.clone();
        let done = move |result: io::Result<()>| drop(sender.send(result.map(|()| index)));
        log.submit(append(group(1), index, &["x"]), Box::new(done));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for index in 0..10 {
        assert_eq!(receiver.recv().await.unwrap().unwrap(), index);
    }
    assert!(log.health().syncs < 10, "{:?}", log.health());
    log.close();
    task.await.unwrap().unwrap();
    disk.crash();
    assert_eq!(texts(&open(&disk).0, group(1)).len(), 10);
}

#[tokio::test]
async fn task_dropped_before_its_sync_leaves_a_frame_that_may_land_or_not() {
    for seed in 0..50 {
        let disk = MemoryDisk::new();
        let (log, writer) = open(&disk);
        let answer = submit(&log, append_long(group(1), 0, 5000));
        let task = tokio::spawn(writer.run(std::future::pending));
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(
            !matches!(answer.try_recv(), Ok(Ok(()))),
            "answered before its sync"
        );
        disk.crash_torn(seed);
        let next = open(&disk).0.bounds(group(1)).next;
        assert!(next <= 1, "seed {seed}");
    }
}

#[test]
fn same_operations_leave_the_same_bytes() {
    let run = || {
        let disk = MemoryDisk::new();
        let (log, mut writer) = open(&disk);
        for index in 0..40 {
            let _ = submit(&log, append_long(group(2), index, 900));
            let _ = submit(&log, put(group(1), Slot::Vote, "v"));
            writer.step().unwrap();
        }
        let names = disk.list().unwrap();
        let files = names.iter().map(|name| disk.read(name).unwrap());
        (names.clone(), files.collect::<Vec<_>>())
    };
    assert!(run() == run());
}

#[test]
fn log_in_a_folder_of_the_system_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = None;
    for start in [0, 60, 120] {
        let disk = OsDisk::open(folder.path()).unwrap();
        let (log, writer) = SegmentedLog::open(Arc::new(disk), small_segments()).unwrap();
        if let Some(expected) = expected.take() {
            assert_eq!(view(&log, group(1)).unwrap(), expected);
        }
        let writer = spawn(writer);
        for index in start..start + 60 {
            perform(&log, append_long(group(1), index, 700)).unwrap();
        }
        expected = Some(view(&log, group(1)).unwrap());
        drop(log);
        writer.join().unwrap().unwrap();
    }
}

#[test]
fn health_of_a_fresh_log_counts_nothing_but_its_segment() {
    let disk = MemoryDisk::new();
    let (log, _writer) = open(&disk);
    let health = LogHealth {
        disk_bytes: 4096,
        ..LogHealth::default()
    };
    assert_eq!(log.health(), health);
    assert!(disk.list().unwrap().contains(&"log-start".to_owned()));
}
