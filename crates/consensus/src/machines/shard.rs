//! A shard as a machine: a row for every run of arrivals, and rows of their own for payloads, results and packs of
//! attempts, which are read back when somebody wants them.
//!
//! Keys are numbers in big-endian order, so that jobs that came together lie together: what a queue writes and removes
//! is at the two ends of its tables.

use std::fmt::Display;

use bytes::{Buf, Bytes};
use leasehold_core::shard::job::AttemptRecord;
use leasehold_core::shard::state::{
    Frozen, FrozenEntry, FrozenHead, FrozenJob, FrozenRun, KeptRun, Orphan, RUN,
};
use leasehold_core::shard::view::{Elsewhere, StoredParts};
use leasehold_core::shard::{Applied, Batch, ShardState};
use leasehold_records::shard;
use leasehold_storage::{CheckpointError, Rows, Table, View, Writing};
use leasehold_types::limits;

use crate::aside::elsewhere;
use crate::group::Group;
use crate::machine::{LoadError, Machine, MachineError};

/// One row: the shard's own numbers and its policies.
const HEAD: Table = Table::new("shard");
/// By the number of the run: what is kept of its arrivals.
const RUNS: Table = Table::new("runs");
/// By the place in the order of arrival.
const PAYLOADS: Table = Table::new("payloads");
/// As payloads.
const RESULTS: Table = Table::new("results");
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
    Runs(Frozen),
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
            Portion::Runs(frozen) => return write_runs(frozen, into),
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

fn write_runs(frozen: &Frozen, into: &mut Writing) -> Result<Vec<u64>, CheckpointError> {
    for orphan in &frozen.orphans {
        remove(orphan, into)?;
    }
    for run in &frozen.runs {
        write_run(run, into)?;
    }
    Ok(frozen.runs.iter().map(|run| run.number).collect())
}

fn write_run(run: &FrozenRun, into: &mut Writing) -> Result<(), CheckpointError> {
    for pack in 0..run.dropped {
        into.remove(ATTEMPTS, &pack_key(run.number, pack))?;
    }
    let key = run.number.to_be_bytes();
    if run.entries.is_empty() {
        return into.remove(RUNS, &key);
    }
    for job in run.jobs() {
        write_parts(job, into)?;
    }
    if let Some(pack) = run.pack {
        let attempts = shard::encode_pack(run.attempts());
        into.put(ATTEMPTS, &pack_key(run.number, pack), &attempts)?;
    }
    let kept = run.entries.iter().map(FrozenEntry::kept);
    into.put(RUNS, &key, &shard::encode_run(run.packs, kept))
}

fn write_parts(job: &FrozenJob, into: &mut Writing) -> Result<(), CheckpointError> {
    let key = job.sequence().to_be_bytes();
    if let Some(payload) = job.payload() {
        into.put(PAYLOADS, &key, payload)?;
    }
    if let Some(result) = job.result() {
        into.put(RESULTS, &key, result)?;
    }
    Ok(())
}

fn remove(orphan: &Orphan, into: &mut Writing) -> Result<(), CheckpointError> {
    let key = orphan.sequence.to_be_bytes();
    if orphan.payload {
        into.remove(PAYLOADS, &key)?;
    }
    if orphan.result {
        into.remove(RESULTS, &key)?;
    }
    Ok(())
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

/// Why what a checkpoint holds of a job could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The checkpoint's file cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A row makes no sense.
    #[error(transparent)]
    Row(#[from] MachineError),
}

impl StoredError {
    /// Whether the disk was found full meanwhile, by a checkpoint that was being written: nothing is lost, and another look
    /// may find it.
    #[must_use]
    pub const fn is_for_want_of_space(&self) -> bool {
        matches!(self, Self::Checkpoint(CheckpointError::Full { .. }))
    }
}

/// What is in the checkpoint alone. Reading it may wait for the disk.
impl Group<ShardState> {
    /// The payloads of some jobs, by their places in the order of arrival; none for a job that has ended meanwhile.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub async fn stored_payloads(&self, jobs: Vec<u64>) -> Result<Vec<Option<Bytes>>, StoredError> {
        let read = move |view: &View| {
            let payload = |job: &u64| view.get(PAYLOADS, &job.to_be_bytes());
            let payloads: Result<_, _> = jobs.iter().map(payload).collect();
            Ok(payloads?)
        };
        self.read_stored(read).await
    }

    /// The rest of a job.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub async fn stored_parts(&self, job: Elsewhere) -> Result<StoredParts, StoredError> {
        let read = move |view: &View| {
            let key = job.sequence.to_be_bytes();
            let part = |table, is_there: bool| match is_there {
                true => view.get(table, &key),
                false => Ok(None),
            };
            Ok(StoredParts {
                payload: part(PAYLOADS, job.stored.payload.is_some())?,
                result: part(RESULTS, job.stored.result.is_some())?,
                attempts: attempts(view, job)?,
            })
        };
        self.read_stored(read).await
    }

    /// A replica that cannot read its own checkpoint stops, unless it only has to be looked at again.
    async fn read_stored<T: Send + 'static>(
        &self,
        read: impl Fn(&View) -> Result<T, StoredError> + Send + 'static,
    ) -> Result<T, StoredError> {
        let group = self.clone();
        let found = elsewhere(move || {
            let look = || read(&group.view()?);
            match look() {
                Err(error) if error.is_for_want_of_space() => look(),
                found => found,
            }
        });
        found.await.inspect_err(|error| {
            if !error.is_for_want_of_space() {
                self.fail(error);
            }
        })
    }
}

/// The newest attempts of a job, of which there are at least as many as are shown. Packs are read from the last one: a
/// job that was tried very often, or that has such neighbours, costs no more than that.
fn attempts(view: &View, job: Elsewhere) -> Result<Vec<AttemptRecord>, StoredError> {
    let mut attempts = Vec::new();
    if job.stored.attempts.is_none() {
        return Ok(attempts);
    }
    for pack in (0..job.packs).rev() {
        if attempts.len() >= limits::HISTORY {
            break;
        }
        // The newest pack may be one that the checkpoint under way is still writing.
        let key = pack_key(job.sequence / RUN, pack);
        let Some(row) = view.get(ATTEMPTS, &key)? else {
            continue;
        };
        let own = shard::decode_pack(row, job.sequence);
        attempts.extend(own.map_err(|error| MachineError::new("attempts", error))?);
    }
    Ok(attempts)
}
