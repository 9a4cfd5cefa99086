//! What a leader does with each event.

use leasehold_core::shard::command::{Release, ReleaseCause};
use leasehold_core::shard::dispatcher::{Offer, Renewal, RenewalAnswer};
use leasehold_core::shard::{Command, Outcome, Refusal};
use leasehold_types::{FenceToken, JobId, NodeId, SessionId, limits};
use tokio::sync::mpsc;

use super::{EVENTS_AT_ONCE, Holder, Leader};
use crate::metrics::{ShardSample, WriteKind};
use crate::shards::effects::count_stale;
use crate::shards::mailbox::{Event, Fate, LeaderView, OfferTaken, Undelivered};

/// Why a grant that did not reach its worker goes back; shown in the job's history.
const NOT_DELIVERED: &str = "the grant did not reach its worker";

/// Sessions whose gateways are remembered without asking whether they are still there.
const SESSIONS_KEPT: usize = 1_024;

impl Leader {
    /// Takes in an event, and what else has come meanwhile.
    pub(super) fn take_in(&mut self, first: Event, mailbox: &mut mpsc::Receiver<Event>) {
        self.handle(first);
        for _ in 1..EVENTS_AT_ONCE {
            let Ok(event) = mailbox.try_recv() else {
                return;
            };
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Write { commands, reply } => {
                let checked = commands.into_iter().map(|command| self.check(command));
                let checked = checked.collect();
                self.batcher.push(checked, reply, self.now());
            }
            Event::Offer { offer, reply } => {
                let _may_have_left = reply.send(self.take_offer(*offer));
            }
            Event::Renew {
                session,
                renewals,
                message,
                reply,
            } => {
                let _may_have_left = reply.send(self.renew(session, &renewals, message));
            }
            Event::SessionEnded { session, gateway } => self.session_ended(session, gateway),
            Event::Undelivered(undelivered) => self.take_back(undelivered),
            Event::Reached(gateway) => self.dispatcher.reached_gateway(gateway),
            Event::Live { job, reply } => {
                let _may_have_left = reply.send(self.dispatcher.live(job));
            }
            Event::Look { reply } => {
                let _may_have_left = reply.send(self.view());
            }
        }
    }

    /// A write whose fence is stale is refused here, so that a burst of late results cannot flood the log.
    fn check(&mut self, command: Command) -> Result<Command, Outcome> {
        let Some((job, fence)) = fenced(&command) else {
            return Ok(command);
        };
        let dispatcher = &self.dispatcher;
        let checked = self
            .shared
            .look(|state| dispatcher.check_fence(state, job, fence));
        let Err(refusal) = checked else {
            return Ok(command);
        };
        if matches!(refusal, Refusal::StaleFence { .. }) {
            self.stale_writes_refused += 1;
            count_stale(&self.shared.context.metrics, &command);
        }
        Err(Outcome::Refused(refusal))
    }

    fn take_offer(&mut self, offer: Offer) -> OfferTaken {
        let (now, session) = (self.now(), offer.session);
        let node = offer.gateway;
        let heard_at = now;
        let is_taken = self.dispatcher.offer(offer, now);
        if is_taken {
            self.gateways.insert(session, Holder { node, heard_at });
            self.want_dispatch();
        }
        let dispatcher = &self.dispatcher;
        OfferTaken {
            epoch: self.epoch,
            is_taken,
            granted: dispatcher.granted(session),
            backlog: self.shared.look(|state| dispatcher.backlog(state, session)),
        }
    }

    fn renew(
        &mut self,
        session: SessionId,
        renewals: &[Renewal],
        message: u64,
    ) -> Vec<RenewalAnswer> {
        let (now, gate) = (self.now(), self.gate());
        let dispatcher = &mut self.dispatcher;
        let answers = self
            .shared
            .look(|state| dispatcher.renew(state, session, renewals, message, gate, now));
        for answer in &answers {
            match answer {
                RenewalAnswer::Stop { .. } => {
                    self.stale_writes_refused += 1;
                    let metrics = &self.shared.context.metrics;
                    metrics.stale_write_refused(WriteKind::Renew);
                }
                RenewalAnswer::Keep { .. } | RenewalAnswer::Later { .. } => {}
            }
        }
        answers
    }

    /// A worker that has come back through another gateway by now is not gone.
    fn session_ended(&mut self, session: SessionId, gateway: NodeId) {
        let holder = self.gateways.get(&session);
        if gateway == NodeId::default() || holder.is_none_or(|holder| holder.node == gateway) {
            self.forget(session);
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.gateways.remove(&session);
        self.dispatcher.forget(session);
        self.want_dispatch();
    }

    /// Deals with grants that did not arrive, or may not have. In each case the session lends nothing until it offers
    /// again: else a job that goes back would be granted to it once more, and one that is lost would cost it a slot. A
    /// gateway that gave no answer is put aside, with all its sessions.
    fn take_back(&mut self, undelivered: Vec<Undelivered>) {
        let now = self.now();
        for grant in undelivered {
            match grant.fate {
                Fate::SessionGone => {}
                Fate::NotSent | Fate::Doubtful => {
                    (self.dispatcher).missed_gateway(grant.gateway, grant.sent_at, now);
                }
            }
            self.session_ended(grant.session, grant.gateway);
            if grant.fate == Fate::Doubtful {
                self.dispatcher.doubt_delivery(grant.job, grant.fence);
                continue;
            }
            let release = Command::Release(Release {
                job: grant.job,
                fence: grant.fence,
                reason: NOT_DELIVERED.to_owned(),
                cause: ReleaseCause::Undelivered,
            });
            self.batcher.push_own(release, now);
        }
    }

    /// The dispatcher forgets sessions by itself. Here a gateway that went without a word would leave its own for ever.
    fn forget_silent(&mut self) {
        if self.gateways.len() <= 2 * self.dispatcher.sessions() + SESSIONS_KEPT {
            return;
        }
        let now = self.now();
        self.gateways
            .retain(|_, holder| now.since(holder.heard_at) < limits::LEASE_MAX);
    }

    fn view(&self) -> LeaderView {
        LeaderView {
            stats: self.shared.look(|state| state.stats()),
            sessions: self.dispatcher.sessions(),
            free_slots: self.dispatcher.free_slots(),
            stale_writes_refused: self.stale_writes_refused,
            leases_by_region: self.dispatcher.leases_by_region(),
        }
    }

    /// Once a second: tells the metrics how the shard stands, and gateways of work that nobody took.
    pub(super) fn look_around(&mut self) {
        self.forget_silent();
        let view = self.view();
        self.tell_news();
        let sample = ShardSample {
            stats: view.stats,
            leases_by_region: view.leases_by_region,
            sessions: view.sessions,
            free_slots: view.free_slots,
            waiting_commands: self.batcher.waiting(),
        };
        self.shared
            .context
            .metrics
            .sample_shard(self.shared.shard, sample);
    }
}

/// The lease that a worker's write is made under.
const fn fenced(command: &Command) -> Option<(JobId, FenceToken)> {
    match command {
        Command::Complete(write) => Some((write.job, write.fence)),
        Command::Fail(write) => Some((write.job, write.fence)),
        Command::Release(write) => Some((write.job, write.fence)),
        Command::LeaderStart(_)
        | Command::Submit(_)
        | Command::Grant(_)
        | Command::Contact(_)
        | Command::Expire(_)
        | Command::Cancel(_)
        | Command::Redrive(_)
        | Command::Discard(_)
        | Command::Purge(_)
        | Command::PutPolicy(_) => None,
    }
}
