//! The one seam to files: a [`Disk`] is one folder, a [`DiskFile`] one open file in it.
//!
//! Everything durable in Leasehold goes through these two traits, so that the same code runs over a real folder
//! ([`OsDisk`]) and over a simulated one that forgets what was not synced ([`MemoryDisk`]).
//!
//! What an implementation promises:
//! - Bytes are durable once [`DiskFile::sync`] returned, names once [`Disk::sync_folder`] returned; before that a
//!   power failure may keep any part of them. A synced file whose name was not synced is gone.
//! - A write does not harm bytes outside its range, not even when power fails in the middle of it (SQLite calls
//!   this *powersafe overwrite*); inside its range any sectors may have landed.
//! - Names are plain: no folders below the folder.

use std::io;

mod memory;
mod os;

pub use memory::MemoryDisk;
pub use os::{OpenDiskError, OsDisk};

/// How a file is opened. It can always be read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Makes an empty file, in place of one that has the name.
    Create,
    /// Opens a file that is there; `NotFound` when it is not.
    Existing,
}

/// One folder of files.
pub trait Disk: Send + Sync + 'static {
    /// The names in the folder, sorted. The lock file is left out.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens one file.
    ///
    /// # Errors
    /// `NotFound` for a missing file in [`OpenMode::Existing`], `InvalidInput` for a name that is not plain.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file, in place of one that has the new name. Durable after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// `NotFound` when `from` is missing.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. Open handles go on working. Durable after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// `NotFound` when it is missing.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the folder's names durable.
    ///
    /// # Errors
    /// When the folder could not be synced; what was created, renamed or removed may then be lost.
    fn sync_folder(&self) -> io::Result<()>;

    /// How much room the volume has that the folder is on.
    ///
    /// # Errors
    /// When the file system does not say.
    fn space(&self) -> io::Result<DiskSpace>;
}

/// Room on a volume, in bytes. Others may use it too: what is free now may be gone at the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process can still write before the volume is full.
    pub free: u64,
    /// What the volume holds in all.
    pub total: u64,
}

/// One open file. Reads and writes name their offset, so a handle is shared without a lock.
pub trait DiskFile: Send + Sync {
    /// Writes all bytes at an offset; the file grows when needed.
    ///
    /// # Errors
    /// `StorageFull` when there is no room. Part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to `buf.len()` bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// When the device cannot give the bytes.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Makes the file's bytes and its length durable (`fdatasync`).
    ///
    /// # Errors
    /// After an error the unsynced bytes must be taken for lost: a second sync may return without having written
    /// them (see "Can Applications Recover from fsync Failures?", Rebello et al., 2020).
    fn sync(&self) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// When the file system does not say.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// `StorageFull` when there is no room.
    fn set_length(&self, length: u64) -> io::Result<()>;
}

/// Whether an error says that there was no room: on the volume, or in what this process may take of it.
pub(crate) fn is_for_space(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    [StorageFull, QuotaExceeded, FileTooLarge].contains(&kind)
}

/// Suffix of a file that is being written and not yet in its place.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Fills `buf` from an offset; `UnexpectedEof` when the file ends before.
pub(crate) fn read_exact_at(file: &dyn DiskFile, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    if read_up_to(file, offset, buf)? == buf.len() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!(
            "file ends before the {} bytes at offset {offset}",
            buf.len()
        ),
    ))
}

/// Reads until `buf` is full or the file ends, and says how many bytes there were.
pub(crate) fn read_up_to(
    file: &dyn DiskFile,
    mut offset: u64,
    buf: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(offset, &mut buf[filled..]) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The whole content of a file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).map_err(io::Error::other)?;
    let mut content = vec![0; length];
    let filled = read_up_to(file, 0, &mut content)?;
    content.truncate(filled);
    Ok(content)
}

/// Puts `bytes` under `name` so that, whatever happens, either the old content or the new is there. Uses the name with
/// `.tmp` behind it on the way.
///
/// # Errors
/// When the disk fails; the old content is there then, or the new, and which is not known.
pub fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}{TEMPORARY}");
    let file = create_temporary(disk, &temporary)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(&temporary, name)?;
    disk.sync_folder()
}

/// Begins a temporary file afresh.
///
/// SUBTLE: one that a crash left behind is removed, not written over. Where a rename is not one step for the disk, the
/// crash can leave both names, and both name the file that is in use.
pub(crate) fn create_temporary(disk: &dyn Disk, temporary: &str) -> io::Result<Box<dyn DiskFile>> {
    match disk.remove(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => disk.open(temporary, OpenMode::Create),
    }
}

/// Refuses what is not the plain name of a file.
fn check_name(name: &str) -> io::Result<()> {
    let is_plain = !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if is_plain {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("file name {name:?} is not plain: use letters, digits, dash, underscore and dot"),
    ))
}
