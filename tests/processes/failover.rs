//! Nodes killed with SIGKILL: what was acknowledged stays, and work goes on.

use std::process::Command;

use crate::harness::{Cluster, LEASEHOLD, Process};

#[test]
fn killed_leader_loses_nothing_and_its_jobs_finish_elsewhere() {
    let mut cluster = Cluster::new(3, "lan");
    cluster.start_all();
    cluster.await_whole();
    cluster.json(&["queue", "create", "quick", "--lease", "4s"]);
    let jobs: Vec<String> = (0..9).map(|number| keyed(&cluster, number)).collect();
    cluster.kill(0);
    let after: Vec<String> = (9..18).map(|number| keyed(&cluster, number)).collect();
    let _worker = worker(&cluster);
    for job in jobs.iter().chain(&after) {
        let output = cluster.cli(&["job", "wait", job, "--for", "60s"]);
        assert!(output.status.success(), "{output:?}\n{}", cluster.logs());
    }
    cluster.start(0);
    cluster.await_whole();
    let again = keyed(&cluster, 0);
    assert_eq!(again, jobs[0]);
}

fn keyed(cluster: &Cluster, number: u32) -> String {
    let (text, key) = (format!("job {number}"), format!("key-{number}"));
    let submitted = cluster.json(&["job", "submit", &text, "--queue", "quick", "--key", &key]);
    submitted[0]["job_id"].as_str().unwrap().to_owned()
}

fn worker(cluster: &Cluster) -> Process {
    let mut command = Command::new(LEASEHOLD);
    command.args([
        "worker",
        "exec",
        "--queue",
        "quick",
        "--slots",
        "4",
        "--endpoint",
    ]);
    command
        .arg(cluster.endpoints().join(","))
        .args(["--", "cat"]);
    Process::start(&mut command, &cluster.root.path().join("worker.log"))
}

#[test]
fn cluster_killed_as_a_whole_comes_back_with_everything_acknowledged() {
    let mut cluster = Cluster::new(3, "lan");
    cluster.start_all();
    cluster.await_whole();
    let files: Vec<String> = (0..50)
        .map(|number| payload_file(&cluster, number))
        .collect();
    let arguments: Vec<&str> = ["job", "submit", "--file"]
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .collect();
    let jobs = cluster.json(&arguments);
    (0..3).for_each(|at| cluster.kill(at));
    cluster.start_all();
    for (number, job) in jobs.as_array().unwrap().iter().enumerate() {
        let job = job["job_id"].as_str().unwrap();
        let output = cluster.cli(&["job", "get", "--payload", job]);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("payload {number}"),
            "{}",
            cluster.logs()
        );
    }
}

fn payload_file(cluster: &Cluster, number: u32) -> String {
    let path = cluster.root.path().join(format!("payload-{number}"));
    std::fs::write(&path, format!("payload {number}")).unwrap();
    path.display().to_string()
}
