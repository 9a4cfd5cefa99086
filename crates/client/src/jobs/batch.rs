//! Jobs on their way in: which are still to be sent, and what came of the others. Pure.
//!
//! Each job keeps its id, or its key, through all repeats. What must hold: a job is called *certainly not done* only
//! when every attempt at it was; one attempt without an answer makes it *unknown* until it is answered.

use std::time::Duration;

use leasehold_api::{ApiError, ConvertError, convert, v1};
use leasehold_core::shard::outcome::Submitted;
use leasehold_types::{JobId, limits};

use crate::error::{ClientError, SetupError};

/// Room for what a request holds beside its jobs.
const SLACK: usize = 1_024;

/// Jobs submitted together, in the order given.
#[derive(Debug, Default)]
pub(super) struct Batch {
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    Open(Box<Open>),
    Settled(Result<Submitted, ClientError>),
}

/// A job without its answer.
#[derive(Debug)]
struct Open {
    wire: v1::NewJob,
    attempts: u32,
    /// Whether an attempt may have been done.
    perhaps_done: bool,
    last: Option<ApiError>,
}

impl Batch {
    pub(super) fn new(jobs: impl IntoIterator<Item = Result<v1::NewJob, ConvertError>>) -> Self {
        let item = |job| match job {
            Ok(wire) => Item::Open(Box::new(Open {
                wire,
                attempts: 0,
                perhaps_done: false,
                last: None,
            })),
            Err(error) => Item::Settled(Err(SetupError::from(error).into())),
        };
        Self {
            items: jobs.into_iter().map(item).collect(),
        }
    }

    /// Jobs that still need an id: neither id nor key came with them.
    pub(super) fn unminted(&self) -> impl Iterator<Item = (usize, &v1::NewJob)> {
        self.open()
            .filter(|(_, wire)| wire.job_id.is_empty() && wire.idempotency_key.is_empty())
    }

    pub(super) fn open(&self) -> impl Iterator<Item = (usize, &v1::NewJob)> {
        let items = self.items.iter().enumerate();
        items.filter_map(|(index, item)| match item {
            Item::Open(open) => Some((index, &open.wire)),
            Item::Settled(_) => None,
        })
    }

    pub(super) fn mint(&mut self, index: usize, id: JobId) {
        if let Some(Item::Open(open)) = self.items.get_mut(index) {
            open.wire.job_id = id.to_string();
        }
    }

    /// What is still to be sent, in requests that keep to the bounds.
    pub(super) fn requests(&self) -> Vec<Vec<usize>> {
        let mut requests: Vec<Vec<usize>> = Vec::new();
        let mut bytes = 0;
        for (index, wire) in self.open() {
            let size = convert::submit::wire_bytes(wire);
            bytes += size;
            match requests.last_mut() {
                Some(last)
                    if last.len() < limits::BATCH_JOBS
                        && bytes <= limits::REQUEST_BYTES - SLACK =>
                {
                    last.push(index);
                }
                Some(_) | None => {
                    requests.push(vec![index]);
                    bytes = size;
                }
            }
        }
        requests
    }

    pub(super) fn message(&self, request: &[usize]) -> v1::SubmitRequest {
        let wire = |index: &usize| match self.items.get(*index) {
            Some(Item::Open(open)) => Some(open.wire.clone()),
            Some(Item::Settled(_)) | None => None,
        };
        v1::SubmitRequest {
            jobs: request.iter().filter_map(wire).collect(),
        }
    }

    /// Takes the answer to a request. Returns the longest time that one of its jobs was asked to wait.
    pub(super) fn answered(
        &mut self,
        request: &[usize],
        answer: Result<v1::SubmitResponse, ApiError>,
    ) -> Option<Duration> {
        let results = match answer {
            Ok(response) if response.results.len() == request.len() => response
                .results
                .into_iter()
                .map(convert::submit::submitted)
                .collect(),
            Ok(response) => {
                let given = response.results.len();
                let message = format!("{} jobs were answered with {given} results", request.len());
                vec![Err(ApiError::unknown(message)); request.len()]
            }
            Err(error) => vec![Err(error); request.len()],
        };
        let waits = request.iter().zip(results);
        waits
            .filter_map(|(index, result)| self.item_answered(*index, result))
            .max()
    }

    fn item_answered(
        &mut self,
        index: usize,
        result: Result<Submitted, ApiError>,
    ) -> Option<Duration> {
        let item = self.items.get_mut(index)?;
        let Item::Open(open) = item else {
            return None;
        };
        match result {
            Ok(submitted) => {
                *item = Item::Settled(Ok(submitted));
                None
            }
            Err(error) => {
                let wait = error.retry_after;
                if let Some(settled) = open.failed(error) {
                    *item = Item::Settled(Err(settled));
                    return None;
                }
                wait
            }
        }
    }

    /// Settles jobs that cannot even be sent: their route could not be learned.
    pub(super) fn unroutable(&mut self, indexes: &[usize], error: &ClientError) {
        for index in indexes {
            if let Some(item @ Item::Open(_)) = self.items.get_mut(*index) {
                *item = Item::Settled(Err(error.clone()));
            }
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.open().next().is_none()
    }

    pub(super) fn is_settled_for(&self, request: &[usize]) -> bool {
        let is_open = |index: &usize| matches!(self.items.get(*index), Some(Item::Open(_)));
        !request.iter().any(is_open)
    }

    /// What came of each job, now that no further attempt is made.
    pub(super) fn finish(self) -> Vec<Result<Submitted, ClientError>> {
        let settle = |item| match item {
            Item::Settled(result) => result,
            Item::Open(open) => Err(open.out_of_time()),
        };
        self.items.into_iter().map(settle).collect()
    }
}

impl Open {
    /// What the job is settled with, unless another attempt may help.
    fn failed(&mut self, error: ApiError) -> Option<ClientError> {
        self.attempts += 1;
        self.perhaps_done |= !error.code.has_no_side_effects();
        if error.code.is_retryable() {
            self.last = Some(error);
            return None;
        }
        if error.code.has_no_side_effects() {
            return Some(ClientError::Refused(error));
        }
        Some(self.unknown(error))
    }

    fn out_of_time(&self) -> ClientError {
        let untried = || ApiError::unavailable("there was no time left to send it");
        let last = self.last.clone().unwrap_or_else(untried);
        if self.perhaps_done {
            return self.unknown(last);
        }
        let attempts = self.attempts;
        ClientError::Unavailable { attempts, last }
    }

    fn unknown(&self, last: ApiError) -> ClientError {
        let job_id = self.wire.job_id.parse().ok();
        ClientError::Unknown { job_id, last }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
