//! Playing the records of a log back, oldest first, to the state they leave.
//!
//! The oldest segments may be gone, so a record may speak of entries that are no longer there, and entries that were
//! written forward come after younger ones. Both are harmless: each record does to whatever is there what it says,
//! and the last word on every index is in a segment that was kept (see `ledger`).

use std::collections::BTreeMap;

use bytes::Bytes;
use leasehold_types::GroupId;

use crate::log::Slot;
use crate::log::error::OpenLogError;
use crate::log::format::{Kind, Place};
use crate::log::index::GroupIndex;
use crate::log::ledger::Ledger;
use crate::log::scan::Seen;

/// The state so far.
#[derive(Default)]
pub(crate) struct Replay {
    groups: BTreeMap<GroupId, Group>,
    ledger: Ledger,
}

#[derive(Default)]
struct Group {
    entries: BTreeMap<u64, Place>,
    purged: Option<(u64, Bytes)>,
    slots: BTreeMap<Slot, Bytes>,
}

impl Replay {
    /// Plays the records of one frame.
    pub(crate) fn frame(&mut self, records: &[Seen<'_>]) {
        for seen in records {
            self.ledger.stored(seen.key, seen.place);
            let group = self.groups.entry(seen.key.group).or_default();
            group.record(seen);
        }
    }

    /// The state for readers, and the ledger that goes with it.
    pub(crate) fn finish(self) -> Result<(BTreeMap<GroupId, GroupIndex>, Ledger), OpenLogError> {
        let mut groups = BTreeMap::new();
        for (id, group) in self.groups {
            groups.insert(id, group.finish(id)?);
        }
        Ok((groups, self.ledger))
    }
}

impl Group {
    fn record(&mut self, seen: &Seen<'_>) {
        let Seen { key, place, .. } = *seen;
        let content = || Bytes::copy_from_slice(seen.content);
        match key.kind {
            Kind::Entry => drop(self.entries.insert(key.index, place)),
            Kind::Truncate => drop(self.entries.split_off(&key.index)),
            Kind::Purge => {
                self.entries = self.entries.split_off(&(key.index + 1));
                self.purged = Some((key.index, content()));
            }
            Kind::Vote => drop(self.slots.insert(Slot::Vote, content())),
            Kind::Committed => drop(self.slots.insert(Slot::Committed, content())),
        }
    }

    fn finish(self, group: GroupId) -> Result<GroupIndex, OpenLogError> {
        let first = self
            .entries
            .first_key_value()
            .map_or(0, |(index, _)| *index);
        let is_there = |(index, expected): &(&u64, u64)| *index == expected;
        if let Some((_, index)) = self
            .entries
            .keys()
            .zip(first..)
            .find(|pair| !is_there(pair))
        {
            return Err(OpenLogError::Hole { group, index });
        }
        let places = self.entries.into_values();
        Ok(GroupIndex::read_back(
            first,
            places,
            self.purged,
            self.slots,
        ))
    }
}
