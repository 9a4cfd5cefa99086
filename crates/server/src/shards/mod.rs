//! The shard replicas of this node: who asks one of them goes through [`Shards`].
//!
//! Each replica has one runner task, which follows its group's status and, while this node leads, holds the
//! dispatcher. Everything that changes a shard goes through that one task as an event and into the log as a batch, so
//! there is no lock around the dispatcher and no await while it is half changed. Reads go past it, behind a read
//! barrier that all who wait at the moment share.
//!
//! What must hold: nothing leaves a leader before its commit is applied; a request that may be in the log is answered
//! `unknown` and never `not_leader`; a fence that is stale is refused before it enters the log.

mod answer;
mod barrier;
mod batcher;
mod deliveries;
mod effects;
mod gate;
mod handover;
mod leader;
mod mailbox;
mod news;
mod policies;
mod replica;
mod runner;
mod waiters;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use leasehold_api::{ApiError, v1};
use leasehold_consensus::Group;
use leasehold_core::shard::ShardState;
use leasehold_core::shard::command::Submit;
use leasehold_types::{ErrorCode, NodeId, ShardId};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::disk::{DiskHealth, RoomGate};
use crate::metrics::Metrics;
use crate::seam::Seam;

pub use deliveries::Deliveries;
pub(crate) use handover::{Handover, hand_over};

use replica::Replica;

/// What every replica of this node works with.
pub struct ShardsOptions {
    /// The metadata, as this node knows it.
    pub cluster: Cluster,
    /// Time and randomness.
    pub seam: Seam,
    /// Where the counting goes.
    pub metrics: Metrics,
    /// Whether the node's log keeps up: see [`DiskWatch`](crate::disk::DiskWatch).
    pub disk: watch::Receiver<DiskHealth>,
    /// Whether there is room for new jobs.
    pub room: RoomGate,
}

/// This node's shard replicas. Clones are cheap and share them.
#[derive(Clone)]
pub struct Shards {
    inner: Arc<Inner>,
}

struct Inner {
    context: Arc<ShardsOptions>,
    replicas: RwLock<BTreeMap<ShardId, Arc<Replica>>>,
    leaders: watch::Sender<()>,
}

impl Shards {
    /// No replicas yet.
    #[must_use]
    pub fn new(options: ShardsOptions) -> Self {
        let inner = Inner {
            context: Arc::new(options),
            replicas: RwLock::default(),
            leaders: watch::Sender::new(()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Takes over a shard's opened group and starts its runner. A shard that is open already stays as it is.
    ///
    /// The group has the number of its shard; a metadata group is refused by doing nothing.
    pub fn open(&self, group: Group<ShardState>, deliveries: Deliveries) {
        let Some(shard) = group.id().shard() else {
            return;
        };
        let mut replicas = self.write();
        replicas.entry(shard).or_insert_with(|| {
            let (context, leaders) = (self.inner.context.clone(), self.inner.leaders.clone());
            Replica::start(shard, group, context, deliveries, leaders)
        });
    }

    /// Answers a call if this node leads the shard; else the answer is an error, `not_leader` with a hint where the
    /// leader is known.
    ///
    /// Every answer is definite for all its items, or the whole call is `not_leader`, `unavailable` (certainly not
    /// done) or `unknown` (repeat it: every call may be repeated).
    pub async fn call(&self, call: v1::ShardCall) -> v1::ShardAnswer {
        let shard = ShardId::new(call.shard_id);
        match self.replica(shard) {
            Some(replica) => replica.call(call).await,
            None => answer::failed(no_replica(shard)),
        }
    }

    /// Takes jobs in if this node leads the shard, as [`Shards::call`] does, for a gateway on this node: their way over
    /// the wire is spared.
    pub(crate) async fn submit(
        &self,
        shard: ShardId,
        jobs: Vec<Submit>,
        metadata_index: u64,
    ) -> Result<Vec<v1::SubmitResult>, ApiError> {
        match self.replica(shard) {
            Some(replica) => replica.submit(jobs, metadata_index).await,
            None => Err(no_replica(shard)),
        }
    }

    /// The node that leads the shard, as far as this node's replica knows.
    #[must_use]
    pub fn leader_of(&self, shard: ShardId) -> Option<NodeId> {
        self.replica(shard)?.group().status().leader
    }

    /// Whether this node leads the shard and serves it.
    #[must_use]
    pub fn serves(&self, shard: ShardId) -> bool {
        self.replica(shard).is_some_and(|replica| replica.serves())
    }

    /// Wakes when a replica of this node learns who leads its shard, or this node begins to serve one.
    #[must_use]
    pub fn leaders(&self) -> watch::Receiver<()> {
        self.inner.leaders.subscribe()
    }

    /// The shard's group, where this node has a replica: for Raft frames, for membership, for status.
    #[must_use]
    pub fn group(&self, shard: ShardId) -> Option<Group<ShardState>> {
        self.replica(shard).map(|replica| replica.group().clone())
    }

    /// Every shard that has a replica here, in the order of ids.
    #[must_use]
    pub fn ids(&self) -> Vec<ShardId> {
        self.read().keys().copied().collect()
    }

    /// Hands leaderships away where another replica is caught up, ends the runners and closes the groups. Handing over
    /// takes at most `within`; with none, nothing is handed over.
    pub async fn stop(&self, within: Duration) {
        let replicas: Vec<_> = self.read().values().cloned().collect();
        join_all(replicas.iter().map(|replica| replica.stop(within))).await;
    }

    fn replica(&self, shard: ShardId) -> Option<Arc<Replica>> {
        self.read().get(&shard).cloned()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<ShardId, Arc<Replica>>> {
        self.inner
            .replicas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ShardId, Arc<Replica>>> {
        self.inner
            .replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_replica(shard: ShardId) -> ApiError {
    ApiError::new(
        ErrorCode::NotLeader,
        format!("this node has no replica of shard {shard}: ask one of its voters"),
    )
}
