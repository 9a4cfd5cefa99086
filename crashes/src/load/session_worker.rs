//! A worker over the session stream that misbehaves within its rights: it completes most jobs, twice with different
//! results now and then, and fails, releases, delays or forgets others. It keeps its session over crashes, says what it
//! still holds, and repeats results until they are answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body as Said;
use leasehold_api::v1::worker_message::Body;
use leasehold_api::v1::write_answer::Answer;
use leasehold_client::ErrorCode;
use leasehold_types::FenceToken;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::session_wire::Wire;
use super::{Common, queue};
use crate::clock::now;
use crate::content::{Variant, result};
use crate::history::{Accepted, Number, Shelf};

const SLOTS: usize = 256;
const TICK: Duration = Duration::from_millis(200);
/// A result without an answer is sent again after this.
const REPEAT: Duration = Duration::from_secs(2);

/// One lease, by job id and fence.
type LeaseKey = (String, String);

#[derive(Debug)]
struct Held {
    submit: Number,
    fence: FenceToken,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Renewed until its time has come.
    Working { until: Instant },
    /// Its result was sent.
    Sent { at: Instant },
    /// Its failure or release was sent.
    Leaving,
}

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Complete,
    CompleteTwice,
    Delay,
    Fail,
    Release,
    Forget,
}

struct Session {
    common: Common,
    rng: SmallRng,
    name: String,
    id: String,
    /// Of the last message sent.
    number: u64,
    /// Assignments received on this connection.
    received: u64,
    held: BTreeMap<LeaseKey, Held>,
    /// Results on their way, by the number of their message.
    sent: BTreeMap<u64, (Number, Accepted)>,
}

pub(super) async fn run(common: Common, seed: u64) {
    let mut session = Session::new(common, seed);
    while !session.common.stop.is_cancelled() {
        session.connect_and_work().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

impl Session {
    fn new(common: Common, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        Self {
            common,
            name: format!("session-{}", seed % 1_000),
            id: format!("w-{:032x}", rng.random::<u128>()),
            rng,
            number: 0,
            received: 0,
            held: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// One connection, until it breaks.
    async fn connect_and_work(&mut self) {
        let at = self.rng.random_range(0..self.common.endpoints.len());
        let address = self.common.endpoints[at].clone();
        self.number += 1;
        self.received = 0;
        self.sent.clear();
        let opened = Wire::open(&address, self.hello(), self.number);
        let opening = tokio::time::timeout(Duration::from_secs(2), opened).await;
        let Ok(Ok(mut wire)) = opening else {
            return;
        };
        let mut tick = tokio::time::interval(TICK);
        let stop = self.common.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                said = wire.hear() => match said {
                    Ok(said) => self.heard(&wire, said),
                    Err(_) => return,
                },
                _ = tick.tick() => self.tick(&wire),
            }
        }
    }

    fn hello(&self) -> v1::WorkerHello {
        v1::WorkerHello {
            session: self.id.clone(),
            worker: self.name.clone(),
            queues: [Shelf::Kept, Shelf::Brief]
                .map(|shelf| queue(shelf).to_owned())
                .into(),
            leases: self.held.keys().map(renewal).collect(),
            ..v1::WorkerHello::default()
        }
    }

    fn say(&mut self, wire: &Wire, body: Body) -> u64 {
        self.number += 1;
        wire.say(self.number, body);
        self.number
    }

    fn heard(&mut self, wire: &Wire, said: Said) {
        match said {
            Said::Assignment(assignment) => self.assigned(wire, &assignment),
            Said::Write(answer) => {
                self.answered(answer);
                // Credit is said in steps, not for each job.
                if self.held.len().is_multiple_of(64) {
                    self.offer(wire);
                }
            }
            Said::Renewed(renewed) => self.renewed(renewed),
            Said::Opened(_) => self.offer(wire),
            Said::Leaving(_) => {}
        }
    }

    fn assigned(&mut self, wire: &Wire, assignment: &v1::Assignment) {
        self.received += 1;
        let Some((submit, fence)) = self.common.assigned(assignment) else {
            return;
        };
        let key = (assignment.job_id.clone(), assignment.fence.clone());
        let fate = self.fate();
        if fate == Fate::Forget {
            return;
        }
        let until = now() + Duration::from_millis(self.rng.random_range(20..1_200));
        let stage = Stage::Working { until };
        self.held.insert(
            key.clone(),
            Held {
                submit,
                fence,
                stage,
            },
        );
        self.begin(wire, &key, fate);
    }

    fn fate(&mut self) -> Fate {
        if self.common.is_draining() {
            return Fate::Complete;
        }
        match self.rng.random_range(0..200) {
            0..=9 => Fate::Delay,
            10..=13 => Fate::Fail,
            14..=17 => Fate::Release,
            18 => Fate::Forget,
            19..=24 => Fate::CompleteTwice,
            _ => Fate::Complete,
        }
    }

    fn begin(&mut self, wire: &Wire, key: &LeaseKey, fate: Fate) {
        match fate {
            Fate::Complete => self.complete(wire, key, Variant::First),
            Fate::CompleteTwice => {
                self.complete(wire, key, Variant::First);
                self.complete(wire, key, Variant::Second);
            }
            Fate::Fail => self.leave(wire, key, Body::Fail(failure(key))),
            Fate::Release => self.leave(wire, key, Body::Release(release(key))),
            Fate::Delay | Fate::Forget => {}
        }
    }

    fn complete(&mut self, wire: &Wire, key: &LeaseKey, variant: Variant) {
        let Some(held) = self.held.get_mut(key) else {
            return;
        };
        held.stage = Stage::Sent { at: now() };
        let (submit, fence) = (held.submit, held.fence);
        self.common.ledger.history().worked(submit);
        let (job_id, fence_text) = key.clone();
        let number = self.say(
            wire,
            Body::Complete(v1::CompleteRequest {
                job_id,
                fence: fence_text,
                result: result(submit, fence, variant),
                ..v1::CompleteRequest::default()
            }),
        );
        self.sent
            .insert(number, (submit, Accepted { fence, variant }));
    }

    fn leave(&mut self, wire: &Wire, key: &LeaseKey, body: Body) {
        if let Some(held) = self.held.get_mut(key) {
            held.stage = Stage::Leaving;
        }
        self.say(wire, body);
    }

    fn answered(&mut self, answer: v1::WriteAnswer) {
        let key = (answer.job_id, answer.fence);
        let sent = self.sent.remove(&answer.number);
        match answer.answer {
            Some(Answer::Completed(_)) => {
                self.held.remove(&key);
                if let Some((submit, accepted)) = sent {
                    let checked = self.common.ledger.history().completed(submit, accepted);
                    self.common.ledger.check(checked);
                    self.common.ledger.publish();
                }
            }
            Some(Answer::Error(error)) if is_open(&error) => {}
            Some(Answer::Error(_) | Answer::Failed(_) | Answer::Released(_)) | None => {
                self.held.remove(&key);
            }
        }
    }

    fn renewed(&mut self, renewed: v1::RenewResponse) {
        for answer in renewed.answers {
            if let Some(v1::renewal_answer::Answer::Stop(_)) = answer.answer {
                self.held.remove(&(answer.job_id, answer.fence));
            }
        }
    }

    /// What time brings: renewals, results that are due, results without an answer, free slots.
    fn tick(&mut self, wire: &Wire) {
        let now = now();
        let is_due = |held: &Held| match held.stage {
            Stage::Working { until } => until <= now || self.common.is_draining(),
            Stage::Sent { at } => at + REPEAT <= now,
            Stage::Leaving => false,
        };
        let due = self.held.iter().filter(|(_, held)| is_due(held));
        let due: Vec<LeaseKey> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            self.complete(wire, &key, Variant::First);
        }
        let is_working = |held: &Held| matches!(held.stage, Stage::Working { .. });
        let working = self.held.iter().filter(|(_, held)| is_working(held));
        let renewals: Vec<v1::Renewal> = working.map(|(key, _)| renewal(key)).collect();
        if !renewals.is_empty() {
            let session = String::new();
            self.say(wire, Body::Renew(v1::RenewRequest { session, renewals }));
        }
        self.offer(wire);
    }

    fn offer(&mut self, wire: &Wire) {
        let free = SLOTS.saturating_sub(self.held.len());
        let free = u32::try_from(free).unwrap_or(0);
        let credit = v1::WorkerCredit {
            free,
            received: self.received,
            ..v1::WorkerCredit::default()
        };
        self.say(wire, Body::Credit(credit));
    }
}

fn renewal((job_id, fence): &LeaseKey) -> v1::Renewal {
    v1::Renewal {
        job_id: job_id.clone(),
        fence: fence.clone(),
        progress: 1,
        phase: v1::WorkPhase::Running as i32,
    }
}

fn failure((job_id, fence): &LeaseKey) -> v1::FailRequest {
    v1::FailRequest {
        job_id: job_id.clone(),
        fence: fence.clone(),
        class: v1::FailureClass::Transient as i32,
        message: "failed on purpose".to_owned(),
        ..v1::FailRequest::default()
    }
}

fn release((job_id, fence): &LeaseKey) -> v1::ReleaseRequest {
    v1::ReleaseRequest {
        job_id: job_id.clone(),
        fence: fence.clone(),
        reason: "released on purpose".to_owned(),
        ..v1::ReleaseRequest::default()
    }
}

/// Whether a refused write may have been done, or may be done when it is repeated.
fn is_open(error: &v1::Error) -> bool {
    ErrorCode::from_name(&error.code).is_some_and(ErrorCode::is_retryable)
}
