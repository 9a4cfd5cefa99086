//! How far a value file counts, and how much of it is wanted.

use std::collections::BTreeMap;

use redb::{ReadTransaction, TableError, WriteTransaction};

use crate::checkpoint::database::Definition;

/// By the number of the file, as a row: live (8), end (8), each big-endian, then the name of the table.
pub(in crate::checkpoint) const EXTENTS: Definition<'static> = Definition::new("checkpoint:values");

/// What a commit knows of one value file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::checkpoint) struct Extent {
    /// Bytes of values that a row points to.
    pub(super) live: u64,
    /// Bytes from the beginning that were written for a commit. What lies behind is not there.
    pub(super) end: u64,
    /// Whose values they are.
    pub(super) table: String,
}

impl Extent {
    /// Bytes of values that nobody wants any more.
    pub(super) const fn dead(&self) -> u64 {
        self.end.saturating_sub(self.live)
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = [self.live.to_be_bytes(), self.end.to_be_bytes()];
        [numbers.as_flattened(), self.table.as_bytes()].concat()
    }

    fn decode(row: &[u8]) -> Result<Self, redb::Error> {
        let wrong =
            || redb::Error::Corrupted("what it says of a value file makes no sense".to_owned());
        let (live, rest) = row.split_first_chunk().ok_or_else(wrong)?;
        let (end, table) = rest.split_first_chunk().ok_or_else(wrong)?;
        Ok(Self {
            live: u64::from_be_bytes(*live),
            end: u64::from_be_bytes(*end),
            table: String::from_utf8(table.to_vec()).map_err(|_| wrong())?,
        })
    }
}

/// What a commit knows of all value files, by number.
pub(in crate::checkpoint) type Extents = BTreeMap<u64, Extent>;

/// As of a commit.
pub(in crate::checkpoint) fn read_extents(
    transaction: &ReadTransaction,
) -> Result<Extents, redb::Error> {
    let rows = match transaction.open_table(EXTENTS) {
        Ok(rows) => rows,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Extents::new()),
        Err(error) => return Err(error.into()),
    };
    let mut extents = Extents::new();
    for row in rows.range::<&[u8]>(..)? {
        let (number, extent) = row?;
        let number = number.value().try_into().map(u64::from_be_bytes);
        let number =
            number.map_err(|_| redb::Error::Corrupted("a value file has no number".to_owned()))?;
        extents.insert(number, Extent::decode(extent.value())?);
    }
    Ok(extents)
}

/// Writes what a change makes of what a commit knew.
pub(super) fn write_changed(
    transaction: &WriteTransaction,
    before: &Extents,
    after: &Extents,
) -> Result<(), redb::Error> {
    if before == after {
        return Ok(());
    }
    let mut rows = transaction.open_table(EXTENTS)?;
    for number in before.keys().filter(|number| !after.contains_key(number)) {
        let _ = rows.remove(number.to_be_bytes().as_slice())?;
    }
    for (number, extent) in after {
        if before.get(number) != Some(extent) {
            let _ = rows.insert(number.to_be_bytes().as_slice(), extent.encode().as_slice())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extent_comes_back_as_it_was_and_no_part_of_one_does() {
        let extent = Extent {
            live: 5,
            end: 1 << 40,
            table: "payloads".to_owned(),
        };
        let row = extent.encode();
        assert_eq!(Extent::decode(&row).unwrap(), extent);
        for length in 0..16 {
            assert!(Extent::decode(&row[..length]).is_err());
        }
    }
}
