//! One shard a region, with slices of its own; voters are 1, 3 or 5 in as many regions.

use leasehold_types::VirtualShard;

use super::*;
use crate::metadata::MetadataParts;
use crate::policy::Placement;

#[test]
fn shards_get_ids_from_one_and_adjoining_slices() {
    let mut cluster = Cluster::founded(3);
    for (number, name) in (1..).zip(["eu", "us", "ap"]) {
        let node = cluster.add_node(name);
        let made = cluster.create_shard(name, node);
        assert_eq!(made, MetadataOutcome::ShardCreated(ShardId::new(number)));
    }
    let owner = |slice| cluster.state.shard_of(VirtualShard::new(slice));
    assert_eq!(owner(0), Some(ShardId::new(1)));
    assert_eq!(owner(7), Some(ShardId::new(1)));
    assert_eq!(owner(8), Some(ShardId::new(2)));
    assert_eq!(owner(23), Some(ShardId::new(3)));
    assert_eq!(owner(24), None);
    assert_eq!(owner(u16::MAX), None);
}

#[test]
fn region_has_one_shard_however_often_it_is_created() {
    let mut cluster = Cluster::founded(1);
    let (first, second) = (cluster.add_node("eu"), cluster.add_node("eu"));
    let made = cluster.create_shard("eu", first);
    assert_eq!(cluster.create_shard("eu", second), made);
    let shard = cluster.state.shard(ShardId::new(1)).unwrap();
    assert_eq!((shard.initial, cluster.state.shards().len()), (first, 1));
}

#[test]
fn shard_begins_with_one_known_node_of_its_home() {
    let mut cluster = Cluster::founded(1);
    let (_, abroad) = (cluster.add_node("eu"), cluster.add_node("us"));
    let mut refuse = |home: &str, initial| {
        let home = region(home);
        cluster.refuse(MetadataCommand::CreateShard(CreateShard { home, initial }))
    };
    let stranger = NodeId::new(99);
    assert_eq!(
        refuse("eu", stranger),
        MetadataRefusal::UnknownNode(stranger)
    );
    assert_eq!(
        refuse("mars", abroad),
        MetadataRefusal::UnknownRegion(region("mars"))
    );
    assert!(matches!(refuse("eu", abroad), MetadataRefusal::Invalid(_)));
}

#[test]
fn shard_without_slices_left_is_refused() {
    let mut cluster = Cluster::unfounded();
    let virtual_shards = 15;
    cluster.apply(MetadataCommand::Found(Found {
        virtual_shards,
        ..found(1)
    }));
    let (eu, us) = (cluster.add_node("eu"), cluster.add_node("us"));
    cluster.create_shard("eu", eu);
    let home = region("us");
    let refusal = cluster.refuse(MetadataCommand::CreateShard(CreateShard {
        home,
        initial: us,
    }));
    let said = "the cluster has 15 virtual shards given to shards, which is the limit";
    assert_eq!(refusal.to_string(), said);
}

#[test]
fn intent_takes_one_three_or_five_voters_and_nothing_between() {
    let mut cluster = Cluster::settled(&["a", "b", "c", "d", "e", "f"]);
    let ids: Vec<u64> = cluster.all().iter().map(|id| id.get()).collect();
    for count in [0, 2, 4, 6] {
        let refusal = cluster.refuse(cluster.clone().intend(1, &ids[..count]));
        assert!(matches!(refusal, MetadataRefusal::Invalid(_)), "{refusal}");
    }
    for count in [5, 3, 1] {
        let intend = cluster.intend(1, &ids[..count]);
        let index = cluster.state.applied() + 1;
        assert_eq!(cluster.apply(intend), MetadataOutcome::Intended(index));
        assert_eq!(cluster.voters(1), ids[..count]);
    }
}

#[test]
fn two_voters_in_one_region_are_refused() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    let twin = cluster.add_node("b").get();
    let [a, b] = [1, 3];
    let refusal = cluster.refuse(cluster.clone().intend(1, &[a, b, twin]));
    assert!(
        refusal.to_string().contains("a region of its own"),
        "{refusal}"
    );
}

#[test]
fn voter_or_shard_that_is_not_known_is_refused() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    let refusal = cluster.refuse(cluster.clone().intend(1, &[99]));
    assert_eq!(refusal, MetadataRefusal::UnknownNode(NodeId::new(99)));
    let refusal = cluster.refuse(cluster.clone().intend(9, &[1]));
    assert_eq!(refusal, MetadataRefusal::UnknownShard(ShardId::new(9)));
}

#[test]
fn intent_made_for_an_older_one_is_refused_and_its_own_repeat_is_not() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    let (narrow, other) = (cluster.intend(1, &[1]), cluster.intend(1, &[3]));
    let first = cluster.apply(narrow.clone());
    assert_eq!(cluster.apply(narrow), first);
    let refusal = cluster.refuse(other);
    assert!(
        matches!(refusal, MetadataRefusal::Conflict { .. }),
        "{refusal}"
    );
}

#[test]
fn regional_shard_takes_only_voters_of_its_home() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    let (second, third) = (cluster.add_node("a").get(), cluster.add_node("a").get());
    let mut parts: MetadataParts = cluster.state.parts();
    parts.shards[0].placement = Placement::Regional;
    cluster.state = MetadataState::from_parts(parts).unwrap();
    let abroad = cluster.refuse(cluster.clone().intend(1, &[3]));
    assert!(abroad.to_string().contains("lives in a alone"), "{abroad}");
    let intend = cluster.intend(1, &[1, second, third]);
    assert!(matches!(
        cluster.apply(intend),
        MetadataOutcome::Intended(_)
    ));
}
