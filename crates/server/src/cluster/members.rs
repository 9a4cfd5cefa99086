//! Bringing a group's real members to the intended ones: its leader's task, step by step.
//!
//! The group's own configuration is the truth, the metadata is the intent; `core::metadata::reconcile` says what comes
//! next. The same loop serves every shard's group and the metadata's own, which differ in their intent alone.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_consensus::{ChangeError, Group, GroupStatus, Machine};
use leasehold_core::metadata::MembershipStep;
use leasehold_core::metadata::controller::metadata_voters;
use leasehold_core::metadata::reconcile::next_step;
use leasehold_types::{NodeId, ShardId};
use tokio::time::sleep;

use super::Cluster;

/// Between two looks where nothing changes: followers catch up without any news.
const EVERY: Duration = Duration::from_secs(1);

/// A follower at most this many entries behind counts as caught up. The group checks again before it lets it vote.
const CAUGHT_UP_WITHIN: u64 = 1_000;

/// Who should be in a group.
struct Intent {
    voters: BTreeSet<NodeId>,
    learners: BTreeSet<NodeId>,
}

/// Follows the intent for the metadata group: voters in as many regions as there are, every other node a learner.
pub(crate) async fn follow_metadata(cluster: Cluster) {
    let group = cluster.group().clone();
    let intent = |status: &GroupStatus| {
        let alive = cluster.alive();
        cluster.read(|metadata| {
            let wider = metadata_voters(metadata, &status.voters, &alive);
            let voters = wider.unwrap_or_else(|| status.voters.clone());
            let learners = metadata
                .nodes()
                .map(|node| node.id)
                .filter(|node| !voters.contains(node));
            Some(Intent {
                learners: learners.collect(),
                voters,
            })
        })
    };
    reconcile(&cluster, &group, intent).await;
}

/// Follows the intent for a shard's group: the voters that its record names, and nobody else.
pub(crate) async fn follow_shard<M: Machine>(cluster: Cluster, group: Group<M>, shard: ShardId) {
    let intent = |_: &GroupStatus| {
        cluster.read(|metadata| {
            Some(Intent {
                voters: metadata.shard(shard)?.voters.clone(),
                learners: BTreeSet::new(),
            })
        })
    };
    reconcile(&cluster, &group, intent).await;
}

async fn reconcile<M: Machine>(
    cluster: &Cluster,
    group: &Group<M>,
    intent: impl Fn(&GroupStatus) -> Option<Intent>,
) {
    let mut applied = cluster.applied();
    let mut watched = group.watch();
    loop {
        let status = watched.borrow_and_update().clone();
        if status.is_leader()
            && let Some(intent) = intent(&status)
        {
            advance(group, &status, &intent).await;
        }
        tokio::select! {
            biased;
            changed = watched.changed() => if changed.is_err() { return },
            _ = applied.changed() => {}
            () = sleep(EVERY) => {}
        }
    }
}

async fn advance<M: Machine>(group: &Group<M>, status: &GroupStatus, intent: &Intent) {
    let changed = match step(status, intent) {
        Step::Add(node) => group.add_learner(node).await,
        Step::Drop(node) => group.remove_learner(node).await,
        Step::Vote(voters) => group.set_voters(voters).await,
        Step::Rest => return,
    };
    match changed {
        Ok(()) => tracing::info!(group = %group.id(), ?status.voters, "members of a group changed"),
        Err(error) => {
            tracing::debug!(group = %group.id(), %error, "members of a group not changed yet");
            pause_after(&error).await;
        }
    }
}

/// A refused change must not be asked for again at the pace of the group's own news.
async fn pause_after(error: &ChangeError) {
    tracing::trace!(%error, "waiting before the next change of members");
    sleep(EVERY).await;
}

/// One change of members.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Add(NodeId),
    Drop(NodeId),
    Vote(BTreeSet<NodeId>),
    Rest,
}

fn step(status: &GroupStatus, intent: &Intent) -> Step {
    let caught_up = caught_up(status);
    match next_step(&intent.voters, &status.voters, &status.learners, &caught_up) {
        MembershipStep::AddLearner(node) => Step::Add(node),
        MembershipStep::SetVoters(voters) => Step::Vote(voters),
        // A change that stopped half way has all the voters of both sides, and is asked for again to end it.
        MembershipStep::Done if status.changing => Step::Vote(intent.voters.clone()),
        MembershipStep::Done | MembershipStep::Wait(_) => learners(status, intent),
    }
}

fn learners(status: &GroupStatus, intent: &Intent) -> Step {
    let members: BTreeSet<NodeId> = status.voters.union(&status.learners).copied().collect();
    if let Some(missing) = intent.learners.difference(&members).next() {
        return Step::Add(*missing);
    }
    let wanted: BTreeSet<NodeId> = intent.voters.union(&intent.learners).copied().collect();
    match status.learners.difference(&wanted).next() {
        Some(surplus) => Step::Drop(*surplus),
        None => Step::Rest,
    }
}

fn caught_up(status: &GroupStatus) -> BTreeSet<NodeId> {
    let near = |matched: u64| status.last_log.saturating_sub(matched) <= CAUGHT_UP_WITHIN;
    let followers = status.followers.iter();
    followers
        .filter(|(_, follower)| follower.matched.is_some_and(near))
        .map(|(node, _)| *node)
        .collect()
}

#[cfg(test)]
mod tests;
