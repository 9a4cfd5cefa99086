//! Where a value lies, and what it must be.

/// Length of a pointer as a row, in bytes.
const BYTES: usize = 24;

/// What the tree holds of a value: file (8), offset (8), length (4), checksum of the bytes (4), each number big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkpoint) struct Pointer {
    /// The number of the file.
    pub(in crate::checkpoint) file: u64,
    /// Of its first byte in the file.
    pub(super) offset: u64,
    /// In bytes.
    pub(in crate::checkpoint) length: u32,
    pub(super) checksum: u32,
}

impl Pointer {
    pub(in crate::checkpoint) fn encode(self) -> [u8; BYTES] {
        let mut row = [0; BYTES];
        row[..8].copy_from_slice(&self.file.to_be_bytes());
        row[8..16].copy_from_slice(&self.offset.to_be_bytes());
        row[16..20].copy_from_slice(&self.length.to_be_bytes());
        row[20..].copy_from_slice(&self.checksum.to_be_bytes());
        row
    }

    /// Reads back what [`Pointer::encode`] gave.
    pub(in crate::checkpoint) fn decode(row: &[u8]) -> Result<Self, redb::Error> {
        let why = || redb::Error::Corrupted("a pointer to a value has no 24 bytes".to_owned());
        let row: &[u8; BYTES] = row.try_into().map_err(|_| why())?;
        let long = |at: usize| u64::from_be_bytes(row[at..at + 8].try_into().expect("8 bytes"));
        let short = |at: usize| u32::from_be_bytes(row[at..at + 4].try_into().expect("4 bytes"));
        Ok(Self {
            file: long(0),
            offset: long(8),
            length: short(16),
            checksum: short(20),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_comes_back_as_it_was_and_none_of_another_length_does() {
        let pointer = Pointer {
            file: 1 << 40,
            offset: 2 << 33,
            length: 3 << 20,
            checksum: 0xdead_beef,
        };
        let row = pointer.encode();
        assert_eq!(Pointer::decode(&row).unwrap(), pointer);
        assert!(Pointer::decode(&row[1..]).is_err());
    }
}
