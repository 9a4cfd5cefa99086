//! The controller adds what is missing, once, and never takes anything away.

use super::*;
use crate::metadata::controller::metadata_voters;

#[test]
fn every_region_with_a_node_that_is_heard_gets_a_shard_begun_by_its_lowest() {
    let mut cluster = Cluster::founded(3);
    let (first, second) = (cluster.add_node("eu"), cluster.add_node("eu"));
    cluster.add_node("us");
    let create = |initial| {
        let home = region("eu");
        vec![MetadataCommand::CreateShard(CreateShard { home, initial })]
    };
    assert_eq!(plan(&cluster.state, &[first, second].into()), create(first));
    assert_eq!(plan(&cluster.state, &[second].into()), create(second));
    assert_eq!(plan(&cluster.state, &BTreeSet::new()), vec![]);
}

#[test]
fn shards_stay_on_one_voter_while_there_are_two_regions() {
    let cluster = Cluster::settled(&["a", "b"]);
    assert_eq!((cluster.voters(1), cluster.voters(2)), (vec![1], vec![3]));
}

#[test]
fn shards_widen_to_three_regions_by_themselves_when_the_third_is_heard() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    let without_c = cluster.all();
    cluster.add_node("c");
    cluster.settle_with(&without_c);
    assert_eq!(cluster.voters(1).len(), 1);
    cluster.settle();
    let three: Vec<u64> = cluster.all().iter().map(|id| id.get()).collect();
    for shard in 1..=3 {
        assert_eq!(cluster.voters(shard), three);
    }
}

#[test]
fn shards_stay_at_three_voters_however_many_regions_there_are() {
    let cluster = Cluster::settled(&["a", "b", "c", "d", "e", "f"]);
    assert!((1..=6).all(|shard| cluster.voters(shard).len() == 3));
}

#[test]
fn every_node_of_a_ring_of_regions_votes_equally_often() {
    let cluster = Cluster::settled(&["a", "b", "c", "d", "e"]);
    for node in cluster.all() {
        let votes = (1..=5).filter(|shard| cluster.voters(*shard).contains(&node.get()));
        assert_eq!(votes.count(), 3, "{node}");
    }
}

#[test]
fn votes_of_a_region_are_shared_among_its_nodes() {
    let mut cluster = Cluster::founded(3);
    for name in ["a", "b", "c", "a", "b", "c"] {
        cluster.add_node(name);
    }
    cluster.settle();
    for node in cluster.all() {
        let votes = (1..=3).filter(|shard| cluster.voters(*shard).contains(&node.get()));
        assert!((1..=2).contains(&votes.count()), "{node}");
    }
}

#[test]
fn nothing_changes_when_a_voter_falls_silent() {
    let mut cluster = Cluster::settled(&["a", "b", "c", "d"]);
    cluster.add_node("a");
    let mut alive = cluster.all();
    alive.remove(&NodeId::new(1));
    assert_eq!(plan(&cluster.state, &alive), vec![]);
}

#[test]
fn shard_whose_only_voter_is_silent_is_not_widened() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    cluster.add_node("c");
    cluster.add_node("d");
    let mut alive = cluster.all();
    alive.remove(&NodeId::new(1));
    cluster.settle_with(&alive);
    assert_eq!((cluster.voters(1).len(), cluster.voters(2).len()), (1, 3));
}

#[test]
fn regions_beyond_the_slices_get_no_shard_and_the_plan_still_ends() {
    let mut cluster = Cluster::unfounded();
    let virtual_shards = 8;
    cluster.apply(MetadataCommand::Found(Found {
        virtual_shards,
        ..found(1)
    }));
    cluster.add_node("a");
    cluster.add_node("b");
    cluster.settle();
    assert_eq!(cluster.state.shards().len(), 1);
}

#[test]
fn metadata_has_one_three_or_five_voters_and_never_two_or_four() {
    let mut cluster = Cluster::founded(5);
    let mut voters: BTreeSet<NodeId> = [cluster.add_node("a")].into();
    let mut sizes = Vec::new();
    for name in ["b", "c", "d", "e", "f"] {
        cluster.add_node(name);
        let wider = metadata_voters(&cluster.state, &voters, &cluster.all());
        if let Some(wider) = wider {
            assert!(wider.is_superset(&voters));
            voters = wider;
        }
        sizes.push(voters.len());
    }
    assert_eq!(sizes, [1, 3, 3, 5, 5]);
}

#[test]
fn metadata_is_left_alone_while_one_of_its_voters_is_silent() {
    let mut cluster = Cluster::founded(3);
    let voters: BTreeSet<NodeId> = [cluster.add_node("a")].into();
    for name in ["b", "c", "d"] {
        cluster.add_node(name);
    }
    let others: BTreeSet<NodeId> = cluster.all().difference(&voters).copied().collect();
    assert_eq!(metadata_voters(&cluster.state, &voters, &others), None);
    assert_eq!(
        metadata_voters(&cluster.state, &nodes(&[99]), &cluster.all()),
        None
    );
    assert_eq!(
        metadata_voters(&cluster.state, &nodes(&[]), &cluster.all()),
        None
    );
}
