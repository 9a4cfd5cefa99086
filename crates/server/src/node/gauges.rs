//! What the node as a whole exports, sampled once a second.

use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::{Group, Machine};
use leasehold_core::metadata::MetadataState;
use leasehold_storage::{LogHealth, LogStore};
use leasehold_types::Timestamp;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::disk::{DiskRoom, RoomGate, RoomLevel};
use crate::metrics::{DiskSample, GroupSample, LogSample, Metrics};
use crate::seam::Clock;
use crate::shards::Shards;

const EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Gauges {
    pub(super) cluster: Cluster,
    pub(super) shards: Shards,
    pub(super) log: Arc<dyn LogStore>,
    pub(super) room: RoomGate,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
}

impl Gauges {
    /// Runs for as long as the node does.
    pub(super) async fn run(self) {
        let mut stall = Stall::default();
        loop {
            self.sample(&mut stall);
            sleep(EVERY).await;
        }
    }

    fn sample(&self, stall: &mut Stall) {
        let peers = self.cluster.peers();
        // This node is in the one and not in the other.
        self.metrics
            .peers(peers.reachable().len() - 1, peers.known());
        self.metrics
            .metadata_applied(self.cluster.read(MetadataState::applied));
        self.sample_group(self.cluster.group());
        for group in self
            .shards
            .ids()
            .into_iter()
            .filter_map(|id| self.shards.group(id))
        {
            self.sample_group(&group);
        }
        let health = self.log.health();
        self.metrics
            .sample_log(stall.sample(&health, self.clock.now()));
        self.metrics.sample_disk(disk(self.room.room()));
    }

    fn sample_group<M: Machine>(&self, group: &Group<M>) {
        self.metrics.sample_group(group.id(), sample(group));
    }
}

fn disk(room: DiskRoom) -> DiskSample {
    DiskSample {
        free_bytes: room.free,
        size_bytes: room.total,
        low_bytes: room.low,
        is_short: room.level != RoomLevel::Ample,
    }
}

fn sample<M: Machine>(group: &Group<M>) -> GroupSample {
    let status = group.status();
    GroupSample {
        term: status.term,
        leads: status.is_leader(),
        has_leader: status.leader.is_some(),
        voters: status.voters.len(),
        last_log: status.last_log,
        applied: status.applied,
        since_quorum: status.since_quorum(),
        checkpoints: Arc::clone(group.checkpoint_counts()),
    }
}

/// Since when nothing was synced although something waits.
#[derive(Default)]
struct Stall {
    synced: u64,
    since: Option<Timestamp>,
}

impl Stall {
    fn sample(&mut self, health: &LogHealth, now: Timestamp) -> LogSample {
        if health.unsynced_batches == 0 || health.synced_batches != self.synced {
            self.since = None;
        }
        self.synced = health.synced_batches;
        let waits = health.unsynced_batches > 0;
        let since = waits.then(|| *self.since.get_or_insert(now));
        LogSample {
            syncs: health.syncs,
            written_bytes: health.bytes_written,
            disk_bytes: health.disk_bytes,
            spare_bytes: health.spare_bytes,
            unsynced: health.unsynced_batches,
            stalled_for: since.map(|since| now.since(since)).unwrap_or_default(),
        }
    }
}
