//! Takes checkpoints when they are due, and purges the log behind them.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Engine;
use crate::aside::elsewhere;
use crate::keeper::{Keeper, Retention, SPACE_AGAIN, Standing};
use crate::log::Log;
use crate::machine::Machine;
use crate::state::Shared;
use crate::status::{GroupStatus, Role};

/// A compaction is thought of after so many checkpoints in a row that nobody called for: it may copy the whole file, and
/// no checkpoint is written meanwhile. A group that fills the memory in that time has better things to do.
const CALM_CHECKPOINTS: u32 = 64;

pub(super) struct Keeping<M: Machine> {
    pub(super) engine: Engine<M>,
    pub(super) keeper: Arc<Keeper<M>>,
    pub(super) shared: Arc<Shared<M>>,
    pub(super) log: Log<M>,
    pub(super) status: watch::Receiver<GroupStatus>,
    pub(super) retention: Retention,
}

/// Why a checkpoint is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// The time has come.
    Time,
    /// It has enough to let go of.
    Due,
    /// The group has stopped.
    Ended,
}

/// What came of looking at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// openraft knows of a new one.
    Told,
    Nothing,
    /// The disk has no room for one.
    Starved,
}

impl<M: Machine> Keeping<M> {
    /// Runs until the group stops.
    pub(super) async fn run(mut self) {
        let (mut calm, mut kept) = (0_u32, Kept::Nothing);
        loop {
            let call = self.wait(kept).await;
            if call == Call::Ended {
                return;
            }
            kept = self.keep().await;
            calm = match (call, kept) {
                (Call::Time, Kept::Told) => calm + 1,
                (Call::Time, Kept::Nothing) => calm,
                (Call::Due | Call::Ended, _) | (_, Kept::Starved) => 0,
            };
            if calm == CALM_CHECKPOINTS {
                calm = 0;
                let keeper = Arc::clone(&self.keeper);
                elsewhere(move || keeper.compact()).await;
            }
        }
    }

    /// Until a checkpoint is to be looked at. Without room on the disk nobody can call for one.
    async fn wait(&mut self, last: Kept) -> Call {
        let is_starved = last == Kept::Starved;
        let pause = match is_starved {
            true => SPACE_AGAIN,
            false => self.retention.checkpoint_every,
        };
        tokio::select! {
            biased;
            ended = self.status.wait_for(|status| status.role == Role::Stopped) => {
                drop(ended);
                Call::Ended
            }
            () = self.shared.due(), if !is_starved => Call::Due,
            () = sleep(pause) => Call::Time,
        }
    }

    /// Takes a checkpoint if anything changed, tells openraft of it, and purges the log behind it.
    async fn keep(&mut self) -> Kept {
        let keeper = Arc::clone(&self.keeper);
        let written = elsewhere(move || {
            let written = keeper.write();
            if written.as_ref().is_ok_and(|standing| !standing.is_starved) {
                keeper.gather();
            }
            written
        });
        let written = written.await;
        match written {
            Ok(Standing {
                untold: Some(covered),
                ..
            }) => self.tell(covered).await,
            Ok(standing) if standing.is_starved => Kept::Starved,
            Ok(_) => Kept::Nothing,
            Err(_) => {
                // openraft then hears of it, and stops the group.
                let _stopped = self.engine.trigger().snapshot().await;
                Kept::Nothing
            }
        }
    }

    /// Lets openraft know of a checkpoint: it purges nothing that it does not know to be covered.
    async fn tell(&mut self, covered: u64) -> Kept {
        if self.engine.trigger().snapshot().await.is_err() {
            return Kept::Nothing;
        }
        let knows =
            |status: &GroupStatus| status.snapshot >= covered || status.role == Role::Stopped;
        // Also when the group has ended: then there is nothing to purge.
        drop(self.status.wait_for(knows).await);
        self.purge().await;
        Kept::Told
    }

    async fn purge(&self) {
        let surplus = self.log.surplus(self.retention.log_kept_bytes);
        let keeper = Arc::clone(&self.keeper);
        let upto = elsewhere(move || keeper.purgeable(surplus)).await;
        if let Some(upto) = upto {
            // A group that has stopped purges nothing.
            let _stopped = self.engine.trigger().purge_log(upto).await;
        }
    }
}
