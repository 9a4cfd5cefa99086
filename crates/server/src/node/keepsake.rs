//! The node's note to itself: what it must still know after a crash, before its log can be read.
//!
//! The random number that makes a repeated join the same join is here before the first join, and the cluster's timings
//! before the first group is opened with them. A small TOML file, always replaced as a whole.

use std::sync::Arc;

use leasehold_core::policy::Timings;
use leasehold_storage::{Disk, OpenMode};
use serde::{Deserialize, Serialize};

use super::error::StartError;
use crate::seam::Entropy;

const FILE: &str = "node.toml";
const TEMPORARY: &str = "node.toml.tmp";
/// Longer than any that was written.
const BYTES_MAX: u64 = 4_096;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keepsake {
    /// Hexadecimal, since TOML has no numbers of 128 bits.
    nonce: String,
    /// What the cluster was founded with; absent until the node belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timings: Option<Timings>,
}

impl Keepsake {
    /// Reads the note, or writes a new one.
    pub(super) fn open(disk: &Arc<dyn Disk>, entropy: &dyn Entropy) -> Result<Self, StartError> {
        if let Some(text) = read(disk.as_ref()).map_err(failed)? {
            let keepsake: Self = toml::from_str(&text).map_err(failed)?;
            keepsake.parsed_nonce().map_err(failed)?;
            return Ok(keepsake);
        }
        let keepsake = Self {
            nonce: format!("{:032x}", entropy.next_128()),
            timings: None,
        };
        keepsake.save(disk)?;
        Ok(keepsake)
    }

    /// Drawn once for this folder.
    pub(super) fn nonce(&self) -> u128 {
        self.parsed_nonce().expect("checked when it was read")
    }

    /// Notes the cluster's timings, durably.
    pub(super) fn set_timings(&mut self, disk: &Arc<dyn Disk>, timings: Timings) -> Result<(), StartError> {
        self.timings = Some(timings);
        self.save(disk)
    }

    /// The timings of a node that belongs to a cluster.
    pub(super) fn known_timings(&self) -> Result<Timings, StartError> {
        self.timings.ok_or_else(|| failed("it does not say the timings of the cluster"))
    }

    fn parsed_nonce(&self) -> Result<u128, std::num::ParseIntError> {
        u128::from_str_radix(&self.nonce, 16)
    }

    fn save(&self, disk: &Arc<dyn Disk>) -> Result<(), StartError> {
        let text = toml::to_string(self).map_err(failed)?;
        write(disk.as_ref(), &text).map_err(failed)
    }
}

fn failed(reason: impl ToString) -> StartError {
    StartError::Keepsake {
        file: FILE,
        reason: reason.to_string(),
    }
}

fn read(disk: &dyn Disk) -> std::io::Result<Option<String>> {
    let file = match disk.open(FILE, OpenMode::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.length()?.min(BYTES_MAX)).expect("a few KiB");
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(filled as u64, &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    String::from_utf8(bytes).map(Some).map_err(std::io::Error::other)
}

fn write(disk: &dyn Disk, text: &str) -> std::io::Result<()> {
    let file = disk.open(TEMPORARY, OpenMode::Create)?;
    file.write_at(0, text.as_bytes())?;
    file.sync()?;
    disk.rename(TEMPORARY, FILE)?;
    disk.sync_folder()
}

#[cfg(test)]
mod tests {
    use leasehold_storage::MemoryDisk;

    use super::*;
    use crate::seam::SeededEntropy;

    #[test]
    fn note_is_written_once_and_survives_a_crash() {
        let memory = MemoryDisk::default();
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        let entropy = SeededEntropy::new(1);
        let first = Keepsake::open(&disk, &entropy).unwrap();
        memory.crash();
        let mut again = Keepsake::open(&disk, &entropy).unwrap();
        assert_eq!(again.nonce(), first.nonce());
        assert!(again.known_timings().is_err());
        again.set_timings(&disk, Timings::Lan).unwrap();
        memory.crash();
        let last = Keepsake::open(&disk, &entropy).unwrap();
        assert_eq!(last.known_timings().unwrap(), Timings::Lan);
        assert_eq!(last.nonce(), first.nonce());
    }

    #[test]
    fn damaged_note_is_refused_with_its_name() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        write(disk.as_ref(), "nonce = 'no number'").unwrap();
        let error = Keepsake::open(&disk, &SeededEntropy::new(1)).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
