//! Taking jobs in: each is checked and gets its id, then each shard gets its part of the batch.
//!
//! A submit is repeated under the same ids until its outcome is known or its time is up, so an answer that says
//! *unknown* names the job and means: repeat it with this very id.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use leasehold_api::convert::submit::{RouteQuery, check_batch, submit as to_submit};
use leasehold_api::{ApiError, v1};
use leasehold_core::shard::command::Submit;
use leasehold_types::{ErrorCode, JobId, QueueName, ShardId};

use super::routes::Route;
use super::{CALL_TTL, Gateway, digest, odd};

/// The jobs of one batch that go to one shard.
#[derive(Default)]
struct Part {
    /// Where each stands in the batch.
    positions: Vec<usize>,
    ids: Vec<JobId>,
    jobs: Vec<Submit>,
    metadata_index: u64,
}

/// Where jobs without keys go, looked up once for each queue of a batch.
type Routes = BTreeMap<QueueName, Route>;

impl Gateway {
    /// Takes in 1 to [`leasehold_types::limits::BATCH_JOBS`] jobs; each has its own answer, in the order of the request.
    ///
    /// # Errors
    /// When the batch as a whole is out of bounds. What is wrong with a single job is in its own answer.
    pub async fn submit(&self, request: v1::SubmitRequest) -> Result<v1::SubmitResponse, ApiError> {
        self.counted(check_batch(&request.jobs).map_err(ApiError::from))?;
        self.counted(self.map().await)?;
        let (mut results, parts) = self.sort_out(request.jobs);
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

    /// The refused jobs' answers, in their places, and each shard's part of the others.
    fn sort_out(
        &self,
        jobs: Vec<v1::NewJob>,
    ) -> (Vec<Option<v1::SubmitResult>>, BTreeMap<ShardId, Part>) {
        let mut results = Vec::with_capacity(jobs.len());
        let mut parts: BTreeMap<ShardId, Part> = BTreeMap::new();
        let mut routes = Routes::new();
        for (position, job) in jobs.into_iter().enumerate() {
            match self.prepare(job, &mut routes) {
                Ok((route, submit)) => {
                    let part = parts.entry(route.shard).or_default();
                    part.add(position, &route, submit);
                    results.push(None);
                }
                Err(error) => results.push(Some(self.refused(error))),
            }
        }
        (results, parts)
    }

    fn refused(&self, error: ApiError) -> v1::SubmitResult {
        self.inner.metrics.refused(error.code, 1);
        error.into()
    }

    /// Checks a job and gives it an id where it has none.
    fn prepare(
        &self,
        mut job: v1::NewJob,
        routes: &mut Routes,
    ) -> Result<(Route, Submit), ApiError> {
        let query = RouteQuery::try_from(&job)?;
        let route = self.route_in_batch(&query, routes)?;
        if job.job_id.is_empty() {
            let entropy = &self.inner.seam.entropy;
            let id = route.mint(entropy.next_128(), entropy.next());
            job.job_id = id.to_string();
        }
        let computed = digest(&job.payload);
        let submit = to_submit(job, Some(computed))?;
        let route = self.route_of(&submit, route)?;
        Ok((route, submit))
    }

    fn route_in_batch(&self, query: &RouteQuery, routes: &mut Routes) -> Result<Route, ApiError> {
        if query.key.is_some() {
            return self.find_route(query);
        }
        if let Some(route) = routes.get(&query.queue) {
            return Ok(*route);
        }
        let route = self.find_route(query)?;
        routes.insert(query.queue.clone(), route);
        Ok(route)
    }

    /// The shard that the job's id names. Where a key names another, the two contradict each other: under this id the
    /// key would not be found again.
    fn route_of(&self, submit: &Submit, asked: Route) -> Result<Route, ApiError> {
        if asked.holds(submit.job) {
            return Ok(asked);
        }
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
        let router = &self.inner.router;
        let answered = router.submit(shard, jobs, metadata_index, CALL_TTL).await;
        let results = match answered {
            Ok(results) if results.len() == positions.len() => results,
            Ok(_) => all_failed(&ids, &odd(shard)),
            Err(error) => all_failed(&ids, &error),
        };
        self.count_refusals(&results);
        positions.into_iter().zip(results).collect()
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

impl Part {
    fn add(&mut self, position: usize, route: &Route, submit: Submit) {
        self.positions.push(position);
        self.ids.push(submit.job);
        self.jobs.push(submit);
        self.metadata_index = self.metadata_index.max(route.policy);
    }
}

/// The error for every job. Whoever has to repeat a job has to know its id, also when it was minted here.
fn all_failed(ids: &[JobId], error: &ApiError) -> Vec<v1::SubmitResult> {
    let named = |job: &JobId| ApiError {
        message: format!("job {job}: {}", error.message),
        ..error.clone()
    };
    ids.iter().map(|job| named(job).into()).collect()
}
