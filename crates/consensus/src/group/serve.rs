//! Answering the other replicas.

use std::future::ready;
use std::io;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use leasehold_api::v1;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse};
use tokio::task::unconstrained;

use super::{Engine, Group};
use crate::aside::aside;
use crate::disk;
use crate::machine::Machine;
use crate::snapshot::{Joiner, Pack, ReceiveError, SnapshotParts};
use crate::types::{Snapshot, SnapshotMeta, Types, Vote};
use crate::wire::{self, Request};

impl<M: Machine> Group<M> {
    /// Answers a question of another replica, a refusal when it cannot.
    ///
    /// The question is in the group's queue when this returns, whenever the answer is awaited: call it in the order in
    /// which questions arrive, and spawn the waiting if you like. Who may ask is for the caller to check.
    #[must_use = "the answer must be sent back"]
    pub fn handle(&self, request: v1::RaftRequest) -> BoxFuture<'static, v1::RaftReply> {
        let request = match wire::request::<M>(request) {
            Ok(request) => request,
            Err(error) => return Box::pin(ready(wire::refusal(error))),
        };
        let mut answering: BoxFuture<'static, _> =
            Box::pin(unconstrained(answer(self.inner.engine.clone(), request)));
        // The first poll puts it in the queue, unconstrained so that a busy task's budget cannot get in the way. Whoever
        // polls next leaves a waker that works.
        match answering
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(reply) => Box::pin(ready(reply)),
            Poll::Pending => answering,
        }
    }

    /// Takes a whole snapshot from the leader, part by part, and switches to it once it is on disk.
    pub async fn receive_snapshot(
        &self,
        head: v1::RaftSnapshot,
        parts: SnapshotParts,
    ) -> v1::RaftReply {
        let received = match self.join_parts(&head, parts).await {
            Ok(received) => received,
            Err(error) => return wire::refusal(error),
        };
        let (vote, snapshot) = received;
        let engine = &self.inner.engine;
        if let Some(reply) = held_already(engine, vote, &snapshot.meta).await {
            return wire::snapshot_reply::<M>(&reply);
        }
        let reply = engine.install_full_snapshot(vote, snapshot).await;
        or_refusal(reply, wire::snapshot_reply)
    }

    async fn join_parts(
        &self,
        head: &v1::RaftSnapshot,
        mut parts: SnapshotParts,
    ) -> Result<(Vote, Snapshot), ReceiveError> {
        let malformed = |error: wire::MalformedMessage| ReceiveError::Malformed(error.to_string());
        let (vote, meta) = wire::read_snapshot(head).map_err(malformed)?;
        let counts = self.inner.keeper.counts();
        let _under_way = counts.receive();
        let (incoming, mut joiner) = aside(|| {
            let incoming = self.inner.keeper.receive()?;
            let joiner = Joiner::new(M::TABLES, incoming.begin()?);
            Ok::<_, ReceiveError>((incoming, joiner))
        })?;
        loop {
            let part = parts.next().await.ok_or_else(ended_early)??;
            counts.received(part.rows.len());
            if aside(|| joiner.join(part))? {
                break;
            }
        }
        aside(|| joiner.finish(&disk::encode_snapshot_header(&meta)))?;
        let snapshot = aside(|| Pack::arrived(incoming))?;
        Ok((vote, Snapshot { meta, snapshot }))
    }
}

/// The reply to a snapshot whose last entry the log holds by now: whoever was stopped for a while reads what lay in its
/// sockets meanwhile. What it covers is committed, so it is as good as an empty append after that entry: the log is kept,
/// as the Raft paper has it (section 7), and applied.
///
/// SUBTLE: openraft must not be given such a snapshot. It counts what was submitted to the disk back to the snapshot's
/// end, which a debug build stops at (`IOProgress::advance`, 0.10.0-alpha.37).
async fn held_already<M: Machine>(
    engine: &Engine<M>,
    vote: Vote,
    meta: &SnapshotMeta,
) -> Option<SnapshotResponse<Types<M>>> {
    let asked = engine.append_entries(AppendEntriesRequest {
        vote,
        prev_log_id: meta.last_log_id,
        leader_commit: meta.last_log_id,
        entries: Vec::new(),
    });
    let is_held = matches!(asked.await, Ok(AppendEntriesResponse::Success));
    is_held.then(|| SnapshotResponse::new(vote))
}

fn ended_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the last part never came")
}

async fn answer<M: Machine>(engine: Engine<M>, request: Request<M>) -> v1::RaftReply {
    match request {
        Request::Append(request) => {
            or_refusal(engine.append_entries(request).await, wire::append_reply)
        }
        Request::Vote(request) => or_refusal(engine.vote(request).await, wire::vote_reply),
        Request::PreVote(request) => {
            or_refusal(engine.pre_vote(request).await, wire::pre_vote_reply)
        }
        Request::Transfer(request) => match engine.handle_transfer_leader(request).await {
            Ok(reply) => wire::transfer_reply::<M>(&reply),
            Err(error) => wire::refusal(error),
        },
    }
}

fn or_refusal<T, E: ToString>(
    reply: Result<T, E>,
    tell: impl FnOnce(&T) -> v1::RaftReply,
) -> v1::RaftReply {
    match reply {
        Ok(reply) => tell(&reply),
        Err(error) => wire::refusal(error.to_string()),
    }
}
