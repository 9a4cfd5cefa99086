//! The machine behind the log: applying, snapshots, and looking at the state from outside.
//!
//! The state lives in memory. It is made durable by snapshots and by the log after them, never by applying: on a start
//! the last snapshot is restored and the log replayed. A snapshot is written beside the last one and then takes its
//! place; an older one never replaces a newer one, whatever order the disk finishes in.
//!
//! What cannot be applied stops the group: an entry that cannot be read, or a machine that panics. A replica that
//! skipped an entry would be a different machine from then on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use leasehold_storage::SnapshotStore;
use leasehold_types::GroupId;
use openraft::RaftSnapshotBuilder;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::disk;
use crate::machine::Machine;
use crate::types::{
    Entry, EntryPayload, LogId, Payload, Reply, Snapshot, SnapshotMeta, StoredMembership, Types,
};

/// The state of one group, shared between the one that applies and those who look.
pub(crate) struct Shared<M> {
    state: RwLock<State<M>>,
}

struct State<M> {
    machine: M,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl<M: Machine> Shared<M> {
    pub(crate) fn new(machine: M) -> Self {
        let state = State {
            machine,
            applied: None,
            membership: StoredMembership::default(),
        };
        Self {
            state: RwLock::new(state),
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

    fn apply(&self, entry: Entry<M>) -> io::Result<Option<M::Outcome>> {
        let (id, index) = (entry.log_id, entry.index());
        let outcome = match entry.payload {
            EntryPayload::<M>::Blank => None,
            EntryPayload::<M>::Normal(command) => Some(self.apply_command(index, command)?),
            EntryPayload::<M>::Membership(membership) => {
                let stored = StoredMembership::new(Some(id), membership);
                self.write(|state| state.membership = stored);
                None
            }
        };
        self.write(|state| state.applied = Some(id));
        Ok(outcome)
    }

    fn apply_command(&self, index: u64, command: Payload<M>) -> io::Result<M::Outcome> {
        let command = command
            .into_command()
            .map_err(|error| disk::unreadable("entry", format_args!("index {index}: {error}")))?;
        let applying = || self.write(|state| state.machine.apply(index, &command));
        // The half-applied state is never used again: the error stops the group.
        catch_unwind(AssertUnwindSafe(applying)).map_err(|_| {
            io::Error::other(format!(
                "the state machine panicked on the entry at index {index}"
            ))
        })
    }

    /// The whole state as it is now, and where it stands.
    fn capture(&self) -> Snapshot {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            meta: SnapshotMeta {
                last_log_id: state.applied,
                last_membership: state.membership.clone(),
            },
            snapshot: state.machine.snapshot(),
        }
    }

    fn restore(&self, meta: &SnapshotMeta, body: Bytes) -> io::Result<()> {
        self.write(|state| {
            state
                .machine
                .restore(body)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            state.applied = meta.last_log_id;
            state.membership = meta.last_membership.clone();
            Ok(())
        })
    }
}

/// Does work that takes long without holding up the other tasks of its thread. In a runtime of one thread, which is
/// what tests and simulations have, it is done in place.
fn aside<R>(work: impl FnOnce() -> R) -> R {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        return block_in_place(work);
    }
    work()
}

/// The one snapshot of a group on disk.
struct Saved {
    group: GroupId,
    store: Arc<SnapshotStore>,
    /// Where the snapshot on disk ends; the lock also keeps two from being written at once.
    last: Mutex<Option<LogId>>,
}

impl Saved {
    fn load(&self) -> io::Result<Option<Snapshot>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.store.load(self.group).map_err(io::Error::other)?;
        let Some((header, body)) = found else {
            return Ok(None);
        };
        let meta = disk::decode_snapshot_header(header)?;
        *last = meta.last_log_id;
        Ok(Some(Snapshot {
            meta,
            snapshot: body,
        }))
    }

    /// Writes a snapshot unless the disk has this one or a newer one.
    fn save(&self, meta: &SnapshotMeta, body: &Bytes) -> io::Result<()> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some() && *last >= meta.last_log_id {
            return Ok(());
        }
        let header = disk::encode_snapshot_header(meta);
        self.store
            .save(self.group, header, body.clone())
            .map_err(io::Error::other)?;
        *last = meta.last_log_id;
        Ok(())
    }
}

/// openraft's view of the machine.
pub(crate) struct StateMachine<M> {
    shared: Arc<Shared<M>>,
    saved: Arc<Saved>,
}

impl<M: Machine> StateMachine<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, group: GroupId, store: Arc<SnapshotStore>) -> Self {
        let saved = Saved {
            group,
            store,
            last: Mutex::new(None),
        };
        Self {
            shared,
            saved: Arc::new(saved),
        }
    }
}

impl<M: Machine> RaftStateMachine<Types<M>> for StateMachine<M> {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

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
            let (entry, responder) = item?;
            let outcome = self.shared.apply(entry)?;
            if let Some(responder) = responder {
                responder.send(Reply(outcome));
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Captured here, between two entries: the builder runs beside the applying.
        Builder {
            snapshot: aside(|| self.shared.capture()),
            saved: Arc::clone(&self.saved),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, body: Bytes) -> io::Result<()> {
        aside(|| {
            self.shared.restore(meta, body.clone())?;
            self.saved.save(meta, &body)
        })
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        aside(|| self.saved.load())
    }
}

/// A snapshot that was captured and is not yet on disk.
pub(crate) struct Builder {
    snapshot: Snapshot,
    saved: Arc<Saved>,
}

impl<M: Machine> RaftSnapshotBuilder<Types<M>> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let Snapshot { meta, snapshot } = &self.snapshot;
        aside(|| self.saved.save(meta, snapshot))?;
        Ok(self.snapshot.clone())
    }
}
