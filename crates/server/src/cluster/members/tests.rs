use leasehold_consensus::FollowerStatus;

use super::*;

fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

fn status(voters: &[u64], learners: &[u64], matched: &[(u64, u64)]) -> GroupStatus {
    let follower = |(node, matched): &(u64, u64)| {
        let mut follower = FollowerStatus::default();
        follower.matched = Some(*matched);
        (NodeId::new(*node), follower)
    };
    let mut status = GroupStatus::default();
    status.voters = nodes(voters);
    status.learners = nodes(learners);
    status.last_log = 5_000;
    status.followers = matched.iter().map(follower).collect();
    status
}

fn intent(voters: &[u64], learners: &[u64]) -> Intent {
    Intent {
        voters: nodes(voters),
        learners: nodes(learners),
    }
}

#[test]
fn newcomer_learns_first_and_votes_once_it_has_caught_up() {
    let wanted = intent(&[1, 2, 3], &[]);
    let add = |node| Step::Add(NodeId::new(node));
    assert_eq!(step(&status(&[1], &[], &[]), &wanted), add(2));
    assert_eq!(step(&status(&[1], &[2], &[]), &wanted), add(3));
    let behind = status(&[1], &[2, 3], &[(2, 4_999), (3, 10)]);
    assert_eq!(step(&behind, &wanted), Step::Rest);
    let ready = status(&[1], &[2, 3], &[(2, 4_999), (3, 4_500)]);
    assert_eq!(step(&ready, &wanted), Step::Vote(nodes(&[1, 2, 3])));
}

#[test]
fn every_node_learns_the_metadata_even_while_a_voter_is_waited_for() {
    let wanted = intent(&[1, 2, 3], &[4]);
    let behind = status(&[1], &[2, 3], &[]);
    assert_eq!(step(&behind, &wanted), Step::Add(NodeId::new(4)));
    let done = status(&[1, 2, 3], &[4], &[]);
    assert_eq!(step(&done, &wanted), Step::Rest);
}

#[test]
fn learner_that_nobody_wants_any_more_is_dropped_last() {
    let wanted = intent(&[1], &[]);
    let leftover = status(&[1], &[2], &[]);
    assert_eq!(step(&leftover, &wanted), Step::Drop(NodeId::new(2)));
    let shrinking = status(&[1, 2, 3], &[], &[]);
    assert_eq!(step(&shrinking, &wanted), Step::Vote(nodes(&[1])));
}

#[test]
fn change_that_stopped_half_way_is_asked_for_again() {
    let mut half = status(&[1, 2, 3], &[], &[]);
    half.changing = true;
    assert_eq!(
        step(&half, &intent(&[1, 2, 3], &[])),
        Step::Vote(nodes(&[1, 2, 3]))
    );
}
