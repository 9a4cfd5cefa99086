//! Which submits the shard has seen: idempotency keys of all jobs, and ids of jobs that were purged.
//!
//! A key is remembered until the queue's `retain_keys` after its job ended, never less: when the table is full,
//! submits with keys are refused until one may be forgotten. An id without a key is remembered as long where there
//! is room, and at least as long as its job is kept (`retain_done` or `retain_failed`): ids are minted for one submit
//! and repeated for minutes, and refusing work to remember them for a day would bound a shard to a dozen jobs a
//! second. So the oldest of those make room first. What is remembered is stored; the order of forgetting is derived.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_types::{Digest, IdempotencyKey, JobId, QueueName, TenantName, Timestamp};

use crate::shard::job::JobHeader;

/// What is left of a job that was purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Its id.
    pub job: JobId,
    /// Its place in the order of arrival.
    pub sequence: u64,
    /// Its queue.
    pub queue: QueueName,
    /// Whose it was.
    pub tenant: TenantName,
    /// The caller's own key.
    pub key: Option<IdempotencyKey>,
    /// SHA-256 of its payload.
    pub digest: Digest,
    /// Stamp from which it is no longer remembered.
    pub forget_at: Timestamp,
}

/// What an idempotency key is unique within, and the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ScopedKey {
    tenant: TenantName,
    queue: QueueName,
    key: IdempotencyKey,
}

/// Which keys stand for which jobs, and in which order what is remembered may be forgotten. The memories themselves
/// stand in the table of jobs.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct KeyTable {
    /// Keys of jobs that are held and of jobs that are remembered.
    keys: BTreeMap<ScopedKey, JobId>,
    forget_keyed: BTreeSet<(Timestamp, JobId)>,
    forget_plain: BTreeSet<(Timestamp, JobId)>,
}

impl KeyTable {
    /// Keys, and ids that have none.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.forget_plain.len()
    }

    /// Keys alone: what must not be forgotten to make room.
    pub(super) fn keyed(&self) -> usize {
        self.keys.len()
    }

    /// The job that a key stands for.
    pub(in crate::shard) fn find(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        key: &IdempotencyKey,
    ) -> Option<JobId> {
        let (tenant, queue, key) = (tenant.clone(), queue.clone(), key.clone());
        self.keys.get(&ScopedKey { tenant, queue, key }).copied()
    }

    /// Makes a job's key stand for it.
    pub(super) fn enter(&mut self, header: &JobHeader) {
        if let Some(key) = scoped(&header.tenant, &header.queue, header.key.as_ref()) {
            self.keys.insert(key, header.id);
        }
    }

    /// Forgets a key, if there is one.
    pub(super) fn forget(
        &mut self,
        tenant: &TenantName,
        queue: &QueueName,
        key: Option<&IdempotencyKey>,
    ) {
        if let Some(key) = scoped(tenant, queue, key) {
            self.keys.remove(&key);
        }
    }

    /// Keeps the id, and the key, of a job that is gone.
    pub(super) fn remember(&mut self, entry: &Remembered) {
        let order = (entry.forget_at, entry.job);
        match scoped(&entry.tenant, &entry.queue, entry.key.as_ref()) {
            Some(key) => {
                self.keys.insert(key, entry.job);
                self.forget_keyed.insert(order);
            }
            None => {
                self.forget_plain.insert(order);
            }
        }
    }

    /// Takes the oldest id without a key out of the order of forgetting, while there are more than `room` entries.
    pub(super) fn make_room(&mut self, room: usize) -> Option<JobId> {
        if self.len() <= room {
            return None;
        }
        self.forget_plain.pop_first().map(|(_, job)| job)
    }

    /// When the next key or id may be forgotten.
    pub(super) fn next_forget(&self) -> Option<Timestamp> {
        let first = |order: &BTreeSet<(Timestamp, JobId)>| order.first().map(|(at, _)| *at);
        [first(&self.forget_keyed), first(&self.forget_plain)]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the next key may be forgotten.
    pub(super) fn next_forget_keyed(&self) -> Option<Timestamp> {
        self.forget_keyed.first().map(|(at, _)| *at)
    }

    /// Takes one entry whose time has come out of the order of forgetting.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<JobId> {
        let due = |order: &BTreeSet<(Timestamp, JobId)>| {
            order.first().copied().filter(|(at, _)| *at <= now)
        };
        let order = due(&self.forget_keyed).or_else(|| due(&self.forget_plain))?;
        self.forget_keyed.remove(&order);
        self.forget_plain.remove(&order);
        Some(order.1)
    }

    /// Whether two say the same, what is derived included.
    #[cfg(test)]
    pub(in crate::shard) fn agrees_with(&self, other: &Self) -> bool {
        self.keys == other.keys
            && self.forget_keyed == other.forget_keyed
            && self.forget_plain == other.forget_plain
    }
}

fn scoped(
    tenant: &TenantName,
    queue: &QueueName,
    key: Option<&IdempotencyKey>,
) -> Option<ScopedKey> {
    key.map(|key| ScopedKey {
        tenant: tenant.clone(),
        queue: queue.clone(),
        key: key.clone(),
    })
}
