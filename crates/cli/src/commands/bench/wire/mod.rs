//! Thin connections to a node: one channel each, generated stubs, no repeats, no routing, no renewals by themselves.
//!
//! This is not the SDK on purpose. A measuring client shares the machine with what it measures, and an SDK that keeps
//! books for the day an endpoint dies would be measured along with the server. What goes over the wire is the same:
//! a submit stream or unary submits, a worker session or unary leases and completions, with the SDK's own settings of
//! HTTP/2.

mod submitter;
mod worker;

pub(super) use submitter::Submitter;
pub(super) use worker::{Heard, Reported, Worker};

use anyhow::Context;
use leasehold_api::v1;
use leasehold_api::v1::jobs_client::JobsClient;
use leasehold_client::{Address, Tcp};
use tonic::transport::Channel;

use super::jobs::Slices;

/// Which calls are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// One stream for submits, one for a worker's leases and results.
    Streams,
    /// A call for each submit, lease and result.
    Unary,
}

/// A connection of its own.
pub(super) async fn connect(address: &Address) -> anyhow::Result<Channel> {
    let endpoint = Tcp::endpoint(address).map_err(anyhow::Error::from_boxed)?;
    let channel = endpoint.connect().await;
    channel.with_context(|| format!("connecting to {address}"))
}

/// Where jobs that come in through this connection are minted.
async fn route(channel: &Channel, queue: &str) -> anyhow::Result<Slices> {
    let request = v1::RouteRequest {
        queue: queue.to_owned(),
        ..v1::RouteRequest::default()
    };
    let route = JobsClient::new(channel.clone()).route(request).await;
    let route = route.with_context(|| format!("asking for the route of queue {queue}"))?;
    let route = route.into_inner();
    Ok(Slices {
        first: u64::from(route.first_virtual_shard),
        count: u64::from(route.virtual_shards),
    })
}
