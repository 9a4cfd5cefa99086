//! One replica of one Raft group: the handle that the server holds.
//!
//! Everything that openraft needs a seeded scope for happens while a group opens, so callers wrap nothing: the seed in
//! [`GroupOptions`] is all it takes to repeat a run. What must hold: whoever asks for a change is told *done*, *certainly
//! not done*, or *unknown*, and the third is never folded into the second.

use std::fmt;
use std::sync::Arc;

use leasehold_storage::{Checkpoint, CheckpointError, CheckpointStore, LogStore, View};
use leasehold_types::{GroupId, NodeId};
use openraft::{Config, ConfigError, Raft};
use tokio::sync::watch;

use crate::aside::aside;
use crate::counts::CheckpointCounts;
use crate::keeper::{self, Keeper, Loaded, Retention};
use crate::log::Log;
use crate::machine::{LoadError, Machine};
use crate::network::Network;
use crate::state::{Shared, StateMachine};
use crate::status::GroupStatus;
use crate::timings::Timings;
use crate::transport::Transport;
use crate::types::{LogId, Runtime, SnapshotMeta, Types};

mod change;
mod follow;
mod keeping;
mod propose;
mod serve;

use follow::Followed;
use keeping::Keeping;

pub use change::ChangeError;
pub use propose::{Applied, ProposeError, ReadError};

type Engine<M> = Raft<Types<M>, StateMachine<M>>;

/// What a group is opened with.
pub struct GroupOptions<M> {
    /// Which group.
    pub group: GroupId,
    /// Which node this replica is on.
    pub node: NodeId,
    /// How fast the group beats: what metadata says, the same on every replica.
    pub timings: Timings,
    /// The node's log store, shared by all its groups.
    pub log: Arc<dyn LogStore>,
    /// Where the node keeps its checkpoints.
    pub checkpoints: Arc<CheckpointStore>,
    /// The way to the other replicas.
    pub transport: Arc<dyn Transport>,
    /// The machine in its empty state, for a replica that has no checkpoint yet.
    pub machine: M,
    /// Where the jitter of elections comes from. Nodes and groups may share one seed.
    pub seed: u64,
    /// When checkpoints are taken, and how much of the log is kept besides.
    pub retention: Retention,
}

/// Why a group did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenGroupError {
    /// The group's log or checkpoint cannot be read, or contradict each other.
    #[error(
        "cannot open group {group}: {reason}; restore this replica's data folder or let it join anew"
    )]
    Storage {
        /// Which group.
        group: GroupId,
        /// What was found, for people.
        reason: String,
    },
    /// The timings contradict each other: a bug in their table.
    #[error("impossible timings for group {group}")]
    Timings {
        /// Which group.
        group: GroupId,
        /// What contradicts what.
        source: Box<ConfigError>,
    },
}

/// One replica of one group. Clones are cheap and share it; it runs until [`Group::shutdown`].
pub struct Group<M: Machine> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: Machine> {
    group: GroupId,
    node: NodeId,
    timings: Timings,
    engine: Engine<M>,
    state: Arc<Shared<M>>,
    keeper: Arc<Keeper<M>>,
    followed: Followed,
}

impl<M: Machine> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<M: Machine> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} on {})", self.inner.group, self.inner.node)
    }
}

impl<M: Machine> Group<M> {
    /// Restores the replica from its snapshot and its log, and starts it. A replica of an empty store waits to be
    /// added by the group's leader, or for [`Group::initialize`].
    ///
    /// # Errors
    /// When the store cannot be read or contradicts itself. Nothing has been started then.
    pub async fn open(options: GroupOptions<M>) -> Result<Self, OpenGroupError> {
        let params = options.timings.params();
        let config = params
            .config(options.group)
            .map_err(|source| OpenGroupError::Timings {
                group: options.group,
                source,
            })?;
        Self::open_with(options, config).await
    }

    /// [`Group::open`] with a configuration that may be one of the traps: tests show what it would do.
    pub(crate) async fn open_with(
        options: GroupOptions<M>,
        config: Config,
    ) -> Result<Self, OpenGroupError> {
        let seed = own_seed(options.seed, options.node, options.group);
        Runtime::scope(seed, Box::pin(Self::start(options, config))).await
    }

    async fn start(options: GroupOptions<M>, config: Config) -> Result<Self, OpenGroupError> {
        let (group, node, timings) = (options.group, options.node, options.timings);
        let broken = |reason: String| OpenGroupError::Storage { group, reason };
        let log = Log::open(group, options.log).map_err(|error| broken(error.to_string()))?;
        let checkpoint = options.checkpoints.open(group);
        let checkpoint = checkpoint.map_err(|error| broken(error.to_string()))?;
        let loaded = load_from(&checkpoint).map_err(|error| broken(error.to_string()))?;
        let written = loaded.as_ref().map(|loaded| loaded.meta.last_log_id);
        let Loaded { machine, meta } = loaded.unwrap_or_else(|| Loaded {
            machine: options.machine,
            meta: SnapshotMeta::default(),
        });
        check_reach(group, &log, meta.last_log_id).map_err(broken)?;
        let retention = options.retention;
        let state = Arc::new(Shared::new(machine, meta, retention.checkpoint_bytes));
        let keeper = Keeper::new(
            group,
            state.clone(),
            options.checkpoints,
            checkpoint,
            written,
        );
        let keeper = Arc::new(keeper);
        let machine = StateMachine::new(state.clone(), keeper.clone());
        let network = Network {
            transport: options.transport,
            group,
            node,
            append_timeout: timings.rpc_ttl(),
        };
        let engine = Raft::new(node.get(), Arc::new(config), network, log.clone(), machine)
            .await
            .map_err(|error| broken(error.to_string()))?;
        let followed = Followed::start(&engine, timings).await;
        let keeping = Keeping {
            engine: engine.clone(),
            keeper: keeper.clone(),
            shared: state.clone(),
            log,
            status: followed.status.clone(),
            retention,
        };
        tokio::spawn(keeping.run());
        Ok(Self {
            inner: Arc::new(Inner {
                group,
                node,
                timings,
                engine,
                state,
                keeper,
                followed,
            }),
        })
    }

    /// Looks at the machine as of the last entry applied here. Entries wait meanwhile: keep it short.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        self.inner.state.read(look)
    }

    /// The group as this replica sees it now.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        self.inner.followed.status.borrow().clone()
    }

    /// Wakes within milliseconds when anything of the status changes but the time since others were heard: ask that of
    /// [`GroupStatus::since_quorum`] when it matters.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.inner.followed.status.clone()
    }

    /// The term in which this replica leads, none while it does not. Unlike [`Group::watch`] it wakes nobody for what a
    /// leader does all the time.
    #[must_use]
    pub fn led_term(&self) -> watch::Receiver<Option<u64>> {
        self.inner.followed.led_term.clone()
    }

    /// What its checkpoints, and those that the leader sent, have come to since it was opened.
    #[must_use]
    pub fn checkpoint_counts(&self) -> &Arc<CheckpointCounts> {
        self.inner.keeper.counts()
    }

    /// Which group this is.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.inner.group
    }

    /// Which node this replica is on.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// How fast the group beats.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.inner.timings
    }

    /// What the last checkpoint holds, pinned.
    pub(crate) fn view(&self) -> Result<View, CheckpointError> {
        self.inner.keeper.view()
    }

    /// Ends the replica with the next entry, because of what its checkpoint says.
    pub(crate) fn fail(&self, error: &dyn std::error::Error) {
        self.inner.keeper.fail(error);
    }

    /// Stops the replica and waits until it has. Proposals under way end as [`ProposeError::Unknown`].
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.engine.shutdown().await {
            tracing::warn!(group = %self.inner.group, %error, "group did not stop cleanly");
        }
    }
}

fn load_from<M: Machine>(checkpoint: &Checkpoint) -> Result<Option<Loaded<M>>, LoadError> {
    let view = checkpoint.view()?;
    aside(|| keeper::load(&view))
}

/// A checkpoint that ends before the log begins is not this log's: an old copy, or one that lost what came after.
fn check_reach<M: Machine>(
    group: GroupId,
    log: &Log<M>,
    covered: Option<LogId>,
) -> Result<(), String> {
    let purged = log.purged().map_err(|error| error.to_string())?;
    if purged <= covered {
        return Ok(());
    }
    let until = covered.map_or(0, |id| id.index);
    let from = purged.map_or(0, |id| id.index + 1);
    Err(format!(
        "file checkpoint-{group} ends at entry {until}, or is missing, and the log begins at {from}: entries between them are lost"
    ))
}

/// One seed for a whole cluster must not make its replicas stand for election at the same instant.
fn own_seed(seed: u64, node: NodeId, group: GroupId) -> u64 {
    // Odd constants, so that no two pairs of small numbers meet.
    let node = node.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let group = u64::from(group.get()).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    seed ^ node.rotate_left(17) ^ group.rotate_left(31)
}
