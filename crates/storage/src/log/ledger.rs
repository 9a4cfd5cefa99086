//! Which segments are still needed, and by whom.
//!
//! The ledger follows the *disk*, one frame after the other as they are synced, while the index runs ahead with what
//! was only submitted. A segment may go when the ledger says so, never before: an entry whose `Truncate` is still
//! queued is needed yet, because a crash now brings it back.
//!
//! A segment is needed by live entries, by the newest value of a slot and by the newest purge. A `Truncate` needs no
//! keeping: what it cuts off lies before it, segments go in the order in which they came, so it outlives its use.
//! For the same reason the segments that remain, replayed in order, give exactly the state that all segments would
//! have given.

use std::collections::BTreeMap;

use leasehold_types::GroupId;

use super::Slot;
use super::format::{Key, Kind, Place, RECORD_HEAD};

/// The segments that hold something needed, with how much.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    groups: BTreeMap<GroupId, GroupLedger>,
    live: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
struct GroupLedger {
    /// Runs of live entries, by their first index; they do not overlap.
    runs: BTreeMap<u64, Run>,
    purge: Option<Held>,
    slots: BTreeMap<Slot, Held>,
}

/// Entries that follow each other in one segment.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: u64,
    segment: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    segment: u64,
    bytes: u64,
}

/// Something that a segment is needed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    Entries {
        group: GroupId,
        start: u64,
        end: u64,
    },
    Purge {
        group: GroupId,
    },
    Slot {
        group: GroupId,
        slot: Slot,
    },
}

impl Ledger {
    /// Takes note of a record that is on the disk.
    pub(crate) fn stored(&mut self, key: Key, place: Place) {
        let bytes = (RECORD_HEAD as u64) + u64::from(place.length);
        let held = Held {
            segment: place.segment,
            bytes,
        };
        let group = key.group;
        match key.kind {
            Kind::Entry => self.entry(group, key.index, held),
            Kind::Truncate => self.clear(group, key.index, u64::MAX),
            Kind::Purge => {
                self.clear(group, 0, key.index + 1);
                let last = self.groups.entry(group).or_default().purge.replace(held);
                self.replaced(last, held);
            }
            Kind::Vote => self.slot(group, Slot::Vote, held),
            Kind::Committed => self.slot(group, Slot::Committed, held),
        }
    }

    fn slot(&mut self, group: GroupId, slot: Slot, held: Held) {
        let last = self
            .groups
            .entry(group)
            .or_default()
            .slots
            .insert(slot, held);
        self.replaced(last, held);
    }

    fn replaced(&mut self, last: Option<Held>, held: Held) {
        self.add(held.segment, held.bytes);
        if let Some(last) = last {
            self.subtract(last.segment, last.bytes);
        }
    }

    fn entry(&mut self, group: GroupId, index: u64, held: Held) {
        self.clear(group, index, index + 1);
        self.add(held.segment, held.bytes);
        let runs = &mut self.groups.entry(group).or_default().runs;
        if let Some((_, run)) = runs.range_mut(..index).next_back()
            && run.end == index
            && run.segment == held.segment
        {
            run.end += 1;
            run.bytes += held.bytes;
            return;
        }
        let run = Run {
            end: index + 1,
            segment: held.segment,
            bytes: held.bytes,
        };
        runs.insert(index, run);
    }

    /// Takes the entries from `start` to before `end` out of the runs.
    fn clear(&mut self, group: GroupId, start: u64, end: u64) {
        while let Some((first, run)) = self.overlapping(group, start, end) {
            self.subtract(run.segment, run.bytes);
            let runs = &mut self.groups.entry(group).or_default().runs;
            runs.remove(&first);
            for (first, run) in run.without(first, start, end) {
                runs.insert(first, run);
                *self.live.entry(run.segment).or_default() += run.bytes;
            }
        }
    }

    fn overlapping(&self, group: GroupId, start: u64, end: u64) -> Option<(u64, Run)> {
        let runs = &self.groups.get(&group)?.runs;
        let (first, run) = runs.range(..end).next_back()?;
        (run.end > start).then_some((*first, *run))
    }

    fn add(&mut self, segment: u64, bytes: u64) {
        *self.live.entry(segment).or_default() += bytes;
    }

    fn subtract(&mut self, segment: u64, bytes: u64) {
        let live = self.live.entry(segment).or_default();
        *live -= bytes;
        if *live == 0 {
            self.live.remove(&segment);
        }
    }

    /// The oldest segment that is needed; none when nothing is stored.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.live.first_key_value().map(|(segment, _)| *segment)
    }

    /// Bytes of a segment that are needed. Where a run was split, its parts count by their number of entries.
    pub(crate) fn live_bytes(&self, segment: u64) -> u64 {
        self.live.get(&segment).copied().unwrap_or(0)
    }

    /// All that a segment is needed for.
    pub(crate) fn needs(&self, segment: u64) -> Vec<Need> {
        let mut needs = Vec::new();
        for (&group, ledger) in &self.groups {
            let runs = ledger.runs.iter().filter(|(_, run)| run.segment == segment);
            needs.extend(runs.map(|(&start, run)| Need::Entries {
                group,
                start,
                end: run.end,
            }));
            if ledger.purge.is_some_and(|held| held.segment == segment) {
                needs.push(Need::Purge { group });
            }
            let slots = ledger
                .slots
                .iter()
                .filter(|(_, held)| held.segment == segment);
            needs.extend(slots.map(|(&slot, _)| Need::Slot { group, slot }));
        }
        needs
    }
}

impl Run {
    /// What is left of a run that begins at `first` when `start..end` is taken out: nothing, one part or two.
    fn without(self, first: u64, start: u64, end: u64) -> Vec<(u64, Self)> {
        let count = self.end - first;
        let part = |from: u64, to: u64| {
            let share = u128::from(self.bytes) * u128::from(to - from) / u128::from(count);
            let bytes = u64::try_from(share).expect("a part is no larger than the whole");
            let part = Self {
                end: to,
                segment: self.segment,
                bytes: bytes.max(1),
            };
            (from, part)
        };
        let mut left = Vec::with_capacity(2);
        if first < start {
            left.push(part(first, start));
        }
        if end < self.end {
            left.push(part(end, self.end));
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId::new(1);

    fn store(ledger: &mut Ledger, kind: Kind, index: u64, segment: u64) {
        let key = Key {
            group: GROUP,
            kind,
            index,
        };
        let place = Place {
            segment,
            offset: 0,
            length: 76,
        };
        ledger.stored(key, place);
    }

    fn entries(ledger: &mut Ledger, indexes: std::ops::Range<u64>, segment: u64) {
        indexes.for_each(|index| store(ledger, Kind::Entry, index, segment));
    }

    fn run(start: u64, end: u64) -> Need {
        Need::Entries {
            group: GROUP,
            start,
            end,
        }
    }

    #[test]
    fn segment_is_needed_until_its_last_entry_is_purged() {
        let mut ledger = Ledger::default();
        entries(&mut ledger, 0..10, 1);
        entries(&mut ledger, 10..20, 2);
        store(&mut ledger, Kind::Purge, 8, 3);
        assert_eq!(ledger.oldest(), Some(1));
        assert_eq!(ledger.live_bytes(1), 100);
        store(&mut ledger, Kind::Purge, 9, 3);
        assert_eq!(ledger.oldest(), Some(2));
        store(&mut ledger, Kind::Purge, 100, 4);
        assert_eq!(
            ledger.oldest(),
            Some(4),
            "the newest purge is needed itself"
        );
    }

    #[test]
    fn truncated_entries_need_no_segment_and_their_successors_count_anew() {
        let mut ledger = Ledger::default();
        entries(&mut ledger, 0..10, 1);
        store(&mut ledger, Kind::Truncate, 4, 2);
        entries(&mut ledger, 4..6, 2);
        assert_eq!(ledger.needs(1), [run(0, 4)]);
        assert_eq!(ledger.needs(2), [run(4, 6)]);
        store(&mut ledger, Kind::Truncate, 0, 3);
        assert_eq!(ledger.oldest(), None);
    }

    #[test]
    fn entries_written_again_are_needed_where_they_are_now() {
        let mut ledger = Ledger::default();
        entries(&mut ledger, 0..10, 1);
        entries(&mut ledger, 0..3, 5);
        assert_eq!(ledger.needs(1), [run(3, 10)]);
        entries(&mut ledger, 3..10, 5);
        assert_eq!(ledger.oldest(), Some(5));
        assert_eq!(ledger.needs(5), [run(0, 10)]);
        assert_eq!(ledger.live_bytes(5), 1000);
    }

    #[test]
    fn only_the_newest_value_of_a_slot_is_needed() {
        let mut ledger = Ledger::default();
        store(&mut ledger, Kind::Vote, 0, 1);
        store(&mut ledger, Kind::Committed, 0, 1);
        store(&mut ledger, Kind::Vote, 0, 2);
        let slot = Slot::Committed;
        assert_eq!(ledger.needs(1), [Need::Slot { group: GROUP, slot }]);
        store(&mut ledger, Kind::Committed, 0, 2);
        assert_eq!(ledger.oldest(), Some(2));
    }
}
