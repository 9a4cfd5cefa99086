//! Whose turn it is within a lane: start-time fair queueing between tenants.
//!
//! Each tenant has a tag per lane; the lowest is served next, and a job served adds one to it (Goyal, Vin and Cheng,
//! "Start-time Fair Queueing", 1996; for inference as virtual counters in arXiv 2401.00588). A tenant that comes back
//! after idling is lifted to where the others are, so that idling saves nothing up; a tag outlives its tenant's last
//! ready job, so that submitting one job at a time gains nothing either. Leader memory: a new leader starts level.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_types::TenantName;

#[derive(Debug, Clone, Copy)]
struct Tag {
    served: u64,
    is_active: bool,
}

/// The tenants of one lane, by whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    tags: BTreeMap<TenantName, Tag>,
    /// The tenants with ready jobs, the next first.
    order: BTreeSet<(u64, TenantName)>,
    /// The tag that was served last: nobody comes back below it.
    now: u64,
    /// The highest tag given.
    highest: u64,
}

/// So many tags beyond those of active tenants are kept before those that say nothing are dropped.
const IDLE_TAGS: usize = 256;

impl Turns {
    /// Whether no tenant has ready jobs.
    pub(super) fn is_idle(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether this tenant is known to have ready jobs.
    pub(super) fn is_active(&self, tenant: &TenantName) -> bool {
        self.tags.get(tenant).is_some_and(|tag| tag.is_active)
    }

    /// A tenant has a ready job.
    pub(super) fn activate(&mut self, tenant: &TenantName) {
        if self.is_active(tenant) {
            return;
        }
        let others = self.order.first().map_or(self.now, |(tag, _)| *tag);
        let before = self.tags.get(tenant).map_or(0, |tag| tag.served);
        let served = before.max(self.now).max(others);
        let is_active = true;
        self.tags.insert(tenant.clone(), Tag { served, is_active });
        self.order.insert((served, tenant.clone()));
    }

    /// A tenant has no ready job left that is free to be granted.
    pub(super) fn deactivate(&mut self, tenant: &TenantName) {
        let Some(tag) = self.tags.get_mut(tenant).filter(|tag| tag.is_active) else {
            return;
        };
        tag.is_active = false;
        self.order.remove(&(tag.served, tenant.clone()));
        if self.order.is_empty() {
            // Nobody waits, so nobody is owed anything.
            self.now = self.highest;
        }
        if self.tags.len() - self.order.len() > IDLE_TAGS {
            let now = self.now;
            self.tags.retain(|_, tag| tag.is_active || tag.served > now);
        }
    }

    /// Whose turn it is, and how far ahead of the lane it is.
    pub(super) fn next(&self) -> Option<(u64, &TenantName)> {
        let (tag, tenant) = self.order.first()?;
        Some((tag.saturating_sub(self.now), tenant))
    }

    /// A job of the tenant was served from this lane.
    pub(super) fn serve(&mut self, tenant: &TenantName) {
        if let Some(tag) = self.tags.get(tenant) {
            self.now = self.now.max(tag.served);
        }
        self.charge(tenant);
    }

    /// A job of the tenant was served by a worker that this lane could have had.
    pub(super) fn charge(&mut self, tenant: &TenantName) {
        let Some(tag) = self.tags.get_mut(tenant).filter(|tag| tag.is_active) else {
            return;
        };
        self.order.remove(&(tag.served, tenant.clone()));
        tag.served += 1;
        self.highest = self.highest.max(tag.served);
        self.order.insert((tag.served, tenant.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantName {
        TenantName::new(name).unwrap()
    }

    /// Serves whoever's turn it is, so many times, and counts the turns of one tenant.
    fn turns_of(turns: &mut Turns, name: &str, served: u32) -> u32 {
        let mut count = 0;
        for _ in 0..served {
            let next = turns.next().unwrap().1.clone();
            turns.serve(&next);
            count += u32::from(next == tenant(name));
        }
        count
    }

    #[test]
    fn tenants_with_work_take_turns() {
        let mut turns = Turns::default();
        for name in ["a", "b", "c"] {
            turns.activate(&tenant(name));
        }
        for name in ["a", "b", "c"] {
            assert_eq!(turns_of(&mut turns, name, 30), 10);
        }
    }

    #[test]
    fn idling_saves_nothing_up() {
        let mut turns = Turns::default();
        turns.activate(&tenant("busy"));
        turns_of(&mut turns, "busy", 1_000);
        turns.activate(&tenant("late"));
        assert!(turns_of(&mut turns, "late", 10) <= 6);
    }

    #[test]
    fn submitting_one_job_at_a_time_gains_nothing() {
        let mut turns = Turns::default();
        turns.activate(&tenant("steady"));
        let mut drips = 0;
        for _ in 0..100 {
            turns.activate(&tenant("drip"));
            let next = turns.next().unwrap().1.clone();
            turns.serve(&next);
            if next == tenant("drip") {
                drips += 1;
                turns.deactivate(&next);
            }
        }
        assert!((45..=55).contains(&drips), "{drips} of 100");
    }

    #[test]
    fn tags_of_tenants_that_are_gone_are_dropped() {
        let mut turns = Turns::default();
        for number in 0..10_000 {
            let name = tenant(&format!("t{number}"));
            turns.activate(&name);
            turns.serve(&name);
            turns.deactivate(&name);
        }
        assert!(turns.tags.len() <= 2 * IDLE_TAGS, "{}", turns.tags.len());
    }
}
