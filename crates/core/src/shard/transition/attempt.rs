//! What all ends of an attempt have in common: the record, the count, and how the job goes on.

use std::sync::Arc;

use leasehold_types::{JobId, limits};

use super::{Applying, cut};
use crate::retry::{self, Fault, Step};
use crate::shard::command::FailureClass;
use crate::shard::job::{AttemptEnd, AttemptRecord, JobHeader, JobState, Tries};
use crate::shard::outcome::{Next, Outcome};

impl Applying<'_> {
    /// Writes the current lease into the history. Does nothing for a job without one.
    pub(super) fn record(&mut self, job: JobId, end: AttemptEnd) {
        if let Some(attempt) = self.attempt(job, end) {
            self.state.amend(job, |job| job.record(attempt));
        }
    }

    /// The current lease as an attempt that ends now.
    pub(super) fn attempt(&self, job: JobId, end: AttemptEnd) -> Option<AttemptRecord> {
        let header = self.state.header(job)?;
        let lease = header.lease()?;
        Some(AttemptRecord {
            number: header.tries.granted,
            fence: lease.fence,
            worker: lease.worker.clone(),
            region: lease.region.clone(),
            started_at: lease.granted_at,
            ended_at: self.state.head.stamp,
            end,
        })
    }

    /// Ends the current attempt by a fault and moves the job on as its queue's policy says.
    pub(super) fn end_by_fault(&mut self, job: JobId, fault: Fault, end: AttemptEnd) -> Outcome {
        let said = describe(&end);
        self.record(job, end);
        let draw = retry::draw(self.seed, job);
        let step = self.state.header(job).and_then(|header| {
            let policy = self.state.queues.policy(&header.queue)?;
            Some(retry::next_step(policy, header.tries, fault, draw))
        });
        // Without a job or its policy nothing can be retried; neither can be missing for a lease that was held.
        let (tries, step) = step.unwrap_or((Tries::default(), Step::Now));
        self.state.amend(job, |job| job.header.tries = tries);
        Outcome::AttemptEnded(self.go_on(job, tries, step, &said))
    }

    fn go_on(&mut self, job: JobId, tries: Tries, step: Step, said: &str) -> Next {
        let now = self.state.head.stamp;
        let (state, next) = match step {
            Step::Now => (JobState::Ready, Next::Ready),
            Step::After(wait) => {
                let due = now + wait;
                (JobState::Waiting { due }, Next::Waiting { due })
            }
            Step::GiveUp(class) => {
                let reason = epitaph(tries, class, said);
                (self.dead(class, &reason), Next::Dead(class))
            }
        };
        self.state.restate(job, state, &mut self.changes);
        next
    }

    /// The state of a job that dies now.
    pub(super) fn dead(&self, class: FailureClass, reason: &str) -> JobState {
        JobState::Dead {
            class,
            reason: cut(reason, limits::REASON_BYTES).into(),
            at: self.state.head.stamp,
        }
    }
}

/// One line that says why a job is dead: what was counted, and what was last.
fn epitaph(tries: Tries, class: FailureClass, last: &str) -> String {
    let count = match class {
        FailureClass::Poison if tries.lost > 0 => counted(tries.lost, "lost lease"),
        FailureClass::Infrastructure => counted(tries.infrastructure, "infrastructure fault"),
        FailureClass::Transient
        | FailureClass::Semantic
        | FailureClass::Permanent
        | FailureClass::Policy
        | FailureClass::ContextOverflow
        | FailureClass::Budget
        | FailureClass::Lost
        | FailureClass::Poison => counted(tries.failed, "failed attempt"),
    };
    format!("given up after {count}; the last: {last}")
}

fn counted(count: u32, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}

/// How an attempt ended, in a few words.
fn describe(end: &AttemptEnd) -> Arc<str> {
    match end {
        AttemptEnd::Failed { message, .. } => Arc::clone(message),
        AttemptEnd::Expired(reason) => reason.describe().into(),
        AttemptEnd::Released { reason } => Arc::clone(reason),
        AttemptEnd::Completed => "completed".into(),
        AttemptEnd::Cancelled => "cancelled".into(),
    }
}

/// The class of the newest failure since a job was last redriven; none when nothing failed yet.
pub(super) fn last_class(header: &JobHeader) -> Option<FailureClass> {
    header.recent.as_ref()?.class
}

/// How many attempts a job has had, in words.
pub(super) fn attempts(header: &JobHeader) -> String {
    match header.tries.granted {
        1 => "1 attempt".to_owned(),
        many => format!("{many} attempts"),
    }
}
