//! The shard's state machine: what a log entry of many commands costs, step by step of a job's life.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use leasehold_benches::Shard;

/// Commands of one entry.
const BATCHES: [usize; 3] = [1, 64, 1024];

/// Which of a round's entries is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Submit,
    Grant,
    Complete,
}

const STEPS: [(Step, &str); 3] = [
    (Step::Submit, "submit"),
    (Step::Grant, "grant"),
    (Step::Complete, "complete"),
];

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    for (step, name) in STEPS {
        for batch in BATCHES {
            group.throughput(Throughput::Elements(batch as u64));
            let mut shard = Shard::default();
            group.bench_function(BenchmarkId::new(name, batch), |bench| {
                bench.iter_custom(|rounds| {
                    (0..rounds).map(|_| round(&mut shard, batch, step)).sum()
                });
            });
        }
    }
    group.finish();
}

/// One round, and how long the step took.
fn round(shard: &mut Shard, jobs: usize, step: Step) -> Duration {
    let mut took = Duration::ZERO;
    let mut applied = |shard: &mut Shard, batch, this| {
        let start = WallTime.start();
        let applied = black_box(shard.apply(black_box(batch)));
        let span = WallTime.end(start);
        if this == step {
            took = span;
        }
        applied
    };
    let submits = shard.submits(jobs);
    applied(shard, &submits, Step::Submit);
    let grants = shard.grants(&submits);
    let granted = applied(shard, &grants, Step::Grant);
    let completes = shard.completes(&granted);
    applied(shard, &completes, Step::Complete);
    shard.end_round();
    took
}

criterion_group!(benches, apply);
criterion_main!(benches);
