//! What a gateway knows about shards: which are at home, and where work waits.

use std::collections::BTreeMap;

use leasehold_types::{QueueName, ShardId, Timestamp};

/// News about shards, shared by all sessions of a gateway. Old news are better than none: a slot that goes for a job
/// that is gone comes back.
#[derive(Debug, Clone, Default)]
pub struct Board {
    places: BTreeMap<ShardId, Place>,
}

#[derive(Debug, Clone, Default)]
struct Place {
    home: bool,
    ready: BTreeMap<QueueName, u64>,
    at: Timestamp,
}

impl Board {
    /// Replaces the list of shards, each with whether it is at home in this gateway's region. News of shards that
    /// stay are kept.
    pub fn set_shards(&mut self, shards: impl IntoIterator<Item = (ShardId, bool)>) {
        let mut old = std::mem::take(&mut self.places);
        let kept = shards.into_iter().map(|(shard, home)| {
            let place = old.remove(&shard).unwrap_or_default();
            (shard, Place { home, ..place })
        });
        self.places = kept.collect();
    }

    /// Jobs are ready in a queue: so many, as its leader says on its own account.
    pub fn news(&mut self, shard: ShardId, queue: QueueName, ready: u64, now: Timestamp) {
        if let Some(place) = self.places.get_mut(&shard) {
            place.ready.insert(queue, ready);
            place.at = now;
        }
    }

    /// All queues of a shard in which jobs are ready, as its leader says when asked.
    pub fn report(&mut self, shard: ShardId, ready: BTreeMap<QueueName, u64>, now: Timestamp) {
        if let Some(place) = self.places.get_mut(&shard) {
            place.ready = ready;
            place.at = now;
        }
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = ShardId> {
        self.places.keys().copied()
    }

    pub(super) fn has(&self, shard: ShardId) -> bool {
        self.places.contains_key(&shard)
    }

    pub(super) fn is_home(&self, shard: ShardId) -> bool {
        self.places.get(&shard).is_some_and(|place| place.home)
    }

    /// Jobs ready in these queues, and since when that is known.
    pub(super) fn backlog(&self, shard: ShardId, queues: &[QueueName]) -> (u64, Timestamp) {
        let Some(place) = self.places.get(&shard) else {
            return (0, Timestamp::ZERO);
        };
        let ready = queues.iter().filter_map(|queue| place.ready.get(queue));
        (ready.sum(), place.at)
    }

    /// Takes jobs off the board that slots are on their way to.
    pub(super) fn claim(&mut self, shard: ShardId, queues: &[QueueName], mut jobs: u64) {
        let Some(place) = self.places.get_mut(&shard) else {
            return;
        };
        for queue in queues {
            if let Some(ready) = place.ready.get_mut(queue) {
                let taken = jobs.min(*ready);
                *ready -= taken;
                jobs -= taken;
            }
        }
    }
}
