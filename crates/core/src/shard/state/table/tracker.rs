//! What changed since the last checkpoint, and what the one under way is still to write.
//!
//! A checkpoint shows the state as of one entry of the log, and writing it takes longer than entries may wait. So the
//! changed runs are set apart at once, which costs nothing, and taken a few at a time between entries; a run that
//! changes before it was taken is copied first, sixteen shared pointers at most (copy on write).
//!
//! What must hold: a row is written as the run was at the freeze, or not at all; a row of a job's own that nobody
//! wants any more is removed by the next checkpoint, however the job went while this one was being written.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::run::{Entry, PLACES, Rows, Run, Slot};
use crate::shard::job::{AttemptRecord, Job};
use crate::shard::state::{Kept, Remembered};

/// Rows of a job's own that are to be removed. Its attempts go with those of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    /// The job's place in the order of arrival.
    pub sequence: u64,
    /// There is one of its payload.
    pub payload: bool,
    /// There is one of its result.
    pub result: bool,
}

impl Orphan {
    /// None when there is no row.
    pub(super) fn new(sequence: u64, payload: bool, result: bool) -> Option<Self> {
        (payload || result).then_some(Self {
            sequence,
            payload,
            result,
        })
    }
}

/// A run as it was at the freeze.
#[derive(Debug, Clone)]
pub struct FrozenRun {
    /// Its number: its first arrival by [`super::RUN`].
    pub number: u64,
    /// What was in it; nothing when its row is to be removed.
    pub entries: Vec<FrozenEntry>,
    /// How many packs of attempts it has, once this is written.
    pub packs: u32,
    /// The number of the pack to be written with the attempts of its jobs; none when there are none to write.
    pub pack: Option<u32>,
    /// So many packs are to be removed: none of its jobs is held any more.
    pub dropped: u32,
}

impl FrozenRun {
    /// The attempts that go into its pack, each with its job's place in the order of arrival.
    pub fn attempts(&self) -> impl Iterator<Item = (u64, &AttemptRecord)> {
        self.jobs().flat_map(|job| {
            let attempts = job.attempts();
            attempts.map(|attempt| (job.sequence(), attempt))
        })
    }

    /// The jobs in it that were held.
    pub fn jobs(&self) -> impl Iterator<Item = &FrozenJob> {
        self.entries.iter().filter_map(|entry| match entry {
            FrozenEntry::Held(job) => Some(job),
            FrozenEntry::Gone(_) => None,
        })
    }
}

/// What a checkpoint writes of one arrival.
#[derive(Debug, Clone)]
pub enum FrozenEntry {
    /// A job.
    Held(FrozenJob),
    /// What is remembered of a job.
    Gone(Arc<Remembered>),
}

impl FrozenEntry {
    /// What the row of the run says of it: everything but what has rows of its own.
    #[must_use]
    pub fn kept(&self) -> Kept {
        match self {
            Self::Held(frozen) => frozen.kept(),
            Self::Gone(entry) => Kept::Gone(Arc::clone(entry)),
        }
    }
}

/// A job as it was at the freeze, and the rows of its own that were written before. What it has in memory beyond those
/// is to be written now.
#[derive(Debug, Clone)]
pub struct FrozenJob {
    job: Arc<Job>,
    written: Rows,
    /// The rows that it has once this is written.
    rows: Rows,
}

impl FrozenJob {
    fn new(slot: &Slot) -> Self {
        let (job, written) = (Arc::clone(&slot.job), slot.rows);
        let body = job.body();
        let newest = body.attempts.last().map(|attempt| attempt.number);
        let rows = Rows {
            payload: written.payload || body.payload.is_some(),
            result: written.result || body.result.is_some(),
            attempts: written.attempts.max(newest.unwrap_or_default()),
        };
        Self { job, written, rows }
    }

    /// The job's place in the order of arrival.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.job.header.sequence
    }

    /// The payload, if its row is to be written.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        let payload = self.job.body().payload.as_ref();
        payload.filter(|_| !self.written.payload)
    }

    /// The result, if its row is to be written.
    #[must_use]
    pub fn result(&self) -> Option<&Bytes> {
        let result = self.job.body().result.as_ref();
        result.filter(|_| !self.written.result)
    }

    /// The attempts that are to be written.
    pub fn attempts(&self) -> impl Iterator<Item = &AttemptRecord> {
        let upto = self.written.attempts;
        let attempts = self.job.body().attempts.iter();
        attempts.filter(move |attempt| attempt.number > upto)
    }

    fn kept(&self) -> Kept {
        let (mut job, rows) = (self.job.as_ref().clone(), self.rows);
        job.evict(rows.payload, rows.result, rows.attempts);
        Kept::Held(Box::new(job), rows)
    }
}

/// A portion of what a checkpoint writes. There may be nothing in it though more follows.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    /// Runs to write.
    pub runs: Vec<FrozenRun>,
    /// Rows to remove.
    pub orphans: Vec<Orphan>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Tracker {
    /// The number of the checkpoint that changes from now on are for.
    next: u64,
    /// Runs that changed for it.
    changed: Vec<u64>,
    orphans: Vec<Orphan>,
    /// Runs of the checkpoint under way that were not taken yet, the last first.
    frozen: Vec<u64>,
    frozen_orphans: Vec<Orphan>,
    /// Runs of those that changed since, as they were.
    before: BTreeMap<u64, Box<Run>>,
}

impl Default for Tracker {
    fn default() -> Self {
        Self {
            next: 1,
            changed: Vec::new(),
            orphans: Vec::new(),
            frozen: Vec::new(),
            frozen_orphans: Vec::new(),
            before: BTreeMap::new(),
        }
    }
}

impl Tracker {
    /// Notes that a run is about to change.
    pub(super) fn touch(&mut self, number: u64, run: &mut Run) {
        if run.changed_for == self.next {
            return;
        }
        if run.changed_for != 0 {
            self.before.insert(number, Box::new(run.clone()));
        }
        run.changed_for = self.next;
        self.changed.push(number);
    }

    /// Notes that rows are no longer wanted.
    pub(super) fn orphaned(&mut self, orphan: Option<Orphan>) {
        self.orphans.extend(orphan);
    }

    /// Whether the checkpoint under way is still to write a run as it was.
    pub(super) fn is_frozen(&self, number: u64) -> bool {
        self.before.contains_key(&number)
    }

    /// Sets the changes apart.
    ///
    /// # Panics
    /// When the last checkpoint was not taken to its end: what was taken counts as written, so a state whose checkpoint
    /// came to nothing must not be used for another.
    pub(super) fn freeze(&mut self) {
        assert!(
            self.is_over(),
            "a checkpoint is taken to its end before the next"
        );
        self.next += 1;
        self.frozen = std::mem::take(&mut self.changed);
        self.frozen.sort_unstable_by(|a, b| b.cmp(a));
        // A run that went and came back between two checkpoints is listed twice.
        self.frozen.dedup();
        self.frozen_orphans = std::mem::take(&mut self.orphans);
    }

    /// Whether everything was taken that was set apart.
    fn is_over(&self) -> bool {
        self.frozen.is_empty() && self.frozen_orphans.is_empty()
    }

    /// The next portion, of at most so many runs, or of a few more rows to remove; none at the end.
    pub(super) fn take(
        &mut self,
        runs: &mut BTreeMap<u64, Box<Run>>,
        most: usize,
    ) -> Option<Frozen> {
        if self.is_over() {
            return None;
        }
        let mut portion = Frozen::default();
        // Runs that went meanwhile count too: looking for one costs as much as finding it.
        let numbers = last_of(&mut self.frozen, most);
        if numbers.is_empty() {
            portion.orphans = last_of(&mut self.frozen_orphans, most.saturating_mul(PLACES));
        }
        for number in numbers.into_iter().rev() {
            portion.runs.extend(self.take_run(runs, number));
        }
        Some(portion)
    }

    fn take_run(&mut self, runs: &mut BTreeMap<u64, Box<Run>>, number: u64) -> Option<FrozenRun> {
        let had_row = runs.get(&number).is_none_or(|run| run.has_row);
        let packs = runs.get(&number).map_or(0, |run| run.packs);
        let frozen = match self.before.remove(&number) {
            Some(before) => self.take_changed(runs.get_mut(&number), number, (&before, packs)),
            // SUBTLE: one that came and went before the freeze, and came again after it, was not there at the freeze:
            // all that is in it is the next checkpoint's.
            None => {
                let as_frozen = |run: &&mut Box<Run>| run.changed_for != self.next;
                take_unchanged(runs.get_mut(&number).filter(as_frozen)?, number)
            }
        };
        let is_over = frozen.entries.is_empty();
        if let Some(run) = runs.get_mut(&number) {
            run.has_row = !is_over;
            run.packs = frozen.packs;
            if is_over && run.is_empty() {
                runs.remove(&number);
            }
        }
        (had_row || !is_over).then_some(frozen)
    }

    /// A run that changed since the freeze. Rows that are written of a job which wants them no more are orphans at once.
    fn take_changed(
        &mut self,
        mut now: Option<&mut Box<Run>>,
        number: u64,
        (before, packs): (&Run, u32),
    ) -> FrozenRun {
        let frozen = freeze_run(before, number, packs);
        for job in frozen.jobs() {
            let (sequence, rows) = (job.sequence(), job.rows);
            let live = now.as_mut().and_then(|run| run.slot_mut(sequence));
            let orphan = match live {
                Some(live) => {
                    live.rows = rows;
                    live.orphan_payload()
                }
                None => Orphan::new(sequence, rows.payload, rows.result),
            };
            self.orphans.extend(orphan);
        }
        frozen
    }

    /// Counts nothing as changed: it was just read.
    pub(super) fn forget_changes(&mut self) {
        *self = Self::default();
    }
}

fn take_unchanged(run: &mut Run, number: u64) -> FrozenRun {
    let frozen = freeze_run(run, number, run.packs);
    run.changed_for = 0;
    for (slot, job) in run.slots_mut().zip(frozen.jobs()) {
        slot.rows = job.rows;
    }
    frozen
}

fn freeze_run(run: &Run, number: u64, packs: u32) -> FrozenRun {
    let entries = run.entries().map(|entry| match entry {
        Entry::Held(slot) => FrozenEntry::Held(FrozenJob::new(slot)),
        Entry::Gone(entry) => FrozenEntry::Gone(Arc::clone(entry)),
    });
    let mut frozen = FrozenRun {
        number,
        entries: entries.collect(),
        packs,
        pack: None,
        dropped: 0,
    };
    if frozen.jobs().next().is_none() {
        frozen.dropped = std::mem::take(&mut frozen.packs);
    } else if frozen.attempts().next().is_some() {
        frozen.pack = Some(packs);
        frozen.packs += 1;
    }
    frozen
}

/// Takes so many of the last ones away, or all of them.
fn last_of<T>(all: &mut Vec<T>, most: usize) -> Vec<T> {
    all.split_off(all.len().saturating_sub(most))
}
