//! A checkpoint store in memory: the rows of a shard.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use leasehold_types::{Incarnation, JobId};

use crate::shard::job::{AttemptRecord, Part};
use crate::shard::state::{FrozenEntry, FrozenHead, FrozenRun, KeptRun, RUN, ShardState};
use crate::shard::view::{Elsewhere, JobView, StoredParts};

/// By the first arrival of each: the parts in it, by the places of their jobs in the order of arrival.
type Bundles = BTreeMap<u64, BTreeMap<u64, Bytes>>;

/// What a checkpoint store holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) head: Option<FrozenHead>,
    pub(super) runs: BTreeMap<u64, KeptRun>,
    pub(super) payloads: Bundles,
    pub(super) results: Bundles,
    pub(super) packs: BTreeMap<(u64, u32), Vec<(u64, AttemptRecord)>>,
}

impl Rows {
    pub(super) fn write(&mut self, portion: &[FrozenRun]) {
        for run in portion {
            for part in Part::ALL {
                self.drop_bundles(run, part);
            }
            for pack in 0..run.dropped {
                let dropped = self.packs.remove(&(run.number, pack));
                assert!(dropped.is_some(), "no pack {pack} of {run:?}");
            }
            if run.entries.is_empty() {
                assert!(self.runs.remove(&run.number).is_some(), "no row of {run:?}");
                continue;
            }
            self.write_run(run);
        }
    }

    /// Writes a shard down that lets go of it.
    pub(super) fn write_all(&mut self, state: &mut ShardState) {
        self.head = Some(state.freeze());
        let all = everything(state);
        self.write(&all);
        all.iter().for_each(|run| state.evict(run.number));
    }

    fn write_run(&mut self, run: &FrozenRun) {
        for part in Part::ALL {
            self.write_bundles(run, part);
        }
        if let Some(pack) = run.pack {
            let attempts = run.attempts().map(|(job, attempt)| (job, attempt.clone()));
            let before = self.packs.insert((run.number, pack), attempts.collect());
            assert!(before.is_none(), "pack {pack} of {run:?} is written twice");
        }
        let kept = KeptRun {
            packs: run.packs,
            kept: run.entries.iter().map(FrozenEntry::kept).collect(),
        };
        self.runs.insert(run.number, kept);
    }

    const fn bundles(&self, part: Part) -> &Bundles {
        match part {
            Part::Payload => &self.payloads,
            Part::Result => &self.results,
        }
    }

    const fn bundles_mut(&mut self, part: Part) -> &mut Bundles {
        match part {
            Part::Payload => &mut self.payloads,
            Part::Result => &mut self.results,
        }
    }

    fn write_bundles(&mut self, run: &FrozenRun, part: Part) {
        for bundle in run.bundles(part) {
            let parts = bundle.parts.iter();
            let parts = parts.map(|(job, bytes)| (*job, Bytes::clone(bytes)));
            let before = self.bundles_mut(part).insert(bundle.first, parts.collect());
            assert!(before.is_none(), "{bundle:?} is written twice");
        }
    }

    fn drop_bundles(&mut self, run: &FrozenRun, part: Part) {
        for first in run.dropped_bundles(part) {
            let dropped = self.bundles_mut(part).remove(&first);
            assert!(dropped.is_some(), "no bundle {first} of {run:?}");
        }
    }

    fn parts(&self, elsewhere: &Elsewhere) -> StoredParts {
        let sequence = elsewhere.sequence;
        let run = sequence / RUN;
        let packs = self.packs.range((run, 0)..(run + 1, 0));
        let packed = packs.flat_map(|(_, pack)| pack);
        let own = packed.filter(|(job, _)| *job == sequence);
        StoredParts {
            payload: self.part(elsewhere, Part::Payload),
            result: self.part(elsewhere, Part::Result),
            attempts: own.map(|(_, attempt)| attempt.clone()).collect(),
        }
    }

    pub(super) fn load(&self) -> ShardState {
        let Some(head) = &self.head else {
            return ShardState::new(Incarnation::default());
        };
        let runs = self.runs.values().cloned();
        ShardState::from_parts(head.head, head.policies.clone(), runs).unwrap()
    }

    /// The job with everything, in memory or not.
    pub(super) fn whole(&self, state: &ShardState, id: JobId) -> Option<JobView> {
        let mut view = state.job(id)?;
        if let Some(elsewhere) = state.elsewhere(id) {
            let parts = self.parts(&elsewhere);
            assert!(parts.has_all(&elsewhere.stored), "not all of {elsewhere:?}");
            view.add(parts);
        }
        Some(view)
    }

    /// Every bundle has a part that its job wants, every such part is in one, and packs belong to jobs that are there.
    pub(super) fn check_rows(&self, state: &ShardState) {
        for part in Part::ALL {
            let jobs = state.jobs().map(|job| job.header.id);
            let stored = jobs.filter_map(|job| state.elsewhere(job));
            let wanted = stored.filter_map(|elsewhere| {
                let first = elsewhere.bundle(part)?;
                assert!(self.part(&elsewhere, part).is_some(), "{elsewhere:?}");
                Some(first)
            });
            let wanted: BTreeSet<u64> = wanted.collect();
            assert!(self.bundles(part).keys().eq(&wanted));
        }
        let held_runs: BTreeSet<u64> = state.jobs().map(|job| job.header.sequence / RUN).collect();
        assert!(self.packs.keys().all(|(run, _)| held_runs.contains(run)));
    }

    fn part(&self, elsewhere: &Elsewhere, part: Part) -> Option<Bytes> {
        let parts = self.bundles(part).get(&elsewhere.bundle(part)?)?;
        parts.get(&elsewhere.sequence).cloned()
    }
}

/// All that is left to take.
pub(super) fn everything(state: &mut ShardState) -> Vec<FrozenRun> {
    let mut all = Vec::new();
    while let Some(portion) = state.take_frozen(2) {
        all.extend(portion);
    }
    all
}

/// Writes the shard down, and lets go of what was written.
pub(super) fn write_down(state: &mut ShardState) -> Vec<FrozenRun> {
    state.freeze();
    let all = everything(state);
    all.iter().for_each(|run| state.evict(run.number));
    all
}
