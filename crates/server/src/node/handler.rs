//! What this node does with the calls of other nodes: each goes to the part that answers it.

use std::io;

use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt, StreamExt};
use leasehold_api::{ApiError, v1};
use leasehold_consensus::SnapshotParts;
use leasehold_types::{ErrorCode, GroupId, ShardId};

use crate::cluster::Cluster;
use crate::disk::RoomGate;
use crate::peers::PeerHandler;
use crate::shards::Shards;
use crate::workers::WorkerSessions;

/// See the module.
pub(super) struct Handler {
    pub(super) cluster: Cluster,
    pub(super) shards: Shards,
    pub(super) sessions: WorkerSessions,
    pub(super) room: RoomGate,
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
        if let Some(shortage) = self.room.fullness() {
            let why = format!("{shortage}: no snapshot is taken");
            return ready(Err(ApiError::new(ErrorCode::ResourceExhausted, why))).boxed();
        }
        let parts = while_there_is_room(self.room.clone(), parts);
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
    ready(Err(ApiError::unavailable(why))).boxed()
}

/// The log lives on what is left of a full disk: a snapshot must not take that too.
fn while_there_is_room(room: RoomGate, parts: SnapshotParts) -> SnapshotParts {
    let checked = parts.map(move |part| match room.fullness() {
        None => part,
        Some(shortage) => Err(io::Error::new(io::ErrorKind::StorageFull, shortage)),
    });
    checked.boxed()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::stream;
    use tokio::sync::watch;

    use super::*;
    use crate::disk::{DiskRoom, RoomLevel};

    #[tokio::test]
    async fn snapshot_is_given_up_when_the_disk_gets_full_while_it_arrives() {
        let (tell, room) = watch::channel(DiskRoom::default());
        let of = |level| DiskRoom {
            level,
            ..DiskRoom::default()
        };
        let arriving = stream::repeat_with(|| Ok(v1::RaftSnapshotRows::default()));
        let gate = RoomGate::new(room, Path::new("/data"));
        let mut parts = while_there_is_room(gate, arriving.boxed());
        for level in [RoomLevel::Ample, RoomLevel::Low] {
            tell.send_replace(of(level));
            parts.next().await.unwrap().unwrap();
        }
        tell.send_replace(of(RoomLevel::Full));
        let error = parts.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
