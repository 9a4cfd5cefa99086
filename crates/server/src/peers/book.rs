//! Where every other node can be reached, and its newest start that was seen.
//!
//! Two sources: the metadata, and the nodes themselves, who say it in every hello. The newer start wins, so that nodes
//! that have all moved find each other again although no metadata can be committed yet.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use leasehold_types::{BootCount, NodeId};

/// One node as last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) boots: BootCount,
    pub(crate) address: String,
}

/// Clones share one book.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    entries: Arc<RwLock<BTreeMap<NodeId, Entry>>>,
}

impl Book {
    /// Notes what was heard of a node; true when the address to dial is another one now.
    pub(crate) fn note(&self, node: NodeId, boots: BootCount, address: &str) -> bool {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let known = entries.get(&node);
        if known.is_some_and(|known| known.boots > boots) || address.is_empty() {
            return false;
        }
        let moved = known.is_none_or(|known| known.address != address);
        let address = address.to_owned();
        entries.insert(node, Entry { boots, address });
        moved
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<String> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(&node).map(|entry| entry.address.clone())
    }

    /// The newest start seen of a node.
    pub(crate) fn boots(&self, node: NodeId) -> Option<BootCount> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(&node).map(|entry| entry.boots)
    }

    /// All of it, in the order of ids.
    pub(crate) fn entries(&self) -> Vec<(NodeId, BootCount, String)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entries = entries.iter();
        entries
            .map(|(node, entry)| (*node, entry.boots, entry.address.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::new(3);

    #[test]
    fn newer_start_brings_its_address_and_an_older_one_changes_nothing() {
        let book = Book::default();
        assert!(book.note(NODE, BootCount::new(2), "a:1"));
        assert!(!book.note(NODE, BootCount::new(2), "a:1"));
        assert!(book.note(NODE, BootCount::new(3), "b:1"));
        assert!(!book.note(NODE, BootCount::new(2), "a:1"));
        assert_eq!(book.address(NODE).as_deref(), Some("b:1"));
        assert_eq!(book.boots(NODE), Some(BootCount::new(3)));
    }

    #[test]
    fn node_that_says_no_address_keeps_the_one_it_had() {
        let book = Book::default();
        book.note(NODE, BootCount::new(2), "a:1");
        assert!(!book.note(NODE, BootCount::new(3), ""));
        assert_eq!(
            book.entries(),
            [(NODE, BootCount::new(2), "a:1".to_owned())]
        );
    }
}
