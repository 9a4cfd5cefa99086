//! One run: the jobs it has handed out, and everything that was heard of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use leasehold_api::v1;
use leasehold_api::v1::submit_result::Result as Outcome;
use leasehold_types::{ErrorCode, SessionId};
use tonic::Status;

use super::clock::now;
use super::jobs::{Mint, Slices};
use super::ledger::{Fact, JOBS_MAX, Ledger, Tally};
use super::wire::Reported;

/// Errors by what was tried and the code that came of it, such as `submit: resource_exhausted`.
pub(crate) type Errors = BTreeMap<String, u64>;

/// Least time from an error to the next try: a cluster without a leader is not to be hammered.
pub(super) const BREATH: Duration = Duration::from_millis(10);

/// Shared by all connections of a run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) mint: Mint,
    pub(super) ledger: Ledger,
    began: Instant,
    next: AtomicU64,
    accepted: AtomicU64,
    completed: AtomicU64,
    /// Both accepted and completed.
    settled: AtomicU64,
    errors: Mutex<Errors>,
    slices: Mutex<BTreeSet<Slices>>,
}

/// What became of the jobs of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Taken {
    pub(super) accepted: u64,
    /// Longest that one of the refused was asked to wait.
    pub(super) wait: Option<Duration>,
}

impl Run {
    pub(super) fn new(queue: &str, payload_bytes: usize) -> Self {
        Self {
            mint: Mint::new(random(), queue, payload_bytes),
            ledger: Ledger::new(),
            began: now(),
            next: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            errors: Mutex::default(),
            slices: Mutex::default(),
        }
    }

    /// The queue that its jobs go through.
    pub(super) fn queue(&self) -> &str {
        self.mint.queue()
    }

    /// The next so many numbers; none once the ledger is full.
    pub(super) fn take(&self, jobs: u64) -> Option<Range<u64>> {
        let first = self.next.fetch_add(jobs, Ordering::Relaxed);
        (first + jobs <= JOBS_MAX).then_some(first..first + jobs)
    }

    pub(super) fn jobs(&self, slices: Slices, numbers: Range<u64>) -> Vec<v1::NewJob> {
        let job = |number| self.mint.job(slices, number);
        numbers.map(job).collect()
    }

    /// Takes the answer to a request for these jobs.
    pub(super) fn submitted(
        &self,
        numbers: Range<u64>,
        answer: Result<Vec<v1::SubmitResult>, Status>,
    ) -> Taken {
        let results = match answer {
            Ok(results) => results,
            Err(status) => {
                let error = leasehold_api::ApiError::from(status);
                let jobs = usize::try_from(numbers.end - numbers.start).unwrap_or(0);
                vec![v1::SubmitResult::from(error); jobs]
            }
        };
        let mut taken = Taken::default();
        for (number, result) in numbers.zip(results) {
            match result.result {
                Some(Outcome::Accepted(_)) => {
                    self.accept(number);
                    taken.accepted += 1;
                }
                Some(Outcome::Error(error)) => {
                    let wait = self.refused(number, &error);
                    taken.wait = taken.wait.max(Some(wait));
                }
                None => self.error("submit", "odd_answer"),
            }
        }
        self.accepted.fetch_add(taken.accepted, Ordering::Relaxed);
        taken
    }

    fn refused(&self, number: u64, error: &v1::Error) -> Duration {
        self.error("submit", &error.code);
        let code = ErrorCode::from_name(&error.code);
        if code.is_none_or(|code| !code.has_no_side_effects()) {
            self.ledger.note(number, Fact::Unsure);
        }
        Duration::from_millis(error.retry_after_ms).max(BREATH)
    }

    /// A connection mints its jobs in these slices.
    pub(super) fn mints_in(&self, slices: Slices) {
        let mut known = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(slices);
    }

    /// Every id that the job of this number may have.
    pub(super) fn ids(&self, number: u64) -> Vec<String> {
        let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = slices.iter().map(|slices| self.mint.id(*slices, number));
        ids.collect()
    }

    /// Jobs that had a result handed in without an answer.
    pub(super) fn unconfirmed(&self) -> Vec<u64> {
        self.ledger.unconfirmed(self.handed_out())
    }

    /// The job was looked for in the end, and has not been done.
    pub(super) fn missed(&self, number: u64) {
        self.ledger.note(number, Fact::Missed);
    }

    /// Since its first job may have been submitted.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The job was found to have ended.
    pub(super) fn ended(&self, number: u64) {
        self.complete(number, true);
    }

    /// SUBTLE: the end of a job may be heard of before its beginning, since they come over different connections.
    /// Whichever comes second settles the job.
    fn accept(&self, number: u64) {
        let before = self.ledger.note(number, Fact::Accepted);
        if before.is(Fact::Completed) && !before.is(Fact::Accepted) {
            self.settled.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn complete(&self, number: u64, repeated: bool) {
        let before = self.ledger.completed(number, repeated);
        if before.is(Fact::Completed) {
            return;
        }
        self.completed.fetch_add(1, Ordering::Relaxed);
        if before.is(Fact::Accepted) {
            self.settled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nothing was heard of these jobs.
    pub(super) fn unanswered(&self, numbers: Range<u64>) {
        numbers.for_each(|number| {
            self.ledger.note(number, Fact::Unsure);
        });
    }

    /// A worker was given a job. Returns its number; none for jobs that are not of this run.
    pub(super) fn delivered(&self, assignment: &v1::Assignment) -> Option<u64> {
        let number = self.mint.number(&assignment.job_id)?;
        let is_intact = *self.mint.payload(number) == assignment.payload;
        self.ledger.delivered(number, is_intact);
        Some(number)
    }

    /// A result of the job is about to be handed in.
    pub(super) fn reporting(&self, assignment: &v1::Assignment) {
        if let Some(number) = self.mint.number(&assignment.job_id) {
            self.ledger.note(number, Fact::Reported);
        }
    }

    /// Hears what became of a result. Returns the job's number if it ended a job of this run.
    pub(super) fn reported(&self, reported: &Reported) -> Option<u64> {
        let number = self.mint.number(&reported.job_id);
        match &reported.outcome {
            Ok(repeated) => {
                self.complete(number?, *repeated);
                number
            }
            Err(code) => {
                self.error("complete", code);
                None
            }
        }
    }

    pub(super) fn error(&self, what: &str, code: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(format!("{what}: {code}")).or_default() += 1;
    }

    pub(super) fn errors(&self) -> Errors {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.clone()
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// Accepted and not known to have ended.
    pub(super) fn open(&self) -> u64 {
        let settled = self.settled.load(Ordering::Relaxed);
        self.accepted().saturating_sub(settled)
    }

    /// What became of all jobs handed out so far.
    pub(super) fn tally(&self) -> Tally {
        self.ledger.tally(self.handed_out())
    }

    fn handed_out(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(JOBS_MAX)
    }
}

/// What became of the jobs of several runs, and their errors.
pub(super) fn together(runs: &[&Run]) -> (Tally, Errors) {
    let jobs = runs.iter().map(|run| run.tally());
    let mut errors = Errors::new();
    for (what, count) in runs.iter().flat_map(|run| run.errors()) {
        *errors.entry(what).or_default() += count;
    }
    (jobs.fold(Tally::default(), Tally::and), errors)
}

/// A session id of a worker.
pub(super) fn session() -> SessionId {
    SessionId::from_random(random())
}

#[expect(
    clippy::disallowed_methods,
    reason = "only ids are drawn: what a run measures does not hang on them"
)]
fn random<T>() -> T
where
    rand::distr::StandardUniform: rand::distr::Distribution<T>,
{
    use rand::RngExt as _;
    rand::rng().random()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Result<Vec<v1::SubmitResult>, Status> {
        let accepted = Outcome::Accepted(v1::Accepted::default());
        Ok(vec![v1::SubmitResult {
            result: Some(accepted),
        }])
    }

    fn result_of(run: &Run, number: u64) -> Reported {
        let slices = Slices { first: 0, count: 1 };
        Reported {
            job_id: run.mint.id(slices, number),
            outcome: Ok(false),
            slot_back: true,
        }
    }

    #[test]
    fn job_is_open_until_both_its_ends_are_known_in_whatever_order() {
        let run = Run::new("bench", 1);
        let numbers = run.take(2).unwrap();
        run.submitted(0..1, accepted());
        assert_eq!(run.open(), 1);
        run.reported(&result_of(&run, 0));
        run.reported(&result_of(&run, 1));
        assert_eq!((run.open(), run.completed()), (0, 2));
        run.submitted(1..numbers.end, accepted());
        assert_eq!((run.open(), run.accepted()), (0, 2));
    }

    #[test]
    fn job_that_may_have_been_accepted_hides_no_open_one() {
        let run = Run::new("bench", 1);
        run.take(2).unwrap();
        run.submitted(0..1, accepted());
        run.unanswered(1..2);
        run.reported(&result_of(&run, 1));
        assert_eq!(run.open(), 1);
    }

    #[test]
    fn refusal_is_counted_by_its_code_and_only_an_unsure_one_leaves_the_job_unsure() {
        let run = Run::new("bench", 1);
        run.take(2).unwrap();
        let full = Status::resource_exhausted("full");
        let late = Status::deadline_exceeded("late");
        assert_eq!(run.submitted(0..1, Err(full)).accepted, 0);
        run.submitted(1..2, Err(late));
        let errors: Vec<_> = run.errors().into_iter().collect();
        let once = |what: &str| (what.to_owned(), 1);
        assert_eq!(
            errors,
            [once("submit: resource_exhausted"), once("submit: unknown")]
        );
        assert_eq!(run.tally().unsure, 1);
    }
}
