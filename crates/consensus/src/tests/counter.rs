//! A machine that a test can see through.

use bytes::Bytes;

use crate::machine::{Machine, MachineError};

/// A command that the machine dies of.
pub(crate) const POISON: u64 = u64::MAX;
/// A command too large for the log.
pub(crate) const HUGE: u64 = u64::MAX - 1;

/// Remembers every command with the index it was applied at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) applied: Vec<(u64, u64)>,
}

impl Machine for Counter {
    type Command = u64;
    /// How many commands there were before.
    type Outcome = usize;

    fn encode(command: &u64) -> Bytes {
        if *command == HUGE {
            return vec![0; 3 * 1024 * 1024].into();
        }
        command.to_be_bytes().to_vec().into()
    }

    fn decode(bytes: Bytes) -> Result<u64, MachineError> {
        let bytes = bytes.as_ref().try_into();
        bytes
            .map(u64::from_be_bytes)
            .map_err(|error| MachineError::new("command", error))
    }

    fn apply(&mut self, index: u64, command: &u64) -> usize {
        assert_ne!(*command, POISON, "poison, as the test ordered");
        self.applied.push((index, *command));
        self.applied.len() - 1
    }

    fn snapshot(&self) -> Bytes {
        let numbers = self
            .applied
            .iter()
            .flat_map(|(index, command)| [index, command]);
        let bytes: Vec<u8> = numbers.flat_map(|number| number.to_be_bytes()).collect();
        bytes.into()
    }

    fn restore(&mut self, snapshot: Bytes) -> Result<(), MachineError> {
        if !snapshot.len().is_multiple_of(16) {
            return Err(MachineError::new("snapshot", "cut short"));
        }
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        let pairs = snapshot.chunks(16);
        self.applied = pairs
            .map(|pair| (number(&pair[..8]), number(&pair[8..])))
            .collect();
        Ok(())
    }
}
