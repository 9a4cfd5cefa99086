//! What readers see: per group the run of entries, the mark of the last purge and the small values.
//!
//! An operation changes the index when it is submitted, long before it is on the disk. Each entry is therefore in one
//! of two forms: its content in memory (still queued, or written lately), or its place in a segment, or both.
//! Every submitted value has a *ticket*, a number never used again, by which the writer says what it has stored: by
//! then the value may be gone, or replaced by another under the same index.
//!
//! What has been written is kept in memory while it is among the last few bytes written, oldest out first.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use leasehold_types::GroupId;

use super::format::{Key, Kind, Place, Record};
use super::rules::{Refusal, check_alone, check_place};
use super::{Bounds, Operation, Slot};

/// What an entry in memory costs beside its content, roughly, in bytes.
const ENTRY_COST: usize = 128;

/// The groups' logs as readers see them.
pub(crate) struct Index {
    groups: BTreeMap<GroupId, GroupIndex>,
    next_ticket: u64,
    cached: VecDeque<Cached>,
    cached_bytes: usize,
    cache_bytes_max: usize,
}

/// One group's log.
#[derive(Default)]
pub(crate) struct GroupIndex {
    /// Index of the first of `places`; without meaning while there are none.
    first: u64,
    /// Where each entry is; `None` while it is queued.
    places: VecDeque<Option<Place>>,
    /// The contents in memory: of all that are queued, and of some that are stored.
    recent: BTreeMap<u64, Recent>,
    /// What all entries hold together.
    bytes: u64,
    purged: Option<(u64, Kept)>,
    slots: BTreeMap<Slot, Kept>,
}

/// A mark or a small value.
#[derive(Debug, Clone)]
struct Kept {
    content: Bytes,
    ticket: u64,
    stored: bool,
}

impl Kept {
    /// A value read back when the log was opened.
    const fn read_back(content: Bytes) -> Self {
        Self {
            content,
            ticket: 0,
            stored: true,
        }
    }
}

struct Recent {
    content: Bytes,
    ticket: u64,
}

struct Cached {
    group: GroupId,
    index: u64,
    ticket: u64,
    cost: usize,
}

/// An entry as a reader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    InMemory(Bytes),
    At(Place),
}

impl Found {
    fn length(&self) -> usize {
        match self {
            Self::InMemory(content) => content.len(),
            Self::At(place) => usize::try_from(place.length).unwrap_or(usize::MAX),
        }
    }
}

/// The records that an operation makes, and the ticket of the first; the others follow it.
#[derive(Debug, Default)]
pub(crate) struct Ticketed {
    pub(crate) records: Vec<Record>,
    pub(crate) ticket: u64,
}

impl GroupIndex {
    /// A group as it was read back when the log was opened.
    pub(crate) fn read_back(
        first: u64,
        places: impl IntoIterator<Item = Place>,
        purged: Option<(u64, Bytes)>,
        slots: BTreeMap<Slot, Bytes>,
    ) -> Self {
        let slots = slots.into_iter();
        let places: VecDeque<_> = places.into_iter().map(Some).collect();
        Self {
            first,
            bytes: places
                .iter()
                .flatten()
                .map(|place| u64::from(place.length))
                .sum(),
            places,
            recent: BTreeMap::new(),
            purged: purged.map(|(upto, mark)| (upto, Kept::read_back(mark))),
            slots: slots
                .map(|(slot, value)| (slot, Kept::read_back(value)))
                .collect(),
        }
    }

    fn base(&self) -> u64 {
        self.purged.as_ref().map_or(0, |(upto, _)| upto + 1)
    }

    fn next(&self) -> u64 {
        match self.places.len() as u64 {
            0 => self.base(),
            count => self.first + count,
        }
    }

    fn bounds(&self) -> Bounds {
        let is_empty = self.places.is_empty();
        Bounds {
            first: if is_empty { self.base() } else { self.first },
            next: self.next(),
            purged: self.purged.as_ref().map(|(_, kept)| kept.content.clone()),
        }
    }

    fn position(&self, index: u64) -> Option<usize> {
        let position = usize::try_from(index.checked_sub(self.first)?).ok()?;
        (position < self.places.len()).then_some(position)
    }

    fn append(
        &mut self,
        group: GroupId,
        entries: &[(u64, Bytes)],
        ticket: u64,
    ) -> Result<(), Refusal> {
        let Some((first, _)) = entries.first() else {
            return Ok(());
        };
        check_place(group, *first, self.next(), self.places.is_empty())?;
        if self.places.is_empty() {
            self.first = *first;
        }
        for ((index, content), ticket) in entries.iter().zip(ticket..) {
            let content = content.clone();
            self.bytes += content.len() as u64;
            self.places.push_back(None);
            self.recent.insert(*index, Recent { content, ticket });
        }
        Ok(())
    }

    /// Drops the entries from `from` on; says whether there were any.
    fn truncate(&mut self, from: u64) -> bool {
        if from >= self.next() || self.places.is_empty() {
            return false;
        }
        let kept = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.bytes -= self.bytes_of(kept..self.places.len());
        self.places.truncate(kept);
        self.recent.split_off(&from);
        true
    }

    /// Drops the entries up to `upto`; says whether that changed anything.
    fn purge(&mut self, upto: u64, kept: Kept) -> bool {
        if upto + 1 < self.base() {
            return false;
        }
        let count = (upto + 1)
            .saturating_sub(self.first)
            .min(self.places.len() as u64);
        let going = usize::try_from(count).unwrap_or(usize::MAX);
        self.bytes -= self.bytes_of(0..going);
        self.places.drain(..going);
        self.first += count;
        self.recent = self.recent.split_off(&(upto + 1));
        self.purged = Some((upto, kept));
        true
    }

    /// What the entries at some positions hold.
    fn bytes_of(&self, positions: Range<usize>) -> u64 {
        positions.map(|position| self.length_at(position)).sum()
    }

    fn length_at(&self, position: usize) -> u64 {
        match self.places[position] {
            Some(place) => u64::from(place.length),
            None => {
                let recent = self.recent.get(&(self.first + position as u64));
                recent.map_or(0, |recent| recent.content.len() as u64)
            }
        }
    }

    /// See [`LogStore::surplus`](super::LogStore::surplus).
    fn surplus(&self, kept: u64) -> Option<u64> {
        let mut left = self.bytes;
        let lengths = (0..self.places.len()).map(|position| self.length_at(position));
        let goes = |length: &u64| {
            left -= length;
            left >= kept
        };
        let count = lengths.take_while(goes).count() as u64;
        (count > 0).then(|| self.first + count - 1)
    }

    fn found(&self, index: u64) -> Option<Found> {
        if let Some(recent) = self.recent.get(&index) {
            return Some(Found::InMemory(recent.content.clone()));
        }
        let place = self.places[self.position(index)?];
        Some(Found::At(place.expect("a queued entry is in memory")))
    }
}

impl Index {
    /// An index of what was found when the log was opened.
    pub(crate) fn new(groups: BTreeMap<GroupId, GroupIndex>, cache_bytes_max: usize) -> Self {
        Self {
            groups,
            next_ticket: 1,
            cached: VecDeque::new(),
            cached_bytes: 0,
            cache_bytes_max,
        }
    }

    /// Whether no group was ever heard of.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Makes an operation visible, and gives the records that make it durable: none when it changes nothing.
    pub(crate) fn apply(&mut self, operation: Operation) -> Result<Ticketed, Refusal> {
        check_alone(&operation)?;
        let ticket = self.next_ticket;
        let records = self.apply_checked(operation, ticket)?;
        self.next_ticket += records.len() as u64;
        Ok(Ticketed { records, ticket })
    }

    fn apply_checked(&mut self, operation: Operation, ticket: u64) -> Result<Vec<Record>, Refusal> {
        let group = operation.group();
        let index = self.groups.entry(group).or_default();
        let record = |kind, index, content| Record {
            key: Key { group, kind, index },
            content,
        };
        let queued = |content: &Bytes| Kept {
            content: content.clone(),
            ticket,
            stored: false,
        };
        let records = match operation {
            Operation::Append { entries, .. } => {
                index.append(group, &entries, ticket)?;
                let entry = |(at, content)| record(Kind::Entry, at, content);
                entries.into_iter().map(entry).collect()
            }
            Operation::Truncate { after, .. } => {
                let from = after.map_or(0, |after| after + 1);
                let changed = index.truncate(from);
                changed
                    .then(|| record(Kind::Truncate, from, Bytes::new()))
                    .into_iter()
                    .collect()
            }
            Operation::Purge { upto, mark, .. } => {
                let changed = index.purge(upto, queued(&mark));
                changed
                    .then(|| record(Kind::Purge, upto, mark))
                    .into_iter()
                    .collect()
            }
            Operation::Put { slot, value, .. } => {
                index.slots.insert(slot, queued(&value));
                vec![record(kind_of(slot), 0, value)]
            }
        };
        Ok(records)
    }

    /// Takes note that a record is on the disk.
    pub(crate) fn stored(&mut self, key: Key, ticket: u64, place: Place) {
        let Some(index) = self.groups.get_mut(&key.group) else {
            return;
        };
        let kept = match key.kind {
            Kind::Entry => return self.entry_stored(key, ticket, place),
            Kind::Truncate => None,
            Kind::Purge => index.purged.as_mut().map(|(_, kept)| kept),
            Kind::Vote => index.slots.get_mut(&Slot::Vote),
            Kind::Committed => index.slots.get_mut(&Slot::Committed),
        };
        if let Some(kept) = kept.filter(|kept| kept.ticket == ticket) {
            kept.stored = true;
        }
    }

    fn entry_stored(&mut self, key: Key, ticket: u64, place: Place) {
        let Some(index) = self.groups.get_mut(&key.group) else {
            return;
        };
        let is_current = |recent: &Recent| recent.ticket == ticket;
        if !index.recent.get(&key.index).is_some_and(is_current) {
            return;
        }
        let position = index
            .position(key.index)
            .expect("what is in memory has a place");
        index.places[position] = Some(place);
        let cost = usize::try_from(place.length).unwrap_or(usize::MAX) + ENTRY_COST;
        self.cached_bytes += cost;
        self.cached.push_back(Cached {
            group: key.group,
            index: key.index,
            ticket,
            cost,
        });
        self.evict();
    }

    /// Drops the contents written longest ago. Those whose entries are gone are still counted until then: the bound
    /// holds for both together.
    fn evict(&mut self) {
        while self.cached_bytes > self.cache_bytes_max {
            let Some(oldest) = self.cached.pop_front() else {
                return;
            };
            self.cached_bytes -= oldest.cost;
            let Some(group) = self.groups.get_mut(&oldest.group) else {
                continue;
            };
            let recent = group.recent.get(&oldest.index);
            if recent.is_some_and(|recent| recent.ticket == oldest.ticket) {
                group.recent.remove(&oldest.index);
            }
        }
    }

    /// Takes note that an entry was written again elsewhere, unless it has changed since.
    pub(crate) fn moved(&mut self, group: GroupId, index: u64, from: Place, to: Place) {
        let Some(group) = self.groups.get_mut(&group) else {
            return;
        };
        if let Some(position) = group.position(index)
            && group.places[position] == Some(from)
        {
            group.places[position] = Some(to);
        }
    }

    /// Where an entry is, if it is there and on the disk.
    pub(crate) fn place(&self, group: GroupId, index: u64) -> Option<Place> {
        let group = self.groups.get(&group)?;
        group.places[group.position(index)?]
    }

    /// The mark of a group's last purge, if it is on the disk.
    pub(crate) fn stored_purge(&self, group: GroupId) -> Option<(u64, Bytes)> {
        let (upto, kept) = self.groups.get(&group)?.purged.as_ref()?;
        kept.stored.then(|| (*upto, kept.content.clone()))
    }

    /// One of a group's small values, if it is on the disk.
    pub(crate) fn stored_slot(&self, group: GroupId, slot: Slot) -> Option<Bytes> {
        let kept = self.groups.get(&group)?.slots.get(&slot)?;
        kept.stored.then(|| kept.content.clone())
    }

    pub(crate) fn bounds(&self, group: GroupId) -> Bounds {
        self.groups
            .get(&group)
            .map(GroupIndex::bounds)
            .unwrap_or_default()
    }

    pub(crate) fn surplus(&self, group: GroupId, kept: u64) -> Option<u64> {
        self.groups.get(&group)?.surplus(kept)
    }

    pub(crate) fn slot(&self, group: GroupId, slot: Slot) -> Option<Bytes> {
        let kept = self.groups.get(&group)?.slots.get(&slot)?;
        Some(kept.content.clone())
    }

    /// The entries of a range, at least one if there is any, then as many as fit.
    pub(crate) fn find(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Vec<(u64, Found)> {
        let Some(group) = self.groups.get(&group) else {
            return Vec::new();
        };
        let bounds = group.bounds();
        let range = range.start.max(bounds.first)..range.end.min(bounds.next);
        let mut found: Vec<(u64, Found)> = Vec::new();
        let mut bytes = 0_usize;
        for index in range {
            let Some(entry) = group.found(index) else {
                break;
            };
            bytes = bytes.saturating_add(entry.length());
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push((index, entry));
        }
        found
    }
}

/// The kind of record that holds a small value.
pub(crate) const fn kind_of(slot: Slot) -> Kind {
    match slot {
        Slot::Vote => Kind::Vote,
        Slot::Committed => Kind::Committed,
    }
}

#[cfg(test)]
mod tests;
