//! What is in the checkpoint alone, read back: the rest of a job, for whoever looks at it.

use std::fmt::Display;
use std::ops::Bound;

use bytes::Bytes;
use leasehold_core::shard::ShardState;
use leasehold_core::shard::job::{AttemptRecord, Part};
use leasehold_core::shard::state::RUN;
use leasehold_core::shard::view::{Elsewhere, StoredParts};
use leasehold_records::shard;
use leasehold_storage::{CheckpointError, View};
use leasehold_types::limits;

use super::{ATTEMPTS, pack_key, table};
use crate::aside::elsewhere;
use crate::group::Group;
use crate::machine::MachineError;

/// The parts in a bundle, each with its job's place in the order of arrival.
pub(super) type Parts = Vec<(u64, Bytes)>;

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
    /// The rest of a job.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub async fn stored_parts(&self, job: Elsewhere) -> Result<StoredParts, StoredError> {
        let read = move |view: &View| {
            Ok(StoredParts {
                payload: part(view, job, Part::Payload)?,
                result: part(view, job, Part::Result)?,
                attempts: attempts(view, job)?,
            })
        };
        self.read_stored(read).await
    }

    /// A replica that cannot read its own checkpoint stops, unless it only has to be looked at again.
    pub(super) async fn read_stored<T: Send + 'static>(
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

/// A part of a job; none when it is not in the checkpoint alone.
pub(super) fn part(view: &View, job: Elsewhere, part: Part) -> Result<Option<Bytes>, StoredError> {
    let Some(first) = job.bundle(part) else {
        return Ok(None);
    };
    let parts = bundle(view, part, first)?;
    Ok(own(parts, job.sequence))
}

/// What is in a bundle; nothing when it is gone.
pub(super) fn bundle(view: &View, part: Part, first: u64) -> Result<Parts, StoredError> {
    let Some(row) = view.get(table(part), &first.to_be_bytes())? else {
        return Ok(Vec::new());
    };
    let parts = shard::decode_bundle(row, first);
    Ok(parts.map_err(|error| MachineError::new(table(part).name(), error))?)
}

/// The bundles that come after one, by their first arrivals.
pub(super) fn bundles_after(
    view: &View,
    part: Part,
    first: u64,
) -> Result<impl Iterator<Item = Result<(u64, Parts), StoredError>>, StoredError> {
    let after = first.to_be_bytes();
    let rows = view.scan(table(part), (Bound::Excluded(&after[..]), Bound::Unbounded))?;
    Ok(rows.map(move |row| {
        let (key, row) = row?;
        let unreadable = |error: &dyn Display| MachineError::new(table(part).name(), error);
        let first = (*key).try_into().map(u64::from_be_bytes);
        let first = first.map_err(|error| unreadable(&error))?;
        let parts = shard::decode_bundle(row, first).map_err(|error| unreadable(&error))?;
        Ok((first, parts))
    }))
}

/// A job's part of a bundle.
///
/// None is no damage: the checkpoint may have been replaced by the leader's, whose bundles are others.
fn own(parts: Parts, job: u64) -> Option<Bytes> {
    let bundle = parts.iter().map(|(_, part)| part.len()).sum();
    let (_, part) = parts.into_iter().find(|(owner, _)| *owner == job)?;
    Some(alone(part, bundle))
}

/// A part of a bundle that had so many bytes, in memory of its own: it must not hold that of all its neighbours.
pub(super) fn alone(part: Bytes, bundle: usize) -> Bytes {
    match part.len() == bundle {
        true => part,
        false => Bytes::copy_from_slice(&part),
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
