//! A checkpoint store in memory: the rows of a shard.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use leasehold_types::{Incarnation, JobId};

use crate::shard::job::AttemptRecord;
use crate::shard::state::{
    Frozen, FrozenEntry, FrozenHead, FrozenJob, FrozenRun, KeptRun, Orphan, RUN, ShardState,
};
use crate::shard::view::{JobView, StoredParts};

/// What a checkpoint store holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) head: Option<FrozenHead>,
    pub(super) runs: BTreeMap<u64, KeptRun>,
    pub(super) payloads: BTreeMap<u64, Bytes>,
    pub(super) results: BTreeMap<u64, Bytes>,
    pub(super) packs: BTreeMap<(u64, u32), Vec<(u64, AttemptRecord)>>,
}

impl Rows {
    pub(super) fn write(&mut self, portion: &Frozen) {
        for orphan in &portion.orphans {
            self.remove(*orphan);
        }
        for run in &portion.runs {
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
        all.runs.iter().for_each(|run| state.evict(run.number));
    }

    fn write_run(&mut self, run: &FrozenRun) {
        run.jobs().for_each(|job| self.write_parts(job));
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

    fn write_parts(&mut self, frozen: &FrozenJob) {
        let sequence = frozen.sequence();
        let payload = frozen.payload().map(|payload| (sequence, payload.clone()));
        self.payloads.extend(payload);
        let result = frozen.result().map(|result| (sequence, result.clone()));
        self.results.extend(result);
    }

    fn remove(&mut self, orphan: Orphan) {
        if orphan.payload {
            self.payloads.remove(&orphan.sequence);
        }
        if orphan.result {
            self.results.remove(&orphan.sequence);
        }
    }

    fn parts(&self, sequence: u64) -> StoredParts {
        let run = sequence / RUN;
        let packs = self.packs.range((run, 0)..(run + 1, 0));
        let packed = packs.flat_map(|(_, pack)| pack);
        let own = packed.filter(|(job, _)| *job == sequence);
        StoredParts {
            payload: self.payloads.get(&sequence).cloned(),
            result: self.results.get(&sequence).cloned(),
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
            let all = self.parts(elsewhere.sequence);
            let stored = elsewhere.stored;
            view.add(StoredParts {
                payload: all.payload.filter(|_| stored.payload.is_some()),
                result: all.result.filter(|_| stored.result.is_some()),
                attempts: all.attempts,
            });
        }
        Some(view)
    }

    /// Rows belong to jobs that are there, and runs have one row each.
    pub(super) fn check_rows(&self, state: &ShardState) {
        let sequences = state.jobs().map(|job| job.header.sequence);
        let held: BTreeSet<u64> = sequences.collect();
        assert!(self.payloads.keys().all(|row| held.contains(row)));
        assert!(self.results.keys().all(|row| held.contains(row)));
        let held_runs: BTreeSet<u64> = held.iter().map(|job| job / RUN).collect();
        assert!(self.packs.keys().all(|(run, _)| held_runs.contains(run)));
        let wanted = state.jobs().filter(|job| job.stored().payload.is_some());
        assert_eq!(self.payloads.len(), wanted.count());
    }
}

/// All that is left to take.
pub(super) fn everything(state: &mut ShardState) -> Frozen {
    let mut all = Frozen::default();
    while let Some(portion) = state.take_frozen(2) {
        all.runs.extend(portion.runs);
        all.orphans.extend(portion.orphans);
    }
    all
}

/// Writes the shard down, and lets go of what was written.
pub(super) fn write_down(state: &mut ShardState) -> Frozen {
    state.freeze();
    let all = everything(state);
    all.runs.iter().for_each(|run| state.evict(run.number));
    all
}
