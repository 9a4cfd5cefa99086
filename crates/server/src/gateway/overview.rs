//! The cluster and its shards at a glance, for operators: as this node sees them, and as each shard's leader does.

use std::time::Duration;

use futures_util::future::join_all;
use leasehold_api::convert::admin::shard as shard_record;
use leasehold_api::convert::nodes::node_status;
use leasehold_api::convert::policy::timings_word;
use leasehold_api::v1::shard_answer::Answer;
use leasehold_api::v1::shard_call::Call;
use leasehold_api::{ApiError, v1};
use leasehold_types::{GroupId, NodeId, ShardId};

use super::{Gateway, odd};
use crate::cluster::VERSION;
use crate::replica_status::group_status;

/// How long a leader is given to say how its shard stands: people wait for the slowest.
const STATUS_TTL: Duration = Duration::from_secs(2);

impl Gateway {
    /// The cluster as this node sees it. Asks nobody else, so it answers whatever is broken.
    #[must_use]
    pub fn cluster_status(&self) -> v1::ClusterStatusResponse {
        let cluster = self.cluster();
        let (here, peers) = (cluster.node(), cluster.peers());
        let (regions, nodes) = cluster.read(|metadata| {
            let regions = metadata.regions().map(v1::RegionStatus::from).collect();
            let nodes = metadata.nodes();
            let nodes = nodes.map(|node| node_status(node, peers.unreachable_reason(node.id)));
            (regions, nodes.collect())
        });
        v1::ClusterStatusResponse {
            cluster_id: cluster.id().to_string(),
            timings: timings_word(cluster.timings()).to_owned(),
            node_id: here.get(),
            regions,
            nodes,
            metadata: Some(group_status(GroupId::METADATA, &cluster.status())),
            pending: cluster.pending(),
            version: VERSION.to_owned(),
        }
    }

    /// Every shard as its leader sees it; where that could not be asked, what metadata says, and why.
    ///
    /// # Errors
    /// `unavailable` while this node has not read the map yet.
    pub async fn list_shards(&self) -> Result<v1::ListShardsResponse, ApiError> {
        self.map().await?;
        let ids: Vec<ShardId> = self
            .cluster()
            .read(|metadata| metadata.shards().map(|shard| shard.id).collect());
        let statuses = self.statuses(&ids).await.into_iter();
        let shards = statuses.map(|(id, status)| match status {
            Ok(shard) => shard,
            Err(error) => self.shard_without_leader(id, error),
        });
        Ok(v1::ListShardsResponse {
            shards: shards.collect(),
        })
    }

    /// How each shard stands, from its leader, all asked at once.
    pub(super) async fn statuses(
        &self,
        shards: &[ShardId],
    ) -> Vec<(ShardId, Result<v1::Shard, ApiError>)> {
        let asked = shards
            .iter()
            .map(|shard| async { (*shard, self.shard_status(*shard).await) });
        join_all(asked).await
    }

    async fn shard_status(&self, shard: ShardId) -> Result<v1::Shard, ApiError> {
        let call = Call::Status(v1::ShardStatusRequest {});
        let answer = self.ask(shard, call, STATUS_TTL).await?;
        if let Answer::Status(status) = answer {
            return Ok(status);
        }
        Err(odd(shard))
    }

    fn shard_without_leader(&self, id: ShardId, error: ApiError) -> v1::Shard {
        let record = self
            .cluster()
            .read(|metadata| metadata.shard(id).map(shard_record));
        let leader = self.inner.router.leader_of(id);
        let replica = self.inner.shards.group(id);
        v1::Shard {
            leader: leader.map_or(0, NodeId::get),
            error: Some(error.into()),
            replica: replica.map(|group| group_status(group.id(), &group.status())),
            ..record.unwrap_or_default()
        }
    }
}
