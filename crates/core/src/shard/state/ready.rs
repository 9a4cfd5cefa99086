//! The ready jobs, in the order in which each tenant wants them.
//!
//! Per lane (queue and pool), per tenant, by priority and then by arrival: a retried job keeps its place. Derived
//! from the jobs. A bounded journal tells the leader's dispatcher which tenant just got a ready job in which lane, so
//! that it need not look through tenants to find work; one that fell behind the journal starts over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use leasehold_types::{QueueName, TenantName};

use super::pools::PoolId;
use crate::shard::job::JobHeader;

/// Jobs that the same workers can take: one queue, one requirement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::shard) struct Lane {
    pub(in crate::shard) queue: QueueName,
    pub(in crate::shard) pool: PoolId,
}

/// A job's place among its tenant's ready jobs: the urgent first, then the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::shard) struct Place {
    urgency: Reverse<u8>,
    sequence: u64,
}

impl Place {
    /// The job's place in the order of arrival.
    pub(in crate::shard) const fn sequence(self) -> u64 {
        self.sequence
    }

    /// The place of a job.
    pub(in crate::shard) const fn of(header: &JobHeader) -> Self {
        Self {
            urgency: Reverse(header.priority),
            sequence: header.sequence,
        }
    }
}

/// A tenant that got a ready job in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::shard) struct Arrival {
    pub(in crate::shard) lane: Lane,
    pub(in crate::shard) tenant: TenantName,
}

#[derive(Debug, Clone, Default)]
struct LaneJobs {
    tenants: BTreeMap<TenantName, BTreeSet<Place>>,
    jobs: u64,
}

/// The ready jobs.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct ReadyIndex {
    lanes: BTreeMap<Lane, LaneJobs>,
    journal: VecDeque<Arrival>,
    /// How many arrivals there ever were; the last of them is the back of the journal.
    arrivals: u64,
}

/// Arrivals kept for a dispatcher to catch up with.
const JOURNAL: usize = 16_384;

impl ReadyIndex {
    pub(super) fn insert(&mut self, header: &JobHeader, pool: PoolId) {
        let queue = header.queue.clone();
        let lane = Lane { queue, pool };
        let jobs = self.lanes.entry(lane.clone()).or_default();
        jobs.jobs += 1;
        let of_tenant = jobs.tenants.entry(header.tenant.clone()).or_default();
        of_tenant.insert(Place::of(header));
        let tenant = header.tenant.clone();
        self.note(Arrival { lane, tenant });
    }

    fn note(&mut self, arrival: Arrival) {
        if self.journal.len() == JOURNAL {
            self.journal.pop_front();
        }
        self.journal.push_back(arrival);
        self.arrivals += 1;
    }

    pub(super) fn remove(&mut self, header: &JobHeader, pool: PoolId) {
        let queue = header.queue.clone();
        let lane = Lane { queue, pool };
        let Some(jobs) = self.lanes.get_mut(&lane) else {
            return;
        };
        let Some(of_tenant) = jobs.tenants.get_mut(&header.tenant) else {
            return;
        };
        if of_tenant.remove(&Place::of(header)) {
            jobs.jobs -= 1;
        }
        if of_tenant.is_empty() {
            jobs.tenants.remove(&header.tenant);
        }
        if jobs.tenants.is_empty() {
            self.lanes.remove(&lane);
        }
    }

    /// How many jobs of a lane are ready.
    pub(in crate::shard) fn jobs_in(&self, lane: &Lane) -> u64 {
        self.lanes.get(lane).map_or(0, |jobs| jobs.jobs)
    }

    /// The tenant's ready jobs in the lane that come after a place, best first.
    pub(in crate::shard) fn after(
        &self,
        lane: &Lane,
        tenant: &TenantName,
        place: Option<Place>,
    ) -> impl Iterator<Item = Place> {
        let jobs = (self.lanes.get(lane)).and_then(|jobs| jobs.tenants.get(tenant));
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        jobs.into_iter()
            .flat_map(move |jobs| jobs.range((from, Bound::Unbounded)))
            .copied()
    }

    /// How many arrivals there ever were.
    pub(in crate::shard) const fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// The arrivals after the first `seen`; none when some of them are no longer in the journal.
    pub(in crate::shard) fn arrivals_after(
        &self,
        seen: u64,
    ) -> Option<impl Iterator<Item = &Arrival>> {
        let missed = usize::try_from(self.arrivals.checked_sub(seen)?).ok()?;
        let known = self.journal.len().checked_sub(missed)?;
        Some(self.journal.range(known..))
    }

    /// Every tenant with ready jobs, in every lane.
    pub(in crate::shard) fn active(&self) -> impl Iterator<Item = (&Lane, &TenantName)> {
        let lanes = self.lanes.iter();
        lanes.flat_map(|(lane, jobs)| jobs.tenants.keys().map(move |tenant| (lane, tenant)))
    }

    /// What the index says, without what led there: for comparing with one rebuilt from the jobs.
    #[cfg(test)]
    pub(in crate::shard) fn contents(&self) -> Vec<(QueueName, TenantName, Place)> {
        let mut contents = Vec::new();
        for (lane, jobs) in &self.lanes {
            for (tenant, jobs) in &jobs.tenants {
                let places = jobs.iter();
                contents.extend(places.map(|place| (lane.queue.clone(), tenant.clone(), *place)));
            }
        }
        contents.sort();
        contents
    }
}
