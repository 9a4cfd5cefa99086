//! The controller's loop: on the metadata leader it proposes what the pure plan asks for.

use std::time::Duration;

use leasehold_core::metadata::controller::plan;
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome};
use tokio::time::sleep;

use super::Cluster;
use super::propose::Missed;

/// Between two looks where nothing changes: who is heard changes without a log entry.
const EVERY: Duration = Duration::from_secs(1);

/// Runs for as long as the node does; idle while another node leads.
pub(crate) async fn control(cluster: Cluster) {
    let mut applied = cluster.applied();
    let mut status = cluster.group().watch();
    loop {
        if status.borrow_and_update().is_leader() {
            carry_out(&cluster).await;
        }
        tokio::select! {
            biased;
            changed = status.changed() => if changed.is_err() { return },
            _ = applied.changed() => {}
            () = sleep(EVERY) => {}
        }
    }
}

/// What was decided on old news is refused by its base and planned again.
async fn carry_out(cluster: &Cluster) {
    let alive = cluster.alive();
    for command in cluster.read(|metadata| plan(metadata, &alive)) {
        let what = summary(&command);
        match cluster.propose_here(command).await {
            Ok(MetadataOutcome::Refused(refusal)) => {
                tracing::debug!(what, %refusal, "plan refused")
            }
            Ok(outcome) => tracing::info!(what, ?outcome, "plan carried out"),
            Err(Missed::NotDone(error, _) | Missed::Over(error)) => {
                tracing::debug!(what, %error, "plan not carried out");
                return;
            }
        }
    }
}

fn summary(command: &MetadataCommand) -> String {
    match command {
        MetadataCommand::CreateShard(create) => {
            format!(
                "a shard for region {}, on node {}",
                create.home, create.initial
            )
        }
        MetadataCommand::IntendMembers(intend) => {
            let voters: Vec<String> = intend.voters.iter().map(ToString::to_string).collect();
            format!("voters {} for shard {}", voters.join(" "), intend.shard)
        }
        MetadataCommand::Found(_)
        | MetadataCommand::AddNode(_)
        | MetadataCommand::NodeStarted(_)
        | MetadataCommand::CreateQueue(_)
        | MetadataCommand::SetQueue(_) => "another change".to_owned(),
    }
}
