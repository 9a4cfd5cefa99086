//! The rules of a worker's session, each on a desk of its own, with time as a number.

use super::super::failure::WorkError;
use super::super::hands::Outcome;
use super::*;
use crate::clock::now;
use bytes::Bytes;
use leasehold_api::ApiError;
use leasehold_api::convert::workers::RenewalReply;
use leasehold_core::requirement::Supply;
use leasehold_core::shard::command::FailureClass;
use leasehold_types::{
    Digest, ErrorCode, FenceToken, Incarnation, JobId, SessionId, ShardEpoch, VirtualShard,
};
use v1::gateway_message::Body as Said;
use v1::worker_message::Body;

const LEASE: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(20);
const ROOM: usize = 100;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn key(number: u8) -> LeaseKey {
    LeaseKey {
        job: JobId::new(VirtualShard::new(1), [number; 12]),
        fence: FenceToken::new(Incarnation::new(0), ShardEpoch::new(1), number.into()),
    }
}

/// A desk with a connection, its clock, and the number of its last message.
struct Scene {
    desk: Desk,
    now: Instant,
    last: u64,
}

impl Scene {
    fn with_slots(slots: u32) -> Self {
        let me = Hello {
            session: SessionId::from_random(1),
            worker: "gpu-1".parse().unwrap(),
            queues: vec!["chat".parse().unwrap()],
            supply: Supply::default(),
            leases: Vec::new(),
            region: None,
            slots_return: false,
        };
        let mut scene = Self {
            desk: Desk::new(me, slots, GRACE),
            now: now(),
            last: 0,
        };
        scene.connect();
        scene.says();
        scene
    }

    fn connect(&mut self) -> v1::WorkerHello {
        let hello = self.desk.hello(self.now);
        self.last = hello.number;
        self.desk.opened(self.now);
        match hello.body {
            Some(Body::Hello(hello)) => hello,
            other => panic!("no hello: {other:?}"),
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.desk.pass(self.now);
    }

    /// What the worker says now.
    fn says(&mut self) -> Vec<Body> {
        let said = self.desk.outgoing(self.now, ROOM);
        if let Some(last) = said.last() {
            self.last = last.number;
        }
        said.into_iter()
            .filter_map(|message| message.body)
            .collect()
    }

    fn hears(&mut self, body: Said) {
        let message = v1::GatewayMessage { body: Some(body) };
        self.desk.heard(message, self.now, u64::MAX);
    }

    /// A grant that counts from the worker's last message.
    fn is_granted(&mut self, number: u8) {
        self.is_granted_counting_from(number, self.last);
    }

    fn is_granted_counting_from(&mut self, number: u8, counted_from: u64) {
        self.hears(Said::Assignment(v1::Assignment {
            job_id: key(number).job.to_string(),
            queue: "chat".to_owned(),
            fence: key(number).fence.to_string(),
            attempt: 1,
            lease_ms: 30_000,
            attempt_limit_ms: 60_000,
            remaining_ms: 60_000,
            counted_from,
            ..v1::Assignment::default()
        }));
    }

    fn is_answered(&mut self, reply: RenewalReply, number: u64) {
        self.hears(Said::Renewed(v1::RenewResponse {
            answers: vec![reply.into()],
            number,
        }));
    }

    fn is_kept(&mut self, number: u8) {
        let LeaseKey { job, fence } = key(number);
        let lease = LEASE;
        self.is_answered(RenewalReply::Keep { job, fence, lease }, self.last);
    }

    fn is_stopped(&mut self, number: u8) {
        let LeaseKey { job, fence } = key(number);
        let error = ApiError::new(ErrorCode::StaleFence, "the job was cancelled");
        self.is_answered(RenewalReply::Stop { job, fence, error }, 0);
    }

    fn write_is_answered(&mut self, number: u8, answer: v1::write_answer::Answer) {
        self.hears(Said::Write(v1::WriteAnswer {
            job_id: key(number).job.to_string(),
            fence: key(number).fence.to_string(),
            number: self.last,
            answer: Some(answer),
            ..v1::WriteAnswer::default()
        }));
    }

    fn is_accepted(&mut self, number: u8) {
        let accepted = v1::CompleteResponse { repeated: false };
        self.write_is_answered(number, v1::write_answer::Answer::Completed(accepted));
    }

    fn is_refused(&mut self, number: u8, code: ErrorCode) {
        let error = ApiError::new(code, "no").into();
        self.write_is_answered(number, v1::write_answer::Answer::Error(error));
    }

    fn completes(&mut self, number: u8) {
        let outcome = Outcome::Completed {
            result: Bytes::from_static(b"done"),
            digest: Digest::new([0; 32]),
        };
        self.ends(number, outcome);
    }

    fn ends(&mut self, number: u8, outcome: Outcome) {
        let key = key(number);
        self.desk.finished(Finished { key, outcome }, self.now);
    }

    /// Jobs started since last asked, with the token of each.
    fn starts(&mut self) -> Vec<(JobId, bool)> {
        let starts = self.desk.starts().into_iter();
        starts
            .map(|start| (start.job.job, start.vitals.stopped().is_cancelled()))
            .collect()
    }

    fn is_running(&self, number: u8) -> bool {
        let held = self.desk.held.get(&key(number));
        held.is_some_and(|held| matches!(held.stage, Stage::Running))
    }

    /// A desk with one job running.
    fn at_work() -> Self {
        let mut scene = Self::with_slots(1);
        scene.is_granted(1);
        assert_eq!(scene.starts(), [(key(1).job, false)]);
        scene
    }
}

fn credits(said: &[Body]) -> Vec<(u32, u64)> {
    let mut credits = Vec::new();
    for body in said {
        if let Body::Credit(credit) = body {
            credits.push((credit.free, credit.received));
        }
    }
    credits
}

fn renewed(said: &[Body]) -> Vec<(String, i32)> {
    let mut renewed = Vec::new();
    for body in said {
        if let Body::Renew(renew) = body {
            let renewals = renew.renewals.iter();
            renewed.extend(renewals.map(|renewal| (renewal.job_id.clone(), renewal.phase)));
        }
    }
    renewed
}

fn failures(said: &[Body]) -> Vec<i32> {
    let mut classes = Vec::new();
    for body in said {
        if let Body::Fail(fail) = body {
            classes.push(fail.class);
        }
    }
    classes
}

fn results(said: &[Body]) -> usize {
    let results = said.iter().filter(|body| matches!(body, Body::Complete(_)));
    results.count()
}

fn releases(said: &[Body]) -> usize {
    let releases = said.iter().filter(|body| matches!(body, Body::Release(_)));
    releases.count()
}

mod connection;
mod leases;
mod leaving;
mod reports;
