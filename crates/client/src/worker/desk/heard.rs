//! What the gateway says.

use std::sync::Arc;
use std::time::Duration;

use leasehold_api::convert::workers::{LeasedJob, RenewalReply};
use leasehold_api::convert::writes::WriteReply;
use leasehold_api::{ApiError, v1};
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry;
use leasehold_types::ErrorCode;
use tokio::time::Instant;
use v1::gateway_message::Body;

use super::super::deadline::local_deadline;
use super::super::lease::{Held, LeaseKey, Report, Stage, Write};
use super::super::vitals::Vitals;
use super::Desk;

/// Waits before a write is repeated that could not be done.
const BACKOFF: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// What follows an answer to a write.
enum Next {
    /// It is settled.
    Over,
    /// It is repeated after a wait.
    Again(Duration),
    /// Something else is reported.
    Instead(Write),
}

impl Desk {
    /// Takes a message. `draw` is uniform over all of `u64`.
    pub(in super::super) fn heard(&mut self, message: v1::GatewayMessage, now: Instant, draw: u64) {
        if let Some(line) = &mut self.line {
            line.heard_at = now;
        }
        match message.body {
            // The hello's answer is taken before the desk hears anything; what is empty says nothing.
            Some(Body::Opened(_)) | None => {}
            Some(Body::Assignment(assignment)) => self.assigned(assignment, now),
            Some(Body::Renewed(renewed)) => self.renewed(renewed, now),
            Some(Body::Write(answer)) => self.answered(answer, now, draw),
            Some(Body::Leaving(_)) => {
                if let Some(line) = &mut self.line {
                    line.is_unwanted = true;
                }
            }
        }
    }

    fn assigned(&mut self, wire: v1::Assignment, now: Instant) {
        if let Some(line) = &mut self.line {
            line.received += 1;
            line.offered = line.offered.map(|offered| offered.saturating_sub(1));
        }
        match LeasedJob::try_from(wire) {
            Ok(job) => self.take(job, now),
            Err(error) => tracing::warn!(%error, "assignment cannot be read"),
        }
    }

    fn take(&mut self, job: LeasedJob, now: Instant) {
        let key = LeaseKey {
            job: job.job,
            fence: job.fence,
        };
        if self.held.contains_key(&key) || self.over.contains(&key) {
            return;
        }
        let is_refused = self.leaving.is_some() || self.waiting() >= self.slots;
        let mut held = self.hold(job, now);
        if is_refused {
            held.report(Write::released(&key, "the worker has no slot for it"), now);
        }
        self.held.insert(key, held);
        self.start_waiting(now);
    }

    /// SUBTLE: a job may have been granted on the strength of an old message, so that its lease is half over or past
    /// as the worker must count it. It then waits for its first renewal to be answered instead of being started.
    fn hold(&mut self, job: LeasedJob, now: Instant) -> Held {
        let sent = self.sent.sent_at(job.counted_from);
        let deadline = sent.map_or(now, |sent| local_deadline(sent, job.lease));
        self.last_lease = Some(job.lease);
        self.renew_soon(job.lease, deadline, now);
        self.arrivals += 1;
        Held {
            lease: job.lease,
            counted_from: job.counted_from,
            deadline,
            heard_at: now,
            vitals: Arc::new(Vitals::default()),
            stage: Stage::Waiting {
                order: self.arrivals,
                job: Box::new(job),
            },
        }
    }

    fn renewed(&mut self, renewed: v1::RenewResponse, now: Instant) {
        let number = renewed.number;
        for answer in renewed.answers {
            match RenewalReply::try_from(answer) {
                Ok(RenewalReply::Keep { job, fence, lease }) => {
                    self.keep(LeaseKey { job, fence }, lease, number, now);
                }
                Ok(RenewalReply::Stop { job, fence, error }) => {
                    self.stop(&LeaseKey { job, fence }, &error);
                }
                Ok(RenewalReply::Later { .. }) => {}
                Err(error) => tracing::warn!(%error, "answer to a renewal cannot be read"),
            }
        }
        self.start_waiting(now);
    }

    fn keep(&mut self, key: LeaseKey, lease: Duration, number: u64, now: Instant) {
        let (Some(held), Some(sent)) = (self.held.get_mut(&key), self.sent.sent_at(number)) else {
            return;
        };
        held.heard_at = now;
        // Only the newest renewal that was answered counts: its length may be another than that of an older one.
        if number >= held.counted_from {
            held.counted_from = number;
            held.lease = lease;
            held.deadline = local_deadline(sent, lease);
            self.last_lease = Some(lease);
        }
    }

    /// A write that is under way is not given up here: its own answer says what became of it.
    fn stop(&mut self, key: &LeaseKey, why: &ApiError) {
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        match &mut held.stage {
            Stage::Reporting(report) => report.renews = false,
            Stage::Waiting { .. } | Stage::Running => {
                tracing::info!(job_id = %key.job, fence_token = %key.fence, %why, "told to stop");
                held.vitals.stop();
                self.forget(key);
            }
        }
    }

    fn answered(&mut self, wire: v1::WriteAnswer, now: Instant, draw: u64) {
        let reply = match WriteReply::try_from(wire) {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%error, "answer to a write cannot be read");
                return;
            }
        };
        let key = LeaseKey {
            job: reply.job,
            fence: reply.fence,
        };
        let Some(Held {
            stage: Stage::Reporting(report),
            ..
        }) = self.held.get_mut(&key)
        else {
            return;
        };
        match next(report, &key, reply.result, draw) {
            Next::Over => self.forget(&key),
            Next::Again(wait) => report.due = now + wait,
            Next::Instead(write) => {
                report.write = write;
                report.due = now;
            }
        }
    }
}

fn next(report: &mut Report, key: &LeaseKey, result: Result<(), ApiError>, draw: u64) -> Next {
    let Err(error) = result else {
        return Next::Over;
    };
    if error.code.is_retryable() {
        report.tries = report.tries.saturating_add(1);
        let wait = retry::backoff(&BACKOFF, report.tries, draw);
        return Next::Again(wait + error.retry_after.unwrap_or_default());
    }
    tracing::warn!(job_id = %key.job, fence_token = %key.fence, %error, "write was refused");
    match error.code {
        ErrorCode::InvalidArgument | ErrorCode::FailedPrecondition => {
            let instead = report.write.instead(key, &error.message);
            instead.map_or(Next::Over, Next::Instead)
        }
        ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::StaleFence
        | ErrorCode::Conflict
        | ErrorCode::NotLeader
        | ErrorCode::Unavailable
        | ErrorCode::ResourceExhausted
        | ErrorCode::Unknown
        | ErrorCode::PermissionDenied
        | ErrorCode::Unsupported
        | ErrorCode::Internal => Next::Over,
    }
}
