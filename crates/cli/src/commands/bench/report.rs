//! What a bench found: JSON for programs, tables for people.

use serde::Serialize;

use super::Bench;
use super::backlog::{BacklogFigures, Level};
use super::confirm::judge;
use super::cost::Machine;
use super::counters::Logged;
use super::follower::FollowerFigures;
use super::latency::LatencyFigures;
use super::ledger::Tally;
use super::metadata::MetadataFigures;
use super::recovery::RecoveryFigures;
use super::renewals::RenewalsFigures;
use super::run::{Errors, Run, together};
use super::throughput::{ThroughputFigures, Window, as_f64};
use super::times::Spread;
use crate::output::{fields, table};

/// What one measurement found.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) figures: Figures,
    pub(super) cost: Cost,
    pub(super) jobs: Tally,
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
            jobs,
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
    pub(crate) jobs: Tally,
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
    pub(crate) payload_bytes: usize,
    pub(crate) result_bytes: usize,
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

/// What a job, a renewal or a change cost. Costs of the server are none where its processes are not the bench's own.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cost {
    /// What the figures below are for one of: a job, a renewal, or a change.
    pub(crate) per: &'static str,
    pub(crate) server_cpu_us: Option<f64>,
    pub(crate) client_cpu_us: f64,
    /// Processors in use by all nodes, on average.
    pub(crate) server_cores: Option<f64>,
    pub(crate) client_cores: f64,
    pub(crate) server_rss_bytes: Option<u64>,
    pub(crate) server_rss_peak_bytes: Option<u64>,
    /// Syncs of the nodes' logs, all nodes together. None, as with the bytes, where a node did not say.
    pub(crate) syncs: Option<f64>,
    pub(crate) log_bytes: Option<f64>,
    /// What the kernel was given to write, checkpoints and all.
    pub(crate) disk_bytes: Option<f64>,
}

impl Cost {
    /// Processor time over the window; syncs and bytes of the log from before the first job until after the last.
    pub(super) fn of(window: &Window, (before, after): (&Logged, &Logged), jobs: u64) -> Self {
        let seconds = window.took.as_secs_f64().max(1e-9);
        let each = |amount: f64, jobs: u64| amount / as_f64(jobs.max(1));
        let (earlier, later) = (window.before, window.after);
        let client = (later.client.cpu.saturating_sub(earlier.client.cpu)).as_secs_f64();
        let server = earlier.server.zip(later.server);
        let cpu = server.map(|(from, to)| to.cpu.saturating_sub(from.cpu).as_secs_f64());
        let logged = after.since(before);
        let disk = server.map(|(from, to)| to.written_bytes.saturating_sub(from.written_bytes));
        Self {
            per: "job",
            server_cpu_us: cpu.map(|cpu| each(cpu * 1e6, window.jobs)),
            client_cpu_us: each(client * 1e6, window.jobs),
            server_cores: cpu.map(|cpu| cpu / seconds),
            client_cores: client / seconds,
            server_rss_bytes: later.server.map(|usage| usage.rss_bytes),
            server_rss_peak_bytes: later.server.map(|usage| usage.rss_peak_bytes),
            syncs: logged.map(|counts| each(as_f64(counts.syncs), jobs)),
            log_bytes: logged.map(|counts| each(as_f64(counts.bytes), jobs)),
            disk_bytes: disk.map(|bytes| each(as_f64(bytes), window.jobs)),
        }
    }
}

impl Report {
    /// What may never be, in words; empty when all is well.
    pub(crate) fn broken_promises(&self) -> Vec<String> {
        let mut broken = self.jobs.broken_promises();
        if let Figures::Metadata(figures) = &self.figures {
            broken.extend(figures.broken_promise());
        }
        broken
    }

    const fn is_of_jobs(&self) -> bool {
        !matches!(self.figures, Figures::Metadata(_))
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        let mut parts = vec![self.heading()];
        parts.push(match &self.figures {
            Figures::Throughput(figures) => throughput(figures),
            Figures::Latency(figures) => figures.describe(),
            Figures::Backlog(figures) => backlog(figures),
            Figures::Recovery(figures) => recovery(figures),
            Figures::Follower(figures) => figures.describe(),
            Figures::Renewals(figures) => renewals(figures),
            Figures::Metadata(figures) => figures.describe(),
        });
        parts.push(self.costs());
        parts.push(self.ends());
        parts.join("\n\n")
    }

    fn heading(&self) -> String {
        let setup = &self.setup;
        let nodes = match (setup.nodes, setup.timings) {
            (Some(nodes), Some(timings)) => format!("{nodes} of its own, {timings} timings"),
            (_, _) => setup.endpoints.join(", "),
        };
        let machine = &self.machine;
        let jobs = format!(
            "{} B payload, {} B result, kept {}",
            setup.payload_bytes,
            setup.result_bytes,
            crate::output::span(setup.retain_ms)
        );
        let clients = match self.is_of_jobs() {
            true => format!(
                "{} connections, batch {}, {}",
                setup.connections, setup.batch, setup.calls
            ),
            false => format!(
                "{} connections, one change under way each",
                setup.connections
            ),
        };
        let on = format!(
            "{} cores, {:.1} GiB, Linux {}",
            machine.cores,
            as_f64(machine.memory_bytes) / GIB,
            machine.kernel,
        );
        let sync = self.sync_us.map_or_else(
            || "not known".to_owned(),
            |sync| format!("{:.0} us before, {:.0} us after", sync.before, sync.after),
        );
        let mut rows = vec![
            ("test", format!("{}, leasehold {}", self.test, self.version)),
            ("nodes", nodes),
            ("clients", clients),
            ("jobs", jobs),
            ("machine", on),
            ("sync of 4 KiB", sync),
        ];
        rows.retain(|(what, _)| *what != "jobs" || self.is_of_jobs());
        fields(&rows)
    }

    fn costs(&self) -> String {
        let cost = &self.cost;
        let per = cost.per;
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "not known".to_owned());
        let server = cost.server_cpu_us.zip(cost.server_cores);
        let server = server.map(|(each, cores)| format!("{each:.1} us/{per}, {cores:.2} cores"));
        let client = format!(
            "{:.1} us/{per}, {:.2} cores",
            cost.client_cpu_us, cost.client_cores
        );
        let memory = cost.server_rss_bytes.zip(cost.server_rss_peak_bytes);
        let memory = memory.map(|(now, peak)| {
            let mib = |bytes| as_f64(bytes) / MIB;
            format!("{:.0} MiB, at most {:.0} MiB", mib(now), mib(peak))
        });
        let syncs = cost.syncs.map(|syncs| format!("{syncs:.4} /{per}"));
        let logged = cost.log_bytes.map(|bytes| format!("{bytes:.0} B/{per}"));
        let disk = cost.disk_bytes.map(|bytes| format!("{bytes:.0} B/{per}"));
        fields(&[
            ("server cpu", or_unknown(server)),
            ("client cpu", client),
            ("server memory", or_unknown(memory)),
            ("log syncs", or_unknown(syncs)),
            ("log written", or_unknown(logged)),
            ("disk written", or_unknown(disk)),
        ])
    }

    fn ends(&self) -> String {
        let mut rows = match &self.figures {
            Figures::Metadata(figures) => figures.ends(),
            Figures::Throughput(_)
            | Figures::Latency(_)
            | Figures::Backlog(_)
            | Figures::Recovery(_)
            | Figures::Follower(_)
            | Figures::Renewals(_) => ends_of_jobs(&self.jobs),
        };
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

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

fn throughput(figures: &ThroughputFigures) -> String {
    let rate = fields(&[(
        "completed",
        format!(
            "{:.0} jobs/s ({} in {:.1} s)",
            figures.jobs_per_s, figures.jobs, figures.seconds
        ),
    )]);
    let times = spreads(&[("submit of a batch acknowledged", figures.submit_ack)]);
    format!("{rate}\n\n{times}")
}

fn backlog(figures: &BacklogFigures) -> String {
    let row = |name: &str, level: &Level| {
        let cpu = level.server_cpu_us_per_job;
        vec![
            name.to_owned(),
            level.queued.to_string(),
            format!("{:.0}", level.jobs_per_s),
            cpu.map_or_else(String::new, |cpu| format!("{cpu:.1}")),
            format!("{:.1}", level.client_cpu_us_per_job),
        ]
    };
    let levels = table(
        &["", "queued", "jobs/s", "server us/job", "client us/job"],
        [row("empty", &figures.empty), row("full", &figures.full)],
    );
    let memory = figures.memory_bytes_per_job;
    let rest = fields(&[
        ("full against empty", format!("{:.3}", figures.ratio)),
        ("filled at", format!("{:.0} jobs/s", figures.filled_per_s)),
        (
            "worked off at",
            format!("{:.0} jobs/s", figures.drained_per_s),
        ),
        (
            "memory of a queued job",
            memory.map_or_else(|| "not known".to_owned(), |bytes| format!("{bytes:.0} B")),
        ),
    ]);
    format!("{levels}\n\n{rest}")
}

fn recovery(figures: &RecoveryFigures) -> String {
    let seconds = |seconds: f64| format!("{seconds:.3} s");
    fields(&[
        ("filled at", format!("{:.0} jobs/s", figures.filled_per_s)),
        ("queued at the kill", figures.queued.to_string()),
        ("first submit acknowledged", seconds(figures.first_submit_s)),
        ("first job leased", seconds(figures.first_lease_s)),
        ("99 % worked off", seconds(figures.most_drained_s)),
        ("all worked off", seconds(figures.drained_s)),
    ])
}

fn renewals(figures: &RenewalsFigures) -> String {
    let rate = fields(&[
        ("leases", figures.leases.to_string()),
        ("leased at", format!("{:.0} jobs/s", figures.leased_per_s)),
        ("renewed", format!("{:.0} leases/s", figures.renewals_per_s)),
        ("messages", format!("{:.0} /s", figures.messages_per_s)),
        ("told to stop", figures.stopped.to_string()),
        ("told to ask again", figures.later.to_string()),
    ]);
    let times = spreads(&[("renewal answered", figures.answer)]);
    format!("{rate}\n\n{times}")
}

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
                payload_bytes: 1024,
                result_bytes: 0,
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
            jobs: Tally {
                accepted: 12_400,
                completed: 12_400,
                ..Tally::default()
            },
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
