//! A run of arrivals as a checkpoint writes it.
//!
//! Which bundle a part goes into, and which bundle goes because nobody wants a part of it any more, is decided here,
//! when the run is looked at: whoever stops wanting a part changes its run, so the next checkpoint looks at it anyway.

use std::sync::Arc;

use bytes::Bytes;

use super::bundle::{Bundle, Bundles, Filling};
use super::run::{Entry, RUN, Rows, Run, Slot};
use crate::shard::job::{AttemptRecord, Job, Part};
use crate::shard::state::{Kept, Remembered};

/// A run as it was at the freeze.
#[derive(Debug, Clone)]
pub struct FrozenRun {
    /// Its number: its first arrival by [`super::RUN`].
    pub number: u64,
    /// What was in it; nothing when its row is to be removed.
    pub entries: Vec<FrozenEntry>,
    /// How many packs of attempts it has, once this is written.
    pub packs: u32,
    /// The number of the pack to be written with the attempts of its jobs; none when there are none to write.
    pub pack: Option<u32>,
    /// So many packs are to be removed: none of its jobs is held any more.
    pub dropped: u32,
    /// Its bundles of payloads.
    pub(super) payloads: FrozenBundles,
    /// Its bundles of results.
    pub(super) results: FrozenBundles,
}

/// The bundles that a run has, and had.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrozenBundles {
    /// Those that it has once this is written.
    pub(super) kept: Bundles,
    /// Those that are to be removed.
    dropped: Bundles,
}

impl FrozenBundles {
    fn new(before: Bundles, entries: &[FrozenEntry], part: Part) -> Self {
        let kept = jobs(entries)
            .filter_map(|job| job.rows.bundle(part))
            .collect();
        Self {
            kept,
            dropped: before.without(kept),
        }
    }
}

/// A bundle to be written.
#[derive(Debug, Clone)]
pub struct FrozenBundle<'a> {
    /// Its first arrival.
    pub first: u64,
    /// What is in it, each with its job's place in the order of arrival.
    pub parts: Vec<(u64, &'a Bytes)>,
}

impl FrozenRun {
    pub(super) fn new(run: &Run, number: u64) -> Self {
        let (mut payloads, mut results) = (Filling::default(), Filling::default());
        let entries = run.entries().map(|entry| match entry {
            Entry::Held(slot) => {
                FrozenEntry::Held(FrozenJob::new(slot, &mut payloads, &mut results))
            }
            Entry::Gone(entry) => FrozenEntry::Gone(Arc::clone(entry)),
        });
        let entries: Vec<FrozenEntry> = entries.collect();
        let mut frozen = Self {
            number,
            payloads: FrozenBundles::new(run.payloads, &entries, Part::Payload),
            results: FrozenBundles::new(run.results, &entries, Part::Result),
            entries,
            packs: run.packs,
            pack: None,
            dropped: 0,
        };
        if frozen.jobs().next().is_none() {
            frozen.dropped = std::mem::take(&mut frozen.packs);
        } else if frozen.attempts().next().is_some() {
            frozen.pack = Some(run.packs);
            frozen.packs += 1;
        }
        frozen
    }

    /// The attempts that go into its pack, each with its job's place in the order of arrival.
    pub fn attempts(&self) -> impl Iterator<Item = (u64, &AttemptRecord)> {
        self.jobs().flat_map(|job| {
            let attempts = job.attempts();
            attempts.map(|attempt| (job.sequence(), attempt))
        })
    }

    /// The bundles of one kind that are to be written, in the order of arrival.
    #[must_use]
    pub fn bundles(&self, part: Part) -> Vec<FrozenBundle<'_>> {
        let mut bundles: Vec<FrozenBundle<'_>> = Vec::new();
        for job in self.jobs() {
            let Some((bundle, bytes)) = job.new_part(part) else {
                continue;
            };
            let (first, part) = (bundle.first(job.sequence()), (job.sequence(), bytes));
            match bundles.last_mut().filter(|last| last.first == first) {
                Some(last) => last.parts.push(part),
                None => bundles.push(FrozenBundle {
                    first,
                    parts: vec![part],
                }),
            }
        }
        bundles
    }

    /// The first arrivals of the bundles of one kind that are to be removed: nobody wants them any more.
    pub fn dropped_bundles(&self, part: Part) -> impl Iterator<Item = u64> {
        let first = self.number * RUN;
        let dropped = self.bundles_of(part).dropped;
        dropped.iter().map(move |bundle| bundle.first(first))
    }

    const fn bundles_of(&self, part: Part) -> FrozenBundles {
        match part {
            Part::Payload => self.payloads,
            Part::Result => self.results,
        }
    }

    /// The jobs in it that were held.
    pub fn jobs(&self) -> impl Iterator<Item = &FrozenJob> {
        jobs(&self.entries)
    }
}

/// What a checkpoint writes of one arrival.
#[derive(Debug, Clone)]
pub enum FrozenEntry {
    /// A job.
    Held(FrozenJob),
    /// What is remembered of a job.
    Gone(Arc<Remembered>),
}

impl FrozenEntry {
    /// What the row of the run says of it: everything but what has rows of its own.
    #[must_use]
    pub fn kept(&self) -> Kept {
        match self {
            Self::Held(frozen) => frozen.kept(),
            Self::Gone(entry) => Kept::Gone(Arc::clone(entry)),
        }
    }
}

/// A job as it was at the freeze, and where its parts were written before. What it has in memory beyond those is to be
/// written now.
#[derive(Debug, Clone)]
pub struct FrozenJob {
    job: Arc<Job>,
    written: Rows,
    /// Where its parts are once this is written; of none that it wants no more.
    pub(super) rows: Rows,
}

impl FrozenJob {
    /// Fills bundles with what is to be written of a job.
    fn new(slot: &Slot, payloads: &mut Filling, results: &mut Filling) -> Self {
        let (job, written) = (Arc::clone(&slot.job), slot.rows);
        let newest = job.body().attempts.last().map(|attempt| attempt.number);
        let rows = Rows {
            payload: bundle(&job, written, Part::Payload, payloads),
            result: bundle(&job, written, Part::Result, results),
            attempts: written.attempts.max(newest.unwrap_or_default()),
        };
        Self { job, written, rows }
    }

    /// The job's place in the order of arrival.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.job.header.sequence
    }

    /// A part that is to be written, and the bundle for it.
    fn new_part(&self, part: Part) -> Option<(Bundle, &Bytes)> {
        let (bundle, bytes) = (self.rows.bundle(part)?, self.job.body().part(part)?);
        (self.written.bundle(part).is_none()).then_some((bundle, bytes))
    }

    /// The attempts that are to be written.
    pub fn attempts(&self) -> impl Iterator<Item = &AttemptRecord> {
        let upto = self.written.attempts;
        let attempts = self.job.body().attempts.iter();
        attempts.filter(move |attempt| attempt.number > upto)
    }

    fn kept(&self) -> Kept {
        let (mut job, rows) = (self.job.as_ref().clone(), self.rows);
        job.evict(rows.payload.is_some(), rows.result.is_some(), rows.attempts);
        Kept::Held(Box::new(job), rows)
    }
}

/// The bundle that a part of a job is in once this is written.
fn bundle(job: &Job, written: Rows, part: Part, filling: &mut Filling) -> Option<Bundle> {
    let written = written.bundle(part);
    match job.body().part(part) {
        Some(bytes) => written.or_else(|| Some(filling.put(job.header.sequence, bytes.len()))),
        None => written.filter(|_| job.stored().has(part)),
    }
}

fn jobs(entries: &[FrozenEntry]) -> impl Iterator<Item = &FrozenJob> {
    entries.iter().filter_map(|entry| match entry {
        FrozenEntry::Held(job) => Some(job),
        FrozenEntry::Gone(_) => None,
    })
}
