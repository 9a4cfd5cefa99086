//! The harness finds what it is there to find: a disk that says *synced* before it is.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::process::{Command, Output};

fn crashes(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold-crashes"));
    command.args(arguments).output().unwrap()
}

fn report(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn disk_that_lies_about_its_syncs_is_found_out() {
    let root = tempfile::tempdir().unwrap();
    let keep = root.path().to_str().unwrap();
    let output = crashes(&[
        "--lie",
        "--nodes",
        "1",
        "--kills",
        "8",
        "--submits",
        "500",
        "--json",
        "--keep",
        keep,
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    // A lost submit is missed by name; a lost result may show first by the job being done a second time. And where the
    // node had noted how far its log was synced, it says itself that it is not.
    let report = report(&output);
    let broken = report["lost"].as_u64().unwrap() + report["doubled"].as_u64().unwrap();
    assert!(
        broken > 0 || said.contains("is damaged at offset"),
        "{said}"
    );
    assert!(said.contains("of seed 1"), "{said}");
    assert!(said.contains("again: cargo run"), "{said}");
}

#[test]
fn point_that_does_not_exist_is_refused() {
    let output = crashes(&["--point", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn folder_that_is_not_empty_is_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let mine = root.path().join("cluster-1");
    std::fs::create_dir(&mine).unwrap();
    let output = crashes(&["--kills", "1", "--keep", root.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not empty"), "{said}");
    assert!(mine.exists());
}
