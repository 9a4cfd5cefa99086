//! A closed loop: submitters that wait for each answer, and workers that hold no more than their slots.
//!
//! What is measured hangs on what a connection may have under way, so it is said here once. A *connection* is a
//! submitter and a worker, each with a channel of its own. A submitter has one request of `batch` jobs under way. A
//! worker has `batch` slots, and a slot is taken from the job's arrival until its result is *acknowledged*, as in the
//! SDK. Over all connections no more than [`Plan::room`] jobs are unfinished, so that a faster submit does not turn
//! into a backlog.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use leasehold_api::v1;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::clock::now;
use super::run::{Run, session};
use super::target::Target;
use super::times::Times;
use super::wire::{Calls, Heard, Submitter, Worker};

/// A worker that has nothing to say says how many slots it has: its session lives by being heard.
pub(super) const WORD_EVERY: Duration = Duration::from_secs(2);
/// Longest that a worker waits at its end for answers to what it has handed in.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Unfinished jobs that even the smallest loop may have.
const ROOM_MIN: usize = 512;

/// What a closed loop is made of.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) connections: usize,
    /// Jobs of one submit, and slots of one worker.
    pub(super) batch: u32,
    pub(super) calls: Calls,
    /// What a worker hands in.
    pub(super) result: Bytes,
    /// Finish no more jobs than were submitted meanwhile, so that a backlog stays as long as it is.
    pub(super) keeps_backlog: bool,
    /// Whether anything is submitted; otherwise what is queued is worked off.
    pub(super) submits: bool,
}

impl Plan {
    /// Jobs that may be unfinished at once: four batches a connection.
    pub(super) fn room(&self) -> usize {
        (4 * self.connections * self.batch as usize).max(ROOM_MIN)
    }
}

/// What the tasks of one load share.
struct Shared {
    run: Arc<Run>,
    plan: Plan,
    /// Jobs that may still be submitted.
    room: Semaphore,
    /// Jobs that may still be finished, where that is held back.
    work: Option<Semaphore>,
    /// Whether the answers to submits are timed from now on.
    is_measured: AtomicBool,
    stop_submits: CancellationToken,
    stop_work: CancellationToken,
}

/// A closed loop that runs. Its connections end when it is dropped.
pub(super) struct Load {
    shared: Arc<Shared>,
    submitters: JoinSet<anyhow::Result<Times>>,
    workers: JoinSet<anyhow::Result<()>>,
}

impl Load {
    /// Opens every connection before the first one submits.
    pub(super) async fn start(target: &Target, run: Arc<Run>, plan: Plan) -> anyhow::Result<Self> {
        let mut submitters = Vec::new();
        let mut workers = Vec::new();
        for at in 0..plan.connections {
            let (address, queue) = (target.endpoint(at), run.queue());
            if plan.submits {
                let submitter = Submitter::open(address, queue, plan.calls).await?;
                run.mints_in(submitter.slices);
                submitters.push(submitter);
            }
            workers.push(Worker::open(address, queue, session(), plan.calls).await?);
        }
        let shared = Arc::new(Shared {
            run,
            room: Semaphore::new(plan.room()),
            work: plan.keeps_backlog.then(|| Semaphore::new(0)),
            plan,
            is_measured: AtomicBool::new(false),
            stop_submits: CancellationToken::new(),
            stop_work: CancellationToken::new(),
        });
        let work = |worker| Hand::new(worker, Arc::clone(&shared)).run();
        let workers = workers.into_iter().map(work).collect();
        let submit = |submitter| submit_all(submitter, Arc::clone(&shared));
        let submitters = submitters.into_iter().map(submit).collect();
        Ok(Self {
            shared,
            submitters,
            workers,
        })
    }

    /// From now on it is timed how long a request takes until all of it is acknowledged.
    pub(super) fn begin_to_measure(&self) {
        self.shared.is_measured.store(true, Ordering::Relaxed);
    }

    /// Returns when a connection has broken; never while all go on.
    pub(super) async fn broken(&mut self) -> anyhow::Error {
        let why = tokio::select! {
            Some(ended) = self.submitters.join_next() => ended.map(|ended| ended.err()),
            Some(ended) = self.workers.join_next() => ended.map(|ended| ended.err()),
        };
        match why {
            Ok(Some(error)) => error,
            Ok(None) => {
                anyhow!("a connection had no more numbers for its jobs: run a shorter test")
            }
            Err(panicked) => panicked.into(),
        }
    }

    /// Stops submitting, and returns how long the measured requests took.
    pub(super) async fn stop_submits(&mut self) -> anyhow::Result<Times> {
        self.shared.stop_submits.cancel();
        let mut times = Times::new();
        while let Some(ended) = self.submitters.join_next().await {
            times.merge(&ended??);
        }
        Ok(times)
    }

    /// Waits for every connection to break, for a while: their nodes were killed.
    pub(super) async fn collapse(mut self, within: Duration) {
        let all = async {
            while self.submitters.join_next().await.is_some() {}
            while self.workers.join_next().await.is_some() {}
        };
        // What has not noticed by then ends with the value.
        let _ = timeout(within, all).await;
    }

    /// Ends the workers, once they have finished what they hold.
    pub(super) async fn stop_work(mut self) -> anyhow::Result<()> {
        self.shared.stop_work.cancel();
        while let Some(ended) = self.workers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn submit_all(mut line: Submitter, shared: Arc<Shared>) -> anyhow::Result<Times> {
    let mut times = Times::new();
    while let Some(room) = shared.room().await {
        let Some(numbers) = shared.run.take(u64::from(room)) else {
            break;
        };
        let jobs = shared.run.jobs(line.slices, numbers.clone());
        let is_measured = shared.is_measured.load(Ordering::Relaxed);
        let sent = now();
        line.send(numbers.start, jobs);
        let answered = line.answered().await;
        let (_number, answer) = answered
            .inspect_err(|_| shared.run.unanswered(numbers.clone()))
            .context("submitting")?;
        let took = sent.elapsed();
        let taken = shared.run.submitted(numbers, answer);
        if is_measured && taken.accepted == u64::from(room) {
            times.add(took);
        }
        shared.submitted(room, taken.accepted);
        if let Some(wait) = taken.wait {
            sleep(wait).await;
        }
    }
    Ok(times)
}

impl Shared {
    /// Room for one request; none when no more is to be submitted.
    async fn room(&self) -> Option<u32> {
        let batch = self.plan.batch;
        tokio::select! {
            biased;
            () = self.stop_submits.cancelled() => None,
            permit = self.room.acquire_many(batch) => {
                permit.ok()?.forget();
                Some(batch)
            }
        }
    }

    fn submitted(&self, asked: u32, accepted: u64) {
        let accepted = usize::try_from(accepted).unwrap_or(0);
        self.room
            .add_permits((asked as usize).saturating_sub(accepted));
        if let Some(work) = &self.work {
            work.add_permits(accepted);
        }
    }
}

/// A worker of the loop.
struct Hand {
    worker: Worker,
    shared: Arc<Shared>,
    /// Jobs that are not yet to be finished.
    held: VecDeque<v1::Assignment>,
    /// Slots that are taken.
    taken: u32,
}

impl Hand {
    fn new(worker: Worker, shared: Arc<Shared>) -> Self {
        Self {
            worker,
            shared,
            held: VecDeque::new(),
            taken: 0,
        }
    }

    async fn run(mut self) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut word = interval(WORD_EVERY);
        loop {
            tokio::select! {
                biased;
                () = shared.stop_work.cancelled() => return self.end().await,
                heard = self.worker.hear() => self.turn(heard).context("working")?,
                () = shared.may_finish(), if !self.held.is_empty() => self.finish_first(),
                _ = word.tick() => self.credit(),
            }
        }
    }

    /// Finishes what is held and waits for the answers, so that no lease has to run out before the job goes on.
    async fn end(mut self) -> anyhow::Result<()> {
        self.worker.leave();
        while let Some(assignment) = self.held.pop_front() {
            self.finish(&assignment);
        }
        let answers = async {
            while self.taken > 0 {
                let heard = self.worker.hear().await;
                self.turn(heard)?;
            }
            Ok::<_, Status>(())
        };
        // An answer that does not come leaves its job unconfirmed, and is seen there.
        let _ = timeout(END_WITHIN, answers).await;
        Ok(())
    }

    /// Takes in everything that has come, then says at most once how many slots are free, unless they came back anyway.
    fn turn(&mut self, first: Result<Heard, Status>) -> Result<(), Status> {
        let (mut unsaid, mut completed) = (0, 0);
        let mut next = Some(first);
        while let Some(heard) = next {
            match heard? {
                Heard::Assigned(assignment) => self.assigned(assignment),
                Heard::Reported(reported) => {
                    let ended = self.shared.run.reported(&reported);
                    completed += usize::from(ended.is_some());
                    self.taken = self.taken.saturating_sub(1);
                    unsaid += usize::from(!reported.slot_back);
                }
                Heard::Renewed(_) => {}
            }
            next = self.worker.heard_by_now();
        }
        self.shared.room.add_permits(completed);
        if unsaid > 0 {
            self.credit();
        }
        Ok(())
    }

    fn assigned(&mut self, assignment: v1::Assignment) {
        self.taken += 1;
        self.shared.run.delivered(&assignment);
        match self.shared.work {
            Some(_) if !self.shared.stop_work.is_cancelled() => self.held.push_back(assignment),
            Some(_) | None => self.finish(&assignment),
        }
    }

    fn finish_first(&mut self) {
        if let Some(assignment) = self.held.pop_front() {
            self.finish(&assignment);
        }
    }

    fn finish(&mut self, assignment: &v1::Assignment) {
        self.shared.run.reporting(assignment);
        let result = self.shared.plan.result.clone();
        self.worker.complete(assignment, result);
    }

    fn credit(&mut self) {
        if self.shared.stop_work.is_cancelled() {
            return;
        }
        let free = self.shared.plan.batch.saturating_sub(self.taken);
        self.worker.credit(free);
    }
}

impl Shared {
    /// Returns once another job may be finished, which is then this caller's to finish.
    async fn may_finish(&self) {
        if let Some(work) = &self.work {
            match work.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_closed) => std::future::pending().await,
            }
        }
    }
}
