//! What is derived from the jobs so that nothing has to look through them: rebuilt at a restore, never stored.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_types::{JobId, TenantName, Timestamp};

use super::pools::{PoolId, Pools};
use super::ready::ReadyIndex;
use crate::shard::job::{JobHeader, JobState};

/// The indexes over all jobs of a shard.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct Indexes {
    /// Jobs that can be granted.
    pub(in crate::shard) ready: ReadyIndex,
    /// Jobs that cannot yet, by when they can; the sequence tells those of one instant apart.
    waiting: BTreeMap<(Timestamp, u64), JobId>,
    /// Jobs that have not ended, by when they must have, and by their places in the order of arrival.
    deadlines: BTreeSet<(Timestamp, u64)>,
    leased: BTreeSet<JobId>,
    dead: BTreeSet<JobId>,
    /// Requirements of the jobs that have not ended.
    pub(in crate::shard) pools: Pools,
    /// Tenants with jobs, and how many they have.
    tenants: BTreeMap<TenantName, u64>,
}

impl Indexes {
    /// The leased jobs, in the order of ids.
    pub(in crate::shard) const fn leased(&self) -> &BTreeSet<JobId> {
        &self.leased
    }

    /// The dead letters, in the order of ids.
    pub(in crate::shard) const fn dead(&self) -> &BTreeSet<JobId> {
        &self.dead
    }

    /// The jobs that have not ended, by when they must have, and by their places in the order of arrival.
    pub(in crate::shard) const fn deadlines(&self) -> &BTreeSet<(Timestamp, u64)> {
        &self.deadlines
    }

    /// When the next waiting job falls due, and which it is.
    pub(in crate::shard) fn next_waiting(&self) -> Option<(Timestamp, JobId)> {
        let first = self.waiting.first_key_value();
        first.map(|((due, _), id)| (*due, *id))
    }

    /// The one shared copy of a tenant's name, if it has jobs.
    pub(super) fn tenant(&self, name: &TenantName) -> Option<&TenantName> {
        self.tenants.get_key_value(name).map(|(name, _)| name)
    }

    /// How many tenants have jobs.
    pub(super) fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// Takes a job in, whatever its state.
    pub(super) fn add(&mut self, header: &JobHeader) -> PoolId {
        *self.tenants.entry(header.tenant.clone()).or_default() += 1;
        let is_live = !header.state.is_terminal();
        let pool = if is_live {
            self.add_live(header)
        } else {
            PoolId::default()
        };
        self.enter(header, pool);
        pool
    }

    /// Lets go of an ended job.
    pub(super) fn drop_ended(&mut self, header: &JobHeader) {
        self.dead.remove(&header.id);
        if let Some(jobs) = self.tenants.get_mut(&header.tenant) {
            *jobs -= 1;
            if *jobs == 0 {
                self.tenants.remove(&header.tenant);
            }
        }
    }

    /// Counts a job among those that have not ended. Its state is indexed apart, by [`Indexes::enter`].
    pub(super) fn add_live(&mut self, header: &JobHeader) -> PoolId {
        self.deadlines.insert((header.expires_at, header.sequence));
        self.pools.enter(&header.requirement, &header.tenant)
    }

    /// The opposite of [`Indexes::add_live`].
    pub(super) fn drop_live(&mut self, header: &JobHeader, pool: PoolId) {
        self.deadlines.remove(&(header.expires_at, header.sequence));
        self.pools.leave(pool, &header.tenant);
    }

    /// Indexes a job by the state it is in.
    pub(super) fn enter(&mut self, header: &JobHeader, pool: PoolId) {
        match &header.state {
            JobState::Waiting { due } => {
                self.waiting.insert((*due, header.sequence), header.id);
            }
            JobState::Ready => self.ready.insert(header, pool),
            JobState::Leased(_) => {
                self.leased.insert(header.id);
            }
            JobState::Dead { .. } => {
                self.dead.insert(header.id);
            }
            JobState::Done(_) | JobState::Cancelled { .. } => {}
        }
    }

    /// Forgets a job under the state that it is leaving.
    pub(super) fn leave(&mut self, header: &JobHeader, pool: PoolId) {
        match &header.state {
            JobState::Waiting { due } => {
                self.waiting.remove(&(*due, header.sequence));
            }
            JobState::Ready => self.ready.remove(header, pool),
            JobState::Leased(_) => {
                self.leased.remove(&header.id);
            }
            JobState::Dead { .. } => {
                self.dead.remove(&header.id);
            }
            JobState::Done(_) | JobState::Cancelled { .. } => {}
        }
    }

    /// Whether two say the same, whatever led there.
    #[cfg(test)]
    pub(in crate::shard) fn agrees_with(&self, other: &Self) -> bool {
        self.ready.contents() == other.ready.contents()
            && self.waiting == other.waiting
            && self.deadlines == other.deadlines
            && self.leased == other.leased
            && self.dead == other.dead
            && self.pools.in_use() == other.pools.in_use()
            && self.pools.by_tenant() == other.pools.by_tenant()
            && self.tenants == other.tenants
    }
}
