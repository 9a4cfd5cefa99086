//! What makes a folder one node's: its format version, who it belongs to, and how often it was opened.
//!
//! The three live in small text files. The boot counter is raised, durably, before anything else may be written: a
//! peer that has seen boot 7 of a node refuses its boot 6, so a data folder restored from an old copy cannot vote
//! for a second time in a term in which it has voted before.
//!
//! What must hold: a folder that is not empty and not ours is never touched, a newer format is never opened, and an
//! identity once set never changes.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use leasehold_types::{BootCount, ClusterId, NodeId};

use crate::disk::{Disk, TEMPORARY};
use crate::sheet::{self, Sheet, SheetError};

/// The format of a data folder that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_TITLE: &str = "leasehold data folder";
const IDENTITY_FILE: &str = "identity";
const IDENTITY_TITLE: &str = "leasehold node";
const BOOTS_FILE: &str = "boots";
const BOOTS_TITLE: &str = "leasehold boots";
/// Made by the file system itself in the root of a volume.
const NOT_OURS_BUT_HARMLESS: &str = "lost+found";

/// Whose data a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that the node belongs to.
    pub cluster: ClusterId,
    /// Which of its nodes it is.
    pub node: NodeId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster)
    }
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something else lives there.
    #[error(
        "data folder is not empty and has no {FORMAT_FILE} file (found {found}): name an empty folder, or the right one"
    )]
    Foreign {
        /// The first names found.
        found: String,
    },
    /// Written by a later version of Leasehold.
    #[error(
        "data folder has format {found}, this version reads up to {supported}: start the newer version that wrote it"
    )]
    NewerFormat {
        /// The format of the folder.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// One of the small files is missing, or is not what was written.
    #[error(
        "file {file} of the data folder is damaged ({reason}): restore it from a backup, or remove this node from the cluster and add it again with an empty folder"
    )]
    Damaged {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder belongs to another node.
    #[error(
        "data folder belongs to {held}, not to {given}: name the folder of this node, or an empty one"
    )]
    OtherIdentity {
        /// Whose it is.
        held: Identity,
        /// Whose it was said to be.
        given: Identity,
    },
    /// The disk said no.
    #[error("cannot {action} {file} of the data folder")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        file: &'static str,
        /// What the disk said.
        source: io::Error,
    },
}

/// A folder that was checked and is one node's, or will be.
pub struct DataFolder {
    disk: Arc<dyn Disk>,
    boots: BootCount,
    identity: Mutex<Option<Identity>>,
}

impl DataFolder {
    /// Checks a folder, makes an empty one ours, and raises its boot counter.
    ///
    /// # Errors
    /// [`FolderError`] says what is wrong with the folder and the way out; nothing in it was changed then.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, FolderError> {
        let is_new = check_format(disk.as_ref())?;
        let identity = read_identity(disk.as_ref())?;
        let boots = read_boots(disk.as_ref())?;
        let boots = match (boots, identity) {
            (Some(boots), _) => boots,
            (None, None) => 0,
            (None, Some(_)) => return Err(damaged(BOOTS_FILE, "it is missing")),
        };
        if is_new {
            let lines = [("format", FORMAT.to_string())];
            write(disk.as_ref(), FORMAT_FILE, FORMAT_TITLE, &lines)?;
        }
        let lines = [("boots", (boots + 1).to_string())];
        write(disk.as_ref(), BOOTS_FILE, BOOTS_TITLE, &lines)?;
        Ok(Self {
            disk,
            boots: BootCount::new(boots + 1),
            identity: Mutex::new(identity),
        })
    }

    /// How often the folder was opened, this time included.
    #[must_use]
    pub fn boots(&self) -> BootCount {
        self.boots
    }

    /// Whose folder it is; none until the node has joined a cluster.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        *self.identity.lock().expect("no holder of this lock panics")
    }

    /// Says, durably, whose folder it is. Saying the same again changes nothing.
    ///
    /// # Errors
    /// [`FolderError::OtherIdentity`] when it belongs to another node already.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn set_identity(&self, given: Identity) -> Result<(), FolderError> {
        let mut identity = self.identity.lock().expect("no holder of this lock panics");
        match *identity {
            Some(held) if held == given => return Ok(()),
            Some(held) => return Err(FolderError::OtherIdentity { held, given }),
            None => {}
        }
        let lines = [
            ("cluster", given.cluster.to_string()),
            ("node", given.node.to_string()),
        ];
        write(self.disk.as_ref(), IDENTITY_FILE, IDENTITY_TITLE, &lines)?;
        *identity = Some(given);
        Ok(())
    }
}

/// Whether the folder is a new one; refuses one that is not ours to touch.
fn check_format(disk: &dyn Disk) -> Result<bool, FolderError> {
    let Some(sheet) = read(disk, FORMAT_FILE, FORMAT_TITLE)? else {
        refuse_foreign(disk)?;
        return Ok(true);
    };
    let found = line::<u32>(&sheet, FORMAT_FILE, "format")?;
    match found {
        0 => Err(damaged(FORMAT_FILE, "it names format 0")),
        found if found > FORMAT => Err(FolderError::NewerFormat {
            found,
            supported: FORMAT,
        }),
        1.. => Ok(false),
    }
}

/// A first start that was cut short leaves at most the temporary file of the format; all else is somebody's.
fn refuse_foreign(disk: &dyn Disk) -> Result<(), FolderError> {
    let started = format!("{FORMAT_FILE}{TEMPORARY}");
    let mut names = disk.list().map_err(failed("list", "the files"))?;
    names.retain(|name| *name != started && name != NOT_OURS_BUT_HARMLESS);
    if names.is_empty() {
        return Ok(());
    }
    names.truncate(3);
    let found = names.join(", ");
    Err(FolderError::Foreign { found })
}

fn read_identity(disk: &dyn Disk) -> Result<Option<Identity>, FolderError> {
    let Some(sheet) = read(disk, IDENTITY_FILE, IDENTITY_TITLE)? else {
        return Ok(None);
    };
    Ok(Some(Identity {
        cluster: line(&sheet, IDENTITY_FILE, "cluster")?,
        node: line(&sheet, IDENTITY_FILE, "node")?,
    }))
}

fn read_boots(disk: &dyn Disk) -> Result<Option<u64>, FolderError> {
    read(disk, BOOTS_FILE, BOOTS_TITLE)?
        .map(|sheet| line(&sheet, BOOTS_FILE, "boots"))
        .transpose()
}

fn read(
    disk: &dyn Disk,
    file: &'static str,
    title: &'static str,
) -> Result<Option<Sheet>, FolderError> {
    sheet::read(disk, file, title).map_err(|error| unusable(file, error))
}

fn line<T: std::str::FromStr>(
    sheet: &Sheet,
    file: &'static str,
    word: &'static str,
) -> Result<T, FolderError> {
    sheet.get(word).map_err(|error| unusable(file, error))
}

fn write(
    disk: &dyn Disk,
    file: &'static str,
    title: &str,
    lines: &[(&str, String)],
) -> Result<(), FolderError> {
    sheet::write(disk, file, title, lines).map_err(failed("write", file))
}

fn failed(action: &'static str, file: &'static str) -> impl FnOnce(io::Error) -> FolderError {
    move |source| FolderError::Io {
        action,
        file,
        source,
    }
}

fn damaged(file: &'static str, reason: &str) -> FolderError {
    let reason = reason.to_owned();
    FolderError::Damaged { file, reason }
}

fn unusable(file: &'static str, error: SheetError) -> FolderError {
    match error {
        SheetError::Io(source) => failed("read", file)(source),
        SheetError::Checksum | SheetError::Title(_) | SheetError::Line(_) => {
            damaged(file, &error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{MemoryDisk, OpenMode};

    fn identity(node: u64) -> Identity {
        Identity {
            cluster: ClusterId::from_random(7),
            node: NodeId::new(node),
        }
    }

    fn open(disk: &MemoryDisk) -> Result<DataFolder, FolderError> {
        DataFolder::open(Arc::new(disk.clone()))
    }

    #[test]
    fn boots_rise_at_every_open_even_after_a_crash() {
        let disk = MemoryDisk::new();
        for boot in 1..5 {
            assert_eq!(open(&disk).unwrap().boots(), BootCount::new(boot));
            disk.crash();
        }
    }

    #[test]
    fn identity_once_set_is_kept_and_never_changed() {
        let disk = MemoryDisk::new();
        let folder = open(&disk).unwrap();
        assert_eq!(folder.identity(), None);
        folder.set_identity(identity(3)).unwrap();
        folder.set_identity(identity(3)).unwrap();
        disk.crash();
        let folder = open(&disk).unwrap();
        assert_eq!(folder.identity(), Some(identity(3)));
        let error = folder.set_identity(identity(4)).unwrap_err();
        assert!(matches!(error, FolderError::OtherIdentity { .. }));
        assert!(error.to_string().contains("n3") && error.to_string().contains("n4"));
    }

    #[test]
    fn folder_of_a_newer_format_is_refused_with_both_numbers_and_left_alone() {
        let disk = MemoryDisk::new();
        drop(open(&disk).unwrap());
        let newer = [("format", "9".to_owned())];
        sheet::write(&disk, FORMAT_FILE, FORMAT_TITLE, &newer).unwrap();
        let before = disk.read(BOOTS_FILE).unwrap();
        let error = open(&disk).err().unwrap();
        assert!(matches!(
            error,
            FolderError::NewerFormat {
                found: 9,
                supported: FORMAT
            }
        ));
        assert_eq!(disk.read(BOOTS_FILE).unwrap(), before);
    }

    #[test]
    fn folder_with_other_files_is_refused_and_they_are_named() {
        let disk = MemoryDisk::new();
        disk.open("thesis.tex", OpenMode::Create).unwrap();
        let error = open(&disk).err().unwrap();
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        assert_eq!(disk.list().unwrap(), ["thesis.tex"]);
    }

    #[test]
    fn first_start_cut_short_anywhere_can_be_started_again() {
        for seed in 0..200 {
            let disk = MemoryDisk::new();
            disk.crash_in_sync(seed % 6, seed);
            let _ = open(&disk);
            disk.crash_torn(seed);
            let folder = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(folder.boots() <= BootCount::new(2));
        }
    }

    #[test]
    fn identity_without_its_boot_counter_is_refused() {
        let disk = MemoryDisk::new();
        open(&disk).unwrap().set_identity(identity(1)).unwrap();
        disk.remove(BOOTS_FILE).unwrap();
        assert!(matches!(
            open(&disk).err().unwrap(),
            FolderError::Damaged {
                file: BOOTS_FILE,
                ..
            }
        ));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let disk = MemoryDisk::new();
        open(&disk).unwrap().set_identity(identity(1)).unwrap();
        for name in [FORMAT_FILE, IDENTITY_FILE, BOOTS_FILE] {
            for bit in 0..disk.read(name).unwrap().len() as u64 * 8 {
                let disk = disk.fork();
                disk.flip_bit(name, bit).unwrap();
                assert!(open(&disk).is_err(), "bit {bit} of {name}");
            }
        }
    }
}
