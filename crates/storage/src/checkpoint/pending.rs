//! Changes on their way into a transaction.
//!
//! Opening a table costs a look-up and a page, and a table of redb borrows its transaction, so that both cannot be
//! kept in one struct. Changes are therefore collected, and go into their table some thousands at a time, sorted: the
//! B-tree is then walked from left to right.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Table;

/// Changes that wait for their table, of all tables together.
#[derive(Default)]
pub(super) struct Pending {
    tables: BTreeMap<Table, Changes>,
    bytes: usize,
}

/// Changes of one table, in the order in which they came.
#[derive(Default)]
pub(super) struct Changes {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

/// Where a change lies among the bytes.
struct Row {
    key: Range<usize>,
    /// None when the row goes away.
    value: Option<Range<usize>>,
}

impl Pending {
    /// Adds a change; without a value, the row goes away.
    pub(super) fn push(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        let changes = self.tables.entry(table).or_default();
        let before = changes.bytes.len();
        changes.push(key, value);
        self.bytes += changes.bytes.len() - before + size_of::<Row>();
    }

    /// Memory that the changes take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands out all changes, table by table, and forgets them.
    pub(super) fn drain<E>(
        &mut self,
        mut into: impl FnMut(Table, &mut Changes) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes = 0;
        for (table, changes) in &mut self.tables {
            if !changes.rows.is_empty() {
                into(*table, changes)?;
            }
            changes.bytes.clear();
            changes.rows.clear();
        }
        Ok(())
    }
}

impl Changes {
    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let key = self.keep(key);
        let value = value.map(|value| self.keep(value));
        self.rows.push(Row { key, value });
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// The changes by rising key, of each key the last.
    pub(super) fn sorted(&mut self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let bytes = &self.bytes;
        self.rows
            .sort_by(|a, b| bytes[a.key.clone()].cmp(&bytes[b.key.clone()]));
        let rows = &self.rows;
        (0..rows.len()).filter_map(move |at| {
            let key = &bytes[rows[at].key.clone()];
            let next = rows.get(at + 1).map(|row| &bytes[row.key.clone()]);
            let value = rows[at].value.clone().map(|value| &bytes[value]);
            (next != Some(key)).then_some((key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_change_of_a_key_counts_and_keys_rise() {
        let mut pending = Pending::default();
        let table = Table::new("rows");
        for (key, value) in [
            ("b", Some("1")),
            ("a", Some("2")),
            ("b", None),
            ("a", Some("3")),
        ] {
            pending.push(table, key.as_bytes(), value.map(str::as_bytes));
        }
        assert!(pending.bytes() > 0);
        let mut seen = Vec::new();
        pending
            .drain(|_, changes| {
                let rows = changes.sorted();
                seen.extend(rows.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))));
                Ok::<(), ()>(())
            })
            .unwrap();
        assert_eq!(
            seen,
            [(b"a".to_vec(), Some(b"3".to_vec())), (b"b".to_vec(), None)]
        );
        assert_eq!(pending.bytes(), 0);
    }
}
