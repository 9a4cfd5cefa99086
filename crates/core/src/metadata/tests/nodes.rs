//! A node keeps its id for good, and shows that its data folder is the newest.

use leasehold_types::limits;

use super::*;

#[test]
fn founder_is_node_one_and_every_other_id_is_the_index_of_its_entry() {
    let mut cluster = Cluster::founded(1);
    let mut add = |index, nonce| {
        let join = MetadataCommand::AddNode(join(nonce, "eu", 1));
        cluster.state.apply(index, &join)
    };
    assert_eq!(add(17, 1), MetadataOutcome::NodeAdded(NodeId::new(1)));
    assert_eq!(add(41, 2), MetadataOutcome::NodeAdded(NodeId::new(41)));
}

#[test]
fn join_repeated_with_its_nonce_finds_the_node_and_its_newest_addresses() {
    let mut cluster = Cluster::founded(1);
    let id = cluster.add_node("eu");
    let again = cluster.apply(MetadataCommand::AddNode(join(1, "eu", 2)));
    assert_eq!(again, MetadataOutcome::NodeAdded(id));
    assert_eq!(cluster.state.nodes().len(), 1);
    assert_eq!(cluster.state.node(id).unwrap().addresses, addresses(1, 2));
}

#[test]
fn join_repeated_from_another_region_is_refused() {
    let mut cluster = Cluster::founded(1);
    cluster.add_node("eu");
    let refusal = cluster.refuse(MetadataCommand::AddNode(join(1, "us", 1)));
    assert!(
        refusal.to_string().contains("cannot move to us"),
        "{refusal}"
    );
    assert!(cluster.state.region(&region("us")).is_none());
}

#[test]
fn first_node_of_a_region_makes_the_region() {
    let mut cluster = Cluster::founded(1);
    let (first, second) = (cluster.add_node("eu"), cluster.add_node("eu"));
    let eu = cluster.state.region(&region("eu")).unwrap();
    assert_eq!(eu.nodes, [first, second].into());
    assert_eq!(eu.shard, None);
}

#[test]
fn start_of_an_old_copy_of_a_data_folder_is_refused() {
    let mut cluster = Cluster::founded(1);
    let id = cluster.add_node("eu");
    let noted = cluster.apply(MetadataCommand::NodeStarted(start(id, 5)));
    assert_eq!(noted, MetadataOutcome::NodeStarted);
    let old_boot = MetadataRefusal::OldBoot {
        node: id,
        seen: BootCount::new(5),
        given: BootCount::new(4),
    };
    let late = cluster.refuse(MetadataCommand::NodeStarted(start(id, 4)));
    assert_eq!(late, old_boot);
    let rejoined = cluster.refuse(MetadataCommand::AddNode(join(1, "eu", 4)));
    assert_eq!(rejoined, old_boot);
    let known = &cluster.state.node(id).unwrap().addresses;
    assert_eq!(known, &addresses(id.get().into(), 5));
}

#[test]
fn start_reported_twice_is_noted_once() {
    let mut cluster = Cluster::founded(1);
    let id = cluster.add_node("eu");
    for _ in 0..2 {
        let noted = cluster.apply(MetadataCommand::NodeStarted(start(id, 2)));
        assert_eq!(noted, MetadataOutcome::NodeStarted);
    }
    assert_eq!(cluster.state.node(id).unwrap().boot, boot_from(2, 1));
}

#[test]
fn second_start_under_one_count_is_a_copy_and_refused() {
    let mut cluster = Cluster::founded(1);
    let id = cluster.add_node("eu");
    cluster.apply(MetadataCommand::NodeStarted(start(id, 5)));
    let boot = boot_from(5, 2);
    let twin = NodeStarted {
        boot,
        ..start(id, 5)
    };
    let refusal = cluster.refuse(MetadataCommand::NodeStarted(twin));
    let boot = boot.count;
    assert_eq!(refusal, MetadataRefusal::TwinBoot { node: id, boot });
    let next = cluster.apply(MetadataCommand::NodeStarted(start(id, 6)));
    assert_eq!(next, MetadataOutcome::NodeStarted);
}

#[test]
fn mark_that_is_known_is_not_forgotten_for_a_start_without_one() {
    let mut cluster = Cluster::founded(1);
    let id = cluster.add_node("eu");
    cluster.apply(MetadataCommand::NodeStarted(start(id, 5)));
    let unmarked = NodeStarted {
        boot: BootCount::new(5).into(),
        ..start(id, 5)
    };
    cluster.apply(MetadataCommand::NodeStarted(unmarked));
    let twin = NodeStarted {
        boot: boot_from(5, 2),
        ..start(id, 5)
    };
    let refusal = cluster.refuse(MetadataCommand::NodeStarted(twin));
    assert!(matches!(refusal, MetadataRefusal::TwinBoot { .. }));
}

#[test]
fn empty_folder_at_the_address_of_a_node_is_refused_as_that_node() {
    let mut cluster = Cluster::founded(1);
    let id = cluster.add_node("eu");
    let empty = AddNode {
        addresses: addresses(1, 1),
        ..join(2, "eu", 1)
    };
    let refusal = cluster.refuse(MetadataCommand::AddNode(empty.clone()));
    let message = refusal.to_string();
    assert!(message.contains(&id.to_string()), "{message}");
    assert!(message.contains("another peer address"), "{message}");
    // Free again once that node is known elsewhere.
    cluster.apply(MetadataCommand::NodeStarted(start(id, 2)));
    let joined = cluster.apply(MetadataCommand::AddNode(empty));
    assert!(matches!(joined, MetadataOutcome::NodeAdded(new) if new != id));
}

#[test]
fn start_of_a_stranger_is_refused() {
    let stranger = NodeId::new(99);
    let refusal = Cluster::founded(1).refuse(MetadataCommand::NodeStarted(start(stranger, 1)));
    assert_eq!(refusal, MetadataRefusal::UnknownNode(stranger));
}

#[test]
fn address_or_version_out_of_bounds_is_refused() {
    let mut cluster = Cluster::founded(1);
    let mut no_peer = join(1, "eu", 1);
    no_peer.addresses.peer.clear();
    let mut long_client = join(1, "eu", 1);
    long_client.addresses.client = "x".repeat(260);
    let mut long_version = join(1, "eu", 1);
    long_version.build.version = "x".repeat(129);
    for wrong in [no_peer, long_client, long_version] {
        let refusal = cluster.refuse(MetadataCommand::AddNode(wrong));
        assert!(matches!(refusal, MetadataRefusal::Invalid(_)), "{refusal}");
    }
}

#[test]
fn node_over_the_limit_of_nodes_is_refused() {
    let mut cluster = Cluster::founded(1);
    (0..limits::NODES).for_each(|_| {
        cluster.add_node("eu");
    });
    let refusal = cluster.refuse(MetadataCommand::AddNode(join(0, "eu", 1)));
    assert!(matches!(refusal, MetadataRefusal::Full { limit, .. } if limit == limits::NODES));
}

#[test]
fn region_over_the_limit_of_regions_is_refused_and_a_node_in_a_known_one_is_not() {
    let mut cluster = Cluster::founded(1);
    (0..limits::REGIONS).for_each(|n| {
        cluster.add_node(&format!("r{n}"));
    });
    let refusal = cluster.refuse(MetadataCommand::AddNode(join(0, "one-more", 1)));
    assert!(matches!(refusal, MetadataRefusal::Full { limit, .. } if limit == limits::REGIONS));
    cluster.add_node("r0");
}
