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

use super::run::{Entry, Rows, Run, Slot};
use crate::shard::job::{AttemptRecord, Job};
use crate::shard::state::{Kept, Remembered};

/// Rows of a job's own that are to be removed. Its attempts go with those of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    /// The job's place in the order of arrival.
    pub sequence: u64,
    /// Which rows there are.
    pub rows: Rows,
}

impl Orphan {
    pub(super) fn new(sequence: u64, rows: Rows) -> Option<Self> {
        (rows.payload || rows.result).then_some(Self { sequence, rows })
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
    Gone(Remembered),
}

impl FrozenEntry {
    /// What the row of the run says of it: everything but what has rows of its own.
    #[must_use]
    pub fn kept(&self) -> Kept {
        match self {
            Self::Held(frozen) => frozen.kept(),
            Self::Gone(entry) => Kept::Gone(entry.clone()),
        }
    }
}

/// A job as it was at the freeze, and the rows of its own that were written before. What it has in memory beyond those
/// is to be written now.
#[derive(Debug, Clone)]
pub struct FrozenJob {
    job: Arc<Job>,
    written: Rows,
}

impl FrozenJob {
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

    /// The attempts that are to be written: those of a job that has ended, and those from before its last redrive.
    /// Those of a job that has not stand with its header.
    pub fn attempts(&self) -> impl Iterator<Item = &AttemptRecord> {
        let body = self.job.body();
        let ended = self.job.header.state.is_terminal();
        let of_ended = ended.then_some(&body.history).into_iter().flatten();
        let upto = self.written.attempts;
        let all = body.earlier.iter().chain(of_ended);
        all.filter(move |attempt| attempt.number > upto)
    }

    /// The rows that the job has once this is written.
    fn rows(&self) -> Rows {
        let newest = self.attempts().map(|attempt| attempt.number).max();
        Rows {
            payload: self.written.payload || self.payload().is_some(),
            result: self.written.result || self.result().is_some(),
            attempts: newest.unwrap_or(self.written.attempts),
        }
    }

    fn kept(&self) -> Kept {
        let (mut job, rows) = (self.job.as_ref().clone(), self.rows());
        job.evict(rows.payload, rows.result, rows.attempts);
        Kept::Held(Box::new(job), rows)
    }
}

/// A portion of what a checkpoint writes.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    /// Runs to write.
    pub runs: Vec<FrozenRun>,
    /// Rows to remove.
    pub orphans: Vec<Orphan>,
}

impl Frozen {
    /// Whether there was nothing left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.orphans.is_empty()
    }
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
        let is_over = self.frozen.is_empty() && self.frozen_orphans.is_empty();
        assert!(is_over, "a checkpoint is taken to its end before the next");
        self.next += 1;
        self.frozen = std::mem::take(&mut self.changed);
        self.frozen.sort_unstable_by(|a, b| b.cmp(a));
        // A run that went and came back between two checkpoints is listed twice.
        self.frozen.dedup();
        self.frozen_orphans = std::mem::take(&mut self.orphans);
    }

    /// The next portion, of at most so many runs, or of a few more rows to remove.
    pub(super) fn take(&mut self, runs: &mut BTreeMap<u64, Box<Run>>, most: usize) -> Frozen {
        let mut portion = Frozen::default();
        while portion.runs.len() < most
            && let Some(number) = self.frozen.pop()
        {
            portion.runs.extend(self.take_run(runs, number));
        }
        if portion.runs.is_empty() {
            let from = self
                .frozen_orphans
                .len()
                .saturating_sub(most.saturating_mul(16));
            portion.orphans = self.frozen_orphans.split_off(from);
        }
        portion
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
        for slot in before.slots() {
            let sequence = slot.job.header.sequence;
            let rows = after(slot);
            let live = now.as_mut().and_then(|run| run.slot_mut(sequence));
            match live {
                Some(live) => {
                    live.rows = rows;
                    self.orphans.extend(live.orphan_payload());
                }
                None => self.orphans.extend(Orphan::new(sequence, rows)),
            }
        }
        freeze_run(before, number, packs)
    }

    /// Counts nothing as changed: it was just read.
    pub(super) fn forget_changes(&mut self) {
        *self = Self::default();
    }
}

fn take_unchanged(run: &mut Run, number: u64) -> FrozenRun {
    let frozen = freeze_run(run, number, run.packs);
    run.changed_for = 0;
    for slot in run.slots_mut() {
        slot.rows = after(slot);
    }
    frozen
}

fn freeze_run(run: &Run, number: u64, packs: u32) -> FrozenRun {
    let entries = run.entries().map(|entry| match entry {
        Entry::Held(slot) => FrozenEntry::Held(frozen(slot)),
        Entry::Gone(entry) => FrozenEntry::Gone(entry.as_ref().clone()),
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

/// The rows that a job has once the checkpoint is written.
fn after(slot: &Slot) -> Rows {
    frozen(slot).rows()
}

fn frozen(slot: &Slot) -> FrozenJob {
    FrozenJob {
        job: Arc::clone(&slot.job),
        written: slot.rows,
    }
}
