//! A node that started says so: which start it is, and where it can be reached now.
//!
//! In the background, and for as long as it takes: nodes that were all killed at once have nobody to tell yet, and
//! come back without it. What the others need at once, the newest address, they also hear in every hello.

use std::time::Duration;

use leasehold_api::convert::nodes::Joining;
use leasehold_api::v1::join_response;
use leasehold_api::{ApiError, v1};
use leasehold_core::metadata::MetadataCommand;
use leasehold_core::metadata::command::NodeStarted;
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry::backoff;
use leasehold_types::ErrorCode;
use tokio::time::sleep;

use super::{Cluster, VERSION, wire};

const BACKOFF: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// Repeats the announcement until it is committed.
///
/// # Errors
/// When the cluster will never take it, above all from an old copy of a data folder: the node must stop.
pub(crate) async fn announce(cluster: Cluster, seeds: Vec<String>) -> Result<(), ApiError> {
    let started = started(&cluster);
    let mut tried = 0;
    loop {
        let error = match announce_once(&cluster, &started, &seeds).await {
            Ok(()) => return Ok(()),
            Err(error) if is_final(error.code) => return Err(error),
            Err(error) => error,
        };
        tried += 1;
        tracing::debug!(%error, tried, "start not announced yet");
        sleep(backoff(&BACKOFF, tried, cluster.inner.entropy.next())).await;
    }
}

fn started(cluster: &Cluster) -> NodeStarted {
    let ours = cluster.membership();
    NodeStarted {
        node: ours.node,
        boot: ours.boots,
        addresses: ours.addresses.clone(),
        version: VERSION.to_owned(),
    }
}

/// First the way that every change takes; then any address that may still be somebody's.
async fn announce_once(
    cluster: &Cluster,
    started: &NodeStarted,
    seeds: &[String],
) -> Result<(), ApiError> {
    let command = MetadataCommand::NodeStarted(started.clone());
    let error = match cluster.propose(command).await {
        Ok(_) => return Ok(()),
        Err(error) if is_final(error.code) => return Err(error),
        Err(error) => error,
    };
    for address in addresses(cluster, seeds) {
        match ask(cluster, started, &address).await {
            Ok(()) => return Ok(()),
            Err(error) if is_final(error.code) => return Err(error),
            Err(error) => tracing::debug!(address, %error, "start not announced here"),
        }
    }
    Err(error)
}

fn addresses(cluster: &Cluster, seeds: &[String]) -> Vec<String> {
    let known = cluster.peers().heard_of().into_iter();
    known
        .map(|(_, _, address)| address)
        .chain(seeds.iter().cloned())
        .collect()
}

async fn ask(cluster: &Cluster, started: &NodeStarted, address: &str) -> Result<(), ApiError> {
    let request = wire::request(&Joining::Known(cluster.id(), started.clone()));
    let ttl = cluster.patience();
    let answer = cluster.peers().join(address, request, ttl).await;
    let answer: v1::JoinResponse =
        answer.map_err(|error| ApiError::unavailable(error.to_string()))?;
    match answer.result {
        Some(join_response::Result::Joined(_)) => Ok(()),
        Some(join_response::Result::Error(error)) => Err(error.into()),
        None => Err(ApiError::unavailable(format!(
            "{address} gave an empty answer"
        ))),
    }
}

/// Whether asking again can never help.
pub(super) const fn is_final(code: ErrorCode) -> bool {
    match code {
        ErrorCode::InvalidArgument
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::FailedPrecondition
        | ErrorCode::PermissionDenied
        | ErrorCode::Unsupported => true,
        ErrorCode::StaleFence
        | ErrorCode::Conflict
        | ErrorCode::NotLeader
        | ErrorCode::Unavailable
        | ErrorCode::ResourceExhausted
        | ErrorCode::Unknown
        | ErrorCode::Internal => false,
    }
}
