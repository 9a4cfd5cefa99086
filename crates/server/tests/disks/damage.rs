//! A node's whole folder, file by file: what is lost or damaged is refused with its name, or does not matter; it is never
//! served.

use std::sync::Arc;
use std::time::Duration;

use leasehold_api::v1;
use leasehold_server::node::{Node, StartError};
use leasehold_server::seam::Seam;
use leasehold_storage::{Disk, MemoryDisk};
use leasehold_types::ShardId;

use tonic::Status;

use crate::caller::Caller;
use crate::nodes::{Place, in_time, until, until_checkpointed};
use crate::{knows_queue, new_job, start};

const SHARD: ShardId = ShardId::new(1);

type Jobs = Vec<(String, i32, Vec<u8>)>;

/// A node that was stopped in good order, with jobs in its log and in a checkpoint, and what it held.
async fn stopped(place: &Place) -> (MemoryDisk, Jobs) {
    let disk = MemoryDisk::new();
    let used: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut config = place.founder(1);
    config.storage.checkpoint_every_ms = 200;
    config.storage.log_kept_mib = 0;
    let node = in_time(Node::start(config, Seam::system(Arc::clone(&used)))).await;
    let node = node.unwrap();
    until(&node, |node| knows_queue(node, "default")).await;
    let mut caller = Caller::of(&node).await;
    caller.submit(new_job("")).await.unwrap();
    let lease = caller.lease("default").await;
    caller.complete(&lease, b"done").await;
    until_checkpointed(&node, SHARD).await;
    for _ in 0..3 {
        caller.submit(new_job("")).await.unwrap();
    }
    let jobs = all_jobs(&mut caller).await.unwrap();
    drop(caller);
    in_time(node.stop()).await;
    await_let_go(&used).await;
    (disk, jobs)
}

/// The writer of the log ends by itself, and lets go of the disk with its last note.
async fn await_let_go(disk: &Arc<dyn Disk>) {
    in_time(async {
        while Arc::strong_count(disk) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Every job with its state and result.
async fn all_jobs(caller: &mut Caller) -> Result<Jobs, Status> {
    let mut all = Vec::new();
    for job in caller.list("default").await {
        let v1::Job {
            job_id,
            state,
            done,
            ..
        } = caller.try_job(&job.job_id).await?;
        all.push((job_id, state, done.unwrap_or_default().result.into()));
    }
    all.sort();
    Ok(all)
}

/// What comes of a start on a folder.
enum Came {
    Refused(String),
    /// The node runs, and its shard's replica does not.
    Closed,
    Served(Jobs),
}

async fn come(place: &Place, disk: &MemoryDisk) -> Came {
    let node = match start(place.again(&[]), disk).await {
        Ok(node) => node,
        Err(error) => return Came::Refused(said(&error)),
    };
    in_time(node.ready()).await;
    let came = match node.shards().group(SHARD) {
        // A value is read when somebody wants it, and then named.
        Some(_) => match all_jobs(&mut Caller::of(&node).await).await {
            Ok(jobs) => Came::Served(jobs),
            Err(status) => Came::Refused(status.message().to_owned()),
        },
        None => Came::Closed,
    };
    in_time(node.halt()).await;
    came
}

fn said(error: &StartError) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        said = format!("{said}: {next}");
        cause = next.source();
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_that_is_whole_is_served_with_all_its_jobs() {
    let place = Place::new("eu");
    let (disk, jobs) = stopped(&place).await;
    match come(&place, &disk.fork()).await {
        Came::Served(served) => assert_eq!(served, jobs),
        Came::Refused(said) => panic!("{said}"),
        Came::Closed => panic!("the replica did not open"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_is_lost_from_a_nodes_folder_is_named() {
    let place = Place::new("eu");
    let (disk, jobs) = stopped(&place).await;
    for name in disk.list().unwrap() {
        let disk = disk.fork();
        disk.remove(&name).unwrap();
        match come(&place, &disk).await {
            Came::Refused(said) => assert!(said.contains(&name), "{name}: {said}"),
            Came::Closed => assert!(name.contains("g1"), "{name}"),
            // A checkpoint says nothing that is not in the log as well, while the log is whole.
            Came::Served(served) => {
                assert!(name.starts_with("checkpoint-"), "served without {name}");
                assert_eq!(served, jobs, "served without {name}");
            }
        }
    }
}

/// Places in a file to damage: few enough to start a node for each.
fn places(content: &[u8]) -> Vec<usize> {
    let last = content.iter().rposition(|byte| *byte != 0);
    let end = last.map_or(0, |last| last + 1);
    let steps = 12.min(end);
    (0..steps).map(|step| step * end / steps).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bit_flipped_anywhere_in_a_nodes_folder_is_refused_with_the_file_or_harmless() {
    let place = Place::new("eu");
    let (disk, jobs) = stopped(&place).await;
    let mut refused = 0;
    for name in disk.list().unwrap() {
        for at in places(&disk.read(&name).unwrap()) {
            let disk = disk.fork();
            disk.flip_bit(&name, at as u64 * 8 + at as u64 % 8).unwrap();
            match come(&place, &disk).await {
                Came::Refused(said) => {
                    refused += 1;
                    assert!(said.contains(&name), "byte {at} of {name}: {said}");
                }
                Came::Closed => {
                    refused += 1;
                    assert!(name.contains("g1"), "byte {at} of {name}");
                }
                Came::Served(served) => assert_eq!(served, jobs, "byte {at} of {name}"),
            }
        }
    }
    assert!(refused > 60, "{refused}");
}
