//! openraft's questions and answers as the messages of `leasehold.v1`, both ways.
//!
//! A peer is not trusted to make sense: what a message must hold and does not is a [`MalformedMessage`] that names it,
//! and nothing here panics on input.

use leasehold_api::v1;

use crate::types::{SnapshotMeta, StoredMembership, Vote};

mod parts;
mod replies;
mod requests;

use parts::{log_id, log_id_message, membership, membership_message, vote, vote_message};
pub(crate) use replies::{
    append_reply, pre_vote_reply, read_append_reply, read_pre_vote_reply, read_snapshot_reply,
    read_transfer_reply, read_vote_reply, refusal, snapshot_reply, transfer_reply, vote_reply,
};
pub(crate) use requests::{
    Request, append_request, pre_vote_request, request, transfer_request, vote_request,
};

/// A message that does not hold what it must.
#[derive(Debug, thiserror::Error)]
#[error("malformed message from a replica: {0}")]
pub(crate) struct MalformedMessage(pub(crate) &'static str);

/// The head of a snapshot, which goes before its rows.
pub(crate) fn snapshot_message(vote: &Vote, meta: &SnapshotMeta) -> v1::RaftSnapshot {
    let membership = &meta.last_membership;
    v1::RaftSnapshot {
        vote: Some(vote_message(vote)),
        last: meta.last_log_id.as_ref().map(log_id_message),
        membership_id: membership.log_id().as_ref().map(log_id_message),
        membership: Some(membership_message(membership.membership())),
    }
}

/// What a snapshot's head says, with the vote of the leader that sent it.
pub(crate) fn read_snapshot(
    head: &v1::RaftSnapshot,
) -> Result<(Vote, SnapshotMeta), MalformedMessage> {
    let members = head
        .membership
        .as_ref()
        .ok_or(MalformedMessage("a snapshot without a membership"))?;
    let membership_id = head.membership_id.as_ref().map(log_id);
    let meta = SnapshotMeta {
        last_log_id: head.last.as_ref().map(log_id),
        last_membership: StoredMembership::new(membership_id, membership(members)?),
    };
    Ok((vote(head.vote.as_ref())?, meta))
}

#[cfg(test)]
mod tests;
