//! Watches for what a running node cannot go on with.

use leasehold_api::ApiError;
use tokio::sync::watch;

use super::error::NodeError;
use crate::cluster::{Cluster, announce};
use crate::shards::DiskHealth;

pub(super) type Ended = watch::Sender<Option<NodeError>>;

/// Only the first reason counts: the others follow from it.
pub(super) fn end(ended: &Ended, error: NodeError) {
    ended.send_if_modified(|known| {
        if known.is_some() {
            return false;
        }
        tracing::error!(%error, "this node has to stop");
        *known = Some(error);
        true
    });
}

pub(super) async fn disk(mut health: watch::Receiver<DiskHealth>, ended: Ended) {
    if health
        .wait_for(|health| *health == DiskHealth::Dead)
        .await
        .is_ok()
    {
        end(&ended, NodeError::DiskLost);
    }
}

pub(super) async fn metadata(cluster: Cluster, ended: Ended) {
    let mut status = cluster.group().watch();
    let reason = match status.wait_for(|status| status.fatal.is_some()).await {
        Ok(status) => status.fatal.clone().unwrap_or_default(),
        Err(_) => "its task is gone".to_owned(),
    };
    end(&ended, NodeError::Metadata { reason });
}

/// Tells the cluster that this node started, and takes its no for an answer.
pub(super) async fn announcement(cluster: Cluster, seeds: Vec<String>, ended: Ended) {
    let announced: Result<(), ApiError> = announce(cluster, seeds).await;
    match announced {
        Ok(()) => tracing::debug!("start announced"),
        Err(error) => end(&ended, NodeError::Refused(error)),
    }
}
