//! The youngest entries of a log, as they were written.
//!
//! The leader reads every entry back once for each follower and once more to apply it. Kept here, its commands stay
//! decoded; only a replica that fell behind makes the log read its bytes again. Bounded in entries and in bytes.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::entry::RaftEntry;

use crate::machine::Machine;
use crate::types::{Entry, EntryPayload};

/// Most entries kept.
const ENTRIES: usize = 4_096;
/// Most bytes of commands kept.
const BYTES: usize = 4 * 1024 * 1024;

/// A run of entries without a gap, up to the end of the log.
pub(super) struct Recent<M: Machine> {
    entries: VecDeque<Entry<M>>,
    bytes: usize,
}

impl<M: Machine> Default for Recent<M> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<M: Machine> Recent<M> {
    pub(super) fn extend(&mut self, entries: Vec<Entry<M>>) {
        let follows = |first: &Entry<M>| self.next() == Some(first.index());
        if !entries.first().is_some_and(follows) {
            self.clear();
        }
        for entry in entries {
            self.bytes += size(&entry);
            self.entries.push_back(entry);
        }
        while self.entries.len() > ENTRIES || self.bytes > BYTES {
            self.pop_front();
        }
    }

    /// Drops what lies behind `last`, everything when there is none.
    pub(super) fn truncate(&mut self, last: Option<u64>) {
        let is_behind = |entry: &Entry<M>| last.is_none_or(|last| entry.index() > last);
        while let Some(entry) = self.entries.pop_back_if(|entry| is_behind(entry)) {
            self.bytes -= size(&entry);
        }
    }

    /// Drops what lies at or before `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.first().is_some_and(|first| first <= upto) {
            self.pop_front();
        }
    }

    /// The entries of `range` up to `max_bytes`, at least one; nothing unless the whole range is here.
    pub(super) fn get(&self, range: &Range<u64>, max_bytes: usize) -> Option<Vec<Entry<M>>> {
        let (first, next) = (self.first()?, self.next()?);
        if range.start < first || range.end > next {
            return None;
        }
        let from = usize::try_from(range.start - first).ok()?;
        let to = usize::try_from(range.end - first).ok()?;
        let mut bytes = 0_usize;
        let fits = |entry: &&Entry<M>| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(size(entry).max(1));
            is_first || bytes <= max_bytes
        };
        Some(
            self.entries
                .range(from..to)
                .take_while(fits)
                .cloned()
                .collect(),
        )
    }

    fn first(&self) -> Option<u64> {
        self.entries.front().map(RaftEntry::index)
    }

    fn next(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.index() + 1)
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= size(&entry);
        }
    }
}

fn size<M: Machine>(entry: &Entry<M>) -> usize {
    match &entry.payload {
        EntryPayload::<M>::Normal(command) => command.bytes.len(),
        EntryPayload::<M>::Blank | EntryPayload::<M>::Membership(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Counter;
    use crate::types::{LeaderId, LogId, Payload};

    fn entry(index: u64, bytes: usize) -> Entry<Counter> {
        let leader = LeaderId {
            term: 1,
            node_id: 1,
        };
        let command = Payload::received(vec![0; bytes].into());
        Entry::<Counter>::new(
            LogId::new(leader, index),
            EntryPayload::<Counter>::Normal(command),
        )
    }

    fn run(indexes: Range<u64>) -> Vec<Entry<Counter>> {
        indexes.map(|index| entry(index, 10)).collect()
    }

    fn indexes(entries: Option<Vec<Entry<Counter>>>) -> Option<Vec<u64>> {
        entries.map(|entries| entries.iter().map(RaftEntry::index).collect())
    }

    #[test]
    fn only_a_range_that_is_here_in_full_is_answered() {
        let mut recent = Recent::default();
        recent.extend(run(5..10));
        assert_eq!(indexes(recent.get(&(6..9), 1_000)), Some(vec![6, 7, 8]));
        assert_eq!(indexes(recent.get(&(4..6), 1_000)), None);
        assert_eq!(indexes(recent.get(&(8..11), 1_000)), None);
    }

    #[test]
    fn byte_limit_cuts_the_answer_but_never_to_nothing() {
        let mut recent = Recent::default();
        recent.extend(run(5..10));
        assert_eq!(indexes(recent.get(&(5..9), 25)), Some(vec![5, 6]));
        assert_eq!(indexes(recent.get(&(5..9), 1)), Some(vec![5]));
    }

    #[test]
    fn what_was_truncated_or_purged_is_not_served() {
        let mut recent = Recent::default();
        recent.extend(run(5..10));
        recent.truncate(Some(7));
        recent.purge(5);
        assert_eq!(indexes(recent.get(&(6..8), 1_000)), Some(vec![6, 7]));
        assert_eq!(indexes(recent.get(&(7..9), 1_000)), None);
        assert_eq!(indexes(recent.get(&(5..7), 1_000)), None);
        recent.truncate(None);
        assert_eq!(indexes(recent.get(&(6..7), 1_000)), None);
        assert_eq!(recent.bytes, 0);
    }

    #[test]
    fn gap_starts_a_new_run() {
        let mut recent = Recent::default();
        recent.extend(run(1..3));
        recent.extend(run(7..9));
        assert_eq!(indexes(recent.get(&(1..3), 1_000)), None);
        assert_eq!(indexes(recent.get(&(7..9), 1_000)), Some(vec![7, 8]));
    }

    #[test]
    fn memory_is_bounded_by_bytes() {
        let mut recent = Recent::default();
        recent.extend((0..10).map(|index| entry(index, BYTES / 4)).collect());
        assert_eq!(recent.entries.len(), 4);
        assert_eq!(recent.bytes, BYTES);
    }
}
