//! Writing forward what holds old segments, so that an idle group does not keep the whole node's disk.
//!
//! Segments go in the order in which they came, so one quiet group with a few entries in an old one keeps all those
//! behind it. When the oldest segments, taken together, are three quarters dead, what is alive in the oldest is
//! written again at the end of the log: a bounded amount with each batch, until the segment is free. Waiting for three
//! quarters keeps the extra writing below a third of what it frees, and leaves alone a busy group that will purge its
//! oldest segment soon anyway.
//!
//! SUBTLE: only what is on the disk *and* still visible is carried. If a newer value is queued, or a `Truncate` of the
//! entry is, then the old one is about to be let go anyway; carrying it would be useless, and carrying the newer one
//! would make it durable before what was submitted ahead of it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use leasehold_types::GroupId;

use super::Slot;
use super::format::{Key, Kind, Place, Record};
use super::index::kind_of;
use super::ledger::{Ledger, Need};
use super::shared::Shared;

/// A record written again, and where it was if it is an entry.
pub(crate) struct Carried {
    pub(crate) record: Record,
    pub(crate) from: Option<Place>,
}

/// The segment to free by writing its rest forward, if that is worth it. `sizes` are those of all segments but the
/// one in use.
pub(crate) fn choose(ledger: &Ledger, sizes: &BTreeMap<u64, u64>) -> Option<u64> {
    let (mut size, mut live) = (0, 0);
    for (count, (&segment, &bytes)) in (1..).zip(sizes) {
        size += bytes;
        live += ledger.live_bytes(segment);
        if count > 1 && live <= size / 4 {
            return sizes.first_key_value().map(|(oldest, _)| *oldest);
        }
    }
    None
}

/// What to write forward out of a segment now, up to a number of bytes (and one record more).
///
/// # Errors
/// When an old entry cannot be read back as it was written.
pub(crate) fn collect(
    ledger: &Ledger,
    shared: &Shared,
    segment: u64,
    max_bytes: usize,
) -> io::Result<Vec<Carried>> {
    let mut load = Load {
        shared,
        segment,
        room: max_bytes,
        carried: Vec::new(),
    };
    for need in ledger.needs(segment) {
        match need {
            Need::Entries { group, start, end } => load.entries(group, start..end)?,
            Need::Purge { group } => load.purge(group),
            Need::Slot { group, slot } => load.slot(group, slot),
        }
    }
    Ok(load.carried)
}

struct Load<'a> {
    shared: &'a Shared,
    segment: u64,
    room: usize,
    carried: Vec<Carried>,
}

impl Load<'_> {
    fn add(&mut self, key: Key, content: Bytes, from: Option<Place>) {
        let record = Record { key, content };
        self.room = self.room.saturating_sub(record.size());
        self.carried.push(Carried { record, from });
    }

    fn entries(&mut self, group: GroupId, indexes: Range<u64>) -> io::Result<()> {
        let kind = Kind::Entry;
        for index in indexes {
            if self.room == 0 {
                break;
            }
            let place = self.shared.state().index.place(group, index);
            if let Some(place) = place.filter(|place| place.segment == self.segment) {
                let content = self.shared.read(group, index, place)?;
                self.add(Key { group, kind, index }, content, Some(place));
            }
        }
        Ok(())
    }

    fn purge(&mut self, group: GroupId) {
        let purge = self.shared.state().index.stored_purge(group);
        if let Some((index, mark)) = purge.filter(|_| self.room > 0) {
            let kind = Kind::Purge;
            self.add(Key { group, kind, index }, mark, None);
        }
    }

    fn slot(&mut self, group: GroupId, slot: Slot) {
        let value = self.shared.state().index.stored_slot(group, slot);
        if let Some(value) = value.filter(|_| self.room > 0) {
            let (kind, index) = (kind_of(slot), 0);
            self.add(Key { group, kind, index }, value, None);
        }
    }
}
