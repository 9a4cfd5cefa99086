//! What every replica of a shard holds, and how it changes: by [`ShardState::apply`] alone.
//!
//! Stored are the head, the policies, the jobs and what is remembered of purged ones; every index is derived from
//! those and rebuilt by [`ShardState::from_parts`]. No outcome may depend on how an index came about, or a replica
//! restored from a snapshot would answer otherwise than one that lived through the log. No input makes `apply` panic:
//! a panic would take down every replica in turn.

mod checkpoint;
mod fencing;
mod index;
mod keys;
mod parts;
mod pools;
mod queues;
mod ready;
mod table;
mod views;

use std::sync::Arc;

use leasehold_types::{
    BootCount, Digest, IdempotencyKey, Incarnation, JobId, NodeId, QueueName, ShardEpoch,
    TenantName, Timestamp, limits,
};

use super::command::Submit;
use super::job::{Job, JobHeader, JobState};
use super::outcome::{Change, Refusal};
use crate::policy::QueuePolicy;
use crate::requirement::Requirement;

use index::Indexes;
use keys::KeyTable;
use pools::PoolId;
use queues::QueueBook;
use table::JobTable;

pub use checkpoint::FrozenHead;
pub use keys::Remembered;
pub use parts::{Kept, KeptRun, PartsError, ShardHead};
pub use queues::PlacedPolicy;
pub use table::{
    BUNDLE_BYTES, Bundle, FrozenBundle, FrozenEntry, FrozenJob, FrozenRun, PART_BYTES, RUN, Rows,
};

#[cfg(test)]
pub(in crate::shard) use table::Entry;

pub(super) use ready::{Lane, Place};

/// Who leads the shard, as its own log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The node.
    pub node: NodeId,
    /// Which start of that node.
    pub boot: BootCount,
}

/// How much a shard takes in. One set of values in production; smaller ones let a test reach the bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) jobs: usize,
    pub(super) bytes: u64,
    pub(super) keys: usize,
    pub(super) pools: usize,
    pub(super) tenants: usize,
    pub(super) queues: usize,
    /// Waiting jobs that one entry makes ready: the rest follow with the next entry.
    pub(super) wakes: usize,
}

impl Bounds {
    const DEFAULT: Self = Self {
        jobs: limits::SHARD_JOBS,
        bytes: limits::SHARD_BYTES,
        keys: limits::KEYS,
        pools: limits::POOLS,
        tenants: limits::TENANTS,
        queues: limits::QUEUES,
        wakes: 8 * limits::ENTRY_COMMANDS,
    };
}

/// The replicated state of one shard.
///
/// Two states are equal when what they store is, and when the same of it is in memory: two replicas at one entry are
/// unequal once one of them let go of what its checkpoint has. Indexes are not compared.
#[derive(Debug, Clone)]
pub struct ShardState {
    pub(super) head: ShardHead,
    pub(super) queues: QueueBook,
    pub(super) jobs: JobTable,
    pub(super) keys: KeyTable,
    pub(super) index: Indexes,
    pub(super) bounds: Bounds,
}

impl PartialEq for ShardState {
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && self.queues == other.queues && self.jobs == other.jobs
    }
}

impl ShardState {
    /// A shard without jobs, before its first leadership.
    #[must_use]
    pub fn new(incarnation: Incarnation) -> Self {
        let head = ShardHead {
            incarnation,
            ..ShardHead::default()
        };
        Self::empty(head)
    }

    fn empty(head: ShardHead) -> Self {
        Self {
            head,
            queues: QueueBook::default(),
            jobs: JobTable::default(),
            keys: KeyTable::default(),
            index: Indexes::default(),
            bounds: Bounds::DEFAULT,
        }
    }

    /// The leadership that may write.
    #[must_use]
    pub const fn epoch(&self) -> ShardEpoch {
        self.head.epoch
    }

    /// The shard clock, as of the newest entry applied.
    #[must_use]
    pub const fn stamp(&self) -> Timestamp {
        self.head.stamp
    }

    /// Who leads; none before the first leadership.
    #[must_use]
    pub const fn owner(&self) -> Option<Owner> {
        self.head.owner
    }

    /// The policy of a queue.
    #[must_use]
    pub fn policy(&self, queue: &QueueName) -> Option<&QueuePolicy> {
        self.queues.policy(queue).map(Arc::as_ref)
    }

    /// Index of the metadata entry that set a queue's policy.
    #[must_use]
    pub fn policy_index(&self, queue: &QueueName) -> Option<u64> {
        self.queues.index(queue)
    }

    /// Index of the newest metadata entry that any policy here was set by; 0 before the first.
    #[must_use]
    pub const fn newest_policy_index(&self) -> u64 {
        self.queues.newest_index()
    }

    /// Whether a job has ended; none for a job that is not held.
    #[must_use]
    pub fn is_terminal(&self, job: JobId) -> Option<bool> {
        self.header(job).map(|header| header.state.is_terminal())
    }

    /// When something here is to happen by itself: a waiting job falls due, a job's deadline passes, an ended job or
    /// a remembered key may go. Leases are not among them: only their leader knows when they run out.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let waiting = self.index.next_waiting().map(|(due, _)| due);
        let deadline = self.index.deadlines().first().map(|(at, _)| *at);
        [waiting, deadline, self.next_purge()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the next ended job may go or the next key be forgotten.
    pub(super) fn next_purge(&self) -> Option<Timestamp> {
        [self.queues.next_purge(), self.keys.next_forget()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What to say of a job that is not held.
    #[must_use]
    pub fn absent(&self, job: JobId) -> Refusal {
        match self.jobs.remembered(job) {
            Some(_) => Refusal::NoLongerKept(job),
            None => Refusal::UnknownJob(job),
        }
    }

    /// Whether a submit repeats one that was taken in: its id, or else its key, stands for a job that is held or
    /// remembered.
    #[must_use]
    pub fn has_taken_in(&self, submit: &Submit) -> bool {
        let policy = self.queues.policy(&submit.queue);
        let tenant = submit
            .tenant
            .as_ref()
            .or(policy.map(|policy| &policy.tenant));
        let of_key = |tenant| self.job_of_key(tenant, &submit.queue, submit.key.as_ref());
        self.digest_of(submit.job).is_some() || tenant.and_then(of_key).is_some()
    }

    pub(super) fn header(&self, job: JobId) -> Option<&JobHeader> {
        self.jobs.get(job).map(|job| &job.header)
    }

    /// A job that is held.
    pub(super) fn known(&self, job: JobId) -> Result<&Job, Refusal> {
        self.jobs.get(job).ok_or_else(|| self.absent(job))
    }

    /// Changes what no index is made from.
    pub(super) fn amend(&mut self, job: JobId, change: impl FnOnce(&mut Job)) {
        self.jobs.change(job, change);
    }
}

/// The one way in which jobs come, change and go, so that indexes and jobs always agree.
impl ShardState {
    /// Takes a new job in.
    pub(super) fn admit(&mut self, mut job: Job, changes: &mut Vec<Change>) {
        self.share_words(&mut job.header);
        note(None, &job.header, changes);
        let pool = self.enter_indexes(&job.header);
        self.jobs.insert(job, pool);
    }

    fn enter_indexes(&mut self, header: &JobHeader) -> PoolId {
        self.queues.enter(header);
        self.keys.enter(header);
        self.index.add(header)
    }

    /// Makes the job's words the shard's own copies: a decoded command has its own of each.
    fn share_words(&mut self, header: &mut JobHeader) {
        if let Some(queue) = self.queues.name(&header.queue) {
            header.queue = queue.clone();
        }
        if let Some(tenant) = self.index.tenant(&header.tenant) {
            header.tenant = tenant.clone();
        }
        header.requirement = self.index.pools.intern(&header.requirement);
    }

    /// Moves a job into another state and notes what a leader has to know of it.
    pub(super) fn restate(&mut self, id: JobId, to: JobState, changes: &mut Vec<Change>) {
        let Some(slot) = self.jobs.slot_mut(id) else {
            return;
        };
        let job = Arc::make_mut(&mut slot.job);
        self.index.leave(&job.header, slot.pool);
        self.queues.leave(&job.header);
        let from = std::mem::replace(&mut job.header.state, to);
        match (from.is_terminal(), job.header.state.is_terminal()) {
            (false, true) => self.index.drop_live(&job.header, slot.pool),
            (true, false) => slot.pool = self.index.add_live(&job.header),
            (false, false) | (true, true) => {}
        }
        self.index.enter(&job.header, slot.pool);
        self.queues.enter(&job.header);
        note(Some((id, &from)), &job.header, changes);
        if job.header.state.is_terminal() {
            job.close_recent();
        }
        if !needs_payload(&job.header.state) {
            job.drop_payload();
        }
        self.jobs.recount(id);
    }

    /// Lets go of an ended job, and remembers its id and key for as long as the queue says.
    pub(super) fn release_ended(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(id) else {
            return;
        };
        let header = &job.header;
        self.queues.leave(header);
        self.index.drop_ended(header);
        let retain = self.queues.policy(&header.queue).map(|p| p.retain_keys);
        let forget_at = ended_at(&header.state) + retain.unwrap_or_default();
        if forget_at <= self.head.stamp {
            self.keys
                .forget(&header.tenant, &header.queue, header.key.as_ref());
            return;
        }
        self.remember(Remembered {
            job: id,
            sequence: header.sequence,
            queue: header.queue.clone(),
            tenant: header.tenant.clone(),
            key: header.key.clone(),
            digest: header.digest,
            forget_at,
        });
        self.make_room(self.bounds.keys);
    }

    fn remember(&mut self, entry: Remembered) {
        self.keys.remember(&entry);
        self.jobs.remember(Arc::new(entry));
    }

    /// Forgets ids without keys, the oldest first, until at most `room` entries are left or none can go.
    fn make_room(&mut self, room: usize) {
        while let Some(job) = self.keys.make_room(room) {
            self.jobs.forget(job);
        }
    }

    /// Makes waiting jobs ready whose time has come, up to a bound: the next entry goes on with the rest.
    pub(super) fn wake_due(&mut self, changes: &mut Vec<Change>) {
        for _ in 0..self.bounds.wakes {
            match self.index.next_waiting() {
                Some((due, id)) if due <= self.head.stamp => {
                    self.restate(id, JobState::Ready, changes);
                }
                Some(_) | None => return,
            }
        }
    }

    /// An ended job whose retention has ended.
    pub(super) fn overdue_job(&self) -> Option<JobId> {
        self.queues.overdue(self.head.stamp)
    }

    /// Forgets one id or key whose time has come, and says whether there was one.
    pub(super) fn forget_one(&mut self) -> bool {
        let Some(job) = self.keys.due(self.head.stamp) else {
            return false;
        };
        if let Some(entry) = self.jobs.forget(job) {
            self.keys
                .forget(&entry.tenant, &entry.queue, entry.key.as_ref());
        }
        true
    }

    /// The job that a key stands for.
    pub(super) fn job_of_key(
        &self,
        tenant: &TenantName,
        queue: &QueueName,
        key: Option<&IdempotencyKey>,
    ) -> Option<JobId> {
        self.keys.find(tenant, queue, key?)
    }

    /// The payload digest of a job that is held or remembered.
    pub(super) fn digest_of(&self, job: JobId) -> Option<Digest> {
        let held = self.header(job).map(|header| header.digest);
        held.or_else(|| self.jobs.remembered(job).map(|entry| entry.digest))
    }

    /// The queue and tenant of a job that is held or remembered.
    pub(super) fn scope_of(&self, job: JobId) -> Option<(&QueueName, &TenantName)> {
        let held = self
            .header(job)
            .map(|header| (&header.queue, &header.tenant));
        held.or_else(|| {
            let entry = self.jobs.remembered(job);
            entry.map(|entry| (&entry.queue, &entry.tenant))
        })
    }

    /// The key of a job that is held or remembered.
    pub(super) fn key_of(&self, job: JobId) -> Option<&IdempotencyKey> {
        match self.header(job) {
            Some(header) => header.key.as_ref(),
            None => self.jobs.remembered(job)?.key.as_ref(),
        }
    }

    /// Makes room for one more key, and says whether there is.
    pub(super) fn has_room_for_key(&mut self) -> bool {
        if self.keys.keyed() >= self.bounds.keys {
            return false;
        }
        self.make_room(self.bounds.keys - 1);
        true
    }

    /// The lane that a job that has not ended is ready in, or would be, and whose it is.
    pub(super) fn course_of(&self, job: JobId) -> Option<(Lane, &TenantName)> {
        let slot = self.jobs.slot(job)?;
        let queue = slot.job.header.queue.clone();
        let pool = slot.pool;
        Some((Lane { queue, pool }, &slot.job.header.tenant))
    }

    /// When a key may be forgotten next.
    pub(super) fn next_free_key(&self) -> Option<Timestamp> {
        self.keys.next_forget_keyed()
    }

    /// When an ended job may go next.
    pub(super) fn next_free_job(&self) -> Option<Timestamp> {
        self.queues.next_purge()
    }

    pub(super) fn has_room_for_tenant(&self, tenant: &TenantName) -> bool {
        self.index.tenant(tenant).is_some() || self.index.tenants() < self.bounds.tenants
    }

    /// How many different requirements a tenant's live jobs may have now, if one more of them would be too many.
    ///
    /// Each tenant may have as many as it leaves free for the others, so that however many one of them makes up, there
    /// is always one left for the next (the dynamic thresholds of Choudhury and Hahne, 1998). Jobs that ask for nothing
    /// are always taken.
    pub(super) fn pools_exhausted(
        &self,
        requirement: &Requirement,
        tenant: &TenantName,
    ) -> Option<usize> {
        let pools = &self.index.pools;
        let free = self.bounds.pools.saturating_sub(pools.in_use());
        let own = pools.in_use_by(tenant);
        let has_room = requirement.is_empty() || pools.is_in_use(requirement) || own < free;
        (!has_room).then_some(own)
    }
}

/// What a leader has to know of a job that went from one state to another.
fn note(from: Option<(JobId, &JobState)>, to: &JobHeader, changes: &mut Vec<Change>) {
    if let Some((job, JobState::Leased(lease))) = from {
        changes.push(Change::LeaseEnded {
            job,
            fence: lease.fence,
            session: lease.session,
        });
    }
    match &to.state {
        JobState::Waiting { .. } => {}
        JobState::Ready => changes.push(Change::Ready(to.id)),
        JobState::Leased(lease) => changes.push(Change::Leased {
            job: to.id,
            fence: lease.fence,
        }),
        JobState::Done(_) | JobState::Cancelled { .. } | JobState::Dead { .. } => {
            changes.push(Change::Finished(to.id));
        }
    }
}

/// Whether a job may still be given to a worker, or be put back by its owner.
const fn needs_payload(state: &JobState) -> bool {
    match state {
        JobState::Waiting { .. }
        | JobState::Ready
        | JobState::Leased(_)
        | JobState::Dead { .. } => true,
        JobState::Done(_) | JobState::Cancelled { .. } => false,
    }
}

/// When a job ended; the clock's end for one that has not.
fn ended_at(state: &JobState) -> Timestamp {
    match state {
        JobState::Done(done) => done.at,
        JobState::Cancelled { at, .. } | JobState::Dead { at, .. } => *at,
        JobState::Waiting { .. } | JobState::Ready | JobState::Leased(_) => Timestamp::MAX,
    }
}
