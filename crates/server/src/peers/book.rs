//! Where every other node can be reached, and its newest start that was seen.
//!
//! Two sources: the metadata, and the nodes themselves, who say it in every hello. The newer start wins, so that nodes
//! that have all moved find each other again although no metadata can be committed yet. Of two starts under one count
//! the first that was heard of wins, until the metadata says which of them it took.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use leasehold_types::{Boot, BootMark, BootStanding, NodeId};

/// One node as last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) boot: Boot,
    pub(crate) address: String,
}

/// Clones share one book.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    entries: Arc<RwLock<BTreeMap<NodeId, Entry>>>,
}

impl Book {
    /// Notes what was heard of a node; true when it is worth dialling again: it started again, or is elsewhere.
    pub(crate) fn note(&self, node: NodeId, boot: Boot, address: &str) -> bool {
        self.write(node, boot, address, false)
    }

    /// Notes what is committed of a node: against a second start under its count, it stands.
    pub(crate) fn settle(&self, node: NodeId, boot: Boot, address: &str) -> bool {
        self.write(node, boot, address, true)
    }

    fn write(&self, node: NodeId, boot: Boot, address: &str, is_settled: bool) -> bool {
        if address.is_empty() {
            return false;
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = entries.get_mut(&node) else {
            let address = address.to_owned();
            entries.insert(node, Entry { boot, address });
            return true;
        };
        let moved = known.address != address;
        let is_other = match boot.standing(known.boot) {
            BootStanding::Newer => true,
            BootStanding::Same => false,
            BootStanding::Twin if is_settled => true,
            BootStanding::Twin | BootStanding::Older => return false,
        };
        // A mark that is known is not forgotten for one that is not.
        if is_other || known.boot.mark == BootMark::UNKNOWN {
            known.boot = boot;
        }
        address.clone_into(&mut known.address);
        is_other || moved
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<String> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(&node).map(|entry| entry.address.clone())
    }

    /// The newest start seen of a node.
    pub(crate) fn boots(&self, node: NodeId) -> Option<Boot> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(&node).map(|entry| entry.boot)
    }

    /// All of it, in the order of ids.
    pub(crate) fn entries(&self) -> Vec<(NodeId, Boot, String)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entries = entries.iter();
        entries
            .map(|(node, entry)| (*node, entry.boot, entry.address.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use leasehold_types::BootCount;

    use super::*;

    const NODE: NodeId = NodeId::new(3);

    fn boot(count: u64, mark: u64) -> Boot {
        Boot {
            count: BootCount::new(count),
            mark: BootMark::new(mark),
        }
    }

    #[test]
    fn newer_start_brings_its_address_and_an_older_one_changes_nothing() {
        let book = Book::default();
        assert!(book.note(NODE, boot(2, 1), "a:1"));
        assert!(!book.note(NODE, boot(2, 1), "a:1"));
        assert!(book.note(NODE, boot(3, 1), "b:1"));
        assert!(!book.note(NODE, boot(2, 1), "a:1"));
        assert_eq!(book.address(NODE).as_deref(), Some("b:1"));
        assert_eq!(book.boots(NODE), Some(boot(3, 1)));
    }

    #[test]
    fn newer_start_at_the_same_address_is_worth_dialling() {
        let book = Book::default();
        book.note(NODE, boot(2, 1), "a:1");
        assert!(book.note(NODE, boot(3, 1), "a:1"));
    }

    #[test]
    fn first_of_two_starts_under_one_count_stands_until_the_metadata_took_the_other() {
        let book = Book::default();
        book.note(NODE, boot(2, 1), "a:1");
        assert!(!book.note(NODE, boot(2, 9), "b:1"));
        assert_eq!(book.address(NODE).as_deref(), Some("a:1"));
        assert!(book.settle(NODE, boot(2, 9), "b:1"));
        assert_eq!(book.entries(), [(NODE, boot(2, 9), "b:1".to_owned())]);
    }

    #[test]
    fn mark_is_learnt_late_and_then_kept() {
        let book = Book::default();
        book.note(NODE, boot(2, 0), "a:1");
        book.note(NODE, boot(2, 7), "a:1");
        book.note(NODE, boot(2, 0), "a:1");
        assert_eq!(book.boots(NODE), Some(boot(2, 7)));
    }

    #[test]
    fn node_that_says_no_address_keeps_the_one_it_had() {
        let book = Book::default();
        book.note(NODE, boot(2, 1), "a:1");
        assert!(!book.note(NODE, boot(3, 1), ""));
        assert_eq!(book.entries(), [(NODE, boot(2, 1), "a:1".to_owned())]);
    }
}
