//! Who a node is: folders that were emptied, lost or copied, and doors that were mistaken for each other.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[path = "support/nodes.rs"]
mod nodes;

use std::net::TcpListener;

use leasehold_api::ApiError;
use leasehold_api::v1;
use leasehold_api::v1::jobs_client::JobsClient;
use leasehold_server::cluster::JoinError;
use leasehold_server::node::{Node, NodeError, StartError};
use leasehold_types::{BootCount, ErrorCode, NodeId};
use nodes::{Place, in_time, until};

/// A founder and a node that joined it, both ready.
async fn two(eu: &Place, us: &Place) -> (Node, Node) {
    let first = nodes::open(eu.founder(1)).await.unwrap();
    let config = us.joining(&first.addresses().peer);
    let second = nodes::open(config).await.unwrap();
    in_time(first.ready()).await;
    in_time(second.ready()).await;
    (first, second)
}

async fn until_started(at: &Node, node: NodeId, boots: BootCount) {
    until(at, |at| {
        let known = at.cluster().read(|metadata| metadata.node(node).cloned());
        known.is_some_and(|known| known.boot.count == boots)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_folder_is_refused_as_the_node_that_it_was_and_joins_anew_elsewhere() {
    let (eu, us) = (Place::new("eu"), Place::new("us"));
    let (first, second) = two(&eu, &us).await;
    let (was, addresses) = (second.cluster().node(), second.addresses().clone());
    nodes::crash(second).await;
    let emptied = Place::new("us");
    let mut config = emptied.at(&addresses);
    config.cluster.join = vec![first.addresses().peer.clone()];
    let error = nodes::open(config).await.err().unwrap();
    assert!(
        matches!(error, StartError::Join(JoinError::Refused { .. })),
        "{error}"
    );
    let message = error.to_string();
    for part in [
        &format!("node {was}"),
        &addresses.peer,
        "bring back",
        "another peer address",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let config = emptied.joining(&first.addresses().peer);
    let newcomer = nodes::open(config).await.unwrap();
    assert_ne!(newcomer.cluster().node(), was);
    newcomer.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_founder_that_founds_again_is_told_which_node_it_was_and_ends() {
    let (eu, us) = (Place::new("eu"), Place::new("us"));
    let (first, second) = two(&eu, &us).await;
    let (was, addresses) = (first.cluster().node(), first.addresses().clone());
    nodes::crash(first).await;
    let emptied = Place::new("eu");
    let mut config = emptied.founder(1);
    config.listen.client.clone_from(&addresses.client);
    config.listen.peer.clone_from(&addresses.peer);
    let again = nodes::open(config).await.unwrap();
    let error = in_time(again.wait()).await;
    let expected = NodeError::SecondFounding {
        founded: again.cluster().id(),
        cluster: second.cluster().id(),
        by: second.cluster().node(),
        was,
    };
    assert_eq!(error, expected);
    assert!(!second.cluster().peers().is_reachable(was));
    again.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_that_was_started_from_the_same_count_is_refused_and_stops() {
    let (eu, us) = (Place::new("eu"), Place::new("us"));
    let (first, second) = two(&eu, &us).await;
    let node = second.cluster().node();
    nodes::crash(second).await;
    let copy = us.copy().await;
    let second = nodes::open(us.again(&[])).await.unwrap();
    until_started(&first, node, second.cluster().boots()).await;
    let twin = nodes::open(copy.again(&[&first.addresses().peer]))
        .await
        .unwrap();
    assert_eq!(twin.cluster().boots(), second.cluster().boots());
    let error = in_time(twin.wait()).await;
    assert!(matches!(&error, NodeError::Refused(_)), "{error}");
    assert!(error.to_string().contains("another copy"), "{error}");
    assert!(first.cluster().peers().is_reachable(node));
    for node in [twin, second, first] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_is_told_a_client_port_is_told_the_peer_port() {
    let (eu, us) = (Place::new("eu"), Place::new("us"));
    let first = nodes::open(eu.founder(1)).await.unwrap();
    let config = us.joining(&first.addresses().client);
    let error = nodes::open(config).await.err().unwrap();
    assert!(
        matches!(error, StartError::Join(JoinError::WrongDoor(_))),
        "{error}"
    );
    let right = format!(
        "this is the client port of node n1: other nodes use its peer port, {}",
        first.addresses().peer
    );
    assert!(error.to_string().ends_with(&right), "{error}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomer_that_is_told_a_client_port_as_well_is_let_in_by_the_other() {
    let (eu, us) = (Place::new("eu"), Place::new("us"));
    let first = nodes::open(eu.founder(1)).await.unwrap();
    let at = first.addresses();
    let second = nodes::open(us.again(&[&at.client, &at.peer]))
        .await
        .unwrap();
    assert_eq!(second.cluster().id(), first.cluster().id());
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomer_is_let_in_by_one_node_while_others_take_its_call_and_never_answer() {
    let (eu, us) = (Place::new("eu"), Place::new("us"));
    let first = nodes::open(eu.founder(1)).await.unwrap();
    // Together they would keep whoever asks them in turn for longer than this test waits.
    let silent: Vec<TcpListener> = (0..5)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses = silent.iter().map(|one| one.local_addr().unwrap());
    let mut seeds: Vec<String> = addresses.map(|address| address.to_string()).collect();
    seeds.push(first.addresses().peer.clone());
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let second = nodes::open(us.again(&seeds)).await.unwrap();
    assert_eq!(second.cluster().id(), first.cluster().id());
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_starts_again_with_a_client_port_to_join_goes_on() {
    let (eu, us) = (Place::new("eu"), Place::new("us"));
    let (first, second) = two(&eu, &us).await;
    let node = second.cluster().node();
    nodes::crash(second).await;
    let second = nodes::open(us.again(&[&first.addresses().client]))
        .await
        .unwrap();
    until_started(&first, node, second.cluster().boots()).await;
    in_time(second.ready()).await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_dials_a_peer_port_is_told_the_client_port() {
    let eu = Place::new("eu");
    let node = nodes::open(eu.founder(1)).await.unwrap();
    let address = format!("http://{}", node.addresses().peer);
    let mut client = JobsClient::connect(address).await.unwrap();
    let answer = in_time(client.get(v1::GetRequest::default())).await;
    let error = ApiError::from(answer.unwrap_err());
    assert_eq!(error.code, ErrorCode::Unsupported);
    let right = format!(
        "this is the peer port of node n1: clients and workers use its client port, {}",
        node.addresses().client
    );
    assert_eq!(error.message, right);
    let page = in_time(nodes::page(&node.addresses().peer, "/readyz")).await;
    assert!(page.contains(&right), "{page}");
    node.stop().await;
}
