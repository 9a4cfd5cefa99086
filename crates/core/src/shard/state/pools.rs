//! Interned requirements: live jobs that ask the same of a worker share one pool.
//!
//! Derived from the jobs. A pool counts towards the bound only while a live job is in it; its number is kept for a
//! while after that, so that a trickle of single jobs does not make matching start over for each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_types::TenantName;

use crate::requirement::Requirement;

/// One requirement's number, never used again for another one. Local to this replica: nothing replicated may name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(in crate::shard) struct PoolId(u64);

#[derive(Debug, Clone)]
struct Pool {
    requirement: Arc<Requirement>,
    live: u64,
}

/// All pools of a shard.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct Pools {
    ids: BTreeMap<Arc<Requirement>, PoolId>,
    pools: BTreeMap<PoolId, Pool>,
    in_use: usize,
    next: u64,
    /// How many live jobs each tenant has in each pool.
    shares: BTreeMap<TenantName, BTreeMap<PoolId, u64>>,
}

/// So many pools without live jobs are kept before they are dropped together.
const UNUSED_KEPT: usize = 1_024;

impl Pools {
    /// How many have live jobs.
    pub(in crate::shard) const fn in_use(&self) -> usize {
        self.in_use
    }

    /// How many a tenant has live jobs in.
    pub(in crate::shard) fn in_use_by(&self, tenant: &TenantName) -> usize {
        self.shares.get(tenant).map_or(0, BTreeMap::len)
    }

    /// Whether a live job asks exactly this.
    pub(in crate::shard) fn is_in_use(&self, requirement: &Requirement) -> bool {
        let pool = self.ids.get(requirement).and_then(|id| self.pools.get(id));
        pool.is_some_and(|pool| pool.live > 0)
    }

    /// The pool of those that ask this, if there is one.
    pub(in crate::shard) fn find(&self, requirement: &Requirement) -> Option<PoolId> {
        self.ids.get(requirement).copied()
    }

    /// What the jobs of a pool ask.
    pub(in crate::shard) fn requirement(&self, id: PoolId) -> Option<&Arc<Requirement>> {
        self.pools.get(&id).map(|pool| &pool.requirement)
    }

    /// The one shared copy of a requirement, made when there is none.
    pub(in crate::shard) fn intern(&mut self, requirement: &Requirement) -> Arc<Requirement> {
        let id = self.id_of(requirement);
        Arc::clone(&self.pools[&id].requirement)
    }

    /// Counts one more live job of a tenant.
    pub(in crate::shard) fn enter(
        &mut self,
        requirement: &Requirement,
        tenant: &TenantName,
    ) -> PoolId {
        let id = self.id_of(requirement);
        let share = self.shares.entry(tenant.clone()).or_default();
        *share.entry(id).or_default() += 1;
        if let Some(pool) = self.pools.get_mut(&id) {
            self.in_use += usize::from(pool.live == 0);
            pool.live += 1;
        }
        id
    }

    /// Counts one live job of a tenant less.
    pub(in crate::shard) fn leave(&mut self, id: PoolId, tenant: &TenantName) {
        self.leave_share(id, tenant);
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.live -= 1;
            self.in_use -= usize::from(pool.live == 0);
        }
        if self.pools.len() - self.in_use > UNUSED_KEPT {
            self.drop_unused();
        }
    }

    fn leave_share(&mut self, id: PoolId, tenant: &TenantName) {
        let Some(share) = self.shares.get_mut(tenant) else {
            return;
        };
        if let Some(live) = share.get_mut(&id) {
            *live -= 1;
            if *live == 0 {
                share.remove(&id);
            }
        }
        if share.is_empty() {
            self.shares.remove(tenant);
        }
    }

    /// How many pools each tenant has live jobs in.
    #[cfg(test)]
    pub(super) fn by_tenant(&self) -> Vec<(TenantName, usize)> {
        let shares = self.shares.iter();
        shares
            .map(|(tenant, pools)| (tenant.clone(), pools.len()))
            .collect()
    }

    fn id_of(&mut self, requirement: &Requirement) -> PoolId {
        if let Some(id) = self.ids.get(requirement) {
            return *id;
        }
        let requirement = Arc::new(requirement.clone());
        let id = PoolId(self.next);
        self.next += 1;
        self.ids.insert(Arc::clone(&requirement), id);
        let live = 0;
        self.pools.insert(id, Pool { requirement, live });
        id
    }

    fn drop_unused(&mut self) {
        self.pools.retain(|_, pool| pool.live > 0);
        let pools = &self.pools;
        self.ids.retain(|_, id| pools.contains_key(id));
    }
}
