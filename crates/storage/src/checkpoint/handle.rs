//! The handle on a group's checkpoint: which file it is now, and whose turn it is to change it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use leasehold_types::GroupId;

use super::CheckpointOptions;
use super::batch::Batch;
use super::database::{Database, Place};
use super::error::CheckpointError;
use super::file::{Fault, FirstFault};
use super::store::Files;
use super::values::Numbers;
use super::view::View;
use super::writing::Writing;
use crate::disk::Disk;

/// A group's checkpoint. Clones are handles on the same one.
#[derive(Clone)]
pub struct Checkpoint {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    numbers: Arc<Numbers>,
    pub(super) options: CheckpointOptions,
    pub(super) group: GroupId,
    /// Of the file, when it is in its place.
    pub(super) name: String,
    ending: Ending,
    /// Of one that is being received: it is forgotten there, and its file goes away, unless it was installed.
    incoming: Option<Arc<Files>>,
    state: Mutex<State>,
}

/// What ended the use of the file that has a name now. Outlives handles: a failed sync ends it for as long as the process
/// runs.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<Mutex<FirstFault>>);

impl Ending {
    fn lock(&self) -> MutexGuard<'_, FirstFault> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Another file has the name now.
    fn is_that_of(&self, database: &Database) {
        *self.lock() = database.first_fault();
    }

    /// The failed sync, if that was it.
    pub(super) fn failed_sync(&self) -> Option<Fault> {
        let fault = self.lock().get()?;
        fault.is_of_sync().then_some(fault)
    }

    /// A sync failed before the file was used.
    pub(super) fn put(&self, fault: Fault) {
        let _ = self.lock().put(fault);
    }
}

struct State {
    /// None when the file took another's place.
    database: Option<Arc<Database>>,
    /// Somebody has the turn.
    is_changing: bool,
}

/// The right to change a checkpoint. There is one; dropping it gives it back.
pub(super) struct Turn {
    shared: Arc<Shared>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.state().is_changing = false;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(files) = self.incoming.take()
            && !self.is_gone()
        {
            self.give_up_values();
            files.give_up(self);
        }
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpoint({})", self.shared.name)
    }
}

impl Shared {
    pub(super) fn new(
        place: Place<'_>,
        ending: Ending,
        incoming: Option<Arc<Files>>,
        database: Arc<Database>,
    ) -> Self {
        ending.is_that_of(&database);
        let state = Mutex::new(State {
            database: Some(database),
            is_changing: false,
        });
        Self {
            disk: Arc::clone(place.disk),
            numbers: Arc::clone(place.numbers),
            options: place.options,
            group: place.group,
            name: place.name.to_owned(),
            ending,
            incoming,
            state,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(super) fn place<'a>(&'a self, name: &'a str) -> Place<'a> {
        Place {
            disk: &self.disk,
            numbers: &self.numbers,
            group: self.group,
            options: self.options,
            name,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.state().database.is_none()
    }

    /// Removes the values of one that was being received and is not wanted any more.
    pub(super) fn give_up_values(&self) {
        if let Some(database) = &self.state().database {
            database.values().give_up();
        }
    }

    /// From now on this handle is for nothing; views go on.
    pub(super) fn leave(&self) {
        self.state().database = None;
    }

    fn gone(&self) -> CheckpointError {
        let file = self.name.clone();
        CheckpointError::Gone { file }
    }

    fn busy(&self) -> CheckpointError {
        let file = self.name.clone();
        CheckpointError::Busy { file }
    }

    /// The database as it is now; opened anew after the disk was full, which redb does not get over by itself.
    fn usable(&self, state: &mut State) -> Result<Arc<Database>, CheckpointError> {
        let database = state.database.as_mut().ok_or_else(|| self.gone())?;
        match database.fault() {
            None => {}
            Some(fault) if fault.is_full() && !state.is_changing => {
                *database = Database::open(self.place(&self.name))?;
                self.ending.is_that_of(database);
            }
            Some(fault) => return Err(CheckpointError::of_fault(&self.name, &fault)),
        }
        Ok(Arc::clone(database))
    }

    /// Takes the turn; [`CheckpointError::Busy`] when another has it.
    pub(super) fn take_turn(self: &Arc<Self>) -> Result<(Turn, Arc<Database>), CheckpointError> {
        let mut state = self.state();
        if state.is_changing {
            return Err(self.busy());
        }
        let database = self.usable(&mut state)?;
        state.is_changing = true;
        let shared = Arc::clone(self);
        Ok((Turn { shared }, database))
    }

    /// Puts another file in this one's place, durably. The caller has the turn, and hears when the file has the name:
    /// from then on it may be the one that counts, whatever comes of this.
    pub(super) fn install(
        &self,
        arrived: Arc<Database>,
        is_named: impl FnOnce(),
    ) -> Result<(), CheckpointError> {
        let failed = |error| CheckpointError::io("replace", &self.name, error);
        let mut state = self.state();
        let disk = self.disk.as_ref();
        disk.rename(&arrived.name(), &self.name).map_err(failed)?;
        is_named();
        arrived.renamed_to(&self.name);
        self.ending.is_that_of(&arrived);
        let before = state.database.replace(Arc::clone(&arrived));
        // Which of the two a crash would leave is not known when this fails: neither may be built upon.
        disk.sync_folder().map_err(|error| {
            arrived.end(error);
            self.usable(&mut state).err().unwrap_or_else(|| self.gone())
        })?;
        drop(state);
        if let Some(before) = before {
            before.values().give_way_to(arrived.values());
        }
        Ok(())
    }
}

impl Checkpoint {
    /// A view of the last commit.
    ///
    /// # Errors
    /// When the file can no longer be used, or is no longer this handle's; when the disk is full, until the writing that
    /// found it so is dropped.
    pub fn view(&self) -> Result<View, CheckpointError> {
        let database = self.shared.usable(&mut self.shared.state())?;
        View::new(database, Arc::clone(&self.shared))
    }

    /// Begins a change of the checkpoint. It never waits: the seam that a simulation runs on has no second thread
    /// that could end the other change.
    ///
    /// # Errors
    /// [`CheckpointError::Busy`] while another change, a replacement or a compaction is under way.
    pub fn begin(&self) -> Result<Writing, CheckpointError> {
        let (turn, database) = self.shared.take_turn()?;
        Ok(Writing::new(
            Batch::new(database, self.shared.options.sync_every)?,
            turn,
        ))
    }

    /// Lets what was received take this checkpoint's place, durably and at once: after a crash the one or the other is
    /// there. Views taken before go on seeing the old one; this handle and its clones show the new one, and the
    /// incoming handle is for nothing any more.
    ///
    /// # Errors
    /// [`CheckpointError::Busy`] while either of them is being changed. After an error of the disk the checkpoint is
    /// not used any further, unless it is still the old one.
    ///
    /// # Panics
    /// When the other was not received for this one's group.
    pub fn replace_by(&self, incoming: &Self) -> Result<(), CheckpointError> {
        let (here, there) = (&self.shared, &incoming.shared);
        assert!(
            here.group == there.group && here.incoming.is_none() && there.incoming.is_some(),
            "a checkpoint is replaced by one that was received for its group"
        );
        let (_turn, _) = here.take_turn()?;
        let (_their_turn, arrived) = there.take_turn()?;
        here.install(arrived, || there.leave())
    }
}
