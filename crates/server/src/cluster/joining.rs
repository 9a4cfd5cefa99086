//! How a node without an id gets one: it asks the nodes that it was told of, all at once, until one lets it in.
//!
//! The same random number goes with every try, so that however often answers are lost, and however many are asked, it is
//! one join. It waits as long as it takes, and says what for: a node that is started before its cluster is no error. All
//! at once, because one that takes the call may not answer for long: newcomers that are told of each other would wait
//! for each other, with the node that could let them in next in line.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use leasehold_api::ApiError;
use leasehold_api::convert::nodes::Joining;
use leasehold_api::convert::policy::timings;
use leasehold_api::v1::{self, join_response};
use leasehold_core::metadata::command::{AddNode, Addresses};
use leasehold_core::policy::{BackoffPolicy, Timings};
use leasehold_core::retry::backoff;
use leasehold_types::{Boot, BootCount, ClusterId, NodeId, RegionName};
use tokio::time::sleep;

use super::announce::is_final;
use super::{build, wire};
use crate::peers::{self, JoinCallError};
use crate::seam::Seam;

/// Longest that one node is given to answer: it may have to find a leader first.
const TTL: Duration = Duration::from_secs(15);

const BACKOFF: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(100),
    cap: Duration::from_secs(2),
};

/// Why a node can never join as it was started.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Every address is its own.
    #[error(
        "the only addresses to join through are this node's own: name those of other nodes, or found a cluster with --init"
    )]
    OnlyItself,
    /// A door of a node, and not the one for nodes; or something else that is no node.
    #[error(transparent)]
    WrongDoor(JoinCallError),
    /// The cluster will not have it.
    #[error("the node at {address} does not let this one join: {cause}")]
    Refused {
        /// Who said so.
        address: String,
        /// What it said; part of the message, and so not a source of its own.
        cause: Box<ApiError>,
    },
}

/// A node that has no id yet.
#[derive(Debug, Clone)]
pub(crate) struct Newcomer {
    pub(crate) nonce: u128,
    pub(crate) region: RegionName,
    pub(crate) addresses: Addresses,
    pub(crate) boot: Boot,
}

/// What a node knows once it was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's id, for good.
    pub node: NodeId,
    /// Timings of every group.
    pub timings: Timings,
    /// The nodes there are, with their newest start and their address for peers.
    pub nodes: Vec<(NodeId, Boot, String)>,
}

impl Newcomer {
    pub(crate) fn add_node(&self) -> AddNode {
        AddNode {
            nonce: self.nonce,
            region: self.region.clone(),
            addresses: self.addresses.clone(),
            boot: self.boot,
            build: build(),
        }
    }
}

/// Asks until a node lets this one in.
pub(crate) async fn join(
    newcomer: &Newcomer,
    seeds: &[String],
    seam: &Seam,
) -> Result<Joined, JoinError> {
    let request = wire::request(&Joining::New(newcomer.add_node()));
    let others = seeds
        .iter()
        .filter(|seed| **seed != newcomer.addresses.peer);
    let ways = others.map(|address| until_decided(address, &request, seam).boxed());
    let mut ways: Vec<_> = ways.collect();
    if ways.is_empty() {
        return Err(JoinError::OnlyItself);
    }
    loop {
        match select_all(ways).await {
            // It answers sooner than a node that lets this one in: that must not decide.
            (Err(error @ JoinError::WrongDoor(_)), _, others) if !others.is_empty() => {
                tracing::warn!(%error, "not a way into the cluster");
                ways = others;
            }
            (decision, _, _) => return decision,
        }
    }
}

/// Asks one address until it lets this node in, or never will.
async fn until_decided(
    address: &str,
    request: &v1::JoinRequest,
    seam: &Seam,
) -> Result<Joined, JoinError> {
    let mut waiting = Waiting::default();
    let mut tried = 0;
    loop {
        match ask(address, request, seam).await? {
            Ok(joined) => return Ok(joined),
            Err(cause) if is_final(cause.code) => {
                let (address, cause) = (address.to_owned(), Box::new(cause));
                return Err(JoinError::Refused { address, cause });
            }
            Err(error) => waiting.note(address, &error.message),
        }
        tried += 1;
        sleep(backoff(&BACKOFF, tried, seam.entropy.next())).await;
    }
}

/// One try; the outer error is one that no other try will change.
async fn ask(
    address: &str,
    request: &v1::JoinRequest,
    seam: &Seam,
) -> Result<Result<Joined, ApiError>, JoinError> {
    let response = match peers::join(&seam.net, address, request.clone(), TTL).await {
        Ok(response) => response,
        Err(error @ JoinCallError::WrongDoor { .. }) => return Err(JoinError::WrongDoor(error)),
        Err(JoinCallError::Call(error)) => {
            return Ok(Err(ApiError::unavailable(error.to_string())));
        }
    };
    Ok(match response.result {
        Some(join_response::Result::Joined(joined)) => read(joined),
        Some(join_response::Result::Error(error)) => Err(error.into()),
        None => Err(ApiError::unavailable(format!(
            "{address} gave an empty answer"
        ))),
    })
}

fn read(joined: v1::Joined) -> Result<Joined, ApiError> {
    let nodes = joined.nodes.into_iter().map(|node| {
        let boots = BootCount::new(node.boots);
        (NodeId::new(node.node_id), boots.into(), node.peer_address)
    });
    Ok(Joined {
        cluster: joined.cluster_id.parse()?,
        node: NodeId::new(joined.node_id),
        timings: timings(&joined.timings)?,
        nodes: nodes.collect(),
    })
}

/// Says what an address is waited for, each time that it is something else.
#[derive(Default)]
struct Waiting {
    last: Option<String>,
}

impl Waiting {
    fn note(&mut self, address: &str, why: &str) {
        if self.last.as_deref() != Some(why) {
            tracing::warn!(address, why, "waiting to join the cluster");
            self.last = Some(why.to_owned());
        }
    }
}
