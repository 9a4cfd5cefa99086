//! A shard that is written down piece by piece while entries go on: what was written is the shard as it was at the
//! freeze, what was let go of is found again, and no row is left behind.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use leasehold_types::{Incarnation, JobId};
use proptest::prelude::*;

use super::fixture::{Fixture, SECOND, grant, job, submit};
use super::model_agrees::{Entry, Shard, entry};
use crate::policy::QueuePolicy;
use crate::shard::command::{
    Batch, Command, ExpireReason, Fail, FailureClass, Purge, Redrive, Submit,
};
use crate::shard::job::{AttemptRecord, Job, Length};
use crate::shard::outcome::{Applied, Next, Outcome};
use crate::shard::state::{
    self, Frozen, FrozenEntry, FrozenHead, FrozenJob, FrozenRun, Kept, KeptRun, Orphan, RUN,
    Remembered, ShardState,
};
use crate::shard::view::{JobView, StoredParts};

/// What a checkpoint store holds.
#[derive(Debug, Clone, Default)]
struct Rows {
    head: Option<FrozenHead>,
    runs: BTreeMap<u64, KeptRun>,
    payloads: BTreeMap<u64, Bytes>,
    results: BTreeMap<u64, Bytes>,
    packs: BTreeMap<(u64, u32), Vec<(u64, AttemptRecord)>>,
}

impl Rows {
    fn write(&mut self, portion: &Frozen) {
        for orphan in &portion.orphans {
            self.remove(*orphan);
        }
        for run in &portion.runs {
            for pack in 0..run.dropped {
                let dropped = self.packs.remove(&(run.number, pack));
                assert!(dropped.is_some(), "no pack {pack} of {run:?}");
            }
            if run.entries.is_empty() {
                assert!(self.runs.remove(&run.number).is_some(), "no row of {run:?}");
                continue;
            }
            self.write_run(run);
        }
    }

    /// Writes a shard down that lets go of it.
    fn write_all(&mut self, state: &mut ShardState) {
        self.head = Some(state.freeze());
        let all = everything(state);
        self.write(&all);
        all.runs.iter().for_each(|run| state.evict(run.number));
    }

    fn write_run(&mut self, run: &FrozenRun) {
        run.jobs().for_each(|job| self.write_parts(job));
        if let Some(pack) = run.pack {
            let attempts = run.attempts().map(|(job, attempt)| (job, attempt.clone()));
            let before = self.packs.insert((run.number, pack), attempts.collect());
            assert!(before.is_none(), "pack {pack} of {run:?} is written twice");
        }
        let kept = KeptRun {
            packs: run.packs,
            kept: run.entries.iter().map(FrozenEntry::kept).collect(),
        };
        self.runs.insert(run.number, kept);
    }

    fn write_parts(&mut self, frozen: &FrozenJob) {
        let sequence = frozen.sequence();
        let payload = frozen.payload().map(|payload| (sequence, payload.clone()));
        self.payloads.extend(payload);
        let result = frozen.result().map(|result| (sequence, result.clone()));
        self.results.extend(result);
    }

    fn remove(&mut self, orphan: Orphan) {
        if orphan.payload {
            self.payloads.remove(&orphan.sequence);
        }
        if orphan.result {
            self.results.remove(&orphan.sequence);
        }
    }

    fn parts(&self, sequence: u64) -> StoredParts {
        let run = sequence / RUN;
        let packs = self.packs.range((run, 0)..(run + 1, 0));
        let packed = packs.flat_map(|(_, pack)| pack);
        let own = packed.filter(|(job, _)| *job == sequence);
        StoredParts {
            payload: self.payloads.get(&sequence).cloned(),
            result: self.results.get(&sequence).cloned(),
            attempts: own.map(|(_, attempt)| attempt.clone()).collect(),
        }
    }

    fn load(&self) -> ShardState {
        let Some(head) = &self.head else {
            return ShardState::new(Incarnation::default());
        };
        let runs = self.runs.values().cloned();
        ShardState::from_parts(head.head, head.policies.clone(), runs).unwrap()
    }

    /// The job with everything, in memory or not.
    fn whole(&self, state: &ShardState, id: JobId) -> Option<JobView> {
        let mut view = state.job(id)?;
        if let Some(elsewhere) = state.elsewhere(id) {
            let all = self.parts(elsewhere.sequence);
            let stored = elsewhere.stored;
            view.add(StoredParts {
                payload: all.payload.filter(|_| stored.payload.is_some()),
                result: all.result.filter(|_| stored.result.is_some()),
                attempts: all.attempts,
            });
        }
        Some(view)
    }

    /// Rows belong to jobs that are there, and runs have one row each.
    fn check_rows(&self, state: &ShardState) {
        let sequences = state.jobs().map(|job| job.header.sequence);
        let held: BTreeSet<u64> = sequences.collect();
        assert!(self.payloads.keys().all(|row| held.contains(row)));
        assert!(self.results.keys().all(|row| held.contains(row)));
        let held_runs: BTreeSet<u64> = held.iter().map(|job| job / RUN).collect();
        assert!(self.packs.keys().all(|(run, _)| held_runs.contains(run)));
        let wanted = state.jobs().filter(|job| job.stored().payload.is_some());
        assert_eq!(self.payloads.len(), wanted.count());
    }
}

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
        let runs = portion.runs.iter().map(|run| run.number);
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

/// All that is left to take.
fn everything(state: &mut ShardState) -> Frozen {
    let mut all = Frozen::default();
    while let Some(portion) = state.take_frozen(2) {
        all.runs.extend(portion.runs);
        all.orphans.extend(portion.orphans);
    }
    all
}

/// Writes the shard down, and lets go of what was written.
fn write_down(state: &mut ShardState) -> Frozen {
    state.freeze();
    let all = everything(state);
    all.runs.iter().for_each(|run| state.evict(run.number));
    all
}

fn finish(shard: &mut Fixture, number: u8) {
    let (job, fence) = shard.leased_job(number);
    shard.complete(job, fence, number);
}

/// Purges what has ended, and forgets it.
fn purge_all(shard: &mut Fixture) {
    shard.pass(48 * 3_600 * SECOND);
    let purge = || Command::Purge(Purge { limit: 1_000 });
    shard.one(purge());
    shard.pass(48 * 3_600 * SECOND);
    shard.one(purge());
}

fn short_lived() -> Fixture {
    Fixture::with_policy(QueuePolicy {
        retain_done: SECOND,
        ..QueuePolicy::default()
    })
}

#[test]
fn job_that_comes_and_goes_between_two_checkpoints_is_never_written() {
    let mut shard = short_lived();
    for number in 1..=40 {
        shard.submit(submit(number));
        finish(&mut shard, number);
    }
    purge_all(&mut shard);
    shard.state.freeze();
    assert!(everything(&mut shard.state).runs.is_empty());
}

#[test]
fn run_that_went_before_the_freeze_and_came_again_is_the_next_checkpoint_s() {
    let mut shard = short_lived();
    finish(&mut shard, 1);
    purge_all(&mut shard);
    shard.state.freeze();
    shard.submit(submit(2));
    assert!(everything(&mut shard.state).runs.is_empty());
    let frozen = shard.state.freeze();
    let portion = everything(&mut shard.state);
    let kept = portion.runs[0].entries.iter().map(FrozenEntry::kept);
    let sequences: Vec<u64> = kept.map(|kept| kept.sequence()).collect();
    assert_eq!((frozen.head.arrivals, sequences), (2, vec![1]));
}

#[test]
fn memory_holds_no_payload_once_it_is_written() {
    let mut shard = Fixture::new();
    for number in 0..40 {
        shard.submit(submit(number));
    }
    assert_eq!(shard.state.unsaved_bytes(), 40);
    let written = write_down(&mut shard.state);
    assert_eq!(written.runs.len() as u64, 40_u64.div_ceil(RUN));
    assert_eq!(shard.state.unsaved_bytes(), 0);
    let elsewhere = shard.state.elsewhere(job(7)).unwrap();
    assert_eq!(
        (elsewhere.sequence, elsewhere.stored.payload),
        (7, Some(Length::new(1)))
    );
}

#[test]
fn empty_payload_has_no_row_and_is_not_read_back() {
    let mut shard = Fixture::new();
    shard.submit(Submit {
        payload: Bytes::new(),
        ..submit(1)
    });
    let mut rows = Rows::default();
    rows.write_all(&mut shard.state);
    assert!(rows.payloads.is_empty());
    assert_eq!(shard.state.elsewhere(job(1)), None);
    assert!(shard.state.job(job(1)).unwrap().payload.is_empty());
}

/// A job that failed under a message so long, and is ready again.
fn fail_at_length(shard: &mut Fixture, number: u8) {
    let fence = shard.lease(number);
    shard.one(Command::Fail(Box::new(Fail {
        job: job(number),
        fence,
        class: FailureClass::Transient,
        message: "x".repeat(1_000),
        detail: Bytes::from(vec![0; 1_000]),
        retry_after: None,
    })));
    shard.pass(3_600 * SECOND);
    shard.apply(Vec::new());
}

#[test]
fn memory_holds_no_attempt_of_any_job_once_it_is_written() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let mut rows = Rows::default();
    for attempts in 1..=3 {
        fail_at_length(&mut shard, 1);
        assert!(shard.state.unsaved_bytes() > 2_000);
        rows.write_all(&mut shard.state);
        assert_eq!(shard.state.unsaved_bytes(), 0);
        assert!(shard.state.job(job(1)).unwrap().history.is_empty());
        let whole = rows.whole(&shard.state, job(1)).unwrap();
        assert_eq!(whole.history.len(), attempts);
    }
    let row = &rows.runs[&0].kept[0];
    let Kept::Held(held, _) = row else {
        panic!("not held: {row:?}");
    };
    assert!(held.body().attempts.is_empty());
}

#[test]
fn rules_go_by_the_newest_attempts_wherever_those_are() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    fail_at_length(&mut shard, 1);
    write_down(&mut shard.state);
    let header = shard.state.header(job(1)).unwrap();
    assert_eq!(header.recent.as_ref().unwrap().worker, grant(1).worker);
    shard.pass(QueuePolicy::default().job_deadline);
    let ended = shard.expire(job(1), None, ExpireReason::Deadline);
    let dead = Next::Dead(FailureClass::Transient);
    assert_eq!(ended, Outcome::AttemptEnded(dead));
    shard.one(Command::Redrive(Redrive { job: job(1) }));
    let header = shard.state.header(job(1)).unwrap();
    assert_eq!(header.recent, None);
}

#[test]
fn portion_looks_at_no_more_runs_than_it_was_asked_to() {
    let mut shard = short_lived();
    for number in 0..80 {
        shard.submit(submit(number));
        finish(&mut shard, number);
    }
    purge_all(&mut shard);
    shard.state.freeze();
    // Five runs came and went: nothing is in these portions, and they are not the end.
    for _ in 0..5 {
        assert!(shard.state.take_frozen(1).unwrap().runs.is_empty());
    }
    assert!(shard.state.take_frozen(1).is_none());
}

#[test]
fn rows_of_purged_jobs_are_removed() {
    let mut shard = short_lived();
    let mut rows = Rows::default();
    let mut write = |shard: &mut Fixture| {
        rows.write_all(&mut shard.state);
        rows.clone()
    };
    for number in 0..40 {
        shard.submit(submit(number));
    }
    assert_eq!(write(&mut shard).payloads.len(), 40);
    for number in 0..40 {
        finish(&mut shard, number);
    }
    let done = write(&mut shard);
    assert_eq!(
        (done.payloads.len(), done.results.len(), done.packs.len()),
        (0, 40, 3)
    );
    purge_all(&mut shard);
    let empty = write(&mut shard);
    assert!(empty.runs.is_empty() && empty.results.is_empty() && empty.packs.is_empty());
}
