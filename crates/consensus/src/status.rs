//! What a group looks like from outside: who leads, who votes, how far everything is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold_types::NodeId;
use openraft::errors::Fatal;
use openraft::{Instant, LogIdOptionExt, RaftMetrics, ServerState};
use openraft_rt_tokio::TokioInstant;

use crate::machine::Machine;
use crate::types::Types;

/// What a replica does in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Gets the log and has no vote.
    #[default]
    Learner,
    /// Votes and follows.
    Follower,
    /// Stands for election.
    Candidate,
    /// Orders the log.
    Leader,
    /// Takes no part: it was shut down, or something broke; then [`GroupStatus::fatal`] says what.
    Stopped,
}

/// A group as one of its replicas sees it. Indexes are 0 before the first entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupStatus {
    /// What this replica does.
    pub role: Role,
    /// The term of the vote that it follows. For people and tests; never a fence.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Who votes; of both configurations while one replaces the other.
    pub voters: BTreeSet<NodeId>,
    /// Who gets the log without a vote.
    pub learners: BTreeSet<NodeId>,
    /// A change of members is under way.
    pub changing: bool,
    /// Index of the last entry in its log.
    pub last_log: u64,
    /// Index of the last entry that it knows to be on a majority.
    pub committed: u64,
    /// Index of the last entry that its machine has carried out.
    pub applied: u64,
    /// Index of the last entry that its snapshot covers.
    pub snapshot: u64,
    /// Where the other replicas stand. Filled on the leader only.
    pub followers: BTreeMap<NodeId, FollowerStatus>,
    /// What broke, if something did. The replica does not come back without a restart.
    pub fatal: Option<String>,
    /// The members in force are committed; another change may begin.
    pub(crate) settled: bool,
    /// This replica is the only voter: it is a majority at any time.
    alone: bool,
    quorum_heard: Option<TokioInstant>,
}

/// Another replica as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FollowerStatus {
    /// The last entry that it is known to have; none before it answered.
    pub matched: Option<u64>,
    heard: Option<TokioInstant>,
}

impl GroupStatus {
    /// How long ago the last message was *sent* that a majority answered; none when this replica does not lead or
    /// was not answered yet.
    #[must_use]
    pub fn since_quorum(&self) -> Option<Duration> {
        if self.is_leader() && self.alone {
            return Some(Duration::ZERO);
        }
        self.quorum_heard.map(|at| at.elapsed())
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// Leads, and a majority has answered within `lease`.
    #[must_use]
    pub fn leads_within(&self, lease: Duration) -> bool {
        self.is_leader() && self.since_quorum().is_some_and(|since| since < lease)
    }

    pub(crate) fn of<M: Machine>(metrics: &RaftMetrics<Types<M>>) -> Self {
        let effective = &metrics.membership_config;
        let members = effective.membership();
        let joint = members.get_joint_config().len() > 1;
        let settled = effective.log_id() == metrics.committed_membership_config.log_id();
        Self {
            role: role(metrics.state),
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId::new),
            voters: members.voter_ids().map(NodeId::new).collect(),
            learners: members.learner_ids().map(NodeId::new).collect(),
            changing: joint || !settled,
            last_log: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.index().unwrap_or(0),
            applied: metrics.last_applied.index().unwrap_or(0),
            snapshot: metrics.snapshot.index().unwrap_or(0),
            followers: followers(metrics),
            fatal: fatal(metrics),
            settled,
            alone: members.voter_ids().eq([metrics.id]),
            quorum_heard: metrics.last_quorum_acked.map(|at| *at),
        }
    }

    /// The status of a replica whose engine is gone.
    pub(crate) fn stopped(&self, fatal: Option<String>) -> Self {
        Self {
            role: Role::Stopped,
            leader: None,
            fatal: self.fatal.clone().or(fatal),
            followers: BTreeMap::new(),
            quorum_heard: None,
            ..self.clone()
        }
    }

    /// Whether nothing differs but the times at which others were heard.
    pub(crate) fn differs_in_time_only(&self, other: &Self) -> bool {
        self.without_times() == other.without_times()
            && self.quorum_heard.is_some() == other.quorum_heard.is_some()
    }

    fn without_times(&self) -> Self {
        let mut bare = Self {
            quorum_heard: None,
            ..self.clone()
        };
        for follower in bare.followers.values_mut() {
            follower.heard = None;
        }
        bare
    }
}

impl FollowerStatus {
    /// How long ago the last message was sent that it answered; none when it has answered none.
    #[must_use]
    pub fn since_heard(&self) -> Option<Duration> {
        self.heard.map(|at| at.elapsed())
    }
}

const fn role(state: ServerState) -> Role {
    match state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn followers<M: Machine>(metrics: &RaftMetrics<Types<M>>) -> BTreeMap<NodeId, FollowerStatus> {
    let Some(replication) = &metrics.replication else {
        return BTreeMap::new();
    };
    let heard = |node: &u64| {
        let times = metrics.heartbeat.as_ref()?;
        times.get(node).copied().flatten().map(|at| *at)
    };
    let others = replication.iter().filter(|(node, _)| **node != metrics.id);
    others
        .map(|(node, matched)| {
            let follower = FollowerStatus {
                matched: matched.index(),
                heard: heard(node),
            };
            (NodeId::new(*node), follower)
        })
        .collect()
}

fn fatal<M: Machine>(metrics: &RaftMetrics<Types<M>>) -> Option<String> {
    match &metrics.running_state {
        Ok(()) | Err(Fatal::Stopped) => None,
        Err(error @ (Fatal::StorageError(_) | Fatal::Panicked)) => Some(error.to_string()),
    }
}
