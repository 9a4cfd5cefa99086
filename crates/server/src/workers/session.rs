//! One worker's session at this gateway.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leasehold_api::convert::workers::Hello;
use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body;
use leasehold_api::v1::write_answer::Answer;
use leasehold_core::lending::{Arrival, Lending, Pace};
use leasehold_types::{
    ErrorCode, NodeId, QueueName, RegionName, SessionId, ShardEpoch, ShardId, Timestamp,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::outlet::Outlet;
use super::unary::Inbox;

/// Renewals of one session that may be under way to leaders at once.
const RENEWALS_UNDER_WAY: usize = 64;

/// How the worker is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One stream for everything.
    Stream,
    /// A call at a time; the session stands between calls for a while.
    Unary,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The worker closed its connection, or lost it.
    Disconnected,
    /// The worker said nothing for too long.
    Silent,
    /// The worker left too much unread.
    Unread,
    /// The same session was opened again here.
    Replaced,
    /// The worker broke the protocol, and was told how.
    Misspoke,
    /// The node is stopping.
    Stopping,
}

/// What became of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    /// On its way to the worker.
    Over,
    /// No slot is free for it.
    Back,
    /// The session has ended.
    Unknown,
}

/// One worker's session. Shared by its connection, its tender and whoever delivers.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) kind: Kind,
    pub(super) queues: Vec<QueueName>,
    pub(super) outlet: Outlet,
    /// Where the calls of a unary session find what it was handed.
    pub(super) inbox: Option<Inbox>,
    /// An answer that ends a lease gives its slot back.
    slots_return: bool,
    /// What every offer of the session has in common.
    offer: v1::WorkerOffer,
    state: Mutex<State>,
    /// Something changed that the tender should look at.
    pub(super) wake: Notify,
    /// The session is over.
    pub(super) ended: CancellationToken,
    pub(super) renewals: Arc<Semaphore>,
}

#[derive(Debug)]
struct State {
    lending: Lending,
    end: Option<End>,
}

/// Who a session is of, as its gateway knows it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) hello: Hello,
    pub(super) region: RegionName,
    pub(super) gateway: NodeId,
    pub(super) kind: Kind,
}

impl Session {
    pub(super) fn new(
        identity: Identity,
        (outlet, inbox): (Outlet, Option<Inbox>),
        pace: Pace,
        now: Timestamp,
    ) -> Self {
        let hello = identity.hello;
        // The low bits are as random as the worker made them: enough to spread idle sessions.
        let spread = u64::try_from(hello.session.get() & u128::from(u64::MAX)).unwrap_or(0);
        let lending = Lending::new(hello.queues.clone(), pace, spread, now);
        Self {
            id: hello.session,
            kind: identity.kind,
            slots_return: hello.slots_return,
            offer: v1::WorkerOffer {
                session: hello.session.to_string(),
                worker: hello.worker.to_string(),
                region: identity.region.to_string(),
                gateway: identity.gateway.get(),
                queues: hello.queues.iter().map(ToString::to_string).collect(),
                supply: Some((&hello.supply).into()),
                ..v1::WorkerOffer::default()
            },
            queues: hello.queues,
            outlet,
            inbox,
            state: Mutex::new(State { lending, end: None }),
            wake: Notify::new(),
            ended: CancellationToken::new(),
            renewals: Arc::new(Semaphore::new(RENEWALS_UNDER_WAY)),
        }
    }

    /// Changes the lending and has the tender look at it.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Lending) -> R) -> R {
        let result = self.lending(change);
        self.wake.notify_one();
        result
    }

    /// Looks at the lending. For the tender, which looks by itself afterwards.
    pub(super) fn lending<R>(&self, look: impl FnOnce(&mut Lending) -> R) -> R {
        look(&mut self.state().lending)
    }

    /// A grant has come: it goes to the worker if a slot is free for it.
    ///
    /// SUBTLE: taking the slot and queueing the message are one step under the lock. A unary call that ends sets its
    /// free slots to none under the same lock and then empties the queue, so that nothing is left in it.
    pub(super) fn hand_over(
        &self,
        (shard, epoch): (ShardId, ShardEpoch),
        grant: u64,
        assignment: v1::Assignment,
        now: Timestamp,
    ) -> Handed {
        let mut state = self.state();
        if state.end.is_some() {
            return Handed::Unknown;
        }
        let handed = match state.lending.arrived(shard, epoch, grant, now) {
            Arrival::NoSlot => Handed::Back,
            Arrival::Taken if self.outlet.send(Body::Assignment(assignment)).is_ok() => {
                Handed::Over
            }
            Arrival::Taken => {
                state.end = Some(End::Unread);
                self.ended.cancel();
                Handed::Unknown
            }
        };
        drop(state);
        self.wake.notify_one();
        handed
    }

    /// Sends the worker something; a worker that does not read is cut off.
    pub(super) fn send(&self, body: Body) {
        if self.outlet.send(body).is_err() {
            self.end(End::Unread);
        }
    }

    /// Tells the worker what became of its write. Where slots return, its slot is free once it has been told, and not
    /// before: an assignment in its place must come behind the answer.
    pub(super) fn answer(&self, mut answer: v1::WriteAnswer) {
        answer.slot_back = self.slots_return && ends_lease(&answer);
        let gives_back = answer.slot_back;
        self.send(Body::Write(answer));
        if gives_back {
            self.change(Lending::give_back);
        }
    }

    /// Ends the session: it is handed nothing more. The first reason stands.
    pub(super) fn end(&self, why: End) {
        self.state().end.get_or_insert(why);
        self.ended.cancel();
    }

    /// Why it ended.
    pub(super) fn why_ended(&self) -> Option<End> {
        self.state().end
    }

    /// The session's offer, with these numbers put in by the caller.
    pub(super) fn offer(&self) -> v1::WorkerOffer {
        self.offer.clone()
    }

    pub(super) fn serves(&self, queue: &QueueName) -> bool {
        self.queues.contains(queue)
    }

    /// Whether a call that names itself so is of this very worker.
    pub(super) fn is_of(&self, identity: &Identity) -> bool {
        let hello = &identity.hello;
        let same_kind = self.kind == identity.kind && self.queues == hello.queues;
        same_kind
            && self.offer.worker == hello.worker.as_str()
            && self.offer.supply == Some((&hello.supply).into())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the lease that a write was made under is certainly over: the write was carried out, or came too late.
fn ends_lease(answer: &v1::WriteAnswer) -> bool {
    match &answer.answer {
        Some(Answer::Completed(_) | Answer::Failed(_) | Answer::Released(_)) => true,
        Some(Answer::Error(error)) => {
            ErrorCode::from_name(&error.code).is_some_and(ErrorCode::ends_a_lease)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::outlet;
    use leasehold_api::ApiError;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(1);
    const FROM: (ShardId, ShardEpoch) = (ShardId::new(1), ShardEpoch::new(1));

    fn session(outlet: Outlet) -> Session {
        let hello = Hello::try_from(v1::WorkerHello {
            session: SessionId::from_random(7).to_string(),
            worker: "gpu-1".to_owned(),
            queues: vec!["chat".to_owned()],
            slots_return: true,
            ..v1::WorkerHello::default()
        });
        let identity = Identity {
            hello: hello.unwrap(),
            region: RegionName::new("eu").unwrap(),
            gateway: NodeId::new(1),
            kind: Kind::Stream,
        };
        let pace = Pace::of_lease(Duration::from_secs(30));
        Session::new(identity, (outlet, None), pace, NOW)
    }

    fn handed(session: &Session, grant: u64) -> Handed {
        session.hand_over(FROM, grant, v1::Assignment::default(), NOW)
    }

    #[test]
    fn grant_reaches_the_worker_or_goes_back_or_is_unknown() {
        let (outlet, mut worker) = outlet::channel();
        let session = session(outlet);
        assert_eq!(handed(&session, 1), Handed::Back, "nothing is free");
        session.change(|lending| lending.credit(1, 0, 0));
        assert_eq!(handed(&session, 2), Handed::Over);
        assert!(worker.try_recv().is_ok());
        assert_eq!(handed(&session, 3), Handed::Back, "the slot is taken");
        session.end(End::Disconnected);
        assert_eq!(handed(&session, 4), Handed::Unknown);
        assert!(worker.try_recv().is_err());
    }

    fn answered(answer: Answer) -> v1::WriteAnswer {
        v1::WriteAnswer {
            answer: Some(answer),
            ..v1::WriteAnswer::default()
        }
    }

    #[test]
    fn slot_comes_back_with_the_answer_that_ends_its_lease_and_with_no_other() {
        let (outlet, mut worker) = outlet::channel();
        let session = session(outlet);
        session.change(|lending| lending.credit(1, 0, 0));
        assert_eq!(handed(&session, 1), Handed::Over);
        let later = Answer::Error(ApiError::unavailable("later").into());
        session.answer(answered(later));
        assert_eq!(handed(&session, 2), Handed::Back, "it works on");
        session.answer(answered(Answer::Completed(v1::CompleteResponse::default())));
        assert_eq!(handed(&session, 3), Handed::Over);
        let mut said = Vec::new();
        while let Ok(Ok(message)) = worker.try_recv() {
            said.extend(message.body);
        }
        let back: Vec<Option<bool>> = said
            .iter()
            .map(|body| {
                let Body::Write(answer) = body else {
                    return None;
                };
                Some(answer.slot_back)
            })
            .collect();
        assert_eq!(back, [None, Some(false), Some(true), None]);
    }

    #[test]
    fn worker_that_is_gone_ends_its_session_with_the_first_grant() {
        let (outlet, worker) = outlet::channel();
        let session = session(outlet);
        session.change(|lending| lending.credit(1, 0, 0));
        drop(worker);
        assert_eq!(handed(&session, 1), Handed::Unknown);
        assert!(session.ended.is_cancelled());
    }

    #[test]
    fn first_reason_for_an_end_stands() {
        let session = session(outlet::channel().0);
        session.end(End::Silent);
        session.end(End::Disconnected);
        assert_eq!(session.why_ended(), Some(End::Silent));
    }
}
