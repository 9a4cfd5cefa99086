//! What the metadata leader should change next: a shard for every region, voters in enough regions.
//!
//! The plan is computed anew from the state and from who is heard; it keeps nothing between two calls, so a new
//! leader goes on where the old one stopped. It only ever adds: whatever shrinks a group, or moves a voter, can
//! lose data together with the next failure, and is an operator's decision.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_types::{NodeId, RegionName};

use super::command::{CreateShard, IntendMembers, MetadataCommand};
use super::members::regions_of;
use super::records::{RegionRecord, ShardRecord};
use super::state::MetadataState;
use crate::policy::Placement;

/// Voters that a `global` shard widens to by itself. Five survive two lost regions, but hold five copies and wait
/// for the second nearest region at every write: an operator may choose that, the controller does not.
pub const SHARD_VOTERS: usize = 3;
/// Voters that the metadata widens to by itself: it is small, seldom written, and worth surviving two regions.
pub const METADATA_VOTERS: usize = 5;

/// The commands that the state still needs, given which nodes are heard. Empty when all is as it should be, or when
/// nothing can be done for now: `status` says why.
///
/// The same input gives the same plan. A shard that the plan creates is widened by a later plan, once it is there.
#[must_use]
pub fn plan(state: &MetadataState, alive: &BTreeSet<NodeId>) -> Vec<MetadataCommand> {
    if state.founding().is_none() {
        return Vec::new();
    }
    let mut commands = new_shards(state, alive);
    commands.extend(wider_shards(state, alive));
    commands
}

/// The voters that the metadata group should have instead of these; none when these are right, or when nothing
/// better can be had now. Never fewer, never 2 or 4, each in a region of its own.
#[must_use]
pub fn metadata_voters(
    state: &MetadataState,
    current: &BTreeSet<NodeId>,
    alive: &BTreeSet<NodeId>,
) -> Option<BTreeSet<NodeId>> {
    let home = &state.node(*current.first()?)?.region;
    widen(
        state,
        home,
        current,
        METADATA_VOTERS,
        alive,
        &BTreeMap::new(),
    )
}

fn new_shards(state: &MetadataState, alive: &BTreeSet<NodeId>) -> Vec<MetadataCommand> {
    let without = state.regions().filter(|region| region.shard.is_none());
    let creates = without.filter_map(|region| {
        let initial = *region.nodes.intersection(alive).next()?;
        let home = region.name.clone();
        Some(MetadataCommand::CreateShard(CreateShard { home, initial }))
    });
    creates.take(state.shards_left().into()).collect()
}

fn wider_shards(state: &MetadataState, alive: &BTreeSet<NodeId>) -> Vec<MetadataCommand> {
    let mut votes = count_votes(state);
    let mut commands = Vec::new();
    for shard in state.shards() {
        let Some(voters) = wider_voters(state, shard, alive, &votes) else {
            continue;
        };
        for node in voters.difference(&shard.voters) {
            *votes.entry(*node).or_default() += 1;
        }
        commands.push(MetadataCommand::IntendMembers(IntendMembers {
            shard: shard.id,
            base: shard.intent,
            voters,
        }));
    }
    commands
}

/// In how many shards each node shall vote.
type Votes = BTreeMap<NodeId, usize>;

fn count_votes(state: &MetadataState) -> Votes {
    let mut votes = Votes::new();
    for node in state.shards().flat_map(|shard| &shard.voters) {
        *votes.entry(*node).or_default() += 1;
    }
    votes
}

fn wider_voters(
    state: &MetadataState,
    shard: &ShardRecord,
    alive: &BTreeSet<NodeId>,
    votes: &Votes,
) -> Option<BTreeSet<NodeId>> {
    match shard.placement {
        Placement::Global => widen(
            state,
            &shard.home,
            &shard.voters,
            SHARD_VOTERS,
            alive,
            votes,
        ),
        Placement::Regional => None,
    }
}

/// `current` and enough nodes of other regions to make 3 or 5, at most `most`. The regions after `home` in the order
/// of names come first, so that the second copies of neighbouring shards do not all meet in one region.
///
/// All current voters must be heard: a group that has just lost one should not be asked to wait for newcomers too.
fn widen(
    state: &MetadataState,
    home: &RegionName,
    current: &BTreeSet<NodeId>,
    most: usize,
    alive: &BTreeSet<NodeId>,
    votes: &Votes,
) -> Option<BTreeSet<NodeId>> {
    let taken = regions_of(state, current).ok()?;
    if taken.len() < current.len() || !current.is_subset(alive) {
        return None;
    }
    let free = state
        .regions_after(home)
        .filter(|region| !taken.contains(&region.name));
    let newcomers: Vec<NodeId> = free
        .filter_map(|r| least_burdened(r, alive, votes))
        .collect();
    let size = largest_odd(most.min(current.len() + newcomers.len()));
    let missing = size
        .checked_sub(current.len())
        .filter(|missing| *missing > 0)?;
    Some(
        current
            .iter()
            .copied()
            .chain(newcomers.into_iter().take(missing))
            .collect(),
    )
}

/// The largest number of voters allowed among so many.
pub(super) const fn largest_odd(candidates: usize) -> usize {
    match candidates {
        0 => 0,
        1 | 2 => 1,
        3 | 4 => 3,
        _ => 5,
    }
}

fn least_burdened(
    region: &RegionRecord,
    alive: &BTreeSet<NodeId>,
    votes: &Votes,
) -> Option<NodeId> {
    let burden = |id: &&NodeId| (votes.get(*id).copied().unwrap_or(0), **id);
    region.nodes.intersection(alive).min_by_key(burden).copied()
}
