//! Watches for what a running node cannot go on with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use leasehold_api::ApiError;
use leasehold_storage::{LogHealth, LogStore};
use tokio::sync::watch;
use tokio::time::sleep;

use super::error::NodeError;
use crate::cluster::{Cluster, announce};
use crate::disk::DiskHealth;
use crate::shards::{Handover, hand_over};

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

/// The end that a lost disk is for the node.
#[derive(Clone)]
pub(super) struct Lost {
    pub(super) log: Arc<dyn LogStore>,
    pub(super) folder: PathBuf,
}

impl Lost {
    pub(super) async fn watch(self, mut health: watch::Receiver<DiskHealth>, ended: Ended) {
        let is_lost = |health: &DiskHealth| *health == DiskHealth::Dead;
        if health.wait_for(is_lost).await.is_ok() {
            end(&ended, self.reason());
        }
    }

    /// Whether the log has ended: what depends on it says so first, and less well.
    fn has_failed(&self) -> bool {
        self.log.health().failed.is_some()
    }

    fn reason(self) -> NodeError {
        let LogHealth {
            failed,
            failed_for_space,
            unsynced_batches,
            ..
        } = self.log.health();
        let stalled = || format!("{unsynced_batches} writes were not synced in 10 s");
        NodeError::DiskLost {
            folder: self.folder,
            reason: failed.unwrap_or_else(stalled),
            is_full: failed_for_space,
        }
    }
}

/// Gives the metadata's leadership away when the disk hangs or is full. The shards' leaders see to themselves.
pub(super) async fn metadata_leadership(cluster: Cluster, mut health: watch::Receiver<DiskHealth>) {
    let within = cluster.raft_timings().leader_lease() * 2;
    while health.changed().await.is_ok() {
        let leads_in_vain = |health: &mut watch::Receiver<DiskHealth>| {
            health.borrow_and_update().hands_over() && cluster.status().is_leader()
        };
        while leads_in_vain(&mut health) && !hand_over_metadata(&cluster, within).await {
            sleep(within).await;
        }
    }
}

/// Gives the metadata's leadership away, if this node has it. Says whether it has gone.
pub(super) async fn hand_over_metadata(cluster: &Cluster, within: Duration) -> bool {
    let handed = hand_over(cluster.group(), cluster.peers(), within).await;
    match &handed {
        Ok(Handover::Needless) => {}
        Ok(Handover::Passed(to)) => tracing::info!(%to, "leadership of the metadata handed over"),
        Ok(Handover::SuccessorLost(to)) => {
            tracing::info!(%to, "the metadata's next leader stopped too: an election settles it");
        }
        Err(error) => tracing::warn!(%error, "leadership of the metadata not handed over"),
    }
    matches!(handed, Ok(Handover::Passed(_)))
}

pub(super) async fn metadata(cluster: Cluster, lost: Lost, ended: Ended) {
    let mut status = cluster.group().watch();
    let reason = match status.wait_for(|status| status.fatal.is_some()).await {
        Ok(status) => status.fatal.clone().unwrap_or_default(),
        Err(_) => "its task is gone".to_owned(),
    };
    match lost.has_failed() {
        true => end(&ended, lost.reason()),
        false => end(&ended, NodeError::Metadata { reason }),
    }
}

/// Tells the cluster that this node started, and takes its no for an answer.
pub(super) async fn announcement(cluster: Cluster, seeds: Vec<String>, ended: Ended) {
    let announced: Result<(), ApiError> = announce(cluster, seeds).await;
    match announced {
        Ok(()) => tracing::debug!("start announced"),
        Err(error) => end(&ended, NodeError::Refused(error)),
    }
}
