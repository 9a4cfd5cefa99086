//! Follows a replica's group, and leads the shard whenever Raft makes this node its leader.
//!
//! The first act of every leadership is to have the shard's own log issue an epoch: `LeaderStart`, which names the
//! epoch that it replaces and is proposed anew when another's came first. Only once its own is applied does a leader
//! serve. A Raft term is not enough: there may be several leaders in one.

use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::{GroupStatus, ProposeError, Role};
use leasehold_core::shard::command::LeaderStart;
use leasehold_core::shard::{Batch, Command, Outcome, Refusal};
use leasehold_types::ShardEpoch;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Deliveries;
use super::batcher::WriteError;
use super::leader::{Ended, Leader};
use super::mailbox::Event;
use super::replica::Shared;

/// After a takeover that came to nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs until the replica is stopped or its group is.
///
/// SUBTLE: the way to the gateways is the runner's and not the replica's. It leads back to the replicas, and would
/// keep them all alive for ever.
pub(super) async fn run(
    shared: Arc<Shared>,
    deliveries: Deliveries,
    mut mailbox: mpsc::Receiver<Event>,
) {
    let mut status = shared.group.watch();
    while let Some(term) = wait_to_lead(&shared, &mut status, &mut mailbox).await {
        let ended = lead(&shared, &deliveries, term, &mut mailbox).await;
        stand_down(&shared, &mut mailbox);
        if ended == Ended::Stopped || !rest(&shared).await {
            return;
        }
    }
}

/// The term in which this node leads, once it does; none when the replica has stopped.
async fn wait_to_lead(
    shared: &Shared,
    status: &mut watch::Receiver<GroupStatus>,
    mailbox: &mut mpsc::Receiver<Event>,
) -> Option<u64> {
    let mut followed = None;
    loop {
        {
            let now = status.borrow_and_update();
            let leader = now.leader.map(|leader| (now.term, leader));
            if leader.is_some() && leader != followed {
                followed = leader;
                shared.leaders.send_replace(());
            }
            match now.role {
                Role::Leader if shared.is_transferring() => {}
                Role::Leader => return Some(now.term),
                Role::Stopped => {
                    report_end(shared, &now);
                    return None;
                }
                Role::Learner | Role::Follower | Role::Candidate => {}
            }
        }
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return None,
            changed = status.changed() => if changed.is_err() {
                return None;
            },
            Some(event) = mailbox.recv() => turn_away(event),
            // A handover that failed changes no status.
            () = sleep(PAUSE), if shared.is_transferring() => {}
        }
    }
}

fn report_end(shared: &Shared, status: &GroupStatus) {
    let shard_id = shared.shard;
    match &status.fatal {
        Some(fatal) => {
            tracing::error!(%shard_id, %fatal, "replica broke, restart this node to reload it");
        }
        None => tracing::info!(%shard_id, "replica has stopped"),
    }
}

async fn lead(
    shared: &Arc<Shared>,
    deliveries: &Deliveries,
    term: u64,
    mailbox: &mut mpsc::Receiver<Event>,
) -> Ended {
    let epoch = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return Ended::Stopped,
        started = start_epoch(shared) => match started {
            Ok(epoch) => epoch,
            Err(error) => {
                tracing::debug!(shard_id = %shared.shard, %error, "leadership did not begin");
                return Ended::Lost;
            }
        },
    };
    tracing::info!(shard_id = %shared.shard, %epoch, "leads");
    let leader = Leader::new(shared.clone(), deliveries.clone(), epoch, term);
    let ended = leader.serve(mailbox).await;
    tracing::info!(shard_id = %shared.shard, %epoch, ?ended, "leads no more");
    ended
}

/// Has the shard's log issue an epoch to this node.
async fn start_epoch(shared: &Shared) -> Result<ShardEpoch, ProposeError> {
    loop {
        let batch = shared.look(|state| leader_start(shared, state.epoch(), state.stamp()));
        let applied = shared.group.propose(batch).await?;
        match applied.outcome.outcomes.first() {
            Some(Outcome::Led(epoch)) => return Ok(*epoch),
            Some(Outcome::Refused(Refusal::Epoch { current, .. })) => {
                tracing::debug!(shard_id = %shared.shard, %current, "another leadership came first");
            }
            other => {
                tracing::error!(shard_id = %shared.shard, ?other, "leader start was answered oddly");
                return Err(ProposeError::Unknown);
            }
        }
    }
}

fn leader_start(shared: &Shared, previous: ShardEpoch, stamp: leasehold_types::Timestamp) -> Batch {
    let cluster = &shared.context.cluster;
    let start = LeaderStart {
        previous,
        node: cluster.node(),
        boot: cluster.boots(),
    };
    Batch {
        epoch: previous,
        stamp,
        seed: shared.context.seam.entropy.next(),
        commands: vec![Command::LeaderStart(start)],
    }
}

/// Everybody who asked of this leadership is told to ask elsewhere.
fn stand_down(shared: &Shared, mailbox: &mut mpsc::Receiver<Event>) {
    shared.serving.send_replace(None);
    shared.metadata_seen.send_replace(0);
    shared.waiters.close();
    shared.context.metrics.forget_shard(shared.shard);
    while let Ok(event) = mailbox.try_recv() {
        turn_away(event);
    }
}

/// SUBTLE: only a write has to be told that it was not done. Whoever asked something else sees the reply dropped.
fn turn_away(event: Event) {
    match event {
        Event::Write { reply, .. } => {
            let _may_have_left = reply.send(Err(WriteError::NotLeader));
        }
        Event::Offer { .. }
        | Event::Renew { .. }
        | Event::SessionEnded { .. }
        | Event::Undelivered(_)
        | Event::Reached(_)
        | Event::Live { .. }
        | Event::Look { .. } => {}
    }
}

/// Keeps a leader that cannot begin from trying in a tight circle. False when the replica is being stopped.
async fn rest(shared: &Shared) -> bool {
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => false,
        () = sleep(PAUSE) => true,
    }
}
