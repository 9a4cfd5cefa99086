//! The simulation itself under test: one seed, two fresh processes, one trace.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

fn trace(seed: u64) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_leasehold-simulation"))
        .args(["--trace", "--seed", &seed.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn same_seed_gives_the_same_trace_in_two_fresh_processes() {
    assert_eq!(trace(1), trace(1));
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(trace(1), trace(2));
}
