//! A worker's writes (complete, fail, release) and what became of them.
//!
//! The three share one answer message, matched by job, fence and number; [`Write`] keeps the three together with the
//! command, because only the kind of write says how an outcome is to be worded.

use std::time::Duration;

use leasehold_core::shard::command::{Command, Complete, Fail, Release, ReleaseCause};
use leasehold_core::shard::outcome::{Next, Outcome};
use leasehold_types::{Digest, ErrorCode, FenceToken, JobId, Timestamp, limits};

use super::spans::{if_given, ms_up};
use super::words::failure_class;
use super::{ConvertError, agreed_digest, at_most, cut, fence, job_id};
use crate::status::ApiError;
use crate::v1;

/// A result as a command. `computed` as for [`submit`](super::submit::submit).
///
/// # Errors
/// The first field that is missing, malformed or over its bound.
pub fn complete(
    wire: v1::CompleteRequest,
    computed: Option<Digest>,
) -> Result<Complete, ConvertError> {
    at_most("result", wire.result.len(), limits::INLINE_BYTES, "bytes")?;
    Ok(Complete {
        job: job_id(&wire.job_id)?,
        fence: fence(&wire.fence)?,
        digest: agreed_digest("digest", &wire.digest, computed)?,
        result: wire.result,
    })
}

impl From<Complete> for v1::CompleteRequest {
    fn from(complete: Complete) -> Self {
        Self {
            session: String::new(),
            job_id: complete.job.to_string(),
            fence: complete.fence.to_string(),
            result: complete.result,
            digest: complete.digest.as_bytes().to_vec().into(),
        }
    }
}

/// Message and detail are cut to their bound and the wish for a wait is bounded rather than refused: a failure that
/// cannot be reported would only make the job wait for its lease to end.
impl TryFrom<v1::FailRequest> for Fail {
    type Error = ConvertError;

    fn try_from(wire: v1::FailRequest) -> Result<Self, ConvertError> {
        let bound = |wish: Duration| wish.min(limits::DELAY_MAX);
        let kept = wire.detail.len().min(limits::DETAIL_BYTES);
        Ok(Self {
            job: job_id(&wire.job_id)?,
            fence: fence(&wire.fence)?,
            class: failure_class("class", wire.class)?,
            message: cut(wire.message, limits::DETAIL_BYTES),
            detail: wire.detail.slice(wire.detail.len() - kept..),
            retry_after: if_given(wire.retry_after_ms).map(bound),
        })
    }
}

impl From<Fail> for v1::FailRequest {
    fn from(fail: Fail) -> Self {
        Self {
            session: String::new(),
            job_id: fail.job.to_string(),
            fence: fail.fence.to_string(),
            class: v1::FailureClass::from(fail.class) as i32,
            message: fail.message,
            detail: fail.detail,
            retry_after_ms: fail.retry_after.map(ms_up).unwrap_or_default(),
        }
    }
}

/// The reason is cut to its bound, as for a failure.
impl TryFrom<v1::ReleaseRequest> for Release {
    type Error = ConvertError;

    fn try_from(wire: v1::ReleaseRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            job: job_id(&wire.job_id)?,
            fence: fence(&wire.fence)?,
            reason: cut(wire.reason, limits::DETAIL_BYTES),
            cause: ReleaseCause::Worker,
        })
    }
}

impl From<Release> for v1::ReleaseRequest {
    fn from(release: Release) -> Self {
        Self {
            session: String::new(),
            job_id: release.job.to_string(),
            fence: release.fence.to_string(),
            reason: release.reason,
        }
    }
}

/// What a write wants, so that its outcome can be put into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// To hand in a result.
    Complete,
    /// To report a failure.
    Fail,
    /// To hand the job back.
    Release,
}

/// Which write an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// The job.
    pub job: JobId,
    /// The fence written under.
    pub fence: FenceToken,
    /// What it wants.
    pub kind: WriteKind,
}

/// Any write of a worker as a command, and what its answer has to name. What a gateway hands back by itself comes out
/// as undelivered; no worker can say that. Digests are taken on trust, as a leader
/// takes them from a gateway.
///
/// # Errors
/// The first field that is missing, malformed or over its bound.
pub fn write(wire: v1::WorkerWrite) -> Result<(Write, Command), ConvertError> {
    use v1::worker_write::Write as Wire;
    match wire.write {
        None => Err(ConvertError::Missing { field: "write" }),
        Some(Wire::Complete(request)) => {
            let complete = complete(request, None)?;
            let write = named(complete.job, complete.fence, WriteKind::Complete);
            Ok((write, Command::Complete(complete)))
        }
        Some(Wire::Fail(request)) => {
            let fail = Fail::try_from(request)?;
            let write = named(fail.job, fail.fence, WriteKind::Fail);
            Ok((write, Command::Fail(Box::new(fail))))
        }
        Some(Wire::Release(request)) => {
            let mut release = Release::try_from(request)?;
            if wire.undelivered {
                release.cause = ReleaseCause::Undelivered;
            }
            let write = named(release.job, release.fence, WriteKind::Release);
            Ok((write, Command::Release(release)))
        }
    }
}

const fn named(job: JobId, fence: FenceToken, kind: WriteKind) -> Write {
    Write { job, fence, kind }
}

/// What became of a write. `number` is that of the worker's message, `stamp` the shard clock after the batch.
#[must_use]
pub fn write_answer(
    write: &Write,
    number: u64,
    outcome: &Outcome,
    stamp: Timestamp,
) -> v1::WriteAnswer {
    answer(write, number, worded(write.kind, outcome, stamp))
}

/// The answer to a write that did not get as far as an outcome.
#[must_use]
pub fn write_error(write: &Write, number: u64, error: ApiError) -> v1::WriteAnswer {
    answer(write, number, v1::write_answer::Answer::Error(error.into()))
}

fn answer(write: &Write, number: u64, answer: v1::write_answer::Answer) -> v1::WriteAnswer {
    v1::WriteAnswer {
        job_id: write.job.to_string(),
        fence: write.fence.to_string(),
        number,
        answer: Some(answer),
        ..v1::WriteAnswer::default()
    }
}

fn worded(kind: WriteKind, outcome: &Outcome, stamp: Timestamp) -> v1::write_answer::Answer {
    use v1::write_answer::Answer;
    match outcome {
        Outcome::Refused(refusal) => Answer::Error(ApiError::from(refusal).into()),
        Outcome::Completed { repeated } if kind == WriteKind::Complete => {
            let repeated = *repeated;
            Answer::Completed(v1::CompleteResponse { repeated })
        }
        Outcome::AttemptEnded(next) if kind == WriteKind::Fail => {
            Answer::Failed(fail_response(*next, stamp))
        }
        Outcome::AttemptEnded(_) if kind == WriteKind::Release => {
            Answer::Released(v1::ReleaseResponse {})
        }
        Outcome::Led(_)
        | Outcome::Submitted(_)
        | Outcome::Granted(_)
        | Outcome::Contacted
        | Outcome::Completed { .. }
        | Outcome::AttemptEnded(_)
        | Outcome::Cancelled { .. }
        | Outcome::Redriven
        | Outcome::Discarded
        | Outcome::Purged { .. }
        | Outcome::PolicyPut => Answer::Error(mismatch(kind, outcome).into()),
    }
}

fn mismatch(kind: WriteKind, outcome: &Outcome) -> ApiError {
    let message = format!("a {kind:?} was answered with {outcome:?}: please report this");
    ApiError::new(ErrorCode::Internal, message)
}

fn fail_response(next: Next, stamp: Timestamp) -> v1::FailResponse {
    let (state, due_in_ms) = match next {
        Next::Ready => (v1::JobState::Ready, 0),
        Next::Waiting { due } => (v1::JobState::Waiting, ms_up(due.since(stamp))),
        Next::Dead(_) => (v1::JobState::Dead, 0),
    };
    v1::FailResponse {
        next: state as i32,
        due_in_ms,
    }
}

/// An answer to a write as its worker reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteReply {
    /// The job.
    pub job: JobId,
    /// The fence written under.
    pub fence: FenceToken,
    /// Number of the worker's message that this answers.
    pub number: u64,
    /// Nothing where the write stands, whether first or repeated.
    pub result: Result<(), ApiError>,
}

impl TryFrom<v1::WriteAnswer> for WriteReply {
    type Error = ConvertError;

    fn try_from(wire: v1::WriteAnswer) -> Result<Self, ConvertError> {
        use v1::write_answer::Answer;
        let result = match wire.answer {
            None => return Err(ConvertError::Missing { field: "answer" }),
            Some(Answer::Completed(_) | Answer::Failed(_) | Answer::Released(_)) => Ok(()),
            Some(Answer::Error(error)) => Err(error.into()),
        };
        Ok(Self {
            job: job_id(&wire.job_id)?,
            fence: fence(&wire.fence)?,
            number: wire.number,
            result,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use leasehold_core::shard::command::FailureClass;
    use leasehold_core::shard::{Refusal, Stale};
    use leasehold_types::{Incarnation, ShardEpoch, VirtualShard};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn job() -> JobId {
        JobId::new(VirtualShard::new(4), [9; 12])
    }

    fn token() -> FenceToken {
        FenceToken::new(Incarnation::new(1), ShardEpoch::new(2), 3)
    }

    fn of(kind: WriteKind) -> Write {
        named(job(), token(), kind)
    }

    fn fail() -> Fail {
        Fail {
            job: job(),
            fence: token(),
            class: FailureClass::Semantic,
            message: "wrong language".to_owned(),
            detail: Bytes::from_static(b"expected de"),
            retry_after: Some(Duration::from_secs(2)),
        }
    }

    fn reply(kind: WriteKind, outcome: &Outcome) -> WriteReply {
        write_answer(&of(kind), 5, outcome, NOW).try_into().unwrap()
    }

    proptest! {
        #[test]
        fn result_survives_the_wire(result: Vec<u8>, digest: [u8; 32]) {
            let done = Complete {
                job: job(),
                fence: token(),
                result: result.into(),
                digest: Digest::new(digest),
            };
            let wire = v1::CompleteRequest::from(done.clone());
            prop_assert_eq!(complete(wire, None).unwrap(), done);
        }
    }

    #[test]
    fn failure_and_release_survive_the_wire() {
        let wire = v1::FailRequest::from(fail());
        assert_eq!(Fail::try_from(wire), Ok(fail()));
        let release = Release {
            job: job(),
            fence: token(),
            reason: "leaving".to_owned(),
            cause: ReleaseCause::Worker,
        };
        let wire = v1::ReleaseRequest::from(release.clone());
        assert_eq!(Release::try_from(wire), Ok(release));
    }

    #[test]
    fn overlong_failure_is_cut_to_its_start_and_the_end_of_its_detail() {
        let mut detail = vec![b'.'; limits::DETAIL_BYTES];
        detail.extend_from_slice(b"the end");
        let wire = v1::FailRequest {
            message: "m".repeat(limits::DETAIL_BYTES + 1),
            detail: detail.into(),
            retry_after_ms: u64::MAX,
            ..v1::FailRequest::from(fail())
        };
        let fail = Fail::try_from(wire).unwrap();
        assert_eq!(fail.message.len(), limits::DETAIL_BYTES);
        assert_eq!(fail.detail.len(), limits::DETAIL_BYTES);
        assert!(fail.detail.ends_with(b"the end"));
        assert_eq!(fail.retry_after, Some(limits::DELAY_MAX));
    }

    #[test]
    fn oversized_result_and_unnamed_class_are_refused() {
        let wire = v1::CompleteRequest {
            result: vec![0; limits::INLINE_BYTES + 1].into(),
            ..v1::CompleteRequest::default()
        };
        let error = complete(wire, None).unwrap_err().to_string();
        assert!(error.starts_with("result is 65537"), "{error}");
        let wire = v1::FailRequest {
            class: 0,
            ..v1::FailRequest::from(fail())
        };
        let refused = ConvertError::Unspecified { field: "class" };
        assert_eq!(Fail::try_from(wire), Err(refused));
    }

    #[test]
    fn each_write_is_answered_in_its_own_words() {
        let done = Outcome::Completed { repeated: true };
        let due = NOW + Duration::from_micros(1_500);
        let waiting = Outcome::AttemptEnded(Next::Waiting { due });
        assert_eq!(reply(WriteKind::Complete, &done).result, Ok(()));
        assert_eq!(reply(WriteKind::Release, &waiting).result, Ok(()));
        let answer = write_answer(&of(WriteKind::Fail), 5, &waiting, NOW).answer;
        let expected = v1::FailResponse {
            next: v1::JobState::Waiting as i32,
            due_in_ms: 2,
        };
        assert_eq!(answer, Some(v1::write_answer::Answer::Failed(expected)));
    }

    #[test]
    fn refusal_reaches_the_worker_with_its_code() {
        let refusal = Refusal::StaleFence {
            job: job(),
            given: token(),
            why: Stale::Ended,
        };
        let reply = reply(WriteKind::Complete, &Outcome::Refused(refusal));
        assert_eq!((reply.job, reply.fence, reply.number), (job(), token(), 5));
        assert_eq!(reply.result.unwrap_err().code, ErrorCode::StaleFence);
    }

    #[test]
    fn outcome_of_another_write_is_a_broken_invariant_and_no_success() {
        let done = Outcome::Completed { repeated: false };
        let error = reply(WriteKind::Fail, &done).result.unwrap_err();
        assert_eq!(error.code, ErrorCode::Internal);
    }

    #[test]
    fn any_write_becomes_its_command() {
        let wire = v1::WorkerWrite {
            write: Some(v1::worker_write::Write::Fail(fail().into())),
            undelivered: false,
        };
        let (of_write, command) = write(wire).unwrap();
        assert_eq!(of_write, of(WriteKind::Fail));
        assert_eq!(command, Command::Fail(Box::new(fail())));
        assert!(write(v1::WorkerWrite::default()).is_err());
    }

    #[test]
    fn only_what_a_gateway_hands_back_itself_counts_as_undelivered() {
        for (undelivered, cause) in [
            (false, ReleaseCause::Worker),
            (true, ReleaseCause::Undelivered),
        ] {
            let release = Release {
                job: job(),
                fence: token(),
                reason: "no slot".to_owned(),
                cause,
            };
            let wire = v1::WorkerWrite {
                write: Some(v1::worker_write::Write::Release(release.clone().into())),
                undelivered,
            };
            assert_eq!(write(wire).unwrap().1, Command::Release(release));
        }
    }
}
