//! The machine behind the log: applying, and looking at the state from outside.
//!
//! The state lives in memory. It is made durable by the log, and by checkpoints that the [`Keeper`](crate::keeper::Keeper)
//! writes beside the applying; on a start the last checkpoint is loaded and the log after it replayed.
//!
//! What cannot be applied stops the group: an entry that cannot be read, or a machine that panics. A replica that
//! skipped an entry would be a different machine from then on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::{Stream, StreamExt};
use leasehold_types::limits;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{LogIdOptionExt, RaftSnapshotBuilder};
use tokio::sync::Notify;

use crate::aside::{aside, elsewhere};
use crate::disk;
use crate::keeper::Keeper;
use crate::machine::Machine;
use crate::snapshot::Pack;
use crate::types::{
    Entry, EntryPayload, LogId, Payload, Reply, Snapshot, SnapshotMeta, StoredMembership, Types,
};

/// The state of one group, shared between the one that applies and those who look.
pub(crate) struct Shared<M> {
    state: RwLock<State<M>>,
    /// Rung when enough has changed that a checkpoint is due.
    due: Notify,
    checkpoint_bytes: u64,
}

/// The last entry that a checkpoint covers; none of a checkpoint from before the first.
pub(crate) type Covered = Option<LogId>;

struct State<M> {
    machine: M,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl<M: Machine> Shared<M> {
    /// A machine as of some entry. A checkpoint is due whenever it has `checkpoint_bytes` to let go of.
    pub(crate) fn new(machine: M, meta: SnapshotMeta, checkpoint_bytes: u64) -> Self {
        let state = State {
            machine,
            applied: meta.last_log_id,
            membership: meta.last_membership,
        };
        Self {
            state: RwLock::new(state),
            due: Notify::new(),
            checkpoint_bytes,
        }
    }

    /// Looks at the machine as of the last entry applied.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        // A reader that panicked has changed nothing, and a panic of the machine is caught before it gets here.
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        look(&state.machine)
    }

    fn write<R>(&self, change: impl FnOnce(&mut State<M>) -> R) -> R {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state)
    }

    /// Whether there is anything that a checkpoint could hold.
    pub(crate) fn has_applied_anything(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.applied.is_some()
    }

    /// The index of the entry that is to be applied next.
    fn next_index(&self) -> u64 {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.applied.next_index()
    }

    /// Does something to the machine between two entries: a part of a checkpoint. Keep it short.
    pub(crate) fn between_entries<R>(&self, change: impl FnOnce(&mut M) -> R) -> R {
        self.write(|state| change(&mut state.machine))
    }

    /// Freezes the machine, and says as of which entry; none when nothing was applied after `last`, unless that is none.
    pub(crate) fn freeze(&self, last: Option<Covered>) -> Option<(M::Frozen, SnapshotMeta)> {
        self.write(|state| {
            let is_newer = last.is_none_or(|last| state.applied > last);
            is_newer.then(|| (state.machine.freeze(), state.meta()))
        })
    }

    /// Puts another machine in the place of this one.
    pub(crate) fn replace(&self, machine: M, meta: &SnapshotMeta) {
        let mut state = State {
            machine,
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        self.write(|current| std::mem::swap(current, &mut state));
        // Not under the lock: it may take long.
        drop(state);
    }

    /// Waits until a checkpoint is due for what it would let go of.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }

    /// Whether another entry may be applied: not while too much is in memory that no checkpoint has yet. Calls for a
    /// checkpoint as soon as one is due.
    pub(crate) fn has_room(&self) -> bool {
        let unsaved = self.read(M::unsaved_bytes);
        if unsaved >= self.checkpoint_bytes {
            self.due.notify_one();
        }
        unsaved < limits::UNSAVED_BYTES
    }

    fn apply(&self, entry: Entry<M>) -> io::Result<Option<M::Outcome>> {
        let (id, index) = (entry.log_id, entry.index());
        match entry.payload {
            EntryPayload::<M>::Blank => {
                self.write(|state| state.applied = Some(id));
                Ok(None)
            }
            EntryPayload::<M>::Normal(command) => self.apply_command(id, index, command).map(Some),
            EntryPayload::<M>::Membership(membership) => {
                let stored = StoredMembership::new(Some(id), membership);
                self.write(|state| {
                    state.membership = stored;
                    state.applied = Some(id);
                });
                Ok(None)
            }
        }
    }

    fn apply_command(&self, id: LogId, index: u64, command: Payload<M>) -> io::Result<M::Outcome> {
        let command = command
            .into_command()
            .map_err(|error| disk::unreadable("entry", format_args!("index {index}: {error}")))?;
        let applying = || {
            self.write(|state| {
                let outcome = state.machine.apply(index, &command);
                state.applied = Some(id);
                outcome
            })
        };
        // The half-applied state is never used again: the error stops the group.
        catch_unwind(AssertUnwindSafe(applying)).map_err(|_| {
            io::Error::other(format!(
                "the state machine panicked on the entry at index {index}"
            ))
        })
    }
}

impl<M> State<M> {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }
}

/// openraft's view of the machine.
pub(crate) struct StateMachine<M: Machine> {
    shared: Arc<Shared<M>>,
    keeper: Arc<Keeper<M>>,
}

impl<M: Machine> StateMachine<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, keeper: Arc<Keeper<M>>) -> Self {
        Self { shared, keeper }
    }

    /// Refuses an entry that does not follow the last one. An entry left out would be missed on this replica alone, and
    /// by nobody: the reader of a log gives what there is of a range, and openraft does not count.
    ///
    /// Not before the replica is open: a start applies its own log, and openraft's suite leaves entries out.
    fn check_follows(&self, index: u64) -> io::Result<()> {
        let next = self.shared.next_index();
        if index == next || !self.keeper.is_serving() {
            return Ok(());
        }
        let what = format_args!("no entry at index {next}, which is to be applied before {index}");
        Err(disk::unreadable("log", what))
    }

    /// Entries that come faster than the disk takes them wait for it. Refuses once no checkpoint can be written.
    ///
    /// SUBTLE: it waits for nobody and writes the checkpoint itself. Whoever takes checkpoints otherwise is not there yet
    /// while a start applies its log again, and later may be waiting for something that stands in the queue behind the
    /// very entry which is to be applied.
    async fn await_room(&self) -> io::Result<()> {
        loop {
            self.keeper.check()?;
            if self.shared.has_room() {
                return Ok(());
            }
            let keeper = Arc::clone(&self.keeper);
            if elsewhere(move || keeper.make_room()).await? {
                return Ok(());
            }
            self.keeper.wait_for_space().await?;
        }
    }
}

impl<M: Machine> RaftStateMachine<Types<M>> for StateMachine<M> {
    type SnapshotData = Pack;
    type SnapshotBuilder = Builder<M>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok(self
            .shared
            .write(|state| (state.applied, state.membership.clone())))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types<M>>>> + Unpin + Send,
    {
        while let Some(item) = entries.next().await {
            self.await_room().await?;
            let (entry, responder) = item?;
            self.check_follows(entry.index())?;
            let outcome = self.shared.apply(entry)?;
            if let Some(responder) = responder {
                responder.send(Reply(outcome));
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<M> {
        Builder {
            keeper: Arc::clone(&self.keeper),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, pack: Pack) -> io::Result<()> {
        aside(|| self.keeper.install(meta, pack))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        aside(|| self.keeper.newest())
    }
}

/// Gives openraft the last checkpoint, and takes one when it knows that already.
pub(crate) struct Builder<M: Machine> {
    keeper: Arc<Keeper<M>>,
}

impl<M: Machine> RaftSnapshotBuilder<Types<M>> for Builder<M> {
    type SnapshotData = Pack;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        aside(|| self.keeper.tell())
    }
}
