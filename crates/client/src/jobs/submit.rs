//! Submitting: mint, send, and repeat under the same ids until everything is answered or time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold_core::shard::outcome::Submitted;
use tokio::time::Instant;

use super::batch::Batch;
use super::{Job, JobHandle};
use crate::client::{Client, jobs, wait};
use crate::clock::now;
use crate::error::ClientError;

impl Client {
    /// Submits one job and returns once it is stored on a majority, or was found to be stored before.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] when time ran out without an answer: get the job by its id, or submit it again with
    /// [`Job::id`]. Every other error means that the job was certainly not taken in.
    pub async fn submit(&self, job: Job) -> Result<JobHandle, ClientError> {
        let mut results = self.submit_many(vec![job]).await;
        results.pop().expect("one result for one job")
    }

    /// Submits any number of jobs, in as few requests as the bounds allow. Each has its own result, in the order
    /// given: some may be taken in while others are refused.
    pub async fn submit_many(&self, jobs: Vec<Job>) -> Vec<Result<JobHandle, ClientError>> {
        let mut batch = Batch::new(jobs.into_iter().map(Job::message));
        let deadline = now() + self.limits().total;
        self.mint(&mut batch).await;
        self.submit_until(&mut batch, deadline).await;
        let handle = |submitted: Submitted| JobHandle::new(self.clone(), submitted);
        let results = batch.finish().into_iter();
        results.map(|result| result.map(handle)).collect()
    }

    /// Gives every job that has neither id nor key an id. One with a key is found by its key, wherever its id.
    async fn mint(&self, batch: &mut Batch) {
        for ((queue, tenant), indexes) in by_queue(batch) {
            match self.route(&queue, &tenant).await {
                Ok(route) => {
                    for index in indexes {
                        batch.mint(index, self.entropy().job_id(route.first, route.count));
                    }
                }
                Err(error) => batch.unroutable(&indexes, &error),
            }
        }
    }

    async fn submit_until(&self, batch: &mut Batch, deadline: Instant) {
        let mut tried = BTreeSet::new();
        let mut rounds = 0;
        while !batch.is_settled() {
            let mut asked: Option<Duration> = None;
            for request in batch.requests() {
                let limit = left(deadline).min(self.limits().attempt);
                let message = batch.message(&request);
                let submit = |channel| {
                    let message = message.clone();
                    async move { jobs(channel).submit(message).await }
                };
                let answer = self.attempt(&mut tried, limit, submit).await;
                asked = asked.max(batch.answered(&request, answer));
                if batch.is_settled_for(&request) {
                    tried.clear();
                }
            }
            rounds += 1;
            self.forget_routes(batch);
            if !self.pause(batch, asked, rounds, deadline).await {
                return;
            }
        }
    }

    /// Waits before the next round. False when there is no time for one.
    async fn pause(
        &self,
        batch: &Batch,
        asked: Option<Duration>,
        rounds: u32,
        deadline: Instant,
    ) -> bool {
        if batch.is_settled() {
            return true;
        }
        let backoff = &self.limits().backoff;
        match wait(asked, rounds, backoff, left(deadline), self.draw()) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                true
            }
            None => false,
        }
    }

    /// Jobs to come had better ask for another shard than the one that these jobs are stuck at.
    fn forget_routes(&self, batch: &Batch) {
        let mut routes = self.routes();
        for (_, wire) in batch.open() {
            routes.forget(&wire.queue, &wire.tenant);
        }
    }
}

/// The jobs that need an id, by queue and tenant.
fn by_queue(batch: &Batch) -> BTreeMap<(String, String), Vec<usize>> {
    let mut groups: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (index, wire) in batch.unminted() {
        let key = (wire.queue.clone(), wire.tenant.clone());
        groups.entry(key).or_default().push(index);
    }
    groups
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now())
}
