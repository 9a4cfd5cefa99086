//! What sessions need to know of the metadata: shards and which of them are at home, leases, endpoints.

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::lending::Pace;
use leasehold_core::metadata::MetadataState;
use leasehold_core::policy::QueuePolicy;
use leasehold_types::{JobId, QueueName, RegionName, ShardId};

use super::Inner;
use super::session::Session;

/// Keeps the board's shards and the sessions' paces as the metadata says, until everything stops.
pub(super) async fn follow(inner: Arc<Inner>) {
    let mut applied = inner.cluster.applied();
    loop {
        inner.read_map();
        tokio::select! {
            biased;
            () = inner.stopped.cancelled() => return,
            changed = applied.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

impl Inner {
    fn read_map(&self) {
        let region = self.cluster.region();
        let shards = self.cluster.read(|metadata| shards(metadata, &region));
        let moved = self.board().set_shards(shards);
        for session in self.registry.all() {
            let pace = self.pace(&session.queues);
            let paced = session.lending(|lending| {
                let before = lending.pace();
                lending.set_pace(pace);
                before != pace
            });
            if moved || paced {
                session.wake.notify_one();
            }
        }
    }

    /// How often offers of a session with these queues are repeated, and how long they hold: by their leases.
    pub(super) fn pace(&self, queues: &[QueueName]) -> Pace {
        let leases: Vec<Duration> = self.cluster.read(|metadata| {
            let records = queues.iter().filter_map(|queue| metadata.queue(queue));
            records.map(|record| record.policy.lease).collect()
        });
        let or_default = |lease: Option<&Duration>| {
            lease.map_or_else(|| QueuePolicy::default().lease, |lease| *lease)
        };
        let (shortest, longest) = (leases.iter().min(), leases.iter().max());
        Pace::of_leases(or_default(shortest), or_default(longest))
    }

    /// Whether any of these queues exists, as far as this node knows.
    pub(super) fn knows_any(&self, queues: &[QueueName]) -> bool {
        self.cluster
            .read(|metadata| queues.iter().any(|queue| metadata.queue(queue).is_some()))
    }

    /// The shard that holds a job.
    pub(super) fn shard_of(&self, job: JobId) -> Option<ShardId> {
        self.cluster.read(|metadata| metadata.shard_of_job(job))
    }

    /// Where the cluster's nodes take clients and workers: this one, its region's, the others.
    pub(super) fn endpoints(&self) -> Vec<String> {
        let (node, region) = (self.cluster.node(), self.cluster.region());
        self.cluster.read(|metadata| {
            let mut nodes: Vec<_> = metadata.nodes().collect();
            nodes.sort_by_key(|other| (other.id != node, other.region != region, other.id));
            nodes
                .iter()
                .map(|node| node.addresses.client.clone())
                .collect()
        })
    }

    /// Has every session that serves one of these queues look whether to lend elsewhere.
    pub(super) fn wake_for(&self, queues: &[QueueName]) {
        let sessions = self.registry.all();
        let serves = |session: &&Arc<Session>| queues.iter().any(|queue| session.serves(queue));
        for session in sessions.iter().filter(serves) {
            session.wake.notify_one();
        }
    }
}

/// Every shard, and whether it is at home in this region.
fn shards(metadata: &MetadataState, region: &RegionName) -> Vec<(ShardId, bool)> {
    let shards = metadata.shards();
    shards
        .map(|shard| (shard.id, &shard.home == region))
        .collect()
}
