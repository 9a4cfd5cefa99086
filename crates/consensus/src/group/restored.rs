//! What a replica left on its disk, read and checked before anything of it is started.

use std::sync::Arc;

use leasehold_storage::{Checkpoint, CheckpointError};
use leasehold_types::GroupId;
use openraft::{Config, Raft};

use super::{Engine, GroupOptions, OpenGroupError};
use crate::disk;
use crate::keeper::Keeper;
use crate::log::Log;
use crate::machine::{LoadError, Machine, MachineError};
use crate::network::Network;
use crate::state::{Covered, Shared, StateMachine};
use crate::types::{LogId, SnapshotMeta};

pub(super) struct Restored<M: Machine> {
    pub(super) log: Log<M>,
    pub(super) state: Arc<Shared<M>>,
    pub(super) keeper: Arc<Keeper<M>>,
}

impl<M: Machine> Restored<M> {
    /// The replica as of its checkpoint. Takes as long as that is large.
    pub(super) fn of(options: GroupOptions<M>) -> Result<Self, OpenGroupError> {
        let (group, store) = (options.group, options.checkpoints);
        let unreadable = |error: std::io::Error| broken(group, error.to_string());
        let log = Log::open(group, options.log).map_err(unreadable)?;
        let opened = store.open(group);
        let checkpoint = opened.map_err(|error| refused(group, error.into()))?;
        let loaded = load(&checkpoint).map_err(|error| refused(group, error))?;
        let written = loaded.as_ref().map(|(_, meta)| meta.last_log_id);
        let (machine, meta) = loaded.unwrap_or_else(|| (options.machine, SnapshotMeta::default()));
        let purged = log.purged().map_err(unreadable)?;
        check_reach(group, purged, meta.last_log_id)?;
        let state = Arc::new(Shared::new(
            machine,
            meta,
            options.retention.checkpoint_bytes,
        ));
        let keeper = Keeper::new(group, state.clone(), store, checkpoint, written);
        let keeper = Arc::new(keeper);
        Ok(Self { log, state, keeper })
    }

    /// Starts the engine, which applies the log again.
    pub(super) async fn start(
        &self,
        network: Network,
        config: Config,
    ) -> Result<Engine<M>, OpenGroupError> {
        let (group, node) = (network.group, network.node.get());
        let machine = StateMachine::new(self.state.clone(), self.keeper.clone());
        let engine = Raft::new(node, Arc::new(config), network, self.log.clone(), machine).await;
        let engine = engine.map_err(|error| match self.keeper.is_starved() {
            true => no_space(group, error.to_string()),
            false => broken(group, error.to_string()),
        })?;
        self.keeper.serve();
        Ok(engine)
    }
}

/// What a checkpoint holds; none of an empty one.
fn load<M: Machine>(checkpoint: &Checkpoint) -> Result<Option<(M, SnapshotMeta)>, LoadError> {
    let view = checkpoint.view()?;
    let Some(head) = view.head() else {
        return Ok(None);
    };
    let meta = disk::decode_snapshot_header(head);
    let meta = meta.map_err(|error| MachineError::new("checkpoint", error))?;
    Ok(Some((M::load(&view)?, meta)))
}

/// A checkpoint that ends before the log begins is not this log's: an old copy, or one that lost what came after.
fn check_reach(
    group: GroupId,
    purged: Option<LogId>,
    covered: Covered,
) -> Result<(), OpenGroupError> {
    if purged <= covered {
        return Ok(());
    }
    let until = covered.map_or(0, |id| id.index);
    let from = purged.map_or(0, |id| id.index + 1);
    let reason = format!(
        "file checkpoint-{group} ends at entry {until}, or is missing, and the log begins at {from}: entries between them are lost"
    );
    Err(broken(group, reason))
}

fn refused(group: GroupId, error: LoadError) -> OpenGroupError {
    let reason = error.to_string();
    match error {
        LoadError::Checkpoint(CheckpointError::Full { .. }) => no_space(group, reason),
        LoadError::Checkpoint(_) | LoadError::Rows(_) => broken(group, reason),
    }
}

const fn no_space(group: GroupId, reason: String) -> OpenGroupError {
    OpenGroupError::NoSpace { group, reason }
}

const fn broken(group: GroupId, reason: String) -> OpenGroupError {
    OpenGroupError::Storage { group, reason }
}
