//! openraft's own suite for stores, over every log store there is.

use std::future::ready;
use std::sync::Arc;

use leasehold_storage::{
    Disk, LogOptions, LogStore, MemoryDisk, MemoryLog, OsDisk, SegmentedLog, SnapshotStore,
};
use leasehold_types::GroupId;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::Counter;
use crate::log::Log;
use crate::state::{Shared, StateMachine};
use crate::types::{Runtime, Types};

type Store = Log<Counter>;
type State = StateMachine<Counter>;

/// Builds an empty store on a log store of its own; `G` keeps alive what that needs.
struct Builder<F>(F);

impl<F, G> StoreBuilder<Types<Counter>, Store, State, G> for Builder<F>
where
    F: Fn() -> (G, Arc<dyn LogStore>) + Send + Sync,
    G: Send + Sync,
{
    async fn build(&self) -> Result<(G, Store, State), StorageError<Types<Counter>>> {
        let (guard, store) = (self.0)();
        let group = GroupId::new(1);
        let shared = Arc::new(Shared::new(Counter::default()));
        let snapshots = SnapshotStore::new(Arc::new(MemoryDisk::new()));
        let state = StateMachine::new(shared, group, Arc::new(snapshots));
        Ok((guard, Log::open(group, store).unwrap(), state))
    }
}

async fn conforms<G: Send + Sync>(build: impl Fn() -> (G, Arc<dyn LogStore>) + Send + Sync) {
    let suite = Suite::test_all(Builder(build));
    Runtime::scope(1, suite).await.unwrap();
}

/// Time is simulated because the suite sleeps.
#[tokio::test(start_paused = true)]
async fn log_in_memory_conforms() {
    conforms(|| ((), Arc::new(MemoryLog::default()) as _)).await;
}

/// A segmented log with its writer, which ends when the log is closed.
fn segmented(disk: Arc<dyn Disk>) -> (Closing, Arc<dyn LogStore>) {
    let options = LogOptions {
        zero_fill: false,
        ..LogOptions::default()
    };
    let (log, writer) = SegmentedLog::open(disk, options).unwrap();
    tokio::spawn(writer.run(|| ready(())));
    let log = Arc::new(log);
    (Closing(Arc::clone(&log)), log)
}

struct Closing(Arc<SegmentedLog>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[tokio::test(start_paused = true)]
async fn segmented_log_on_a_simulated_disk_conforms() {
    conforms(|| segmented(Arc::new(MemoryDisk::new()))).await;
}

#[tokio::test(start_paused = true)]
async fn segmented_log_in_a_folder_conforms() {
    conforms(|| {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let (closing, log) = segmented(Arc::new(disk));
        ((closing, folder), log)
    })
    .await;
}
