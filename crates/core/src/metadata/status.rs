//! What is still waited for, and why, in words for people.
//!
//! A cluster that is less replicated than it was asked to be says so for as long as that is the case.

use std::collections::BTreeSet;
use std::fmt;

use leasehold_types::{NodeId, QueueName, RegionName, ShardId};

use super::controller::{SHARD_VOTERS, largest_odd};
use super::records::{RegionRecord, ShardRecord};
use super::state::MetadataState;
use crate::policy::Placement;

/// Something that is not yet placed as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What is waiting.
    pub subject: Subject,
    /// What for.
    pub reason: PendingReason,
}

/// What can be pending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The group of the metadata.
    Metadata,
    /// A region without its shard.
    Region(RegionName),
    /// A shard with fewer voters than its placement asks for.
    Shard(ShardId),
    /// A queue that is placed otherwise than its policy asks for.
    Queue(QueueName),
}

/// Why something is pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PendingReason {
    /// The cluster has too few regions.
    TooFewRegions {
        /// Regions to come.
        missing: usize,
    },
    /// There are enough regions, but too few of them are heard.
    Unheard {
        /// Regions without a node that is heard.
        regions: Vec<RegionName>,
    },
    /// A voter is not heard, and nothing is changed meanwhile.
    VoterUnheard(NodeId),
    /// All slices of the job id space are taken.
    NoSlices,
    /// Nothing is in the way: the controller does it next.
    Underway,
    /// Every shard of this version is `global`.
    OnlyGlobal,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => write!(f, "metadata"),
            Self::Region(name) => write!(f, "region {name}"),
            Self::Shard(id) => write!(f, "shard {id}"),
            Self::Queue(name) => write!(f, "queue {name}"),
        }
    }
}

impl fmt::Display for PendingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewRegions { missing } => {
                let plural = if *missing == 1 { "" } else { "s" };
                let waits = format_args!("waits for {missing} more region{plural}");
                write!(f, "one voter on fewer than {SHARD_VOTERS} regions: {waits}")
            }
            Self::Unheard { regions } => write!(f, "waits to hear a node of {}", list(regions)),
            Self::VoterUnheard(node) => write!(f, "waits to hear node {node}, which votes in it"),
            Self::NoSlices => write!(f, "no virtual shards are left for a shard of its own"),
            Self::Underway => write!(f, "is being done now"),
            Self::OnlyGlobal => write!(
                f,
                "asks for regional placement: its shards are global for now, which survives more and answers slower"
            ),
        }
    }
}

fn list(regions: &[RegionName]) -> String {
    let names: Vec<&str> = regions.iter().map(RegionName::as_str).collect();
    names.join(", ")
}

/// Everything that waits, the metadata first, then regions, shards and queues in their order.
#[must_use]
pub fn pending(
    state: &MetadataState,
    metadata_voters: &BTreeSet<NodeId>,
    alive: &BTreeSet<NodeId>,
) -> Vec<Pending> {
    let mut all = Vec::new();
    let mut note = |subject, reason| all.push(Pending { subject, reason });
    if let Some(reason) = too_narrow(state, metadata_voters, alive) {
        note(Subject::Metadata, reason);
    }
    for region in state.regions().filter(|region| region.shard.is_none()) {
        note(
            Subject::Region(region.name.clone()),
            no_shard(state, region, alive),
        );
    }
    for (shard, reason) in state
        .shards()
        .filter_map(|shard| narrow_shard(state, shard, alive))
    {
        note(Subject::Shard(shard), reason);
    }
    for queue in state
        .queues()
        .filter(|queue| queue.policy.placement == Placement::Regional)
    {
        note(
            Subject::Queue(queue.name.clone()),
            PendingReason::OnlyGlobal,
        );
    }
    all
}

/// What losing a region means for changes of the metadata, when it has a single voter: said, not hidden.
///
/// None with three voters or more, which outlive any one region.
#[must_use]
pub fn metadata_risk(state: &MetadataState, voters: &BTreeSet<NodeId>) -> Option<String> {
    let only = voters.first()?;
    if voters.len() >= SHARD_VOTERS {
        return None;
    }
    let region = &state.node(*only)?.region;
    Some(format!(
        "metadata has one voter, {only} in {region}: if it is lost, jobs go on, but changes stop \
         until an operator decides"
    ))
}

fn narrow_shard(
    state: &MetadataState,
    shard: &ShardRecord,
    alive: &BTreeSet<NodeId>,
) -> Option<(ShardId, PendingReason)> {
    match shard.placement {
        Placement::Global => Some((shard.id, too_narrow(state, &shard.voters, alive)?)),
        Placement::Regional => None,
    }
}

fn too_narrow(
    state: &MetadataState,
    voters: &BTreeSet<NodeId>,
    alive: &BTreeSet<NodeId>,
) -> Option<PendingReason> {
    if voters.is_empty() || voters.len() >= SHARD_VOTERS {
        return None;
    }
    let regions = state.regions().len();
    if regions < SHARD_VOTERS {
        let missing = SHARD_VOTERS - regions;
        return Some(PendingReason::TooFewRegions { missing });
    }
    if let Some(node) = voters.difference(alive).next() {
        return Some(PendingReason::VoterUnheard(*node));
    }
    let unheard = state
        .regions()
        .filter(|region| region.nodes.is_disjoint(alive));
    let unheard: Vec<RegionName> = unheard.map(|region| region.name.clone()).collect();
    match largest_odd(regions - unheard.len()) < SHARD_VOTERS {
        true => Some(PendingReason::Unheard { regions: unheard }),
        false => Some(PendingReason::Underway),
    }
}

fn no_shard(
    state: &MetadataState,
    region: &RegionRecord,
    alive: &BTreeSet<NodeId>,
) -> PendingReason {
    if state.shards_left() == 0 {
        return PendingReason::NoSlices;
    }
    match region.nodes.is_disjoint(alive) {
        true => PendingReason::Unheard {
            regions: vec![region.name.clone()],
        },
        false => PendingReason::Underway,
    }
}
