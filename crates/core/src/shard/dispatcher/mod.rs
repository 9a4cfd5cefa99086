//! The leader's choices: who gets which job next, and when which lease ends.
//!
//! Only a leader has a dispatcher, from the moment its own `LeaderStart` is applied until it leads no more. It reads
//! the state and proposes commands; it changes nothing itself, and nothing of it is stored. `now` is the shard clock
//! throughout. The caller
//!
//! - calls [`Dispatcher::poll`] after every event (an offer, a batch settled, the gate opening, a verdict changing)
//!   and at [`Dispatcher::next_deadline`], and proposes what it gives under a stamp that is not before that `now`;
//! - calls [`Dispatcher::grant_eagerly`] on every batch right before it proposes it;
//! - hands every batch that this leadership proposed to [`Dispatcher::settle`], once, with what came of it, and
//!   sends the assignments that come back: a job leaves the leader only after its commit;
//! - sends the worker's offer again at least once a renewal interval, since credit of a worker that was silent for the
//!   longest lease among its queues is void.

mod eager;
mod fairness;
mod gateways;
mod granting;
mod in_flight;
mod leases;
mod matching;
mod message;
mod poll;
mod renewal;
mod resolving;
mod sessions;
mod settle;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_types::{FenceToken, JobId, NodeId, RegionName, SessionId, ShardEpoch, Timestamp};

use self::gateways::Gateways;
use self::in_flight::InFlight;
use self::leases::Leases;
use self::matching::Matching;
use self::sessions::{Session, Sessions};
use self::watch::Terms;
use super::command::WorkPhase;
use super::outcome::{Refusal, Stale};
use super::state::ShardState;

pub use message::{Assignment, Gate, Offer, Renewal, RenewalAnswer, StoredPayload};
pub use poll::Poll;

/// What a leader holds in memory. Made once for each leadership.
#[derive(Debug)]
pub struct Dispatcher {
    epoch: ShardEpoch,
    /// Shard clock at the takeover.
    started_at: Timestamp,
    sessions: Sessions,
    matching: Matching,
    leases: Leases,
    in_flight: InFlight,
    gateways: Gateways,
    /// The last poll left work behind because the batch was full.
    has_more: bool,
    /// When to compare the leases watched with those in the state.
    reconcile_at: Timestamp,
    /// Until when to compare them even if there are as many as there should be.
    distrust_until: Timestamp,
}

/// What the leader knows of a lease beyond the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveLease {
    /// The lease's fence.
    pub fence: FenceToken,
    /// The worker's progress counter, as last heard.
    pub progress: u64,
    /// What the worker was doing, as last heard.
    pub phase: WorkPhase,
}

/// Leases are counted against the state this often, in case a grant was applied whose outcome got lost.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Takes over: `state` has applied this leader's own `LeaderStart`. Every lease gets what the state says is left.
    #[must_use]
    pub fn new(state: &ShardState, now: Timestamp) -> Self {
        let mut dispatcher = Self {
            epoch: state.epoch(),
            started_at: now,
            sessions: Sessions::default(),
            matching: Matching::default(),
            leases: Leases::default(),
            in_flight: InFlight::default(),
            gateways: Gateways::default(),
            has_more: false,
            reconcile_at: now + RECONCILE_EVERY,
            distrust_until: Timestamp::ZERO,
        };
        for job in state.index.leased() {
            if let Some(lease) = state.lease(*job) {
                dispatcher.leases.watch(*job, lease, lease.left, now);
            }
        }
        dispatcher
    }

    /// Notes a worker's free slots, and says whether they count as lent. They do not, and nothing changes, when a newer
    /// offer of the session was heard, when the session is a new one beyond `limits::SESSIONS`, and while its gateway
    /// is put aside.
    pub fn offer(&mut self, offer: Offer, now: Timestamp) -> bool {
        if self.gateways.is_aside(offer.gateway, now) || !self.sessions.takes(&offer) {
            return false;
        }
        let id = offer.session;
        let before = self.sessions.get(id).map(|session| session.class);
        let class = self.matching.join(&offer);
        if before.is_some_and(|before| before != class) {
            self.dequeue(id);
        }
        let pending = self.in_flight.grants_to(id);
        self.sessions.put(offer, class, pending, now);
        if let Some(before) = before {
            self.matching.leave(before);
        }
        self.enqueue(id);
        true
    }

    /// Drops a worker that is gone: it is granted nothing more. Its leases run out by themselves.
    pub fn forget(&mut self, session: SessionId) {
        self.dequeue(session);
        if let Some(session) = self.sessions.remove(session) {
            self.matching.leave(session.class);
        }
    }

    /// A delivery to a gateway, sent at that time, did not arrive as far as anybody knows: its workers are dropped, and
    /// their offers are not taken for a while. Nothing happens if the gateway was put aside and tried again since.
    pub fn missed_gateway(&mut self, gateway: NodeId, sent_at: Timestamp, now: Timestamp) {
        if !self.gateways.missed(gateway, sent_at, now) {
            return;
        }
        for session in self.sessions.of_gateway(gateway) {
            self.forget(session);
        }
    }

    /// A delivery to a gateway arrived. Only one that [`is_doubted`](Self::is_doubted) need be told of.
    pub fn reached_gateway(&mut self, gateway: NodeId) {
        self.gateways.reached(gateway);
    }

    /// Whether a delivery to this gateway went astray and none arrived since.
    #[must_use]
    pub fn is_doubted(&self, gateway: NodeId) -> bool {
        self.gateways.is_doubted(gateway)
    }

    /// Whether a grant reached its worker is not known. The worker may be at it, so its lease runs on; but if nobody is
    /// heard of it by the end, the job goes back without a count against it.
    pub fn doubt_delivery(&mut self, job: JobId, fence: FenceToken) {
        self.leases.doubt(job, fence);
    }

    /// Refuses a worker's write that cannot count any more, before it costs a place in the log. What passes is decided
    /// by `apply`. A completion that repeats an accepted one passes, so that its answer can be given again.
    ///
    /// # Errors
    /// [`Refusal::StaleFence`] when a newer lease was granted, the lease has ended or is being ended, or the job has.
    pub fn check_fence(
        &self,
        state: &ShardState,
        job: JobId,
        fence: FenceToken,
    ) -> Result<(), Refusal> {
        match self.why_stale(state, job, fence) {
            Some(Stale::Done) if state.was_done_under(job, fence) => Ok(()),
            Some(why) => Err(Refusal::StaleFence {
                job,
                given: fence,
                why,
            }),
            None => Ok(()),
        }
    }

    fn why_stale(&self, state: &ShardState, job: JobId, fence: FenceToken) -> Option<Stale> {
        let is_ending = || self.leases.is_ending(job).then_some(Stale::Expiring);
        state.stale(job, fence).or_else(is_ending)
    }

    /// How far a leased job's worker has got, newer than the log knows it.
    #[must_use]
    pub fn live(&self, job: JobId) -> Option<LiveLease> {
        self.leases.get(job).map(|watch| LiveLease {
            fence: watch.fence,
            progress: watch.progress,
            phase: watch.phase,
        })
    }

    /// The leadership that this dispatcher serves.
    #[must_use]
    pub const fn epoch(&self) -> ShardEpoch {
        self.epoch
    }

    /// Worker sessions known.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Slots that could be given jobs now, over all sessions.
    #[must_use]
    pub fn free_slots(&self) -> u64 {
        let credits = self.sessions.iter().map(|s| u64::from(s.credit()));
        credits.sum()
    }

    /// Leases watched.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Leases watched, by the region of their workers.
    #[must_use]
    pub fn leases_by_region(&self) -> BTreeMap<RegionName, u64> {
        self.leases.by_region()
    }

    /// Grants of this leadership to a session, those proposed and not yet committed included; 0 for one not known.
    #[must_use]
    pub fn granted(&self, session: SessionId) -> u64 {
        self.sessions.get(session).map_or(0, Session::granted)
    }

    /// Ready jobs that this session could take and that nothing is proposed for: what this leader advertises to the
    /// gateway that has the session's slots to lend. Jobs that became ready since the last poll are not among them.
    #[must_use]
    pub fn backlog(&self, state: &ShardState, session: SessionId) -> u64 {
        let class = self.sessions.get(session).map(|session| session.class);
        let lanes = class.into_iter();
        let lanes = lanes.flat_map(|class| self.matching.lanes_with_work(class));
        let free = |lane| {
            let jobs = state.index.ready.jobs_in(lane);
            jobs.saturating_sub(self.in_flight.grants_from(lane))
        };
        lanes.map(free).sum()
    }

    /// When to poll again if nothing happens before; none when there is nothing to wait for.
    #[must_use]
    pub fn next_deadline(&self, state: &ShardState) -> Option<Timestamp> {
        if self.has_more || self.leases.has_endings() {
            return Some(state.stamp());
        }
        [
            self.leases.next_deadline(),
            self.in_flight.next_ripe(),
            self.sessions.next_check(),
            self.next_tick(state),
            self.next_purge(state),
            self.next_job_deadline(state),
            self.needs_reconciling(state).then_some(self.reconcile_at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// How often a session was looked at to be given a job.
    #[cfg(test)]
    pub(super) fn sessions_tried(&self) -> u64 {
        self.matching.dequeued()
    }

    /// Sessions that stand in queues for jobs.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.matching.queued()
    }

    /// Whether nothing is left of leases that have ended and of proposals whose outcome is known.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.leases.is_clear() && self.in_flight.is_clear()
    }

    fn enqueue(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id)
            && session.place.is_none()
            && session.credit() > 0
        {
            session.place = Some(self.matching.enqueue(session.class, id));
        }
    }

    fn dequeue(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id)
            && let Some(place) = session.place.take()
        {
            self.matching.withdraw(session.class, place);
        }
    }
}

/// The terms of a lease, if the fence is still the job's current one.
fn terms(state: &ShardState, job: JobId, fence: FenceToken) -> Option<Terms> {
    let (held, _) = state.held(job, fence).ok()?;
    state.policy(&held.header.queue).map(Terms::of)
}
