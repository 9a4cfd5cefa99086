//! A node that started says so: which start it is, and where it can be reached now.
//!
//! In the background, and for as long as it takes: nodes that were all killed at once have nobody to tell yet, and
//! come back without it. What the others need at once, the newest address, they also hear in every hello, and whoever
//! is asked notes it before it is committed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use leasehold_api::ApiError;
use leasehold_api::convert::nodes::Joining;
use leasehold_api::v1::{self, join_response};
use leasehold_core::metadata::MetadataCommand;
use leasehold_core::metadata::command::NodeStarted;
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry::backoff;
use leasehold_types::{BootCount, ErrorCode, NodeId};
use tokio::time::sleep;

use super::{Cluster, build, wire};
use crate::peers::JoinCallError;

const BACKOFF: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// Nodes asked at once: a start must not shake a cluster of a thousand.
const ASKED: usize = 8;

/// Repeats the announcement until it is committed, and until every configured address has heard it.
///
/// # Errors
/// When the cluster will never take it, above all from an old copy of a data folder: the node must stop.
pub(crate) async fn announce(cluster: Cluster, seeds: Vec<String>) -> Result<(), ApiError> {
    let announcement = Announcement {
        started: started(&cluster),
        cluster,
        said: Mutex::default(),
    };
    let greetings = seeds
        .into_iter()
        .map(|seed| announcement.greet(seed).boxed());
    let ways = greetings.chain([announcement.commit().boxed()]);
    futures_util::future::try_join_all(ways).await.map(drop)
}

fn started(cluster: &Cluster) -> NodeStarted {
    let ours = cluster.membership();
    NodeStarted {
        node: ours.node,
        boot: ours.boot,
        addresses: ours.addresses.clone(),
        build: build(),
    }
}

type Way<'a> = BoxFuture<'a, Result<(), ApiError>>;

struct Announcement {
    cluster: Cluster,
    started: NodeStarted,
    /// The last trouble with a configured address that was said.
    said: Mutex<String>,
}

impl Announcement {
    /// Until it stands in the metadata.
    async fn commit(&self) -> Result<(), ApiError> {
        self.repeat("the metadata", || self.commit_once()).await
    }

    /// Until the node at a configured address has heard it, also when it is committed: where all have moved, this is
    /// how they find each other, and a node that leads alone would never have to ask.
    async fn greet(&self, address: String) -> Result<(), ApiError> {
        self.repeat(&address, || self.ask(address.clone())).await
    }

    async fn repeat<'a, F>(&'a self, whom: &str, once: impl Fn() -> F) -> Result<(), ApiError>
    where
        F: Future<Output = Result<(), ApiError>> + 'a,
    {
        let mut tried = 0;
        loop {
            let error = match once().await {
                Ok(()) => return Ok(()),
                Err(error) if is_final(error.code) => return Err(error),
                Err(error) => error,
            };
            tried += 1;
            tracing::debug!(%error, tried, whom, "start not announced yet");
            sleep(backoff(&BACKOFF, tried, self.draw())).await;
        }
    }

    /// The way that every change takes; and, where that leads nowhere within a lease, some of the addresses that may
    /// still be somebody's.
    async fn commit_once(&self) -> Result<(), ApiError> {
        let lease = self.cluster.raft_timings().leader_lease();
        let around = async {
            sleep(lease).await;
            let ways = self.some_addresses().into_iter();
            first_decision(ways.map(|address| self.ask(address).boxed())).await
        };
        first_decision([self.propose().boxed(), around.boxed()]).await
    }

    async fn propose(&self) -> Result<(), ApiError> {
        let command = MetadataCommand::NodeStarted(self.started.clone());
        self.cluster.propose(command).await.map(drop)
    }

    /// Each time from another place on.
    fn some_addresses(&self) -> Vec<String> {
        let mut known = self.cluster.peers().heard_of();
        let count = u64::try_from(known.len()).unwrap_or(u64::MAX);
        let start = self.draw().checked_rem(count).unwrap_or(0);
        known.rotate_left(usize::try_from(start).expect("less than a length"));
        let known = known.into_iter().take(ASKED);
        known.map(|(_, _, address)| address).collect()
    }

    /// Tells whoever is at an address, and hears from it where the others are.
    async fn ask(&self, address: String) -> Result<(), ApiError> {
        let joining = Joining::Known(self.cluster.id(), self.started.clone());
        let request = wire::request(&joining);
        let ttl = self.cluster.patience() * 2;
        let answer = self.cluster.peers().join(&address, request, ttl).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error @ JoinCallError::WrongDoor { .. }) => {
                let error = ApiError::new(ErrorCode::PermissionDenied, error.to_string());
                return Err(self.taken(&address, error));
            }
            Err(JoinCallError::Call(error)) => {
                return Err(ApiError::unavailable(error.to_string()));
            }
        };
        match answer.result {
            Some(join_response::Result::Joined(joined)) => {
                self.learn(joined);
                Ok(())
            }
            Some(join_response::Result::Error(error)) => Err(self.taken(&address, error.into())),
            None => Err(ApiError::unavailable(format!(
                "{address} gave an empty answer"
            ))),
        }
    }

    fn learn(&self, joined: v1::Joined) {
        for node in joined.nodes {
            let boots = BootCount::new(node.boots);
            let peers = self.cluster.peers();
            peers.know(NodeId::new(node.node_id), boots, &node.peer_address);
        }
    }

    /// An address may be another cluster's by now, or another door: worth a line in the log, but no reason to stop.
    fn taken(&self, address: &str, error: ApiError) -> ApiError {
        if error.code == ErrorCode::PermissionDenied {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if *said != error.message {
                error.message.clone_into(&mut said);
                tracing::warn!(address, %error, "start not announced here");
            }
        }
        error
    }

    fn draw(&self) -> u64 {
        self.cluster.inner.entropy.next()
    }
}

/// The first success, or the first refusal that is final, or the last of the other errors.
async fn first_decision<'a>(ways: impl IntoIterator<Item = Way<'a>>) -> Result<(), ApiError> {
    let mut ways: FuturesUnordered<Way<'a>> = ways.into_iter().collect();
    let mut last = ApiError::unavailable("no other node is known");
    while let Some(result) = ways.next().await {
        match result {
            Ok(()) => return Ok(()),
            Err(error) if is_final(error.code) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether asking again can never help.
pub(super) const fn is_final(code: ErrorCode) -> bool {
    match code {
        ErrorCode::InvalidArgument
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::FailedPrecondition
        | ErrorCode::Unsupported => true,
        ErrorCode::StaleFence
        | ErrorCode::Conflict
        | ErrorCode::NotLeader
        | ErrorCode::Unavailable
        | ErrorCode::ResourceExhausted
        | ErrorCode::Unknown
        | ErrorCode::PermissionDenied
        | ErrorCode::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn error(code: ErrorCode) -> ApiError {
        ApiError::new(code, code.as_str())
    }

    fn way(result: Result<(), ApiError>) -> Way<'static> {
        ready(result).boxed()
    }

    #[tokio::test]
    async fn one_success_or_one_final_refusal_decides_at_once() {
        let unavailable = || way(Err(error(ErrorCode::Unavailable)));
        let decided = first_decision([unavailable(), way(Ok(())), pending().boxed()]);
        assert_eq!(decided.await, Ok(()));
        let refusal = error(ErrorCode::FailedPrecondition);
        let decided = first_decision([way(Err(refusal.clone())), pending().boxed()]);
        assert_eq!(decided.await, Err(refusal));
        let undecided = first_decision([unavailable(), unavailable()]);
        assert_eq!(undecided.await, Err(error(ErrorCode::Unavailable)));
    }

    #[test]
    fn another_clusters_no_is_not_final() {
        assert!(!is_final(ErrorCode::PermissionDenied));
        assert!(is_final(ErrorCode::FailedPrecondition));
    }
}
