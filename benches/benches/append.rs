//! The log: entries appended and synced, so many under one sync, as a node writes them.
//!
//! On a real disk this measures the disk more than the code; beside it stands the same over a disk in memory. The
//! folder is the system's temporary one unless `LEASEHOLD_BENCH_DIR` names another.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use leasehold_benches::PAYLOAD_BYTES;
use leasehold_storage::{Disk, LogOptions, LogStore, MemoryDisk, Operation, OsDisk, SegmentedLog};
use leasehold_types::GroupId;

/// Entries under one sync.
const BATCHES: [u64; 3] = [1, 16, 128];
/// Entries kept: those before are purged, so that the disk is not filled.
const KEPT: u64 = 65_536;
const GROUP: GroupId = GroupId::new(1);

/// A log with its writer on a thread of its own.
struct Log {
    log: SegmentedLog,
    writer: JoinHandle<std::io::Result<()>>,
    next: u64,
    content: Bytes,
}

impl Log {
    fn open(disk: Arc<dyn Disk>) -> Self {
        let opened = SegmentedLog::open(disk, LogOptions::default());
        let (log, writer) = opened.expect("a new log opens");
        let thread = Builder::new().name("log-writer".to_owned());
        let writer = thread.spawn(move || writer.run_blocking());
        Self {
            log,
            writer: writer.expect("a thread can be started"),
            next: 0,
            content: Bytes::from(vec![7; PAYLOAD_BYTES]),
        }
    }

    /// Appends so many entries, and returns once they are synced.
    fn append(&mut self, count: u64) {
        let entries = (self.next..self.next + count).map(|index| (index, self.content.clone()));
        let entries = entries.collect();
        self.next += count;
        let group = GROUP;
        self.perform(Operation::Append { group, entries });
        if self.next % KEPT < count && self.next > KEPT {
            let (upto, mark) = (self.next - KEPT, Bytes::new());
            self.perform(Operation::Purge { group, upto, mark });
        }
    }

    fn perform(&self, operation: Operation) {
        let (sender, done) = channel();
        let tell = move |result| drop(sender.send(result));
        self.log.submit(operation, Box::new(tell));
        let done = done.recv().expect("every operation is answered");
        done.expect("the disk takes it");
    }

    fn close(self) {
        self.log.close();
        let ended = self.writer.join().expect("the writer does not panic");
        ended.expect("the log ends well");
    }
}

fn append(criterion: &mut Criterion) {
    let root =
        std::env::var_os("LEASEHOLD_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(root).expect("a folder can be made");
    let real = OsDisk::open(folder.path().join("log")).expect("a folder can be opened");
    on(criterion, "disk", Arc::new(real));
    on(criterion, "memory", Arc::new(MemoryDisk::new()));
}

fn on(criterion: &mut Criterion, name: &str, disk: Arc<dyn Disk>) {
    let mut log = Log::open(disk);
    let mut group = criterion.benchmark_group(format!("append/{name}"));
    for count in BATCHES {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |bench| {
            bench.iter(|| log.append(count));
        });
    }
    group.finish();
    log.close();
}

criterion_group!(benches, append);
criterion_main!(benches);
