//! A cluster is founded once, and nothing comes before it.

use super::*;

#[test]
fn nothing_is_taken_before_the_founding() {
    let mut cluster = Cluster::unfounded();
    let commands = [
        MetadataCommand::AddNode(join(1, "eu", 1)),
        MetadataCommand::NodeStarted(start(NodeId::new(1), 1)),
        cluster.intend(1, &[1]),
        create_queue("chat", QueuePolicy::default()),
        set_queue("chat", None, QueuePolicy::default()),
    ];
    for command in commands {
        assert_eq!(cluster.refuse(command), MetadataRefusal::NotFounded);
    }
}

#[test]
fn second_founding_is_refused_with_the_cluster_that_stands() {
    let mut cluster = Cluster::founded(3);
    let mut other = found(1);
    other.cluster = ClusterId::from_random(8);
    let refusal = cluster.refuse(MetadataCommand::Found(other));
    assert_eq!(
        refusal,
        MetadataRefusal::AlreadyFounded(ClusterId::from_random(7))
    );
    assert_eq!(cluster.state.founding().unwrap().regions, 3);
}

#[test]
fn founding_repeated_by_its_founder_is_answered_like_the_first() {
    let mut cluster = Cluster::founded(3);
    let again = cluster.apply(MetadataCommand::Found(found(3)));
    assert_eq!(again, MetadataOutcome::Founded(ClusterId::from_random(7)));
}

#[test]
fn founding_without_room_for_its_regions_is_refused() {
    let too_few = Found {
        virtual_shards: 23,
        ..found(3)
    };
    for wrong in [found(0), found(65), too_few] {
        let refusal = Cluster::unfounded().refuse(MetadataCommand::Found(wrong));
        assert!(matches!(refusal, MetadataRefusal::Invalid(_)), "{refusal}");
    }
}

#[test]
fn entry_applied_before_changes_nothing() {
    let mut cluster = Cluster::founded(1);
    cluster.add_node("eu");
    let before = cluster.state.clone();
    for index in 0..=before.applied() {
        let late = MetadataCommand::AddNode(join(99, "us", 1));
        let outcome = cluster.state.apply(index, &late);
        assert!(matches!(outcome, MetadataOutcome::Refused(_)));
    }
    assert_eq!(cluster.state, before);
}
