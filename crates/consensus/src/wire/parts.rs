//! What questions and answers are made of: log ids, votes, entries, memberships.

use std::collections::BTreeSet;

use leasehold_api::v1::{self, raft_entry};
use openraft::entry::RaftEntry;

use super::MalformedMessage;
use crate::machine::Machine;
use crate::types::{Entry, EntryPayload, LeaderId, LogId, Membership, Payload, Vote};

pub(super) fn entry_message<M: Machine>(entry: Entry<M>) -> v1::RaftEntry {
    let payload = match entry.payload {
        EntryPayload::<M>::Blank => raft_entry::Payload::Blank(v1::RaftBlank {}),
        EntryPayload::<M>::Normal(command) => raft_entry::Payload::Command(command.bytes),
        EntryPayload::<M>::Membership(membership) => {
            raft_entry::Payload::Membership(membership_message(&membership))
        }
    };
    v1::RaftEntry {
        id: Some(log_id_message(&entry.log_id)),
        payload: Some(payload),
    }
}

pub(super) fn entry<M: Machine>(message: v1::RaftEntry) -> Result<Entry<M>, MalformedMessage> {
    let payload = match message.payload {
        Some(raft_entry::Payload::Blank(v1::RaftBlank {})) => EntryPayload::<M>::Blank,
        Some(raft_entry::Payload::Command(bytes)) => {
            EntryPayload::<M>::Normal(Payload::received(bytes))
        }
        Some(raft_entry::Payload::Membership(message)) => {
            EntryPayload::<M>::Membership(membership(&message)?)
        }
        None => return Err(MalformedMessage("an entry without a payload")),
    };
    let id = message
        .id
        .as_ref()
        .ok_or(MalformedMessage("an entry without an id"))?;
    Ok(Entry::<M>::new(log_id(id), payload))
}

pub(super) fn log_id_message(id: &LogId) -> v1::RaftLogId {
    v1::RaftLogId {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

pub(super) fn log_id(message: &v1::RaftLogId) -> LogId {
    let leader = LeaderId {
        term: message.term,
        node_id: message.node,
    };
    LogId::new(leader, message.index)
}

pub(super) fn vote_message(vote: &Vote) -> v1::RaftVote {
    v1::RaftVote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(super) fn vote(message: Option<&v1::RaftVote>) -> Result<Vote, MalformedMessage> {
    let message = message.ok_or(MalformedMessage("a message without a vote"))?;
    let leader_id = LeaderId {
        term: message.term,
        node_id: message.node,
    };
    Ok(Vote {
        leader_id,
        committed: message.committed,
    })
}

pub(super) fn membership_message(membership: &Membership) -> v1::RaftMembership {
    let voters = |nodes: &BTreeSet<u64>| v1::RaftVoters {
        nodes: nodes.iter().copied().collect(),
    };
    v1::RaftMembership {
        configurations: membership.get_joint_config().iter().map(voters).collect(),
        learners: membership.learner_ids().collect(),
    }
}

pub(super) fn membership(message: &v1::RaftMembership) -> Result<Membership, MalformedMessage> {
    let configurations: Vec<BTreeSet<u64>> = message
        .configurations
        .iter()
        .map(|voters| voters.nodes.iter().copied().collect())
        .collect();
    if configurations.iter().any(BTreeSet::is_empty) {
        return Err(MalformedMessage("a configuration without voters"));
    }
    let learners = message.learners.iter().copied();
    Ok(Membership::new_with_defaults(configurations, learners))
}
