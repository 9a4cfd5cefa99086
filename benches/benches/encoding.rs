//! A log entry to bytes and back.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use leasehold_benches::Shard;
use leasehold_core::shard::Batch;
use leasehold_records::shard::{decode_batch, encode_batch};

const BATCHES: [usize; 3] = [1, 64, 1024];

fn encoding(criterion: &mut Criterion) {
    for jobs in BATCHES {
        for (kind, batch) in batches(jobs) {
            encode(criterion, kind, jobs, &batch);
            decode(criterion, kind, jobs, &batch);
        }
    }
}

/// Jobs with payloads, and leases without.
fn batches(jobs: usize) -> [(&'static str, Batch); 2] {
    let mut shard = Shard::default();
    let submits = shard.submits(jobs);
    let grants = shard.grants(&submits);
    [("submits", submits), ("grants", grants)]
}

fn encode(criterion: &mut Criterion, kind: &str, jobs: usize, batch: &Batch) {
    let mut group = criterion.benchmark_group(format!("encode/{kind}"));
    group.throughput(Throughput::Elements(jobs as u64));
    group.bench_function(BenchmarkId::from_parameter(jobs), |bench| {
        bench.iter(|| encode_batch(black_box(batch)));
    });
    group.finish();
}

fn decode(criterion: &mut Criterion, kind: &str, jobs: usize, batch: &Batch) {
    let mut group = criterion.benchmark_group(format!("decode/{kind}"));
    group.throughput(Throughput::Elements(jobs as u64));
    let bytes = encode_batch(batch);
    group.bench_function(BenchmarkId::from_parameter(jobs), |bench| {
        let decode = |bytes| decode_batch(bytes).expect("what was encoded can be decoded");
        bench.iter_batched(|| bytes.clone(), decode, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, encoding);
criterion_main!(benches);
