//! What a group replicates: the contract between the log and the state behind it.
//!
//! A trait because there are two of them, the metadata and a shard, and because a test wants a third that it can
//! see through. What must hold for every machine: `apply` depends on the state, the index and the command and on
//! nothing else; a refused command is an outcome and never a panic, since a panic would take down every replica
//! in turn at the same entry.

use std::fmt::Debug;

use bytes::Bytes;

/// A deterministic state machine over decoded commands.
pub trait Machine: Send + Sync + Sized + 'static {
    /// What one log entry carries; for a shard it is a whole batch.
    type Command: Send + Sync + Debug + 'static;
    /// What came of it, refusals included.
    type Outcome: Send + Sync + Debug + 'static;

    /// The command as it is written to the log and sent to the other replicas. Called once, by the leader.
    fn encode(command: &Self::Command) -> Bytes;

    /// Reads back what [`Machine::encode`] gave, in this version or an older one.
    ///
    /// # Errors
    /// When the bytes are no command that this version knows. The replica then stops rather than leave it out.
    fn decode(bytes: Bytes) -> Result<Self::Command, MachineError>;

    /// Carries out one command. The indexes rise, with gaps where the log holds entries of Raft's own.
    fn apply(&mut self, index: u64, command: &Self::Command) -> Self::Outcome;

    /// The whole state as of the last command applied.
    fn snapshot(&self) -> Bytes;

    /// Replaces the whole state by what [`Machine::snapshot`] gave on some replica.
    ///
    /// # Errors
    /// When the bytes are no snapshot that this version knows. The state must then be what it was before.
    fn restore(&mut self, snapshot: Bytes) -> Result<(), MachineError>;
}

/// Why a command or a snapshot could not be read.
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
