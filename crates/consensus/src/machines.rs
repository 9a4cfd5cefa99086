//! The two machines that Leasehold replicates: the metadata and a shard.
//!
//! Only glue: the decisions are `leasehold-core`'s, the bytes are `leasehold-records`'s.

use bytes::Bytes;
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome, MetadataState};
use leasehold_core::shard::{Applied, Batch, ShardState};
use leasehold_records::{metadata, shard};

use crate::machine::{Machine, MachineError};

/// One log entry is one batch of commands, and one outcome for each.
impl Machine for ShardState {
    type Command = Batch;
    type Outcome = Applied;

    fn encode(batch: &Batch) -> Bytes {
        shard::encode_batch(batch)
    }

    fn decode(bytes: Bytes) -> Result<Batch, MachineError> {
        shard::decode_batch(bytes).map_err(|error| MachineError::new("batch", error))
    }

    fn apply(&mut self, _index: u64, batch: &Batch) -> Applied {
        Self::apply(self, batch)
    }

    fn snapshot(&self) -> Bytes {
        shard::encode_state(self)
    }

    fn restore(&mut self, snapshot: Bytes) -> Result<(), MachineError> {
        *self = shard::decode_state(snapshot)
            .map_err(|error| MachineError::new("shard snapshot", error))?;
        Ok(())
    }
}

/// One log entry is one command; its index becomes the id of what it adds.
impl Machine for MetadataState {
    type Command = MetadataCommand;
    type Outcome = MetadataOutcome;

    fn encode(command: &MetadataCommand) -> Bytes {
        metadata::encode_command(command)
    }

    fn decode(bytes: Bytes) -> Result<MetadataCommand, MachineError> {
        metadata::decode_command(bytes).map_err(|error| MachineError::new("command", error))
    }

    fn apply(&mut self, index: u64, command: &MetadataCommand) -> MetadataOutcome {
        Self::apply(self, index, command)
    }

    fn snapshot(&self) -> Bytes {
        metadata::encode_state(self)
    }

    fn restore(&mut self, snapshot: Bytes) -> Result<(), MachineError> {
        *self = metadata::decode_state(snapshot)
            .map_err(|error| MachineError::new("metadata snapshot", error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::metadata::command::Found;
    use leasehold_core::policy::Timings;
    use leasehold_types::{ClusterId, Incarnation, ShardEpoch, Timestamp};

    use super::*;

    /// Encodes, decodes and carries out a command, and takes the state through a snapshot into another machine.
    fn replicate<M: Machine>(first: &mut M, second: &mut M, command: &M::Command) -> M::Outcome {
        let read = M::decode(M::encode(command)).unwrap();
        let outcome = first.apply(1, &read);
        second.restore(first.snapshot()).unwrap();
        outcome
    }

    fn refuses_nonsense<M: Machine>(machine: &mut M) {
        let before = machine.snapshot();
        assert!(M::decode(Bytes::from_static(b"\xff\xff")).is_err());
        assert!(machine.restore(Bytes::from_static(b"\xff\xff")).is_err());
        assert_eq!(machine.snapshot(), before);
    }

    #[test]
    fn shard_goes_through_log_and_snapshot_and_refuses_nonsense() {
        let empty = || ShardState::new(Incarnation::default());
        let (mut first, mut second) = (empty(), empty());
        let tick = Batch {
            epoch: ShardEpoch::ZERO,
            stamp: Timestamp::from_micros(7),
            ..Batch::default()
        };
        let applied = replicate(&mut first, &mut second, &tick);
        assert_eq!(applied.outcomes.len(), 0);
        assert_eq!(first, second);
        refuses_nonsense(&mut first);
    }

    #[test]
    fn metadata_goes_through_log_and_snapshot_and_refuses_nonsense() {
        let (mut first, mut second) = (MetadataState::default(), MetadataState::default());
        let found = MetadataCommand::Found(Found {
            cluster: ClusterId::from_random(9),
            virtual_shards: 256,
            timings: Timings::Lan,
            regions: 3,
        });
        let outcome = replicate(&mut first, &mut second, &found);
        assert!(
            !matches!(outcome, MetadataOutcome::Refused(_)),
            "{outcome:?}"
        );
        assert_eq!(first, second);
        refuses_nonsense(&mut first);
    }
}
