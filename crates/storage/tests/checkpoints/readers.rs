//! Reading while the checkpoint changes, in threads of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use leasehold_storage::{Checkpoint, CheckpointStore, View};

use crate::support::{JOBS, PAYLOADS, each_disk, group, key, small, value};

const ROWS: u64 = 60;

/// All rows are of one version, which is also the head.
fn write(checkpoint: &Checkpoint, version: u64) {
    let mut writing = checkpoint.begin().unwrap();
    for number in 0..ROWS {
        let length = 200 + (number * 131 % 3000) as usize;
        let row = value(number, version, length);
        writing.put(PAYLOADS, &key(number), &row).unwrap();
    }
    // Rows that go again, so that there is something to compact.
    for number in ROWS..20 * ROWS {
        let (key, is_there) = (key(number), version % 4 == 1);
        let done = if is_there {
            writing.put(JOBS, &key, &[1; 400])
        } else {
            writing.remove(JOBS, &key)
        };
        done.unwrap();
    }
    writing.commit(&version.to_be_bytes()).unwrap();
}

fn assert_one_version(view: &View) -> u64 {
    let head: Bytes = view.head().unwrap();
    let version = u64::from_be_bytes(head.as_ref().try_into().unwrap());
    let rows = view.scan(PAYLOADS, ..).unwrap().map(Result::unwrap);
    for (number, (found, row)) in (0..ROWS).zip(rows) {
        assert_eq!(found, key(number));
        assert!(
            row == value(number, version, row.len()),
            "of version {version}"
        );
    }
    version
}

#[test]
fn reader_sees_one_commit_while_others_write_replace_and_compact() {
    each_disk(|disk| {
        let store = CheckpointStore::new(Arc::clone(&disk), small());
        let checkpoint = store.open(group()).unwrap();
        write(&checkpoint, 0);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let _ = scope.spawn(|| {
                    let mut last = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let view = checkpoint.view().unwrap();
                        let version = assert_one_version(&view);
                        assert!(version >= last, "{version} after {last}");
                        last = version;
                        assert_eq!(assert_one_version(&view), version);
                    }
                });
            }
            let mut compactions = 0;
            for version in 1..24 {
                if version % 8 == 0 {
                    let incoming = store.receive(group()).unwrap();
                    write(&incoming, version);
                    checkpoint.replace_by(&incoming).unwrap();
                } else {
                    write(&checkpoint, version);
                }
                let _gathered = checkpoint.gather_if_worth().unwrap();
                compactions += u32::from(checkpoint.compact_if_worth().unwrap());
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(compactions > 0);
        });
        assert_eq!(assert_one_version(&checkpoint.view().unwrap()), 23);
    });
}
