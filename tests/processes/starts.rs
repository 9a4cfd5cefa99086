//! Starts that must be refused, each with the thing named and the way out, and nothing lost.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::harness::{Cluster, LEASEHOLD};

fn single() -> Cluster {
    let mut cluster = Cluster::new(1, "lan");
    cluster.start_all();
    cluster.await_whole();
    cluster
}

/// Starts the cluster's node once more, to its end.
fn start_again(cluster: &Cluster) -> Output {
    cluster.command(0).output().unwrap()
}

fn assert_refused(output: &Output, named: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    for name in named {
        assert!(said.contains(name), "{name:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn segments(cluster: &Cluster) -> Vec<PathBuf> {
    let mut all = Vec::new();
    collect(&cluster.nodes[0].folder, &mut all);
    all.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
    all.sort();
    all
}

fn collect(folder: &std::path::Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, into),
            false => into.push(path),
        }
    }
}

#[test]
fn second_process_on_one_folder_is_refused() {
    let cluster = single();
    let folder = cluster.nodes[0].folder.display().to_string();
    assert_refused(&start_again(&cluster), &[&folder]);
}

#[test]
fn port_in_use_is_named() {
    let cluster = single();
    let other = tempfile::tempdir().unwrap();
    let mut command = Command::new(LEASEHOLD);
    command.args([
        "serve",
        "--init",
        "--region",
        "eu",
        "--listen",
        &cluster.nodes[0].client,
    ]);
    command
        .args(["--peer-listen", "127.0.0.1:0", "--data"])
        .arg(other.path().join("data"));
    assert_refused(&command.output().unwrap(), &[&cluster.nodes[0].client]);
}

#[test]
fn second_founding_of_a_folder_is_refused() {
    let mut cluster = single();
    cluster.kill(0);
    let output = cluster.command(0).arg("--init").output().unwrap();
    assert_refused(&output, &["--init"]);
}

#[test]
fn address_beyond_loopback_needs_to_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(LEASEHOLD);
    command
        .args([
            "serve",
            "--init",
            "--region",
            "eu",
            "--listen",
            "0.0.0.0:0",
            "--data",
        ])
        .arg(folder.path());
    assert_refused(&command.output().unwrap(), &["0.0.0.0:0", "insecure"]);
}

#[test]
fn unknown_key_of_a_configuration_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leasehold.toml");
    fs::write(&file, "regoin = \"eu\"\n").unwrap();
    let output = Command::new(LEASEHOLD)
        .args(["config", "check"])
        .arg(&file)
        .output()
        .unwrap();
    assert_refused(&output, &["regoin", "region"]);
    fs::write(&file, "region = \"eu\"\n").unwrap();
    let output = Command::new(LEASEHOLD)
        .args(["config", "check"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn torn_tail_of_the_log_is_cut_and_nothing_acknowledged_is_lost() {
    let mut cluster = single();
    let job = cluster.json(&["job", "submit", "kept"])[0]["job_id"]
        .as_str()
        .unwrap()
        .to_owned();
    cluster.kill(0);
    tear(&segments(&cluster));
    cluster.start(0);
    assert_eq!(
        cluster.cli(&["job", "get", "--payload", &job]).stdout,
        b"kept",
        "{}",
        cluster.logs()
    );
}

/// Part of a batch after the last one that is whole: what a crash in the middle of a write leaves behind.
fn tear(segments: &[PathBuf]) {
    let newest = segments
        .iter()
        .max_by_key(|path| end_of_data(path))
        .unwrap();
    let mut file = OpenOptions::new().append(true).open(newest).unwrap();
    file.write_all(&[0xA5; 40]).unwrap();
}

fn end_of_data(path: &PathBuf) -> u64 {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at as u64 + 1)
}

fn position(path: &PathBuf, wanted: &[u8]) -> Option<usize> {
    let bytes = fs::read(path).unwrap();
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[test]
fn flipped_bit_in_the_log_is_refused_with_file_and_offset() {
    let mut cluster = single();
    for number in 0..20 {
        cluster.json(&["job", "submit", &format!("job {number}")]);
    }
    cluster.kill(0);
    // Within what was acknowledged: between records there are bytes that nobody reads.
    let (segment, at) = segments(&cluster)
        .into_iter()
        .find_map(|segment| Some((segment.clone(), position(&segment, b"job 3")?)))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[at] ^= 0x10;
    fs::write(&segment, &bytes).unwrap();
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    assert_refused(&start_again(&cluster), &[&name, "offset"]);
}

#[test]
fn node_stops_in_good_order_at_sigterm() {
    let mut cluster = single();
    let mut process = cluster.nodes[0].process.take().unwrap();
    process.signal(rustix::process::Signal::TERM);
    assert!(process.wait().success(), "{}", process.log());
}
