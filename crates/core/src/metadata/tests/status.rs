//! What is less replicated than asked says so, with the reason.

use super::*;
use crate::metadata::status::{metadata_risk, pending};
use crate::policy::Placement;

fn said(cluster: &Cluster, voters: &[u64], alive: &BTreeSet<NodeId>) -> Vec<String> {
    let all = pending(&cluster.state, &nodes(voters), alive);
    all.iter()
        .map(|p| format!("{}: {}", p.subject, p.reason))
        .collect()
}

#[test]
fn cluster_of_three_settled_regions_has_nothing_pending() {
    let cluster = Cluster::settled(&["a", "b", "c"]);
    assert_eq!(
        said(&cluster, &[1, 3, 4], &cluster.all()),
        Vec::<String>::new()
    );
}

#[test]
fn global_shard_on_two_regions_waits_for_one_more() {
    let cluster = Cluster::settled(&["a", "b"]);
    let waits = "one voter on fewer than 3 regions: waits for 1 more region";
    assert_eq!(
        said(&cluster, &[1], &cluster.all()),
        ["metadata", "shard s1", "shard s2"].map(|what| format!("{what}: {waits}"))
    );
}

#[test]
fn region_that_is_not_heard_is_named() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    let heard = cluster.all();
    cluster.add_node("c");
    let waits = "waits to hear a node of c";
    assert_eq!(
        said(&cluster, &[1], &heard),
        ["metadata", "region c", "shard s1", "shard s2"].map(|what| format!("{what}: {waits}"))
    );
}

#[test]
fn silent_voter_that_holds_a_group_back_is_named() {
    let mut cluster = Cluster::settled(&["a"]);
    cluster.add_node("b");
    cluster.add_node("c");
    let mut alive = cluster.all();
    alive.remove(&NodeId::new(1));
    assert!(
        said(&cluster, &[1], &alive)
            .contains(&"shard s1: waits to hear node n1, which votes in it".into())
    );
}

#[test]
fn what_the_controller_does_next_is_underway() {
    let mut cluster = Cluster::founded(1);
    cluster.add_node("a");
    assert!(said(&cluster, &[1], &cluster.all()).contains(&"region a: is being done now".into()));
}

#[test]
fn queue_that_asks_for_regional_placement_is_told_what_it_has() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    let placement = Placement::Regional;
    cluster.apply(create_queue(
        "here",
        QueuePolicy {
            placement,
            ..QueuePolicy::default()
        },
    ));
    let said = said(&cluster, &[1, 3, 4], &cluster.all());
    assert!(
        said[0].starts_with("queue here: asks for regional placement"),
        "{said:?}"
    );
}

#[test]
fn metadata_on_one_voter_says_what_its_loss_means() {
    let cluster = Cluster::settled(&["a", "b"]);
    let risk = metadata_risk(&cluster.state, &nodes(&[1])).unwrap();
    assert!(
        risk.contains("n1 in a") && risk.contains("operator decides"),
        "{risk}"
    );
    assert_eq!(metadata_risk(&cluster.state, &nodes(&[1, 3, 4])), None);
}
