//! Leases kept alive: how many renewals a second are answered, and how soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use leasehold_api::v1;
use leasehold_api::v1::renewal_answer::Answer;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Bench;
use super::args::RenewalsArgs;
use super::backlog::work_off;
use super::clock::now;
use super::cost::{Cost, Reading};
use super::counters::logged;
use super::fill::fill;
use super::report::{Figures, Measured, spreads};
use super::run::{Run, session};
use super::throughput::{Window, as_f64};
use super::times::{Spread, Times};
use super::wire::{Heard, Worker};
use crate::output::fields;

/// Longest that it may take until every worker has its leases, and at the end until each has an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How leases are kept.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RenewalsFigures {
    pub(crate) leases: u64,
    pub(crate) leased_per_s: f64,
    pub(crate) renewals_per_s: f64,
    pub(crate) messages_per_s: f64,
    /// Renewals that were told that the lease is gone.
    pub(crate) stopped: u64,
    /// Renewals that got no answer yet and were told to ask again.
    pub(crate) later: u64,
    /// From sending a message with all of a worker's renewals to its answer.
    pub(crate) answer: Option<Spread>,
}

impl RenewalsFigures {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let rate = fields(&[
            ("leases", self.leases.to_string()),
            ("leased at", format!("{:.0} jobs/s", self.leased_per_s)),
            ("renewed", format!("{:.0} leases/s", self.renewals_per_s)),
            ("messages", format!("{:.0} /s", self.messages_per_s)),
            ("told to stop", self.stopped.to_string()),
            ("told to ask again", self.later.to_string()),
        ]);
        let times = spreads(&[("renewal answered", self.answer)]);
        format!("{rate}\n\n{times}")
    }
}

/// Shared by the workers.
#[derive(Debug, Default)]
struct Counts {
    held: AtomicU64,
    kept: AtomicU64,
    stopped: AtomicU64,
    later: AtomicU64,
    messages: AtomicU64,
    begin: CancellationToken,
    end: CancellationToken,
}

pub(super) async fn run(bench: &Bench, arguments: &RenewalsArgs) -> anyhow::Result<Measured> {
    let run = bench.new_run();
    bench.progress.say("filling the queue");
    fill(bench, &run, arguments.leases).await?;
    bench.progress.say("leasing, then renewing");
    let counts = Arc::new(Counts::default());
    let hired = hire(bench, &run, &counts, arguments).await?;
    let (start, mut hands) = (now(), JoinSet::new());
    for hand in hired {
        hands.spawn(hand.run(bench.result()));
    }
    let leased_in = all_leased(&counts, arguments.leases, &mut hands, start).await?;
    let before = logged(&bench.target).await?;
    let window = window(bench, &counts, &mut hands, arguments.duration).await?;
    let after = logged(&bench.target).await?;
    let renewed = counts.kept.load(Ordering::Relaxed);
    counts.end.cancel();
    let mut times = Times::new();
    while let Some(ended) = hands.join_next().await {
        times.merge(&ended??);
    }
    if run.open() > 0 {
        bench
            .progress
            .say("working off the jobs whose leases were lost");
        work_off(bench, &run).await?;
    }
    let seconds = window.took.as_secs_f64().max(1e-9);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let figures = RenewalsFigures {
        leases: arguments.leases,
        leased_per_s: as_f64(arguments.leases) / leased_in.as_secs_f64().max(1e-9),
        renewals_per_s: window.rate(),
        messages_per_s: as_f64(count(&counts.messages)) / seconds,
        stopped: count(&counts.stopped),
        later: count(&counts.later),
        answer: times.spread(),
    };
    let figures = Figures::Renewals(figures);
    let cost = Cost {
        per: "renewal",
        ..Cost::of(&window, (&before, &after), renewed)
    };
    Measured::after(bench, &[&run], figures, cost).await
}

/// One worker for each connection, each with its share of the slots.
async fn hire(
    bench: &Bench,
    run: &Arc<Run>,
    counts: &Arc<Counts>,
    arguments: &RenewalsArgs,
) -> anyhow::Result<Vec<Hand>> {
    let (target, calls) = (&bench.target, bench.calls());
    let mut hired = Vec::new();
    for at in 0..arguments.connections {
        let slots = share(arguments.leases, arguments.connections, at);
        if slots == 0 {
            continue;
        }
        let worker = Worker::open(target.endpoint(at), target.queue(), session(), calls).await?;
        hired.push(Hand {
            worker,
            slots,
            run: Arc::clone(run),
            counts: Arc::clone(counts),
            held: Vec::new(),
        });
    }
    Ok(hired)
}

/// An even share; what is left over goes to the first.
fn share(leases: u64, connections: usize, at: usize) -> u64 {
    let (connections, at) = (connections as u64, at as u64);
    leases / connections + u64::from(at < leases % connections)
}

async fn all_leased(
    counts: &Counts,
    leases: u64,
    hands: &mut JoinSet<anyhow::Result<Times>>,
    start: Instant,
) -> anyhow::Result<Duration> {
    const LOOK_EVERY: Duration = Duration::from_millis(2);
    let all = async {
        while counts.held.load(Ordering::Relaxed) < leases {
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        biased;
        error = broken(hands) => Err(error),
        done = timeout(PATIENCE, all) => {
            let held = counts.held.load(Ordering::Relaxed);
            done.with_context(|| format!("only {held} of {leases} jobs were leased"))?;
            Ok(start.elapsed())
        }
    }
}

async fn window(
    bench: &Bench,
    counts: &Counts,
    hands: &mut JoinSet<anyhow::Result<Times>>,
    span: Duration,
) -> anyhow::Result<Window> {
    let (before, start) = (Reading::of(&bench.target), now());
    counts.begin.cancel();
    tokio::select! {
        biased;
        error = broken(hands) => return Err(error),
        () = sleep(span) => {}
    }
    Ok(Window {
        jobs: counts.kept.load(Ordering::Relaxed),
        took: start.elapsed(),
        before,
        after: Reading::of(&bench.target),
    })
}

/// Returns when a worker has ended before its time.
async fn broken(hands: &mut JoinSet<anyhow::Result<Times>>) -> anyhow::Error {
    match hands.join_next().await {
        Some(Ok(Ok(_))) | None => anyhow!("a worker ended before its time"),
        Some(Ok(Err(error))) => error,
        Some(Err(panicked)) => panicked.into(),
    }
}

/// A worker that holds its leases and does nothing else.
struct Hand {
    worker: Worker,
    slots: u64,
    run: Arc<Run>,
    counts: Arc<Counts>,
    held: Vec<v1::Assignment>,
}

impl Hand {
    async fn run(mut self, result: Bytes) -> anyhow::Result<Times> {
        self.fill_slots().await?;
        self.counts.begin.cancelled().await;
        let mut times = Times::new();
        let mut round = 0;
        while !self.counts.end.is_cancelled() {
            round += 1;
            let sent = now();
            self.worker.renew(self.renewals(round));
            let answers = self.answers().await?;
            times.add(sent.elapsed());
            self.counts.add(&answers);
        }
        self.finish(&result).await?;
        Ok(times)
    }

    async fn fill_slots(&mut self) -> anyhow::Result<()> {
        self.credit();
        while (self.held.len() as u64) < self.slots {
            if let Heard::Assigned(assignment) = self.worker.hear().await.context("leasing")? {
                self.run.delivered(&assignment);
                self.held.push(assignment);
                self.counts.held.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn credit(&mut self) {
        let free = self.slots - self.held.len() as u64;
        self.worker.credit(u32::try_from(free).unwrap_or(u32::MAX));
    }

    /// With progress: a lease that is renewed and gets nowhere would be ended as stalled.
    fn renewals(&self, round: u64) -> Vec<v1::Renewal> {
        let renewal = |assignment: &v1::Assignment| v1::Renewal {
            job_id: assignment.job_id.clone(),
            fence: assignment.fence.clone(),
            progress: round,
            phase: i32::from(v1::WorkPhase::Running),
        };
        self.held.iter().map(renewal).collect()
    }

    async fn answers(&mut self) -> anyhow::Result<Vec<v1::RenewalAnswer>> {
        let mut answers = Vec::new();
        while answers.len() < self.held.len() {
            if let Heard::Renewed(renewed) = self.worker.hear().await.context("renewing")? {
                answers.extend(renewed.answers);
            }
        }
        Ok(answers)
    }

    async fn finish(&mut self, result: &Bytes) -> anyhow::Result<()> {
        for assignment in &self.held {
            self.run.reporting(assignment);
            self.worker.complete(assignment, result.clone());
        }
        let mut answered = 0;
        let all = async {
            while answered < self.held.len() {
                if let Heard::Reported(reported) = self.worker.hear().await? {
                    self.run.reported(&reported);
                    answered += 1;
                }
            }
            anyhow::Ok(())
        };
        let done = timeout(PATIENCE, all).await;
        done.context("waiting for the last results to be acknowledged")?
    }
}

impl Counts {
    fn add(&self, answers: &[v1::RenewalAnswer]) {
        let (mut kept, mut stopped, mut later) = (0, 0, 0);
        for answer in answers {
            match answer.answer {
                Some(Answer::KeepMs(_)) => kept += 1,
                Some(Answer::Stop(_)) => stopped += 1,
                Some(Answer::Later(_)) | None => later += 1,
            }
        }
        self.kept.fetch_add(kept, Ordering::Relaxed);
        self.stopped.fetch_add(stopped, Ordering::Relaxed);
        self.later.fetch_add(later, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        let shares: Vec<u64> = (0..7).map(|at| share(17, 7, at)).collect();
        assert_eq!(shares, [3, 3, 3, 2, 2, 2, 2]);
        assert_eq!((0..4).map(|at| share(3, 4, at)).sum::<u64>(), 3);
    }

    #[test]
    fn answers_are_counted_by_what_they_say() {
        let answer = |answer| v1::RenewalAnswer {
            answer,
            ..v1::RenewalAnswer::default()
        };
        let counts = Counts::default();
        counts.add(&[
            answer(Some(Answer::KeepMs(1))),
            answer(Some(Answer::Stop(v1::Error::default()))),
            answer(None),
        ]);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let all = [
            &counts.kept,
            &counts.stopped,
            &counts.later,
            &counts.messages,
        ]
        .map(read);
        assert_eq!(all, [1, 1, 1, 1]);
    }
}
