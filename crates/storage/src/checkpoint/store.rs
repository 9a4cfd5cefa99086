//! The checkpoints in one folder.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use leasehold_types::GroupId;

use super::CheckpointOptions;
use super::database::{Database, Place};
use super::error::CheckpointError;
use super::file::Fault;
use super::handle::{Checkpoint, Shared};
use crate::disk::{Disk, TEMPORARY};

const PREFIX: &str = "checkpoint-";
/// Suffix of one that is being received.
const INCOMING: &str = ".incoming";

/// The checkpoints in one folder. The folder may hold other things too. There must be one store a folder.
pub struct CheckpointStore {
    disk: Arc<dyn Disk>,
    options: CheckpointOptions,
    /// By name of the file: two databases over one file would write over each other.
    files: Mutex<BTreeMap<String, Known>>,
}

/// What is known of a file for as long as the process runs.
#[derive(Default)]
struct Known {
    handle: Weak<Shared>,
    failed_sync: Arc<OnceLock<Fault>>,
}

impl Known {
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
        let files = Mutex::default();
        Self {
            disk,
            options,
            files,
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.files.lock().expect("no holder of this lock panics")
    }

    fn place<'a>(&'a self, group: GroupId, name: &'a str) -> Place<'a> {
        Place {
            disk: self.disk.as_ref(),
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
        let mut files = self.files();
        let known = files.entry(name.clone()).or_default();
        if let Some(shared) = known.live() {
            return Ok(Checkpoint { shared });
        }
        if let Some(fault) = known.failed_sync.get() {
            return Err(CheckpointError::of_fault(&name, fault));
        }
        let database = self.open_or_make(group, &name, known)?;
        Ok(self.hand_out(known, group, name, database))
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
            let _ = known.failed_sync.set(fault);
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
        group: GroupId,
        name: String,
        database: Arc<Database>,
    ) -> Checkpoint {
        let disk = Arc::clone(&self.disk);
        let failed_sync = Arc::clone(&known.failed_sync);
        let shared = Shared::new(disk, self.options, group, name, failed_sync, database);
        let shared = Arc::new(shared);
        known.handle = Arc::downgrade(&shared);
        Checkpoint { shared }
    }

    /// An empty checkpoint beside a group's own, to be filled and then to take its place
    /// ([`Checkpoint::replace_by`]). One that was begun before and given up goes away.
    ///
    /// # Errors
    /// [`CheckpointError::Busy`] while another one is being received for the group.
    pub fn receive(&self, group: GroupId) -> Result<Checkpoint, CheckpointError> {
        let name = format!("{}{INCOMING}", file_name(group));
        let mut files = self.files();
        let known = files.entry(name.clone()).or_default();
        if known.live().is_some() {
            return Err(CheckpointError::Busy { file: name });
        }
        // Whatever befell an earlier one, this is another file.
        known.failed_sync = Arc::default();
        let database = Database::create(self.place(group, &name))?;
        Ok(self.hand_out(known, group, name, database))
    }

    /// Removes a group's checkpoint, durably, and what is being received for it. That there is none is no error.
    /// Handles on it are for nothing from now on; views go on.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, group: GroupId) -> Result<(), CheckpointError> {
        let name = file_name(group);
        let mut files = self.files();
        for suffix in ["", INCOMING, TEMPORARY] {
            let name = format!("{name}{suffix}");
            if let Some(shared) = files.get(&name).and_then(Known::live) {
                shared.leave();
            }
            remove_if_there(self.disk.as_ref(), &name)
                .map_err(|error| CheckpointError::io("remove", &name, error))?;
            let _ = files.remove(&name);
        }
        self.disk
            .sync_folder()
            .map_err(|error| CheckpointError::io("remove", &name, error))
    }
}

fn file_name(group: GroupId) -> String {
    format!("{PREFIX}{group}")
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
