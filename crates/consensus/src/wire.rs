//! openraft's questions and answers as the messages of `leasehold.v1`, both ways.
//!
//! A peer is not trusted to make sense: what a message must hold and does not is a [`MalformedMessage`] that names it,
//! and nothing here panics on input.

use bytes::Bytes;
use leasehold_api::v1;

use crate::types::{Snapshot, SnapshotMeta, StoredMembership, Vote};

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

/// Splits a snapshot into its head and its body.
pub(crate) fn snapshot_message(vote: &Vote, snapshot: Snapshot) -> (v1::RaftSnapshot, Bytes) {
    let (meta, body) = (snapshot.meta, snapshot.snapshot);
    let membership = &meta.last_membership;
    let head = v1::RaftSnapshot {
        vote: Some(vote_message(vote)),
        last: meta.last_log_id.as_ref().map(log_id_message),
        membership_id: membership.log_id().as_ref().map(log_id_message),
        membership: Some(membership_message(membership.membership())),
        body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
    };
    (head, body)
}

/// Puts a snapshot together again, with the vote of the leader that sent it.
pub(crate) fn read_snapshot(
    head: &v1::RaftSnapshot,
    body: Bytes,
) -> Result<(Vote, Snapshot), MalformedMessage> {
    if u64::try_from(body.len()) != Ok(head.body_bytes) {
        return Err(MalformedMessage("a snapshot body that was cut short"));
    }
    let members = head
        .membership
        .as_ref()
        .ok_or(MalformedMessage("a snapshot without a membership"))?;
    let membership_id = head.membership_id.as_ref().map(log_id);
    let meta = SnapshotMeta {
        last_log_id: head.last.as_ref().map(log_id),
        last_membership: StoredMembership::new(membership_id, membership(members)?),
    };
    let snapshot = Snapshot {
        meta,
        snapshot: body,
    };
    Ok((vote(head.vote.as_ref())?, snapshot))
}

#[cfg(test)]
mod tests;
