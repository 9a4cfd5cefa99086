//! A replica's view of its Raft group, in the words of the wire.

use leasehold_api::v1;
use leasehold_consensus::{GroupStatus, Role};
use leasehold_types::{GroupId, NodeId};

/// The status of one replica for people.
pub(crate) fn group_status(group: GroupId, status: &GroupStatus) -> v1::GroupStatus {
    let ids = |nodes: &std::collections::BTreeSet<NodeId>| nodes.iter().map(|n| n.get()).collect();
    v1::GroupStatus {
        group_id: group.get(),
        role: role(status.role).to_owned(),
        term: status.term,
        leader: status.leader.map_or(0, NodeId::get),
        voters: ids(&status.voters),
        learners: ids(&status.learners),
        last_log: status.last_log,
        applied: status.applied,
    }
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Learner => "learner",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Stopped => "stopped",
    }
}
