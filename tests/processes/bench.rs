//! Each measurement once, as small as it can be: that its figures fit together, not how fast anything is.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::LEASEHOLD;

fn bench(arguments: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(LEASEHOLD);
    command.arg("bench").args(arguments.split_whitespace());
    command.arg("--json").stdin(Stdio::null());
    if !arguments.contains("--endpoint") {
        command.arg("--data-dir").arg(folder.path());
    }
    let output = command.output().unwrap();
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "{arguments}: data was left behind");
    output
}

fn report(arguments: &str) -> Value {
    let output = bench(arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(positive(&report["sync_us"]["before"]), "{report:#}");
    if report["test"] == "metadata" {
        assert!(report["jobs"].is_null(), "{report:#}");
        return report;
    }
    let jobs = &report["jobs"];
    for count in ["lost", "doubled", "damaged", "unsure", "unconfirmed"] {
        let is_kill = report["test"] == "recovery" && count == "unsure";
        assert!(is_kill || jobs[count] == 0, "{arguments}: {report:#}");
    }
    let asked = if report["test"] == "follower" {
        16 * 1024
    } else {
        100
    };
    assert_eq!(report["setup"]["payload_bytes"], asked, "{report:#}");
    report
}

fn settings(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|value| value > 0.0)
}

fn ascends(spread: &Value) -> bool {
    let values = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"];
    let values = values.map(|name| spread[name].as_f64().unwrap());
    values.is_sorted() && values[0] > 0.0
}

#[test]
fn throughput_counts_what_was_acknowledged_over_streams_and_over_calls() {
    for calls in ["", "--unary"] {
        let arguments =
            format!("throughput --jobs 200 --warm-up 0 -c 4 -b 8 --payload 100 {calls}");
        let report = report(&arguments);
        let figures = &report["figures"];
        assert!(figures["jobs"].as_u64() >= Some(200), "{report:#}");
        assert!(positive(&figures["jobs_per_s"]), "{report:#}");
        assert!(ascends(&figures["submit_ack"]), "{report:#}");
        assert_eq!(report["jobs"]["accepted"], report["jobs"]["completed"]);
        let cost = &report["cost"];
        assert!(positive(&cost["syncs"]) && positive(&cost["server_rss_bytes"]));
        assert!(cost["log_bytes"].as_f64() > Some(100.0), "{report:#}");
    }
}

#[test]
fn latency_counts_every_job_of_the_measured_time_once() {
    let report = report("latency --rate 200 --duration 1s --warm-up 500ms --payload 100");
    let figures = &report["figures"];
    for wait in ["sent_late", "submit_ack", "dispatch", "result_ack", "whole"] {
        assert_eq!(figures[wait]["count"], 200, "{wait}: {report:#}");
        assert!(ascends(&figures[wait]), "{wait}: {report:#}");
    }
    let p50 = |wait: &str| figures[wait]["p50_ms"].as_f64();
    assert!(p50("whole") >= p50("dispatch"), "{report:#}");
    assert_eq!(report["jobs"]["completed"], 300);
}

#[test]
fn backlog_stays_while_speed_is_measured_and_is_worked_off_in_the_end() {
    let report = report("backlog --jobs 500 -c 4 --duration 500ms --warm-up 0 --payload 100");
    let figures = &report["figures"];
    assert_eq!(figures["empty"]["queued"], 0, "{report:#}");
    assert_eq!(figures["full"]["queued"], 500, "{report:#}");
    assert!(positive(&figures["ratio"]) && positive(&figures["drained_per_s"]));
    assert_eq!(report["jobs"]["accepted"], report["jobs"]["completed"]);
}

#[test]
fn recovery_finds_every_acknowledged_job_after_a_kill() {
    let report = report("recovery --jobs 500 --load 500ms --lease 4s --payload 100");
    let figures = &report["figures"];
    assert!(positive(&figures["first_submit_s"]) && positive(&figures["first_lease_s"]));
    assert!(figures["queued"].as_u64() >= Some(500), "{report:#}");
}

#[test]
fn waits_beside_a_queue_are_told_apart_by_whether_a_checkpoint_was_written() {
    let settings = settings("[storage]\ncheckpoint_every_ms = 200\n");
    let config = settings.path().display();
    let report = report(&format!(
        "latency --rate 100 --duration 2s --warm-up 0 --queued 300 --payload 100 --config {config}"
    ));
    let (figures, beside) = (&report["figures"], &report["figures"]["beside"]);
    assert_eq!(beside["queued"], 300, "{report:#}");
    assert!(beside["checkpoints"].as_u64() > Some(0), "{report:#}");
    assert!(positive(&beside["writing_s"]), "{report:#}");
    let count = |which: &str| beside[which]["count"].as_u64().unwrap_or(0);
    let told_apart = count("dispatch_during") + count("dispatch_else");
    assert_eq!(figures["dispatch"]["count"], told_apart, "{report:#}");
    assert_eq!(report["jobs"]["completed"], 500, "{report:#}");
}

#[test]
fn follower_comes_back_from_the_log_while_that_is_kept_and_with_a_snapshot_else() {
    let settings = settings("[storage]\ncheckpoint_every_ms = 300\n");
    let config = settings.path().display();
    // More than the connections to a process that stands still hold: it would read that first, and need no snapshot.
    let report = report(&format!(
        "follower --away 2s --jobs 600 --rate 50 -c 2 --duration 1s --payload 16KiB --config {config}"
    ));
    let figures = &report["figures"];
    let (log, snapshot) = (&figures["log"], &figures["snapshot"]);
    for back in [log, snapshot] {
        assert!(
            positive(&back["missed"]) && positive(&back["caught_up_s"]),
            "{report:#}"
        );
        assert!(
            ascends(&back["before"]) && ascends(&back["away"]),
            "{report:#}"
        );
    }
    assert_eq!(log["snapshots"], 0, "{report:#}");
    assert!(log["away_s"].as_f64() >= Some(2.0), "{report:#}");
    // One was sent. Whether it was needed by then is another matter: sending it keeps the log after it, and what the
    // connections hold may be ahead of both.
    assert!(positive(&snapshot["snapshot_bytes"]), "{report:#}");
    assert_eq!(figures["queued"], 600, "{report:#}");
    assert_eq!(report["jobs"]["accepted"], report["jobs"]["completed"]);
}

#[test]
fn renewals_are_answered_and_keep_their_leases() {
    let report = report("renewals --leases 100 -c 3 --duration 500ms --payload 100");
    let figures = &report["figures"];
    assert!(positive(&figures["renewals_per_s"]), "{report:#}");
    assert_eq!(figures["stopped"], 0, "{report:#}");
    assert_eq!(report["jobs"]["completed"], 100);
}

#[test]
fn changes_of_metadata_are_acknowledged_and_found_on_every_node() {
    for which in ["", "--unchanged"] {
        let arguments =
            format!("metadata --nodes 3 --clients 4 --duration 500ms --warm-up 100ms {which}");
        let report = report(&arguments);
        let figures = &report["figures"];
        assert!(positive(&figures["changes_per_s"]), "{report:#}");
        assert!(ascends(&figures["answer"]), "{report:#}");
        assert!(figures["acknowledged"].as_u64() >= figures["changes"].as_u64());
        assert_eq!(figures["queues"], 4, "{report:#}");
        assert_eq!(figures["lost"], 0, "{report:#}");
        assert_eq!(figures["unchanged"], !which.is_empty(), "{report:#}");
        assert!(positive(&report["cost"]["syncs"]), "{report:#}");
    }
}

#[test]
fn leases_asked_for_by_calls_are_all_held_and_renewed() {
    let report = report("renewals --leases 40 -c 3 --unary --duration 500ms --payload 100");
    assert!(positive(&report["figures"]["renewals_per_s"]), "{report:#}");
    assert_eq!(report["jobs"]["completed"], 40);
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_started() {
    let killed = bench("recovery --endpoints 127.0.0.1:1");
    assert_eq!(killed.status.code(), Some(5), "{killed:?}");
    let large = bench("throughput --batch 1000 --payload 64KiB");
    assert_eq!(large.status.code(), Some(5), "{large:?}");
    let nameless = bench("metadata --queue a+b");
    assert_eq!(nameless.status.code(), Some(5), "{nameless:?}");
    let two = bench("throughput --nodes 2");
    assert_eq!(two.status.code(), Some(2), "{two:?}");
}
