//! One job: looking at it, waiting for it, ending it, putting it back.

use std::time::Duration;

use leasehold_api::convert::job_id;
use leasehold_api::v1::shard_answer::Answer;
use leasehold_api::v1::shard_call::Call;
use leasehold_api::{ApiError, v1};
use leasehold_types::{ShardId, Timestamp, limits};

use super::{CALL_TTL, Gateway, odd};

/// One call that waits for a job is held open for so long; then the leader is looked for anew.
const WAIT_SLICE: Duration = Duration::from_secs(10);
/// How long a wait that names no time takes.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// Picks the answer that was asked for out of all that there are.
macro_rules! only {
    ($kind:ident) => {
        |answer| {
            if let Answer::$kind(answer) = answer {
                Some(answer)
            } else {
                None
            }
        }
    };
}

impl Gateway {
    /// One job with payload, result and history. Linearizable.
    ///
    /// # Errors
    /// `not_found` when it was never submitted, `failed_precondition` when it is no longer kept.
    pub async fn get(&self, request: v1::GetRequest) -> Result<v1::GetResponse, ApiError> {
        let shard = self.shard_named(&request.job_id).await;
        self.about(shard, Call::Get(request), only!(Get)).await
    }

    /// Ends a job that has not ended.
    ///
    /// # Errors
    /// `not_found`, or `failed_precondition` when it has ended otherwise.
    pub async fn cancel(&self, request: v1::CancelRequest) -> Result<v1::CancelResponse, ApiError> {
        let shard = self.shard_named(&request.job_id).await;
        self.about(shard, Call::Cancel(request), only!(Cancel))
            .await
    }

    /// Puts a dead letter back.
    ///
    /// # Errors
    /// `not_found`, or `failed_precondition` when it is no dead letter, as it is after an earlier redrive.
    pub async fn redrive(
        &self,
        request: v1::RedriveRequest,
    ) -> Result<v1::RedriveResponse, ApiError> {
        let shard = self.shard_named(&request.job_id).await;
        self.about(shard, Call::Redrive(request), only!(Redrive))
            .await
    }

    /// Removes a dead letter before its retention ends.
    ///
    /// # Errors
    /// `failed_precondition` when it is no dead letter, `not_found` when it is gone.
    pub async fn discard(
        &self,
        request: v1::DiscardRequest,
    ) -> Result<v1::DiscardResponse, ApiError> {
        let shard = self.shard_named(&request.job_id).await;
        self.about(shard, Call::Discard(request), only!(Discard))
            .await
    }

    /// The job once it has ended, or as it is when the time is up.
    ///
    /// # Errors
    /// As with [`Gateway::get`]; `invalid_argument` when longer than [`limits::WAIT_MAX`] is asked.
    pub async fn wait(&self, request: v1::WaitRequest) -> Result<v1::WaitResponse, ApiError> {
        let waited = self.wait_in_slices(&request).await;
        self.counted(waited)
    }

    async fn wait_in_slices(
        &self,
        request: &v1::WaitRequest,
    ) -> Result<v1::WaitResponse, ApiError> {
        let shard = self.shard_named(&request.job_id).await?;
        let ends = self.now() + patience(request.timeout_ms)?;
        loop {
            let slice = ends.since(self.now()).min(WAIT_SLICE);
            let call = Call::Wait(v1::WaitRequest {
                job_id: request.job_id.clone(),
                timeout_ms: at_least_one_ms(slice),
            });
            let answer = self.ask(shard, call, slice + CALL_TTL).await?;
            let answer = only!(Wait)(answer).ok_or_else(|| odd(shard))?;
            let has_ended = answer.job.as_ref().is_some_and(has_ended);
            if has_ended || ends <= self.now() {
                return Ok(answer);
            }
        }
    }

    async fn about<R>(
        &self,
        shard: Result<ShardId, ApiError>,
        call: Call,
        only: fn(Answer) -> Option<R>,
    ) -> Result<R, ApiError> {
        let shard = self.counted(shard)?;
        let answer = self.ask(shard, call, CALL_TTL).await;
        self.counted(answer.and_then(|answer| only(answer).ok_or_else(|| odd(shard))))
    }

    async fn shard_named(&self, id: &str) -> Result<ShardId, ApiError> {
        let job = job_id(id)?;
        self.map().await?;
        self.shard_of(job)
    }

    fn now(&self) -> Timestamp {
        self.inner.seam.clock.now()
    }
}

fn patience(asked_ms: u64) -> Result<Duration, ApiError> {
    let asked = Duration::from_millis(asked_ms);
    let most = limits::WAIT_MAX;
    if asked > most {
        return Err(ApiError::invalid(format!(
            "timeout_ms is {asked_ms}, at most {} are taken: ask again when it is up",
            most.as_millis()
        )));
    }
    Ok(if asked.is_zero() { WAIT_DEFAULT } else { asked })
}

/// 0 would ask a leader for its default; a wait that is over still asks for the job as it is.
fn at_least_one_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn has_ended(job: &v1::Job) -> bool {
    match job.state() {
        v1::JobState::Done | v1::JobState::Cancelled | v1::JobState::Dead => true,
        v1::JobState::Unspecified
        | v1::JobState::Waiting
        | v1::JobState::Ready
        | v1::JobState::Leased => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_over_its_bound_is_refused_with_the_bound_and_none_takes_the_default() {
        assert_eq!(patience(0), Ok(WAIT_DEFAULT));
        assert_eq!(patience(1_500), Ok(Duration::from_millis(1_500)));
        let error = patience(60_001).unwrap_err();
        assert!(error.message.contains("60000"), "{error}");
    }
}
