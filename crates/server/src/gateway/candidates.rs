//! Whom to ask next about a shard: a pure choice, made anew for every try of a call.

use leasehold_types::NodeId;

/// What is known about where a shard's leader may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Knowledge {
    /// Where the last answer pointed.
    pub(super) hint: Option<NodeId>,
    /// Who answered as leader the last time, in any call.
    pub(super) remembered: Option<NodeId>,
    /// Whom this node's own replica follows.
    pub(super) followed: Option<NodeId>,
    /// Who shall vote, those of the home region first.
    pub(super) voters: Vec<NodeId>,
}

/// One choice a try: first whoever is said to lead, unless it failed this very call, then the voters in turn.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    failed: Option<NodeId>,
    turn: usize,
}

impl Candidates {
    /// The node to ask now; none when no voter is known.
    pub(super) fn next(
        &mut self,
        known: &Knowledge,
        is_reachable: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        if let Some(hint) = known.hint {
            return Some(hint);
        }
        let said = [known.remembered, known.followed].into_iter().flatten();
        let fresh = |node: &NodeId| Some(*node) != self.failed && is_reachable(*node);
        if let Some(leader) = said.clone().find(fresh) {
            return Some(leader);
        }
        self.in_turn(&known.voters, is_reachable)
    }

    /// The node did not answer, or could not: the next choice is another where there is one.
    pub(super) fn failed(&mut self, node: NodeId) {
        self.failed = Some(node);
    }

    fn in_turn(
        &mut self,
        voters: &[NodeId],
        is_reachable: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let from = |offset: usize| {
            voters
                .get((self.turn + offset) % voters.len().max(1))
                .copied()
        };
        let order: Vec<NodeId> = (0..voters.len()).filter_map(from).collect();
        self.turn = self.turn.wrapping_add(1);
        let wanted = |node: &&NodeId| Some(**node) != self.failed && is_reachable(**node);
        order.iter().find(wanted).or(order.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn known() -> Knowledge {
        Knowledge {
            voters: nodes(&[1, 2, 3]),
            ..Knowledge::default()
        }
    }

    #[test]
    fn hint_is_followed_before_anything_else() {
        let known = Knowledge {
            hint: Some(NodeId::new(9)),
            remembered: Some(NodeId::new(1)),
            ..known()
        };
        let mut candidates = Candidates::default();
        assert_eq!(candidates.next(&known, |_| false), Some(NodeId::new(9)));
    }

    #[test]
    fn remembered_leader_that_failed_this_call_is_passed_over() {
        let known = Knowledge {
            remembered: Some(NodeId::new(1)),
            followed: Some(NodeId::new(2)),
            ..known()
        };
        let mut candidates = Candidates::default();
        assert_eq!(candidates.next(&known, |_| true), Some(NodeId::new(1)));
        candidates.failed(NodeId::new(1));
        assert_eq!(candidates.next(&known, |_| true), Some(NodeId::new(2)));
    }

    #[test]
    fn voters_take_turns_and_the_unreachable_are_skipped() {
        let mut candidates = Candidates::default();
        let reachable = |node: NodeId| node != NodeId::new(2);
        let asked: Vec<_> = (0..4)
            .filter_map(|_| candidates.next(&known(), reachable))
            .collect();
        assert_eq!(asked, nodes(&[1, 3, 3, 1]));
    }

    #[test]
    fn somebody_is_asked_even_when_all_look_unreachable() {
        let mut candidates = Candidates::default();
        assert!(candidates.next(&known(), |_| false).is_some());
        assert_eq!(candidates.next(&Knowledge::default(), |_| true), None);
    }
}
