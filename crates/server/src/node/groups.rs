//! Opens the replicas that the metadata gives this node, as it gives them, and keeps their members to the intent.

use leasehold_consensus::{ChangeError, Group};
use leasehold_core::shard::ShardState;
use leasehold_types::{GroupId, Incarnation, NodeId, ShardId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Tasks;
use super::store::Opener;
use crate::cluster::{Cluster, follow_shard};
use crate::shards::{Deliveries, Shards};

/// See the module.
pub(super) struct Replicas {
    pub(super) cluster: Cluster,
    pub(super) shards: Shards,
    pub(super) deliveries: Deliveries,
    pub(super) opener: Opener,
    pub(super) tasks: Tasks,
    /// Index of the metadata whose replicas are open here: readiness waits for it.
    pub(super) opened: watch::Sender<u64>,
}

impl Replicas {
    /// Runs until it is told to stop.
    ///
    /// SUBTLE: never dropped half-way: a replica that was opened and not handed to [`Shards`] would have nobody to
    /// close it, and would vote on after its node was stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut applied = self.cluster.applied();
        loop {
            let index = *applied.borrow_and_update();
            for (shard, initial) in self.wanted() {
                if stop.is_cancelled() {
                    return;
                }
                self.open(shard, initial).await;
            }
            self.opened.send_replace(index);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = applied.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Replicas that should be open here and are not, each with the node that founds its group.
    fn wanted(&self) -> Vec<(ShardId, NodeId)> {
        let (node, open) = (self.cluster.node(), self.shards.ids());
        self.cluster.read(|metadata| {
            let ours = metadata.shards().filter(|shard| {
                let is_member = shard.initial == node || shard.voters.contains(&node);
                is_member || self.opener.holds(GroupId::of_shard(shard.id))
            });
            let missing = ours.filter(|shard| !open.contains(&shard.id));
            missing.map(|shard| (shard.id, shard.initial)).collect()
        })
    }

    /// A replica that cannot be opened stays closed, and the others serve: its group has more of them.
    async fn open(&self, shard: ShardId, initial: NodeId) {
        let group = GroupId::of_shard(shard);
        let group = match self
            .opener
            .open(group, ShardState::new(Incarnation::default()))
            .await
        {
            Ok(group) => group,
            Err(error) => return tracing::error!(%shard, %error, "replica not opened"),
        };
        if initial == self.cluster.node() {
            found(&group, shard).await;
        }
        tracing::info!(%shard, "replica opened");
        self.shards.open(group.clone(), self.deliveries.clone());
        self.tasks
            .spawn(follow_shard(self.cluster.clone(), group, shard));
    }
}

/// Only on an empty store: the group itself refuses any other.
async fn found(group: &Group<ShardState>, shard: ShardId) {
    match group.initialize().await {
        Ok(()) => tracing::info!(%shard, "shard founded"),
        Err(ChangeError::AlreadyFounded) => {}
        Err(error) => tracing::error!(%shard, %error, "shard not founded"),
    }
}
