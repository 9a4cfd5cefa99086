//! openraft's own suite for stores, over every log store there is.

use std::sync::Arc;

use leasehold_storage::{LogStore, MemoryDisk, MemoryLog, SnapshotStore};
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

#[tokio::test]
async fn log_in_memory_conforms() {
    conforms(|| ((), Arc::new(MemoryLog::default()) as _)).await;
}
