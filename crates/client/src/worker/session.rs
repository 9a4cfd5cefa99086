//! The loop around the desk: it owns the connection and the time, and decides nothing about jobs.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_api::ApiError;
use leasehold_core::policy::BackoffPolicy;
use leasehold_core::retry;
use leasehold_types::ErrorCode;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::hands::{Finished, Start};
use super::line::{Line, LineEvent, Open};
use crate::address::Address;
use crate::clock::now;
use crate::connect::SharedConnector;
use crate::endpoints::Endpoints;
use crate::entropy::Entropy;

/// Waits before dials, after the first: growing from round to round through the endpoints, short within a round, so
/// that a worker whose gateway is gone soon finds the one that is not.
const BACKOFF: BackoffPolicy = BackoffPolicy {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};
/// A line that held for so long was a good one: the next dial waits only for the shortest jitter, which is there so
/// that the workers of a gateway that is gone do not all arrive at the next one at once.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// When the line takes no more, it is tried again after this.
const BLOCKED_FOR: Duration = Duration::from_millis(50);
/// Events taken before the desk is asked again what to say.
const BURST: usize = 256;

/// The session of one worker.
pub(super) struct Session {
    pub(super) desk: Desk,
    pub(super) endpoints: Endpoints,
    pub(super) connector: SharedConnector,
    pub(super) entropy: Entropy,
    /// To the hands.
    pub(super) starts: mpsc::UnboundedSender<Start>,
    /// From the hands.
    pub(super) finished: mpsc::UnboundedReceiver<Finished>,
    /// The worker is to stop gracefully.
    pub(super) shutdown: CancellationToken,
    /// Nobody waits for the worker any more.
    pub(super) abandoned: CancellationToken,
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Stopped; so many reports were left without an answer.
    Stopped { unanswered: usize },
    /// The cluster does not take such a worker.
    Refused(ApiError),
}

/// The dials so far.
#[derive(Debug, Default)]
struct Dials {
    /// Rounds since the last good line, through all endpoints without finding one.
    rounds: u32,
    /// Endpoints tried in this round.
    tried: BTreeSet<Address>,
    /// Whether any was made.
    any: bool,
    /// When the line was opened, while it is open.
    opened_at: Option<Instant>,
    /// Whether any line was ever opened.
    ever_opened: bool,
}

impl Session {
    pub(super) async fn run(mut self) -> Ended {
        let mut dials = Dials::default();
        let mut line = self.dial(&mut dials);
        loop {
            self.speak(&mut line, &mut dials);
            if self.desk.is_done(now()) {
                break;
            }
            let wakeup = self.wakeup(&line);
            tokio::select! {
                biased;
                () = self.abandoned.cancelled() => break,
                () = self.shutdown.cancelled(), if !self.desk.is_leaving() => self.desk.leave(now()),
                Some(finished) = self.finished.recv() => self.finished(finished),
                event = line.event() => {
                    if let Err(refused) = self.happened(event, &mut line, &mut dials) {
                        return Ended::Refused(refused);
                    }
                }
                () = tokio::time::sleep_until(wakeup) => {}
            }
            self.desk.pass(now());
        }
        Ended::Stopped {
            unanswered: self.desk.unanswered(),
        }
    }

    /// Does what the desk asks for.
    fn speak(&mut self, line: &mut Line, dials: &mut Dials) {
        if self.desk.wants_another_line(now()) {
            tracing::info!(endpoint = %line.address(), "leaving this gateway for another");
            self.lost(line, dials);
        }
        for message in self.desk.outgoing(now(), line.room()) {
            line.send(message);
        }
        for start in self.desk.starts() {
            // Hands that are gone were dropped together with the worker: `abandoned` ends the loop.
            let _ = self.starts.send(start);
        }
    }

    fn wakeup(&self, line: &Line) -> Instant {
        const IDLE: Duration = Duration::from_secs(3600);
        let now = now();
        let wakeup = self.desk.wakeup().unwrap_or(now + IDLE);
        match line {
            // What is due could not be said: the line is full.
            Line::Open(..) if wakeup <= now => now + BLOCKED_FOR,
            Line::Open(..) | Line::Dialling(..) | Line::Opening(..) => wakeup,
        }
    }

    fn finished(&mut self, finished: Finished) {
        self.desk.finished(finished, now());
        for _ in 0..BURST {
            match self.finished.try_recv() {
                Ok(finished) => self.desk.finished(finished, now()),
                Err(_) => return,
            }
        }
    }

    /// Takes an event, and those that are there already.
    fn happened(
        &mut self,
        event: LineEvent,
        line: &mut Line,
        dials: &mut Dials,
    ) -> Result<(), ApiError> {
        self.take(event, line, dials)?;
        for _ in 0..BURST {
            match line.ready() {
                Some(event) => self.take(event, line, dials)?,
                None => break,
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        event: LineEvent,
        line: &mut Line,
        dials: &mut Dials,
    ) -> Result<(), ApiError> {
        match event {
            LineEvent::Dialled(channel) => {
                let hello = self.desk.hello(now());
                *line = Line::open(line.address().clone(), channel, hello);
            }
            LineEvent::Opened(open) => self.opened(open, line, dials),
            LineEvent::Heard(message) => {
                self.desk.heard(*message, now(), self.entropy.draw());
            }
            LineEvent::Lost(error) => {
                if !dials.ever_opened && is_for_good(error.code) {
                    return Err(error);
                }
                tracing::warn!(endpoint = %line.address(), %error, "no session with this gateway");
                self.lost(line, dials);
            }
        }
        Ok(())
    }

    fn opened(&mut self, open: Box<Open>, line: &mut Line, dials: &mut Dials) {
        let address = line.address().clone();
        let (region, node) = (&open.welcome.region, open.welcome.node_id);
        tracing::info!(endpoint = %address, %region, node_id = node, "session opened");
        let named = open.welcome.endpoints.iter();
        self.endpoints
            .learn(named.filter_map(|text| text.parse().ok()));
        self.endpoints.worked(&address);
        dials.opened_at = Some(now());
        dials.ever_opened = true;
        dials.tried.clear();
        self.desk.opened(now());
        *line = Line::Open(address, open);
    }

    fn lost(&mut self, line: &mut Line, dials: &mut Dials) {
        self.desk.closed();
        self.endpoints.failed(line.address(), now());
        let opened_at = dials.opened_at.take();
        match opened_at {
            Some(at) if now() >= at + GOOD_AFTER => dials.rounds = 0,
            // A gateway that opens sessions and drops them is as good as none.
            Some(_) => dials.rounds = dials.rounds.saturating_add(1),
            None => {}
        }
        *line = self.dial(dials);
    }

    fn dial(&self, dials: &mut Dials) -> Line {
        let address = self.next_endpoint(dials);
        dials.tried.insert(address.clone());
        let wait = match dials.any {
            false => Duration::ZERO,
            true => retry::backoff(
                &BACKOFF,
                dials.rounds.saturating_add(1),
                self.entropy.draw(),
            ),
        };
        dials.any = true;
        Line::dial(address, self.connector.clone(), wait)
    }

    fn next_endpoint(&self, dials: &mut Dials) -> Address {
        let next = self.endpoints.pick(&dials.tried, now()).or_else(|| {
            dials.tried.clear();
            dials.rounds = dials.rounds.saturating_add(1);
            self.endpoints.pick(&dials.tried, now())
        });
        next.expect("a client has at least one endpoint, and none is ever removed")
    }
}

/// Whether a gateway's refusal of the first hello is about the worker itself. Later on nothing ends the session: there
/// may be results that wait for a gateway to take them.
const fn is_for_good(code: ErrorCode) -> bool {
    match code {
        ErrorCode::InvalidArgument | ErrorCode::PermissionDenied | ErrorCode::Unsupported => true,
        ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::StaleFence
        | ErrorCode::FailedPrecondition
        | ErrorCode::Conflict
        | ErrorCode::NotLeader
        | ErrorCode::Unavailable
        | ErrorCode::ResourceExhausted
        | ErrorCode::Unknown
        | ErrorCode::Internal => false,
    }
}
