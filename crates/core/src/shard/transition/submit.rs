//! A job is taken in, or the one that stands for the same request is found.

use std::sync::Arc;
use std::time::Duration;

use leasehold_types::{JobId, TenantName, Timestamp, limits};

use super::Applying;
use crate::policy::QueuePolicy;
use crate::requirement::Requirement;
use crate::shard::command::Submit;
use crate::shard::job::{Job, JobBody, JobHeader, JobState, Stored, Tries};
use crate::shard::outcome::{Outcome, Refusal, Submitted};

/// Bounds of the time to come back after that a full shard names.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Applying<'_> {
    pub(super) fn submit(&mut self, submit: &Submit) -> Result<Outcome, Refusal> {
        let policy = self.state.queues.policy(&submit.queue);
        let unknown = || Refusal::UnknownQueue(submit.queue.clone());
        let policy = Arc::clone(policy.ok_or_else(unknown)?);
        let tenant = submit.tenant.as_ref().unwrap_or(&policy.tenant);
        if let Some(found) = self.find(submit, tenant)? {
            return Ok(Outcome::Submitted(found));
        }
        let deadline = check(submit, &policy)?;
        self.check_room(submit, tenant)?;
        self.take_in(submit, tenant.clone(), deadline);
        let (job, repeated) = (submit.job, false);
        Ok(Outcome::Submitted(Submitted { job, repeated }))
    }

    /// The job that the same id, or else the same key, made before.
    fn find(&self, submit: &Submit, tenant: &TenantName) -> Result<Option<Submitted>, Refusal> {
        if self.state.digest_of(submit.job).is_some() {
            return self.repeated(submit, submit.job, tenant).map(Some);
        }
        let key = submit.key.as_ref();
        match self.state.job_of_key(tenant, &submit.queue, key) {
            Some(job) => self.repeated(submit, job, tenant).map(Some),
            None => Ok(None),
        }
    }

    fn repeated(
        &self,
        submit: &Submit,
        job: JobId,
        tenant: &TenantName,
    ) -> Result<Submitted, Refusal> {
        let is_same = self.state.digest_of(job) == Some(submit.digest)
            && self.state.scope_of(job) == Some((&submit.queue, tenant));
        if !is_same {
            return Err(Refusal::OtherPayload(job));
        }
        // A key that is not the job's own would be remembered for nobody, and make a second job later.
        if submit.key.is_some() && submit.key.as_ref() != self.state.key_of(job) {
            return Err(Refusal::OtherKey(job));
        }
        self.state.known(job)?;
        let repeated = true;
        Ok(Submitted { job, repeated })
    }

    fn check_room(&mut self, submit: &Submit, tenant: &TenantName) -> Result<(), Refusal> {
        let bounds = self.state.bounds;
        if self.state.jobs.len() >= bounds.jobs {
            let free = self.state.next_free_job();
            return Err(self.full("as many jobs as it may", bounds.jobs, free));
        }
        let length = u64::try_from(submit.payload.len()).unwrap_or(u64::MAX);
        if self.state.jobs.bytes().saturating_add(length) > bounds.bytes {
            let free = self.state.next_free_job();
            let most = usize::try_from(bounds.bytes).unwrap_or(usize::MAX);
            return Err(self.full("as many bytes as it may", most, free));
        }
        if !self.state.has_room_for_tenant(tenant) {
            return Err(self.full("jobs of as many tenants as it may", bounds.tenants, None));
        }
        self.check_pool(&submit.requirement, tenant)?;
        if submit.key.is_some() && !self.state.has_room_for_key() {
            let free = self.state.next_free_key();
            return Err(self.full("as many idempotency keys as it may", bounds.keys, free));
        }
        Ok(())
    }

    pub(super) fn check_pool(
        &self,
        requirement: &Requirement,
        tenant: &TenantName,
    ) -> Result<(), Refusal> {
        let what = "jobs of this tenant with as many different requirements as it may";
        match self.state.pools_exhausted(requirement, tenant) {
            Some(limit) => Err(self.full(what, limit, None)),
            None => Ok(()),
        }
    }

    pub(super) fn full(
        &self,
        what: &'static str,
        limit: usize,
        free_at: Option<Timestamp>,
    ) -> Refusal {
        let (least, most) = RETRY_AFTER;
        let wait = free_at.map_or(most, |at| at.since(self.state.head.stamp));
        Refusal::Full {
            what,
            limit,
            retry_after: wait.clamp(least, most),
        }
    }

    fn take_in(&mut self, submit: &Submit, tenant: TenantName, deadline: Duration) {
        let now = self.state.head.stamp;
        let sequence = self.state.head.arrivals;
        self.state.head.arrivals += 1;
        let state = match submit.delay {
            Duration::ZERO => JobState::Ready,
            delay => JobState::Waiting { due: now + delay },
        };
        let header = JobHeader {
            id: submit.job,
            queue: submit.queue.clone(),
            tenant,
            key: submit.key.clone(),
            digest: submit.digest,
            priority: submit.priority,
            requirement: self.state.index.pools.intern(&submit.requirement),
            sequence,
            submitted_at: now,
            expires_at: now + deadline,
            state,
            tries: Tries::default(),
            last_fence: None,
            recent: None,
        };
        let body = JobBody {
            // A slice of the entry, which stays in memory with it until the next checkpoint has the payload. An empty
            // one is none: nothing of it is written, nor read back.
            payload: Some(submit.payload.clone()).filter(|payload| !payload.is_empty()),
            ..JobBody::default()
        };
        let job = Job::new(header, body, Stored::default());
        self.state.admit(job, &mut self.changes);
    }
}

/// Checks what the submit itself says, and gives the job's deadline.
fn check(submit: &Submit, policy: &QueuePolicy) -> Result<Duration, Refusal> {
    let deadline = submit.deadline.unwrap_or(policy.job_deadline);
    let given = submit.payload.len();
    if given > limits::INLINE_BYTES {
        let most = limits::INLINE_BYTES;
        return invalid(format!(
            "payload has {given} bytes, at most {most} are taken"
        ));
    }
    if submit.priority > limits::PRIORITY_MAX {
        let (given, most) = (submit.priority, limits::PRIORITY_MAX);
        return invalid(format!("priority is {given}, give 0 to {most}"));
    }
    if submit.delay > limits::DELAY_MAX || deadline > limits::DELAY_MAX {
        let (delay, most) = (submit.delay, limits::DELAY_MAX);
        return invalid(format!(
            "delay {delay:?} or deadline {deadline:?} is over {most:?}"
        ));
    }
    if deadline <= submit.delay {
        let delay = submit.delay;
        return invalid(format!(
            "deadline {deadline:?} leaves no time after a delay of {delay:?}: give a longer deadline"
        ));
    }
    let checked = submit.requirement.validate();
    checked.map_err(|error| Refusal::Invalid(error.to_string()))?;
    Ok(deadline)
}

fn invalid<T>(why: String) -> Result<T, Refusal> {
    Err(Refusal::Invalid(why))
}
