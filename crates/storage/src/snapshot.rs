//! The newest snapshot of each group, one file a group.
//!
//! A snapshot is written beside the one that is there, synced, renamed over it, and the folder synced: whatever
//! happens, the old one or the new one is there, whole. Its body is cut into chunks, each with a checksum that also
//! covers the chunk's place, so that damage is found where it is and a chunk never passes for another.
//!
//! Unlike the log's, a failed save may be repeated: it starts again with a new file, and nothing that was
//! acknowledged rests on the old attempt.
//!
//! File: magic (8), format (4), group (4), length of the header (8), length of the body (8), checksum (4); then the
//! caller's header and the chunks of the body, each as length (4), checksum (4), bytes. Numbers are little-endian.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use leasehold_types::GroupId;

use crate::disk::{Disk, DiskFile, OpenMode, TEMPORARY, read_up_to};

/// The format that this version writes, and the newest that it reads.
pub const SNAPSHOT_FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"LEASESNP";
const HEAD: usize = 36;
const CHUNK_HEAD: usize = 8;
/// A longer run of bytes is cut into chunks of this many.
const CHUNK_BYTES: usize = 1024 * 1024;
const PREFIX: &str = "snapshot-";

/// Why a snapshot could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// What is in the file is not what was written.
    #[error(
        "snapshot file {file} is damaged at offset {offset} ({reason}): restore it from a backup, or remove this node from the cluster and add it again with an empty folder"
    )]
    Corrupt {
        /// Which file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Written by a later version of Leasehold.
    #[error(
        "snapshot file {file} has format {found}, this version reads up to {supported}: start the newer version that wrote it"
    )]
    NewerFormat {
        /// Which file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The disk said no.
    #[error("cannot {action} snapshot file {file}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
}

/// The snapshots in one folder. The folder may hold other things too.
pub struct SnapshotStore {
    disk: Arc<dyn Disk>,
    /// One lock a group: two saves of one group would share a temporary file.
    saving: Mutex<BTreeMap<GroupId, Arc<Mutex<()>>>>,
}

impl SnapshotStore {
    /// Uses a folder, and gives back the space of saves that were cut short.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        remove_leftovers(disk.as_ref());
        let saving = Mutex::default();
        Self { disk, saving }
    }

    /// Saves a group's snapshot in place of its last one. When this returns, it is durable.
    ///
    /// # Errors
    /// The last one is then still there, and the save may be repeated.
    pub fn save(&self, group: GroupId, header: Bytes, body: Bytes) -> Result<(), SnapshotError> {
        self.save_chunks(group, header, [body])
    }

    /// Saves a snapshot whose body comes in pieces, so that it never has to be in memory as a whole.
    ///
    /// # Errors
    /// As [`SnapshotStore::save`].
    ///
    /// # Panics
    /// When `chunks` panics.
    pub fn save_chunks(
        &self,
        group: GroupId,
        header: Bytes,
        chunks: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), SnapshotError> {
        let lock = self.lock_of(group);
        let _saving = lock.lock().expect("no saver of a snapshot panics");
        let file = file_name(group);
        let temporary = format!("{file}{TEMPORARY}");
        let saved = write_snapshot(self.disk.as_ref(), &temporary, group, &header, chunks)
            .and_then(|()| self.disk.rename(&temporary, &file))
            .and_then(|()| self.disk.sync_folder());
        saved.map_err(|source| {
            // Its space may be what others are waiting for; that it may be gone already is no error.
            let _ = self.disk.remove(&temporary);
            failed("save", &file, source)
        })
    }

    fn lock_of(&self, group: GroupId) -> Arc<Mutex<()>> {
        let mut saving = self.saving.lock().expect("no holder of this lock panics");
        Arc::clone(saving.entry(group).or_default())
    }

    /// The header and body of a group's snapshot; `None` when it has none.
    ///
    /// # Errors
    /// [`SnapshotError::Corrupt`] names the file and the offset. Nothing damaged is ever returned.
    pub fn load(&self, group: GroupId) -> Result<Option<(Bytes, Bytes)>, SnapshotError> {
        let name = file_name(group);
        let file = match self.disk.open(&name, OpenMode::Existing) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &name, error)),
        };
        Reader::new(file.as_ref(), name, group).load().map(Some)
    }

    /// Removes a group's snapshot, durably. That there is none is no error.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, group: GroupId) -> Result<(), SnapshotError> {
        let name = file_name(group);
        match self.disk.remove(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed,
        }
        .and_then(|()| self.disk.sync_folder())
        .map_err(|source| failed("remove", &name, source))
    }
}

fn file_name(group: GroupId) -> String {
    format!("{PREFIX}{group}")
}

fn failed(action: &'static str, file: &str, source: io::Error) -> SnapshotError {
    let file = file.to_owned();
    SnapshotError::Io {
        action,
        file,
        source,
    }
}

fn remove_leftovers(disk: &dyn Disk) {
    let is_leftover = |name: &String| name.starts_with(PREFIX) && name.ends_with(TEMPORARY);
    let removed = disk.list().and_then(|names| {
        let mut leftovers = names.iter().filter(|name| is_leftover(name));
        leftovers.try_for_each(|name| disk.remove(name))
    });
    if let Err(error) = removed {
        tracing::warn!(%error, "cannot remove unfinished snapshots");
    }
}

/// A chunk's checksum covers the group and the offset as well.
fn chunk_checksum(group: GroupId, offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&group.get().to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn write_snapshot(
    disk: &dyn Disk,
    name: &str,
    group: GroupId,
    header: &Bytes,
    chunks: impl IntoIterator<Item = Bytes>,
) -> io::Result<()> {
    let file = disk.open(name, OpenMode::Create)?;
    let mut writer = Writer {
        file: file.as_ref(),
        group,
        offset: HEAD as u64,
    };
    writer.write(header)?;
    let mut body = 0;
    for chunk in chunks {
        writer.write(&chunk)?;
        body += chunk.len() as u64;
    }
    file.write_at(0, &encode_head(group, header.len() as u64, body))?;
    file.sync()
}

fn encode_head(group: GroupId, header: u64, body: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
    head[12..16].copy_from_slice(&group.get().to_le_bytes());
    head[16..24].copy_from_slice(&header.to_le_bytes());
    head[24..32].copy_from_slice(&body.to_le_bytes());
    let checksum = crc32fast::hash(&head[..32]);
    head[32..].copy_from_slice(&checksum.to_le_bytes());
    head
}

struct Writer<'a> {
    file: &'a dyn DiskFile,
    group: GroupId,
    offset: u64,
}

impl Writer<'_> {
    fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        bytes
            .chunks(CHUNK_BYTES)
            .try_for_each(|chunk| self.write_chunk(chunk))
    }

    fn write_chunk(&mut self, chunk: &[u8]) -> io::Result<()> {
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        let checksum = chunk_checksum(self.group, self.offset, chunk);
        let mut framed = Vec::with_capacity(CHUNK_HEAD + chunk.len());
        framed.extend_from_slice(&length.to_le_bytes());
        framed.extend_from_slice(&checksum.to_le_bytes());
        framed.extend_from_slice(chunk);
        self.file.write_at(self.offset, &framed)?;
        self.offset += framed.len() as u64;
        Ok(())
    }
}

struct Reader<'a> {
    file: &'a dyn DiskFile,
    name: String,
    group: GroupId,
    offset: u64,
}

impl<'a> Reader<'a> {
    fn new(file: &'a dyn DiskFile, name: String, group: GroupId) -> Self {
        Self {
            file,
            name,
            group,
            offset: 0,
        }
    }

    fn load(mut self) -> Result<(Bytes, Bytes), SnapshotError> {
        let (header, body) = self.head()?;
        self.offset = HEAD as u64;
        let header = self.run(header)?;
        let body = self.run(body)?;
        let length = self.file.length().map_err(|error| self.io(error))?;
        if length != self.offset {
            return Err(self.corrupt("the file goes on after its end"));
        }
        Ok((header, body))
    }

    /// The lengths of the header and of the body.
    fn head(&self) -> Result<(u64, u64), SnapshotError> {
        let mut head = [0; HEAD];
        self.fill(&mut head, 0)?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
        if head[..8] != MAGIC || number(32) != crc32fast::hash(&head[..32]) {
            return Err(self.corrupt("its head does not match its checksum"));
        }
        if number(8) > SNAPSHOT_FORMAT {
            return Err(SnapshotError::NewerFormat {
                file: self.name.clone(),
                found: number(8),
                supported: SNAPSHOT_FORMAT,
            });
        }
        if number(12) != self.group.get() {
            return Err(self.corrupt("it is the snapshot of another group"));
        }
        Ok((long(16), long(24)))
    }

    fn run(&mut self, length: u64) -> Result<Bytes, SnapshotError> {
        let limit = self.file.length().map_err(|error| self.io(error))?;
        if length > limit {
            return Err(self.corrupt("the file ends too early"));
        }
        let length = usize::try_from(length).map_err(|_| self.corrupt("it is too large"))?;
        let mut run = BytesMut::zeroed(length);
        let mut filled = 0;
        while filled < length {
            filled += self.chunk(&mut run[filled..])?;
        }
        Ok(run.freeze())
    }

    /// Reads one chunk to the front of `run`; says how long it was.
    fn chunk(&mut self, run: &mut [u8]) -> Result<usize, SnapshotError> {
        let mut head = [0; CHUNK_HEAD];
        self.fill(&mut head, self.offset)?;
        let length = u32::from_le_bytes(head[..4].try_into().expect("4 bytes"));
        let checksum = u32::from_le_bytes(head[4..].try_into().expect("4 bytes"));
        let length = usize::try_from(length).map_err(|_| self.corrupt("a chunk is too large"))?;
        if length == 0 || length > run.len() {
            return Err(self.corrupt("the length of a chunk does not fit"));
        }
        self.fill(&mut run[..length], self.offset + CHUNK_HEAD as u64)?;
        if chunk_checksum(self.group, self.offset, &run[..length]) != checksum {
            return Err(self.corrupt("a chunk does not match its checksum"));
        }
        self.offset += (CHUNK_HEAD + length) as u64;
        Ok(length)
    }

    fn fill(&self, buf: &mut [u8], offset: u64) -> Result<(), SnapshotError> {
        let filled = read_up_to(self.file, offset, buf).map_err(|error| self.io(error))?;
        if filled < buf.len() {
            return Err(self.corrupt("the file ends too early"));
        }
        Ok(())
    }

    fn io(&self, source: io::Error) -> SnapshotError {
        failed("read", &self.name, source)
    }

    fn corrupt(&self, reason: &'static str) -> SnapshotError {
        SnapshotError::Corrupt {
            file: self.name.clone(),
            offset: self.offset,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    const GROUP: GroupId = GroupId::new(3);

    fn store(disk: &MemoryDisk) -> SnapshotStore {
        SnapshotStore::new(Arc::new(disk.clone()))
    }

    fn pair(header: &'static str, length: usize) -> (Bytes, Bytes) {
        (
            Bytes::from_static(header.as_bytes()),
            vec![5; length].into(),
        )
    }

    #[test]
    fn newest_snapshot_survives_a_crash_whatever_its_size() {
        let disk = MemoryDisk::new();
        assert!(store(&disk).load(GROUP).unwrap().is_none());
        for length in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let (header, body) = pair("h", length);
            store(&disk)
                .save(GROUP, header.clone(), body.clone())
                .unwrap();
            disk.crash();
            assert_eq!(store(&disk).load(GROUP).unwrap(), Some((header, body)));
        }
        store(&disk).remove(GROUP).unwrap();
        disk.crash();
        assert!(store(&disk).load(GROUP).unwrap().is_none());
    }

    #[test]
    fn body_in_pieces_reads_as_one() {
        let disk = MemoryDisk::new();
        let pieces = ["a", "", "bc"].map(|piece| Bytes::from_static(piece.as_bytes()));
        store(&disk)
            .save_chunks(GROUP, Bytes::new(), pieces)
            .unwrap();
        let (header, body) = store(&disk).load(GROUP).unwrap().unwrap();
        assert_eq!((header.as_ref(), body.as_ref()), (&b""[..], &b"abc"[..]));
    }

    #[test]
    fn failed_save_keeps_the_old_one_and_can_be_repeated() {
        let disk = MemoryDisk::new();
        let (header, body) = pair("old", 10);
        store(&disk)
            .save(GROUP, header.clone(), body.clone())
            .unwrap();
        disk.set_capacity(Some(600));
        let error = store(&disk)
            .save(GROUP, Bytes::new(), vec![1; 5000].into())
            .unwrap_err();
        assert!(error.to_string().contains("snapshot-g3"), "{error}");
        assert_eq!(store(&disk).load(GROUP).unwrap(), Some((header, body)));
        disk.set_capacity(None);
        store(&disk)
            .save(GROUP, Bytes::new(), vec![1; 5000].into())
            .unwrap();
        assert_eq!(disk.list().unwrap(), ["snapshot-g3"]);
    }

    #[test]
    fn save_cut_short_anywhere_leaves_the_old_one_or_the_new() {
        for seed in 0..100 {
            let disk = MemoryDisk::new();
            let (old, new) = (pair("old", 2000), pair("new", 3000));
            store(&disk)
                .save(GROUP, old.0.clone(), old.1.clone())
                .unwrap();
            disk.crash_in_sync(seed % 3, seed);
            let _ = store(&disk).save(GROUP, new.0.clone(), new.1.clone());
            disk.crash_torn(seed);
            let found = store(&disk).load(GROUP).unwrap().unwrap();
            assert!(found == old || found == new, "seed {seed}");
        }
    }

    #[test]
    fn any_flipped_bit_is_refused_with_file_and_offset() {
        let disk = MemoryDisk::new();
        let (header, body) = pair("header", 100);
        store(&disk).save(GROUP, header, body).unwrap();
        let name = file_name(GROUP);
        for bit in 0..disk.read(&name).unwrap().len() as u64 * 8 {
            let disk = disk.fork();
            disk.flip_bit(&name, bit).unwrap();
            let error = store(&disk).load(GROUP).unwrap_err();
            assert!(
                matches!(error, SnapshotError::Corrupt { .. }),
                "bit {bit}: {error}"
            );
            assert!(error.to_string().contains("snapshot-g3"));
        }
    }

    #[test]
    fn snapshot_of_a_newer_format_is_refused_with_both_numbers() {
        let disk = MemoryDisk::new();
        let file = disk.open(&file_name(GROUP), OpenMode::Create).unwrap();
        let mut head = encode_head(GROUP, 0, 0);
        head[8..12].copy_from_slice(&7_u32.to_le_bytes());
        let checksum = crc32fast::hash(&head[..32]);
        head[32..].copy_from_slice(&checksum.to_le_bytes());
        file.write_at(0, &head).unwrap();
        let error = store(&disk).load(GROUP).unwrap_err();
        assert!(matches!(
            error,
            SnapshotError::NewerFormat {
                found: 7,
                supported: SNAPSHOT_FORMAT,
                ..
            }
        ));
    }

    #[test]
    fn snapshot_put_under_another_groups_name_is_refused() {
        let disk = MemoryDisk::new();
        store(&disk)
            .save(GROUP, Bytes::new(), Bytes::new())
            .unwrap();
        let other = GroupId::new(4);
        disk.rename(&file_name(GROUP), &file_name(other)).unwrap();
        assert!(store(&disk).load(other).is_err());
    }
}
