//! What a run did, for its report: crashes by kind and point, and the sums of all histories.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::disk::Flavour;
use crate::history::Sums;
use crate::ledger::Found;
use crate::violation::Kind;

/// Crashes of one kind or at one point.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Deaths {
    pub(crate) kill: u64,
    pub(crate) power: u64,
    /// Times that the point was waited for and did not come.
    pub(crate) missed: u64,
}

/// See the module.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Tally {
    /// Crashes of clusters: of one node, or of all at once.
    pub(crate) kills: u32,
    /// Processes that died in them.
    pub(crate) processes_killed: u64,
    pub(crate) clusters: u32,
    pub(crate) restarts: u64,
    pub(crate) acknowledged_submits: u64,
    pub(crate) acknowledged_completions: u64,
    /// Submits whose outcome stayed unknown.
    pub(crate) unknown: u64,
    pub(crate) certainly_not_done: u64,
    pub(crate) looks: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) other_violations: u64,
    /// From the start of a process to its node being ready.
    pub(crate) recovery_ms_p50: u64,
    pub(crate) recovery_ms_max: u64,
    pub(crate) seconds: u64,
    pub(crate) deaths: BTreeMap<&'static str, Deaths>,
    #[serde(skip)]
    recoveries: Vec<Duration>,
}

impl Tally {
    pub(crate) fn died(&mut self, how: &'static str, flavour: Flavour) {
        let deaths = self.deaths.entry(how).or_default();
        match flavour {
            Flavour::Kill => deaths.kill += 1,
            Flavour::Power => deaths.power += 1,
        }
        self.processes_killed += 1;
    }

    pub(crate) fn missed(&mut self, point: &'static str) {
        self.deaths.entry(point).or_default().missed += 1;
    }

    pub(crate) fn recovered(&mut self, after: Duration) {
        self.restarts += 1;
        self.recoveries.push(after);
    }

    /// The run is over.
    pub(crate) fn ended(&mut self, after: Duration) {
        self.seconds = after.as_secs();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let times = &mut self.recoveries;
        times.sort_unstable();
        self.recovery_ms_p50 = times.get(times.len() / 2).copied().map_or(0, ms);
        self.recovery_ms_max = times.last().copied().map_or(0, ms);
    }

    pub(crate) fn broken(&mut self, found: &Found) {
        let count = |kind| found.counts.get(&kind).copied().unwrap_or(0);
        self.lost += count(Kind::Lost);
        self.doubled += count(Kind::Doubled);
        self.other_violations += count(Kind::Other);
    }

    pub(crate) fn add(&mut self, sums: Sums) {
        self.acknowledged_submits += sums.submits;
        self.acknowledged_completions += sums.completions;
        self.unknown += sums.unknown;
        self.certainly_not_done += sums.refused;
    }
}
