//! Real nodes on disks that fail, and on disks that lose what was not synced.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[path = "../support/caller.rs"]
mod caller;
#[path = "../support/nodes.rs"]
mod nodes;

mod damage;
mod room;
mod trouble;

use std::sync::Arc;

use leasehold_api::v1;
use leasehold_core::metadata::MetadataCommand;
use leasehold_core::metadata::command::CreateQueue;
use leasehold_core::policy::QueuePolicy;
use leasehold_server::cluster::FOUNDER;
use leasehold_server::config::Config;
use leasehold_server::node::{Node, StartError};
use leasehold_server::seam::Seam;
use leasehold_storage::MemoryDisk;
use leasehold_types::QueueName;
use nodes::{Place, in_time, until};

pub(crate) async fn start(config: Config, disk: &MemoryDisk) -> Result<Node, StartError> {
    in_time(Node::start(config, Seam::system(Arc::new(disk.clone())))).await
}

/// As an operator would: with `--init` until the answer is that it is done.
async fn founded(place: &Place, disk: &MemoryDisk) -> Node {
    match start(place.founder(1), disk).await {
        Err(StartError::AlreadyMember(_)) => start(place.again(&[]), disk).await.unwrap(),
        started => started.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founding_that_is_cut_short_at_any_sync_is_finished_by_the_next_start() {
    let place = Place::new("eu");
    for syncs in 0..24 {
        let disk = MemoryDisk::new();
        disk.crash_in_sync(syncs, syncs);
        if let Ok(node) = start(place.founder(1), &disk).await {
            in_time(node.halt()).await;
        }
        disk.crash();
        let node = founded(&place, &disk).await;
        in_time(node.ready()).await;
        assert_eq!(node.cluster().node(), FOUNDER, "cut at sync {syncs}");
        let nodes = node.cluster().read(|metadata| metadata.nodes().len());
        assert_eq!(nodes, 1, "cut at sync {syncs}");
        in_time(node.halt()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_the_power_failed() {
    let place = Place::new("eu");
    let disk = MemoryDisk::new();
    let node = start(place.founder(1), &disk).await.unwrap();
    in_time(node.ready()).await;
    let name = QueueName::new("kept").unwrap();
    let create = MetadataCommand::CreateQueue(CreateQueue {
        name: name.clone(),
        policy: QueuePolicy::default(),
    });
    in_time(node.cluster().propose(create)).await.unwrap();
    disk.crash_torn(7);
    in_time(node.halt()).await;
    let node = start(place.again(&[]), &disk).await.unwrap();
    until(&node, |node| {
        node.cluster()
            .read(|metadata| metadata.queue(&name).is_some())
    })
    .await;
    in_time(node.halt()).await;
}

pub(crate) fn knows_queue(node: &Node, name: &str) -> bool {
    let name = QueueName::new(name).unwrap();
    node.cluster()
        .read(|metadata| metadata.queue(&name).is_some())
}

/// A job with this id, or a minted one.
pub(crate) fn new_job(job_id: &str) -> v1::NewJob {
    v1::NewJob {
        job_id: job_id.to_owned(),
        queue: "default".to_owned(),
        payload: "p".into(),
        ..v1::NewJob::default()
    }
}
