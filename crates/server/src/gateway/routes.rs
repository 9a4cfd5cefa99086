//! Which shard a new job goes to, and in which slices of it the job's id is minted.
//!
//! An idempotency key leads to one slice for good. A job without one goes to the shard at home in the gateway's
//! region, or to the next whose leader can be reached; its id then says for good where it is.

use leasehold_api::convert::nodes::leader_hint;
use leasehold_api::convert::submit::RouteQuery;
use leasehold_api::{ApiError, v1};
use leasehold_core::metadata::records::{QueueRecord, ShardRecord};
use leasehold_core::metadata::routing::{home_shards, virtual_shard_for_key};
use leasehold_core::metadata::{MetadataRefusal, MetadataState};
use leasehold_types::{IdempotencyKey, JobId, RegionName, ShardId, TenantName, VirtualShard};

use super::Gateway;

/// Endpoints told to a client, so that it can go on when its own is gone.
const ENDPOINTS: usize = 16;

/// Where a new job's id is minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) shard: ShardId,
    /// The first slice to mint ids in.
    pub(super) first: VirtualShard,
    /// How many, one after the other.
    pub(super) slices: u16,
    /// Index of the queue's policy: what the shard must have been told.
    pub(super) policy: u64,
}

impl Route {
    /// Whether a job's id is one that was minted in the route.
    pub(super) fn holds(&self, job: JobId) -> bool {
        let (slice, first) = (job.virtual_shard().get(), self.first.get());
        slice >= first && slice - first < self.slices
    }

    /// An id in the route, made of random bits.
    pub(super) fn mint(&self, random: u128, pick: u64) -> JobId {
        let offset = pick % u64::from(self.slices.max(1));
        let offset = u16::try_from(offset).unwrap_or(0);
        let slice = VirtualShard::new(self.first.get().saturating_add(offset));
        let mut bits = [0; 12];
        bits.copy_from_slice(&random.to_be_bytes()[4..]);
        JobId::new(slice, bits)
    }
}

/// Where a job that asks so may go. `is_led` says which shards can be written to now, as far as is known.
pub(super) fn route(
    metadata: &MetadataState,
    region: &RegionName,
    query: &RouteQuery,
    is_led: impl Fn(ShardId) -> bool,
) -> Result<Route, ApiError> {
    let queue = metadata
        .queue(&query.queue)
        .ok_or_else(|| MetadataRefusal::UnknownQueue(query.queue.clone()))?;
    let tenant = query.tenant.as_ref().unwrap_or(&queue.policy.tenant);
    let found = match &query.key {
        Some(key) => route_of_key(metadata, queue, tenant, key),
        None => route_without_key(metadata, queue, region, is_led),
    };
    found.ok_or_else(|| {
        let queue = &queue.name;
        ApiError::unavailable(format!(
            "queue {queue} has no shard yet: try again in a moment"
        ))
    })
}

fn route_of_key(
    metadata: &MetadataState,
    queue: &QueueRecord,
    tenant: &TenantName,
    key: &IdempotencyKey,
) -> Option<Route> {
    let first = virtual_shard_for_key(queue, metadata, tenant, key)?;
    Some(Route {
        shard: metadata.shard_of(first)?,
        first,
        slices: 1,
        policy: queue.index,
    })
}

fn route_without_key(
    metadata: &MetadataState,
    queue: &QueueRecord,
    region: &RegionName,
    is_led: impl Fn(ShardId) -> bool,
) -> Option<Route> {
    let shards = home_shards(metadata, queue, region);
    let led = shards.iter().find(|shard| is_led(**shard));
    let shard = led.or(shards.first())?;
    let ShardRecord {
        id,
        first_virtual,
        virtual_count,
        ..
    } = metadata.shard(*shard)?;
    Some(Route {
        shard: *id,
        first: *first_virtual,
        slices: *virtual_count,
        policy: queue.index,
    })
}

impl Gateway {
    /// Tells a submitter where to mint the ids of new jobs of a queue, and whom else to ask.
    ///
    /// # Errors
    /// When a field is malformed, or there is no such queue.
    pub async fn route(&self, request: &v1::RouteRequest) -> Result<v1::RouteResponse, ApiError> {
        self.map().await?;
        let query = RouteQuery::try_from(request).map_err(ApiError::from);
        let route = self.counted(query.and_then(|query| self.find_route(&query)))?;
        Ok(v1::RouteResponse {
            first_virtual_shard: u32::from(route.first.get()),
            virtual_shards: u32::from(route.slices),
            shard_id: route.shard.get(),
            endpoints: self.endpoints(),
        })
    }

    pub(super) fn find_route(&self, query: &RouteQuery) -> Result<Route, ApiError> {
        let cluster = self.cluster();
        let region = cluster.region();
        let is_led = |shard| self.inner.router.knows_leader_of(shard);
        cluster.read(|metadata| route(metadata, &region, query, is_led))
    }

    /// Client endpoints of the cluster's nodes: those of this region first, then the others.
    pub(super) fn endpoints(&self) -> Vec<String> {
        let here = self.cluster().region();
        self.cluster().read(|metadata| {
            let mut nodes: Vec<_> = metadata.nodes().collect();
            nodes.sort_by_key(|node| node.region != here);
            let endpoints = nodes.into_iter().map(|node| leader_hint(node).address);
            endpoints.take(ENDPOINTS).collect()
        })
    }
}
