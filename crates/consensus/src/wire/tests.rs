//! What goes out comes back the same, and what makes no sense is refused.

use std::collections::BTreeSet;

use leasehold_api::v1::{raft_reply, raft_request};
use openraft::entry::RaftEntry;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};

use super::*;
use crate::tests::Counter;
use crate::types::{Entry, EntryPayload, LeaderId, LogId, Membership, Payload, Types};

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: 7 }, index)
}

fn members() -> Membership {
    let configurations = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([3])];
    Membership::new_with_defaults(configurations, [9])
}

fn append() -> AppendEntriesRequest<Types<Counter>> {
    let payloads = [
        EntryPayload::<Counter>::Blank,
        EntryPayload::<Counter>::Normal(Payload::proposed(5)),
        EntryPayload::<Counter>::Membership(members()),
    ];
    let entries = (8..).zip(payloads);
    AppendEntriesRequest {
        vote: Vote::new_committed(3, 7),
        prev_log_id: Some(id(2, 7)),
        entries: entries
            .map(|(index, payload)| Entry::<Counter>::new(id(3, index), payload))
            .collect(),
        leader_commit: Some(id(2, 6)),
    }
}

#[test]
fn append_of_every_kind_of_entry_survives_the_wire() {
    let Ok(Request::Append(read)) = request::<Counter>(append_request(append())) else {
        panic!("an append must read as an append");
    };
    assert_eq!(format!("{read:?}"), format!("{:?}", append()));
}

#[test]
fn ballots_and_transfers_survive_the_wire() {
    let mut ballot = VoteRequest::<Types<Counter>>::new(Vote::new(3, 7), Some(id(2, 7)));
    ballot.leadership_transfer = true;
    let Ok(Request::Vote(read)) = request(vote_request(&ballot)) else {
        panic!("a vote must read as a vote");
    };
    assert_eq!(read, ballot);
    let Ok(Request::PreVote(read)) = request(pre_vote_request(&ballot)) else {
        panic!("a pre-vote must read as a pre-vote, or it would be counted");
    };
    assert_eq!(read, ballot);
    let transfer = TransferLeaderRequest::<Types<Counter>>::new(Vote::new_committed(3, 7), 8, None);
    let Ok(Request::Transfer(read)) = request(transfer_request(&transfer)) else {
        panic!("a transfer must read as a transfer");
    };
    assert_eq!(read, transfer);
}

#[test]
fn answers_survive_the_wire() {
    let appends = [
        AppendEntriesResponse::<Types<Counter>>::Success,
        AppendEntriesResponse::PartialSuccess(Some(id(3, 8))),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(Vote::new(9, 2)),
    ];
    for reply in appends {
        assert_eq!(read_append_reply(append_reply(&reply)).unwrap(), reply);
    }
    let vote = VoteResponse::<Types<Counter>>::new(Vote::new(3, 7), Some(id(2, 7)), true);
    assert_eq!(read_vote_reply(vote_reply(&vote)).unwrap(), vote);
    assert_eq!(read_pre_vote_reply(pre_vote_reply(&vote)).unwrap(), vote);
    let behind = TransferLeaderError::<Types<Counter>>::LogNotFlushed {
        expected: Some(id(3, 8)),
        actual: None,
    };
    for reply in [Ok(()), Err(behind)] {
        assert_eq!(read_transfer_reply(transfer_reply(&reply)).unwrap(), reply);
    }
}

#[test]
fn head_of_a_snapshot_survives_the_wire() {
    let meta = SnapshotMeta {
        last_log_id: Some(id(3, 9)),
        last_membership: StoredMembership::new(Some(id(2, 5)), members()),
    };
    let vote = Vote::new_committed(3, 7);
    let head = snapshot_message(&vote, &meta);
    let (read_vote, read) = read_snapshot(&head).unwrap();
    assert_eq!((read_vote, read), (vote, meta));
}

#[test]
fn answer_to_another_question_is_refused() {
    let vote = VoteResponse::<Types<Counter>>::new(Vote::new(3, 7), None, true);
    assert!(read_append_reply::<Counter>(vote_reply(&vote)).is_err());
    assert!(read_vote_reply::<Counter>(pre_vote_reply(&vote)).is_err());
    let empty = v1::RaftReply { body: None };
    assert!(read_transfer_reply::<Counter>(empty).is_err());
    let hollow = v1::RaftReply {
        body: Some(raft_reply::Body::Append(v1::RaftAppendReply::default())),
    };
    assert!(read_append_reply::<Counter>(hollow).is_err());
}

#[test]
fn entries_that_are_not_in_a_row_are_refused() {
    let mut gap = append();
    gap.entries.remove(1);
    assert!(request::<Counter>(append_request(gap)).is_err());
    let mut early = append();
    early.prev_log_id = None;
    assert!(request::<Counter>(append_request(early)).is_err());
    let nothing = v1::RaftRequest { body: None };
    assert!(request::<Counter>(nothing).is_err());
    let hollow = v1::RaftRequest {
        body: Some(raft_request::Body::Append(v1::RaftAppend::default())),
    };
    assert!(request::<Counter>(hollow).is_err());
}
