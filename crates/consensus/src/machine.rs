//! What a group replicates: the contract between the log and the state behind it.
//!
//! A trait because there are two of them, the metadata and a shard, and because a test wants a third that it can
//! see through. What must hold for every machine: `apply` depends on the state, the index and the command and on
//! nothing else; a refused command is an outcome and never a panic, since a panic would take down every replica
//! in turn at the same entry.
//!
//! A checkpoint of a machine is rows in tables. It is written in the background, a portion at a time, as the machine was
//! when it was frozen: freezing, taking a portion and releasing one are done between entries and must be quick, encoding
//! and writing are done beside them.

use std::fmt::Debug;

use bytes::Bytes;
use leasehold_storage::{CheckpointError, Table, View, Writing};

/// A deterministic state machine over decoded commands.
pub trait Machine: Send + Sync + Sized + 'static {
    /// What one log entry carries; for a shard it is a whole batch.
    type Command: Send + Sync + Debug + 'static;
    /// What came of it, refusals included.
    type Outcome: Send + Sync + Debug + 'static;
    /// A checkpoint that is being taken.
    type Frozen: Send;
    /// A part of it, not yet encoded.
    type Portion: Send;
    /// What was written of it, and may be let go of once it is durable.
    type Written: Send;

    /// The tables that its rows are in.
    const TABLES: &'static [Table];

    /// The command as it is written to the log and sent to the other replicas. Called once, by the leader.
    fn encode(command: &Self::Command) -> Bytes;

    /// Reads back what [`Machine::encode`] gave, in this version or an older one.
    ///
    /// # Errors
    /// When the bytes are no command that this version knows. The replica then stops rather than leave it out.
    fn decode(bytes: Bytes) -> Result<Self::Command, MachineError>;

    /// Carries out one command. The indexes rise, with gaps where the log holds entries of Raft's own.
    fn apply(&mut self, index: u64, command: &Self::Command) -> Self::Outcome;

    /// Begins a checkpoint of the state as it is now. The last one was taken to its end.
    fn freeze(&mut self) -> Self::Frozen;

    /// The next portion of what changed since the last checkpoint, as it was at the freeze; none at the end. What was
    /// taken counts as written, and is kept until it is: when it comes to nothing after all, the machine is not used any
    /// further.
    fn take(&mut self, frozen: &mut Self::Frozen) -> Option<Self::Portion>;

    /// Encodes and writes a portion.
    ///
    /// # Errors
    /// When the checkpoint cannot be written. For want of room the same portion is written again later; else the replica
    /// stops.
    fn write(portion: &Self::Portion, into: &mut Writing)
    -> Result<Self::Written, CheckpointError>;

    /// A portion is durable: what it holds need no longer be in memory.
    fn release(&mut self, written: Self::Written);

    /// Bytes in memory that the next checkpoint may let go of.
    fn unsaved_bytes(&self) -> u64;

    /// The machine that was written, at its last checkpoint.
    ///
    /// # Errors
    /// When the rows cannot be read, or make no machine.
    fn load(view: &View) -> Result<Self, LoadError>;
}

/// Why a command or a row could not be read.
#[derive(Debug, thiserror::Error)]
#[error("unreadable {what}: {reason}")]
pub struct MachineError {
    what: &'static str,
    reason: String,
}

impl MachineError {
    /// Says what could not be read, for example `command`, and why.
    #[must_use]
    pub fn new(what: &'static str, reason: impl ToString) -> Self {
        Self {
            what,
            reason: reason.to_string(),
        }
    }
}

/// Why a checkpoint gave no machine.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The checkpoint's file cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Its rows make no sense.
    #[error(transparent)]
    Rows(#[from] MachineError),
}
