//! A worker's own view of its session: which leases it holds, what it owes the cluster, and what it says next.
//!
//! Pure: it is given what happened and when, and is asked what to send, which handlers to start, and when to be woken.
//! The loop around it owns the connection and changes nothing here behind its back. What must hold:
//!
//! - nothing is started, and nothing runs on, past the local deadline of its lease;
//! - a finished lease is reported until it is answered, over any number of connections, under the same fence;
//! - a slot is free only once its handler has really returned, whatever became of the lease.

mod heard;
mod speak;
mod time;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use leasehold_api::convert::workers::Hello;
use leasehold_api::v1;
use leasehold_core::shard::command::WorkPhase;
use leasehold_types::limits;
use tokio::time::Instant;

use super::hands::{Finished, Start};
use super::lease::{Held, LeaseKey, Stage, Write};
use super::sent::SentLog;

/// Reports without an answer, above which no new job is asked for.
const REPORTS_MAX: usize = 1_024;
/// Leases remembered as over, so that a repeated assignment is no new one.
const OVER_MAX: usize = 1_024;
/// An idle worker asks this often whether its gateway is there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A gateway that says nothing to an idle worker for so long is left.
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// How long a stopping worker waits for its last answers, beyond the grace period.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// See the module's words.
#[derive(Debug)]
pub(super) struct Desk {
    me: Hello,
    slots: usize,
    grace: Duration,
    sent: SentLog,
    held: BTreeMap<LeaseKey, Held>,
    /// Handlers that have not returned, those of lost leases included.
    busy: BTreeSet<LeaseKey>,
    over: VecDeque<LeaseKey>,
    /// Assignments taken so far, for the order of waiting ones.
    arrivals: u64,
    /// Length of the last lease seen.
    last_lease: Option<Duration>,
    line: Option<Line>,
    leaving: Option<Leaving>,
    starts: Vec<Start>,
}

/// The connection, as far as the desk has to know.
#[derive(Debug)]
struct Line {
    opened_at: Instant,
    /// When the gateway last said anything on it.
    heard_at: Instant,
    next_ping: Instant,
    /// Assignments received on it.
    received: u64,
    /// Slots last offered on it and not taken since: what the gateway believes to be free.
    offered: Option<u32>,
    next_renewal: Instant,
    next_credit: Instant,
    said_leaving: bool,
    /// The gateway asked for another one.
    is_unwanted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    grace_until: Instant,
    ends_at: Instant,
}

impl Desk {
    pub(super) fn new(me: Hello, slots: u32, grace: Duration) -> Self {
        Self {
            me,
            slots: usize::try_from(slots).unwrap_or(usize::MAX),
            grace,
            sent: SentLog::default(),
            held: BTreeMap::new(),
            busy: BTreeSet::new(),
            over: VecDeque::new(),
            arrivals: 0,
            last_lease: None,
            line: None,
            leaving: None,
            starts: Vec::new(),
        }
    }

    /// The first message of a new connection: who this is, and every lease it still holds.
    pub(super) fn hello(&mut self, now: Instant) -> v1::WorkerMessage {
        let renewed = self.held.iter().filter(|(_, held)| held.renews());
        let renewals = renewed.map(|(key, held)| held.renewal(key));
        let hello = Hello {
            leases: renewals.take(limits::RENEWALS).collect(),
            ..self.me.clone()
        };
        v1::WorkerMessage {
            number: self.sent.number(now),
            body: Some(v1::worker_message::Body::Hello((&hello).into())),
        }
    }

    /// The gateway answered the hello. What is owed is said again here.
    pub(super) fn opened(&mut self, now: Instant) {
        self.line = Some(Line {
            opened_at: now,
            heard_at: now,
            next_ping: now + PING_EVERY,
            received: 0,
            offered: None,
            next_renewal: now + self.renewal_interval(),
            next_credit: now,
            said_leaving: false,
            is_unwanted: false,
        });
        for held in self.held.values_mut() {
            if let Stage::Reporting(report) = &mut held.stage {
                report.due = now;
            }
        }
    }

    pub(super) fn closed(&mut self) {
        self.line = None;
    }

    /// A handler returned, or was dropped.
    pub(super) fn finished(&mut self, finished: Finished, now: Instant) {
        let Finished { key, outcome } = finished;
        self.busy.remove(&key);
        if let Some(held) = self.held.get_mut(&key)
            && matches!(held.stage, Stage::Running)
        {
            held.report(Write::of(&key, outcome), now);
        }
        self.start_waiting(now);
    }

    /// Takes no new jobs, gives back those that wait, and lets those that run end within the grace period.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        let grace_until = now + self.grace;
        self.leaving = Some(Leaving {
            grace_until,
            ends_at: grace_until + LAST_ANSWERS,
        });
        for (key, held) in &mut self.held {
            if matches!(held.stage, Stage::Waiting { .. }) {
                held.report(Write::released(key, "the worker is stopping"), now);
            }
        }
    }

    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether a leaving worker has nothing left to do, or no time left to do it.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        let is_idle = self.held.is_empty() && self.busy.is_empty();
        self.leaving
            .is_some_and(|leaving| is_idle || now >= leaving.ends_at)
    }

    /// Reports that nobody has answered.
    pub(super) fn unanswered(&self) -> usize {
        let reports = self.held.values();
        reports
            .filter(|held| matches!(held.stage, Stage::Reporting(_)))
            .count()
    }

    /// Handlers to start now.
    pub(super) fn starts(&mut self) -> Vec<Start> {
        std::mem::take(&mut self.starts)
    }

    /// Slots that no handler and no waiting job takes.
    fn free(&self) -> u32 {
        if self.leaving.is_some() || self.unanswered() >= REPORTS_MAX {
            return 0;
        }
        let taken = self.busy.len() + self.waiting();
        u32::try_from(self.slots.saturating_sub(taken)).unwrap_or(u32::MAX)
    }

    fn waiting(&self) -> usize {
        let held = self.held.values();
        held.filter(|held| matches!(held.stage, Stage::Waiting { .. }))
            .count()
    }

    /// Starts what waits, in the order it came, as far as slots are free and leases can be believed in.
    fn start_waiting(&mut self, now: Instant) {
        while self.busy.len() < self.slots && self.leaving.is_none() {
            let Some(key) = self.next_waiting(now) else {
                return;
            };
            self.start(key);
        }
    }

    fn next_waiting(&self, now: Instant) -> Option<LeaseKey> {
        let order = |(key, held): (&LeaseKey, &Held)| match held.stage {
            Stage::Waiting { order, .. } if now < held.deadline => Some((order, *key)),
            Stage::Waiting { .. } | Stage::Running | Stage::Reporting(_) => None,
        };
        self.held.iter().filter_map(order).min().map(|(_, key)| key)
    }

    fn start(&mut self, key: LeaseKey) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        let stage = std::mem::replace(&mut held.stage, Stage::Running);
        let Stage::Waiting { job, .. } = stage else {
            held.stage = stage;
            return;
        };
        held.vitals.enter(WorkPhase::Running);
        self.busy.insert(key);
        self.starts.push(Start {
            job: *job,
            vitals: Arc::clone(&held.vitals),
        });
    }

    /// The lease is over, one way or another.
    fn forget(&mut self, key: &LeaseKey) {
        self.held.remove(key);
        self.over.push_back(*key);
        if self.over.len() > OVER_MAX {
            self.over.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
