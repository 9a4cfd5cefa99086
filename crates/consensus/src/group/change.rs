//! Changing who votes, who listens and who leads; refusing what would cost the group its majority.
//!
//! openraft goes from one set of voters to another through a joint configuration, in which both need a majority. So there
//! are never two or four voters on the way, and a change that stops half way can be asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold_types::NodeId;
use openraft::ChangeMembers;
use openraft::errors::{
    ChangeMembershipError, ClientWriteError, ForwardReason, InitializeError, RaftError,
};
use tokio::time::timeout;

use super::Group;
use super::propose::{hint, leader};
use crate::machine::Machine;
use crate::status::GroupStatus;
use crate::types::{LeaderId, Types};

/// A replica that is at most this many entries behind may get a vote: more than are ever under way to it.
const VOTE_WITHIN: u64 = 1_024;

/// A voter that is at most this many entries behind may be handed leadership. Nothing is decided until it has them.
const LEAD_WITHIN: u64 = 256;

/// Most voters: a sixth and seventh would make every write slower and survive nothing that regions do.
const VOTERS_MAX: usize = 5;

/// Why a change of members or leader was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This replica does not lead.
    #[error("this replica does not lead; {}", hint(*leader))]
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
    /// The replica's store is not empty: the group was founded, or the replica belongs to one.
    #[error("the group is founded already; let this replica join it")]
    AlreadyFounded,
    /// Voters come in ones, threes and fives: an even number survives no more failures than the odd one below it.
    #[error("{given} voters were asked for; name 1, 3 or 5")]
    VoterCount {
        /// How many were named.
        given: usize,
    },
    /// The node is no member of the group.
    #[error("node {node} is not in the group; add it as a learner first")]
    NotMember {
        /// Which node.
        node: NodeId,
    },
    /// The node has no vote, and only a voter can lead.
    #[error("node {node} has no vote; make it a voter first")]
    NotVoter {
        /// Which node.
        node: NodeId,
    },
    /// The node has a vote, which must be taken from it first.
    #[error("node {node} has a vote; set voters without it first")]
    IsVoter {
        /// Which node.
        node: NodeId,
    },
    /// The node has not answered within a lease.
    #[error("node {node} has not answered of late; wait until it is back")]
    Silent {
        /// Which node.
        node: NodeId,
    },
    /// The node does not have enough of the log.
    #[error("node {node} is {entries} entries behind; wait until it has caught up")]
    Behind {
        /// Which node.
        node: NodeId,
        /// How far.
        entries: u64,
    },
    /// With these voters the group would have no majority at once.
    #[error(
        "only {heard} of the {wanted} voters asked for answer, and {needed} are needed; nothing could be decided"
    )]
    QuorumAtRisk {
        /// How many of them have answered within a lease, this replica included.
        heard: usize,
        /// How many were named.
        wanted: usize,
        /// How many make a majority of them.
        needed: usize,
    },
    /// Another change is under way.
    #[error("another change of members is under way; wait for it and ask again")]
    Busy,
    /// No majority answers at present; nothing was changed.
    #[error("no majority of the replicas has answered; try again or elsewhere")]
    LeaseLapsed,
    /// The change was begun, and leadership or the majority was lost: ask for it again, it may have been made.
    #[error("the leader was lost before the change was known to be made; ask for it again")]
    Unknown,
    /// The node did not take over in time. Without another leader an election settles it; writes wait until then.
    #[error("leadership did not pass to node {to} in time; {}", hint(*leader))]
    TransferMissed {
        /// Who should have led.
        to: NodeId,
        /// Who leads now, if anybody does.
        leader: Option<NodeId>,
    },
    /// The engine refused for a reason that none of the above covers.
    #[error("the change was refused: {reason}")]
    Refused {
        /// In the engine's words.
        reason: String,
    },
    /// The replica has stopped.
    #[error("this replica has stopped")]
    Stopped,
}

impl<M: Machine> Group<M> {
    /// Founds the group with this replica as its only voter. For the one node that metadata names, on an empty store:
    /// two foundings make two groups that never meet.
    ///
    /// # Errors
    /// [`ChangeError::AlreadyFounded`] when the store holds a vote or an entry.
    pub async fn initialize(&self) -> Result<(), ChangeError> {
        let alone = BTreeMap::from([(self.inner.node.get(), ())]);
        match self.inner.engine.initialize(alone).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                Err(ChangeError::AlreadyFounded)
            }
            Err(RaftError::APIError(error @ InitializeError::NotInMembers(_))) => {
                Err(ChangeError::Refused {
                    reason: error.to_string(),
                })
            }
            Err(RaftError::Fatal(_)) => Err(ChangeError::Stopped),
        }
    }

    /// Adds a replica without a vote; the log flows to it from then on. Does nothing when it is a member already.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add_learner(&self, node: NodeId) -> Result<(), ChangeError> {
        let status = self.settled_status().await?;
        if status.voters.contains(&node) || status.learners.contains(&node) {
            return Ok(());
        }
        let nodes = BTreeMap::from([(node.get(), ())]);
        self.change(ChangeMembers::AddNodes(nodes)).await
    }

    /// Removes a replica that has no vote. Does nothing when it is no member.
    ///
    /// # Errors
    /// [`ChangeError::IsVoter`] for a voter, otherwise see [`ChangeError`].
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), ChangeError> {
        let status = self.settled_status().await?;
        if status.voters.contains(&node) {
            return Err(ChangeError::IsVoter { node });
        }
        if !status.learners.contains(&node) {
            return Ok(());
        }
        let nodes = BTreeSet::from([node.get()]);
        self.change(ChangeMembers::RemoveNodes(nodes)).await
    }

    /// Makes exactly these nodes the voters; whoever loses its vote stays as a learner. Each new one must be a learner
    /// that has caught up and answers, and a majority of all must answer. A leader that takes its own vote then hands
    /// over to one of them. Also finishes a change that stopped half way.
    ///
    /// # Errors
    /// [`ChangeError::TransferMissed`] when the change was made and the hand-over was not; otherwise see
    /// [`ChangeError`].
    pub async fn set_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        let status = self.settled_status().await?;
        if status.voters != voters || status.changing {
            check_voters(&status, &self.heard(&status), &voters)?;
            let voters = voters.iter().copied().map(NodeId::get).collect();
            let members = ChangeMembers::ReplaceAllVoters(voters);
            self.change(members).await?;
        }
        if voters.contains(&self.inner.node) {
            return Ok(());
        }
        self.hand_over(&voters).await
    }

    /// openraft lets a leader without a vote lead on as long as it is a member, so it has to be told.
    async fn hand_over(&self, voters: &BTreeSet<NodeId>) -> Result<(), ChangeError> {
        let status = self.leading_status()?;
        let heard = self.heard(&status);
        let ready = status.followers.iter();
        let ready = ready.filter(|(node, _)| voters.contains(node) && heard.contains(node));
        let best = ready.max_by_key(|(_, follower)| follower.matched);
        let (to, _) = best.ok_or(ChangeError::LeaseLapsed)?;
        self.hand_to(*to, self.inner.timings.params().election_min)
            .await
    }

    /// Hands leadership to a voter that has caught up, and waits up to `within` until it leads. New proposals are
    /// refused from the first moment, and there is no way back: give a few heartbeats.
    ///
    /// # Errors
    /// [`ChangeError::TransferMissed`] when somebody else or nobody leads in the end, otherwise see [`ChangeError`].
    pub async fn transfer_leader(&self, to: NodeId, within: Duration) -> Result<(), ChangeError> {
        let status = self.leading_status()?;
        if to == self.inner.node {
            return Ok(());
        }
        check_transfer(&status, &self.heard(&status), to)?;
        self.hand_to(to, within).await
    }

    async fn hand_to(&self, to: NodeId, within: Duration) -> Result<(), ChangeError> {
        let trigger = self.inner.engine.trigger();
        let asked = trigger.transfer_leader(to.get()).await;
        asked.map_err(|_| ChangeError::Stopped)?;
        let mut status = self.watch();
        let node = self.inner.node;
        let passed = status.wait_for(|status| status.leader.is_some_and(|leader| leader != node));
        let leader = match timeout(within, passed).await {
            Ok(Ok(status)) => status.leader,
            Ok(Err(_)) => return Err(ChangeError::Stopped),
            Err(_) => None,
        };
        if leader == Some(to) {
            return Ok(());
        }
        Err(ChangeError::TransferMissed { to, leader })
    }

    /// The status once the change before is committed, for which it waits a lease: a group that was just founded, or a
    /// leader that was just elected, is about to commit it.
    async fn settled_status(&self) -> Result<GroupStatus, ChangeError> {
        let mut watch = self.watch();
        let settled = watch.wait_for(|status| status.settled || !status.is_leader());
        match timeout(self.inner.timings.leader_lease(), settled).await {
            Ok(Ok(status)) => drop(status),
            Ok(Err(_)) => return Err(ChangeError::Stopped),
            Err(_) => return Err(ChangeError::Busy),
        }
        self.leading_status()
    }

    fn leading_status(&self) -> Result<GroupStatus, ChangeError> {
        let status = self.status();
        if status.is_leader() {
            return Ok(status);
        }
        let leader = status.leader;
        Err(ChangeError::NotLeader { leader })
    }

    /// Who has answered within a lease, this replica included.
    fn heard(&self, status: &GroupStatus) -> BTreeSet<NodeId> {
        let lease = self.inner.timings.leader_lease();
        let lately = |since: Option<Duration>| since.is_some_and(|since| since < lease);
        let others = status.followers.iter();
        others
            .filter(|(_, follower)| lately(follower.since_heard()))
            .map(|(node, _)| *node)
            .chain([self.inner.node])
            .collect()
    }

    async fn change(&self, members: ChangeMembers<u64, ()>) -> Result<(), ChangeError> {
        let engine = self.inner.engine.clone();
        // SUBTLE: in a task of its own, for it takes two entries: a caller that goes away must not leave the group
        // between two configurations.
        let changing =
            tokio::spawn(async move { engine.change_membership(members, true).await.map(drop) });
        tokio::select! {
            biased;
            result = changing => match result {
                Ok(result) => result.map_err(change_error),
                Err(_) => Err(ChangeError::Unknown),
            },
            () = self.deserted() => Err(ChangeError::Unknown),
        }
    }
}

fn check_voters(
    status: &GroupStatus,
    heard: &BTreeSet<NodeId>,
    wanted: &BTreeSet<NodeId>,
) -> Result<(), ChangeError> {
    let given = wanted.len();
    if given.is_multiple_of(2) || given > VOTERS_MAX {
        return Err(ChangeError::VoterCount { given });
    }
    for node in wanted.difference(&status.voters) {
        if !status.learners.contains(node) {
            return Err(ChangeError::NotMember { node: *node });
        }
        check_ready(status, heard, *node, VOTE_WITHIN)?;
    }
    let (heard, needed) = (wanted.intersection(heard).count(), given / 2 + 1);
    if heard < needed {
        let wanted = given;
        return Err(ChangeError::QuorumAtRisk {
            heard,
            wanted,
            needed,
        });
    }
    Ok(())
}

fn check_transfer(
    status: &GroupStatus,
    heard: &BTreeSet<NodeId>,
    to: NodeId,
) -> Result<(), ChangeError> {
    if status.voters.contains(&to) {
        return check_ready(status, heard, to, LEAD_WITHIN);
    }
    if status.learners.contains(&to) {
        return Err(ChangeError::NotVoter { node: to });
    }
    Err(ChangeError::NotMember { node: to })
}

/// Whether a node answers and has the log but for a few entries.
fn check_ready(
    status: &GroupStatus,
    heard: &BTreeSet<NodeId>,
    node: NodeId,
    within: u64,
) -> Result<(), ChangeError> {
    if !heard.contains(&node) {
        return Err(ChangeError::Silent { node });
    }
    let matched = status.followers.get(&node).and_then(|known| known.matched);
    let entries = matched.map_or(status.last_log + 1, |matched| {
        status.last_log.saturating_sub(matched)
    });
    if matched.is_none() || entries > within {
        return Err(ChangeError::Behind { node, entries });
    }
    Ok(())
}

fn change_error<M: Machine>(error: RaftError<Types<M>, ClientWriteError<Types<M>>>) -> ChangeError {
    let error = match error {
        RaftError::APIError(error) => error,
        RaftError::Fatal(_) => return ChangeError::Unknown,
    };
    match error {
        ClientWriteError::ForwardToLeader(forward) => match forward.reason {
            ForwardReason::LeaseExpired => ChangeError::LeaseLapsed,
            ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                ChangeError::NotLeader {
                    leader: leader(&forward),
                }
            }
        },
        ClientWriteError::LogEntryDiscarded(_) => ChangeError::Unknown,
        ClientWriteError::ChangeMembershipError(error) => membership_error(&error),
        ClientWriteError::PreconditionFailed(_) => ChangeError::Busy,
    }
}

fn membership_error(error: &ChangeMembershipError<LeaderId, u64>) -> ChangeError {
    match error {
        ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
            ChangeError::Busy
        }
        ChangeMembershipError::LearnerNotFound(missing) => ChangeError::NotMember {
            node: NodeId::new(missing.node_id),
        },
        ChangeMembershipError::EmptyMembership(_)
        | ChangeMembershipError::UnsupportedMembershipTransition(_)
        | ChangeMembershipError::NodeMetadataChanged(_) => ChangeError::Refused {
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::FollowerStatus;

    fn nodes<const N: usize>(nodes: [u64; N]) -> BTreeSet<NodeId> {
        nodes.into_iter().map(NodeId::new).collect()
    }

    /// Node 1 leads a log of 5000 entries; 2 has it all, 3 is far behind, 4 and 5 have nothing.
    fn status(voters: BTreeSet<NodeId>, learners: BTreeSet<NodeId>) -> GroupStatus {
        let matched = [(2, Some(5_000)), (3, Some(1)), (4, None), (5, None)];
        let followers = matched.into_iter().map(|(node, matched)| {
            let mut follower = FollowerStatus::default();
            follower.matched = matched;
            (NodeId::new(node), follower)
        });
        let mut status = GroupStatus::default();
        status.voters = voters;
        status.learners = learners;
        status.last_log = 5_000;
        status.followers = followers.collect();
        status
    }

    #[test]
    fn even_and_too_many_voters_are_refused() {
        let status = status(nodes([1]), nodes([2, 3, 4, 5, 6, 7]));
        for wanted in [nodes([]), nodes([1, 2]), nodes([1, 2, 3, 4])] {
            let given = wanted.len();
            let refused = check_voters(&status, &nodes([1, 2, 3, 4]), &wanted);
            assert_eq!(refused, Err(ChangeError::VoterCount { given }));
        }
        let seven = nodes([1, 2, 3, 4, 5, 6, 7]);
        let refused = check_voters(&status, &seven, &seven);
        assert_eq!(refused, Err(ChangeError::VoterCount { given: 7 }));
    }

    #[test]
    fn stranger_is_told_to_join_as_a_learner_first() {
        let status = status(nodes([1]), nodes([2]));
        let refused = check_voters(&status, &nodes([1, 2]), &nodes([1, 2, 9]));
        let node = NodeId::new(9);
        assert_eq!(refused, Err(ChangeError::NotMember { node }));
    }

    #[test]
    fn voter_to_be_must_answer_and_have_the_log() {
        let status = status(nodes([1]), nodes([2, 3, 4]));
        let (all, three) = (nodes([1, 2, 3, 4]), NodeId::new(3));
        let silent = check_voters(&status, &nodes([1, 2]), &nodes([1, 2, 3]));
        assert_eq!(silent, Err(ChangeError::Silent { node: three }));
        let behind = check_voters(&status, &all, &nodes([1, 2, 3]));
        let entries = 4_999;
        assert_eq!(
            behind,
            Err(ChangeError::Behind {
                node: three,
                entries
            })
        );
        let empty = check_voters(&status, &all, &nodes([1, 2, 4]));
        assert!(matches!(empty, Err(ChangeError::Behind { .. })));
    }

    #[test]
    fn change_that_would_leave_no_majority_is_refused() {
        let status = status(nodes([1, 2, 3, 4, 5]), nodes([]));
        let refused = check_voters(&status, &nodes([1, 2, 3]), &nodes([1, 4, 5]));
        let expected = ChangeError::QuorumAtRisk {
            heard: 1,
            wanted: 3,
            needed: 2,
        };
        assert_eq!(refused, Err(expected));
        let fine = check_voters(&status, &nodes([1, 2, 3]), &nodes([1, 2, 5]));
        assert_eq!(fine, Ok(()));
    }

    #[test]
    fn leadership_goes_to_voters_that_answer_and_have_the_log() {
        let status = status(nodes([1, 2, 3]), nodes([4]));
        let all = nodes([1, 2, 3, 4]);
        assert_eq!(check_transfer(&status, &all, NodeId::new(2)), Ok(()));
        let node = NodeId::new(4);
        let learner = check_transfer(&status, &all, node);
        assert_eq!(learner, Err(ChangeError::NotVoter { node }));
        let behind = check_transfer(&status, &all, NodeId::new(3));
        assert!(matches!(behind, Err(ChangeError::Behind { .. })));
        let node = NodeId::new(9);
        let stranger = check_transfer(&status, &all, node);
        assert_eq!(stranger, Err(ChangeError::NotMember { node }));
    }
}
