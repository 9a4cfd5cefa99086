//! What this node does with the calls of other nodes: each goes to the part that answers it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use leasehold_api::{ApiError, v1};
use leasehold_consensus::SnapshotParts;
use leasehold_types::{GroupId, ShardId};

use crate::cluster::Cluster;
use crate::peers::PeerHandler;
use crate::shards::Shards;
use crate::workers::WorkerSessions;

/// See the module.
pub(super) struct Handler {
    pub(super) cluster: Cluster,
    pub(super) shards: Shards,
    pub(super) sessions: WorkerSessions,
}

impl PeerHandler for Handler {
    fn raft(
        &self,
        group: GroupId,
        request: v1::RaftRequest,
    ) -> BoxFuture<'static, Result<v1::RaftReply, ApiError>> {
        // Not inside of the future: the group takes its messages in the order of these calls.
        let reply = match group.shard() {
            None => self.cluster.group().handle(request),
            Some(shard) => match self.shards.group(shard) {
                Some(group) => group.handle(request),
                None => return no_replica(shard),
            },
        };
        reply.map(Ok).boxed()
    }

    fn snapshot(
        &self,
        group: GroupId,
        head: v1::RaftSnapshot,
        parts: SnapshotParts,
    ) -> BoxFuture<'static, Result<v1::RaftReply, ApiError>> {
        match group.shard() {
            None => {
                let group = self.cluster.group().clone();
                async move { Ok(group.receive_snapshot(head, parts).await) }.boxed()
            }
            Some(shard) => match self.shards.group(shard) {
                Some(group) => async move { Ok(group.receive_snapshot(head, parts).await) }.boxed(),
                None => no_replica(shard),
            },
        }
    }

    fn shard(&self, call: v1::ShardCall) -> BoxFuture<'static, v1::ShardAnswer> {
        let shards = self.shards.clone();
        async move { shards.call(call).await }.boxed()
    }

    fn metadata(&self, call: v1::MetadataCall) -> BoxFuture<'static, v1::MetadataAnswer> {
        let cluster = self.cluster.clone();
        async move { cluster.answer(call).await }.boxed()
    }

    fn deliver(&self, delivery: v1::Delivery) -> BoxFuture<'static, v1::DeliveryAnswer> {
        let sessions = self.sessions.clone();
        async move { sessions.deliver(delivery).await }.boxed()
    }

    fn join(&self, request: v1::JoinRequest) -> BoxFuture<'static, v1::JoinResponse> {
        let cluster = self.cluster.clone();
        async move { cluster.join(request).await }.boxed()
    }
}

/// A replica that this node is to have is opened once the metadata says so here: the leader asks again.
fn no_replica<T: Send + 'static>(shard: ShardId) -> BoxFuture<'static, Result<T, ApiError>> {
    let why = format!("this node has no replica of shard {shard} yet");
    std::future::ready(Err(ApiError::unavailable(why))).boxed()
}
