//! What an answer gives away: a lost row is noticed, and silence is not taken for one.

use std::time::Duration;

use bytes::Bytes;
use leasehold_client::ApiError;
use leasehold_core::requirement::Requirement;
use leasehold_core::shard::job::Tries;
use leasehold_types::{Digest, FenceToken, TenantName, VirtualShard};

use super::*;
use crate::content::{Variant, payload, result, result_digest};
use crate::history::Accepted;
use crate::violation::Kind;

fn id() -> JobId {
    JobId::new(VirtualShard::new(1), [7; 12])
}

fn fence() -> FenceToken {
    "f0.1.1".parse().unwrap()
}

/// One submit that was acknowledged, and its result.
fn completed() -> History {
    let mut history = History::default();
    history.begin(Shelf::Kept, Some(id()));
    history.acknowledged(0, id()).unwrap();
    let (fence, variant) = (fence(), Variant::First);
    history.completed(0, Accepted { fence, variant }).unwrap();
    history
}

fn view(status: JobStatus, payload: Bytes) -> JobView {
    JobView {
        id: id(),
        queue: QueueName::new("kept").unwrap(),
        tenant: TenantName::new("default").unwrap(),
        key: None,
        priority: 0,
        requirement: Requirement::default(),
        age: Duration::ZERO,
        remaining: Duration::ZERO,
        status,
        tries: Tries::default(),
        digest: Digest::new([0; 32]),
        payload,
        history: Vec::new(),
    }
}

fn done(result: Bytes) -> JobView {
    let status = JobStatus::Done {
        result,
        digest: result_digest(0, fence(), Variant::First),
        fence: fence(),
        ago: Duration::ZERO,
    };
    view(status, Bytes::new())
}

fn judged(history: &mut History, answer: Result<JobView, ClientError>) -> Judged {
    let asked = Asked {
        number: 0,
        id: id(),
        had_result: history.has_result(0),
    };
    judge(history, asked, &answer)
}

/// The kind of promise that an answer shows to be broken.
fn broken(history: &mut History, answer: Result<JobView, ClientError>) -> Kind {
    match judged(history, answer) {
        Judged::Seen(Err(violation)) | Judged::Unreadable(violation) => violation.kind(),
        other @ (Judged::Seen(Ok(())) | Judged::NoAnswer) => panic!("nothing is broken: {other:?}"),
    }
}

#[test]
fn done_job_shows_its_result_byte_for_byte() {
    let whole = result(0, fence(), Variant::First);
    let seen = judged(&mut completed(), Ok(done(whole.clone())));
    assert_eq!(seen, Judged::Seen(Ok(())));
    for bytes in [Bytes::new(), whole.slice(..whole.len() - 1)] {
        assert_eq!(broken(&mut completed(), Ok(done(bytes))), Kind::Lost);
    }
}

#[test]
fn job_that_is_not_done_shows_its_payload_byte_for_byte() {
    let mut history = History::default();
    history.begin(Shelf::Kept, Some(id()));
    let whole = payload(0);
    let seen = judged(&mut history, Ok(view(JobStatus::Ready, whole.clone())));
    assert_eq!(seen, Judged::Seen(Ok(())));
    for bytes in [Bytes::new(), whole.slice(..whole.len() - 1), payload(16)] {
        let answer = Ok(view(JobStatus::Ready, bytes));
        assert_eq!(broken(&mut history, answer), Kind::Lost);
    }
}

#[test]
fn job_whose_rows_are_gone_while_its_header_stays_is_lost() {
    let error = ApiError::internal("parts of the job are not in the checkpoint of its shard");
    let answer = Err(ClientError::Refused(error));
    assert_eq!(broken(&mut completed(), answer), Kind::Lost);
}

#[test]
fn job_that_nobody_knows_is_lost_and_silence_is_not() {
    let refused = |code| ClientError::Refused(ApiError::new(code, "no"));
    for code in [ErrorCode::NotFound, ErrorCode::FailedPrecondition] {
        assert_eq!(broken(&mut completed(), Err(refused(code))), Kind::Lost);
    }
    let silence = ClientError::Unavailable {
        attempts: 3,
        last: ApiError::unavailable("no leader"),
    };
    assert_eq!(judged(&mut completed(), Err(silence)), Judged::NoAnswer);
}

#[test]
fn job_in_a_list_must_have_its_result_where_nothing_is_left_to_do() {
    let again = view(JobStatus::Ready, Bytes::new());
    let mut history = completed();
    assert_eq!(seen_in_list(&mut history, &again, false), Ok(()));
    let violation = seen_in_list(&mut history, &again, true).unwrap_err();
    assert!(matches!(violation, Violation::ResultGone { .. }));
}
