//! Takes checkpoints when they are due, and purges the log behind them.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Engine;
use crate::aside::elsewhere;
use crate::keeper::{Keeper, Retention};
use crate::log::Log;
use crate::machine::Machine;
use crate::state::Shared;
use crate::status::{GroupStatus, Role};

/// A compaction is thought of after so many checkpoints: it may copy the whole file.
const CHECKPOINTS_A_COMPACTION: u32 = 64;

pub(super) struct Keeping<M: Machine> {
    pub(super) engine: Engine<M>,
    pub(super) keeper: Arc<Keeper<M>>,
    pub(super) shared: Arc<Shared<M>>,
    pub(super) log: Log<M>,
    pub(super) status: watch::Receiver<GroupStatus>,
    pub(super) retention: Retention,
}

impl<M: Machine> Keeping<M> {
    /// Runs until the group stops.
    pub(super) async fn run(mut self) {
        let mut taken = 0_u32;
        while self.wait().await {
            if !self.keep().await {
                continue;
            }
            taken += 1;
            if taken.is_multiple_of(CHECKPOINTS_A_COMPACTION) {
                let keeper = Arc::clone(&self.keeper);
                elsewhere(move || keeper.compact()).await;
            }
        }
    }

    /// Until a checkpoint is due; says whether the group still runs.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            biased;
            ended = self.status.wait_for(|status| status.role == Role::Stopped) => {
                drop(ended);
                false
            }
            () = self.shared.due() => true,
            () = sleep(self.retention.checkpoint_every) => true,
        }
    }

    /// Takes a checkpoint if anything changed; says whether openraft knows of a new one.
    async fn keep(&mut self) -> bool {
        let keeper = Arc::clone(&self.keeper);
        let covered = match elsewhere(move || keeper.write()).await {
            Ok(Some(covered)) => covered,
            Ok(None) => return false,
            Err(_) => {
                // openraft then hears of it, and stops the group.
                let _stopped = self.engine.trigger().snapshot().await;
                return false;
            }
        };
        if self.engine.trigger().snapshot().await.is_err() {
            return false;
        }
        self.await_told(covered).await;
        self.purge().await;
        true
    }

    /// Until openraft knows of a checkpoint: it purges nothing that it does not know to be covered.
    async fn await_told(&mut self, covered: u64) {
        let knows =
            |status: &GroupStatus| status.snapshot >= covered || status.role == Role::Stopped;
        let _ended = self.status.wait_for(knows).await;
    }

    async fn purge(&self) {
        let surplus = self.log.surplus(self.retention.log_kept_bytes);
        if let Some(upto) = self.keeper.purgeable(surplus) {
            // A group that has stopped purges nothing.
            let _stopped = self.engine.trigger().purge_log(upto).await;
        }
    }
}
