//! The way of a request from any node to the shard that decides it.
//!
//! [`Router`] knows who leads and repeats what may be repeated; [`Gateway`] checks what users send, picks shards and
//! puts answers together. Neither keeps any job state: a gateway that dies takes nothing with it.

mod candidates;
mod course;
mod digest;
mod jobs;
mod list;
mod overview;
mod queues;
mod router;
mod routes;
mod submit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_api::{ApiError, v1};
use leasehold_types::{JobId, ShardId};
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::seam::Seam;
use crate::shards::Shards;

pub(crate) use digest::digest;
pub use router::Router;

/// How long a call may look for its shard's leader: a failover between regions, and some more.
const CALL_TTL: Duration = Duration::from_secs(12);

/// How long a request waits for this node to have read the map, and how often that is looked at.
const MAP_PATIENCE: Duration = Duration::from_secs(5);
const MAP_LOOK: Duration = Duration::from_millis(20);

/// Takes users' and operators' requests. Clones are cheap.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    router: Router,
    shards: Shards,
    metrics: Metrics,
    seam: Seam,
    map_is_read: AtomicBool,
}

impl Gateway {
    /// A gateway of this node.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        router: Router,
        shards: Shards,
        metrics: Metrics,
        seam: Seam,
    ) -> Self {
        let inner = Inner {
            cluster,
            router,
            shards,
            metrics,
            seam,
            map_is_read: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The way to the leaders of shards.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.inner.router
    }

    fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// Waits until this node has read the cluster's map.
    ///
    /// SUBTLE: a node that has just started reads its log from the beginning. Until it is through, a queue or a slice
    /// that it does not find may well be there, and "there is no such thing" would be a lie.
    async fn map(&self) -> Result<(), ApiError> {
        let is_read = &self.inner.map_is_read;
        if is_read.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reading = async {
            while !self.has_read_to_the_end() {
                sleep(MAP_LOOK).await;
            }
        };
        timeout(MAP_PATIENCE, reading).await.map_err(|_| {
            ApiError::unavailable(
                "this node is still reading the cluster's map: try again in a moment",
            )
        })?;
        is_read.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn has_read_to_the_end(&self) -> bool {
        let cluster = self.cluster();
        let status = cluster.status();
        let node = cluster.node();
        let is_on_it = cluster.read(|metadata| metadata.node(node).is_some());
        is_on_it && status.applied >= status.last_log
    }

    /// The shard that holds a job.
    fn shard_of(&self, job: JobId) -> Result<ShardId, ApiError> {
        let shard = self.cluster().read(|metadata| metadata.shard_of_job(job));
        shard.ok_or_else(|| {
            let slice = job.virtual_shard();
            ApiError::not_found(format!(
                "job {job} cannot exist: no shard holds slice {slice} of the id space"
            ))
        })
    }

    async fn ask(
        &self,
        shard: ShardId,
        call: v1::shard_call::Call,
        ttl: Duration,
    ) -> Result<v1::shard_answer::Answer, ApiError> {
        let call = v1::ShardCall {
            shard_id: shard.get(),
            call: Some(call),
        };
        let answer = self.inner.router.call(shard, call, ttl).await?;
        answer.answer.ok_or_else(|| odd(shard))
    }

    /// Counts an error on its way out.
    fn counted<T>(&self, result: Result<T, ApiError>) -> Result<T, ApiError> {
        result.inspect_err(|error| self.inner.metrics.refused(error.code, 1))
    }
}

fn odd(shard: ShardId) -> ApiError {
    ApiError::internal(format!(
        "shard {shard} answered something else than it was asked: please report this"
    ))
}
