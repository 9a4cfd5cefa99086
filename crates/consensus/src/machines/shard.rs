//! A shard as a machine: a row for every run of arrivals, and rows for bundles of its payloads, bundles of its results
//! and packs of its attempts, which are read back when somebody wants them.
//!
//! Keys are numbers in big-endian order, so that jobs that came together lie together: what a queue writes and removes
//! is at the two ends of its tables.

mod payloads;
mod stored;
#[cfg(test)]
mod tests;

use std::fmt::Display;

use bytes::{Buf, Bytes};
use leasehold_core::shard::job::Part;
use leasehold_core::shard::state::{FrozenEntry, FrozenHead, FrozenRun, KeptRun};
use leasehold_core::shard::{Applied, Batch, ShardState};
use leasehold_records::shard;
use leasehold_storage::{CheckpointError, Rows, Table, View, Writing};

use crate::machine::{LoadError, Machine, MachineError};

pub use payloads::PayloadReader;
pub use stored::StoredError;

/// One row: the shard's own numbers and its policies.
const HEAD: Table = Table::new("shard");
/// By the number of the run: what is kept of its arrivals.
const RUNS: Table = Table::new("runs");
/// Bundles, by the place of the first job of each in the order of arrival.
const PAYLOADS: Table = Table::new("payloads").apart();
/// As payloads.
const RESULTS: Table = Table::new("results").apart();
/// By the number of the run and of the pack.
const ATTEMPTS: Table = Table::new("attempts");

/// The key of the head.
const WHOLE: &[u8] = b"head";

/// Runs taken between two entries: about a thousand jobs, well under a millisecond.
const PORTION_RUNS: usize = 64;

/// A part of a shard's checkpoint.
pub enum Portion {
    /// The first.
    Head(Box<FrozenHead>),
    /// All others.
    Runs(Vec<FrozenRun>),
}

/// One log entry is one batch of commands, and one outcome for each.
impl Machine for ShardState {
    type Command = Batch;
    type Outcome = Applied;
    /// The head, until it is taken.
    type Frozen = Option<Box<FrozenHead>>;
    type Portion = Portion;
    /// The numbers of the runs.
    type Written = Vec<u64>;

    const TABLES: &'static [Table] = &[HEAD, RUNS, PAYLOADS, RESULTS, ATTEMPTS];

    fn encode(batch: &Batch) -> Bytes {
        shard::encode_batch(batch)
    }

    fn decode(bytes: Bytes) -> Result<Batch, MachineError> {
        shard::decode_batch(bytes).map_err(|error| MachineError::new("batch", error))
    }

    fn apply(&mut self, _index: u64, batch: &Batch) -> Applied {
        Self::apply(self, batch)
    }

    fn freeze(&mut self) -> Option<Box<FrozenHead>> {
        Some(Box::new(Self::freeze(self)))
    }

    fn take(&mut self, head: &mut Option<Box<FrozenHead>>) -> Option<Portion> {
        if let Some(head) = head.take() {
            return Some(Portion::Head(head));
        }
        self.take_frozen(PORTION_RUNS).map(Portion::Runs)
    }

    fn write(portion: &Portion, into: &mut Writing) -> Result<Vec<u64>, CheckpointError> {
        match portion {
            Portion::Head(head) => into.put(HEAD, WHOLE, &shard::encode_head(head))?,
            Portion::Runs(runs) => return write_runs(runs, into),
        }
        Ok(Vec::new())
    }

    fn release(&mut self, runs: Vec<u64>) {
        runs.into_iter().for_each(|run| self.evict(run));
    }

    fn unsaved_bytes(&self) -> u64 {
        Self::unsaved_bytes(self)
    }

    fn load(view: &View) -> Result<Self, LoadError> {
        let missing = || MachineError::new("shard", "its head is missing");
        let head = view.get(HEAD, WHOLE)?.ok_or_else(missing)?;
        let unreadable = |error| MachineError::new("shard", error);
        let FrozenHead { head, policies } = shard::decode_head(head).map_err(unreadable)?;
        let mut runs = Runs {
            rows: view.scan(RUNS, ..)?,
            reader: shard::Reader::default(),
            error: None,
        };
        let state = Self::from_parts(head, policies, &mut runs);
        // A row that could not be read ended the rows early: that error came first, whatever it led to.
        runs.error.map_or(Ok(()), Err)?;
        Ok(state.map_err(|error| MachineError::new("shard", error))?)
    }
}

fn write_runs(runs: &[FrozenRun], into: &mut Writing) -> Result<Vec<u64>, CheckpointError> {
    for run in runs {
        write_run(run, into)?;
    }
    Ok(runs.iter().map(|run| run.number).collect())
}

fn write_run(run: &FrozenRun, into: &mut Writing) -> Result<(), CheckpointError> {
    for part in Part::ALL {
        write_bundles(run, part, into)?;
    }
    for pack in 0..run.dropped {
        into.remove(ATTEMPTS, &pack_key(run.number, pack))?;
    }
    let key = run.number.to_be_bytes();
    if run.entries.is_empty() {
        return into.remove(RUNS, &key);
    }
    if let Some(pack) = run.pack {
        let attempts = shard::encode_pack(run.attempts());
        into.put(ATTEMPTS, &pack_key(run.number, pack), &attempts)?;
    }
    let kept = run.entries.iter().map(FrozenEntry::kept);
    into.put(RUNS, &key, &shard::encode_run(run.packs, kept))
}

fn write_bundles(run: &FrozenRun, part: Part, into: &mut Writing) -> Result<(), CheckpointError> {
    for first in run.dropped_bundles(part) {
        into.remove(table(part), &first.to_be_bytes())?;
    }
    for bundle in run.bundles(part) {
        let row = shard::encode_bundle(&bundle);
        into.put(table(part), &bundle.first.to_be_bytes(), &row)?;
    }
    Ok(())
}

const fn table(part: Part) -> Table {
    match part {
        Part::Payload => PAYLOADS,
        Part::Result => RESULTS,
    }
}

fn pack_key(run: u64, pack: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&run.to_be_bytes());
    key[8..].copy_from_slice(&pack.to_be_bytes());
    key
}

/// The runs, row by row. Where one cannot be read, it ends and keeps the error.
struct Runs {
    rows: Rows,
    reader: shard::Reader,
    error: Option<LoadError>,
}

impl Iterator for Runs {
    type Item = KeptRun;

    fn next(&mut self) -> Option<KeptRun> {
        let read = match self.rows.next()? {
            Ok((key, row)) => self.read_run(&key, row),
            Err(error) => Err(error.into()),
        };
        read.map_err(|error| self.error = Some(error)).ok()
    }
}

impl Runs {
    fn read_run(&mut self, mut key: &[u8], row: Bytes) -> Result<KeptRun, LoadError> {
        let number = key.try_get_u64().unwrap_or_default();
        let wrong =
            |why: &dyn Display| MachineError::new("shard", format_args!("run {number}: {why}"));
        let run = self.reader.read(row).map_err(|error| wrong(&error))?;
        // What stands in another run's row would be put into that one, and be written there from then on.
        match run.stray(number) {
            Some(arrival) => Err(wrong(&format_args!("arrival {arrival} is not of it")).into()),
            None => Ok(run),
        }
    }
}
