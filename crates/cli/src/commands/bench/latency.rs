//! How long jobs wait, in an open loop at a set rate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Bench;
use super::args::LatencyArgs;
use super::clock::now;
use super::cost::{Reading, logged};
use super::drain::drain;
use super::load::WORD_EVERY;
use super::report::{Cost, Figures, Measured};
use super::run::{Run, session};
use super::schedule::{Schedule, pace};
use super::throughput::Window;
use super::times::{Spread, Times};
use super::wire::{Heard, Submitter, Worker};

/// Between the last connection and the first job.
const LEAD: Duration = Duration::from_millis(200);

/// How long jobs waited. All but `result_ack` count from when a job was meant to be sent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencyFigures {
    pub(crate) rate: u64,
    /// Those that were measured; what a job cost is over all, those of the warm-up included.
    pub(crate) jobs: u64,
    /// Until the job was really sent: the client's own lateness, in every figure below.
    pub(crate) sent_late: Option<Spread>,
    /// Until the submit was acknowledged.
    pub(crate) submit_ack: Option<Spread>,
    /// Until a worker had the job.
    pub(crate) dispatch: Option<Spread>,
    /// From handing the result in until it was acknowledged.
    pub(crate) result_ack: Option<Spread>,
    /// Until the result was acknowledged.
    pub(crate) whole: Option<Spread>,
}

/// What the connections measured.
#[derive(Debug, Clone)]
struct Measurements {
    sent_late: Times,
    submit_ack: Times,
    dispatch: Times,
    result_ack: Times,
    whole: Times,
}

pub(super) async fn run(bench: &Bench, arguments: &LatencyArgs) -> anyhow::Result<Measured> {
    let run = bench.new_run();
    let before = logged(&bench.target).await?;
    let (window, times) = open_loop(bench, &run, arguments).await?;
    let after = logged(&bench.target).await?;
    let figures = LatencyFigures {
        rate: arguments.rate,
        jobs: times.whole.count(),
        sent_late: times.sent_late.spread(),
        submit_ack: times.submit_ack.spread(),
        dispatch: times.dispatch.spread(),
        result_ack: times.result_ack.spread(),
        whole: times.whole.spread(),
    };
    Ok(Measured {
        figures: Figures::Latency(figures),
        cost: Cost::of(&window, (before, after), run.completed()),
        jobs: run.tally(),
        errors: run.errors(),
    })
}

async fn open_loop(
    bench: &Bench,
    run: &Arc<Run>,
    arguments: &LatencyArgs,
) -> anyhow::Result<(Window, Measurements)> {
    let (submitters, workers) = connect(bench, arguments).await?;
    let start = now() + LEAD;
    let schedule = Schedule::new(start, arguments.rate, arguments.warm_up, arguments.duration);
    let stop = CancellationToken::new();
    let mut senders = Vec::new();
    let mut submits = JoinSet::new();
    for submitter in submitters {
        let (sender, places) = mpsc::unbounded_channel();
        senders.push(sender);
        submits.spawn(submit(submitter, Arc::clone(run), schedule, places));
    }
    let mut works = JoinSet::new();
    for worker in workers {
        let hand = Hand::new(
            worker,
            arguments.slots,
            Arc::clone(run),
            schedule,
            bench.result(),
        );
        works.spawn(hand.run(stop.clone()));
    }
    let _watch = bench.progress.watch(run);
    let before = Reading::of(&bench.target);
    run.take(schedule.jobs)
        .context("more jobs than a run can have")?;
    pace(schedule, senders)?;
    let mut times = gather(&mut submits).await?;
    drain(run, 0, bench.patience()).await;
    let after = Reading::of(&bench.target);
    stop.cancel();
    times.merge(&gather(&mut works).await?);
    let window = Window {
        jobs: run.completed(),
        took: start.elapsed(),
        before,
        after,
    };
    Ok((window, times))
}

async fn connect(
    bench: &Bench,
    arguments: &LatencyArgs,
) -> anyhow::Result<(Vec<Submitter>, Vec<Worker>)> {
    let (target, calls) = (&bench.target, bench.calls());
    let (mut submitters, mut workers) = (Vec::new(), Vec::new());
    for at in 0..arguments.connections {
        let (address, queue) = (target.endpoint(at), target.queue());
        submitters.push(Submitter::open(address, queue, calls).await?);
        workers.push(Worker::open(address, queue, session(), calls).await?);
    }
    Ok((submitters, workers))
}

async fn gather(tasks: &mut JoinSet<anyhow::Result<Measurements>>) -> anyhow::Result<Measurements> {
    let mut all = Measurements::new();
    while let Some(ended) = tasks.join_next().await {
        all.merge(&ended??);
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
                    times.sent_late.add_if(schedule.since(at));
                    line.send(at, run.jobs(line.slices, at..at + 1));
                    unanswered += 1;
                }
                None => is_over = true,
            },
            answered = line.answered(), if unanswered > 0 => {
                let (at, answer) = answered.context("submitting")?;
                times.submit_ack.add_if(schedule.since(at));
                run.submitted(at..at + 1, answer);
                unanswered -= 1;
            }
        }
    }
    Ok(times)
}

/// A worker that finishes each job at once.
struct Hand {
    worker: Worker,
    slots: u32,
    run: Arc<Run>,
    schedule: Schedule,
    result: Bytes,
    /// When each result without an answer was handed in.
    reported: BTreeMap<u64, Instant>,
    times: Measurements,
}

impl Hand {
    fn new(worker: Worker, slots: u32, run: Arc<Run>, schedule: Schedule, result: Bytes) -> Self {
        Self {
            worker,
            slots,
            run,
            schedule,
            result,
            reported: BTreeMap::new(),
            times: Measurements::new(),
        }
    }

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
                    self.times.dispatch.add_if(self.schedule.since(at));
                    self.reported.insert(at, now());
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

    fn ended(&mut self, at: u64, sent: Instant) {
        let whole = self.schedule.since(at);
        self.times.result_ack.add_if(whole.map(|_| sent.elapsed()));
        self.times.whole.add_if(whole);
    }

    fn credit(&mut self) {
        let taken = u32::try_from(self.reported.len()).unwrap_or(u32::MAX);
        self.worker.credit(self.slots.saturating_sub(taken));
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
        }
    }

    fn merge(&mut self, other: &Self) {
        self.sent_late.merge(&other.sent_late);
        self.submit_ack.merge(&other.submit_ack);
        self.dispatch.merge(&other.dispatch);
        self.result_ack.merge(&other.result_ack);
        self.whole.merge(&other.whole);
    }
}
