//! The jobs of a shard, by their order of arrival, and what is left of those that are gone.
//!
//! They stand in runs of [`RUN`] arrivals, because a run is also what a checkpoint writes as one row: in a queue, jobs
//! that came together mostly end together, so a row for each would cost sixteen times the work. The table knows which
//! runs changed since the last checkpoint; see [`tracker`].
//!
//! Jobs are shared behind [`Arc`]: what a checkpoint is still to write keeps the old version of a job alive, and the
//! next change to it copies that job alone.

mod bundle;
mod frozen;
mod recent;
mod run;
mod tracker;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use leasehold_types::JobId;

use super::keys::Remembered;
use super::pools::PoolId;
use crate::shard::job::{Job, Part};

pub use bundle::{BUNDLE_BYTES, Bundle, PART_BYTES};
pub use frozen::{FrozenBundle, FrozenEntry, FrozenJob, FrozenRun};
pub use run::{RUN, Rows};

use recent::Recent;
use run::Run;
pub(in crate::shard) use run::{Entry, Slot};
use tracker::Tracker;

/// A job's id as a number, in the order of ids: two of them are compared in two steps and not byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

impl Key {
    fn of(id: JobId) -> Self {
        let mut bytes = [0; 16];
        bytes[2..].copy_from_slice(&id.to_bytes());
        Self(u128::from_be_bytes(bytes))
    }
}

/// Where restored jobs and memories are.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: Vec<(Key, u64)>,
    gone: Vec<(Key, u64)>,
    /// The first place that is still free.
    next: u64,
}

impl Places {
    /// Whether a place comes after all that were asked for before it.
    pub(super) const fn follows(&mut self, sequence: u64) -> bool {
        let is_free = sequence >= self.next;
        self.next = sequence.saturating_add(1);
        is_free
    }

    /// Sorts them, and gives the place of one whose id another one has.
    fn repeated(&mut self) -> Option<u64> {
        self.held.sort_unstable();
        self.gone.sort_unstable();
        let twice = |places: &[(Key, u64)]| {
            let mut pairs = places.windows(2);
            pairs.find_map(|pair| (pair[0].0 == pair[1].0).then_some(pair[1].1))
        };
        let held = |(key, _): &&(Key, u64)| self.held.binary_search_by_key(key, |p| p.0).is_ok();
        twice(&self.held)
            .or_else(|| twice(&self.gone))
            .or_else(|| self.gone.iter().find(held).map(|(_, sequence)| *sequence))
    }
}

/// All jobs, and all that is remembered of others.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct JobTable {
    runs: BTreeMap<u64, Box<Run>>,
    /// Where the jobs are that are held.
    held: BTreeMap<Key, u64>,
    /// Where the jobs are that are remembered.
    gone: BTreeMap<Key, u64>,
    /// Where some of those are that are held.
    recent: Recent,
    /// What all jobs have beside their headers.
    bytes: u64,
    /// How many of those bytes the next checkpoint may let go of.
    unsaved_bytes: u64,
    tracker: Tracker,
}

impl JobTable {
    /// Jobs that are held.
    pub(in crate::shard) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes that all jobs have beside their headers.
    pub(in crate::shard) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of [`JobTable::bytes`] the next checkpoint may let go of.
    pub(in crate::shard) const fn unsaved_bytes(&self) -> u64 {
        self.unsaved_bytes
    }

    pub(in crate::shard) fn get(&self, id: JobId) -> Option<&Job> {
        self.slot(id).map(|slot| slot.job.as_ref())
    }

    /// Takes aim at the job that the next command is about: it is asked for many times.
    pub(in crate::shard) fn aim_at(&mut self, id: JobId) {
        if let Some(sequence) = self.place(id) {
            self.recent.note(Key::of(id), sequence);
        }
    }

    /// The job at a place in the order of arrival.
    pub(in crate::shard) fn at(&self, sequence: u64) -> Option<&Job> {
        let slot = self.runs.get(&(sequence / RUN))?.slot(sequence)?;
        Some(slot.job.as_ref())
    }

    /// How many packs of attempts the run of an arrival has.
    pub(in crate::shard) fn packs(&self, sequence: u64) -> u32 {
        self.runs.get(&(sequence / RUN)).map_or(0, |run| run.packs)
    }

    /// Where the checkpoint has the rest of the job at a place in the order of arrival.
    pub(in crate::shard) fn rows(&self, sequence: u64) -> Rows {
        let run = self.runs.get(&(sequence / RUN));
        let slot = run.and_then(|run| run.slot(sequence));
        slot.map_or_else(Rows::default, |slot| slot.rows)
    }

    /// Where a job is that is held.
    fn place(&self, id: JobId) -> Option<u64> {
        let key = Key::of(id);
        let found = self.recent.get(key);
        found.or_else(|| self.held.get(&key).copied())
    }

    pub(super) fn slot(&self, id: JobId) -> Option<&Slot> {
        let sequence = self.place(id)?;
        self.runs.get(&(sequence / RUN))?.slot(sequence)
    }

    /// The slot of a job, to be changed: the next checkpoint writes its run.
    pub(super) fn slot_mut(&mut self, id: JobId) -> Option<&mut Slot> {
        let sequence = self.place(id)?;
        self.touched(sequence)?.slot_mut(sequence)
    }

    /// What is remembered of a job that is gone.
    pub(in crate::shard) fn remembered(&self, id: JobId) -> Option<&Remembered> {
        let sequence = *self.gone.get(&Key::of(id))?;
        self.runs.get(&(sequence / RUN))?.gone(sequence)
    }

    /// Changes a job. What an index is made from is changed through the state only.
    pub(super) fn change(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        if let Some(slot) = self.slot_mut(id) {
            change(Arc::make_mut(&mut slot.job));
            self.recount(id);
        }
    }

    /// Counts a job's bytes anew: it was changed in place.
    pub(super) fn recount(&mut self, id: JobId) {
        let Some(slot) = self.place(id).and_then(|sequence| {
            let run = self.runs.get_mut(&(sequence / RUN))?;
            run.slot_mut(sequence)
        }) else {
            return;
        };
        let before = slot.counted;
        slot.count();
        self.bytes = self.bytes - u64::from(before.all) + u64::from(slot.counted.all);
        self.unsaved_bytes =
            self.unsaved_bytes - u64::from(before.unsaved) + u64::from(slot.counted.unsaved);
    }

    /// Takes a job in.
    pub(super) fn insert(&mut self, job: Job, pool: PoolId) {
        let (key, sequence) = (Key::of(job.header.id), job.header.sequence);
        self.keep(job, pool, Rows::default());
        self.held.insert(key, sequence);
        self.recent.note(key, sequence);
    }

    /// Keeps a job at its place, which cannot be found by its id yet.
    fn keep(&mut self, job: Job, pool: PoolId, rows: Rows) {
        let sequence = job.header.sequence;
        let slot = Slot::new(job, pool, rows);
        self.bytes += u64::from(slot.counted.all);
        self.unsaved_bytes += u64::from(slot.counted.unsaved);
        self.touched_or_new(sequence)
            .put(sequence, Entry::Held(slot));
    }

    /// Lets go of a job.
    pub(super) fn remove(&mut self, id: JobId) -> Option<Arc<Job>> {
        let sequence = self.held.remove(&Key::of(id))?;
        self.recent.forget(Key::of(id));
        let Some(Entry::Held(slot)) = self.touched(sequence)?.take(sequence) else {
            return None;
        };
        self.bytes -= u64::from(slot.counted.all);
        self.unsaved_bytes -= u64::from(slot.counted.unsaved);
        self.drop_if_needless(sequence / RUN);
        Some(slot.job)
    }

    /// Remembers a job that was removed.
    pub(super) fn remember(&mut self, entry: Arc<Remembered>) {
        self.gone.insert(Key::of(entry.job), entry.sequence);
        self.keep_memory(entry);
    }

    /// Keeps a memory at its place, which cannot be found by its id yet.
    fn keep_memory(&mut self, entry: Arc<Remembered>) {
        let sequence = entry.sequence;
        self.touched_or_new(sequence)
            .put(sequence, Entry::Gone(entry));
    }

    /// Forgets a job.
    pub(super) fn forget(&mut self, id: JobId) -> Option<Arc<Remembered>> {
        let sequence = self.gone.remove(&Key::of(id))?;
        let Some(Entry::Gone(entry)) = self.touched(sequence)?.take(sequence) else {
            return None;
        };
        self.drop_if_needless(sequence / RUN);
        Some(entry)
    }

    /// The jobs, in the order of their arrival.
    pub(in crate::shard) fn iter(&self) -> impl Iterator<Item = &Job> {
        let slots = self.runs.values().flat_map(|run| run.slots());
        slots.map(|slot| slot.job.as_ref())
    }

    /// Everything that is kept, in the order of arrival.
    pub(in crate::shard) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.runs.values().flat_map(|run| run.entries())
    }

    /// The ids after one, or all of them, of jobs that are held.
    pub(in crate::shard) fn ids_after(&self, id: Option<JobId>) -> impl Iterator<Item = JobId> {
        let from = id.map_or(Bound::Unbounded, |id| Bound::Excluded(Key::of(id)));
        let places = self.held.range((from, Bound::Unbounded));
        places.filter_map(|(_, sequence)| {
            let run = self.runs.get(&(sequence / RUN))?;
            Some(run.slot(*sequence)?.job.header.id)
        })
    }

    /// The run of an arrival, about to be changed.
    fn touched(&mut self, sequence: u64) -> Option<&mut Run> {
        let number = sequence / RUN;
        let run = self.runs.get_mut(&number)?;
        self.tracker.touch(number, run);
        Some(run)
    }

    fn touched_or_new(&mut self, sequence: u64) -> &mut Run {
        let number = sequence / RUN;
        let run = self.runs.entry(number).or_default();
        self.tracker.touch(number, run);
        run
    }

    /// An empty run goes at once unless the checkpoint has a row of it, or may be about to write one.
    fn drop_if_needless(&mut self, number: u64) {
        let is_needless =
            |run: &Run| run.is_empty() && !run.has_row && !self.tracker.is_frozen(number);
        if self.runs.get(&number).is_some_and(|run| is_needless(run)) {
            self.runs.remove(&number);
        }
    }
}

/// The parts of a checkpoint.
impl JobTable {
    /// Sets the changes since the last checkpoint apart, to be taken portion by portion.
    pub(super) fn freeze(&mut self) {
        self.tracker.freeze();
    }

    /// The next of the changes that were set apart, as they were then; none when there are no more.
    pub(super) fn take_frozen(&mut self, most: usize) -> Option<Vec<FrozenRun>> {
        self.tracker.take(&mut self.runs, most)
    }

    /// Lets go of what a run was written with, now that it is durable.
    pub(super) fn evict(&mut self, number: u64) {
        let Some(run) = self.runs.get_mut(&number) else {
            return;
        };
        for slot in run.slots_mut() {
            let before = slot.counted;
            slot.evict();
            self.unsaved_bytes =
                self.unsaved_bytes - u64::from(before.unsaved) + u64::from(slot.counted.unsaved);
        }
    }

    /// Sets how many packs of attempts the run of an arrival has.
    pub(super) fn set_packs(&mut self, sequence: u64, packs: u32) {
        if let Some(run) = self.runs.get_mut(&(sequence / RUN)) {
            run.packs = packs;
        }
    }

    /// Restores a job, to be found by its id once [`Places`] are set.
    pub(super) fn restore(&mut self, job: Job, pool: PoolId, rows: Rows, places: &mut Places) {
        let place = (Key::of(job.header.id), job.header.sequence);
        places.held.push(place);
        self.keep(job, pool, rows);
    }

    /// Restores a memory, as [`JobTable::restore`] does a job.
    pub(super) fn restore_memory(&mut self, entry: Arc<Remembered>, places: &mut Places) {
        places.gone.push((Key::of(entry.job), entry.sequence));
        self.keep_memory(entry);
    }

    /// Makes everything that was restored known by its id, and marks it as written. Gives a job that was restored twice.
    pub(super) fn set_places(&mut self, mut places: Places) -> Option<JobId> {
        let repeated = places.repeated();
        // Sorted, they are built into a map in one go: several times as fast as one by one.
        self.held = places.held.into_iter().collect();
        self.gone = places.gone.into_iter().collect();
        self.mark_read();
        repeated.and_then(|sequence| self.id_at(sequence))
    }

    fn id_at(&self, sequence: u64) -> Option<JobId> {
        let run = self.runs.get(&(sequence / RUN))?;
        let held = run.slot(sequence).map(|slot| slot.job.header.id);
        held.or_else(|| run.gone(sequence).map(|entry| entry.job))
    }

    fn mark_read(&mut self) {
        self.tracker.forget_changes();
        for (number, run) in &mut self.runs {
            run.has_row = true;
            run.changed_for = 0;
            run.payloads = run.named(Part::Payload);
            run.results = run.named(Part::Result);
            // The row itself held it: the next checkpoint must, or nothing would ever let go of it.
            if run.slots().any(|slot| slot.counted.unsaved > 0) {
                self.tracker.touch(*number, run);
            }
        }
    }
}

/// Two are equal when they keep the same, and have the same of it in memory.
impl PartialEq for JobTable {
    fn eq(&self, other: &Self) -> bool {
        self.entries().eq(other.entries())
    }
}
