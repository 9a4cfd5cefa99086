//! A folder in memory that forgets, on [`MemoryDisk::crash`], whatever was not synced.
//!
//! The twin of [`OsDisk`](super::OsDisk) for tests and for the deterministic simulation: no thread, no clock, no
//! randomness of its own and no order that differs between two runs. A clone is another handle on the same folder,
//! as two processes would see it. Faults are asked for one by one, and hit the next call they fit.
//!
//! A failed sync behaves as Linux does: the bytes stay readable, yet they are no longer on their way to the disk,
//! and a later sync that succeeds does not bring them there.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{Disk, DiskFile, DiskSpace, OpenMode, check_name};

mod content;

use content::{Coin, Content};

/// A folder in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    folder: Mutex<Folder>,
    changed: Condvar,
}

type Cell = Arc<Mutex<Content>>;

#[derive(Default)]
struct Folder {
    names: BTreeMap<String, Cell>,
    durable_names: BTreeMap<String, Cell>,
    /// Changes of names since the last sync of the folder, oldest first.
    unsynced: Vec<NameChange>,
    /// Raised by a crash: handles from before it no longer work, as their process is gone.
    life: u64,
    capacity: Option<u64>,
    /// Writes and changes of length for which there is room.
    writes_left: Option<u64>,
    fail_syncs: u32,
    /// Syncs that succeed before those fail.
    spared_syncs: u32,
    crash_in_sync: Option<PowerFailure>,
    fail_writes: u32,
    hold_syncs: bool,
    held_syncs: u64,
    syncs: u64,
    writes: u64,
}

/// A crash that was ordered.
#[derive(Clone, Copy)]
struct PowerFailure {
    /// How many syncs still succeed before it.
    syncs_left: u64,
    seed: u64,
}

#[derive(Clone)]
enum NameChange {
    Put(String, Cell),
    Drop(String),
}

impl Folder {
    fn change(&mut self, change: NameChange) {
        perform(&mut self.names, &change);
        self.unsynced.push(change);
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|cell| lock(cell).now.len() as u64)
            .sum()
    }

    fn check_alive(&self, life: u64) -> io::Result<()> {
        if self.life == life {
            return Ok(());
        }
        Err(io::Error::other(
            "the disk crashed since this file was opened",
        ))
    }

    /// In a write or a change of length, by which a file grows by so many bytes.
    fn take_room(&mut self, more: u64) -> io::Result<()> {
        let holds = self.capacity.unwrap_or(u64::MAX);
        if self.writes_left == Some(0) || more > 0 && self.used() + more > holds {
            let full = "no space left on the simulated disk";
            return Err(io::Error::new(io::ErrorKind::StorageFull, full));
        }
        self.writes_left = self.writes_left.map(|left| left - 1);
        self.writes += 1;
        Ok(())
    }

    /// In a sync: fails the power if that was ordered for this one.
    fn check_power(&mut self) -> io::Result<()> {
        match &mut self.crash_in_sync {
            None => return Ok(()),
            Some(ordered) if ordered.syncs_left > 0 => {
                ordered.syncs_left -= 1;
                return Ok(());
            }
            Some(ordered) => {
                let seed = ordered.seed;
                self.tear(seed);
            }
        }
        Err(io::Error::other("the simulated power failed"))
    }

    /// In a sync: fails if that was ordered for this one.
    fn check_sync(&mut self) -> io::Result<()> {
        if self.fail_syncs > 0 && self.spared_syncs > 0 {
            self.spared_syncs -= 1;
            return Ok(());
        }
        take(&mut self.fail_syncs)
    }

    /// Power fails; see [`MemoryDisk::crash_torn`].
    fn tear(&mut self, seed: u64) {
        let mut coin = Coin::new(seed);
        let mut names = self.durable_names.clone();
        let landed = coin.below(self.unsynced.len() as u64 + 1);
        for change in self.unsynced.iter().take(landed.try_into().unwrap_or(0)) {
            perform(&mut names, change);
        }
        for cell in names.values() {
            lock(cell).land_some(&mut coin);
        }
        self.restart_with(names);
    }

    /// After a crash the names are those given, and nothing is on its way to the disk any more.
    fn restart_with(&mut self, names: BTreeMap<String, Cell>) {
        self.durable_names.clone_from(&names);
        self.names = names;
        self.unsynced.clear();
        self.life += 1;
        self.fail_syncs = 0;
        self.crash_in_sync = None;
        self.fail_writes = 0;
        self.hold_syncs = false;
    }
}

fn perform(names: &mut BTreeMap<String, Cell>, change: &NameChange) {
    match change {
        NameChange::Put(name, cell) => drop(names.insert(name.clone(), Arc::clone(cell))),
        NameChange::Drop(name) => drop(names.remove(name)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

/// Takes one of the faults that were ordered.
fn take(ordered: &mut u32) -> io::Result<()> {
    if *ordered == 0 {
        return Ok(());
    }
    *ordered -= 1;
    Err(io::Error::other("simulated input/output error"))
}

impl MemoryDisk {
    /// An empty folder without a bound.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn folder(&self) -> MutexGuard<'_, Folder> {
        lock(&self.shared.folder)
    }

    /// Power fails: all that was not synced is lost, names included. Open handles stop working.
    pub fn crash(&self) {
        let mut folder = self.folder();
        let names = folder.durable_names.clone();
        for cell in names.values() {
            lock(cell).forget_unsynced();
        }
        folder.restart_with(names);
        self.shared.changed.notify_all();
    }

    /// Power fails, and some of what was not synced lands all the same: the first few changes of names, and of the
    /// bytes any sector or none, as `seed` decides.
    pub fn crash_torn(&self, seed: u64) {
        self.folder().tear(seed);
        self.shared.changed.notify_all();
    }

    /// As [`MemoryDisk::crash_torn`], in the middle of a sync, of a file or of the folder, after `syncs` more that succeed.
    pub fn crash_in_sync(&self, syncs: u64, seed: u64) {
        self.folder().crash_in_sync = Some(PowerFailure {
            syncs_left: syncs,
            seed,
        });
    }

    /// The next `count` syncs, of files or of the folder, fail.
    pub fn fail_next_syncs(&self, count: u32) {
        self.fail_syncs_after(0, count);
    }

    /// As [`MemoryDisk::fail_next_syncs`], after `spared` more that succeed.
    pub fn fail_syncs_after(&self, spared: u32, count: u32) {
        let mut folder = self.folder();
        folder.spared_syncs = spared;
        folder.fail_syncs = count;
    }

    /// The next `count` writes fail, having written nothing.
    pub fn fail_next_writes(&self, count: u32) {
        self.folder().fail_writes = count;
    }

    /// From now on a sync of a file blocks its thread until [`MemoryDisk::release_syncs`]. For tests with threads; in
    /// a simulation a slow disk is the `pause` of the log's writer.
    pub fn hold_syncs(&self) {
        self.folder().hold_syncs = true;
    }

    /// Lets held syncs go on.
    pub fn release_syncs(&self) {
        self.folder().hold_syncs = false;
        self.shared.changed.notify_all();
    }

    /// Blocks until this many syncs have been held, counted from the start.
    ///
    /// # Panics
    /// When another user of this disk panicked.
    pub fn await_held_syncs(&self, count: u64) {
        let is_before = |folder: &mut Folder| folder.held_syncs < count;
        let folder = self.shared.changed.wait_while(self.folder(), is_before);
        drop(folder.expect("no holder of this lock panics"));
    }

    /// From now on the files together may not grow past this many bytes; `None` lifts the bound.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.folder().capacity = capacity;
    }

    /// From now on there is room for so many more writes and changes of length, however long; `None` lifts the bound.
    pub fn set_writes_left(&self, writes: Option<u64>) {
        self.folder().writes_left = writes;
    }

    /// Writes and changes of length that succeeded so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.folder().writes
    }

    /// Syncs of files that succeeded so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.folder().syncs
    }

    /// Flips one bit of a file, counted from its start, on the disk and for its readers.
    ///
    /// # Errors
    /// `NotFound` without the file, `UnexpectedEof` past its end.
    pub fn flip_bit(&self, name: &str, bit: u64) -> io::Result<()> {
        let folder = self.folder();
        let cell = folder.names.get(name).ok_or_else(|| missing(name))?;
        lock(cell).flip(bit)
    }

    /// A copy of a file as its readers see it.
    ///
    /// # Errors
    /// `NotFound` without the file.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let folder = self.folder();
        let cell = folder.names.get(name).ok_or_else(|| missing(name))?;
        Ok(lock(cell).now.clone())
    }

    /// A copy of the folder as it stands, with nothing in common with this one: what is unsynced here is synced there.
    #[must_use]
    pub fn fork(&self) -> Self {
        let folder = self.folder();
        let copy = |(name, cell): (&String, &Cell)| {
            let content = Content::synced(lock(cell).now.clone());
            (name.clone(), Arc::new(Mutex::new(content)))
        };
        let names: BTreeMap<String, Cell> = folder.names.iter().map(copy).collect();
        let fork = Self::default();
        fork.folder().restart_with(names);
        fork
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.folder().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        check_name(name)?;
        let mut folder = self.folder();
        let cell = match (mode, folder.names.get(name)) {
            (OpenMode::Existing, None) => return Err(missing(name)),
            (OpenMode::Create, None) => {
                let cell = Cell::default();
                folder.change(NameChange::Put(name.to_owned(), Arc::clone(&cell)));
                cell
            }
            (OpenMode::Existing, Some(cell)) => Arc::clone(cell),
            (OpenMode::Create, Some(cell)) => {
                lock(cell).set_length(0);
                Arc::clone(cell)
            }
        };
        Ok(Box::new(MemoryFile {
            disk: self.clone(),
            cell,
            life: folder.life,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(to)?;
        let mut folder = self.folder();
        let cell = folder.names.get(from).ok_or_else(|| missing(from))?;
        let cell = Arc::clone(cell);
        folder.change(NameChange::Put(to.to_owned(), cell));
        folder.change(NameChange::Drop(from.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut folder = self.folder();
        if !folder.names.contains_key(name) {
            return Err(missing(name));
        }
        folder.change(NameChange::Drop(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut folder = self.folder();
        folder.check_power()?;
        folder.check_sync()?;
        folder.unsynced.clear();
        folder.durable_names = folder.names.clone();
        Ok(())
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let folder = self.folder();
        let total = folder.capacity.unwrap_or(u64::MAX);
        let free = total.saturating_sub(folder.used());
        Ok(DiskSpace { free, total })
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    cell: Cell,
    life: u64,
}

impl MemoryFile {
    fn folder(&self) -> io::Result<MutexGuard<'_, Folder>> {
        let folder = self.disk.folder();
        folder.check_alive(self.life)?;
        Ok(folder)
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut folder = self.folder()?;
        take(&mut folder.fail_writes)?;
        let length = lock(&self.cell).now.len() as u64;
        folder.take_room((offset + bytes.len() as u64).saturating_sub(length))?;
        lock(&self.cell).write(offset, bytes);
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let _folder = self.folder()?;
        Ok(lock(&self.cell).read(offset, buf))
    }

    fn sync(&self) -> io::Result<()> {
        let mut folder = self.folder()?;
        if folder.hold_syncs {
            folder.held_syncs += 1;
            let changed = &self.disk.shared.changed;
            changed.notify_all();
            folder = changed
                .wait_while(folder, |folder| folder.hold_syncs)
                .expect("no holder of this lock panics");
            folder.check_alive(self.life)?;
        }
        folder.check_power()?;
        if let Err(error) = folder.check_sync() {
            lock(&self.cell).lose_unsynced();
            return Err(error);
        }
        folder.syncs += 1;
        lock(&self.cell).sync();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let _folder = self.folder()?;
        Ok(lock(&self.cell).now.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut folder = self.folder()?;
        let now = lock(&self.cell).now.len() as u64;
        folder.take_room(length.saturating_sub(now))?;
        lock(&self.cell).set_length(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
