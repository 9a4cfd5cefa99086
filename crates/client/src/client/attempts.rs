//! Whether a failed attempt is followed by another, and what may be said when it is not. Pure.

use std::time::Duration;

use leasehold_api::ApiError;
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry;
use leasehold_types::ErrorCode;
use tokio::time::Instant;

use super::{Call, Kind};
use crate::error::ClientError;

/// The attempts of one call so far.
#[derive(Debug)]
pub(super) struct Attempts {
    call: Call,
    deadline: Instant,
    made: u32,
    /// Whether one of them may have been done.
    perhaps_done: bool,
}

/// What follows a failed attempt.
#[derive(Debug)]
pub(super) enum Next {
    Again(Duration),
    GiveUp(ClientError),
}

impl Attempts {
    pub(super) fn new(call: Call, now: Instant) -> Self {
        Self {
            call,
            deadline: now + call.total,
            made: 0,
            perhaps_done: false,
        }
    }

    /// How long the next attempt may take.
    pub(super) fn limit(&self, now: Instant) -> Duration {
        let left = self.deadline.saturating_duration_since(now);
        self.call.attempt.min(left)
    }

    pub(super) fn failed(
        &mut self,
        failure: ApiError,
        backoff: &BackoffPolicy,
        now: Instant,
        draw: u64,
    ) -> Next {
        self.made += 1;
        self.perhaps_done |= !failure.code.has_no_side_effects();
        if !failure.code.is_retryable() {
            return Next::GiveUp(self.for_good(failure));
        }
        let left = self.deadline.saturating_duration_since(now);
        match wait(failure.retry_after, self.made, backoff, left, draw) {
            Some(wait) => Next::Again(wait),
            None => Next::GiveUp(self.out_of_time(failure)),
        }
    }

    /// An answer that no repeat will change. An internal error leaves open what was done.
    ///
    /// SUBTLE: a refusal that depends on the state of the thing says nothing certain once an earlier attempt may have
    /// been done, because that attempt may be what changed the state: a second redrive finds no dead letter.
    fn for_good(&self, last: ApiError) -> ClientError {
        let is_certain = !self.perhaps_done || !depends_on_state(last.code);
        if (is_certain && last.code.has_no_side_effects()) || self.call.kind == Kind::Read {
            return ClientError::Refused(last);
        }
        let job_id = self.call.job;
        ClientError::Unknown { job_id, last }
    }

    fn out_of_time(&self, last: ApiError) -> ClientError {
        let (attempts, job_id) = (self.made, self.call.job);
        if self.perhaps_done && self.call.kind == Kind::Write {
            return ClientError::Unknown { job_id, last };
        }
        ClientError::Unavailable { attempts, last }
    }
}

const fn depends_on_state(code: ErrorCode) -> bool {
    match code {
        ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::StaleFence
        | ErrorCode::FailedPrecondition
        | ErrorCode::Conflict => true,
        ErrorCode::InvalidArgument
        | ErrorCode::NotLeader
        | ErrorCode::Unavailable
        | ErrorCode::ResourceExhausted
        | ErrorCode::Unknown
        | ErrorCode::PermissionDenied
        | ErrorCode::Unsupported
        | ErrorCode::Internal => false,
    }
}

/// How long to wait before the next attempt; none when there is no time left for one.
///
/// What the other side asks for is kept to, with jitter on top; a wish that goes beyond the time that is left ends
/// the call at once, so that the caller learns early and not late.
pub(crate) fn wait(
    asked: Option<Duration>,
    made: u32,
    backoff: &BackoffPolicy,
    left: Duration,
    draw: u64,
) -> Option<Duration> {
    let asked = asked.unwrap_or_default();
    if left.is_zero() || asked >= left {
        return None;
    }
    Some((asked + retry::backoff(backoff, made, draw)).min(left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const BACKOFF: BackoffPolicy = BackoffPolicy {
        base: Duration::from_millis(100),
        cap: Duration::from_secs(5),
    };

    fn write() -> Call {
        Call {
            kind: Kind::Write,
            total: Duration::from_secs(30),
            attempt: Duration::from_secs(5),
            job: None,
        }
    }

    /// What a call ends with when its attempts failed like this, the last one when time was up.
    fn end(call: Call, failures: &[ErrorCode]) -> ClientError {
        let start = now();
        let mut attempts = Attempts::new(call, start);
        let (last, earlier) = failures.split_last().unwrap();
        for code in earlier {
            let next = attempts.failed(ApiError::new(*code, "no"), &BACKOFF, start, 0);
            assert!(matches!(next, Next::Again(_)), "{code}");
        }
        let up = start + call.total;
        match attempts.failed(ApiError::new(*last, "no"), &BACKOFF, up, 0) {
            Next::GiveUp(error) => error,
            Next::Again(wait) => panic!("waits {wait:?} after its time was up"),
        }
    }

    #[tokio::test]
    async fn one_unknown_attempt_of_a_write_leaves_the_outcome_unknown() {
        let codes = [ErrorCode::Unknown, ErrorCode::Unavailable];
        assert!(matches!(end(write(), &codes), ClientError::Unknown { .. }));
    }

    #[tokio::test]
    async fn attempts_that_were_certainly_not_done_add_up_to_not_done() {
        let codes = [ErrorCode::NotLeader, ErrorCode::Unavailable];
        let error = end(write(), &codes);
        assert!(matches!(
            error,
            ClientError::Unavailable { attempts: 2, .. }
        ));
        assert!(error.is_certainly_not_done());
    }

    #[tokio::test]
    async fn read_without_an_answer_is_merely_unavailable() {
        let call = Call {
            kind: Kind::Read,
            ..write()
        };
        let error = end(call, &[ErrorCode::Unknown]);
        assert!(matches!(error, ClientError::Unavailable { .. }));
    }

    #[tokio::test]
    async fn refusal_ends_the_call_at_once() {
        let error = end(write(), &[ErrorCode::NotFound]);
        assert!(matches!(error, ClientError::Refused(_)));
        let bug = end(write(), &[ErrorCode::Internal]);
        assert!(matches!(bug, ClientError::Unknown { .. }));
    }

    #[tokio::test]
    async fn refusal_after_an_attempt_that_may_have_been_done_is_no_certainty() {
        let codes = [ErrorCode::Unknown, ErrorCode::FailedPrecondition];
        assert!(matches!(end(write(), &codes), ClientError::Unknown { .. }));
        let codes = [ErrorCode::Unknown, ErrorCode::InvalidArgument];
        assert!(matches!(end(write(), &codes), ClientError::Refused(_)));
        let codes = [ErrorCode::Unavailable, ErrorCode::NotFound];
        assert!(matches!(end(write(), &codes), ClientError::Refused(_)));
    }

    #[test]
    fn wait_keeps_to_what_is_asked_and_gives_up_early_when_that_is_too_long() {
        let (second, left) = (Duration::from_secs(1), Duration::from_secs(3));
        let waited = wait(Some(second), 1, &BACKOFF, left, u64::MAX).unwrap();
        assert!(waited >= second && waited <= second + BACKOFF.base);
        assert_eq!(wait(Some(left), 1, &BACKOFF, left, 0), None);
        assert_eq!(wait(None, 1, &BACKOFF, Duration::ZERO, 0), None);
        let most = wait(None, 40, &BACKOFF, left, u64::MAX);
        assert_eq!(most, Some(left));
    }
}
