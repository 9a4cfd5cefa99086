//! openraft's view of a peer, over a [`Transport`].
//!
//! Appends are pipelined: up to [`PIPELINE`] are under way to one follower, their answers taken in the order they were
//! asked, so that a link of 250 ms carries more than four batches a second. The stream ends at the first answer that is
//! not a plain success; openraft then finds out where the follower stands and starts again. Every call has a limit of
//! its own, heartbeats one interval, appends a longer one, so that a silent peer never holds a replica up.
//!
//! SUBTLE: an append that overtakes the one before it is refused as a conflict at an entry that its follower then
//! acknowledges. So is every append to a follower that lost what it had acknowledged. openraft takes either for a broken
//! follower and breaks the leader over it, so it never hears of a conflict at an entry that was acknowledged: the append
//! is repeated, which helps in the first case, and in the second leaves one follower behind instead of no leader.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{Stream, StreamExt, stream};
use leasehold_api::v1::{self, raft_reply};
use leasehold_types::{GroupId, NodeId};
use openraft::RPCTypes;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::machine::Machine;
use crate::snapshot::{self, Pack};
use crate::transport::{Transport, TransportError};
use crate::types::{LogId, Snapshot, Types, Vote};
use crate::wire;

/// Appends under way to one follower at a time. Each is at most half a megabyte or one entry.
const PIPELINE: usize = 8;

type Failure<M> = RPCError<Types<M>>;
type Appended<M> = Result<StreamAppendResult<Types<M>>, Failure<M>>;

/// Makes a [`Peer`] for whichever node openraft wants to talk to.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) group: GroupId,
    pub(crate) node: NodeId,
    /// When entries under way are given up; openraft's own limit for them is that of a heartbeat.
    pub(crate) append_timeout: Duration,
}

impl Network {
    fn peer(&self, target: u64, line: Line) -> Peer {
        Peer {
            network: self.clone(),
            target: NodeId::new(target),
            line,
        }
    }
}

impl<M: Machine> RaftNetworkFactory<Types<M>> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, (): &()) -> Peer {
        self.peer(target, Line::Entries { acknowledged: None })
    }

    async fn new_heartbeat_client(&mut self, target: u64, (): &()) -> Peer {
        self.peer(target, Line::Heartbeats)
    }
}

/// One other replica of the group.
#[derive(Clone)]
pub(crate) struct Peer {
    network: Network,
    target: NodeId,
    line: Line,
}

/// What a [`Peer`] is used for.
#[derive(Clone, Copy)]
enum Line {
    /// Appends without entries, each behind an entry that the follower has acknowledged.
    Heartbeats,
    /// Everything else; of one leadership, as far as appends go.
    Entries {
        /// The last entry that the follower has acknowledged here.
        acknowledged: Option<LogId>,
    },
}

impl Line {
    fn note(&mut self, stored: Option<LogId>) {
        match self {
            Self::Heartbeats => {}
            Self::Entries { acknowledged } => *acknowledged = (*acknowledged).max(stored),
        }
    }

    fn was_acknowledged(&self, entry: LogId) -> bool {
        match self {
            Self::Heartbeats => true,
            Self::Entries { acknowledged } => *acknowledged >= Some(entry),
        }
    }
}

/// A follower that claims not to have what it has acknowledged.
#[derive(Debug, thiserror::Error)]
#[error(
    "node {node} refuses what follows entry {entry}, which it has acknowledged: an append overtook another, or the node \
     lost part of its log and must be removed and added anew"
)]
struct Contradiction {
    node: NodeId,
    entry: LogId,
}

impl Peer {
    async fn ask<M: Machine>(
        &self,
        request: v1::RaftRequest,
        ttl: Duration,
        kind: RPCTypes,
    ) -> Result<v1::RaftReply, Failure<M>> {
        let Network {
            transport, group, ..
        } = &self.network;
        let reply = transport.call(self.target, *group, request, ttl).await;
        self.accept(reply, kind)
    }

    /// Turns an answer that is none into openraft's words for it.
    fn accept<M: Machine>(
        &self,
        reply: Result<v1::RaftReply, TransportError>,
        kind: RPCTypes,
    ) -> Result<v1::RaftReply, Failure<M>> {
        let reply = reply.map_err(|error| self.failure(&error, kind))?;
        match reply.body {
            Some(raft_reply::Body::Refusal(refusal)) => {
                let why = format!("node {} refused: {}", self.target, refusal.reason);
                Err(Unreachable::from_string(why).into())
            }
            Some(_) | None => Ok(reply),
        }
    }

    fn failure<M: Machine>(&self, error: &TransportError, kind: RPCTypes) -> Failure<M> {
        match error {
            TransportError::Unreachable { .. } => Unreachable::new(error).into(),
            TransportError::Broken { .. } => NetworkError::new(error).into(),
            TransportError::TimedOut { ttl, .. } => Timeout {
                action: kind,
                id: self.network.node.get(),
                target: self.target.get(),
                timeout: *ttl,
            }
            .into(),
        }
    }

    /// How long an append may take: openraft's limit is a heartbeat's, and entries are larger.
    fn append_ttl(&self, option: &RPCOption) -> Duration {
        match self.line {
            Line::Heartbeats => option.soft_ttl(),
            Line::Entries { .. } => option.soft_ttl().max(self.network.append_timeout),
        }
    }

    /// Makes an answer out of a conflict that openraft must not hear of. Called in the order of the appends.
    fn settle<M: Machine>(&mut self, answer: Appended<M>) -> Appended<M> {
        let node = self.target;
        match answer {
            Ok(Ok(stored)) => {
                self.line.note(stored);
                Ok(Ok(stored))
            }
            Ok(Err(StreamAppendError::Conflict(entry))) if self.line.was_acknowledged(entry) => {
                Err(NetworkError::new(&Contradiction { node, entry }).into())
            }
            Ok(Err(_)) | Err(_) => answer,
        }
    }

    /// Gives the answers up to the first one after which the pipeline may not go on.
    fn until_stopped<'s, M: Machine>(
        &'s mut self,
        answers: impl Stream<Item = (Appended<M>, bool)> + Send + 's,
    ) -> BoxStream<'s, Appended<M>> {
        let answers: BoxStream<'s, _> = Box::pin(answers);
        Box::pin(stream::unfold(Some((self, answers)), |going| async move {
            let (peer, mut answers) = going?;
            let (answer, complete) = answers.next().await?;
            let answer = peer.settle(answer);
            Some((answer, complete.then_some((peer, answers))))
        }))
    }

    /// One append of the pipeline, and whether the pipeline may go on after it.
    async fn append_once<M: Machine>(
        self,
        request: AppendEntriesRequest<Types<M>>,
        ttl: Duration,
    ) -> (Appended<M>, bool) {
        // The answer does not repeat the range, so it is remembered here.
        let previous = request.prev_log_id;
        let last = request
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(previous);
        let message = wire::append_request(request);
        let answer = self
            .ask::<M>(message, ttl, RPCTypes::AppendEntries)
            .await
            .and_then(|reply| understood(wire::read_append_reply::<M>(reply)))
            .and_then(|reply| stream_result(reply, previous, last));
        let complete = matches!(&answer, Ok(Ok(matched)) if *matched == last);
        (answer, complete)
    }
}

/// openraft's own conversion panics on a conflict where there is nothing to conflict with; a peer may send anything.
fn stream_result<M: Machine>(
    reply: AppendEntriesResponse<Types<M>>,
    previous: Option<LogId>,
    last: Option<LogId>,
) -> Appended<M> {
    if reply.is_conflict() && previous.is_none() {
        let why = wire::MalformedMessage("a conflict before the first entry");
        return Err(NetworkError::new(&why).into());
    }
    Ok(reply.into_stream_result(previous, last))
}

fn understood<T, M: Machine>(read: Result<T, wire::MalformedMessage>) -> Result<T, Failure<M>> {
    read.map_err(|error| NetworkError::new(&error).into())
}

impl<M: Machine> RaftNetworkV2<Types<M>> for Peer {
    type SnapshotData = Pack;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<M>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<M>>, Failure<M>> {
        let ttl = self.append_ttl(&option);
        let message = wire::append_request(request);
        let reply = self.ask::<M>(message, ttl, RPCTypes::AppendEntries).await?;
        understood(wire::read_append_reply(reply))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended<M>>, Failure<M>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types<M>>> + Send + Unpin + 'static,
    {
        let (peer, ttl) = (self.clone(), self.append_ttl(&option));
        let answers = input
            .map(move |request| peer.clone().append_once::<M>(request, ttl))
            .buffered(PIPELINE);
        Box::pin(ready(Ok(self.until_stopped(answers))))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types<M>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<M>>, Failure<M>> {
        let message = wire::vote_request(&request);
        let reply = self
            .ask::<M>(message, option.soft_ttl(), RPCTypes::Vote)
            .await?;
        understood(wire::read_vote_reply(reply))
    }

    // SUBTLE: without this one the library grants every pre-vote by itself, and an isolated node raises its term.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<M>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<M>>, Failure<M>> {
        let message = wire::pre_vote_request(&request);
        let reply = self
            .ask::<M>(message, option.soft_ttl(), RPCTypes::Vote)
            .await?;
        understood(wire::read_pre_vote_reply(reply))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types<M>>, StreamingError<Types<M>>> {
        let head = wire::snapshot_message(&vote, &snapshot.meta);
        // Until the answer: the follower has still to load what it was sent, and then needs the log after it.
        let _pin = snapshot.snapshot.pin();
        let parts = snapshot::parts(snapshot.snapshot, M::TABLES);
        let Network {
            transport, group, ..
        } = &self.network;
        let sending = transport.send_snapshot(self.target, *group, head, parts, option.soft_ttl());
        let reply = match select(pin!(cancel), sending).await {
            Either::Left((closed, _)) => return Err(closed.into()),
            Either::Right((reply, _)) => reply,
        };
        let reply = self.accept::<M>(reply, RPCTypes::InstallSnapshot)?;
        Ok(understood::<_, M>(wire::read_snapshot_reply(reply))?)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<M>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<M>>, Failure<M>> {
        let message = wire::transfer_request(&request);
        let reply = self
            .ask::<M>(message, option.soft_ttl(), RPCTypes::TransferLeader)
            .await?;
        understood(wire::read_transfer_reply(reply))
    }
}

#[cfg(test)]
mod tests;
