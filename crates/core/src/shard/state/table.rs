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
}

/// All jobs, in the order of ids.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct JobTable {
    slots: BTreeMap<JobId, Slot>,
}

impl JobTable {
    pub(in crate::shard) fn len(&self) -> usize {
        self.slots.len()
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

    /// A job to change. What an index is made from is changed through the state only.
    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.slots
            .get_mut(&id)
            .map(|slot| Arc::make_mut(&mut slot.job))
    }

    pub(super) fn insert(&mut self, job: Job, pool: PoolId) {
        let job = Arc::new(job);
        self.slots.insert(job.header.id, Slot { job, pool });
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Arc<Job>> {
        self.slots.remove(&id).map(|slot| slot.job)
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
