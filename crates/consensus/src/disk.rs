//! What Raft keeps on disk, as bytes: entries, the vote, log ids, the head of a snapshot.
//!
//! The messages are those of `leasehold.store.v1`; the log store adds group, index and checksum and knows nothing of
//! what is inside. Bytes that cannot be read are `InvalidData`: openraft then stops the group, since a replica that
//! guesses at its own log is worse than one that is missing.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use leasehold_records::store::v1::{self, raft_entry};
use openraft::entry::RaftEntry;
use prost::Message;

use crate::machine::Machine;
use crate::types::{
    Entry, EntryPayload, LeaderId, LogId, Membership, Payload, SnapshotMeta, StoredMembership, Vote,
};

/// How the head and the body of a snapshot are written.
const SNAPSHOT_FORMAT: u32 = 1;

/// The error for bytes on disk that make no sense.
pub(crate) fn unreadable(what: &str, why: impl ToString) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("unreadable {what} on disk: {}", why.to_string()),
    )
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let record = v1::RaftVote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    };
    record.encode_to_vec().into()
}

pub(crate) fn decode_vote(bytes: Bytes) -> io::Result<Vote> {
    let record = v1::RaftVote::decode(bytes).map_err(|error| unreadable("vote", error))?;
    let leader_id = LeaderId {
        term: record.term,
        node_id: record.node,
    };
    Ok(Vote {
        leader_id,
        committed: record.committed,
    })
}

pub(crate) fn encode_log_id(id: &LogId) -> Bytes {
    log_id_record(id).encode_to_vec().into()
}

pub(crate) fn decode_log_id(bytes: Bytes) -> io::Result<LogId> {
    let record = v1::RaftLogId::decode(bytes).map_err(|error| unreadable("log id", error))?;
    Ok(log_id(&record))
}

/// The entry without its index, which is the key that it is filed under.
pub(crate) fn encode_entry<M: Machine>(entry: &Entry<M>) -> Bytes {
    let payload = match &entry.payload {
        EntryPayload::<M>::Blank => raft_entry::Payload::Blank(v1::RaftBlank {}),
        EntryPayload::<M>::Normal(command) => raft_entry::Payload::Command(command.bytes.clone()),
        EntryPayload::<M>::Membership(membership) => {
            raft_entry::Payload::Membership(membership_record(membership))
        }
    };
    let record = v1::RaftEntry {
        term: entry.log_id.leader_id.term,
        node: entry.log_id.leader_id.node_id,
        payload: Some(payload),
    };
    record.encode_to_vec().into()
}

pub(crate) fn decode_entry<M: Machine>(index: u64, bytes: Bytes) -> io::Result<Entry<M>> {
    let record = v1::RaftEntry::decode(bytes)
        .map_err(|error| unreadable("entry", format_args!("index {index}: {error}")))?;
    let payload = match record.payload {
        Some(raft_entry::Payload::Blank(v1::RaftBlank {})) => EntryPayload::<M>::Blank,
        Some(raft_entry::Payload::Command(bytes)) => {
            EntryPayload::<M>::Normal(Payload::received(bytes))
        }
        Some(raft_entry::Payload::Membership(record)) => {
            EntryPayload::<M>::Membership(membership(&record)?)
        }
        None => {
            return Err(unreadable(
                "entry",
                format_args!("index {index}: no payload"),
            ));
        }
    };
    let leader = LeaderId {
        term: record.term,
        node_id: record.node,
    };
    Ok(Entry::<M>::new(LogId::new(leader, index), payload))
}

pub(crate) fn encode_snapshot_header(meta: &SnapshotMeta) -> Bytes {
    let record = v1::RaftSnapshotHeader {
        format: SNAPSHOT_FORMAT,
        last: meta.last_log_id.as_ref().map(log_id_record),
        membership_id: meta.last_membership.log_id().as_ref().map(log_id_record),
        membership: Some(membership_record(meta.last_membership.membership())),
    };
    record.encode_to_vec().into()
}

pub(crate) fn decode_snapshot_header(bytes: Bytes) -> io::Result<SnapshotMeta> {
    let record = v1::RaftSnapshotHeader::decode(bytes)
        .map_err(|error| unreadable("snapshot header", error))?;
    if record.format != SNAPSHOT_FORMAT {
        let why = format_args!("format {}, known is {SNAPSHOT_FORMAT}", record.format);
        return Err(unreadable("snapshot header", why));
    }
    let members = membership(&record.membership.unwrap_or_default())?;
    Ok(SnapshotMeta {
        last_log_id: record.last.as_ref().map(log_id),
        last_membership: StoredMembership::new(record.membership_id.as_ref().map(log_id), members),
    })
}

fn log_id_record(id: &LogId) -> v1::RaftLogId {
    v1::RaftLogId {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

fn log_id(record: &v1::RaftLogId) -> LogId {
    let leader = LeaderId {
        term: record.term,
        node_id: record.node,
    };
    LogId::new(leader, record.index)
}

fn membership_record(membership: &Membership) -> v1::RaftMembership {
    let voters = |nodes: &BTreeSet<u64>| v1::RaftVoters {
        nodes: nodes.iter().copied().collect(),
    };
    v1::RaftMembership {
        configurations: membership.get_joint_config().iter().map(voters).collect(),
        learners: membership.learner_ids().collect(),
    }
}

fn membership(record: &v1::RaftMembership) -> io::Result<Membership> {
    let configurations: Vec<BTreeSet<u64>> = record
        .configurations
        .iter()
        .map(|voters| voters.nodes.iter().copied().collect())
        .collect();
    if configurations.iter().any(BTreeSet::is_empty) {
        return Err(unreadable("membership", "a configuration without voters"));
    }
    let learners = record.learners.iter().copied();
    Ok(Membership::new_with_defaults(configurations, learners))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Counter;

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(LeaderId { term, node_id: 7 }, index)
    }

    fn members() -> Membership {
        let configurations = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([3])];
        Membership::new_with_defaults(configurations, [9])
    }

    #[test]
    fn entry_of_every_kind_survives_the_disk() {
        let payloads = [
            EntryPayload::<Counter>::Blank,
            EntryPayload::<Counter>::Normal(Payload::proposed(5)),
            EntryPayload::<Counter>::Membership(members()),
        ];
        for payload in payloads {
            let entry = Entry::<Counter>::new(id(3, 42), payload);
            let read = decode_entry::<Counter>(42, encode_entry(&entry)).unwrap();
            assert_eq!(format!("{read:?}"), format!("{entry:?}"));
            assert_eq!(encode_entry(&read), encode_entry(&entry));
        }
    }

    #[test]
    fn vote_log_id_and_snapshot_header_survive_the_disk() {
        let vote = Vote::new_committed(4, 2);
        assert_eq!(decode_vote(encode_vote(&vote)).unwrap(), vote);
        assert_eq!(decode_log_id(encode_log_id(&id(3, 9))).unwrap(), id(3, 9));
        let meta = SnapshotMeta {
            last_log_id: Some(id(3, 9)),
            last_membership: StoredMembership::new(Some(id(2, 5)), members()),
        };
        assert_eq!(
            decode_snapshot_header(encode_snapshot_header(&meta)).unwrap(),
            meta
        );
    }

    #[test]
    fn bytes_that_make_no_sense_are_refused_by_name() {
        let error = decode_entry::<Counter>(8, Bytes::from_static(b"\xff\xff")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("index 8"), "{error}");
        let empty = v1::RaftEntry::default().encode_to_vec();
        assert!(decode_entry::<Counter>(8, empty.into()).is_err());
        let future = v1::RaftSnapshotHeader {
            format: 99,
            ..Default::default()
        };
        let error = decode_snapshot_header(future.encode_to_vec().into()).unwrap_err();
        assert!(error.to_string().contains("format 99"), "{error}");
    }
}
