//! An open loop: jobs are sent on a schedule whatever comes back, and workers finish each at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Bench;
use super::clock::now;
use super::cost::Reading;
use super::drain::drain;
use super::load::WORD_EVERY;
use super::progress::Watch;
use super::run::{Run, session};
use super::schedule::{Pace, Schedule, pace};
use super::throughput::Window;
use super::times::Times;
use super::trace::{Span, Trace};
use super::wire::{Heard, Submitter, Worker};

/// Between the last connection and the first job.
const LEAD: Duration = Duration::from_millis(200);

/// What an open loop is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Submitters, and as many workers.
    pub(super) connections: usize,
    /// Of one worker.
    pub(super) slots: u32,
    /// Whether the wait of every single job is kept, and not only how the waits are spread.
    pub(super) is_traced: bool,
}

/// What the connections measured.
#[derive(Debug, Clone)]
pub(super) struct Measurements {
    pub(super) sent_late: Times,
    pub(super) submit_ack: Times,
    pub(super) dispatch: Times,
    pub(super) result_ack: Times,
    pub(super) whole: Times,
    /// Every dispatch; empty unless it was asked for.
    pub(super) trace: Trace,
}

type Tasks = JoinSet<anyhow::Result<Measurements>>;

/// A loop that runs. Its connections end when it is dropped.
pub(super) struct OpenLoop {
    run: Arc<Run>,
    schedule: Schedule,
    submits: Tasks,
    works: Tasks,
    measured: Measurements,
    stop_sending: CancellationToken,
    stop_work: CancellationToken,
    before: Reading,
    _watch: Watch,
}

impl OpenLoop {
    /// Opens every connection before the first job is due.
    pub(super) async fn start(
        bench: &Bench,
        run: &Arc<Run>,
        shape: Shape,
        at: Pace,
    ) -> anyhow::Result<Self> {
        let (submitters, workers) = connect(bench, run, shape).await?;
        let schedule = Schedule::new(now() + LEAD, at);
        let taken = run.take(schedule.jobs);
        taken.context("more jobs than a run can have")?;
        let (stop_sending, stop_work) = (CancellationToken::new(), CancellationToken::new());
        let (mut senders, mut submits) = (Vec::new(), JoinSet::new());
        for submitter in submitters {
            let (sender, places) = mpsc::unbounded_channel();
            senders.push(sender);
            submits.spawn(submit(submitter, Arc::clone(run), schedule, places));
        }
        let hand = |worker| Hand {
            worker,
            shape,
            run: Arc::clone(run),
            schedule,
            result: bench.result(),
            reported: BTreeMap::new(),
            times: Measurements::new(),
        };
        let hands = workers.into_iter().map(hand);
        let works = hands.map(|hand| hand.run(stop_work.clone())).collect();
        let before = Reading::of(&bench.target);
        pace(schedule, senders, stop_sending.clone())?;
        Ok(Self {
            run: Arc::clone(run),
            schedule,
            submits,
            works,
            measured: Measurements::new(),
            stop_sending,
            stop_work,
            before,
            _watch: bench.progress.watch(run),
        })
    }

    /// When the first job is meant to be sent.
    pub(super) const fn began(&self) -> Instant {
        self.schedule.start
    }

    /// Returns when a connection has broken; never while all go on or have come to their end.
    pub(super) async fn broken(&mut self) -> anyhow::Error {
        loop {
            let ended = tokio::select! {
                Some(ended) = self.works.join_next() => match ended {
                    Ok(Ok(_)) => return anyhow!("a worker ended before its time"),
                    other => other,
                },
                Some(ended) = self.submits.join_next() => ended,
                else => std::future::pending().await,
            };
            match ended {
                Ok(Ok(measured)) => self.measured.merge(measured),
                Ok(Err(error)) => return error,
                Err(panicked) => return panicked.into(),
            }
        }
    }

    /// Sends no more, whatever the schedule says.
    pub(super) fn stop_sending(&self) {
        self.stop_sending.cancel();
    }

    /// Waits until everything is sent and finished. The time is that from the first job until then.
    pub(super) async fn end(mut self, bench: &Bench) -> anyhow::Result<(Window, Measurements)> {
        let sent = gather(&mut self.submits).await?;
        self.measured.merge(sent);
        drain(&self.run, 0, bench.patience()).await;
        let after = Reading::of(&bench.target);
        self.stop_work.cancel();
        self.measured.merge(gather(&mut self.works).await?);
        let window = Window {
            jobs: self.run.completed(),
            took: self.schedule.start.elapsed(),
            before: self.before,
            after,
        };
        Ok((window, self.measured))
    }
}

async fn connect(
    bench: &Bench,
    run: &Run,
    shape: Shape,
) -> anyhow::Result<(Vec<Submitter>, Vec<Worker>)> {
    let (target, calls) = (&bench.target, bench.calls());
    let (mut submitters, mut workers) = (Vec::new(), Vec::new());
    for at in 0..shape.connections {
        let (address, queue) = (target.endpoint(at), run.queue());
        let submitter = Submitter::open(address, queue, calls).await?;
        run.mints_in(submitter.slices);
        submitters.push(submitter);
        workers.push(Worker::open(address, queue, session(), calls).await?);
    }
    Ok((submitters, workers))
}

async fn gather(tasks: &mut Tasks) -> anyhow::Result<Measurements> {
    let mut all = Measurements::new();
    while let Some(ended) = tasks.join_next().await {
        all.merge(ended??);
    }
    Ok(all)
}

/// Sends each job when it is told to, whatever is still unanswered.
async fn submit(
    mut line: Submitter,
    run: Arc<Run>,
    schedule: Schedule,
    mut places: mpsc::UnboundedReceiver<u64>,
) -> anyhow::Result<Measurements> {
    let mut times = Measurements::new();
    let (mut unanswered, mut is_over) = (0_u64, false);
    while !is_over || unanswered > 0 {
        tokio::select! {
            biased;
            place = places.recv(), if !is_over => match place {
                Some(at) => {
                    schedule.moment(at).await;
                    times.sent_late.add_if(schedule.since(at));
                    line.send(at, run.jobs(line.slices, at..at + 1));
                    unanswered += 1;
                }
                None => is_over = true,
            },
            answered = line.answered(), if unanswered > 0 => {
                let (at, answer) = answered.context("submitting")?;
                let waited = schedule.since(at);
                if run.submitted(at..at + 1, answer).accepted > 0 {
                    times.submit_ack.add_if(waited);
                }
                unanswered -= 1;
            }
        }
    }
    Ok(times)
}

/// A worker that finishes each job at once.
struct Hand {
    worker: Worker,
    shape: Shape,
    run: Arc<Run>,
    schedule: Schedule,
    result: Bytes,
    /// When each result without an answer was handed in.
    reported: BTreeMap<u64, Instant>,
    times: Measurements,
}

impl Hand {
    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<Measurements> {
        let mut word = interval(WORD_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(self.times),
                heard = self.worker.hear() => self.turn(heard).context("working")?,
                _ = word.tick() => self.credit(),
            }
        }
    }

    fn turn(&mut self, heard: Result<Heard, Status>) -> Result<(), Status> {
        match heard? {
            Heard::Assigned(assignment) => {
                if let Some(at) = self.run.delivered(&assignment) {
                    self.dispatched(at);
                }
                self.run.reporting(&assignment);
                self.worker.complete(&assignment, self.result.clone());
            }
            Heard::Reported(reported) => {
                let at = self.run.mint.number(&reported.job_id);
                let sent = at.and_then(|at| self.reported.remove(&at));
                if let (Some(at), Some(sent)) = (self.run.reported(&reported), sent) {
                    self.ended(at, sent);
                }
                if !reported.slot_back {
                    self.credit();
                }
            }
            Heard::Renewed(_) => {}
        }
        Ok(())
    }

    fn dispatched(&mut self, at: u64) {
        let waited = self.schedule.since(at);
        self.times.dispatch.add_if(waited);
        self.reported.insert(at, now());
        if let (true, Some(waited)) = (self.shape.is_traced, waited) {
            let from = self.schedule.intended(at);
            let to = from + waited;
            self.times.trace.add(Span { from, to });
        }
    }

    fn ended(&mut self, at: u64, sent: Instant) {
        let whole = self.schedule.since(at);
        self.times.result_ack.add_if(whole.map(|_| sent.elapsed()));
        self.times.whole.add_if(whole);
    }

    fn credit(&mut self) {
        let taken = u32::try_from(self.reported.len()).unwrap_or(u32::MAX);
        self.worker.credit(self.shape.slots.saturating_sub(taken));
    }
}

impl Measurements {
    fn new() -> Self {
        Self {
            sent_late: Times::new(),
            submit_ack: Times::new(),
            dispatch: Times::new(),
            result_ack: Times::new(),
            whole: Times::new(),
            trace: Trace::default(),
        }
    }

    fn merge(&mut self, other: Self) {
        self.sent_late.merge(&other.sent_late);
        self.submit_ack.merge(&other.submit_ack);
        self.dispatch.merge(&other.dispatch);
        self.result_ack.merge(&other.result_ack);
        self.whole.merge(&other.whole);
        self.trace.append(other.trace);
    }
}
