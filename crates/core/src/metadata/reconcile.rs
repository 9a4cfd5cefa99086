//! How the leader of a group brings its real members to the intended ones, one safe step at a time.
//!
//! The group's own Raft configuration is the truth; the intent is only a wish. A node first becomes a learner, and
//! votes only once it has caught up: a voter without the log would count towards majorities that it cannot serve.

use std::collections::BTreeSet;

use leasehold_types::NodeId;

/// What the leader should ask its group for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipStep {
    /// Let this node follow the log.
    AddLearner(NodeId),
    /// These learners are behind: ask again once they have caught up.
    Wait(BTreeSet<NodeId>),
    /// Make these the voters, in one change.
    SetVoters(BTreeSet<NodeId>),
    /// The voters are the intended ones.
    Done,
}

/// The next step from `voters` and `learners` towards `intent`, given which nodes have the log almost to its end.
///
/// An empty intent asks for nothing: no group can run without voters.
#[must_use]
pub fn next_step(
    intent: &BTreeSet<NodeId>,
    voters: &BTreeSet<NodeId>,
    learners: &BTreeSet<NodeId>,
    caught_up: &BTreeSet<NodeId>,
) -> MembershipStep {
    if intent.is_empty() || intent == voters {
        return MembershipStep::Done;
    }
    let joining: BTreeSet<NodeId> = intent.difference(voters).copied().collect();
    if let Some(stranger) = joining.difference(learners).next() {
        return MembershipStep::AddLearner(*stranger);
    }
    let behind: BTreeSet<NodeId> = joining.difference(caught_up).copied().collect();
    match behind.is_empty() {
        true => MembershipStep::SetVoters(intent.clone()),
        false => MembershipStep::Wait(behind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn step(intent: &[u64], voters: &[u64], learners: &[u64], caught_up: &[u64]) -> MembershipStep {
        next_step(
            &nodes(intent),
            &nodes(voters),
            &nodes(learners),
            &nodes(caught_up),
        )
    }

    #[test]
    fn every_newcomer_is_a_learner_before_anybody_is_promoted() {
        let add = |id| MembershipStep::AddLearner(NodeId::new(id));
        assert_eq!(step(&[1, 2, 3], &[1], &[], &[1]), add(2));
        assert_eq!(step(&[1, 2, 3], &[1], &[2], &[1, 2]), add(3));
    }

    #[test]
    fn learner_that_is_behind_is_waited_for() {
        let wait = MembershipStep::Wait(nodes(&[3]));
        assert_eq!(step(&[1, 2, 3], &[1], &[2, 3], &[1, 2]), wait);
    }

    #[test]
    fn voters_change_in_one_step_once_all_newcomers_caught_up() {
        let set = MembershipStep::SetVoters(nodes(&[1, 2, 3]));
        assert_eq!(step(&[1, 2, 3], &[1], &[2, 3], &[2, 3]), set);
    }

    #[test]
    fn voter_that_leaves_needs_no_newcomer_and_no_waiting() {
        let set = MembershipStep::SetVoters(nodes(&[1]));
        assert_eq!(step(&[1], &[1, 2, 3], &[], &[]), set);
    }

    #[test]
    fn nothing_is_asked_once_the_voters_are_the_intended_ones() {
        assert_eq!(
            step(&[1, 2, 3], &[1, 2, 3], &[4], &[]),
            MembershipStep::Done
        );
        assert_eq!(step(&[], &[1], &[], &[]), MembershipStep::Done);
    }
}
