//! A log store whose syncs a test can hold back or fail, and whose power it can cut.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use leasehold_storage::{Bounds, Done, LogHealth, LogStore, MemoryLog, Operation, Slot};
use leasehold_types::GroupId;

/// Shows at once what is submitted, as every store does, and syncs when it is let.
#[derive(Default)]
pub(crate) struct HeldLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: MemoryLog,
    synced: Vec<Operation>,
    held_back: Vec<(Operation, Done)>,
    mood: Mood,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mood {
    #[default]
    Syncing,
    Holding,
    Failing,
}

impl HeldLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on nothing is synced.
    pub(crate) fn hold(&self) {
        self.state().mood = Mood::Holding;
    }

    /// What was held back is synced, and everything from now on.
    pub(crate) fn release(&self) {
        let mut state = self.state();
        state.mood = Mood::Syncing;
        let held_back = std::mem::take(&mut state.held_back);
        let (operations, dones): (Vec<_>, Vec<_>) = held_back.into_iter().unzip();
        state.synced.extend(operations);
        drop(state);
        for done in dones {
            done(Ok(()));
        }
    }

    /// From now on every sync fails.
    pub(crate) fn fail(&self) {
        self.state().mood = Mood::Failing;
    }

    /// What the disk holds after the power failed: what was synced, and nothing else.
    pub(crate) fn after_power_failure(&self) -> Self {
        let synced = self.state().synced.clone();
        let log = Self::default();
        for operation in synced {
            log.submit(operation, Box::new(|result| result.unwrap()));
        }
        log
    }
}

impl LogStore for HeldLog {
    fn submit(&self, operation: Operation, done: Done) {
        let mut state = self.state();
        state
            .seen
            .submit(operation.clone(), Box::new(|result| result.unwrap()));
        let result = match state.mood {
            Mood::Holding => return state.held_back.push((operation, done)),
            Mood::Failing => Err(io::Error::other("the disk is broken, as the test ordered")),
            Mood::Syncing => {
                state.synced.push(operation);
                Ok(())
            }
        };
        drop(state);
        done(result);
    }

    fn entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<(u64, Bytes)>> {
        self.state().seen.entries(group, range, max_bytes)
    }

    fn bounds(&self, group: GroupId) -> Bounds {
        self.state().seen.bounds(group)
    }

    fn surplus(&self, group: GroupId, kept: u64) -> Option<u64> {
        self.state().seen.surplus(group, kept)
    }

    fn slot(&self, group: GroupId, slot: Slot) -> Option<Bytes> {
        self.state().seen.slot(group, slot)
    }

    fn health(&self) -> LogHealth {
        self.state().seen.health()
    }
}
