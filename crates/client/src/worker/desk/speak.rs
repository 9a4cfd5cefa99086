//! What the worker says next.

use std::time::Duration;

use leasehold_api::v1;
use leasehold_types::limits;
use tokio::time::Instant;
use v1::worker_message::Body;

use super::super::lease::Stage;
use super::{Desk, PING_EVERY};

/// Room that is left for what is not a report: leaving, credit, and renewals in a few messages.
const RESERVE: usize = 8;
/// A write without an answer is said again after this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Credit is said again at most this often and at least this often: a leader counts a new lease from the last message
/// that it saw.
const CREDIT_EVERY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Before any lease was seen: often enough for the shortest there is.
const CREDIT_FIRST: Duration = Duration::from_secs(1);

impl Desk {
    /// Messages that are due, at most `room` of them, in the order to send them. Empty without a connection.
    pub(in super::super) fn outgoing(
        &mut self,
        now: Instant,
        room: usize,
    ) -> Vec<v1::WorkerMessage> {
        if self.line.is_none() || room < RESERVE {
            return Vec::new();
        }
        let mut bodies = Vec::new();
        bodies.extend(self.say_leaving());
        self.renew(now, &mut bodies);
        bodies.extend(self.ping(now));
        bodies.extend(self.credit(now));
        self.report(now, room - RESERVE, &mut bodies);
        let message = |body| v1::WorkerMessage {
            number: self.sent.number(now),
            body: Some(body),
        };
        bodies.into_iter().map(message).collect()
    }

    fn say_leaving(&mut self) -> Option<Body> {
        let line = self.line.as_mut()?;
        if self.leaving.is_none() || line.said_leaving {
            return None;
        }
        line.said_leaving = true;
        Some(Body::Leaving(v1::WorkerLeaving {}))
    }

    fn renew(&mut self, now: Instant, bodies: &mut Vec<Body>) {
        let interval = self.renewal_interval();
        let Some(line) = self.line.as_mut().filter(|line| now >= line.next_renewal) else {
            return;
        };
        line.next_renewal = now + interval;
        let renewed = self.held.iter().filter(|(_, held)| held.renews());
        let renewals: Vec<v1::Renewal> = renewed
            .map(|(key, held)| (&held.renewal(key)).into())
            .collect();
        bodies.extend(renewals.chunks(limits::RENEWALS).map(|chunk| {
            Body::Renew(v1::RenewRequest {
                session: String::new(),
                renewals: chunk.to_vec(),
            })
        }));
    }

    /// A renewal of nothing, which is answered like any other: an idle worker goes by answers, too.
    fn ping(&mut self, now: Instant) -> Option<Body> {
        let is_idle = self.is_idle();
        let line = self.line.as_mut()?;
        if !is_idle || now < line.next_ping {
            return None;
        }
        line.next_ping = now + PING_EVERY;
        Some(Body::Renew(v1::RenewRequest::default()))
    }

    /// The slots that are free: at once when there are more than was last said, else now and then.
    fn credit(&mut self, now: Instant) -> Option<Body> {
        let free = self.free();
        let interval = self.credit_interval();
        let line = self.line.as_mut()?;
        let is_more = line.offered.is_none_or(|offered| free > offered);
        if self.leaving.is_some() || !(is_more || now >= line.next_credit) {
            return None;
        }
        line.offered = Some(free);
        line.next_credit = now + interval;
        let received = line.received;
        Some(Body::Credit(v1::WorkerCredit {
            free,
            received,
            ..v1::WorkerCredit::default()
        }))
    }

    fn report(&mut self, now: Instant, room: usize, bodies: &mut Vec<Body>) {
        let reports = self
            .held
            .values_mut()
            .filter_map(|held| match &mut held.stage {
                Stage::Reporting(report) if now >= report.due => Some(report),
                Stage::Reporting(_) | Stage::Waiting { .. } | Stage::Running => None,
            });
        for report in reports.take(room) {
            report.due = now + ANSWER_WITHIN;
            bodies.push(report.write.body());
        }
    }

    fn credit_interval(&self) -> Duration {
        let (least, most) = CREDIT_EVERY;
        let of_lease = self
            .last_lease
            .map(super::super::deadline::renewal_interval);
        of_lease.map_or(CREDIT_FIRST, |interval| interval.clamp(least, most))
    }
}
