//! Jobs keep their ids, are sent within the bounds, and are settled by what is known of them.

use super::*;
use leasehold_types::{ErrorCode, VirtualShard};

fn id(number: u8) -> JobId {
    JobId::new(VirtualShard::new(1), [number; 12])
}

fn job(number: u8, payload: usize) -> Result<v1::NewJob, ConvertError> {
    Ok(v1::NewJob {
        job_id: id(number).to_string(),
        payload: vec![0; payload].into(),
        ..v1::NewJob::default()
    })
}

fn three() -> Batch {
    Batch::new((0..3).map(|number| job(number, 10)))
}

fn accepted(number: u8) -> v1::SubmitResult {
    let job = id(number);
    Submitted {
        job,
        repeated: false,
    }
    .into()
}

fn error(code: ErrorCode) -> v1::SubmitResult {
    ApiError::new(code, "no").into()
}

fn answer(results: Vec<v1::SubmitResult>) -> Result<v1::SubmitResponse, ApiError> {
    Ok(v1::SubmitResponse { results })
}

#[test]
fn only_what_may_still_succeed_is_sent_again_under_the_same_ids() {
    let mut batch = three();
    let first = batch.requests();
    assert_eq!(first, [[0, 1, 2]]);
    let results = vec![
        accepted(0),
        error(ErrorCode::Unavailable),
        error(ErrorCode::InvalidArgument),
    ];
    batch.answered(&first[0], answer(results));
    let again = batch.requests();
    assert_eq!(again, [[1]]);
    assert_eq!(batch.message(&again[0]).jobs[0].job_id, id(1).to_string());
    batch.answered(&again[0], answer(vec![accepted(1)]));
    assert!(batch.is_settled());
    let results = batch.finish();
    assert!(results[0].is_ok() && results[1].is_ok());
    assert!(matches!(results[2], Err(ClientError::Refused(_))));
}

#[test]
fn job_is_unknown_as_soon_as_one_attempt_had_no_answer() {
    let mut batch = three();
    let request = batch.requests().remove(0);
    batch.answered(&request, Err(ApiError::unknown("no answer")));
    batch.answered(&request, Err(ApiError::unavailable("no leader")));
    for (number, result) in (0..).zip(batch.finish()) {
        let Err(ClientError::Unknown { job_id, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(job_id, Some(id(number)));
    }
}

#[test]
fn job_that_nobody_took_is_certainly_not_done() {
    let mut batch = three();
    let request = batch.requests().remove(0);
    batch.answered(&request, Err(ApiError::unavailable("no leader")));
    for result in batch.finish() {
        assert!(matches!(
            result,
            Err(ClientError::Unavailable { attempts: 1, .. })
        ));
    }
    let untried = three().finish().remove(0).unwrap_err();
    assert!(untried.is_certainly_not_done());
}

#[test]
fn requests_keep_to_the_bounds_of_count_and_bytes() {
    let many = Batch::new((0..2_500).map(|_| job(0, 0)));
    let lengths: Vec<usize> = many.requests().iter().map(Vec::len).collect();
    assert_eq!(lengths, [1_000, 1_000, 500]);
    let large = Batch::new((0..100).map(|_| job(0, limits::INLINE_BYTES)));
    let requests = large.requests();
    assert_eq!(requests.iter().map(Vec::len).sum::<usize>(), 100);
    for request in requests {
        let bytes: usize = (large.message(&request).jobs.iter())
            .map(convert::submit::wire_bytes)
            .sum();
        assert!(bytes <= limits::REQUEST_BYTES - SLACK);
    }
}

#[test]
fn answer_of_the_wrong_length_settles_nothing() {
    let mut batch = three();
    let request = batch.requests().remove(0);
    batch.answered(&request, answer(vec![accepted(0)]));
    assert_eq!(batch.requests(), [[0, 1, 2]]);
    assert!(matches!(
        batch.finish().remove(0),
        Err(ClientError::Unknown { .. })
    ));
}

#[test]
fn longest_wish_to_wait_is_kept_to() {
    let mut batch = three();
    let request = batch.requests().remove(0);
    let full = |ms| {
        let error = ApiError::new(ErrorCode::ResourceExhausted, "full");
        v1::SubmitResult::from(error.with_retry_after(Duration::from_millis(ms)))
    };
    let wait = batch.answered(&request, answer(vec![full(5), accepted(1), full(9)]));
    assert_eq!(wait, Some(Duration::from_millis(9)));
}

#[test]
fn malformed_and_unroutable_jobs_are_settled_without_being_sent() {
    let malformed = Err(ConvertError::Missing { field: "queue" });
    let mut batch = Batch::new([malformed, job(1, 0), Ok(v1::NewJob::default())]);
    let unminted: Vec<usize> = batch.unminted().map(|(index, _)| index).collect();
    assert_eq!(unminted, [2]);
    let why = ClientError::Refused(ApiError::not_found("queue chat does not exist"));
    batch.unroutable(&unminted, &why);
    assert_eq!(batch.requests(), [[1]]);
    let results = batch.finish();
    assert!(matches!(results[0], Err(ClientError::Setup(_))));
    assert_eq!(results[2], Err(why));
}
