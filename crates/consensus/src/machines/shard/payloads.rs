//! Payloads for the workers, read back from the checkpoint.
//!
//! Neighbours lie in one bundle and are mostly granted one after the other. So a bundle is read once for all that are
//! wanted together, and what else was in it is kept until it is wanted. While bundles are wanted in their order, the next
//! few are read along: a look at the disk costs more for the thread that takes it than for the bytes. What is kept cannot
//! be out of date: neither a job's payload nor its place in the order of arrival ever changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use leasehold_core::shard::ShardState;
use leasehold_core::shard::dispatcher::StoredPayload;
use leasehold_core::shard::job::Part;
use leasehold_core::shard::state::RUN;
use leasehold_storage::View;

use super::stored::{Parts, StoredError, alone, bundle, bundles_after};
use crate::group::Group;

/// Bytes of bundles of which something is kept.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Bundles that are read along with one that was next in order.
const AHEAD: usize = 3;

/// Bytes that a bundle takes beside its parts, about: they may be empty.
const BUNDLE_OVERHEAD: usize = 1024;

/// Reads payloads of one shard back.
pub struct PayloadReader {
    group: Group<ShardState>,
    kept: Mutex<Kept>,
}

impl PayloadReader {
    /// Of the shard that a group replicates. Keeps up to 4 MiB.
    #[must_use]
    pub fn new(group: Group<ShardState>) -> Self {
        Self {
            group,
            kept: Mutex::default(),
        }
    }

    /// The payloads of some jobs, in their order; none for a job that has ended meanwhile. It may wait for the disk. Each
    /// payload is expected to be wanted once; another time costs another look.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub async fn read(&self, jobs: &[StoredPayload]) -> Result<Vec<Option<Bytes>>, StoredError> {
        let mut payloads = self.kept().take(jobs);
        let is_missing = |(job, payload): (&StoredPayload, &Option<Bytes>)| {
            payload.is_none().then(|| first(job))
        };
        let missing: BTreeSet<u64> = jobs.iter().zip(&payloads).filter_map(is_missing).collect();
        if missing.is_empty() {
            return Ok(payloads);
        }
        let ahead = self.kept().ahead_of(&missing);
        let look = move |view: &_| look(view, &missing, ahead);
        let mut bundles = self.group.read_stored(look).await?;
        fill(&mut payloads, jobs, &mut bundles);
        self.kept().put(bundles);
        Ok(payloads)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // At worst a bundle is read again.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads some bundles, and so many that come after the last of them.
pub(super) fn look(
    view: &View,
    wanted: &BTreeSet<u64>,
    ahead: usize,
) -> Result<BTreeMap<u64, Unpacked>, StoredError> {
    let mut bundles = BTreeMap::new();
    for first in wanted {
        bundles.insert(*first, bundle(view, Part::Payload, *first)?.into());
    }
    if let Some(last) = wanted.last().filter(|_| ahead > 0) {
        for next in bundles_after(view, Part::Payload, *last)?.take(ahead) {
            let (first, parts) = next?;
            bundles.insert(first, parts.into());
        }
    }
    Ok(bundles)
}

fn first(job: &StoredPayload) -> u64 {
    job.bundle.first(job.sequence)
}

/// Takes what is still wanted out of bundles that were read for it.
fn fill(
    payloads: &mut [Option<Bytes>],
    jobs: &[StoredPayload],
    bundles: &mut BTreeMap<u64, Unpacked>,
) {
    for (job, payload) in jobs.iter().zip(payloads) {
        if payload.is_none() {
            let bundle = bundles.get_mut(&first(job));
            *payload = bundle.and_then(|bundle| bundle.take(job.sequence));
        }
    }
}

/// A bundle that was read, and what is left in it.
pub(super) struct Unpacked {
    pub(super) parts: Parts,
    /// Of all that was in it: what is left holds the memory of the whole.
    bytes: usize,
    /// When it was kept, among others.
    age: u64,
}

impl From<Parts> for Unpacked {
    fn from(parts: Parts) -> Self {
        let bytes = parts.iter().map(|(_, part)| part.len()).sum();
        let age = 0;
        Self { parts, bytes, age }
    }
}

impl Unpacked {
    fn take(&mut self, sequence: u64) -> Option<Bytes> {
        let at = self
            .parts
            .iter()
            .position(|(owner, _)| *owner == sequence)?;
        let (_, part) = self.parts.swap_remove(at);
        Some(alone(part, self.bytes))
    }
}

/// What is left of bundles that were read lately.
#[derive(Default)]
struct Kept {
    bundles: BTreeMap<u64, Unpacked>,
    /// Their first arrivals, by age.
    by_age: BTreeMap<u64, u64>,
    /// The age of the next.
    next: u64,
    bytes: usize,
    /// The run of the last bundle that was wanted of the disk, or read along.
    last_run: u64,
}

impl Kept {
    /// How many bundles to read along with some that are to be read: none unless they come right after the last ones.
    fn ahead_of(&self, wanted: &BTreeSet<u64>) -> usize {
        let after = wanted.first().map(|first| first / RUN);
        let is_next = after.is_some_and(|run| (self.last_run..=self.last_run + 1).contains(&run));
        if is_next { AHEAD } else { 0 }
    }

    /// What is kept of what is wanted, and from then on no longer.
    fn take(&mut self, jobs: &[StoredPayload]) -> Vec<Option<Bytes>> {
        jobs.iter().map(|job| self.take_one(job)).collect()
    }

    fn take_one(&mut self, job: &StoredPayload) -> Option<Bytes> {
        let bundle = self.bundles.get_mut(&first(job))?;
        let payload = bundle.take(job.sequence);
        if bundle.parts.is_empty() {
            self.remove(first(job));
        }
        payload
    }

    /// Keeps what is left of bundles, and lets go of the oldest where that is too much.
    fn put(&mut self, bundles: BTreeMap<u64, Unpacked>) {
        if let Some((last, _)) = bundles.last_key_value() {
            self.last_run = last / RUN;
        }
        for (first, bundle) in bundles {
            self.remove(first);
            if !bundle.parts.is_empty() {
                self.insert(first, bundle);
            }
        }
        while self.bytes > KEPT_BYTES
            && let Some((_, &oldest)) = self.by_age.first_key_value()
        {
            self.remove(oldest);
        }
    }

    fn insert(&mut self, first: u64, bundle: Unpacked) {
        let age = self.next;
        self.next += 1;
        self.bytes += bundle.bytes + BUNDLE_OVERHEAD;
        self.by_age.insert(age, first);
        self.bundles.insert(first, Unpacked { age, ..bundle });
    }

    fn remove(&mut self, first: u64) {
        if let Some(bundle) = self.bundles.remove(&first) {
            self.by_age.remove(&bundle.age);
            self.bytes -= bundle.bytes + BUNDLE_OVERHEAD;
        }
    }
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

    fn payload(job: u64, bytes: usize) -> Bytes {
        Bytes::from(vec![u8::try_from(job % 251).unwrap(); bytes])
    }

    fn bundle(jobs: impl IntoIterator<Item = u64>, bytes: usize) -> Unpacked {
        let parts = jobs.into_iter().map(|job| (job, payload(job, bytes)));
        parts.collect::<Parts>().into()
    }

    #[test]
    fn neighbours_that_are_wanted_together_come_out_of_one_bundle() {
        let jobs = [stored(3, 0), stored(20, 2), stored(1, 0), stored(18, 2)];
        let mut bundles = BTreeMap::from([(0, bundle(0..4, 100)), (18, bundle(18..22, 100))]);
        let mut payloads = vec![None; 4];
        fill(&mut payloads, &jobs, &mut bundles);
        assert_eq!(payloads, [3, 20, 1, 18].map(|job| Some(payload(job, 100))));
        assert_eq!(bundles[&0].parts.len(), 2);
    }

    #[test]
    fn what_was_in_a_bundle_besides_is_there_when_it_is_wanted_and_only_once() {
        let mut kept = Kept::default();
        kept.put(BTreeMap::from([(16, bundle(16..20, 100))]));
        assert_eq!(kept.take(&[stored(17, 0)]), [Some(payload(17, 100))]);
        assert_eq!(kept.take(&[stored(17, 0)]), [None]);
        let rest = [16, 18, 19].map(|job| stored(job, 0));
        assert!(kept.take(&rest).iter().all(Option::is_some));
        assert_eq!(
            (kept.bytes, kept.bundles.len(), kept.by_age.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn job_that_is_in_no_bundle_any_more_has_no_payload() {
        let mut payloads = vec![None];
        fill(
            &mut payloads,
            &[stored(3, 0)],
            &mut BTreeMap::from([(0, bundle([], 1))]),
        );
        assert_eq!(payloads, [None]);
        fill(
            &mut payloads,
            &[stored(3, 0)],
            &mut BTreeMap::from([(0, bundle([2], 1))]),
        );
        assert_eq!(payloads, [None]);
    }

    #[test]
    fn bundles_are_read_ahead_while_they_are_wanted_in_their_order() {
        let mut kept = Kept::default();
        let ahead = |kept: &Kept, run: u64| kept.ahead_of(&BTreeSet::from([run * RUN]));
        assert_eq!(ahead(&kept, 7), 0);
        kept.put(BTreeMap::from([(7 * RUN, bundle(7 * RUN..8 * RUN, 10))]));
        assert_eq!(
            [7, 8, 9, 6].map(|run| ahead(&kept, run)),
            [AHEAD, AHEAD, 0, 0]
        );
    }

    #[test]
    fn so_many_bytes_are_kept_and_the_oldest_go_first() {
        let mut kept = Kept::default();
        let big = KEPT_BYTES / 8 - BUNDLE_OVERHEAD;
        for run in (0..20).rev() {
            let first = run * 16;
            kept.put(BTreeMap::from([(first, bundle(first..first + 2, big))]));
            assert!(kept.bytes <= KEPT_BYTES);
            assert_eq!(kept.bundles.len(), kept.by_age.len());
        }
        let found = |kept: &mut Kept, run: u64| kept.take(&[stored(run * 16, 0)])[0].is_some();
        assert!((0..4).all(|run| found(&mut kept, run)));
        assert!(!(4..20).any(|run| found(&mut kept, run)));
    }

    #[test]
    fn bundle_that_is_read_again_takes_the_place_of_what_was_kept() {
        let mut kept = Kept::default();
        for _ in 0..3 {
            kept.put(BTreeMap::from([(0, bundle(0..4, 100))]));
        }
        assert_eq!(
            (kept.bytes, kept.bundles.len(), kept.by_age.len()),
            (400 + BUNDLE_OVERHEAD, 1, 1)
        );
    }

    #[test]
    fn payload_does_not_hold_its_neighbours_memory() {
        let row = Bytes::from(vec![7; 200]);
        let parts = vec![(0, row.slice(..100)), (1, row.slice(100..))];
        let mut bundle = Unpacked::from(parts);
        assert!(bundle.take(1).unwrap().is_unique());
        assert!(bundle.take(0).unwrap().is_unique());
    }
}
