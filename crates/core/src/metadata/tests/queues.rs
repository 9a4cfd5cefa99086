//! A queue's shards are recorded when it is made; its policy changes by compare-and-set.

use std::time::Duration;

use leasehold_types::{TenantName, limits};

use super::*;
use crate::policy::Placement;

fn leased(seconds: u64) -> QueuePolicy {
    let lease = Duration::from_secs(seconds);
    QueuePolicy {
        lease,
        ..QueuePolicy::default()
    }
}

fn shards_of(cluster: &Cluster, name: &str) -> (Vec<u32>, u16) {
    let queue = cluster.state.queue(&queue(name)).unwrap();
    let shards = queue.shards.iter().map(|id| id.get()).collect();
    (shards, queue.keyed)
}

#[test]
fn default_queue_comes_with_the_last_shard_of_the_founding_regions() {
    let mut cluster = Cluster::founded(2);
    let (eu, us) = (cluster.add_node("eu"), cluster.add_node("us"));
    cluster.create_shard("eu", eu);
    assert!(cluster.state.queue(&queue("default")).is_none());
    cluster.create_shard("us", us);
    assert_eq!(shards_of(&cluster, "default"), (vec![1, 2], 2));
    let made = cluster.state.queue(&queue("default")).unwrap();
    assert_eq!(made.policy, QueuePolicy::default());
    assert_eq!(made.index, cluster.state.applied());
}

#[test]
fn default_queue_that_a_user_made_first_is_left_alone() {
    let mut cluster = Cluster::founded(2);
    let (eu, us) = (cluster.add_node("eu"), cluster.add_node("us"));
    cluster.create_shard("eu", eu);
    cluster.apply(create_queue("default", leased(60)));
    cluster.create_shard("us", us);
    let kept = cluster.state.queue(&queue("default")).unwrap();
    assert_eq!(kept.policy, leased(60));
}

#[test]
fn later_shard_joins_every_global_queue_and_leaves_its_keys_where_they_are() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    let regional = QueuePolicy {
        placement: Placement::Regional,
        ..QueuePolicy::default()
    };
    cluster.apply(create_queue("here", regional));
    cluster.add_node("d");
    cluster.settle();
    assert_eq!(shards_of(&cluster, "default"), (vec![1, 2, 3, 4], 3));
    assert_eq!(shards_of(&cluster, "here"), (vec![1, 2, 3], 3));
    cluster.apply(create_queue("new", QueuePolicy::default()));
    assert_eq!(shards_of(&cluster, "new"), (vec![1, 2, 3, 4], 4));
}

#[test]
fn queue_created_twice_alike_is_one_queue_and_otherwise_refused() {
    let mut cluster = Cluster::settled(&["a"]);
    let first = cluster.apply(create_queue("chat", leased(60)));
    assert_eq!(cluster.apply(create_queue("chat", leased(60))), first);
    let refusal = cluster.refuse(create_queue("chat", leased(61)));
    assert_eq!(refusal, MetadataRefusal::QueueExists(queue("chat")));
}

#[test]
fn queue_before_any_shard_is_refused() {
    let mut cluster = Cluster::founded(1);
    let refusal = cluster.refuse(create_queue("chat", QueuePolicy::default()));
    assert!(refusal.to_string().contains("nowhere to live"), "{refusal}");
}

#[test]
fn policy_out_of_bounds_is_refused_at_creation_and_at_change() {
    let mut cluster = Cluster::settled(&["a"]);
    let refusal = cluster.refuse(create_queue("chat", leased(5)));
    assert!(matches!(refusal, MetadataRefusal::Policy(_)), "{refusal}");
    let refusal = cluster.refuse(set_queue("default", None, leased(5)));
    assert!(matches!(refusal, MetadataRefusal::Policy(_)), "{refusal}");
}

#[test]
fn queue_over_the_limit_of_queues_is_refused() {
    let mut cluster = Cluster::settled(&["a"]);
    (1..limits::QUEUES).for_each(|n| {
        cluster.apply(create_queue(&format!("q{n}"), QueuePolicy::default()));
    });
    assert_eq!(cluster.state.queues().len(), limits::QUEUES);
    let refusal = cluster.refuse(create_queue("one-more", QueuePolicy::default()));
    assert!(matches!(refusal, MetadataRefusal::Full { limit, .. } if limit == limits::QUEUES));
}

#[test]
fn policy_changes_only_from_the_one_that_was_read() {
    let mut cluster = Cluster::settled(&["a"]);
    let base = cluster.state.queue(&queue("default")).unwrap().index;
    let index = cluster.state.applied() + 1;
    let set = cluster.apply(set_queue("default", Some(base), leased(60)));
    assert_eq!(set, MetadataOutcome::QueueSet(index));
    let refusal = cluster.refuse(set_queue("default", Some(base), leased(90)));
    assert!(
        matches!(refusal, MetadataRefusal::Conflict { current, .. } if current == index),
        "{refusal}"
    );
    let blind = cluster.apply(set_queue("default", None, leased(90)));
    assert!(matches!(blind, MetadataOutcome::QueueSet(_)));
}

#[test]
fn change_repeated_after_a_lost_answer_is_answered_like_the_first() {
    let mut cluster = Cluster::settled(&["a"]);
    let base = cluster.state.queue(&queue("default")).unwrap().index;
    let change = set_queue("default", Some(base), leased(60));
    let first = cluster.apply(change.clone());
    assert_eq!(cluster.apply(change), first);
}

#[test]
fn tenant_and_placement_of_a_queue_never_change() {
    let mut cluster = Cluster::settled(&["a"]);
    let other_tenant = QueuePolicy {
        tenant: TenantName::new("acme").unwrap(),
        ..QueuePolicy::default()
    };
    let other_placement = QueuePolicy {
        placement: Placement::Regional,
        ..QueuePolicy::default()
    };
    for (what, policy) in [("tenant", other_tenant), ("placement", other_placement)] {
        let refusal = cluster.refuse(set_queue("default", None, policy));
        assert!(refusal.to_string().contains(what), "{refusal}");
    }
}

#[test]
fn change_of_an_unknown_queue_is_refused() {
    let mut cluster = Cluster::settled(&["a"]);
    let refusal = cluster.refuse(set_queue("chat", None, QueuePolicy::default()));
    assert_eq!(refusal, MetadataRefusal::UnknownQueue(queue("chat")));
}
