//! A cluster to talk to, and the two sides that talk to it.

mod cluster;
mod submitter;
mod worker;

pub(crate) use cluster::TestCluster;
pub(crate) use submitter::Submitter;
pub(crate) use worker::{Lease, TestWorker, session_id};

use std::future::Future;
use std::time::Duration;

/// Longest that any one step of a test may take: only a test that would hang for ever meets it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a step of a test.
pub(crate) async fn soon<T>(what: &str, step: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(result) => result,
        Err(_) => panic!("{what} did not happen"),
    }
}
