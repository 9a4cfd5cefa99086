//! Real nodes on loopback ports and real folders: how a cluster is founded, joined, restarted and refused.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[path = "support/nodes.rs"]
mod nodes;

use std::io;
use std::time::Duration;

use leasehold_api::v1::{self, join_response};
use leasehold_core::metadata::MetadataCommand;
use leasehold_core::metadata::command::CreateQueue;
use leasehold_core::policy::QueuePolicy;
use leasehold_server::node::{Node, NodeError, StartError};
use leasehold_server::peers::{PROTOCOL_MAX, PROTOCOL_MIN};
use leasehold_storage::OpenDiskError;
use leasehold_types::{ErrorCode, QueueName};
use nodes::{Place, in_time, until};

fn queue(name: &str) -> MetadataCommand {
    MetadataCommand::CreateQueue(CreateQueue {
        name: QueueName::new(name).unwrap(),
        policy: QueuePolicy::default(),
    })
}

fn knows_queue(node: &Node, name: &str) -> bool {
    let name = QueueName::new(name).unwrap();
    node.cluster()
        .read(|metadata| metadata.queue(&name).is_some())
}

/// Not in between: a change under way still needs the voters from before it.
fn has_three_voters(node: &Node) -> bool {
    let status = node.cluster().status();
    status.voters.len() == 3 && !status.changing
}

/// Repeated while nobody leads, as every caller does.
async fn create(node: &Node, name: &str) {
    in_time(async {
        loop {
            match node.cluster().propose(queue(name)).await {
                Err(error) if error.code.is_retryable() => {}
                created => break created.map(drop).unwrap(),
            }
        }
    })
    .await;
}

async fn founded(place: &Place, regions: u16) -> Node {
    nodes::open(place.founder(regions)).await.unwrap()
}

async fn joined(place: &Place, through: &Node) -> Node {
    let config = place.joining(&through.addresses().peer);
    nodes::open(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_node_founds_its_cluster_and_is_ready_with_a_queue() {
    let place = Place::new("solo");
    let node = founded(&place, 1).await;
    in_time(node.ready()).await;
    until(&node, |node| knows_queue(node, "default")).await;
    assert!(node.cluster().status().is_leader());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_regions_become_one_cluster_with_three_voters_each() {
    let places = ["eu", "us", "ap"].map(Place::new);
    let eu = founded(&places[0], 3).await;
    let us = joined(&places[1], &eu).await;
    let ap = joined(&places[2], &us).await;
    for node in [&eu, &us, &ap] {
        in_time(node.ready()).await;
        until(node, has_three_voters).await;
        until(node, |node| {
            let shards = node.shards();
            let groups = shards.ids().into_iter().filter_map(|id| shards.group(id));
            let voters: Vec<usize> = groups.map(|group| group.status().voters.len()).collect();
            voters == [3, 3, 3]
        })
        .await;
        until(node, |node| knows_queue(node, "default")).await;
    }
    // Through a node that does not lead.
    let follower = [&eu, &us, &ap]
        .into_iter()
        .find(|node| !node.cluster().status().is_leader());
    create(follower.unwrap(), "chat").await;
    for node in [&eu, &us, &ap] {
        until(node, |node| knows_queue(node, "chat")).await;
    }
    for node in [eu, us, ap] {
        node.stop().await;
    }
}

/// Three nodes in three regions, all of them voters of the metadata, with a queue `kept`.
async fn three(places: &[Place; 3]) -> [Node; 3] {
    let eu = founded(&places[0], 3).await;
    let us = joined(&places[1], &eu).await;
    let ap = joined(&places[2], &us).await;
    let nodes = [eu, us, ap];
    for node in &nodes {
        until(node, has_three_voters).await;
        until(node, |node| knows_queue(node, "default")).await;
    }
    create(&nodes[2], "kept").await;
    for node in &nodes {
        until(node, |node| knows_queue(node, "kept")).await;
    }
    nodes
}

async fn work_again(nodes: [Node; 3]) {
    for node in &nodes {
        in_time(node.ready()).await;
        until(node, |node| knows_queue(node, "kept")).await;
    }
    create(&nodes[1], "new").await;
    for node in &nodes {
        until(node, |node| knows_queue(node, "new")).await;
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_that_was_killed_as_a_whole_comes_back_without_being_told_of_anybody() {
    let places = ["eu", "us", "ap"].map(Place::new);
    let nodes = three(&places).await;
    let mut configs = Vec::new();
    for (place, node) in places.iter().zip(nodes) {
        configs.push(place.at(node.addresses()));
        nodes::crash(node).await;
    }
    let starts = configs.into_iter().map(nodes::open);
    let nodes = futures_util::future::join_all(starts).await;
    let nodes: Vec<Node> = nodes.into_iter().map(Result::unwrap).collect();
    work_again(nodes.try_into().ok().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_of_which_all_have_moved_finds_together_through_one_address() {
    let places = ["eu", "us", "ap"].map(Place::new);
    let nodes = three(&places).await;
    let before = nodes.each_ref().map(|node| node.cluster().node());
    for node in nodes {
        nodes::crash(node).await;
    }
    let eu = nodes::open(places[0].again(&[])).await.unwrap();
    let seed = eu.addresses().peer.clone();
    let us = nodes::open(places[1].again(&[&seed])).await.unwrap();
    let ap = nodes::open(places[2].again(&[&seed])).await.unwrap();
    let nodes = [eu, us, ap];
    assert_eq!(nodes.each_ref().map(|node| node.cluster().node()), before);
    work_again(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_founding_on_a_folder_is_refused_and_leaves_it_as_it_was() {
    let place = Place::new("eu");
    let node = founded(&place, 1).await;
    in_time(node.ready()).await;
    create(&node, "kept").await;
    let id = node.cluster().id();
    nodes::crash(node).await;
    let error = nodes::open(place.founder(1)).await.err().unwrap();
    assert!(matches!(error, StartError::AlreadyMember(_)), "{error}");
    assert!(error.to_string().contains("without --init"), "{error}");
    let node = nodes::open(place.again(&[])).await.unwrap();
    assert_eq!(node.cluster().id(), id);
    until(&node, |node| knows_queue(node, "kept")).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_and_port_that_are_taken_are_named_with_the_way_out() {
    let place = Place::new("eu");
    let node = founded(&place, 1).await;
    let error = in_time(Node::open(place.again(&[]))).await.err().unwrap();
    assert!(
        matches!(error, StartError::Disk(OpenDiskError::Locked { .. })),
        "{error}"
    );

    let other = Place::new("us");
    let mut config = other.founder(1);
    config.listen.client = node.addresses().client.clone();
    let error = nodes::open(config).await.err().unwrap();
    let StartError::Listen { setting, cause, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (*setting, cause.kind()),
        ("listen.client", io::ErrorKind::AddrInUse)
    );
    assert!(
        error.to_string().contains(&node.addresses().client),
        "{error}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_without_a_cluster_is_told_how_to_get_one() {
    let place = Place::new("eu");
    let error = nodes::open(place.again(&[])).await.err().unwrap();
    assert!(matches!(error, StartError::NoCluster), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("--init") && message.contains("--join"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_of_another_cluster_is_refused_with_both_names() {
    let ours = founded(&Place::new("eu"), 1).await;
    let theirs = founded(&Place::new("eu"), 1).await;
    let request = v1::JoinRequest {
        cluster_id: ours.cluster().id().to_string(),
        node_id: ours.cluster().node().get(),
        client_address: ours.addresses().client.clone(),
        peer_address: ours.addresses().peer.clone(),
        boots: 1,
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        ..v1::JoinRequest::default()
    };
    let there = &theirs.addresses().peer;
    let peers = ours.cluster().peers();
    let answer = in_time(peers.join(there, request, Duration::from_secs(10))).await;
    let Some(join_response::Result::Error(error)) = answer.unwrap().result else {
        panic!("it must not be let in");
    };
    for cluster in [ours.cluster().id(), theirs.cluster().id()] {
        assert!(error.message.contains(&cluster.to_string()), "{error:?}");
    }
    ours.stop().await;
    theirs.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_whose_peer_has_another_clusters_node_at_its_address_now_goes_on() {
    let (first, second, other) = (Place::new("eu"), Place::new("us"), Place::new("eu"));
    let eu = founded(&first, 1).await;
    let us = joined(&second, &eu).await;
    in_time(us.ready()).await;
    let address = eu.addresses().clone();
    nodes::crash(us).await;
    nodes::crash(eu).await;
    let mut config = other.founder(1);
    config.listen.peer.clone_from(&address.peer);
    let stranger = nodes::open(config).await.unwrap();
    let us = nodes::open(second.again(&[])).await.unwrap();
    let seed = us.addresses().peer.clone();
    let eu = nodes::open(first.again(&[&seed])).await.unwrap();
    // Found in spite of the stranger at the old address.
    let (us_id, us_boots) = (us.cluster().node(), us.cluster().boots());
    until(&eu, |eu| {
        let seen = eu
            .cluster()
            .read(|metadata| metadata.node(us_id).map(|node| node.boot.count));
        seen == Some(us_boots)
    })
    .await;
    assert_ne!(stranger.cluster().id(), eu.cluster().id());
    assert!(!stranger.cluster().peers().is_reachable(us_id));
    for node in [us, eu, stranger] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_copy_of_a_data_folder_is_refused_and_stops() {
    let (first, second) = (Place::new("eu"), Place::new("us"));
    let eu = founded(&first, 1).await;
    let us = joined(&second, &eu).await;
    in_time(us.ready()).await;
    nodes::crash(us).await;
    let copy = second.copy().await;
    // The real one starts twice more; the copy would be one start behind.
    for _ in 0..2 {
        let us = nodes::open(second.again(&[])).await.unwrap();
        let boots = us.cluster().boots();
        let id = us.cluster().node();
        until(&eu, |eu| {
            let seen = eu
                .cluster()
                .read(|metadata| metadata.node(id).map(|node| node.boot.count));
            seen == Some(boots)
        })
        .await;
        nodes::crash(us).await;
    }
    let old = nodes::open(copy.again(&[&eu.addresses().peer]))
        .await
        .unwrap();
    let error = in_time(old.wait()).await;
    assert!(matches!(&error, NodeError::Refused(_)), "{error}");
    assert!(error.to_string().contains("old copy"), "{error}");
    assert!(!eu.cluster().peers().is_reachable(old.cluster().node()));
    old.stop().await;
    eu.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_is_started_before_its_cluster_waits_for_it() {
    let (first, second) = (Place::new("eu"), Place::new("us"));
    let mut config = first.founder(1);
    let port = nodes::free_port().await;
    config.listen.peer = format!("127.0.0.1:{port}");
    let early = tokio::spawn(Node::open(second.joining(&config.listen.peer)));
    let eu = nodes::open(config).await.unwrap();
    let us = in_time(early).await.unwrap().unwrap();
    in_time(us.ready()).await;
    assert_eq!(us.cluster().id(), eu.cluster().id());
    us.stop().await;
    eu.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_cannot_be_moved_to_another_region_by_its_configuration() {
    let place = Place::new("eu");
    let node = founded(&place, 1).await;
    in_time(node.ready()).await;
    nodes::crash(node).await;
    let mut config = place.again(&[]);
    config.region = "us".parse().unwrap();
    let error = nodes::open(config).await.err().unwrap();
    assert!(matches!(error, StartError::OtherRegion { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_stops_hands_the_metadata_over() {
    let places = ["eu", "us", "ap"].map(Place::new);
    let eu = founded(&places[0], 3).await;
    let us = joined(&places[1], &eu).await;
    let ap = joined(&places[2], &eu).await;
    for node in [&eu, &us, &ap] {
        until(node, has_three_voters).await;
    }
    assert!(eu.cluster().status().is_leader());
    eu.stop().await;
    until(&us, |us| {
        let leader = us.cluster().status().leader;
        leader == Some(us.cluster().node()) || leader == Some(ap.cluster().node())
    })
    .await;
    create(&us, "after").await;
    until(&ap, |ap| knows_queue(ap, "after")).await;
    us.stop().await;
    ap.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_without_a_majority_is_unavailable_and_not_done() {
    let places = ["eu", "us", "ap"].map(Place::new);
    let eu = founded(&places[0], 3).await;
    let us = joined(&places[1], &eu).await;
    let ap = joined(&places[2], &eu).await;
    for node in [&eu, &us, &ap] {
        until(node, has_three_voters).await;
    }
    nodes::crash(us).await;
    nodes::crash(ap).await;
    let lease = eu.cluster().raft_timings().leader_lease();
    until(&eu, |eu| !eu.cluster().status().leads_within(lease)).await;
    let error = in_time(eu.cluster().propose(queue("never")))
        .await
        .unwrap_err();
    assert!(
        matches!(error.code, ErrorCode::Unavailable | ErrorCode::Unknown),
        "{error}"
    );
    assert!(!knows_queue(&eu, "never"));
    eu.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_on_the_same_port_as_calls() {
    let place = Place::new("eu");
    let node = founded(&place, 1).await;
    in_time(node.ready()).await;
    for (path, expected) in [
        ("/healthz", "ok"),
        ("/readyz", "ready"),
        ("/metrics", "leasehold_ready 1"),
    ] {
        let page = in_time(nodes::page(&node.addresses().client, path)).await;
        assert!(page.contains(expected), "{path}: {page}");
    }
    node.stop().await;
}
