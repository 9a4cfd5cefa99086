//! The first format on disk is read for as long as this version says that it reads it.
//!
//! `fixtures/first-format` is a node's data folder as it was after a crash: a checkpoint of some jobs, and a log with
//! more after it. It is made anew by
//!
//! ```sh
//! LEASEHOLD_FIXTURE=make cargo test -p leasehold-server --test first_format made_and_read
//! ```
//!
//! and never again once a version was released with it: a later version that cannot open it has broken the promise that
//! versions can be rolled.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod hands;
mod jobs;
#[path = "../support/nodes.rs"]
mod nodes;
mod packed;

use std::path::{Path, PathBuf};

use leasehold_types::RecordFormat;

use hands::Hands;
use nodes::{Place, in_time};

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/first-format")
}

async fn check(folder: &Path) {
    let place = Place::new("eu");
    packed::unpack(folder, &place.data());
    let node = nodes::open(place.again(&[])).await.unwrap();
    in_time(node.ready()).await;
    let format = node.cluster().read(|metadata| metadata.format());
    assert!(format >= RecordFormat::FIRST);
    let mut hands = Hands::of(&node).await;
    jobs::check_policies(&mut hands).await;
    jobs::check_jobs(&mut hands).await;
    jobs::check_keys(&mut hands).await;
    jobs::check_work_goes_on(&mut hands).await;
    node.stop().await;
}

async fn make(folder: &Path) {
    let place = Place::new("eu");
    let mut config = place.founder(1);
    config.storage.checkpoint_every_ms = 200;
    config.storage.log_kept_mib = 0;
    let node = nodes::open(config).await.unwrap();
    in_time(node.ready()).await;
    let mut hands = Hands::of(&node).await;
    jobs::make_first_half(&mut hands).await;
    packed::await_checkpoint(&place.data(), async || hands.stir().await).await;
    jobs::make_second_half(&mut hands).await;
    nodes::crash(node).await;
    packed::pack(&place.data(), folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_of_the_first_format_opens_with_every_job_result_key_and_policy() {
    check(&fixture()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_of_this_version_is_made_and_read() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path()).await;
    check(folder.path()).await;
    if std::env::var("LEASEHOLD_FIXTURE").as_deref() == Ok("make") {
        packed::copy(folder.path(), &fixture());
    }
}
