//! Wire messages as people and programs read them.

mod cluster;
mod job;
mod queue;

pub(crate) use cluster::{ClusterOut, ShardOut};
pub(crate) use job::{JobOut, job_rows};
pub(crate) use queue::QueueOut;

/// Bytes as text where they are text, as hexadecimal digits where they are not.
fn text_or_hex(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `JOB_STATE_READY` as `ready`.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .to_lowercase()
        .replace('_', "-")
}
