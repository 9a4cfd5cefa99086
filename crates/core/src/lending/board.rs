//! What a gateway knows about shards: which are at home, and where work waits.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_types::{QueueName, ShardId, Timestamp};

/// News count for so long. A leader whose backlog stands says so again well within that.
const NEWS_LAST: Duration = Duration::from_secs(12);

/// News about shards, shared by all sessions of a gateway. A slot that goes for a job which is gone comes back.
#[derive(Debug, Clone, Default)]
pub struct Board {
    places: BTreeMap<ShardId, Place>,
}

#[derive(Debug, Clone, Default)]
struct Place {
    home: bool,
    ready: BTreeMap<QueueName, News>,
}

#[derive(Debug, Clone, Copy)]
struct News {
    ready: u64,
    at: Timestamp,
}

impl Board {
    /// Replaces the list of shards, each with whether it is at home in this gateway's region. News of shards that
    /// stay are kept. Whether anything changed.
    pub fn set_shards(&mut self, shards: impl IntoIterator<Item = (ShardId, bool)>) -> bool {
        let mut old = std::mem::take(&mut self.places);
        let mut changed = false;
        for (shard, home) in shards {
            let was = old.remove(&shard);
            changed |= was.as_ref().is_none_or(|place| place.home != home);
            let ready = was.map(|place| place.ready).unwrap_or_default();
            self.places.insert(shard, Place { home, ready });
        }
        changed || !old.is_empty()
    }

    /// Jobs are ready in a queue: so many, as its leader says.
    pub fn news(&mut self, shard: ShardId, queue: QueueName, ready: u64, now: Timestamp) {
        if let Some(place) = self.places.get_mut(&shard) {
            place.ready.insert(queue, News { ready, at: now });
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

    /// Jobs ready in these queues, and when that was last heard.
    pub(super) fn backlog(
        &self,
        shard: ShardId,
        queues: &[QueueName],
        now: Timestamp,
    ) -> (u64, Timestamp) {
        let place = self.places.get(&shard);
        let heard = place.into_iter().flat_map(|place| {
            let news = queues.iter().filter_map(|queue| place.ready.get(queue));
            news.filter(|news| now.since(news.at) < NEWS_LAST)
        });
        heard.fold((0, Timestamp::ZERO), |(ready, at), news| {
            (ready + news.ready, at.max(news.at))
        })
    }

    /// Takes jobs off the board that slots are on their way to.
    pub(super) fn claim(&mut self, shard: ShardId, queues: &[QueueName], mut jobs: u64) {
        let Some(place) = self.places.get_mut(&shard) else {
            return;
        };
        for queue in queues {
            if let Some(news) = place.ready.get_mut(queue) {
                let taken = jobs.min(news.ready);
                news.ready -= taken;
                jobs -= taken;
            }
        }
    }
}
