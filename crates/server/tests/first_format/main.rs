//! A format on disk is read for as long as this version says that it reads it.
//!
//! Each of `fixtures` is a node's data folder as it was after a crash: a checkpoint of some jobs, and a log with more
//! after it. `first-format` has payloads and results in the checkpoint's tree, `second-format` in files of their own. The
//! newest is made anew by
//!
//! ```sh
//! LEASEHOLD_FIXTURE=make cargo test -p leasehold-server --test first_format made_and_read
//! ```
//!
//! and never again once a version was released with it: a later version that cannot open it has broken the promise that
//! versions can be rolled.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[path = "../support/caller.rs"]
mod caller;
mod jobs;
#[path = "../support/nodes.rs"]
mod nodes;
mod packed;

use std::path::{Path, PathBuf};

use leasehold_storage::Table;
use leasehold_types::{GroupId, RecordFormat, ShardId};

use caller::Caller;
use nodes::{Place, in_time, until_checkpointed};

const SHARD: ShardId = ShardId::new(1);

/// That of this version.
const NEWEST: &str = "second-format";

fn fixture(name: &str) -> PathBuf {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(name)
}

async fn check(folder: &Path) {
    check_checkpoints(folder);
    let place = Place::new("eu");
    packed::unpack(folder, &place.data());
    let node = nodes::open(place.again(&[])).await.unwrap();
    in_time(node.ready()).await;
    let format = node.cluster().read(|metadata| metadata.format());
    assert!(format >= RecordFormat::FIRST);
    let mut caller = Caller::of(&node).await;
    jobs::check_policies(&mut caller).await;
    jobs::check_jobs(&mut caller).await;
    jobs::check_keys(&mut caller).await;
    jobs::check_work_goes_on(&mut caller).await;
    node.stop().await;
}

/// Rows of every kind, or the folder would show nothing of how they are written.
fn check_checkpoints(folder: &Path) {
    let place = Place::new("eu");
    packed::unpack(folder, &place.data());
    let (metadata, shard) = (GroupId::METADATA, GroupId::of_shard(SHARD));
    for (group, table) in [
        (metadata, Table::new("metadata")),
        (shard, Table::new("shard")),
        (shard, Table::new("runs")),
        (shard, Table::new("payloads").apart()),
        (shard, Table::new("results").apart()),
        (shard, Table::new("attempts")),
    ] {
        let rows = packed::rows(&place.data(), group, table);
        assert!(rows > 0, "no row in table {} of {group}", table.name());
    }
}

async fn make(folder: &Path) {
    let place = Place::new("eu");
    let mut config = place.founder(1);
    config.storage.checkpoint_every_ms = 200;
    config.storage.log_kept_mib = 0;
    let node = nodes::open(config).await.unwrap();
    in_time(node.ready()).await;
    jobs::make_first_half(&mut Caller::of(&node).await).await;
    until_checkpointed(&node, SHARD).await;
    nodes::crash(node).await;
    // From here on there are no checkpoints.
    let mut config = place.again(&[]);
    config.storage.checkpoint_every_ms = 600_000;
    let node = nodes::open(config).await.unwrap();
    in_time(node.ready()).await;
    jobs::make_second_half(&mut Caller::of(&node).await).await;
    nodes::crash(node).await;
    nodes::let_go(&place.data()).await;
    packed::pack(&place.data(), folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_of_the_first_format_opens_with_every_job_result_key_and_policy() {
    check(&fixture("first-format")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_of_the_second_format_opens_with_every_job_result_key_and_policy() {
    check(&fixture("second-format")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_of_this_version_is_made_and_read() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path()).await;
    check(folder.path()).await;
    if std::env::var("LEASEHOLD_FIXTURE").as_deref() == Ok("make") {
        packed::copy(folder.path(), &fixture(NEWEST));
    }
}
