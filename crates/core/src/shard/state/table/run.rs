//! One run of arrivals: the jobs of it that are held, and those that are remembered.

use std::sync::Arc;

use crate::shard::job::{Job, Part};
#[cfg(test)]
use crate::shard::state::Kept;
use crate::shard::state::Remembered;
use crate::shard::state::pools::PoolId;

use super::bundle::{Bundle, Bundles};

/// Arrivals in a run. A row of sixteen headers about fills the page that a change of one of them writes anyway.
pub const RUN: u64 = PLACES as u64;

pub(super) const PLACES: usize = 16;

/// Where the checkpoint has the rest of a job, or will have it with the one under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rows {
    /// The bundle with its payload.
    pub payload: Option<Bundle>,
    /// The bundle with its result.
    pub result: Option<Bundle>,
    /// Its attempts up to this number, in packs of its run.
    pub attempts: u32,
}

impl Rows {
    /// The bundle that a part of it is in.
    #[must_use]
    pub const fn bundle(self, part: Part) -> Option<Bundle> {
        match part {
            Part::Payload => self.payload,
            Part::Result => self.result,
        }
    }
}

/// A job's bytes, as last counted.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::shard::state) struct Counted {
    /// [`Job::bytes`].
    pub(super) all: u32,
    /// [`Job::unsaved_bytes`].
    pub(super) unsaved: u32,
}

/// A job, and the pool that its requirement is in while the job has not ended.
#[derive(Debug, Clone)]
pub(in crate::shard) struct Slot {
    pub(in crate::shard::state) job: Arc<Job>,
    pub(in crate::shard::state) pool: PoolId,
    pub(super) counted: Counted,
    pub(super) rows: Rows,
}

impl Slot {
    pub(super) fn new(job: Job, pool: PoolId, rows: Rows) -> Self {
        let mut slot = Self {
            job: Arc::new(job),
            pool,
            counted: Counted::default(),
            rows,
        };
        slot.count();
        slot
    }

    pub(super) fn count(&mut self) {
        // Two parts and as many attempts as a job may have are far below four gigabytes.
        let narrow = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        self.counted = Counted {
            all: narrow(self.job.bytes()),
            unsaved: narrow(self.job.unsaved_bytes()),
        };
    }

    /// Lets go of what the checkpoint has.
    pub(super) fn evict(&mut self) {
        let Rows { attempts, .. } = self.rows;
        let (payload, result) = (self.rows.payload.is_some(), self.rows.result.is_some());
        let body = self.job.body();
        let has_something = (payload && body.payload.is_some())
            || (result && body.result.is_some())
            || body.attempts.iter().any(|a| a.number <= attempts);
        if has_something {
            Arc::make_mut(&mut self.job).evict(payload, result, attempts);
            self.count();
        }
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.job == other.job
    }
}

/// What is kept of one arrival.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::shard) enum Entry {
    /// A job.
    Held(Slot),
    /// A job that was purged.
    Gone(Arc<Remembered>),
}

#[cfg(test)]
impl Entry {
    /// All of it, as a row would keep it that nothing was let go of for.
    pub(in crate::shard::state) fn kept(&self) -> Kept {
        match self {
            Self::Held(slot) => Kept::Held(Box::new(slot.job.as_ref().clone()), slot.rows),
            Self::Gone(entry) => Kept::Gone(Arc::clone(entry)),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    entries: [Option<Entry>; PLACES],
    /// The checkpoint in which it will next be written, by number; 0 while it is unchanged.
    pub(super) changed_for: u64,
    /// The checkpoint has a row of it, or will have with the one under way.
    pub(super) has_row: bool,
    /// So many packs of its jobs' attempts the checkpoint has, or will have with the one under way.
    pub(super) packs: u32,
    /// The bundles of payloads that the checkpoint has, or will have with the one under way.
    pub(super) payloads: Bundles,
    /// As of payloads.
    pub(super) results: Bundles,
}

/// The place of an arrival in its run.
pub(super) fn place(sequence: u64) -> usize {
    usize::try_from(sequence % RUN).unwrap_or_default()
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.iter().all(Option::is_none)
    }

    pub(super) fn put(&mut self, sequence: u64, entry: Entry) {
        self.entries[place(sequence)] = Some(entry);
    }

    pub(super) fn take(&mut self, sequence: u64) -> Option<Entry> {
        self.entries[place(sequence)].take()
    }

    pub(super) fn slot(&self, sequence: u64) -> Option<&Slot> {
        match self.entries[place(sequence)].as_ref()? {
            Entry::Held(slot) => Some(slot),
            Entry::Gone(_) => None,
        }
    }

    pub(super) fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        match self.entries[place(sequence)].as_mut()? {
            Entry::Held(slot) => Some(slot),
            Entry::Gone(_) => None,
        }
    }

    pub(super) fn gone(&self, sequence: u64) -> Option<&Remembered> {
        match self.entries[place(sequence)].as_ref()? {
            Entry::Gone(entry) => Some(entry),
            Entry::Held(_) => None,
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.entries().filter_map(|entry| match entry {
            Entry::Held(slot) => Some(slot),
            Entry::Gone(_) => None,
        })
    }

    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        let entries = self.entries.iter_mut().flatten();
        entries.filter_map(|entry| match entry {
            Entry::Held(slot) => Some(slot),
            Entry::Gone(_) => None,
        })
    }

    /// The bundles that its jobs are in.
    pub(super) fn named(&self, part: Part) -> Bundles {
        self.slots()
            .filter_map(|slot| slot.rows.bundle(part))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_queued_job_takes_beside_its_header_stays_small() {
        assert_eq!(size_of::<Rows>(), 8);
        assert!(size_of::<Option<Entry>>() <= 32);
        assert!(size_of::<Run>() <= PLACES * 32 + 24);
    }
}
