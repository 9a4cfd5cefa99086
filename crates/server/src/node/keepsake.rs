//! The node's note to itself: what it must still know after a crash, before its log can be read or trusted.
//!
//! The random number that makes a repeated join the same join is here before the first join; the cluster's timings
//! before the first group is opened with them; and where the other nodes were last reached, since the metadata says so
//! only as far as it is known to be committed, which after a crash may be nowhere near its end, and voters that cannot
//! find each other commit nothing more. A small TOML file with its format's number, always replaced as a whole, and with a
//! checksum in its last line, a comment: a flipped bit in an address or in a count of boots reads as well as any other.

use std::io;
use std::sync::Arc;

use leasehold_core::policy::Timings;
use leasehold_storage::{Disk, OpenMode, replace};
use leasehold_types::{Boot, BootCount, BootMark, NodeId, RegionName};
use serde::{Deserialize, Serialize};

use super::error::StartError;
use crate::cluster::Cluster;
use crate::seam::Entropy;

const FILE: &str = "node.toml";
/// The format of the note that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;
/// Longer than any that was written: a thousand nodes with the longest addresses.
const BYTES_MAX: u64 = 1024 * 1024;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keepsake {
    format: u32,
    /// Hexadecimal, since TOML has no numbers of 128 bits.
    nonce: String,
    /// Absent until the node belongs to a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<KnownPlace>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    peers: Vec<KnownPeer>,
}

/// What the node is to its cluster, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownPlace {
    /// Timings of every group.
    pub(super) timings: Timings,
    /// Where the node joined.
    pub(super) region: RegionName,
    /// Whether the node is still founding its cluster: a founding that was cut short goes on at the next start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_founding: bool,
}

/// Another node, as last heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownPeer {
    pub(super) node: NodeId,
    pub(super) boots: BootCount,
    #[serde(default)]
    pub(super) mark: BootMark,
    pub(super) address: String,
}

/// The one field that every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Keepsake {
    /// Reads the note, or writes a new one.
    pub(super) fn open(disk: &Arc<dyn Disk>, entropy: &dyn Entropy) -> Result<Self, StartError> {
        if let Some(text) = read(disk.as_ref()).map_err(failed)? {
            let head: Head = toml::from_str(&text).map_err(failed)?;
            // A newer format may be sealed in another way.
            if head.format != FORMAT {
                return Err(other_format(head.format));
            }
            let keepsake: Self = toml::from_str(unsealed(&text)?).map_err(failed)?;
            keepsake.parsed_nonce().map_err(failed)?;
            return Ok(keepsake);
        }
        let keepsake = Self {
            format: FORMAT,
            nonce: format!("{:032x}", entropy.next_128()),
            place: None,
            peers: Vec::new(),
        };
        keepsake.save(disk.as_ref()).map_err(failed)?;
        Ok(keepsake)
    }

    /// Drawn once for this folder.
    pub(super) fn nonce(&self) -> u128 {
        self.parsed_nonce().expect("checked when it was read")
    }

    /// Notes, durably, what the node is to its cluster and who else is there.
    pub(super) fn settle(
        &mut self,
        disk: &Arc<dyn Disk>,
        place: KnownPlace,
        peers: Vec<KnownPeer>,
    ) -> Result<(), StartError> {
        self.place = Some(place);
        self.peers = peers;
        self.save(disk.as_ref()).map_err(failed)
    }

    /// Notes, durably, that the cluster is founded.
    pub(super) fn founded(&mut self, disk: &Arc<dyn Disk>) -> Result<(), StartError> {
        if let Some(place) = &mut self.place {
            place.is_founding = false;
        }
        self.save(disk.as_ref()).map_err(failed)
    }

    /// The place of a node that belongs to a cluster.
    pub(super) fn place(&self) -> Result<&KnownPlace, StartError> {
        let place = self.place.as_ref();
        place.ok_or_else(|| failed("it does not say the timings of the cluster"))
    }

    /// The other nodes, as last heard of.
    pub(super) fn peers(&self) -> &[KnownPeer] {
        &self.peers
    }

    fn parsed_nonce(&self) -> Result<u128, std::num::ParseIntError> {
        u128::from_str_radix(&self.nonce, 16)
    }

    fn save(&self, disk: &dyn Disk) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        replace(disk, FILE, format!("{text}{}", seal(&text)).as_bytes())
    }
}

fn seal(text: &str) -> String {
    format!("# crc {:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// What the last line vouches for.
fn unsealed(text: &str) -> Result<&str, StartError> {
    let end = text.rfind("# crc ").unwrap_or(text.len());
    let (content, last) = text.split_at(end);
    match last == seal(content) {
        true => Ok(content),
        false => Err(failed("it does not match its checksum")),
    }
}

/// Keeps the note up to date with who is where. Runs for as long as the node does.
///
/// A failed write is no reason to stop: the note helps after a crash, and the log says what the disk is worth.
pub(super) async fn keep(cluster: Cluster, mut keepsake: Keepsake, disk: Arc<dyn Disk>) {
    let mut applied = cluster.applied();
    loop {
        let peers = cluster
            .peers()
            .heard_of()
            .into_iter()
            .map(KnownPeer::from)
            .collect();
        if keepsake.peers != peers {
            keepsake.peers = peers;
            if let Err(error) = keepsake.save(disk.as_ref()) {
                tracing::warn!(%error, file = FILE, "addresses of other nodes not noted");
            }
        }
        if applied.changed().await.is_err() {
            return;
        }
    }
}

impl From<(NodeId, Boot, String)> for KnownPeer {
    fn from((node, boot, address): (NodeId, Boot, String)) -> Self {
        Self {
            node,
            boots: boot.count,
            mark: boot.mark,
            address,
        }
    }
}

impl KnownPeer {
    /// The start that it was last heard of in.
    pub(super) fn boot(&self) -> Boot {
        Boot {
            count: self.boots,
            mark: self.mark,
        }
    }
}

fn other_format(found: u32) -> StartError {
    StartError::KeepsakeFormat {
        file: FILE,
        found,
        supported: FORMAT,
    }
}

fn failed(reason: impl ToString) -> StartError {
    StartError::Keepsake {
        file: FILE,
        reason: reason.to_string(),
    }
}

fn read(disk: &dyn Disk) -> io::Result<Option<String>> {
    let file = match disk.open(FILE, OpenMode::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.length()?.min(BYTES_MAX)).expect("a mebibyte");
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(filled as u64, &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    String::from_utf8(bytes).map(Some).map_err(io::Error::other)
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
        assert!(again.place().is_err());
        let place = KnownPlace {
            timings: Timings::Lan,
            region: "eu".parse().unwrap(),
            is_founding: false,
        };
        let boot = Boot {
            count: BootCount::new(3),
            mark: BootMark::new(u64::MAX >> 1),
        };
        let peer = (NodeId::new(8), boot, "a:1".to_owned());
        again.settle(&disk, place, vec![peer.into()]).unwrap();
        memory.crash();
        let last = Keepsake::open(&disk, &entropy).unwrap();
        assert_eq!(last, again);
        assert_eq!(last.nonce(), first.nonce());
    }

    #[test]
    fn note_of_another_format_is_refused_with_both_numbers_whatever_else_is_in_it() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        replace(disk.as_ref(), FILE, b"format = 9\nplaces = []\n").unwrap();
        let error = Keepsake::open(&disk, &SeededEntropy::new(1)).unwrap_err();
        let message = error.to_string();
        for part in [FILE, "format 9", "up to 1"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn any_flipped_bit_of_the_note_is_refused() {
        let memory = MemoryDisk::default();
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        let entropy = SeededEntropy::new(1);
        Keepsake::open(&disk, &entropy).unwrap();
        for bit in 0..memory.read(FILE).unwrap().len() as u64 * 8 {
            let damaged = memory.fork();
            damaged.flip_bit(FILE, bit).unwrap();
            let disk: Arc<dyn Disk> = Arc::new(damaged);
            assert!(Keepsake::open(&disk, &entropy).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn damaged_note_is_refused_with_its_name() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        replace(disk.as_ref(), FILE, b"format = 1\nnonce = 'no number'").unwrap();
        let error = Keepsake::open(&disk, &SeededEntropy::new(1)).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
