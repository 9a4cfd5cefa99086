//! Disks that refuse, fail or hang.

use std::time::Duration;

use leasehold_core::metadata::MetadataCommand;
use leasehold_core::metadata::command::CreateQueue;
use leasehold_core::policy::QueuePolicy;
use leasehold_server::node::{Node, NodeError};
use leasehold_storage::{Disk, MemoryDisk};
use leasehold_types::{QueueName, ShardId};

use crate::nodes::{Place, in_time, until};
use crate::room::fill_up_to;
use crate::{knows_queue, start};

fn create_queue(name: &str) -> MetadataCommand {
    MetadataCommand::CreateQueue(CreateQueue {
        name: QueueName::new(name).unwrap(),
        policy: QueuePolicy::default(),
    })
}

async fn end_of(node: Node) -> String {
    let error = in_time(node.wait()).await;
    assert!(matches!(error, NodeError::DiskLost { .. }), "{error}");
    in_time(node.stop()).await;
    error.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_whose_disk_fails_ends_with_the_file_and_the_cause() {
    let disk = MemoryDisk::new();
    let node = start(Place::new("eu").founder(1), &disk).await.unwrap();
    in_time(node.ready()).await;
    disk.fail_next_syncs(u32::MAX);
    let lost = in_time(node.cluster().propose(create_queue("lost"))).await;
    lost.unwrap_err();
    // Well again, and still not trusted.
    disk.fail_next_syncs(0);
    let error = end_of(node).await;
    let said =
        "cannot sync log file log-0000000001.seg: simulated input/output error; check its volume";
    assert!(error.contains(said), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_on_a_disk_without_a_byte_left_ends_and_asks_for_room() {
    let place = Place::new("eu");
    let disk = MemoryDisk::new();
    let node = start(place.founder(1), &disk).await.unwrap();
    until(&node, |node| knows_queue(node, "default")).await;
    in_time(node.cluster().propose(create_queue("kept")))
        .await
        .unwrap();
    let used = u64::MAX - disk.space().unwrap().free;
    disk.set_capacity(Some(used));
    // Sooner or later: it may have noticed before, and have refused.
    let _ = in_time(node.cluster().propose(create_queue("refused-or-lost"))).await;
    let _ = in_time(node.cluster().group().propose(create_queue("lost"))).await;
    let error = end_of(node).await;
    assert!(error.contains("log file log-0000000001.seg"), "{error}");
    assert!(error.contains("no space left"), "{error}");
    assert!(error.contains("make room on its volume"), "{error}");
    disk.set_capacity(None);
    let node = start(place.again(&[]), &disk).await.unwrap();
    until(&node, |node| knows_queue(node, "kept")).await;
    in_time(node.stop()).await;
}

/// Three regions, each shard with a voter in each.
/// A disk whose syncs do not return while this is there: a test that fails must not hang with it.
struct Hangs(MemoryDisk);

impl Hangs {
    fn from_now(disk: &MemoryDisk) -> Self {
        disk.hold_syncs();
        Self(disk.clone())
    }
}

impl Drop for Hangs {
    fn drop(&mut self) {
        self.0.release_syncs();
    }
}

async fn three() -> (Vec<Place>, Vec<MemoryDisk>, Vec<Node>) {
    let places: Vec<Place> = ["eu", "us", "ap"].into_iter().map(Place::new).collect();
    let disks: Vec<MemoryDisk> = places.iter().map(|_| MemoryDisk::new()).collect();
    let mut nodes: Vec<Node> = Vec::new();
    for (place, disk) in places.iter().zip(&disks) {
        let config = match nodes.first() {
            None => place.founder(3),
            Some(first) => place.joining(&first.addresses().peer),
        };
        nodes.push(start(config, disk).await.unwrap());
    }
    for node in &nodes {
        until(node, |node| knows_queue(node, "default")).await;
        until(node, every_shard_has_three_voters).await;
    }
    (places, disks, nodes)
}

fn every_shard_has_three_voters(node: &Node) -> bool {
    let shards = node.shards();
    let groups = shards.ids().into_iter().filter_map(|id| shards.group(id));
    let voters: Vec<usize> = groups.map(|group| group.status().voters.len()).collect();
    voters == [3, 3, 3]
}

/// Which node serves a shard.
async fn leader_of(nodes: &[Node], shard: ShardId) -> usize {
    in_time(async {
        loop {
            if let Some(at) = nodes.iter().position(|node| node.shards().serves(shard)) {
                return at;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Waits until another node than `was` serves a shard.
async fn until_moved(nodes: &[Node], shard: ShardId, was: usize) {
    let others = || (0..nodes.len()).filter(|at| *at != was);
    in_time(async {
        while !others().any(|at| nodes[at].shards().serves(shard)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_whose_disk_hangs_gives_its_shards_away_and_then_ends() {
    let (_places, disks, mut nodes) = three().await;
    let shard = ShardId::new(1);
    let hung = leader_of(&nodes, shard).await;
    let hangs = Hangs::from_now(&disks[hung]);
    // Something has to wait for the disk.
    let waits = nodes[hung].cluster().clone();
    let waits = tokio::spawn(async move { waits.propose(create_queue("slow")).await });
    // The hung node itself does not hear of it: it cannot write down whom the others have voted for.
    until_moved(&nodes, shard, hung).await;
    let (lost, other) = (nodes[hung].cluster().node(), &nodes[(hung + 1) % 3]);
    until(other, |node| {
        let leader = node.cluster().status().leader;
        leader.is_some_and(|leader| leader != lost)
    })
    .await;
    let error = in_time(nodes[hung].wait()).await;
    assert!(
        matches!(&error, NodeError::DiskLost { reason, .. } if reason.contains("not synced in 10 s")),
        "{error}"
    );
    drop(hangs);
    waits.abort();
    in_time(nodes.remove(hung).stop()).await;
    for node in nodes {
        in_time(node.stop()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_whose_disk_is_full_gives_its_shards_away_and_goes_on() {
    let (_places, disks, nodes) = three().await;
    let shard = ShardId::new(1);
    let full = leader_of(&nodes, shard).await;
    fill_up_to(&disks[full], 1024 * 1024);
    until_moved(&nodes, shard, full).await;
    until(&nodes[full], |node| !node.cluster().status().is_leader()).await;
    let group = nodes[full].shards().group(shard).unwrap();
    let known = group.status().applied;
    let mut status = group.watch();
    in_time(nodes[full].cluster().propose(create_queue("more")))
        .await
        .unwrap();
    until(&nodes[full], |node| knows_queue(node, "more")).await;
    // The policy of the new queue reaches the shard's log, and the replica on the full disk.
    in_time(status.wait_for(|status| status.applied > known))
        .await
        .unwrap();
    for node in nodes {
        in_time(node.stop()).await;
    }
}
