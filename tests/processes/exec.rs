//! `worker exec` against a real node.

use std::io::Read as _;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Cluster, LEASEHOLD, Process};

fn with_worker(arguments: &[&str], script: &str) -> (Cluster, Process) {
    let mut cluster = Cluster::new(1, "lan");
    cluster.start_all();
    cluster.await_whole();
    let worker = worker(&cluster, arguments, script);
    (cluster, worker)
}

fn worker(cluster: &Cluster, arguments: &[&str], script: &str) -> Process {
    let mut command = Command::new(LEASEHOLD);
    command.args([
        "worker",
        "exec",
        "--endpoint",
        &cluster.endpoints().join(","),
    ]);
    command.args(arguments).args(["--", "sh", "-c", script]);
    Process::start(&mut command, &cluster.root.path().join("worker.log"))
}

fn submit(cluster: &Cluster, arguments: &[&str]) -> String {
    let submitted = cluster.json(&[&["job", "submit"], arguments].concat());
    submitted[0]["job_id"].as_str().unwrap().to_owned()
}

#[test]
fn payload_comes_in_and_stdout_goes_back_as_the_result() {
    let (cluster, _worker) = with_worker(&["--slots", "2"], "tr a-z A-Z");
    let output = cluster.cli(&["job", "submit", "--wait", "hello"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"HELLO");
}

#[test]
fn exit_code_decides_whether_a_job_is_tried_again_or_dead() {
    let (cluster, _worker) = with_worker(&[], "echo broken >&2; exit 65");
    let job = submit(&cluster, &["x"]);
    assert_eq!(cluster.cli(&["job", "wait", &job]).status.code(), Some(8));
    let dead = cluster.json(&["dlq", "get", &job]);
    assert_eq!(dead["ended"]["class"], "permanent");
    assert_eq!(dead["history"][0]["detail"], "broken\n");
    assert_eq!(dead["history"].as_array().unwrap().len(), 1);

    assert_eq!(
        cluster.json(&["dlq", "list"])["jobs"][0]["job_id"],
        job.as_str()
    );
    assert!(cluster.cli(&["dlq", "redrive", &job]).status.success());
    assert_eq!(cluster.cli(&["job", "wait", &job]).status.code(), Some(8));
    assert_eq!(
        cluster.json(&["dlq", "get", &job])["history"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert!(cluster.cli(&["dlq", "discard", &job]).status.success());
    assert_eq!(
        cluster.json(&["dlq", "list"])["jobs"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn job_waits_for_a_worker_with_its_labels() {
    let (cluster, plain) = with_worker(&["--name", "plain"], "cat");
    let job = submit(
        &cluster,
        &["x", "--label", "model=llama", "--needs", "vram=80"],
    );
    let other = submit(&cluster, &["y"]);
    assert!(cluster.cli(&["job", "wait", &other]).status.success());
    assert_eq!(cluster.json(&["job", "get", &job])["state"], "ready");
    let _fit = worker(
        &cluster,
        &[
            "--name",
            "fit",
            "--label",
            "model=llama",
            "--has",
            "vram=96",
        ],
        "cat",
    );
    assert!(cluster.cli(&["job", "wait", &job]).status.success());
    assert_eq!(
        cluster.json(&["job", "get", &job])["history"][0]["worker"],
        "fit"
    );
    drop(plain);
}

#[test]
fn worker_that_is_told_to_stop_finishes_what_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    assert!(
        Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    let script = format!("read line < {}; echo $line", gate.display());
    let (cluster, mut worker) = with_worker(&[], &script);
    let job = submit(&cluster, &["x"]);
    cluster.await_shards("leased", |shard| shard["counts"]["leased"] == 1);
    worker.signal(Signal::TERM);
    std::fs::write(&gate, "late\n").unwrap();
    assert!(worker.wait().success(), "{}", worker.log());
    assert_eq!(
        cluster.cli(&["job", "get", "--result", &job]).stdout,
        b"late\n"
    );
}

#[test]
fn killed_worker_loses_its_job_to_another_and_the_history_says_so() {
    let (cluster, first) = with_worker(&["--name", "first"], "sleep 600");
    cluster.json(&["queue", "create", "quick", "--lease", "4s"]);
    drop(first);
    let stuck = worker(
        &cluster,
        &["--name", "stuck", "--queue", "quick"],
        "sleep 600",
    );
    let job = submit(&cluster, &["x", "--queue", "quick"]);
    cluster.await_shards("leased", |shard| shard["counts"]["leased"] == 1);
    stuck.kill();
    let _second = worker(&cluster, &["--name", "second", "--queue", "quick"], "cat");
    assert!(cluster.cli(&["job", "wait", &job]).status.success());
    let history = cluster.json(&["job", "get", &job])["history"].clone();
    assert_eq!(
        (&history[0]["worker"], &history[0]["end"]),
        (&"stuck".into(), &"expired".into())
    );
    assert_eq!(
        (&history[1]["worker"], &history[1]["end"]),
        (&"second".into(), &"completed".into())
    );
}

#[test]
fn second_signal_ends_the_command_and_its_children_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    assert!(
        Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    let script = format!("exec 3> {}; echo up >&3; sleep 600 & wait", gate.display());
    let (cluster, mut worker) = with_worker(&["--grace", "10m"], &script);
    submit(&cluster, &["x"]);
    let mut reader = std::fs::File::open(&gate).unwrap();
    let mut up = [0; 3];
    reader.read_exact(&mut up).unwrap();
    worker.signal(Signal::TERM);
    worker.await_log("a second signal");
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait().code(), Some(130));
    // The command and its child held the pipe open: its end proves that both are gone.
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
}

#[test]
fn command_that_is_not_there_is_refused_before_any_job_is_taken() {
    let output = Command::new(LEASEHOLD)
        .args(["worker", "exec", "--", "no-such-command"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-command"));
}
