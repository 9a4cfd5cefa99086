//! What replicas ask each other.

use leasehold_api::v1::{self, raft_request};
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

use super::MalformedMessage;
use super::parts::{entry, entry_message, log_id, log_id_message, vote, vote_message};
use crate::machine::Machine;
use crate::types::{Entry, LogId, Types};

/// A question, ready for openraft.
pub(crate) enum Request<M: Machine> {
    Append(AppendEntriesRequest<Types<M>>),
    Vote(VoteRequest<Types<M>>),
    PreVote(VoteRequest<Types<M>>),
    Transfer(TransferLeaderRequest<Types<M>>),
}

pub(crate) fn request<M: Machine>(
    message: v1::RaftRequest,
) -> Result<Request<M>, MalformedMessage> {
    use raft_request::Body;
    Ok(match message.body {
        Some(Body::Append(append)) => Request::Append(read_append(append)?),
        Some(Body::Vote(ballot)) => Request::Vote(read_ballot(&ballot)?),
        Some(Body::PreVote(ballot)) => Request::PreVote(read_ballot(&ballot)?),
        Some(Body::Transfer(transfer)) => Request::Transfer(read_transfer(&transfer)?),
        None => return Err(MalformedMessage("a request without a body")),
    })
}

pub(crate) fn append_request<M: Machine>(
    request: AppendEntriesRequest<Types<M>>,
) -> v1::RaftRequest {
    let append = v1::RaftAppend {
        vote: Some(vote_message(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_message),
        committed: request.leader_commit.as_ref().map(log_id_message),
        entries: request.entries.into_iter().map(entry_message).collect(),
    };
    asking(raft_request::Body::Append(append))
}

pub(crate) fn vote_request<M: Machine>(request: &VoteRequest<Types<M>>) -> v1::RaftRequest {
    asking(raft_request::Body::Vote(ballot_message(request)))
}

pub(crate) fn pre_vote_request<M: Machine>(request: &VoteRequest<Types<M>>) -> v1::RaftRequest {
    asking(raft_request::Body::PreVote(ballot_message(request)))
}

pub(crate) fn transfer_request<M: Machine>(
    request: &TransferLeaderRequest<Types<M>>,
) -> v1::RaftRequest {
    let transfer = v1::RaftTransfer {
        from: Some(vote_message(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(log_id_message),
    };
    asking(raft_request::Body::Transfer(transfer))
}

const fn asking(body: raft_request::Body) -> v1::RaftRequest {
    v1::RaftRequest { body: Some(body) }
}

fn read_append<M: Machine>(
    append: v1::RaftAppend,
) -> Result<AppendEntriesRequest<Types<M>>, MalformedMessage> {
    let entries: Vec<Entry<M>> = append
        .entries
        .into_iter()
        .map(entry)
        .collect::<Result<_, _>>()?;
    let previous = append.previous.as_ref().map(log_id);
    if !consecutive(previous, &entries) {
        return Err(MalformedMessage("an append whose entries are not in a row"));
    }
    Ok(AppendEntriesRequest {
        vote: vote(append.vote.as_ref())?,
        prev_log_id: previous,
        leader_commit: append.committed.as_ref().map(log_id),
        entries,
    })
}

fn consecutive<M: Machine>(previous: Option<LogId>, entries: &[Entry<M>]) -> bool {
    let first = previous.map_or(0, |id| id.index.saturating_add(1));
    (first..)
        .zip(entries)
        .all(|(index, entry)| entry.index() == index)
}

fn ballot_message<M: Machine>(request: &VoteRequest<Types<M>>) -> v1::RaftBallot {
    v1::RaftBallot {
        vote: Some(vote_message(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id_message),
        transfer: request.leadership_transfer,
    }
}

fn read_ballot<M: Machine>(
    ballot: &v1::RaftBallot,
) -> Result<VoteRequest<Types<M>>, MalformedMessage> {
    let last = ballot.last.as_ref().map(log_id);
    let mut request = VoteRequest::new(vote(ballot.vote.as_ref())?, last);
    request.leadership_transfer = ballot.transfer;
    Ok(request)
}

fn read_transfer<M: Machine>(
    transfer: &v1::RaftTransfer,
) -> Result<TransferLeaderRequest<Types<M>>, MalformedMessage> {
    let from = vote(transfer.from.as_ref())?;
    let last = transfer.last.as_ref().map(log_id);
    Ok(TransferLeaderRequest::new(from, transfer.to, last))
}
