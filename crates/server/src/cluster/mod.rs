//! This node's place in its cluster: its replica of the metadata, how it came to have one, and what it does for others
//! while it leads the metadata.
//!
//! Every node reads the map from its own memory ([`Cluster::read`]) and may ask for a change ([`Cluster::propose`]),
//! which goes to whoever leads the metadata. In the background run: the announcement that this node started, the
//! controller (on the metadata leader), and the membership of the metadata group.
//!
//! What must hold: metadata is never on a job's path, so nothing here is waited for by a job; a node that starts again
//! needs nobody's answer to come up, or a cluster that was killed at once would never come back.

mod announce;
mod answer;
mod controller;
mod follow;
mod founding;
mod joining;
mod members;
mod propose;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::{Group, GroupStatus};
use leasehold_core::metadata::command::{Addresses, Build};
use leasehold_core::metadata::{MetadataState, status};
use leasehold_core::policy::Timings;
use leasehold_types::{Boot, BootCount, ClusterId, NodeId, RegionName};
use tokio::sync::watch;

use crate::disk::RoomGate;
use crate::peers::Peers;
use crate::seam::{Clock, Entropy, Seam};

pub use founding::{FOUNDER, FoundingError};
pub use joining::{JoinError, Joined};

pub(crate) use announce::announce;
pub(crate) use controller::control;
pub(crate) use follow::follow;
pub(crate) use founding::found;
pub(crate) use joining::{Newcomer, join};
pub(crate) use members::{follow_metadata, follow_shard};

/// The version that this binary tells others.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What this binary tells of itself when it joins or starts.
fn build() -> Build {
    Build {
        version: VERSION.to_owned(),
        reads: leasehold_records::NEWEST,
    }
}

/// Raft's own name for the timings of the cluster.
#[must_use]
pub const fn raft_timings(timings: Timings) -> leasehold_consensus::Timings {
    match timings {
        Timings::Wan => leasehold_consensus::Timings::Wan,
        Timings::Lan => leasehold_consensus::Timings::Lan,
    }
}

/// What this node is to its cluster; fixed for as long as it runs.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Its region.
    pub region: RegionName,
    /// Which start of its data folder this is.
    pub boot: Boot,
    /// Timings of every group.
    pub timings: Timings,
    /// Where this node can be reached.
    pub addresses: Addresses,
}

/// This node's replica of the metadata. Clones are cheap and share it.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    membership: Membership,
    group: Group<MetadataState>,
    peers: Peers,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    applied: watch::Sender<u64>,
    room: RoomGate,
}

impl Cluster {
    /// Takes over an opened metadata group. Nothing runs yet: see [`follow`], [`announce`] and [`control`].
    #[must_use]
    pub fn new(
        membership: Membership,
        group: Group<MetadataState>,
        peers: Peers,
        seam: &Seam,
        room: RoomGate,
    ) -> Self {
        let (applied, _) = watch::channel(group.read(MetadataState::applied));
        let inner = Inner {
            membership,
            group,
            peers,
            clock: Arc::clone(&seam.clock),
            entropy: Arc::clone(&seam.entropy),
            applied,
            room,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Looks at the metadata as of the last entry applied here. Changes wait meanwhile: keep it short.
    pub fn read<R>(&self, look: impl FnOnce(&MetadataState) -> R) -> R {
        self.inner.group.read(look)
    }

    /// Index of the last metadata entry applied here; wakes with every change.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.subscribe()
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.membership.node
    }

    /// This node's region.
    #[must_use]
    pub fn region(&self) -> RegionName {
        self.inner.membership.region.clone()
    }

    /// Timings of every group of the cluster.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.inner.membership.timings
    }

    /// [`Cluster::timings`] as consensus calls them: with the leader's lease and the rest of the numbers.
    #[must_use]
    pub fn raft_timings(&self) -> leasehold_consensus::Timings {
        raft_timings(self.timings())
    }

    /// Which start of this node's data folder this is.
    #[must_use]
    pub fn boots(&self) -> BootCount {
        self.inner.membership.boot.count
    }

    /// The cluster's id.
    #[must_use]
    pub fn id(&self) -> ClusterId {
        self.inner.membership.cluster
    }

    /// Everything that this node is to its cluster.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.inner.membership
    }

    /// The metadata group as this node sees it.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        self.inner.group.status()
    }

    /// This node's replica of the metadata group.
    #[must_use]
    pub fn group(&self) -> &Group<MetadataState> {
        &self.inner.group
    }

    /// The way to the other nodes.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// What is not yet as it should be, each with its reason, for people.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        let (voters, alive) = (self.status().voters, self.alive());
        self.read(|metadata| {
            let pending = status::pending(metadata, &voters, &alive);
            let pending = pending
                .iter()
                .map(|it| format!("{}: {}", it.subject, it.reason));
            pending
                .chain(status::metadata_risk(metadata, &voters))
                .collect()
        })
    }

    /// The nodes that this one hears.
    pub(crate) fn alive(&self) -> BTreeSet<NodeId> {
        self.inner.peers.reachable()
    }

    /// How long a change may look for a leader: a failover, and some more.
    fn patience(&self) -> Duration {
        self.raft_timings().leader_lease() * 4
    }
}
