//! openraft's view of a peer, over a [`Transport`].
//!
//! Appends are pipelined: up to [`PIPELINE`] are under way to one follower, their answers taken in the order they were
//! asked, so that a link of 250 ms carries more than four batches a second. The stream ends at the first answer that is
//! not a plain success; openraft then finds out where the follower stands and starts again. Every call has a limit of
//! its own, heartbeats one interval, appends a longer one, so that a silent peer never holds a replica up.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::machine::Machine;
use crate::transport::{Transport, TransportError};
use crate::types::{LogId, Snapshot, Types, Vote};
use crate::wire;

/// Appends under way to one follower at a time. Each is at most a megabyte or one entry.
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
    fn peer(&self, target: u64, least_append_ttl: Duration) -> Peer {
        Peer {
            network: self.clone(),
            target: NodeId::new(target),
            least_append_ttl,
        }
    }
}

impl<M: Machine> RaftNetworkFactory<Types<M>> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, (): &()) -> Peer {
        self.peer(target, self.append_timeout)
    }

    async fn new_heartbeat_client(&mut self, target: u64, (): &()) -> Peer {
        self.peer(target, Duration::ZERO)
    }
}

/// One other replica of the group.
#[derive(Clone)]
pub(crate) struct Peer {
    network: Network,
    target: NodeId,
    /// Appends are given at least this long, whatever openraft says.
    least_append_ttl: Duration,
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
        let ttl = ttl.max(self.least_append_ttl);
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

/// Ends with the first answer after which the pipeline may not go on.
fn until_stopped<'s, M: Machine>(
    answers: impl Stream<Item = (Appended<M>, bool)> + Send + 's,
) -> BoxStream<'s, Appended<M>> {
    let answers: BoxStream<'s, _> = Box::pin(answers);
    Box::pin(stream::unfold(Some(answers), |answers| async move {
        let mut answers = answers?;
        let (answer, complete) = answers.next().await?;
        Some((answer, complete.then_some(answers)))
    }))
}

impl<M: Machine> RaftNetworkV2<Types<M>> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<M>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<M>>, Failure<M>> {
        let ttl = option.soft_ttl().max(self.least_append_ttl);
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
        let (peer, ttl) = (self.clone(), option.soft_ttl());
        let answers = input
            .map(move |request| peer.clone().append_once::<M>(request, ttl))
            .buffered(PIPELINE);
        Box::pin(ready(Ok(until_stopped(answers))))
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
        let (head, body) = wire::snapshot_message(&vote, snapshot);
        let Network {
            transport, group, ..
        } = &self.network;
        let sending = transport.send_snapshot(self.target, *group, head, body, option.soft_ttl());
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
