//! When a node takes work: it knows the map, is on it, and has its replicas open.

use leasehold_core::metadata::MetadataState;
use leasehold_types::NodeId;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::http::{Readiness, Ready};

/// Waits for what is still missing, says what it is, and then says that the node is ready. From there on only a stop
/// takes that back: a node without a leader in sight still forwards, waits and answers.
pub(super) async fn prepare(
    cluster: Cluster,
    mut opened: watch::Receiver<u64>,
    readiness: Readiness,
) {
    let mut applied = cluster.applied();
    loop {
        let missing =
            cluster.read(|metadata| missing(metadata, cluster.node(), *opened.borrow_and_update()));
        let Some(missing) = missing else {
            readiness.set(Ready::Yes);
            tracing::info!("ready");
            return;
        };
        readiness.set(Ready::No(missing.into()));
        tokio::select! {
            biased;
            changed = applied.changed() => if changed.is_err() { return },
            changed = opened.changed() => if changed.is_err() { return },
        }
    }
}

fn missing(metadata: &MetadataState, node: NodeId, opened: u64) -> Option<&'static str> {
    if metadata.founding().is_none() {
        return Some("waiting for the cluster's metadata");
    }
    let Some(_) = metadata.node(node) else {
        return Some("waiting for the metadata entry that added this node");
    };
    if metadata.shards().len() == 0 {
        return Some("waiting for the first shard");
    }
    (opened < metadata.applied()).then_some("opening replicas")
}
