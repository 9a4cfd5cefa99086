//! What changed since the last checkpoint, and what the one under way is still to write.
//!
//! A checkpoint shows the state as of one entry of the log, and writing it takes longer than entries may wait. So the
//! changed runs are set apart at once, which costs nothing, and taken a few at a time between entries; a run that
//! changes before it was taken is copied first, sixteen shared pointers at most (copy on write).
//!
//! What must hold: a row is written as the run was at the freeze, or not at all; a bundle that nobody wants any more is
//! removed by the next checkpoint, however its jobs went while this one was being written.

use std::collections::BTreeMap;

use super::frozen::FrozenRun;
use super::run::Run;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Tracker {
    /// The number of the checkpoint that changes from now on are for.
    next: u64,
    /// Runs that changed for it.
    changed: Vec<u64>,
    /// Runs of the checkpoint under way that were not taken yet, the last first.
    frozen: Vec<u64>,
    /// Runs of those that changed since, as they were.
    before: BTreeMap<u64, Box<Run>>,
}

impl Default for Tracker {
    fn default() -> Self {
        Self {
            next: 1,
            changed: Vec::new(),
            frozen: Vec::new(),
            before: BTreeMap::new(),
        }
    }
}

impl Tracker {
    /// Notes that a run is about to change.
    pub(super) fn touch(&mut self, number: u64, run: &mut Run) {
        if run.changed_for == self.next {
            return;
        }
        if run.changed_for != 0 {
            self.before.insert(number, Box::new(run.clone()));
        }
        run.changed_for = self.next;
        self.changed.push(number);
    }

    /// Whether the checkpoint under way is still to write a run as it was.
    pub(super) fn is_frozen(&self, number: u64) -> bool {
        self.before.contains_key(&number)
    }

    /// Sets the changes apart.
    ///
    /// # Panics
    /// When the last checkpoint was not taken to its end: what was taken counts as written, so a state whose checkpoint
    /// came to nothing must not be used for another.
    pub(super) fn freeze(&mut self) {
        assert!(
            self.frozen.is_empty(),
            "a checkpoint is taken to its end before the next"
        );
        self.next += 1;
        self.frozen = std::mem::take(&mut self.changed);
        self.frozen.sort_unstable_by(|a, b| b.cmp(a));
        // A run that went and came back between two checkpoints is listed twice.
        self.frozen.dedup();
    }

    /// The next portion, of at most so many runs; none at the end. There may be nothing in one though more follows.
    pub(super) fn take(
        &mut self,
        runs: &mut BTreeMap<u64, Box<Run>>,
        most: usize,
    ) -> Option<Vec<FrozenRun>> {
        if self.frozen.is_empty() {
            return None;
        }
        // Runs that went meanwhile count too: looking for one costs as much as finding it.
        let rest = self.frozen.len().saturating_sub(most);
        let numbers = self.frozen.split_off(rest).into_iter().rev();
        let portion = numbers.filter_map(|number| self.take_run(runs, number));
        Some(portion.collect())
    }

    fn take_run(&mut self, runs: &mut BTreeMap<u64, Box<Run>>, number: u64) -> Option<FrozenRun> {
        let mut live = runs.get_mut(&number);
        let had_row = live.as_ref().is_none_or(|run| run.has_row);
        let frozen = match self.before.remove(&number) {
            Some(before) => FrozenRun::new(&before, number),
            // SUBTLE: one that came and went before the freeze, and came again after it, was not there at the freeze:
            // all that is in it is the next checkpoint's.
            None => {
                let run = live.as_mut()?;
                if run.changed_for == self.next {
                    return None;
                }
                run.changed_for = 0;
                FrozenRun::new(run, number)
            }
        };
        let is_over = frozen.entries.is_empty();
        if let Some(run) = live {
            note_written(run, &frozen);
            if is_over && run.is_empty() {
                runs.remove(&number);
            }
        }
        (had_row || !is_over).then_some(frozen)
    }

    /// Counts nothing as changed: it was just read.
    pub(super) fn forget_changes(&mut self) {
        *self = Self::default();
    }
}

/// What is written counts as written. SUBTLE: also for a job that changed since the freeze, and wants a part of it no
/// more: the next checkpoint finds a bundle that nobody wants.
fn note_written(run: &mut Run, frozen: &FrozenRun) {
    run.has_row = !frozen.entries.is_empty();
    run.packs = frozen.packs;
    run.payloads = frozen.payloads.kept;
    run.results = frozen.results.kept;
    for job in frozen.jobs() {
        if let Some(live) = run.slot_mut(job.sequence()) {
            live.rows = job.rows;
        }
    }
}
