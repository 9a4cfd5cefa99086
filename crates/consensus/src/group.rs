//! One replica of one Raft group: the handle that the server holds.
//!
//! Everything that openraft needs a seeded scope for happens while a group opens, so callers wrap nothing: the seed in
//! [`GroupOptions`] is all it takes to repeat a run. What must hold: whoever asks for a change is told *done*, *certainly
//! not done*, or *unknown*, and the third is never folded into the second.

use std::fmt;
use std::sync::Arc;

use leasehold_storage::{CheckpointError, CheckpointStore, LogStore, View};
use leasehold_types::{GroupId, NodeId};
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, ConfigError, Raft};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::aside::{aside, elsewhere};
use crate::counts::CheckpointCounts;
use crate::keeper::{Keeper, Retention};
use crate::machine::Machine;
use crate::network::Network;
use crate::state::{Shared, StateMachine};
use crate::status::{GroupStatus, Role};
use crate::timings::Timings;
use crate::transport::Transport;
use crate::types::{Runtime, Types};

mod change;
mod follow;
mod keeping;
mod propose;
mod restored;
mod serve;

use follow::Followed;
use keeping::Keeping;
use restored::Restored;

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
    /// There is no room on the disk for what opening it has to write. Nothing is lost.
    #[error("cannot open group {group}: {reason}")]
    NoSpace {
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
    /// Takes checkpoints until the group stops.
    keeping: Mutex<Option<JoinHandle<()>>>,
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
    /// Restores the replica from its checkpoint and its log, and starts it. A replica of an empty store waits to be
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
        let retention = options.retention;
        let network = Network {
            transport: Arc::clone(&options.transport),
            group,
            node,
            append_timeout: timings.rpc_ttl(),
        };
        let restored = aside(|| Restored::of(options))?;
        let engine = restored.start(network, config).await?;
        let Restored { log, state, keeper } = restored;
        let followed = Followed::start(&engine, timings).await;
        let keeping = Keeping {
            engine: engine.clone(),
            keeper: keeper.clone(),
            shared: state.clone(),
            log,
            status: followed.status.clone(),
            retention,
        };
        let keeping = Mutex::new(Some(tokio::spawn(keeping.run())));
        let inner = Inner {
            group,
            node,
            timings,
            engine,
            state,
            keeper,
            followed,
            keeping,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Looks at the machine as of the last entry applied here. Entries wait meanwhile: keep it short.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        self.inner.state.read(look)
    }

    /// The group as this replica sees it now.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        let watched = self.inner.followed.status.borrow();
        if watched.role == Role::Stopped {
            return watched.clone();
        }
        drop(watched);
        GroupStatus::of(&self.inner.engine.metrics().borrow_watched())
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

    /// What a replica that is behind would be sent.
    #[cfg(test)]
    pub(crate) fn newest_snapshot(&self) -> std::io::Result<Option<crate::types::Snapshot>> {
        self.inner.keeper.newest()
    }

    /// Ends the replica with the next entry, because of what its checkpoint says.
    pub(crate) fn fail(&self, error: &dyn std::error::Error) {
        let _told_with_the_next_entry = self.inner.keeper.fail(error);
    }

    /// Stops the replica and waits until it has; no checkpoint of it is being written then. Proposals under way end as
    /// [`ProposeError::Unknown`].
    pub async fn shutdown(&self) {
        let Inner {
            engine,
            keeper,
            keeping,
            ..
        } = self.inner.as_ref();
        // First: what waits for room on the disk would keep the engine from hearing.
        keeper.close();
        if let Err(error) = engine.shutdown().await {
            tracing::warn!(group = %self.inner.group, %error, "group did not stop cleanly");
        }
        if let Some(keeping) = keeping.lock().await.take() {
            let _ended = keeping.await;
        }
        let keeper = Arc::clone(keeper);
        elsewhere(move || keeper.settle()).await;
    }
}

/// One seed for a whole cluster must not make its replicas stand for election at the same instant.
fn own_seed(seed: u64, node: NodeId, group: GroupId) -> u64 {
    // Odd constants, so that no two pairs of small numbers meet.
    let node = node.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let group = u64::from(group.get()).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    seed ^ node.rotate_left(17) ^ group.rotate_left(31)
}
