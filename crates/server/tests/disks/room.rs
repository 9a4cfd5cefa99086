//! A volume that others fill up, and that gets room again.

use leasehold_api::{ApiError, v1};
use leasehold_core::metadata::MetadataCommand;
use leasehold_core::metadata::command::CreateQueue;
use leasehold_core::policy::QueuePolicy;
use leasehold_server::node::Node;
use leasehold_storage::{Disk, MemoryDisk, OpenMode};
use leasehold_types::{ErrorCode, QueueName};

use crate::caller::Caller;
use crate::nodes::{Place, in_time, page, until, until_page};
use crate::{knows_queue, new_job, start};

const MIB: u64 = 1024 * 1024;
/// A volume whose watermark is a tenth of it: 10 MiB, with segments of 4 MiB.
const VOLUME: u64 = 100 * MIB;

/// A file of somebody else's that leaves this much free.
pub(crate) fn fill_up_to(disk: &MemoryDisk, free: u64) {
    disk.set_capacity(Some(VOLUME));
    let taken = disk.space().unwrap().free - free;
    let others = disk.open("others", OpenMode::Create).unwrap();
    others.set_length(taken).unwrap();
}

fn make_room(disk: &MemoryDisk) {
    disk.remove("others").unwrap();
}

async fn solo(disk: &MemoryDisk) -> Node {
    let node = start(Place::new("eu").founder(1), disk).await.unwrap();
    until(&node, |node| knows_queue(node, "default")).await;
    node
}

/// Waits until the node has noticed whether it is short of space.
async fn until_short(node: &Node, is_short: bool) {
    until_page(node, "/readyz", |page| {
        page.contains("no new jobs") == is_short
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volume_short_of_space_takes_no_new_jobs_and_finishes_those_that_are_in() {
    let disk = MemoryDisk::new();
    let node = solo(&disk).await;
    let mut caller = Caller::of(&node).await;
    let worked = caller.submit(new_job("")).await.unwrap().job_id;
    let leased = caller.lease("default").await;
    assert_eq!(leased.job_id, worked);
    let waiting = caller.submit(new_job("")).await.unwrap().job_id;
    let keyed = || v1::NewJob {
        idempotency_key: "kept".to_owned(),
        ..new_job("")
    };
    let kept = caller.submit(keyed()).await.unwrap().job_id;

    fill_up_to(&disk, 7 * MIB);
    until_short(&node, true).await;
    let refused = caller.submit(new_job("")).await.unwrap_err();
    let refused = ApiError::from(refused);
    assert_eq!(refused.code, ErrorCode::ResourceExhausted, "{refused}");
    assert!(refused.retry_after.is_some(), "{refused}");
    assert!(
        refused.message.contains("has 7 MiB free, less than 10 MiB")
            || refused.message.contains("has 6 MiB free, less than 10 MiB"),
        "{refused}"
    );
    let again = caller.submit(new_job(&waiting)).await.unwrap();
    assert!(again.repeated, "a repeat of what is in is told so");
    let again = caller.submit(keyed()).await.unwrap();
    assert_eq!((again.repeated, again.job_id), (true, kept));
    let renewed = caller.renew(&leased).await;
    assert!(matches!(
        renewed.answer,
        Some(v1::renewal_answer::Answer::KeepMs(_))
    ));
    caller.complete(&leased, b"done").await;
    caller.cancel(&waiting, "to make room").await;

    make_room(&disk);
    until_short(&node, false).await;
    caller.submit(new_job("")).await.unwrap();
    in_time(node.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volume_short_of_space_takes_no_new_queues_and_shows_it_in_the_metrics() {
    let disk = MemoryDisk::new();
    let node = solo(&disk).await;
    fill_up_to(&disk, 7 * MIB);
    until_short(&node, true).await;
    let create = |name: &str| {
        MetadataCommand::CreateQueue(CreateQueue {
            name: QueueName::new(name).unwrap(),
            policy: QueuePolicy::default(),
        })
    };
    let refused = in_time(node.cluster().propose(create("more")))
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::ResourceExhausted, "{refused}");
    in_time(node.cluster().propose(create("default")))
        .await
        .unwrap();
    until_page(&node, "/metrics", |page| {
        page.contains("\nleasehold_disk_short 1\n")
    })
    .await;
    let text = page(&node.addresses().client, "/metrics").await;
    assert!(
        text.contains("leasehold_disk_low_water_bytes 10485760"),
        "{text}"
    );
    make_room(&disk);
    until_short(&node, false).await;
    in_time(node.cluster().propose(create("more")))
        .await
        .unwrap();
    in_time(node.stop()).await;
}
