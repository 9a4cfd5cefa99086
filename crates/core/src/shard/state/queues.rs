//! The queues that a shard knows: their policies, their counts, and when their ended jobs may go.
//!
//! Policies come from the metadata through the log and are stored; the rest is derived. Ended jobs stand per queue in
//! the order in which they ended, so that a changed retention holds for all of them at once without touching any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use leasehold_types::{JobId, QueueName, Timestamp};

use crate::policy::QueuePolicy;
use crate::shard::job::{JobHeader, JobState};
use crate::shard::view::QueueStats;

/// A queue's policy, and the metadata entry that set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedPolicy {
    /// The policy.
    pub policy: Arc<QueuePolicy>,
    /// Index of the metadata entry that set it.
    pub index: u64,
}

/// Ended jobs that share a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shelf {
    Done,
    Failed,
}

#[derive(Debug, Clone)]
struct Queue {
    placed: PlacedPolicy,
    stats: QueueStats,
    done: BTreeSet<(Timestamp, JobId)>,
    failed: BTreeSet<(Timestamp, JobId)>,
}

impl Queue {
    const fn new(placed: PlacedPolicy) -> Self {
        Self {
            placed,
            stats: QueueStats {
                waiting: 0,
                ready: 0,
                leased: 0,
                done: 0,
                cancelled: 0,
                dead: 0,
            },
            done: BTreeSet::new(),
            failed: BTreeSet::new(),
        }
    }

    const fn shelf(&self, shelf: Shelf) -> &BTreeSet<(Timestamp, JobId)> {
        match shelf {
            Shelf::Done => &self.done,
            Shelf::Failed => &self.failed,
        }
    }

    const fn shelf_mut(&mut self, shelf: Shelf) -> &mut BTreeSet<(Timestamp, JobId)> {
        match shelf {
            Shelf::Done => &mut self.done,
            Shelf::Failed => &mut self.failed,
        }
    }

    fn retention(&self, shelf: Shelf) -> Duration {
        match shelf {
            Shelf::Done => self.placed.policy.retain_done,
            Shelf::Failed => self.placed.policy.retain_failed,
        }
    }

    /// When the first job of a shelf may go.
    fn next_purge(&self, shelf: Shelf) -> Option<Timestamp> {
        let (ended_at, _) = self.shelf(shelf).first()?;
        Some(*ended_at + self.retention(shelf))
    }
}

/// All queues of a shard.
#[derive(Debug, Clone, Default)]
pub(in crate::shard) struct QueueBook {
    queues: BTreeMap<QueueName, Queue>,
    newest_index: u64,
    /// For each shelf that holds anything: when its first job may go.
    retention: BTreeSet<(Timestamp, QueueName, Shelf)>,
}

impl QueueBook {
    pub(in crate::shard) fn policy(&self, queue: &QueueName) -> Option<&Arc<QueuePolicy>> {
        self.queues.get(queue).map(|queue| &queue.placed.policy)
    }

    pub(super) fn placed(&self) -> impl ExactSizeIterator<Item = (&QueueName, &PlacedPolicy)> {
        self.queues
            .iter()
            .map(|(name, queue)| (name, &queue.placed))
    }

    pub(super) fn index(&self, queue: &QueueName) -> Option<u64> {
        self.queues.get(queue).map(|queue| queue.placed.index)
    }

    pub(super) const fn newest_index(&self) -> u64 {
        self.newest_index
    }

    pub(in crate::shard) fn len(&self) -> usize {
        self.queues.len()
    }

    /// The one shared copy of a queue's name.
    pub(super) fn name(&self, queue: &QueueName) -> Option<&QueueName> {
        self.queues.get_key_value(queue).map(|(name, _)| name)
    }

    pub(super) fn stats(&self) -> impl Iterator<Item = (&QueueName, QueueStats)> {
        self.queues.iter().map(|(name, queue)| (name, queue.stats))
    }

    /// Sets a policy unless the queue has a newer one.
    pub(in crate::shard) fn put(&mut self, name: &QueueName, placed: PlacedPolicy) {
        self.newest_index = self.newest_index.max(placed.index);
        let Some(queue) = self.queues.get(name) else {
            self.queues.insert(name.clone(), Queue::new(placed));
            return;
        };
        if queue.placed.index < placed.index {
            self.change(name, |queue| queue.placed = placed);
        }
    }

    /// Counts a job under its state.
    pub(super) fn enter(&mut self, header: &JobHeader) {
        match shelf_of(&header.state) {
            Some((shelf, at)) => self.change(&header.queue, |queue| {
                queue.shelf_mut(shelf).insert((at, header.id));
                *count_of(&mut queue.stats, &header.state) += 1;
            }),
            None => self.recount(header, |count| *count += 1),
        }
    }

    /// The opposite of [`QueueBook::enter`].
    pub(super) fn leave(&mut self, header: &JobHeader) {
        match shelf_of(&header.state) {
            Some((shelf, at)) => self.change(&header.queue, |queue| {
                queue.shelf_mut(shelf).remove(&(at, header.id));
                *count_of(&mut queue.stats, &header.state) -= 1;
            }),
            None => self.recount(header, |count| *count -= 1),
        }
    }

    fn recount(&mut self, header: &JobHeader, by: impl FnOnce(&mut u64)) {
        if let Some(queue) = self.queues.get_mut(&header.queue) {
            by(count_of(&mut queue.stats, &header.state));
        }
    }

    /// Changes a queue and keeps the order of retentions true.
    fn change(&mut self, name: &QueueName, change: impl FnOnce(&mut Queue)) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        let heads = |queue: &Queue| [Shelf::Done, Shelf::Failed].map(|s| (s, queue.next_purge(s)));
        let before = heads(queue);
        change(queue);
        for ((shelf, old), (_, new)) in before.into_iter().zip(heads(queue)) {
            if old == new {
                continue;
            }
            if let Some(at) = old {
                self.retention.remove(&(at, name.clone(), shelf));
            }
            if let Some(at) = new {
                self.retention.insert((at, name.clone(), shelf));
            }
        }
    }

    /// When the next ended job may go.
    pub(super) fn next_purge(&self) -> Option<Timestamp> {
        self.retention.first().map(|(at, _, _)| *at)
    }

    /// A job whose retention has ended.
    pub(super) fn overdue(&self, now: Timestamp) -> Option<JobId> {
        let (at, name, shelf) = self.retention.first()?;
        let (_, id) = self.queues.get(name)?.shelf(*shelf).first()?;
        (*at <= now).then_some(*id)
    }

    /// Whether two say the same.
    #[cfg(test)]
    pub(in crate::shard) fn agrees_with(&self, other: &Self) -> bool {
        self.stats().eq(other.stats())
            && self.retention == other.retention
            && self.newest_index == other.newest_index
    }
}

impl PartialEq for QueueBook {
    fn eq(&self, other: &Self) -> bool {
        self.placed().eq(other.placed())
    }
}

fn shelf_of(state: &JobState) -> Option<(Shelf, Timestamp)> {
    match state {
        JobState::Done(done) => Some((Shelf::Done, done.at)),
        JobState::Cancelled { at, .. } | JobState::Dead { at, .. } => Some((Shelf::Failed, *at)),
        JobState::Waiting { .. } | JobState::Ready | JobState::Leased(_) => None,
    }
}

fn count_of<'a>(stats: &'a mut QueueStats, state: &JobState) -> &'a mut u64 {
    match state {
        JobState::Waiting { .. } => &mut stats.waiting,
        JobState::Ready => &mut stats.ready,
        JobState::Leased(_) => &mut stats.leased,
        JobState::Done(_) => &mut stats.done,
        JobState::Cancelled { .. } => &mut stats.cancelled,
        JobState::Dead { .. } => &mut stats.dead,
    }
}
