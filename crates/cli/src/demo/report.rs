//! What the demo found, and whether each promise held.

use serde::Serialize;

use crate::output::{fields, span};

/// Everything that is measured. Times are milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) jobs: usize,
    pub(crate) accepted_results: usize,
    pub(crate) results_as_computed: usize,
    pub(crate) lost: usize,
    pub(crate) accepted_twice: usize,
    pub(crate) run_twice: usize,
    pub(crate) killed_region: String,
    pub(crate) leases_at_kill: usize,
    pub(crate) late_writes_sent: usize,
    pub(crate) late_writes_refused: usize,
    pub(crate) kill_to_accepted_submit_ms: Option<u64>,
    pub(crate) kill_to_accepted_submit_on_moved_shard_ms: Option<u64>,
    pub(crate) kill_to_redispatch_ms: Option<u64>,
    pub(crate) kill_to_last_result_ms: Option<u64>,
    pub(crate) region_back_ms: Option<u64>,
    pub(crate) total_ms: u64,
    pub(crate) lease_ms: u64,
    pub(crate) timings: &'static str,
}

impl Report {
    /// Each promise that broke, in words; none when all held.
    pub(crate) fn broken_promises(&self) -> Vec<String> {
        let rules = [
            (
                self.lost > 0,
                format!("{} acknowledged jobs have no result", self.lost),
            ),
            (
                self.accepted_twice > 0,
                format!("{} jobs had two accepted results", self.accepted_twice),
            ),
            (
                self.results_as_computed != self.accepted_results,
                format!(
                    "{} results differ from a direct computation",
                    self.accepted_results
                        .saturating_sub(self.results_as_computed)
                ),
            ),
            (
                self.late_writes_refused != self.late_writes_sent,
                format!(
                    "{} late writes under an old fence were accepted",
                    self.late_writes_sent
                        .saturating_sub(self.late_writes_refused)
                ),
            ),
        ];
        rules
            .into_iter()
            .filter(|(broken, _)| *broken)
            .map(|(_, words)| words)
            .collect()
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let time = |ms: Option<u64>| ms.map_or("not seen".to_owned(), span);
        let rows = [
            ("jobs submitted and acknowledged", self.jobs.to_string()),
            ("results accepted", self.accepted_results.to_string()),
            (
                "  equal to a direct computation",
                self.results_as_computed.to_string(),
            ),
            ("jobs lost", self.lost.to_string()),
            ("results accepted twice", self.accepted_twice.to_string()),
            ("jobs started more than once", self.run_twice.to_string()),
            (
                "region killed, with leases",
                format!("{}, {}", self.killed_region, self.leases_at_kill),
            ),
            (
                "late results under old fences, refused",
                format!("{} of {}", self.late_writes_refused, self.late_writes_sent),
            ),
            (
                "kill to next accepted submit",
                time(self.kill_to_accepted_submit_ms),
            ),
            (
                "  on a shard that was led from there",
                time(self.kill_to_accepted_submit_on_moved_shard_ms),
            ),
            (
                "kill to first job run again elsewhere",
                time(self.kill_to_redispatch_ms),
            ),
            ("kill to last result", time(self.kill_to_last_result_ms)),
            (
                "killed region started and ready again",
                time(self.region_back_ms),
            ),
            ("whole run", span(self.total_ms)),
        ];
        let note = format!(
            "Shortened for the demo: leases of {} (30s by default), `{}` timings (`wan` by default).",
            span(self.lease_ms),
            self.timings
        );
        format!("{}\n\n{note}", fields(&rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            jobs: 10,
            accepted_results: 10,
            results_as_computed: 10,
            late_writes_sent: 2,
            late_writes_refused: 2,
            ..Report::default()
        }
    }

    #[test]
    fn every_broken_promise_is_said() {
        assert!(good().broken_promises().is_empty());
        for broken in [
            Report { lost: 1, ..good() },
            Report {
                accepted_twice: 1,
                ..good()
            },
            Report {
                results_as_computed: 9,
                ..good()
            },
            Report {
                late_writes_refused: 1,
                ..good()
            },
        ] {
            assert_eq!(broken.broken_promises().len(), 1, "{broken:?}");
        }
    }
}
