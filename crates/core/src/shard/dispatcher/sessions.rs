//! The workers that lend slots to this leader, and how many of them are still free.
//!
//! Credit is an absolute number that the worker counts, less the grants that it had not seen when it counted: so a
//! slot is never spent twice, whatever is late, lost or repeated on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold_types::{NodeId, RegionName, SessionId, Timestamp, WorkerName, limits};

use super::matching::{ClassId, Ticket};
use super::message::Offer;

/// One worker's session, as its newest message describes it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) worker: WorkerName,
    pub(super) region: RegionName,
    pub(super) gateway: NodeId,
    /// Which workers it is interchangeable with.
    pub(super) class: ClassId,
    free: u32,
    granted_seen: u64,
    /// Grants of this leadership to this session that were committed.
    made: u64,
    /// Grants that are proposed.
    pending: u32,
    /// Number of the newest message seen, whatever it was.
    pub(super) message: u64,
    /// Message and number of the newest offer.
    offered: (u64, u64),
    pub(super) heard_at: Timestamp,
    /// Its place in its class's queue for jobs, if it stands there.
    pub(super) place: Option<Ticket>,
    /// When it is looked at whether it fell silent.
    check_at: Timestamp,
}

impl Session {
    /// Slots that can still be given jobs.
    pub(super) fn credit(&self) -> u32 {
        let unseen = self.made.saturating_sub(self.granted_seen);
        let spent = unseen.saturating_add(u64::from(self.pending));
        let free = u64::from(self.free).saturating_sub(spent);
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// Grants of this leadership to this session, those proposed included.
    pub(super) fn granted(&self) -> u64 {
        self.made + u64::from(self.pending)
    }

    /// A slot is about to be given a job.
    pub(super) fn reserve(&mut self) {
        self.pending = self.pending.saturating_add(1);
    }

    /// What was reserved is resolved; a committed grant gets its number.
    pub(super) fn resolve(&mut self, is_granted: bool) -> u64 {
        self.pending = self.pending.saturating_sub(1);
        self.made += u64::from(is_granted);
        self.made
    }

    /// SUBTLE: a worker's messages are numbered over all its gateways, from 1; its offers by each gateway alone. Calls
    /// without a stream have no numbers, and their sessions may begin anew: there the last one counts.
    fn is_news(&self, offer: &Offer) -> bool {
        let (message, number) = self.offered;
        let is_same = offer.message == message && offer.gateway == self.gateway;
        if is_same && message > 0 {
            return offer.number >= number;
        }
        offer.message >= message
    }

    fn renew(&mut self, offer: Offer, class: ClassId, now: Timestamp) {
        self.worker = offer.worker;
        self.region = offer.region;
        self.gateway = offer.gateway;
        self.class = class;
        self.free = offer.free.min(limits::WORKER_CREDIT);
        self.granted_seen = offer.granted_seen;
        // A session that was forgotten and came back has seen grants that are no longer counted here.
        self.made = self.made.max(offer.granted_seen);
        self.message = self.message.max(offer.message);
        self.offered = (offer.message, offer.number);
        self.heard_at = now;
    }
}

/// All sessions of this leader.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    /// When to look whether a session fell silent; it may have been heard since.
    checks: BTreeSet<(Timestamp, SessionId)>,
}

/// A session that was silent for so long is forgotten. Its credit is void much sooner: after a lease.
const FORGET_AFTER: Duration = limits::LEASE_MAX;

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// Whether an offer says something new: it is not older than the newest, and there is room for it.
    pub(super) fn takes(&self, offer: &Offer) -> bool {
        match self.sessions.get(&offer.session) {
            Some(session) => session.is_news(offer),
            None => self.sessions.len() < limits::SESSIONS,
        }
    }

    /// Takes an offer in. `pending`: grants to the session that are proposed, in case it was forgotten meanwhile.
    pub(super) fn put(&mut self, offer: Offer, class: ClassId, pending: u32, now: Timestamp) {
        let id = offer.session;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.renew(offer, class, now);
            return;
        }
        let mut session = Session {
            worker: offer.worker.clone(),
            region: offer.region.clone(),
            gateway: offer.gateway,
            class,
            free: 0,
            granted_seen: 0,
            made: 0,
            pending,
            message: 0,
            offered: (0, 0),
            heard_at: now,
            place: None,
            check_at: now + FORGET_AFTER,
        };
        self.checks.insert((session.check_at, id));
        session.renew(offer, class, now);
        self.sessions.insert(id, session);
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.checks.remove(&(session.check_at, id));
        Some(session)
    }

    /// The sessions whose connection a node holds.
    pub(super) fn of_gateway(&self, gateway: NodeId) -> Vec<SessionId> {
        let of_gateway = |session: &Session| session.gateway == gateway;
        let sessions = self.sessions.iter();
        sessions
            .filter(|(_, session)| of_gateway(session))
            .map(|(id, _)| *id)
            .collect()
    }

    /// When to look for silent sessions next.
    pub(super) fn next_check(&self) -> Option<Timestamp> {
        self.checks.first().map(|(at, _)| *at)
    }

    /// The sessions that have been silent for too long to be kept.
    pub(super) fn silent(&mut self, now: Timestamp) -> Vec<SessionId> {
        let mut silent = Vec::new();
        while let Some((at, id)) = self.checks.first().copied()
            && at <= now
        {
            self.checks.pop_first();
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            match session.heard_at + FORGET_AFTER {
                until if until <= now => silent.push(id),
                until => {
                    session.check_at = until;
                    self.checks.insert((until, id));
                }
            }
        }
        silent
    }
}
