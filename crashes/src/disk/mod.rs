//! A real folder that can crash: the process dies at a chosen operation, and on demand power fails with it.
//!
//! A kill leaves the page cache as it is, so it shows only what a process forgets. Power loss is what an acknowledgement
//! has to survive, and no test can cut the power; so this disk keeps what every unsynced byte and name was before
//! ([`cell`], [`names`]), and before the process dies it puts some or all of that back. What a *killed* process left
//! unsynced is remembered for the next one ([`left`]).
//!
//! What must hold: what a finished sync covered stays, and the process does nothing after the crash has begun. A gate
//! sees to the second: every operation passes it, and the crash closes it for good.

mod cell;
mod file;
mod left;
mod names;
mod trigger;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::{io, iter};

use leasehold_storage::{Disk, DiskFile, DiskSpace, OpenMode, OsDisk};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::points::{Deed, Moment, Operation};
use cell::Loss;
use file::CrashingFile;
use names::Names;
use trigger::Trigger;

pub(crate) use trigger::{Flavour, Order};

/// Ends the process; gets what is to be said about the crash.
pub(crate) type Die = Box<dyn Fn(&str) + Send + Sync>;

/// How a crashing disk is opened.
pub(crate) struct CrashingDiskOptions {
    pub(crate) folder: PathBuf,
    /// Beside the folder, on the same file system.
    pub(crate) yard: PathBuf,
    /// Syncs of the log that have to follow a sync before it counts. Anything but 0 is a disk that lies.
    pub(crate) syncs_behind: usize,
    pub(crate) seed: u64,
    /// Does not return in a real process.
    pub(crate) die: Die,
}

/// See the module. Clones share it.
#[derive(Clone)]
pub(crate) struct CrashingDisk(Arc<Shared>);

struct Shared {
    disk: Arc<OsDisk>,
    yard: Arc<OsDisk>,
    names: Mutex<Names>,
    trigger: Trigger,
    /// Held by every operation, and taken for good by a crash.
    gate: RwLock<()>,
    rng: Mutex<SmallRng>,
    is_lying: bool,
    die: Die,
}

impl CrashingDisk {
    /// Opens a folder and takes its lock.
    pub(crate) fn open(options: CrashingDiskOptions) -> anyhow::Result<Self> {
        let disk = Arc::new(OsDisk::open(&options.folder)?);
        let yard = Arc::new(OsDisk::open(&options.yard)?);
        let mut names = Names::new(Arc::clone(&disk), Arc::clone(&yard), options.syncs_behind);
        if !left::read(&yard, &mut names)? {
            clear(&yard)?;
        }
        Ok(Self(Arc::new(Shared {
            disk,
            yard,
            names: Mutex::new(names),
            trigger: Trigger::default(),
            gate: RwLock::new(()),
            rng: Mutex::new(SmallRng::seed_from_u64(options.seed)),
            is_lying: options.syncs_behind > 0,
            die: options.die,
        })))
    }

    /// Orders a crash at a point, in place of the last order.
    pub(crate) fn arm(&self, order: Order) {
        self.0.trigger.arm(order);
    }

    /// Forgets the order; false when it is too late, since its operation has come.
    pub(crate) fn disarm(&self) -> bool {
        self.0.trigger.disarm()
    }

    /// Crashes now.
    pub(crate) fn crash(&self, flavour: Flavour) {
        self.0.crash(flavour, "ordered");
    }
}

/// What an older process kept, which was killed from outside: nothing can be taken back any more.
fn clear(yard: &OsDisk) -> io::Result<()> {
    yard.list()?.iter().try_for_each(|name| yard.remove(name))
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one operation, unless the process dies before or after it.
    fn perform<T>(
        &self,
        deed: &Deed<'_>,
        act: impl FnOnce() -> io::Result<T>,
        half: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<T> {
        let Some(order) = self.trigger.ask(deed) else {
            return self.gated(act);
        };
        match order.point.moment {
            Moment::Before => {}
            // The process dies here whatever becomes of it: nobody may wait for a crash that does not come.
            Moment::Halfway => drop(self.gated(half)),
            Moment::After => {
                let done = self.gated(act);
                self.crash(order.flavour, &describe(deed));
                return done;
            }
        }
        self.crash(order.flavour, &describe(deed));
        self.gated(act)
    }

    fn gated<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _passing = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        act()
    }

    /// Does one operation on names.
    fn change<T>(
        &self,
        operation: Operation,
        names: &[&str],
        act: impl FnOnce(&mut Names) -> io::Result<T>,
    ) -> io::Result<T> {
        let is_new = names.iter().any(|name| self.names().is_new(name));
        let acts: Vec<_> = names.iter().map(|name| (operation, *name)).collect();
        let deed = Deed {
            acts: &acts,
            is_new,
        };
        self.perform(&deed, || act(&mut self.names()), || Ok(()))
    }

    /// Lets nothing through any more, fails the power where that is asked, and ends the process.
    fn crash(&self, flavour: Flavour, at: &str) {
        let closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let lost = match flavour {
            Flavour::Kill => left::write(&self.yard, &self.names()).map(|()| String::new()),
            Flavour::Power => self.lose_power(&closed),
        };
        match lost {
            Ok(lost) => (self.die)(&format!("{at}{lost}")),
            Err(error) => (self.die)(&format!("{at}; the crash itself failed: {error}")),
        }
    }

    fn lose_power(&self, _closed: &RwLockWriteGuard<'_, ()>) -> io::Result<String> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = self.names();
        let loss = match self.is_lying || rng.random_bool(0.4) {
            true => Loss::All,
            false => Loss::Some(rng.random_range(0.05..0.95)),
        };
        let mut sectors = 0;
        for cell in names.cells() {
            sectors += cell.lose_power(loss, &mut rng)?;
        }
        let left = match loss {
            Loss::All => 0,
            Loss::Some(_) => rng.random_range(0..=names.changes().len()),
        };
        let changes = names.lose_power(left)?;
        Ok(format!("; lost {sectors} sectors and {changes} names"))
    }
}

fn describe(deed: &Deed<'_>) -> String {
    let acts = deed.acts.iter();
    let acts: Vec<_> = acts
        .map(|(operation, name)| format!("{operation:?} {name}"))
        .collect();
    acts.join(", ")
}

impl Disk for CrashingDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.gated(|| self.0.disk.list())
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let operation = match mode {
            OpenMode::Create => Operation::Create,
            OpenMode::Existing => Operation::Open,
        };
        let cell = self
            .0
            .change(operation, &[name], |names| names.open(name, mode))?;
        Ok(Box::new(CrashingFile::new(Arc::clone(&self.0), cell)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let rename = |names: &mut Names| names.rename(from, to);
        self.0.change(Operation::Rename, &[from, to], rename)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let remove = |names: &mut Names| names.remove(name);
        // What is not there is not removed: no place for a crash.
        if !self.0.names().has(name) {
            return self.0.gated(|| remove(&mut self.0.names()));
        }
        self.0.change(Operation::Remove, &[name], remove)
    }

    fn sync_folder(&self) -> io::Result<()> {
        let unsynced = self.0.names().unsynced();
        let changes = unsynced.iter().map(|(sync, name)| (*sync, name.as_str()));
        let acts: Vec<_> = iter::once((Operation::SyncFolder, ""))
            .chain(changes)
            .collect();
        let deed = Deed {
            acts: &acts,
            is_new: false,
        };
        let sync = || {
            let made = self.0.names().made();
            self.0.disk.sync_folder()?;
            self.0.names().synced(made)
        };
        self.0.perform(&deed, sync, || Ok(()))
    }

    fn space(&self) -> io::Result<DiskSpace> {
        self.0.gated(|| self.0.disk.space())
    }
}

#[cfg(test)]
mod tests;
