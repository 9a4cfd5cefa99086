//! The history, shared by everybody who talks to a cluster, and what was found to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::history::History;
use crate::violation::{Kind, Violation};

/// Broken promises that are kept in words; the rest is counted.
const KEPT: usize = 50;

/// See the module.
pub(crate) struct Ledger {
    history: Mutex<History>,
    found: Mutex<Found>,
    /// Acknowledged submits so far, and those of them that have no result yet.
    progress: watch::Sender<Progress>,
    /// Once so many submits were acknowledged, submitters send few.
    quota: AtomicU64,
}

/// Broken promises: the first in words, all of them by kind. One that is met again is the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) violations: Vec<Violation>,
    pub(crate) counts: BTreeMap<Kind, u64>,
    known: BTreeSet<String>,
}

impl Found {
    pub(crate) fn add(&mut self, violation: Violation) {
        if !self.known.insert(violation.to_string()) {
            return;
        }
        *self.counts.entry(violation.kind()).or_default() += 1;
        if self.violations.len() < KEPT {
            self.violations.push(violation);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// How far the clients have got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) submits: u64,
    pub(crate) open: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            history: Mutex::default(),
            found: Mutex::default(),
            progress: watch::Sender::default(),
            quota: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a check found, and whether it found anything.
    pub(crate) fn check(&self, checked: Result<(), Violation>) -> bool {
        let Err(violation) = checked else {
            return true;
        };
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(violation);
        false
    }

    /// Tells those who wait how far it has got.
    pub(crate) fn publish(&self) {
        let history = self.history();
        let progress = Progress {
            submits: history.sums().submits,
            open: history.open(),
        };
        drop(history);
        self.progress.send_replace(progress);
    }

    /// Lets submitters send as much as they can until so many more submits were acknowledged.
    pub(crate) fn allow(&self, more: u64) {
        let quota = self.history().sums().submits.saturating_add(more);
        self.quota.store(quota, Ordering::Relaxed);
        self.publish();
    }

    /// Whether enough was submitted for now: a trickle will do.
    pub(crate) fn is_over_quota(&self) -> bool {
        self.progress.borrow().submits >= self.quota.load(Ordering::Relaxed)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What was found so far.
    pub(crate) fn found(&self) -> Found {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn is_broken(&self) -> bool {
        !self
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_promise_counts_once_however_often_it_is_met() {
        let stuck = |seconds| Violation::Stuck {
            what: "nothing moved".to_owned(),
            seconds,
        };
        let mut found = Found::default();
        [1, 1, 2]
            .into_iter()
            .for_each(|seconds| found.add(stuck(seconds)));
        assert_eq!(found.violations, [stuck(1), stuck(2)]);
        assert_eq!(found.counts, BTreeMap::from([(Kind::Other, 2)]));
    }
}
