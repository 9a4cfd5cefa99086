//! The checkpoints in one folder.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use leasehold_types::GroupId;

use super::CheckpointOptions;
use super::database::{Database, Place};
use super::error::CheckpointError;
use super::file::Fault;
use super::handle::{Checkpoint, Ending, Shared};
use super::values::Numbers;
use crate::disk::{Disk, TEMPORARY};

const PREFIX: &str = "checkpoint-";
/// Suffix of one that is being received.
const INCOMING: &str = ".incoming";

/// The checkpoints in one folder. The folder may hold other things too. There must be one store a folder.
pub struct CheckpointStore {
    disk: Arc<dyn Disk>,
    numbers: Arc<Numbers>,
    options: CheckpointOptions,
    files: Arc<Files>,
}

/// The files in use, by name: two databases over one file would write over each other.
#[derive(Default)]
pub(super) struct Files(Mutex<BTreeMap<String, Known>>);

/// What is known of a file for as long as the process runs.
#[derive(Default)]
struct Known {
    /// It was opened before: what a crash left of values is gone.
    is_swept: bool,
    handle: Weak<Shared>,
    ending: Ending,
}

impl Files {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // What is held under it is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the file of one that was being received and is not wanted any more: it can be as large as what lacks.
    /// Unless another is being received under the name by now.
    pub(super) fn give_up(&self, shared: &Shared) {
        let files = self.lock();
        let is_its_own = |known: &Known| std::ptr::eq(known.handle.as_ptr(), shared);
        if !files.get(&shared.name).is_some_and(is_its_own) {
            return;
        }
        if let Err(error) = remove_if_there(shared.disk.as_ref(), &shared.name) {
            tracing::warn!(file = shared.name, %error, "cannot remove a checkpoint that was given up");
        }
    }
}

impl Known {
    /// Whether somebody has a handle on it. Nothing is taken hold of: the last handle must not be let go of under the lock
    /// of the files, which it takes itself.
    fn is_held(&self) -> bool {
        self.handle.strong_count() > 0
    }

    /// The handle, while somebody has it and it is for this file.
    fn live(&self) -> Option<Arc<Shared>> {
        self.handle.upgrade().filter(|shared| !shared.is_gone())
    }
}

impl CheckpointStore {
    /// Uses a folder, and gives back the space of what was being made or received when the process ended.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, options: CheckpointOptions) -> Self {
        remove_leftovers(disk.as_ref());
        Self {
            disk,
            numbers: Arc::default(),
            options,
            files: Arc::default(),
        }
    }

    fn place<'a>(&'a self, group: GroupId, name: &'a str) -> Place<'a> {
        Place {
            disk: &self.disk,
            numbers: &self.numbers,
            group,
            options: self.options,
            name,
        }
    }

    /// A group's checkpoint; an empty one is made when it has none. Opened twice, it is the same one.
    ///
    /// # Errors
    /// [`CheckpointError`] says what is wrong with the file and the way out.
    pub fn open(&self, group: GroupId) -> Result<Checkpoint, CheckpointError> {
        let name = file_name(group);
        let mut files = self.files.lock();
        let is_receiving = files.get(&incoming_name(group)).is_some_and(Known::is_held);
        let known = files.entry(name.clone()).or_default();
        if let Some(shared) = known.live() {
            return Ok(Checkpoint { shared });
        }
        if let Some(fault) = known.ending.failed_sync() {
            return Err(CheckpointError::of_fault(&name, &fault));
        }
        let database = self.open_or_make(group, &name, known)?;
        if !is_receiving && !std::mem::replace(&mut known.is_swept, true) {
            database.values().sweep();
        }
        Ok(self.hand_out(known, self.place(group, &name), None, database))
    }

    /// Opens a file, or makes one under another name first: one that has its name is whole.
    fn open_or_make(
        &self,
        group: GroupId,
        name: &str,
        known: &Known,
    ) -> Result<Arc<Database>, CheckpointError> {
        let failed = |action| move |error| CheckpointError::io(action, name, error);
        let names = self.disk.list().map_err(failed("find"))?;
        let is_there = names.iter().any(|there| there == name);
        let database = if is_there {
            Database::open(self.place(group, name))?
        } else {
            self.make(group, name)?
        };
        // Also for one that was there: the process that gave it its name may have ended before this.
        self.disk.sync_folder().map_err(|error| {
            let fault = Fault::of_failed_sync(error);
            let error = CheckpointError::of_fault(name, &fault);
            known.ending.put(fault);
            error
        })?;
        Ok(database)
    }

    fn make(&self, group: GroupId, name: &str) -> Result<Arc<Database>, CheckpointError> {
        let temporary = format!("{name}{TEMPORARY}");
        let database = Database::create(self.place(group, &temporary))?;
        self.disk
            .rename(&temporary, name)
            .map_err(|error| CheckpointError::io("create", name, error))?;
        database.renamed_to(name);
        Ok(database)
    }

    fn hand_out(
        &self,
        known: &mut Known,
        place: Place<'_>,
        incoming: Option<Arc<Files>>,
        database: Arc<Database>,
    ) -> Checkpoint {
        let shared = Shared::new(place, known.ending.clone(), incoming, database);
        let shared = Arc::new(shared);
        known.handle = Arc::downgrade(&shared);
        Checkpoint { shared }
    }

    /// An empty checkpoint beside a group's own, to be filled and then to take its place
    /// ([`Checkpoint::replace_by`]). Given up, which is dropping all handles and views of it, its file goes away.
    ///
    /// # Errors
    /// [`CheckpointError::Busy`] while another one is being received for the group.
    pub fn receive(&self, group: GroupId) -> Result<Checkpoint, CheckpointError> {
        let name = incoming_name(group);
        // SUBTLE: dropped after the lock is let go of, since it may be the last handle, which takes the lock itself.
        let before;
        let mut files = self.files.lock();
        let known = files.entry(name.clone()).or_default();
        before = known.live();
        if before.is_some() {
            return Err(CheckpointError::Busy { file: name });
        }
        let place = self.place(group, &name);
        let database = Database::create(place)?;
        Ok(self.hand_out(known, place, Some(Arc::clone(&self.files)), database))
    }
}

fn file_name(group: GroupId) -> String {
    format!("{PREFIX}{group}")
}

fn incoming_name(group: GroupId) -> String {
    format!("{}{INCOMING}", file_name(group))
}

fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_leftovers(disk: &dyn Disk) {
    let is_leftover = |name: &String| {
        name.starts_with(PREFIX) && (name.ends_with(TEMPORARY) || name.ends_with(INCOMING))
    };
    let removed = disk.list().and_then(|names| {
        let mut leftovers = names.iter().filter(|name| is_leftover(name));
        leftovers.try_for_each(|name| disk.remove(name))
    });
    if let Err(error) = removed {
        tracing::warn!(%error, "cannot remove unfinished checkpoints");
    }
}
