//! What checkpoints cost on this machine: figures to read, not rules, hence all ignored.
//!
//! `cargo test --release -p leasehold-storage --test checkpoints_measured -- --ignored --nocapture --test-threads 1`

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![allow(
    clippy::disallowed_methods,
    reason = "it measures time, beside a thread of its own"
)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use leasehold_storage::{
    Checkpoint, CheckpointOptions, CheckpointStore, Disk, DiskFile, DiskSpace, OpenMode, OsDisk,
    Table,
};
use leasehold_types::GroupId;

const JOBS: Table = Table::new("jobs");
const PAYLOADS: Table = Table::new("payloads");
const MIB: f64 = 1024.0 * 1024.0;

/// A disk that takes the time of its syncs and counts what is written.
struct TimedDisk {
    disk: OsDisk,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    syncs: Mutex<Vec<Duration>>,
    written: AtomicU64,
}

struct TimedFile {
    file: Box<dyn DiskFile>,
    seen: Arc<Seen>,
}

impl Disk for TimedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(name, mode)?;
        let seen = Arc::clone(&self.seen);
        Ok(Box::new(TimedFile { file, seen }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }
    fn space(&self) -> io::Result<DiskSpace> {
        self.disk.space()
    }
}

impl DiskFile for TimedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = &self.seen.written;
        let _ = written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_at(offset, bytes)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buf)
    }
    fn sync(&self) -> io::Result<()> {
        let begun = Instant::now();
        let done = self.file.sync();
        self.seen.syncs.lock().unwrap().push(begun.elapsed());
        done
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
}

/// A checkpoint in a folder of its own.
struct Bench {
    checkpoint: Checkpoint,
    seen: Arc<Seen>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(options: CheckpointOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoint, seen) = Self::open(&folder, options);
        Self {
            checkpoint,
            seen,
            folder,
        }
    }

    fn open(folder: &tempfile::TempDir, options: CheckpointOptions) -> (Checkpoint, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        let disk = TimedDisk {
            disk: OsDisk::open(folder.path()).unwrap(),
            seen: Arc::clone(&seen),
        };
        let store = CheckpointStore::new(Arc::new(disk), options);
        (store.open(GroupId::new(1)).unwrap(), seen)
    }

    fn metadata(&self) -> std::fs::Metadata {
        let path = self.folder.path().join("checkpoint-g1");
        path.metadata().unwrap()
    }

    fn length(&self) -> u64 {
        self.metadata().len()
    }

    fn disk_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        self.metadata().blocks() * 512
    }
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        mixed ^= mixed << 13;
        mixed ^= mixed >> 7;
        mixed ^= mixed << 17;
        bytes.extend_from_slice(&mixed.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Processor time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<f64>().unwrap() / 1024.0
}

/// What a run of commits cost.
struct Report {
    begun: Instant,
    cpu: Duration,
    commits: Vec<Duration>,
    rows: u64,
}

impl Report {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            cpu: cpu(),
            commits: Vec::new(),
            rows: 0,
        }
    }

    fn print(self, what: &str, bench: &Bench) {
        let took = self.begun.elapsed().as_secs_f64();
        let cpu = (cpu() - self.cpu).as_secs_f64();
        let mut syncs = std::mem::take(&mut *bench.seen.syncs.lock().unwrap());
        syncs.sort();
        let written = bench.seen.written.swap(0, Ordering::Relaxed) as f64 / MIB;
        let longest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
        println!(
            "{what}: {} rows in {took:.1} s, {:.0} rows/s, cpu {:.0} %, longest commit {:.0?}, {} syncs, p50 {:.1?}, longest {:.1?}, written {written:.0} MiB, file {:.0} MiB, on disk {:.0} MiB, memory {:.0} MiB (peak {:.0})",
            self.rows,
            self.rows as f64 / took,
            100.0 * cpu / took,
            longest(&self.commits),
            syncs.len(),
            syncs.get(syncs.len() / 2).copied().unwrap_or_default(),
            longest(&syncs),
            bench.length() as f64 / MIB,
            bench.disk_bytes() as f64 / MIB,
            memory("VmRSS"),
            memory("VmHWM"),
        );
    }
}

/// Both rows of a range of jobs, in commits of 64k rows.
fn load(bench: &Bench, jobs: u64, report: &mut Report) {
    let payload = noise(1, 1024 + 64 * 1024);
    for first in (0..jobs).step_by(32 * 1024) {
        let mut writing = bench.checkpoint.begin().unwrap();
        for (table, length) in [(JOBS, 200), (PAYLOADS, 1024)] {
            for job in first..jobs.min(first + 32 * 1024) {
                let at = (job * 13 % (64 * 1024)) as usize;
                let value = &payload[at..at + length];
                writing.put(table, &job.to_be_bytes(), value).unwrap();
                report.rows += 1;
            }
        }
        let begun = Instant::now();
        writing.commit(b"head").unwrap();
        report.commits.push(begun.elapsed());
    }
}

#[test]
#[ignore = "it measures, for a minute"]
fn million_jobs_are_loaded_changed_read_and_removed() {
    const LIVE: u64 = 1_000_000;
    let bench = Bench::new(CheckpointOptions::default());
    let mut report = Report::begin();
    load(&bench, LIVE, &mut report);
    report.print("load", &bench);

    let mut report = Report::begin();
    for round in 0..8_u64 {
        let mut writing = bench.checkpoint.begin().unwrap();
        for at in 0..32 * 1024_u64 {
            let job = (round * 32 * 1024 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) % LIVE;
            writing.put(JOBS, &job.to_be_bytes(), &[8; 200]).unwrap();
            report.rows += 1;
        }
        let begun = Instant::now();
        writing.commit(b"head").unwrap();
        report.commits.push(begun.elapsed());
    }
    report.print("change at random", &bench);

    let mut report = Report::begin();
    let view = bench.checkpoint.view().unwrap();
    for at in 0..200_000_u64 {
        let job = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) % LIVE;
        assert!(view.get(PAYLOADS, &job.to_be_bytes()).unwrap().is_some());
        report.rows += 1;
    }
    report.print("get at random", &bench);

    let mut report = Report::begin();
    for table in [JOBS, PAYLOADS] {
        report.rows += view.scan(table, ..).unwrap().map(Result::unwrap).count() as u64;
    }
    report.print("scan", &bench);
    drop(view);

    let begun = Instant::now();
    let Bench {
        checkpoint, folder, ..
    } = bench;
    drop(checkpoint);
    let closed = begun.elapsed();
    let (checkpoint, seen) = Bench::open(&folder, CheckpointOptions::default());
    println!(
        "close {closed:.1?}, reopen {:.1?}",
        begun.elapsed() - closed
    );
    let bench = Bench {
        checkpoint,
        seen,
        folder,
    };

    let mut report = Report::begin();
    for first in (0..LIVE).step_by(32 * 1024) {
        let mut writing = bench.checkpoint.begin().unwrap();
        for job in first..LIVE.min(first + 32 * 1024) {
            if job % 1000 != 0 {
                writing.remove(JOBS, &job.to_be_bytes()).unwrap();
                writing.remove(PAYLOADS, &job.to_be_bytes()).unwrap();
                report.rows += 2;
            }
        }
        let begun = Instant::now();
        writing.commit(b"head").unwrap();
        report.commits.push(begun.elapsed());
    }
    report.print("remove", &bench);

    let mut report = Report::begin();
    assert!(bench.checkpoint.compact_if_worth().unwrap());
    report.rows = 2 * LIVE / 1000;
    report.print("compact", &bench);
}

/// How the payloads of jobs lie in rows.
struct Payloads {
    /// So many jobs
    every: u64,
    /// have rows of these lengths, under their first keys.
    lengths: &'static [usize],
}

impl Payloads {
    /// The keys and lengths of the rows of so many jobs from one on.
    fn rows(&self, first: u64, jobs: u64) -> impl Iterator<Item = (u64, usize)> {
        let steps = (first..first + jobs).step_by(usize::try_from(self.every).unwrap());
        steps.flat_map(|step| (step..).zip(self.lengths.iter().copied()))
    }
}

/// A backlog comes and goes: payloads of 1 KiB in a row each, and in bundles of fifteen and of one.
#[test]
#[ignore = "it measures, for a minute"]
fn payloads_one_by_one_and_in_bundles() {
    const JOBS: u64 = 512 * 1024;
    const COMMIT: u64 = 32 * 1024;
    let value = noise(5, 16 * 1024);
    let each = (
        "one by one",
        Payloads {
            every: 1,
            lengths: &[1024],
        },
    );
    let lengths = &[15 * 1034, 1034];
    let bundled = ("in bundles", Payloads { every: 16, lengths });
    for (what, payloads) in [each, bundled] {
        let bench = Bench::new(CheckpointOptions::default());
        for is_put in [true, false] {
            let mut report = Report::begin();
            for first in (0..JOBS).step_by(usize::try_from(COMMIT).unwrap()) {
                let mut writing = bench.checkpoint.begin().unwrap();
                for (key, length) in payloads.rows(first, COMMIT) {
                    let key = key.to_be_bytes();
                    match is_put {
                        true => writing.put(PAYLOADS, &key, &value[..length]).unwrap(),
                        false => writing.remove(PAYLOADS, &key).unwrap(),
                    }
                }
                let begun = Instant::now();
                writing.commit(b"head").unwrap();
                report.commits.push(begun.elapsed());
            }
            report.rows = JOBS;
            let deed = if is_put { "put" } else { "removed" };
            report.print(&format!("payloads {deed} {what}, by jobs"), &bench);
        }
    }
}

#[test]
#[ignore = "it measures, and writes a GiB"]
fn commit_of_one_row_into_files_of_many_lengths() {
    let bench = Bench::new(CheckpointOptions::default());
    let value = noise(3, 1024 * 1024);
    let mut next = 0_u64;
    for mib in [1, 64, 256, 1024] {
        let mut writing = bench.checkpoint.begin().unwrap();
        while next < mib {
            let key = next.to_be_bytes();
            writing.put(PAYLOADS, &key, &value).unwrap();
            next += 1;
        }
        writing.commit(b"head").unwrap();
        for _ in 0..3 {
            bench.seen.written.store(0, Ordering::Relaxed);
            let mut writing = bench.checkpoint.begin().unwrap();
            writing.put(JOBS, b"one", &[1; 200]).unwrap();
            writing.commit(b"head").unwrap();
            let written = bench.seen.written.load(Ordering::Relaxed) / 1024;
            let file = bench.length() as f64 / MIB;
            println!("{mib} MiB of rows, file {file:.0} MiB: one row writes {written} KiB");
        }
    }
}

#[test]
#[ignore = "it measures, for three minutes"]
fn log_syncs_beside_a_commit_of_64_mib() {
    for round in 0..4 {
        for mib in [u64::MAX, 16, 8, 4] {
            let sync_every = mib.saturating_mul(1024 * 1024);
            println!(
                "round {round}, sync every {mib} MiB: {}",
                beside(sync_every)
            );
        }
    }
}

/// What syncs of a log and random reads take beside writings of 64 MiB.
fn beside(sync_every: u64) -> String {
    let bench = Bench::new(CheckpointOptions {
        sync_every,
        ..CheckpointOptions::default()
    });
    load(&bench, 200_000, &mut Report::begin());
    let _ = std::mem::take(&mut *bench.seen.syncs.lock().unwrap());
    let mut writings = Vec::new();
    let (log, gets) = log_syncs(&bench, || {
        for _ in 0..5 {
            let begun = Instant::now();
            change_64_mib(&bench);
            writings.push(begun.elapsed());
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let longest = bench.seen.syncs.lock().unwrap().iter().max().copied();
    format!(
        "log {log}; gets {gets}; writing {:.0?}, its longest sync {:.1?}",
        writings.iter().sum::<Duration>() / 5,
        longest.unwrap()
    )
}

fn change_64_mib(bench: &Bench) {
    let mut writing = bench.checkpoint.begin().unwrap();
    for job in 0..54_000_u64 {
        let (jobs, payload) = (noise(job, 200), noise(job, 1024));
        let key = (job * 3).to_be_bytes();
        writing.put(JOBS, &key, &jobs).unwrap();
        writing.put(PAYLOADS, &key, &payload).unwrap();
    }
    writing.commit(b"head").unwrap();
}

/// Times of 4 KiB syncs each 5 ms into a file that has its room already, and of a read at random each millisecond,
/// while a deed is done.
fn log_syncs(bench: &Bench, deed: impl FnOnce()) -> (String, String) {
    let path = bench.folder.path().join("log");
    std::fs::write(&path, vec![0; 8 * 1024 * 1024]).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    let is_over = AtomicBool::new(false);
    let checkpoint = &bench.checkpoint;
    std::thread::scope(|scope| {
        let log = scope.spawn(|| {
            repeat(&is_over, Duration::from_millis(5), |at| {
                use std::os::unix::fs::FileExt as _;
                file.write_all_at(&[1; 4096], at % 2048 * 4096).unwrap();
                file.sync_data().unwrap();
            })
        });
        let gets = scope.spawn(|| {
            repeat(&is_over, Duration::from_millis(1), |at| {
                let job = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 200_000;
                let view = checkpoint.view().unwrap();
                assert!(view.get(PAYLOADS, &job.to_be_bytes()).unwrap().is_some());
            })
        });
        deed();
        is_over.store(true, Ordering::Relaxed);
        (log.join().unwrap(), gets.join().unwrap())
    })
}

/// Does something again and again, and says how long it took.
fn repeat(is_over: &AtomicBool, pause: Duration, mut deed: impl FnMut(u64)) -> String {
    let mut times = Vec::new();
    for at in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        deed(at);
        times.push(begun.elapsed());
        std::thread::sleep(pause);
    }
    times.sort();
    let part = |part: usize| times[(times.len() * part / 1000).min(times.len() - 1)];
    format!(
        "p50 {:.1?} p99 {:.1?} max {:.1?}",
        part(500),
        part(990),
        part(1000)
    )
}
