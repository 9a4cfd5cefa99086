//! The jobs of a shard by id.
//!
//! Private to the state, and small, so that another table can take its place. Jobs are shared behind [`Arc`]: a clone
//! of the table costs one count per job, and the next change to a shared job copies that job alone.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use leasehold_types::JobId;

use super::pools::PoolId;
use crate::shard::job::Job;

/// A job, and the pool that its requirement is in while the job has not ended.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) job: Arc<Job>,
    pub(super) pool: PoolId,
    /// [`Job::bytes`], as last counted.
    bytes: usize,
}

/// All jobs, in the order of ids.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct JobTable {
    slots: BTreeMap<JobId, Slot>,
    /// What all jobs hold beside their headers.
    bytes: usize,
}

impl JobTable {
    pub(in crate::shard) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that all jobs hold beside their headers.
    pub(in crate::shard) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(in crate::shard) fn get(&self, id: JobId) -> Option<&Job> {
        self.slots.get(&id).map(|slot| slot.job.as_ref())
    }

    pub(super) fn slot(&self, id: JobId) -> Option<&Slot> {
        self.slots.get(&id)
    }

    pub(super) fn slot_mut(&mut self, id: JobId) -> Option<&mut Slot> {
        self.slots.get_mut(&id)
    }

    /// Changes a job. What an index is made from is changed through the state only.
    pub(super) fn change(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        if let Some(slot) = self.slots.get_mut(&id) {
            change(Arc::make_mut(&mut slot.job));
            self.recount(id);
        }
    }

    /// Counts a job's bytes anew: it was changed in place.
    pub(super) fn recount(&mut self, id: JobId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            let bytes = slot.job.bytes();
            self.bytes = self.bytes - slot.bytes + bytes;
            slot.bytes = bytes;
        }
    }

    pub(super) fn insert(&mut self, job: Job, pool: PoolId) {
        let (id, bytes) = (job.header.id, job.bytes());
        let job = Arc::new(job);
        self.bytes += bytes;
        self.slots.insert(id, Slot { job, pool, bytes });
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Arc<Job>> {
        let slot = self.slots.remove(&id)?;
        self.bytes -= slot.bytes;
        Some(slot.job)
    }

    pub(in crate::shard) fn iter(&self) -> impl ExactSizeIterator<Item = &Job> {
        self.slots.values().map(|slot| slot.job.as_ref())
    }

    /// The ids after one, or all of them.
    pub(in crate::shard) fn ids_after(&self, id: Option<JobId>) -> impl Iterator<Item = JobId> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots
            .range((from, Bound::Unbounded))
            .map(|(id, _)| *id)
    }
}

impl PartialEq for JobTable {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
