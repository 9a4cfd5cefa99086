//! Passes on what the metadata group applied: to whoever waits for a change, and to the peers as addresses.

use leasehold_types::{Boot, NodeId};
use tokio::sync::watch;

use super::Cluster;

/// Runs for as long as the group does.
pub(crate) async fn follow(cluster: Cluster) {
    let mut status = cluster.group().watch();
    let mut seen = 0;
    loop {
        let applied = cluster.read(leasehold_core::metadata::MetadataState::applied);
        if applied > seen {
            seen = applied;
            learn_addresses(&cluster);
            tell(&cluster.inner.applied, applied);
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn tell(to: &watch::Sender<u64>, applied: u64) {
    to.send_if_modified(|known| {
        let is_news = applied > *known;
        *known = applied.max(*known);
        is_news
    });
}

fn learn_addresses(cluster: &Cluster) {
    let nodes: Vec<(NodeId, Boot, String)> = cluster.read(|metadata| {
        let nodes = metadata.nodes();
        nodes
            .map(|node| (node.id, node.boot, node.addresses.peer.clone()))
            .collect()
    });
    for (node, boot, address) in nodes {
        cluster.peers().settle(node, boot, &address);
    }
}
