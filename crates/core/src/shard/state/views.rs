//! What readers see. Every time is a span before the shard's own stamp, so that no reader compares clocks.

use std::ops::Bound;

use bytes::Bytes;
use leasehold_types::{JobId, Timestamp, limits};

use super::ShardState;
use crate::shard::job::{Job, JobBody, JobHeader, JobState};
use crate::shard::view::{
    Elsewhere, JobFilter, JobPage, JobStatus, JobView, ShardStats, StateName, StoredParts,
};

/// Jobs looked at for one page. A page may be short, or empty, though more follow: its `next` says where to go on.
const JOBS_EXAMINED: usize = 20 * limits::PAGE_JOBS;

impl ShardState {
    /// A job with what is in memory of its payload, result and history; none when it is not held (see
    /// [`ShardState::absent`]). The rest is [`ShardState::elsewhere`].
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobView> {
        let job = self.jobs.get(id)?;
        let body = job.body();
        let mut view = self.view(&job.header, body);
        view.payload = body.payload.clone().unwrap_or_default();
        let recent = job.header.recent.as_ref();
        let astray = recent.and_then(|recent| recent.astray.as_deref());
        view.add(StoredParts {
            attempts: body.attempts.iter().chain(astray).cloned().collect(),
            ..StoredParts::default()
        });
        Some(view)
    }

    /// Where the rest of a job is; none when all of it is in memory, or when it is not held.
    #[must_use]
    pub fn elsewhere(&self, id: JobId) -> Option<Elsewhere> {
        let job = self.jobs.get(id)?;
        let (sequence, stored) = (job.header.sequence, job.stored());
        (!stored.is_empty()).then_some(Elsewhere {
            sequence,
            packs: self.jobs.packs(sequence),
            stored,
            rows: self.jobs.rows(sequence),
        })
    }

    /// One page of jobs in the order of ids. A page may be short though more follow, because only so many jobs are
    /// looked at for one: go on while it has a `next`.
    #[must_use]
    pub fn list(&self, filter: &JobFilter) -> JobPage {
        let most = match filter.limit {
            0 => limits::PAGE_JOBS,
            limit => limit.min(limits::PAGE_JOBS),
        };
        let mut page = JobPage::default();
        let mut ids = self.candidates(filter).peekable();
        for _ in 0..JOBS_EXAMINED {
            let Some(id) = ids.next() else { break };
            if let Some(job) = self
                .jobs
                .get(id)
                .filter(|job| is_shown(filter, &job.header))
            {
                page.jobs.push(self.summary(job));
            }
            page.next = ids.peek().map(|_| id);
            if page.jobs.len() == most {
                break;
            }
        }
        page
    }

    /// The ids that a filter may show, from the smallest index that has them all.
    fn candidates(&self, filter: &JobFilter) -> Box<dyn Iterator<Item = JobId> + '_> {
        let from = filter.after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Unbounded);
        let state = filter.state.or(filter.class.map(|_| StateName::Dead));
        match state {
            Some(StateName::Leased) => Box::new(self.index.leased().range(range).copied()),
            Some(StateName::Dead) => Box::new(self.index.dead().range(range).copied()),
            Some(
                StateName::Waiting | StateName::Ready | StateName::Done | StateName::Cancelled,
            )
            | None => Box::new(self.jobs.ids_after(filter.after)),
        }
    }

    fn summary(&self, job: &Job) -> JobView {
        let mut view = self.view(&job.header, job.body());
        if let JobStatus::Done { result, .. } = &mut view.status {
            *result = Bytes::new();
        }
        view
    }

    /// The view without payload and history.
    fn view(&self, header: &JobHeader, body: &JobBody) -> JobView {
        let now = self.head.stamp;
        let end = match header.state.is_terminal() {
            true => now,
            false => header.expires_at,
        };
        JobView {
            id: header.id,
            queue: header.queue.clone(),
            tenant: header.tenant.clone(),
            key: header.key.clone(),
            priority: header.priority,
            requirement: header.requirement.as_ref().clone(),
            age: now.since(header.submitted_at),
            remaining: end.since(now),
            status: status(&header.state, body, now),
            tries: header.tries,
            payload: Bytes::new(),
            digest: header.digest,
            history: Vec::new(),
        }
    }

    /// Counts by queue; reading them looks through no jobs.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let queues = self.queues.stats();
        ShardStats {
            epoch: self.head.epoch,
            stamp: self.head.stamp,
            queues: queues.map(|(name, stats)| (name.clone(), stats)).collect(),
            keys: self.keys.len(),
        }
    }
}

fn is_shown(filter: &JobFilter, header: &JobHeader) -> bool {
    let fits_class =
        |class| matches!(&header.state, JobState::Dead { class: c, .. } if *c == class);
    (filter.queue.as_ref()).is_none_or(|queue| *queue == header.queue)
        && (filter.tenant.as_ref()).is_none_or(|tenant| *tenant == header.tenant)
        && filter
            .state
            .is_none_or(|state| state == state_name(&header.state))
        && filter.class.is_none_or(fits_class)
}

const fn state_name(state: &JobState) -> StateName {
    match state {
        JobState::Waiting { .. } => StateName::Waiting,
        JobState::Ready => StateName::Ready,
        JobState::Leased(_) => StateName::Leased,
        JobState::Done(_) => StateName::Done,
        JobState::Cancelled { .. } => StateName::Cancelled,
        JobState::Dead { .. } => StateName::Dead,
    }
}

fn status(state: &JobState, body: &JobBody, now: Timestamp) -> JobStatus {
    match state {
        JobState::Waiting { due } => JobStatus::Waiting {
            remaining: due.since(now),
        },
        JobState::Ready => JobStatus::Ready,
        JobState::Leased(lease) => JobStatus::Leased {
            fence: lease.fence,
            worker: lease.worker.clone(),
            session: lease.session,
            region: lease.region.clone(),
            running: now.since(lease.granted_at),
            progress: lease.progress,
            phase: lease.phase,
        },
        JobState::Done(done) => JobStatus::Done {
            result: body.result.clone().unwrap_or_default(),
            digest: done.digest,
            fence: done.fence,
            ago: now.since(done.at),
        },
        JobState::Cancelled { reason, at } => JobStatus::Cancelled {
            reason: reason.to_string(),
            ago: now.since(*at),
        },
        JobState::Dead { class, reason, at } => JobStatus::Dead {
            class: *class,
            reason: reason.to_string(),
            ago: now.since(*at),
        },
    }
}
