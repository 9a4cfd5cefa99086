//! What is in the checkpoint alone, read back: payloads for the workers, and the rest of a job for whoever looks at it.
//!
//! Neighbours are mostly granted together and lie in one bundle, which is then read once for all of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use leasehold_core::shard::ShardState;
use leasehold_core::shard::dispatcher::StoredPayload;
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
type Parts = Vec<(u64, Bytes)>;

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
    /// The payloads of some jobs; none for a job that has ended meanwhile. Those in one bundle cost one look.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub async fn stored_payloads(
        &self,
        jobs: Vec<StoredPayload>,
    ) -> Result<Vec<Option<Bytes>>, StoredError> {
        let read = move |view: &View| payloads(&jobs, |first| bundle(view, Part::Payload, first));
        self.read_stored(read).await
    }

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

fn payloads(
    jobs: &[StoredPayload],
    mut bundle: impl FnMut(u64) -> Result<Parts, StoredError>,
) -> Result<Vec<Option<Bytes>>, StoredError> {
    let mut by_bundle: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, job) in jobs.iter().enumerate() {
        let first = job.bundle.first(job.sequence);
        by_bundle.entry(first).or_default().push(at);
    }
    let mut payloads = vec![None; jobs.len()];
    for (first, wanted) in by_bundle {
        let parts = bundle(first)?;
        for at in wanted {
            payloads[at] = own(&parts, jobs[at].sequence);
        }
    }
    Ok(payloads)
}

/// A part of a job; none when it is not in the checkpoint alone.
pub(super) fn part(view: &View, job: Elsewhere, part: Part) -> Result<Option<Bytes>, StoredError> {
    let Some(first) = job.bundle(part) else {
        return Ok(None);
    };
    let parts = bundle(view, part, first)?;
    Ok(own(&parts, job.sequence))
}

/// What is in a bundle; nothing when it is gone.
fn bundle(view: &View, part: Part, first: u64) -> Result<Parts, StoredError> {
    let Some(row) = view.get(table(part), &first.to_be_bytes())? else {
        return Ok(Vec::new());
    };
    let parts = shard::decode_bundle(row, first);
    Ok(parts.map_err(|error| MachineError::new(table(part).name(), error))?)
}

/// A job's part of a bundle, in memory of its own: it must not hold that of all its neighbours.
///
/// None is no damage: the checkpoint may have been replaced by the leader's, whose bundles are others.
fn own(parts: &[(u64, Bytes)], job: u64) -> Option<Bytes> {
    let (_, part) = parts.iter().find(|(owner, _)| *owner == job)?;
    Some(match parts {
        [_] => part.clone(),
        _ => Bytes::copy_from_slice(part),
    })
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

#[cfg(test)]
mod tests {
    use leasehold_core::shard::state::Bundle;

    use super::*;

    fn stored(sequence: u64, bundle: u32) -> StoredPayload {
        StoredPayload {
            sequence,
            bundle: Bundle::at(bundle).unwrap(),
            bytes: 1,
        }
    }

    fn payload(job: u64) -> Bytes {
        Bytes::from(vec![u8::try_from(job).unwrap(); 100])
    }

    #[test]
    fn neighbours_cost_one_look_whatever_they_are_asked_for_with() {
        let jobs = [stored(3, 0), stored(20, 2), stored(1, 0), stored(18, 2)];
        let mut looks = Vec::new();
        let found = payloads(&jobs, |first| {
            looks.push(first);
            let jobs = first..first + 4;
            Ok(jobs.map(|job| (job, payload(job))).collect())
        });
        let expected = [3, 20, 1, 18].map(|job| Some(payload(job)));
        assert_eq!(found.unwrap(), expected);
        assert_eq!(looks, [0, 18]);
    }

    #[test]
    fn job_that_is_in_no_bundle_any_more_has_no_payload() {
        let gone = payloads(&[stored(3, 0)], |_| Ok(Vec::new()));
        assert_eq!(gone.unwrap(), [None]);
        let replaced = payloads(&[stored(3, 0)], |_| Ok(vec![(2, payload(2))]));
        assert_eq!(replaced.unwrap(), [None]);
    }

    #[test]
    fn part_does_not_hold_its_neighbours_memory() {
        let row = Bytes::from(vec![7; 200]);
        let parts = [(0, row.slice(..100)), (1, row.slice(100..))];
        assert!(own(&parts, 1).unwrap().is_unique());
    }
}
