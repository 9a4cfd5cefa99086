//! What replicas answer each other.

use leasehold_api::v1::{self, raft_append_reply, raft_reply, raft_transfer_reply};
use openraft::raft::{
    AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderResponse,
    VoteResponse,
};

use super::MalformedMessage;
use super::parts::{log_id, log_id_message, vote, vote_message};
use crate::machine::Machine;
use crate::types::Types;

/// The answer of a replica that could not take the question.
pub(crate) fn refusal(reason: impl ToString) -> v1::RaftReply {
    answering(raft_reply::Body::Refusal(v1::RaftRefusal {
        reason: reason.to_string(),
    }))
}

pub(crate) fn append_reply<M: Machine>(reply: &AppendEntriesResponse<Types<M>>) -> v1::RaftReply {
    use raft_append_reply::Outcome;
    let outcome = match reply {
        AppendEntriesResponse::Success => Outcome::Stored(v1::RaftBlank {}),
        AppendEntriesResponse::PartialSuccess(upto) => Outcome::Partly(v1::RaftMatched {
            upto: upto.as_ref().map(log_id_message),
        }),
        AppendEntriesResponse::Conflict => Outcome::Conflict(v1::RaftBlank {}),
        AppendEntriesResponse::HigherVote(vote) => Outcome::Higher(vote_message(vote)),
    };
    answering(raft_reply::Body::Append(v1::RaftAppendReply {
        outcome: Some(outcome),
    }))
}

pub(crate) fn vote_reply<M: Machine>(reply: &VoteResponse<Types<M>>) -> v1::RaftReply {
    answering(raft_reply::Body::Vote(ballot_reply(reply)))
}

pub(crate) fn pre_vote_reply<M: Machine>(reply: &VoteResponse<Types<M>>) -> v1::RaftReply {
    answering(raft_reply::Body::PreVote(ballot_reply(reply)))
}

pub(crate) fn transfer_reply<M: Machine>(
    reply: &TransferLeaderResponse<Types<M>>,
) -> v1::RaftReply {
    use raft_transfer_reply::Outcome;
    let outcome = match reply {
        Ok(()) => Outcome::Accepted(v1::RaftBlank {}),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            Outcome::VoteChanged(v1::RaftVoteChanged {
                expected: Some(vote_message(expected)),
                actual: Some(vote_message(actual)),
            })
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            Outcome::NotFlushed(v1::RaftNotFlushed {
                expected: expected.as_ref().map(log_id_message),
                actual: actual.as_ref().map(log_id_message),
            })
        }
    };
    answering(raft_reply::Body::Transfer(v1::RaftTransferReply {
        outcome: Some(outcome),
    }))
}

pub(crate) fn snapshot_reply<M: Machine>(reply: &SnapshotResponse<Types<M>>) -> v1::RaftReply {
    answering(raft_reply::Body::Snapshot(v1::RaftSnapshotReply {
        vote: Some(vote_message(&reply.vote)),
    }))
}

pub(crate) fn read_append_reply<M: Machine>(
    reply: v1::RaftReply,
) -> Result<AppendEntriesResponse<Types<M>>, MalformedMessage> {
    use raft_append_reply::Outcome;
    let Some(raft_reply::Body::Append(reply)) = reply.body else {
        return Err(MalformedMessage("no answer to an append"));
    };
    Ok(match reply.outcome {
        Some(Outcome::Stored(v1::RaftBlank {})) => AppendEntriesResponse::Success,
        Some(Outcome::Partly(matched)) => {
            AppendEntriesResponse::PartialSuccess(matched.upto.as_ref().map(log_id))
        }
        Some(Outcome::Conflict(v1::RaftBlank {})) => AppendEntriesResponse::Conflict,
        Some(Outcome::Higher(higher)) => AppendEntriesResponse::HigherVote(vote(Some(&higher))?),
        None => return Err(MalformedMessage("an append's answer without an outcome")),
    })
}

pub(crate) fn read_vote_reply<M: Machine>(
    reply: v1::RaftReply,
) -> Result<VoteResponse<Types<M>>, MalformedMessage> {
    let Some(raft_reply::Body::Vote(reply)) = reply.body else {
        return Err(MalformedMessage("no answer to a vote"));
    };
    read_ballot_reply(&reply)
}

pub(crate) fn read_pre_vote_reply<M: Machine>(
    reply: v1::RaftReply,
) -> Result<VoteResponse<Types<M>>, MalformedMessage> {
    let Some(raft_reply::Body::PreVote(reply)) = reply.body else {
        return Err(MalformedMessage("no answer to a pre-vote"));
    };
    read_ballot_reply(&reply)
}

pub(crate) fn read_transfer_reply<M: Machine>(
    reply: v1::RaftReply,
) -> Result<TransferLeaderResponse<Types<M>>, MalformedMessage> {
    use raft_transfer_reply::Outcome;
    let Some(raft_reply::Body::Transfer(reply)) = reply.body else {
        return Err(MalformedMessage("no answer to a transfer"));
    };
    Ok(match reply.outcome {
        Some(Outcome::Accepted(v1::RaftBlank {})) => Ok(()),
        Some(Outcome::VoteChanged(changed)) => Err(TransferLeaderError::VoteChanged {
            expected: vote(changed.expected.as_ref())?,
            actual: vote(changed.actual.as_ref())?,
        }),
        Some(Outcome::NotFlushed(behind)) => Err(TransferLeaderError::LogNotFlushed {
            expected: behind.expected.as_ref().map(log_id),
            actual: behind.actual.as_ref().map(log_id),
        }),
        None => return Err(MalformedMessage("a transfer's answer without an outcome")),
    })
}

pub(crate) fn read_snapshot_reply<M: Machine>(
    reply: v1::RaftReply,
) -> Result<SnapshotResponse<Types<M>>, MalformedMessage> {
    let Some(raft_reply::Body::Snapshot(reply)) = reply.body else {
        return Err(MalformedMessage("no answer to a snapshot"));
    };
    Ok(SnapshotResponse::new(vote(reply.vote.as_ref())?))
}

fn ballot_reply<M: Machine>(reply: &VoteResponse<Types<M>>) -> v1::RaftBallotReply {
    v1::RaftBallotReply {
        vote: Some(vote_message(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(log_id_message),
    }
}

fn read_ballot_reply<M: Machine>(
    reply: &v1::RaftBallotReply,
) -> Result<VoteResponse<Types<M>>, MalformedMessage> {
    let last = reply.last.as_ref().map(log_id);
    let vote = vote(reply.vote.as_ref())?;
    Ok(VoteResponse::new(vote, last, reply.granted))
}

const fn answering(body: raft_reply::Body) -> v1::RaftReply {
    v1::RaftReply { body: Some(body) }
}
