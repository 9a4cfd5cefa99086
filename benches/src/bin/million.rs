//! A shard of a million queued jobs: what a job takes in memory, how long entries wait for a checkpoint of all of them,
//! and how long the shard takes to be read again.
//!
//! Run with `cargo run --release -p leasehold-benches --bin million`.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use leasehold_benches::Shard;
use leasehold_core::shard::ShardState;
use leasehold_core::shard::state::{FrozenEntry, FrozenHead};
use leasehold_records::shard::{Reader, encode_run};

const JOBS: u64 = 1_000_000;
/// Runs taken between two entries, as a node does.
const PORTION: usize = 64;

fn main() {
    let before = resident();
    let mut shard = Shard::with_backlog(JOBS);
    let (head, rows) = write(&mut shard.state);
    let after = resident();
    // The rows are in memory as well here, until they are read again.
    let bytes = rows.iter().map(Bytes::len).sum::<usize>() as u64;
    let grown = after.saturating_sub(before).saturating_sub(bytes);
    println!("memory of a queued job   {} B", grown / JOBS);
    println!("rows of a queued job     {} B", bytes / JOBS);
    let (read, took) = timed(|| read(head, rows));
    println!("read again in            {took:.2?}");
    assert_eq!(read.stats(), shard.state.stats());
}

/// Writes and lets go of everything, and says how long entries would have waited at most.
fn write(state: &mut ShardState) -> (FrozenHead, Vec<Bytes>) {
    let (head, frozen) = timed(|| state.freeze());
    let (mut rows, mut runs) = (Vec::new(), Vec::new());
    let mut longest = frozen;
    let mut encoding = Duration::ZERO;
    loop {
        let (portion, took) = timed(|| state.take_frozen(PORTION));
        longest = longest.max(took);
        let Some(portion) = portion else { break };
        let (encoded, took) = timed(|| {
            let rows = portion.iter().map(|run| {
                let kept = run.entries.iter().map(FrozenEntry::kept);
                encode_run(run.packs, kept)
            });
            rows.collect::<Vec<_>>()
        });
        encoding += took;
        rows.extend(encoded);
        runs.push(portion.iter().map(|run| run.number).collect::<Vec<_>>());
    }
    for portion in runs {
        let ((), took) = timed(|| portion.into_iter().for_each(|run| state.evict(run)));
        longest = longest.max(took);
    }
    println!("freeze                   {frozen:.2?}");
    println!("longest stall of apply   {longest:.2?}");
    println!("encoding of all rows     {encoding:.2?}");
    (head, rows)
}

fn read(head: FrozenHead, rows: Vec<Bytes>) -> ShardState {
    let mut reader = Reader::default();
    let runs = rows
        .into_iter()
        .map(|row| reader.read(row).expect("a row that was just written"));
    ShardState::from_parts(head.head, head.policies, runs).expect("parts that were just written")
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    let started = Instant::now();
    let done = work();
    (done, started.elapsed())
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux says what a process takes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.expect("a number of KiB") * 1024
}
