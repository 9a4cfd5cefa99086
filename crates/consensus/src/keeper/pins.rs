//! Which checkpoints are in use: the log after them must stay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Checkpoints in use, by the last entry that they cover.
#[derive(Default)]
pub(super) struct Pins {
    users: Mutex<BTreeMap<u64, usize>>,
}

impl Pins {
    fn users(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pin(self: &Arc<Self>, index: u64) -> Pin {
        *self.users().entry(index).or_default() += 1;
        Pin {
            pins: Arc::clone(self),
            index,
        }
    }

    /// The last entry that the oldest of them covers.
    pub(super) fn first(&self) -> Option<u64> {
        self.users().first_key_value().map(|(index, _)| *index)
    }
}

/// Keeps the log after an entry for as long as it lives.
pub(crate) struct Pin {
    pins: Arc<Pins>,
    index: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut users = self.pins.users();
        if let Some(count) = users.get_mut(&self.index) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.index);
            }
        }
    }
}
