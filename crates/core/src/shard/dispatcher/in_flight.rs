//! What this leader has proposed and does not know the outcome of.
//!
//! Nothing is proposed twice while its outcome is on its way. A proposal that failed on the way may still be in the
//! log: it becomes a doubt, and is compared with the state a while later, over and over until the state tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use leasehold_types::{FenceToken, JobId, QueueName, SessionId, Timestamp};

use crate::shard::command::{Batch, Command};
use crate::shard::state::Lane;

/// A grant that was proposed.
#[derive(Debug, Clone)]
pub(super) struct PendingGrant {
    pub(super) session: SessionId,
    /// Where the job is ready; none while it is not, because the same entry submits it.
    pub(super) lane: Option<Lane>,
}

/// A proposal whose outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    Grant(JobId),
    /// The end of a lease, by expiry or by handing it back.
    Ending(JobId, FenceToken),
    /// The end of a job without a lease.
    Closing(JobId),
    Note(JobId, FenceToken),
}

/// After so long, what is in doubt is compared with the state.
pub(super) const DOUBT_FOR: Duration = Duration::from_secs(1);

/// Something about no job in particular, proposed once at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chore {
    is_proposed: bool,
    not_before: Timestamp,
}

impl Chore {
    /// When to propose it, if it is wanted from then on.
    pub(super) fn wanted(&self, from: Timestamp) -> Option<Timestamp> {
        (!self.is_proposed).then(|| from.max(self.not_before))
    }

    pub(super) const fn propose(&mut self) {
        self.is_proposed = true;
    }

    pub(super) const fn finish(&mut self) {
        self.is_proposed = false;
    }

    /// Its outcome is not known. To do it a second time does no harm, so nothing need be known of the first; but a
    /// leader that cannot write should not try all the time.
    fn fail(&mut self, now: Timestamp) {
        self.is_proposed = false;
        self.not_before = now + DOUBT_FOR;
    }
}

/// Everything that is on its way.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    grants: BTreeMap<JobId, PendingGrant>,
    /// How many of the grants are from each lane.
    by_lane: BTreeMap<Lane, u64>,
    /// How many of the grants are to each session.
    by_session: BTreeMap<SessionId, u32>,
    /// Batches with jobs that are still to be granted once they are applied, by seed, and the queues of those jobs.
    left: VecDeque<(u64, BTreeSet<QueueName>)>,
    /// Jobs without a lease whose deadline passed.
    pub(super) closing: BTreeSet<JobId>,
    pub(super) purge: Chore,
    pub(super) tick: Chore,
    doubts: VecDeque<(Timestamp, Doubt)>,
}

impl InFlight {
    /// A grant is proposed.
    pub(super) fn add_grant(&mut self, job: JobId, grant: PendingGrant) {
        if let Some(lane) = &grant.lane {
            *self.by_lane.entry(lane.clone()).or_default() += 1;
        }
        *self.by_session.entry(grant.session).or_default() += 1;
        self.grants.insert(job, grant);
    }

    /// A grant's outcome is known, or no longer waited for.
    pub(super) fn take_grant(&mut self, job: JobId) -> Option<PendingGrant> {
        let grant = self.grants.remove(&job)?;
        if let Some(lane) = &grant.lane
            && let Some(count) = self.by_lane.get_mut(lane)
        {
            *count -= 1;
            if *count == 0 {
                self.by_lane.remove(lane);
            }
        }
        if let Some(count) = self.by_session.get_mut(&grant.session) {
            *count -= 1;
            if *count == 0 {
                self.by_session.remove(&grant.session);
            }
        }
        Some(grant)
    }

    /// How many grants to a session are proposed.
    pub(super) fn grants_to(&self, session: SessionId) -> u32 {
        self.by_session.get(&session).copied().unwrap_or_default()
    }

    /// Whether a grant of the job is proposed.
    pub(super) fn is_granting(&self, job: JobId) -> bool {
        self.grants.contains_key(&job)
    }

    /// How many grants from a lane are proposed.
    pub(super) fn grants_from(&self, lane: &Lane) -> u64 {
        self.by_lane.get(lane).copied().unwrap_or_default()
    }

    /// A batch is proposed that submits jobs to these queues without granting them.
    pub(super) fn leave(&mut self, seed: u64, queues: BTreeSet<QueueName>) {
        if !queues.is_empty() {
            self.left.push_back((seed, queues));
        }
    }

    /// Whether jobs of a queue are on their way that are still to be granted.
    pub(super) fn has_left(&self, queue: &QueueName) -> bool {
        self.left.iter().any(|(_, queues)| queues.contains(queue))
    }

    /// A batch was applied, or is waited for no longer.
    pub(super) fn landed(&mut self, seed: u64) {
        self.left.retain(|(left, _)| *left != seed);
    }

    /// The outcome of a batch is not known.
    pub(super) fn doubt(&mut self, batch: &Batch, now: Timestamp) {
        self.tick.fail(now);
        let at = now + DOUBT_FOR;
        for command in &batch.commands {
            if matches!(command, Command::Purge(_)) {
                self.purge.fail(now);
            }
            if let Some(doubt) = doubt_of(command) {
                self.doubts.push_back((at, doubt));
            }
        }
    }

    /// Whether nothing is left of proposals whose outcome is known.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.grants.is_empty()
            && self.by_lane.is_empty()
            && self.by_session.is_empty()
            && self.left.is_empty()
            && self.closing.is_empty()
            && self.doubts.is_empty()
    }

    /// What is to be compared with the state now.
    pub(super) fn ripe(&mut self, now: Timestamp) -> Vec<Doubt> {
        let ripe = self.doubts.iter().take_while(|(at, _)| *at <= now).count();
        self.doubts.drain(..ripe).map(|(_, doubt)| doubt).collect()
    }

    /// When something is to be compared with the state.
    pub(super) fn next_ripe(&self) -> Option<Timestamp> {
        self.doubts.front().map(|(at, _)| *at)
    }
}

fn doubt_of(command: &Command) -> Option<Doubt> {
    match command {
        Command::Grant(grant) => Some(Doubt::Grant(grant.job)),
        Command::Contact(contact) => Some(Doubt::Note(contact.job, contact.fence)),
        Command::Expire(expire) => Some(match expire.fence {
            Some(fence) => Doubt::Ending(expire.job, fence),
            None => Doubt::Closing(expire.job),
        }),
        Command::Release(release) => Some(Doubt::Ending(release.job, release.fence)),
        Command::LeaderStart(_)
        | Command::Submit(_)
        | Command::Complete(_)
        | Command::Fail(_)
        | Command::Cancel(_)
        | Command::Redrive(_)
        | Command::Discard(_)
        | Command::Purge(_)
        | Command::PutPolicy(_) => None,
    }
}
