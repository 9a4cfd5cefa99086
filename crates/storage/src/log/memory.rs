//! The plain twin of the segmented log: what the rules say, in as few lines as they take.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use leasehold_types::GroupId;

use super::rules::{Refusal, check_alone, check_place};
use super::{Bounds, Done, LogHealth, LogStore, Operation, Slot};

/// A log that lives and ends with its process, and calls every `done` before `submit` returns.
///
/// The model that the segmented log is tested against, and the store of tests that have no disk.
#[derive(Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    groups: BTreeMap<GroupId, Group>,
    health: LogHealth,
}

#[derive(Default)]
struct Group {
    entries: BTreeMap<u64, Bytes>,
    purged: Option<(u64, Bytes)>,
    slots: BTreeMap<Slot, Bytes>,
}

impl Group {
    /// The first index that was not purged.
    fn base(&self) -> u64 {
        self.purged.as_ref().map_or(0, |(upto, _)| upto + 1)
    }

    fn bounds(&self) -> Bounds {
        let first = self.entries.first_key_value();
        let last = self.entries.last_key_value();
        Bounds {
            first: first.map_or(self.base(), |(index, _)| *index),
            next: last.map_or(self.base(), |(index, _)| index + 1),
            purged: self.purged.as_ref().map(|(_, mark)| mark.clone()),
        }
    }

    fn apply(&mut self, operation: Operation) -> Result<(), Refusal> {
        check_alone(&operation)?;
        match operation {
            Operation::Append { group, entries } => self.append(group, entries)?,
            Operation::Truncate { after, .. } => {
                drop(self.entries.split_off(&after.map_or(0, |after| after + 1)));
            }
            Operation::Purge { upto, mark, .. } => self.purge(upto, mark),
            Operation::Put { slot, value, .. } => drop(self.slots.insert(slot, value)),
        }
        Ok(())
    }

    fn append(&mut self, group: GroupId, entries: Vec<(u64, Bytes)>) -> Result<(), Refusal> {
        if let Some((given, _)) = entries.first() {
            check_place(group, *given, self.bounds().next, self.entries.is_empty())?;
        }
        self.entries.extend(entries);
        Ok(())
    }

    fn purge(&mut self, upto: u64, mark: Bytes) {
        if upto + 1 < self.base() {
            return;
        }
        self.entries = self.entries.split_off(&(upto + 1));
        self.purged = Some((upto, mark));
    }
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl LogStore for MemoryLog {
    fn submit(&self, operation: Operation, done: Done) {
        let mut state = self.state();
        let group = state.groups.entry(operation.group()).or_default();
        let result = group.apply(operation).map_err(io::Error::from);
        state.health.synced_batches += 1;
        drop(state);
        done(result);
    }

    fn entries(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<(u64, Bytes)>> {
        let state = self.state();
        let Some(group) = state.groups.get(&group) else {
            return Ok(Vec::new());
        };
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut bytes = 0;
        let fits = |(at, (_, entry)): &(usize, (&u64, &Bytes))| {
            bytes += entry.len();
            *at == 0 || bytes <= max_bytes
        };
        let found = group.entries.range(range).enumerate().take_while(fits);
        Ok(found
            .map(|(_, (index, entry))| (*index, entry.clone()))
            .collect())
    }

    fn bounds(&self, group: GroupId) -> Bounds {
        let state = self.state();
        state
            .groups
            .get(&group)
            .map(Group::bounds)
            .unwrap_or_default()
    }

    fn surplus(&self, group: GroupId, kept: u64) -> Option<u64> {
        let state = self.state();
        let entries = &state.groups.get(&group)?.entries;
        let length = |entry: &Bytes| entry.len() as u64;
        let mut left: u64 = entries.values().map(length).sum();
        let goes = |(_, entry): &(&u64, &Bytes)| {
            left -= length(entry);
            left >= kept
        };
        let last = entries.iter().take_while(goes).last();
        last.map(|(index, _)| *index)
    }

    fn slot(&self, group: GroupId, slot: Slot) -> Option<Bytes> {
        self.state().groups.get(&group)?.slots.get(&slot).cloned()
    }

    fn health(&self) -> LogHealth {
        self.state().health.clone()
    }
}
