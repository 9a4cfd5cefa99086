//! A folder of the operating system, held by one process at a time.
//!
//! Two processes on one data folder would vote twice, so opening takes an exclusive `flock` on a lock file that
//! lives as long as the [`OsDisk`]; the kernel lets go of it when the process dies, however it dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, fstatvfs};

use super::{Disk, DiskFile, DiskSpace, OpenMode, check_name};

const LOCK: &str = "LOCK";

/// Why a folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenDiskError {
    /// Another process has it.
    #[error(
        "data folder {} is in use by another process: stop that process, or give this one a folder of its own",
        folder.display()
    )]
    Locked {
        /// The folder asked for.
        folder: PathBuf,
    },
    /// The operating system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A folder of the operating system. Dropping it lets the lock go.
#[derive(Debug)]
pub struct OsDisk {
    folder: PathBuf,
    handle: File,
    _lock: File,
}

impl OsDisk {
    /// Opens a folder, creates it when it is missing (durably, with its parents), and takes its lock.
    ///
    /// # Errors
    /// [`OpenDiskError::Locked`] when another process holds the folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenDiskError> {
        let folder = path.as_ref().to_owned();
        create_folder(&folder)?;
        let lock = take_lock(&folder)?;
        let handle = File::open(&folder).map_err(failed("open", &folder))?;
        Ok(Self {
            folder,
            handle,
            _lock: lock,
        })
    }

    /// The folder's path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.folder.join(name))
    }
}

fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> OpenDiskError + 'a {
    move |source| OpenDiskError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Creates what is missing of a path, from the top down, and syncs the parent of each folder made: a folder whose
/// name was not synced takes everything below it along when power fails.
fn create_folder(folder: &Path) -> Result<(), OpenDiskError> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.is_dir())
        .collect();
    for path in missing.into_iter().rev() {
        match std::fs::create_dir(path) {
            Ok(()) => sync_parent(path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(failed("create", path)(error)),
        }
    }
    Ok(())
}

fn sync_parent(path: &Path) -> Result<(), OpenDiskError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync", parent))
}

fn take_lock(folder: &Path) -> Result<File, OpenDiskError> {
    let path = folder.join(LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenDiskError::Locked {
            folder: folder.to_owned(),
        }),
        Err(error) => Err(failed("lock", &path)(error.into())),
    }
}

impl Disk for OsDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != LOCK {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let is_new = mode == OpenMode::Create;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(is_new)
            .truncate(is_new)
            .open(self.path(name)?)?;
        Ok(Box::new(OsFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from)?, self.path(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name)?)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let stat = fstatvfs(&self.handle)?;
        Ok(DiskSpace {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

struct OsFile(File);

impl DiskFile for OsFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_opener_of_a_folder_is_told_which_and_what_to_do() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a").join("b");
        let first = OsDisk::open(&folder).unwrap();
        let error = OsDisk::open(&folder).unwrap_err();
        assert!(matches!(error, OpenDiskError::Locked { .. }));
        let message = error.to_string();
        assert!(
            message.contains("a/b") && message.contains("stop that process"),
            "{message}"
        );
        drop(first);
        OsDisk::open(&folder).unwrap();
    }

    #[test]
    fn lock_file_is_not_listed_and_names_are_sorted() {
        let parent = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(parent.path()).unwrap();
        for name in ["b", "a"] {
            disk.open(name, OpenMode::Create).unwrap();
        }
        assert_eq!(disk.list().unwrap(), ["a", "b"]);
        let space = disk.space().unwrap();
        assert!(space.free > 0 && space.free <= space.total, "{space:?}");
    }

    #[test]
    fn name_that_leaves_the_folder_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(parent.path()).unwrap();
        for name in ["../x", "", ".", "a/b"] {
            let error = disk.open(name, OpenMode::Create).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
