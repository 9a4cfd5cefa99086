//! A machine that a test can see through.

use bytes::Bytes;
use leasehold_storage::{CheckpointError, Table, View, Writing};

use crate::machine::{LoadError, Machine, MachineError};

/// A command that the machine dies of.
pub(crate) const POISON: u64 = u64::MAX;
/// A command too large for the log.
pub(crate) const HUGE: u64 = u64::MAX - 1;
/// The first of a thousand commands that are as if each left [`HEAVY_BYTES`] in memory until a checkpoint has it.
pub(crate) const HEAVY: u64 = 1 << 40;
/// Two of them are worth a checkpoint, and eight are as much as may be in memory.
pub(crate) const HEAVY_BYTES: u64 = 32 * 1024 * 1024;
/// What the row of one has besides the command: more than a part of a snapshot.
const BALLAST: usize = 300 * 1024;
/// A command whose row cannot be written.
pub(crate) const UNWRITABLE: u64 = u64::MAX - 2;

fn weight(command: u64) -> u64 {
    match (HEAVY..HEAVY + 1_000).contains(&command) {
        true => HEAVY_BYTES,
        false => 0,
    }
}

/// Remembers every command with the index it was applied at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) applied: Vec<(u64, u64)>,
    /// How many of them a checkpoint has.
    written: usize,
    /// Bytes that the next checkpoint may let go of.
    unsaved: u64,
}

const APPLIED: Table = Table::new("applied");

impl Machine for Counter {
    type Command = u64;
    /// How many commands there were before.
    type Outcome = usize;
    /// What is not yet taken, the last first.
    type Frozen = Vec<(u64, u64)>;
    type Portion = (u64, u64);
    /// The weight of the command.
    type Written = u64;

    const TABLES: &'static [Table] = &[APPLIED];

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
        self.unsaved += weight(*command);
        self.applied.len() - 1
    }

    fn freeze(&mut self) -> Vec<(u64, u64)> {
        let mut new = self.applied.split_off(self.written);
        self.applied.extend(new.iter());
        self.written = self.applied.len();
        // Taken from the end.
        new.reverse();
        new
    }

    fn take(&mut self, frozen: &mut Vec<(u64, u64)>) -> Option<(u64, u64)> {
        frozen.pop()
    }

    fn write((index, command): &(u64, u64), into: &mut Writing) -> Result<u64, CheckpointError> {
        assert_ne!(*command, UNWRITABLE, "unwritable, as the test ordered");
        let weight = weight(*command);
        let mut row = command.to_be_bytes().to_vec();
        row.resize(row.len() + if weight > 0 { BALLAST } else { 0 }, 0);
        into.put(APPLIED, &index.to_be_bytes(), &row)?;
        Ok(weight)
    }

    fn release(&mut self, weight: u64) {
        self.unsaved -= weight;
    }

    fn unsaved_bytes(&self) -> u64 {
        self.unsaved
    }

    fn load(view: &View) -> Result<Self, LoadError> {
        let number = |bytes: Bytes| match bytes.first_chunk() {
            Some(bytes) => Ok(u64::from_be_bytes(*bytes)),
            None => Err(MachineError::new("row", "not a number")),
        };
        let rows = view.scan(APPLIED, ..)?.map(|row| {
            let (index, command) = row?;
            Ok((number(index)?, number(command)?))
        });
        let applied: Vec<_> = rows.collect::<Result<_, LoadError>>()?;
        let written = applied.len();
        Ok(Self {
            applied,
            written,
            unsaved: 0,
        })
    }
}
