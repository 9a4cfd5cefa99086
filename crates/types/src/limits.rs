//! Every bound in one place. What would pass one of them is refused with an error that names it.

use std::time::Duration;

/// Longest name of a region, tenant, queue or worker, in bytes.
pub const NAME_BYTES: usize = 64;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES: usize = 256;
/// Largest payload or result carried inside the log, in bytes.
pub const INLINE_BYTES: usize = 64 * 1024;
/// Largest request body, in bytes.
pub const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Most jobs in one submit.
pub const BATCH_JOBS: usize = 1_000;
/// Most bytes of commands that one log entry carries.
pub const ENTRY_BYTES: usize = 1024 * 1024;
/// Most commands that one log entry carries.
pub const ENTRY_COMMANDS: usize = 1_024;
/// Most labels that a job asks for or a worker offers.
pub const LABELS: usize = 32;
/// Longest label name or value, in bytes.
pub const LABEL_BYTES: usize = 128;
/// Most different requirement sets (labels and capacity) among the live jobs of one shard. One tenant may have as many
/// as it leaves free for the others: at most half of them.
pub const POOLS: usize = 1_024;
/// Most tenants with jobs in one shard.
pub const TENANTS: usize = 10_000;
/// Most queues in a cluster.
pub const QUEUES: usize = 10_000;
/// Most queues that one worker serves.
pub const WORKER_QUEUES: usize = 32;
/// Most free slots that one worker session may offer.
pub const WORKER_CREDIT: u32 = 1_024;
/// Most leases that one worker renews in one message.
pub const RENEWALS: usize = 1_024;
/// Most worker sessions on one shard leader.
pub const SESSIONS: usize = 20_000;
/// Highest priority; 0 is the lowest.
pub const PRIORITY_MAX: u8 = 9;
/// Priority of a job that names none.
pub const PRIORITY_DEFAULT: u8 = 4;
/// Most attempts a queue may allow for transient failures.
pub const ATTEMPTS_MAX: u32 = 100;
/// Most infrastructure faults that do not count as attempts.
pub const INFRASTRUCTURE_FAULTS: u32 = 10;
/// Most times that a worker may hand a job back without it counting as an attempt.
pub const RELEASES: u32 = 10;
/// Attempts of a job that are shown: the newest. All of them stay on disk until the job goes; how many there may be is
/// bounded by the faults that end a job, and by [`REDRIVES`].
pub const HISTORY: usize = 128;
/// Most times that a dead letter is put back.
pub const REDRIVES: u32 = 20;
/// Longest error message or tail of stderr kept with an attempt, in bytes.
pub const DETAIL_BYTES: usize = 8 * 1024;
/// Longest reason of a job's end, in bytes: it stays in memory as long as the job.
pub const REASON_BYTES: usize = 256;
/// Idempotency keys and ids remembered by one shard.
pub const KEYS: usize = 1_000_000;
/// Live and retained jobs held by one shard.
pub const SHARD_JOBS: usize = 10_000_000;
/// Bytes of payloads, results and histories held by one shard: 64 GiB. They are on disk; in memory are headers and
/// indexes, a few hundred bytes a job, and what no checkpoint has yet ([`UNSAVED_BYTES`]).
pub const SHARD_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes of payloads, results and histories of one shard that no checkpoint has yet: more of them, and entries wait for
/// the checkpoint.
pub const UNSAVED_BYTES: u64 = 256 * 1024 * 1024;
/// Longest delay before a job may first run.
pub const DELAY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longest lease.
pub const LEASE_MAX: Duration = Duration::from_secs(600);
/// Shortest lease with `lan` timings.
pub const LEASE_MIN_LAN: Duration = Duration::from_secs(4);
/// Shortest lease with `wan` timings.
pub const LEASE_MIN_WAN: Duration = Duration::from_secs(15);
/// A lease is renewed this many times in its length.
pub const RENEWALS_PER_LEASE: u32 = 6;
/// Jobs in one page of a list.
pub const PAGE_JOBS: usize = 1_000;
/// Longest that one `wait` is held open; the client asks again.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Submits that one stream may have unanswered.
pub const STREAM_WINDOW: usize = 4_096;
/// Finished jobs removed by one `Purge`.
pub const PURGE_JOBS: u32 = 1_000;
/// Nodes in a cluster.
pub const NODES: usize = 1_000;
/// Regions in a cluster.
pub const REGIONS: usize = 64;
/// Worker's own time margin: fixed part. See also [`MARGIN_PER_MILLE`].
pub const MARGIN: Duration = Duration::from_millis(250);
/// Worker's own time margin: share of the lease, in thousandths.
pub const MARGIN_PER_MILLE: u32 = 10;
