//! Taking jobs in: each is checked and gets its id, then each shard gets its part of the batch.
//!
//! A submit is repeated under the same ids until its outcome is known or its time is up, so an answer that says
//! *unknown* names the job and means: repeat it with this very id.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use leasehold_api::convert::submit::{RouteQuery, check_batch, submit as to_submit};
use leasehold_api::v1::shard_answer::Answer;
use leasehold_api::v1::shard_call::Call;
use leasehold_api::{ApiError, v1};
use leasehold_core::shard::command::Submit;
use leasehold_types::{ErrorCode, JobId, ShardId};

use super::routes::Route;
use super::{CALL_TTL, Gateway, digest, odd};

/// The jobs of one batch that go to one shard.
#[derive(Default)]
struct Part {
    /// Where each stands in the batch.
    positions: Vec<usize>,
    ids: Vec<JobId>,
    jobs: Vec<v1::NewJob>,
    metadata_index: u64,
}

impl Gateway {
    /// Takes in 1 to [`leasehold_types::limits::BATCH_JOBS`] jobs; each has its own answer, in the order of the request.
    ///
    /// # Errors
    /// When the batch as a whole is out of bounds. What is wrong with a single job is in its own answer.
    pub async fn submit(&self, request: v1::SubmitRequest) -> Result<v1::SubmitResponse, ApiError> {
        self.counted(check_batch(&request.jobs).map_err(ApiError::from))?;
        self.counted(self.map().await)?;
        let mut results: Vec<Option<v1::SubmitResult>> = Vec::new();
        let mut parts: BTreeMap<ShardId, Part> = BTreeMap::new();
        for (position, job) in request.jobs.into_iter().enumerate() {
            match self.prepare(job) {
                Ok((route, submit)) => {
                    parts
                        .entry(route.shard)
                        .or_default()
                        .add(position, &route, submit);
                    results.push(None);
                }
                Err(error) => results.push(Some(self.refused(error))),
            }
        }
        let parts = parts
            .into_iter()
            .map(|(shard, part)| self.submit_part(shard, part));
        for (position, result) in join_all(parts).await.into_iter().flatten() {
            results[position] = Some(result);
        }
        let every = |result: Option<_>| result.expect("each job went into one part");
        Ok(v1::SubmitResponse {
            results: results.into_iter().map(every).collect(),
        })
    }

    fn refused(&self, error: ApiError) -> v1::SubmitResult {
        self.inner.metrics.refused(error.code, 1);
        error.into()
    }

    /// Checks a job and gives it an id where it has none.
    fn prepare(&self, mut job: v1::NewJob) -> Result<(Route, Submit), ApiError> {
        let query = RouteQuery::try_from(&job)?;
        let route = self.find_route(&query)?;
        if job.job_id.is_empty() {
            let entropy = &self.inner.seam.entropy;
            job.job_id = route.mint(entropy.next_128(), entropy.next()).to_string();
        }
        let computed = digest(&job.payload);
        let submit = to_submit(job, Some(computed))?;
        let route = self.route_of(&submit, route)?;
        Ok((route, submit))
    }

    /// The shard that the job's id names. Where a key names another, the two contradict each other: under this id the
    /// key would not be found again.
    fn route_of(&self, submit: &Submit, asked: Route) -> Result<Route, ApiError> {
        let shard = self.shard_of(submit.job)?;
        if submit.key.is_none() || shard == asked.shard {
            return Ok(Route { shard, ..asked });
        }
        let (job, wanted) = (submit.job, asked.shard);
        Err(ApiError::invalid(format!(
            "job_id {job} is in shard {shard}, its idempotency_key belongs to shard {wanted}: \
             ask Route with the key where to mint its id"
        )))
    }

    async fn submit_part(&self, shard: ShardId, part: Part) -> Vec<(usize, v1::SubmitResult)> {
        let Part {
            positions,
            ids,
            jobs,
            metadata_index,
        } = part;
        let call = Call::Submit(v1::ShardSubmit {
            jobs,
            metadata_index,
        });
        let answer = match self.ask(shard, call, CALL_TTL).await {
            Ok(Answer::Submit(answer)) if answer.results.len() == positions.len() => Ok(answer),
            Ok(_) => Err(odd(shard)),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => {
                self.count_refusals(&answer.results);
                positions.into_iter().zip(answer.results).collect()
            }
            Err(error) => {
                let failed = ids.iter().map(|id| self.refused(named(&error, *id)));
                positions.into_iter().zip(failed).collect()
            }
        }
    }

    fn count_refusals(&self, results: &[v1::SubmitResult]) {
        for result in results {
            if let Some(v1::submit_result::Result::Error(error)) = &result.result
                && let Some(code) = ErrorCode::from_name(&error.code)
            {
                self.inner.metrics.refused(code, 1);
            }
        }
    }
}

/// Whoever has to repeat a job has to know its id, also when it was minted here.
fn named(error: &ApiError, job: JobId) -> ApiError {
    ApiError {
        message: format!("job {job}: {}", error.message),
        ..error.clone()
    }
}

impl Part {
    fn add(&mut self, position: usize, route: &Route, submit: Submit) {
        self.positions.push(position);
        self.ids.push(submit.job);
        self.jobs.push(submit.into());
        self.metadata_index = self.metadata_index.max(route.policy);
    }
}
