//! A shard that is written down piece by piece while entries go on: what was written is the shard as it was at the
//! freeze, what was let go of is found again, and no row is left behind.

use leasehold_types::JobId;
use proptest::prelude::*;

use super::model_agrees::{Entry, Shard, entry};
use super::store::Rows;
use crate::shard::command::Batch;
use crate::shard::job::Job;
use crate::shard::outcome::Applied;
use crate::shard::state::{self, Remembered, ShardState};

/// A checkpoint under way.
struct Writing {
    rows: Rows,
    written: Vec<u64>,
    /// A shard that never wrote anything, as of the freeze.
    twin: ShardState,
}

/// A replica that is written down now and then, and crashes.
struct Replica {
    state: ShardState,
    /// What is durable.
    rows: Rows,
    writing: Option<Writing>,
    /// Entries after what is durable.
    log: Vec<Batch>,
    /// How many of them the checkpoint under way covers.
    covered: usize,
}

impl Replica {
    fn new(state: &ShardState) -> Self {
        let mut replica = Self {
            state: state.clone(),
            rows: Rows::default(),
            writing: None,
            log: Vec::new(),
            covered: 0,
        };
        // From here on, so that what is durable is enough to start from.
        replica.freeze(state);
        replica.finish();
        replica
    }

    fn apply(&mut self, batch: &Batch, applied: &Applied, twin: &ShardState) {
        assert_eq!(&self.state.apply(batch), applied);
        self.log.push(batch.clone());
        self.compare(twin);
    }

    fn compare(&self, twin: &ShardState) {
        same_jobs(&self.rows, &self.state, twin);
    }

    fn freeze(&mut self, twin: &ShardState) {
        let mut rows = self.rows.clone();
        rows.head = Some(self.state.freeze());
        self.covered = self.log.len();
        self.writing = Some(Writing {
            rows,
            written: Vec::new(),
            twin: twin.clone(),
        });
    }

    /// Takes one run; says whether there was more.
    fn take(&mut self) -> bool {
        let Some(writing) = &mut self.writing else {
            return false;
        };
        let Some(portion) = self.state.take_frozen(1) else {
            return false;
        };
        writing.rows.write(&portion);
        let runs = portion.iter().map(|run| run.number);
        writing.written.extend(runs);
        true
    }

    fn finish(&mut self) {
        while self.take() {}
        let Some(Writing {
            rows,
            written,
            twin,
        }) = self.writing.take()
        else {
            return;
        };
        let loaded = rows.load();
        assert_eq!(loaded.head(), twin.head());
        assert!(loaded.policies().eq(twin.policies()));
        same_jobs(&rows, &loaded, &twin);
        self.rows = rows;
        self.log.drain(..self.covered);
        written.into_iter().for_each(|run| self.state.evict(run));
    }

    /// The process dies: what it had in memory is gone.
    fn crash(&mut self) {
        self.writing = None;
        self.state = self.rows.load();
        let log = self.log.iter();
        log.for_each(|batch| drop(self.state.apply(batch)));
    }
}

fn same_jobs(rows: &Rows, state: &ShardState, twin: &ShardState) {
    let none = Rows::default();
    let ids = |state: &ShardState| -> Vec<JobId> { state.jobs().map(|j| j.header.id).collect() };
    assert_eq!(ids(state), ids(twin));
    for id in ids(twin) {
        assert_eq!(rows.whole(state, id), none.whole(twin, id));
    }
    assert_eq!(state.stats(), twin.stats());
    let memories = |state: &ShardState| -> Vec<Remembered> {
        let gone = state.jobs.entries().filter_map(|entry| match entry {
            state::Entry::Gone(entry) => Some(entry.as_ref().clone()),
            state::Entry::Held(_) => None,
        });
        gone.collect()
    };
    assert_eq!(memories(state), memories(twin));
    assert_eq!(state.jobs.bytes(), twin.jobs.bytes());
    for state in [state, twin] {
        let sum = |bytes: fn(&Job) -> usize| state.jobs().map(bytes).sum::<usize>() as u64;
        assert_eq!(state.jobs.bytes(), sum(Job::bytes));
        assert_eq!(state.unsaved_bytes(), sum(Job::unsaved_bytes));
    }
}

/// What happens to the replica after an entry, by its seed.
fn play(replica: &mut Replica, seed: u64, twin: &ShardState) {
    match seed % 8 {
        0..=2 if replica.writing.is_none() => replica.freeze(twin),
        3 | 4 => drop(replica.take()),
        5 => replica.finish(),
        6 if seed.is_multiple_of(3) => replica.crash(),
        _ => {}
    }
    replica.compare(twin);
}

fn live(entries: &[Entry]) {
    let mut shard = Shard::forgetful();
    let mut replica = Replica::new(&shard.state);
    for entry in entries {
        let (batch, applied) = shard.enter(entry);
        replica.apply(&batch, &applied, &shard.state);
        play(&mut replica, entry.seed, &shard.state);
    }
    replica.finish();
    replica.freeze(&shard.state);
    replica.finish();
    replica.rows.check_rows(&replica.state);
    replica.crash();
    replica.compare(&shard.state);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_piece_by_piece_is_the_shard_as_it_was(
        entries in prop::collection::vec(entry(6), 1..60),
    ) {
        live(&entries);
    }

    #[test]
    fn many_runs_are_written_as_they_were(entries in prop::collection::vec(entry(60), 1..80)) {
        live(&entries);
    }
}
