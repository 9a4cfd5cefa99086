//! The metadata as a machine: one row holds all of it, for it grows with nodes and queues and not with jobs.

use bytes::Bytes;
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome, MetadataState};
use leasehold_records::metadata;
use leasehold_storage::{CheckpointError, Table, View, Writing};

use crate::machine::{LoadError, Machine, MachineError};

const STATE: Table = Table::new("metadata");
/// The key of the one row.
const WHOLE: &[u8] = b"state";

/// One log entry is one command; its index becomes the id of what it adds.
impl Machine for MetadataState {
    type Command = MetadataCommand;
    type Outcome = MetadataOutcome;
    type Frozen = Option<Bytes>;
    type Portion = Bytes;
    type Written = ();

    const TABLES: &'static [Table] = &[STATE];

    fn encode(command: &MetadataCommand) -> Bytes {
        metadata::encode_command(command)
    }

    fn decode(bytes: Bytes) -> Result<MetadataCommand, MachineError> {
        metadata::decode_command(bytes).map_err(|error| MachineError::new("command", error))
    }

    fn apply(&mut self, index: u64, command: &MetadataCommand) -> MetadataOutcome {
        Self::apply(self, index, command)
    }

    fn freeze(&mut self) -> Option<Bytes> {
        Some(metadata::encode_state(self))
    }

    fn take(&mut self, frozen: &mut Option<Bytes>) -> Option<Bytes> {
        frozen.take()
    }

    fn write(state: &Bytes, into: &mut Writing) -> Result<(), CheckpointError> {
        into.put(STATE, WHOLE, state)
    }

    fn release(&mut self, (): ()) {}

    fn unsaved_bytes(&self) -> u64 {
        0
    }

    fn load(view: &View) -> Result<Self, LoadError> {
        let missing = || MachineError::new("metadata", "the row is missing");
        let row = view.get(STATE, WHOLE)?.ok_or_else(missing)?;
        let state = metadata::decode_state(row);
        Ok(state.map_err(|error| MachineError::new("metadata", error))?)
    }
}
