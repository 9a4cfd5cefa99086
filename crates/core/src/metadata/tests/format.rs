//! Leaders write what every node reads, and never again less.

use super::*;

fn reading(nonce: u128, reads: u32) -> MetadataCommand {
    MetadataCommand::AddNode(AddNode {
        build: build("any", reads),
        ..join(nonce, "eu", 1)
    })
}

fn restarted(node: NodeId, boot: u64, reads: u32) -> MetadataCommand {
    MetadataCommand::NodeStarted(NodeStarted {
        build: build("any", reads),
        ..start(node, boot)
    })
}

/// Two nodes that read the first format.
fn old_cluster() -> (Cluster, Vec<NodeId>) {
    let mut cluster = Cluster::founded(1);
    cluster.apply(reading(1, 1));
    cluster.apply(reading(2, 1));
    let nodes = cluster.all().into_iter().collect();
    (cluster, nodes)
}

#[test]
fn format_rises_with_the_last_node_that_is_upgraded_and_not_before() {
    let (mut cluster, nodes) = old_cluster();
    assert_eq!(cluster.state.format(), RecordFormat::FIRST);
    cluster.apply(restarted(nodes[0], 2, 3));
    assert_eq!(cluster.state.format(), RecordFormat::FIRST);
    cluster.apply(restarted(nodes[1], 2, 2));
    assert_eq!(cluster.state.format(), RecordFormat::new(2));
}

#[test]
fn founder_alone_writes_all_that_it_reads() {
    let mut cluster = Cluster::founded(1);
    cluster.apply(reading(1, 4));
    assert_eq!(cluster.state.format(), RecordFormat::new(4));
}

#[test]
fn version_that_cannot_read_what_is_written_neither_joins_nor_comes_back() {
    let (mut cluster, nodes) = old_cluster();
    for node in &nodes {
        cluster.apply(restarted(*node, 2, 2));
    }
    let unreadable = MetadataRefusal::Unreadable {
        written: RecordFormat::new(2),
        read: RecordFormat::FIRST,
    };
    assert_eq!(cluster.refuse(reading(3, 1)), unreadable);
    assert_eq!(cluster.refuse(restarted(nodes[0], 3, 1)), unreadable);
    assert!(unreadable.to_string().contains("newer version"));
    assert_eq!(cluster.state.format(), RecordFormat::new(2));
    cluster.apply(reading(3, 2));
    assert_eq!(cluster.all().len(), 3);
}

#[test]
fn snapshot_keeps_the_format_and_is_refused_when_a_node_does_not_read_it() {
    let (mut cluster, nodes) = old_cluster();
    cluster.apply(restarted(nodes[0], 2, 9));
    let copy = MetadataState::from_parts(cluster.state.parts()).unwrap();
    assert_eq!(copy.format(), RecordFormat::FIRST);
    let mut parts = cluster.state.parts();
    parts.format = RecordFormat::new(2);
    assert!(MetadataState::from_parts(parts).is_err());
}
