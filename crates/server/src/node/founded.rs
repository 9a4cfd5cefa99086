//! Whether `--init` was meant: a founder whose data folder was emptied would found a second cluster in its place.
//!
//! It cannot know by itself, since all it knew was in the folder. But the other nodes of the old cluster go on looking
//! for it at its address, and so the first of them that calls gives it away. The votes of the old node are safe in any
//! case: nobody takes a node of another cluster for one of its own.

use super::error::NodeError;
use super::watch::{Ended, end};
use crate::cluster::Cluster;
use crate::peers::HelloRefusal;

/// For the start that founded a cluster: ends it when another cluster looks for one of its nodes here. Only for as long
/// as nobody joined: a cluster that is in use is not ended by a stranger with an old address.
pub(super) async fn watch(cluster: Cluster, ended: Ended) {
    let mut stranger = cluster.peers().stranger();
    let Ok(refusal) = stranger.wait_for(Option::is_some).await else {
        return;
    };
    let refusal = refusal.clone();
    if let Some(HelloRefusal::OtherCluster {
        our_cluster,
        theirs,
        their_cluster,
        meant,
        ..
    }) = refusal
        && cluster.read(|metadata| metadata.nodes().len()) == 1
    {
        let error = NodeError::SecondFounding {
            founded: our_cluster,
            cluster: their_cluster,
            by: theirs,
            was: meant,
        };
        end(&ended, error);
    }
}
