//! The names of a crashing disk's folder, and how to take back changes of them that were not synced.
//!
//! A name that is removed or replaced is first linked into a second folder, the *yard*, so that it can come back; what
//! is in the yard goes at the next sync of the folder. Power loss takes changes back from the last to some first one, as
//! a journaling file system would.
//!
//! SUBTLE: links are made before the change itself, so that a kill from outside between the two changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use leasehold_storage::{Disk as _, DiskFile, OpenMode, OsDisk};
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use crate::points::Operation;

/// One change of names that may not be durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    Created {
        name: String,
    },
    Renamed {
        from: String,
        to: String,
        /// Where in the yard the file is that had the name before.
        replaced: Option<String>,
    },
    Removed {
        name: String,
        yard: String,
    },
}

/// The folder, its yard, the files that were opened, and the changes since the last sync.
pub(super) struct Names {
    disk: Arc<OsDisk>,
    yard: Arc<OsDisk>,
    syncs_behind: usize,
    known: BTreeMap<String, Arc<Cell>>,
    /// Files that lost their name, which power loss may bring back: by where in the yard they are.
    nameless: BTreeMap<String, Arc<Cell>>,
    changes: Vec<Change>,
    /// How many changes went before these.
    settled: u64,
    next: u64,
}

impl Names {
    pub(super) fn new(disk: Arc<OsDisk>, yard: Arc<OsDisk>, syncs_behind: usize) -> Self {
        Self {
            disk,
            yard,
            syncs_behind,
            known: BTreeMap::new(),
            nameless: BTreeMap::new(),
            changes: Vec::new(),
            settled: 0,
            next: 0,
        }
    }

    /// Every file that may have something unsynced.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.known.values().chain(self.nameless.values())
    }

    pub(super) fn known(&self) -> impl Iterator<Item = (&String, &Arc<Cell>)> {
        self.known.iter()
    }

    pub(super) fn nameless(&self) -> impl Iterator<Item = (&String, &Arc<Cell>)> {
        self.nameless.iter()
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.disk.folder().join(name).exists()
    }

    /// The changes that may not be durable, oldest first.
    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How many changes were made so far.
    pub(super) const fn made(&self) -> u64 {
        self.settled + self.changes.len() as u64
    }

    /// Changes that a killed process left unsynced.
    pub(super) fn resume(&mut self, changes: Vec<Change>, next: u64) {
        self.changes = changes;
        self.next = next;
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether a file's name is not durable yet.
    pub(super) fn is_new(&self, name: &str) -> bool {
        self.changes.iter().any(|change| match change {
            Change::Created { name: changed } => changed == name,
            Change::Renamed { to, .. } => to == name,
            Change::Removed { .. } => false,
        })
    }

    /// What the next sync of the folder makes durable, name by name.
    pub(super) fn unsynced(&self) -> Vec<(Operation, String)> {
        let names = self.changes.iter().flat_map(|change| match change {
            Change::Created { name } => vec![(Operation::SyncCreated, name.clone())],
            Change::Removed { name, .. } => vec![(Operation::SyncRemoved, name.clone())],
            Change::Renamed { from, to, .. } => [from, to]
                .map(|name| (Operation::SyncRenamed, name.clone()))
                .into(),
        });
        names.collect()
    }

    pub(super) fn open(&mut self, name: &str, mode: OpenMode) -> io::Result<Arc<Cell>> {
        if let Some(cell) = self.known.get(name) {
            let cell = Arc::clone(cell);
            if mode == OpenMode::Create {
                cell.set_length(0)?;
            }
            return Ok(cell);
        }
        match self.disk.open(name, OpenMode::Existing) {
            Ok(file) => self.opened(name, file, mode),
            Err(error) if error.kind() == io::ErrorKind::NotFound && mode == OpenMode::Create => {
                let file = self.disk.open(name, OpenMode::Create)?;
                let name = name.to_owned();
                self.changes.push(Change::Created { name: name.clone() });
                self.opened(&name, file, OpenMode::Existing)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a file in the yard that a killed process left unsynced.
    pub(super) fn open_nameless(&mut self, kept: &str) -> io::Result<Arc<Cell>> {
        let file = self.yard.open(kept, OpenMode::Existing)?;
        let cell = Arc::new(Cell::new(kept, file, 0)?);
        self.nameless.insert(kept.to_owned(), Arc::clone(&cell));
        Ok(cell)
    }

    fn opened(
        &mut self,
        name: &str,
        file: Box<dyn DiskFile>,
        mode: OpenMode,
    ) -> io::Result<Arc<Cell>> {
        let behind = if name.ends_with(".seg") {
            self.syncs_behind
        } else {
            0
        };
        let cell = Arc::new(Cell::new(name, file, behind)?);
        if mode == OpenMode::Create {
            cell.set_length(0)?;
        }
        self.known.insert(name.to_owned(), Arc::clone(&cell));
        Ok(cell)
    }

    /// Links a file into the yard, under a name of its own there.
    fn keep(&mut self, name: &str) -> io::Result<String> {
        let kept = self.next.to_string();
        self.next += 1;
        std::fs::hard_link(
            self.disk.folder().join(name),
            self.yard.folder().join(&kept),
        )?;
        Ok(kept)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let replaced = match self.keep(to) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.disk.rename(from, to)?;
        let moved = self.known.remove(from);
        let lost = replaced.clone().zip(self.known.remove(to));
        self.nameless.extend(lost);
        if let Some(moved) = moved {
            moved.rename(to);
            self.known.insert(to.to_owned(), moved);
        }
        self.changes.push(Change::Renamed {
            from: from.to_owned(),
            to: to.to_owned(),
            replaced,
        });
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        let yard = self.keep(name)?;
        self.disk.remove(name)?;
        if let Some(cell) = self.known.remove(name) {
            self.nameless.insert(yard.clone(), cell);
        }
        let name = name.to_owned();
        self.changes.push(Change::Removed { name, yard });
        Ok(())
    }

    /// All changes up to this many are durable: what they kept is no longer needed.
    pub(super) fn synced(&mut self, made: u64) -> io::Result<()> {
        let count = usize::try_from(made.saturating_sub(self.settled)).map_err(io::Error::other)?;
        self.settled = self.settled.max(made);
        for change in self.changes.drain(..count) {
            if let Some(kept) = change.kept() {
                self.nameless.remove(kept);
                self.yard.remove(kept)?;
            }
        }
        Ok(())
    }

    /// Power fails: takes changes back, from the last one, until so many are left. Says how many went.
    pub(super) fn lose_power(&mut self, left: usize) -> io::Result<usize> {
        let mut lost = 0;
        while self.changes.len() > left {
            let Some(change) = self.changes.pop() else {
                break;
            };
            self.take_back(change)?;
            lost += 1;
        }
        Ok(lost)
    }

    fn take_back(&self, change: Change) -> io::Result<()> {
        match change {
            Change::Created { name } => self.disk.remove(&name),
            Change::Renamed { from, to, replaced } => {
                self.disk.rename(&to, &from)?;
                replaced.map_or(Ok(()), |kept| self.bring_back(&kept, &to))
            }
            Change::Removed { name, yard } => self.bring_back(&yard, &name),
        }
    }

    fn bring_back(&self, kept: &str, name: &str) -> io::Result<()> {
        std::fs::rename(self.yard.folder().join(kept), self.disk.folder().join(name))
    }
}

impl Change {
    fn kept(&self) -> Option<&str> {
        match self {
            Self::Created { .. } => None,
            Self::Renamed { replaced, .. } => replaced.as_deref(),
            Self::Removed { yard, .. } => Some(yard),
        }
    }
}
