//! What a bench found: JSON for programs, tables for people.

use serde::Serialize;

use super::Bench;
use super::backlog::BacklogFigures;
use super::confirm::judge;
use super::cost::{Cost, Machine};
use super::follower::FollowerFigures;
use super::latency::LatencyFigures;
use super::ledger::Tally;
use super::metadata::MetadataFigures;
use super::recovery::RecoveryFigures;
use super::renewals::RenewalsFigures;
use super::run::{Errors, Run, together};
use super::throughput::{ThroughputFigures, as_f64};
use super::times::Spread;
use crate::output::{fields, table};

/// What one measurement found.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) figures: Figures,
    pub(super) cost: Cost,
    /// None of a measurement without jobs.
    pub(super) jobs: Option<Tally>,
    pub(super) errors: Errors,
}

impl Measured {
    /// With a last look for every job of these runs whose end is not known.
    pub(super) async fn after(
        bench: &Bench,
        runs: &[&Run],
        figures: Figures,
        cost: Cost,
    ) -> anyhow::Result<Self> {
        for run in runs {
            judge(bench, run).await?;
        }
        let (jobs, errors) = together(runs);
        Ok(Self {
            figures,
            cost,
            jobs: Some(jobs),
            errors,
        })
    }
}

/// Everything that `--json` prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) test: &'static str,
    pub(crate) version: &'static str,
    pub(crate) setup: Setup,
    pub(crate) machine: Machine,
    /// None for a cluster that ran already: its disks are elsewhere.
    pub(crate) sync_us: Option<SyncProbes>,
    pub(crate) figures: Figures,
    pub(crate) cost: Cost,
    /// None of a measurement without jobs.
    pub(crate) jobs: Option<Tally>,
    /// Errors that were answered, by what was tried and the code.
    pub(crate) errors: Errors,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Setup {
    /// The bench's own; none for a cluster that ran already.
    pub(crate) nodes: Option<usize>,
    pub(crate) endpoints: Vec<String>,
    pub(crate) timings: Option<&'static str>,
    pub(crate) calls: &'static str,
    pub(crate) connections: usize,
    /// Jobs of a submit and slots of a worker.
    pub(crate) batch: u32,
    /// None, as with the result, of a measurement without jobs.
    pub(crate) payload_bytes: Option<usize>,
    pub(crate) result_bytes: Option<usize>,
    pub(crate) retain_ms: u64,
    pub(crate) lease_ms: u64,
}

/// Median of appending and syncing 4 KiB where the data is, in microseconds. Where the two differ much, or from those
/// of another run, the disk was not the same and the runs cannot be compared.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SyncProbes {
    pub(crate) before: f64,
    pub(crate) after: f64,
}

/// The figures of one kind of test.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Figures {
    Throughput(ThroughputFigures),
    Latency(LatencyFigures),
    Backlog(BacklogFigures),
    Recovery(RecoveryFigures),
    Follower(FollowerFigures),
    Renewals(RenewalsFigures),
    Metadata(MetadataFigures),
}

impl Report {
    /// What may never be, in words; empty when all is well.
    pub(crate) fn broken_promises(&self) -> Vec<String> {
        let broken = self.jobs.map(|jobs| jobs.broken_promises());
        let mut broken = broken.unwrap_or_default();
        if let Figures::Metadata(figures) = &self.figures {
            broken.extend(figures.broken_promise());
        }
        broken
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        let mut parts = vec![self.heading()];
        parts.push(match &self.figures {
            Figures::Throughput(figures) => figures.describe(),
            Figures::Latency(figures) => figures.describe(),
            Figures::Backlog(figures) => figures.describe(),
            Figures::Recovery(figures) => figures.describe(),
            Figures::Follower(figures) => figures.describe(),
            Figures::Renewals(figures) => figures.describe(),
            Figures::Metadata(figures) => figures.describe(),
        });
        parts.push(self.cost.describe());
        parts.push(self.ends());
        parts.join("\n\n")
    }

    fn heading(&self) -> String {
        let setup = &self.setup;
        let mut rows = vec![
            ("test", format!("{}, leasehold {}", self.test, self.version)),
            ("nodes", setup.whose()),
            ("clients", setup.loops()),
        ];
        rows.extend(setup.jobs().map(|jobs| ("jobs", jobs)));
        rows.push(("machine", on(&self.machine)));
        rows.push(("sync of 4 KiB", self.sync()));
        fields(&rows)
    }

    fn sync(&self) -> String {
        self.sync_us.map_or_else(
            || "not known".to_owned(),
            |sync| format!("{:.0} us before, {:.0} us after", sync.before, sync.after),
        )
    }

    fn ends(&self) -> String {
        let mut rows = self.jobs.as_ref().map(ends_of_jobs).unwrap_or_default();
        if let Figures::Metadata(figures) = &self.figures {
            rows.extend(figures.ends());
        }
        let errors = self.errors.iter();
        let errors: Vec<String> = errors
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        let errors = match errors.is_empty() {
            true => "none".to_owned(),
            false => errors.join(", "),
        };
        rows.push(("errors", errors));
        fields(&rows)
    }
}

fn ends_of_jobs(jobs: &Tally) -> Vec<(&'static str, String)> {
    vec![
        ("accepted", jobs.accepted.to_string()),
        ("completed", jobs.completed.to_string()),
        ("submits of unknown outcome", jobs.unsure.to_string()),
        ("results of unknown outcome", jobs.unconfirmed.to_string()),
        ("lost", jobs.lost.to_string()),
        ("doubled", jobs.doubled.to_string()),
        ("damaged", jobs.damaged.to_string()),
    ]
}

impl Setup {
    fn whose(&self) -> String {
        match (self.nodes, self.timings) {
            (Some(nodes), Some(timings)) => format!("{nodes} of its own, {timings} timings"),
            (_, _) => self.endpoints.join(", "),
        }
    }

    fn loops(&self) -> String {
        let (connections, batch, calls) = (self.connections, self.batch, self.calls);
        match self.payload_bytes {
            Some(_) => format!("{connections} connections, batch {batch}, {calls}"),
            None => format!("{connections} connections, one change under way each"),
        }
    }

    fn jobs(&self) -> Option<String> {
        let (payload, result) = self.payload_bytes.zip(self.result_bytes)?;
        let kept = crate::output::span(self.retain_ms);
        Some(format!(
            "{payload} B payload, {result} B result, kept {kept}"
        ))
    }
}

fn on(machine: &Machine) -> String {
    let memory = as_f64(machine.memory_bytes) / GIB;
    let (cores, kernel) = (machine.cores, &machine.kernel);
    format!("{cores} cores, {memory:.1} GiB, Linux {kernel}")
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// One row for each kind of wait, in milliseconds.
pub(super) fn spreads(rows: &[(&str, Option<Spread>)]) -> String {
    let row = |(name, spread): &(&str, Option<Spread>)| {
        let spread = (*spread)?;
        let values = [
            spread.p50_ms,
            spread.p90_ms,
            spread.p99_ms,
            spread.p999_ms,
            spread.max_ms,
        ];
        let values = values.iter().map(|millis| format!("{millis:.3}"));
        Some(std::iter::once((*name).to_owned()).chain(values).collect())
    };
    table(
        &["ms", "p50", "p90", "p99", "p99.9", "max"],
        rows.iter().filter_map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::times::Times;
    use std::time::Duration;

    fn report() -> Report {
        let mut times = Times::new();
        times.add(Duration::from_micros(1500));
        Report {
            test: "throughput",
            version: "0.1.0",
            setup: Setup {
                nodes: Some(1),
                endpoints: vec!["127.0.0.1:7101".to_owned()],
                timings: Some("lan"),
                calls: "streams",
                connections: 64,
                batch: 8,
                payload_bytes: Some(1024),
                result_bytes: Some(0),
                retain_ms: 120_000,
                lease_ms: 30_000,
            },
            machine: Machine {
                cores: 2,
                memory_bytes: 1 << 31,
                kernel: "6.1".to_owned(),
            },
            sync_us: Some(SyncProbes {
                before: 180.4,
                after: 200.0,
            }),
            figures: Figures::Throughput(ThroughputFigures {
                jobs_per_s: 1234.4,
                jobs: 12_344,
                seconds: 10.0,
                submit_ack: times.spread(),
            }),
            cost: Cost {
                per: "job",
                server_cpu_us: Some(40.0),
                server_cores: Some(1.25),
                ..Cost::default()
            },
            jobs: Some(Tally {
                accepted: 12_400,
                completed: 12_400,
                ..Tally::default()
            }),
            errors: Errors::from([("submit: unavailable".to_owned(), 3)]),
        }
    }

    #[test]
    fn people_see_the_figure_what_it_cost_where_it_ran_and_every_error() {
        let text = report().describe();
        for words in [
            "1234 jobs/s (12344 in 10.0 s)",
            "64 connections, batch 8, streams",
            "1024 B payload, 0 B result, kept 2m 0s",
            "2 cores, 2.0 GiB, Linux 6.1",
            "180 us before, 200 us after",
            "1.500",
            "40.0 us/job, 1.25 cores",
            "submit: unavailable 3",
        ] {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
    }

    #[test]
    fn what_is_not_known_of_a_cluster_elsewhere_is_said_so_and_is_null_for_programs() {
        let mut report = report();
        report.setup.nodes = None;
        report.sync_us = None;
        report.cost = Cost::default();
        let text = report.describe();
        assert!(text.contains("nodes          127.0.0.1:7101"), "{text}");
        assert_eq!(text.matches("not known").count(), 6, "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["sync_us"].is_null() && json["cost"]["server_cpu_us"].is_null());
    }
}
