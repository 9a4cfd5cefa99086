//! openraft's own suite for stores, over every log store there is.

use std::future::ready;
use std::sync::Arc;

use leasehold_storage::{
    CheckpointOptions, CheckpointStore, Disk, LogOptions, LogStore, MemoryDisk, MemoryLog, OsDisk,
    SegmentedLog,
};
use leasehold_types::GroupId;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::Counter;
use crate::keeper::Keeper;
use crate::log::Log;
use crate::state::{Shared, StateMachine};
use crate::types::{Runtime, SnapshotMeta, Types};

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
        let (machine, meta) = (Counter::default(), SnapshotMeta::default());
        let shared = Arc::new(Shared::new(machine, meta, u64::MAX));
        let disk = Arc::new(MemoryDisk::new());
        let checkpoints = CheckpointStore::new(disk, CheckpointOptions::default());
        let checkpoint = checkpoints.open(group).unwrap();
        let checkpoints = Arc::new(checkpoints);
        let keeper = Keeper::new(group, shared.clone(), checkpoints, checkpoint, None);
        let state = StateMachine::new(shared, Arc::new(keeper));
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
