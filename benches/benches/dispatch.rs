//! The leader's choice of jobs for idle workers, over a backlog; and what it does once the grants are committed.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use leasehold_benches::{Shard, queue, region, session, worker};
use leasehold_core::requirement::Supply;
use leasehold_core::shard::dispatcher::{Assignment, Gate, Offer, Poll};
use leasehold_core::shard::{Applied, Batch, Dispatcher};
use leasehold_types::{NodeId, SessionId, limits};

/// Worker sessions, each with one free slot.
const SESSIONS: [u64; 3] = [64, 1_000, 10_000];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Poll,
    Settle,
}

/// A leader with its workers.
struct Leader {
    shard: Shard,
    dispatcher: Dispatcher,
    offers: u64,
}

impl Leader {
    fn new(sessions: u64) -> Self {
        let shard = Shard::default();
        let dispatcher = Dispatcher::new(&shard.state, shard.now());
        let mut leader = Self {
            shard,
            dispatcher,
            offers: 0,
        };
        (0..sessions).for_each(|number| leader.offer(session(number), 1));
        leader
    }

    /// The session has so many slots free, and has seen every grant there was.
    fn offer(&mut self, session: SessionId, free: u32) {
        self.offers += 1;
        let offer = Offer {
            session,
            worker: worker(),
            region: region(),
            gateway: NodeId::new(1),
            queues: vec![queue()],
            supply: Supply::default(),
            free,
            message: self.offers,
            number: self.offers,
            granted_seen: self.dispatcher.granted(session),
        };
        assert!(
            self.dispatcher.offer(offer, self.shard.now()),
            "an offer is taken"
        );
    }

    /// One round: every grant that a poll proposes is committed, delivered, completed and replaced by a new job, so
    /// that the next round finds the same. Returns how long the step took.
    fn round(&mut self, step: Step) -> Duration {
        let start = WallTime.start();
        let polled = self.poll();
        let polling = WallTime.end(start);
        let grants = self.shard.batch(polled.commands);
        let granted = self.shard.apply(&grants);
        let start = WallTime.start();
        let sent = black_box(self.settle(&grants, &granted));
        let settling = WallTime.end(start);
        let completes = self.shard.completes(&granted);
        self.commit(&completes);
        let submits = self.shard.submits(sent.len());
        self.commit(&submits);
        self.shard.end_round();
        sent.iter().for_each(|sent| self.offer(sent.session, 1));
        match step {
            Step::Poll => polling,
            Step::Settle => settling,
        }
    }

    fn poll(&mut self) -> Poll {
        let (state, now) = (&self.shard.state, self.shard.now());
        black_box(self.dispatcher.poll(state, Gate::OPEN, &|_| false, now))
    }

    fn settle(&mut self, batch: &Batch, applied: &Applied) -> Vec<Assignment> {
        let (state, now) = (&self.shard.state, self.shard.now());
        self.dispatcher.settle(state, batch, Ok(applied), now)
    }

    fn commit(&mut self, batch: &Batch) {
        let applied = self.shard.apply(batch);
        self.settle(batch, &applied);
    }
}

fn dispatch(criterion: &mut Criterion) {
    for (step, name) in [(Step::Poll, "poll"), (Step::Settle, "settle")] {
        let mut group = criterion.benchmark_group(format!("dispatch/{name}"));
        for sessions in SESSIONS {
            let grants = sessions.min(limits::ENTRY_COMMANDS as u64);
            group.throughput(Throughput::Elements(grants));
            let mut leader = Leader::new(sessions);
            group.bench_function(BenchmarkId::from_parameter(sessions), |bench| {
                bench.iter_custom(|rounds| (0..rounds).map(|_| leader.round(step)).sum());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
