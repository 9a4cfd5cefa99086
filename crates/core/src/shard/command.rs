//! What can be written to a shard's log. One variant a change, each applied by the file of its name.

use std::time::Duration;

use bytes::Bytes;
use leasehold_types::{
    BootCount, Digest, FenceToken, IdempotencyKey, JobId, NodeId, QueueName, RegionName, SessionId,
    ShardEpoch, TenantName, Timestamp, WorkerName,
};

use crate::policy::QueuePolicy;
use crate::requirement::Requirement;

/// One log entry: commands that were gathered together, under one epoch and one stamp of the shard clock.
///
/// An empty batch is a tick: it moves the clock in the replicated state, and with it the jobs that fall due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The leadership that proposes. For [`Command::LeaderStart`]: the epoch before it.
    pub epoch: ShardEpoch,
    /// The shard clock: `max(previous stamp, clock of the leader)`.
    pub stamp: Timestamp,
    /// Drawn by the leader; every jitter of this batch comes from it, so that all replicas agree.
    pub seed: u64,
    /// Applied in this order; each has exactly one [`Outcome`](super::Outcome).
    pub commands: Vec<Command>,
}

/// A change to a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// First act of every leadership: raises the epoch if `previous` is still the current one.
    LeaderStart(LeaderStart),
    /// Takes a job in, or finds the job that the same id or key made before.
    Submit(Box<Submit>),
    /// Leases a ready job to a worker and issues the fence token.
    Grant(Box<Grant>),
    /// Records that a leased job's worker was heard.
    Contact(Contact),
    /// Accepts a result under the current fence.
    Complete(Complete),
    /// Ends an attempt that the worker reports as failed.
    Fail(Box<Fail>),
    /// Ends a lease, or a job whose deadline passed.
    Expire(Expire),
    /// Hands a leased job back unrun.
    Release(Release),
    /// Ends a job at its owner's wish.
    Cancel(Cancel),
    /// Puts a dead letter back.
    Redrive(Redrive),
    /// Removes a dead letter before its retention ends.
    Discard(Discard),
    /// Removes ended jobs and forgotten keys whose retention ended before the batch's stamp.
    Purge(Purge),
    /// Brings a queue's policy from the metadata; only a greater index is taken.
    PutPolicy(Box<PutPolicy>),
}

/// See [`Command::LeaderStart`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderStart {
    /// The epoch that the new leader saw applied.
    pub previous: ShardEpoch,
    /// Who leads.
    pub node: NodeId,
    /// Which start of that node.
    pub boot: BootCount,
}

/// See [`Command::Submit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    /// Minted by the submitter.
    pub job: JobId,
    /// The queue it goes to; must be known to the shard.
    pub queue: QueueName,
    /// Whose job it is; the queue's owner when none is given.
    pub tenant: Option<TenantName>,
    /// The caller's own key, scoped to (tenant, queue).
    pub key: Option<IdempotencyKey>,
    /// What the worker gets; at most `limits::INLINE_BYTES`.
    pub payload: Bytes,
    /// SHA-256 of the payload: what a repeat is compared by.
    pub digest: Digest,
    /// 0 to `limits::PRIORITY_MAX`, higher first among the jobs of one tenant.
    pub priority: u8,
    /// Not before this long after the submit.
    pub delay: Duration,
    /// Longest from submit to result; the queue's own when none is given.
    pub deadline: Option<Duration>,
    /// What it asks of a worker.
    pub requirement: Requirement,
}

/// See [`Command::Grant`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The job, which must be ready at the batch's stamp.
    pub job: JobId,
    /// The worker's session.
    pub session: SessionId,
    /// The worker's name, for the history.
    pub worker: WorkerName,
    /// The worker's region, for the history and for verdicts.
    pub region: RegionName,
}

/// What a worker is doing with a leased job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum WorkPhase {
    /// Prefetched, not started: free of the stall limit.
    Queued,
    /// Loading a model or inputs.
    Loading,
    /// At work.
    #[default]
    Running,
    /// The result is on its way to the blob store.
    Uploading,
}

/// See [`Command::Contact`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The leased job.
    pub job: JobId,
    /// Its fence.
    pub fence: FenceToken,
    /// The worker's progress counter.
    pub progress: u64,
    /// Stamp at which the counter last rose.
    pub progressed_at: Timestamp,
    /// What the worker was doing.
    pub phase: WorkPhase,
}

/// See [`Command::Complete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// The leased job.
    pub job: JobId,
    /// Its fence.
    pub fence: FenceToken,
    /// The result; at most `limits::INLINE_BYTES`.
    pub result: Bytes,
    /// SHA-256 of the result.
    pub digest: Digest,
}

/// What kind of failure ended an attempt, and so what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// May work next time: retried with backoff up to the queue's attempts.
    Transient,
    /// Will fail every time: dead at once.
    Permanent,
    /// Refused by a content or usage policy: dead at once.
    Policy,
    /// The input does not fit the model: dead at once.
    ContextOverflow,
    /// The job hangs or kills its workers: dead.
    Poison,
    /// A budget of tokens, cost or calls is used up: dead at once.
    Budget,
    /// Well-formed and wrong: retried like a transient failure.
    Semantic,
    /// The worker fell silent or made no progress; up to the queue's losses, then poison.
    Lost,
    /// Not the job's fault (blob store, network, draining worker): retried, up to 10 apart from the attempts.
    Infrastructure,
}

/// See [`Command::Fail`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fail {
    /// The leased job.
    pub job: JobId,
    /// Its fence.
    pub fence: FenceToken,
    /// What kind of failure.
    pub class: FailureClass,
    /// One line for people; cut to `limits::DETAIL_BYTES`.
    pub message: String,
    /// More, such as the tail of stderr; cut to `limits::DETAIL_BYTES`.
    pub detail: Bytes,
    /// The worker's wish for the next try; the backoff if longer.
    pub retry_after: Option<Duration>,
}

/// Why a lease or a job ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExpireReason {
    /// No renewal within the lease.
    Silent,
    /// Renewals without progress for the stall limit.
    Stalled,
    /// The attempt ran longer than the queue allows.
    AttemptLimit,
    /// The worker's region is unreachable by verdict and the worker was not heard for two renewal intervals.
    Verdict,
    /// The job's own deadline passed, leased or not.
    Deadline,
}

/// See [`Command::Expire`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expire {
    /// The job.
    pub job: JobId,
    /// The lease that ends; none when the job's deadline passed while it held no lease.
    pub fence: Option<FenceToken>,
    /// Why.
    pub reason: ExpireReason,
}

/// See [`Command::Release`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The leased job.
    pub job: JobId,
    /// Its fence.
    pub fence: FenceToken,
    /// Why it goes back.
    pub reason: String,
    /// Who gave it back.
    pub cause: ReleaseCause,
}

/// Who hands a job back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseCause {
    /// Its worker: counted, and bounded by `limits::RELEASES`.
    Worker,
    /// Its leader or its worker's gateway: no worker ever saw it, so nothing is counted against the job.
    Undelivered,
}

/// See [`Command::Cancel`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// The job.
    pub job: JobId,
    /// Why, in the caller's words.
    pub reason: String,
}

/// See [`Command::Redrive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// The dead letter.
    pub job: JobId,
}

/// See [`Command::Discard`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// The dead letter.
    pub job: JobId,
}

/// See [`Command::Purge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// At most so many jobs and so many keys are removed.
    pub limit: u32,
}

/// See [`Command::PutPolicy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutPolicy {
    /// The queue.
    pub queue: QueueName,
    /// Its policy.
    pub policy: QueuePolicy,
    /// Index of the metadata entry that set it.
    pub index: u64,
}
