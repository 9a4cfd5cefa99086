//! What follows once an entry is applied, or has come to nothing.

use leasehold_consensus::ProposeError;
use leasehold_core::shard::dispatcher::Assignment;
use leasehold_core::shard::{Applied, Batch, Command, Outcome};

use super::{Ended, Landed, Leader};
use crate::shards::batcher::WriteError;
use crate::shards::effects::{count, effects};

impl Leader {
    /// Answers, sends and wakes; says if the leadership is over.
    pub(super) fn land(&mut self, landed: Landed) -> Option<Ended> {
        match landed.result {
            Ok(ref applied) => self.land_applied(&landed.batch, applied, &landed),
            Err(ref error) => self.land_failed(error, &landed),
        }
    }

    fn land_applied(&mut self, batch: &Batch, applied: &Applied, landed: &Landed) -> Option<Ended> {
        let now = self.now();
        let dispatcher = &mut self.dispatcher;
        let assignments = self
            .shared
            .look(|state| dispatcher.settle(state, batch, Ok(applied), now));
        let metrics = &self.shared.context.metrics;
        let took = now.since(landed.proposed_at);
        metrics.entry_applied(batch.commands.len(), landed.bytes, took);
        count(metrics, batch, applied);
        let effects = effects(batch, applied);
        self.stale_writes_refused += effects.stale;
        self.forget_lost_grants(batch, applied, &assignments);
        self.batcher
            .settle(&landed.origins, applied.outcomes.clone());
        for job in &effects.finished {
            self.shared.waiters.ended(*job);
        }
        if effects.dispatch {
            self.want_dispatch();
        }
        if effects.ready {
            self.expect_news();
        }
        if effects.policies {
            self.note_policies();
        }
        self.deliver(assignments, effects.stops);
        effects.superseded.then_some(Ended::Superseded)
    }

    /// SUBTLE: a grant that was applied and has no assignment any more (its job was cancelled meanwhile) is counted
    /// by the leader and never seen by the worker, which would cost that session a slot for the whole epoch. Its next
    /// offer starts the count anew.
    fn forget_lost_grants(&mut self, batch: &Batch, applied: &Applied, assignments: &[Assignment]) {
        let granted = batch.commands.iter().zip(&applied.outcomes);
        let granted = granted.filter_map(|(command, outcome)| match (command, outcome) {
            (Command::Grant(grant), Outcome::Granted(granted)) => Some((grant, granted.fence)),
            (_, _) => None,
        });
        let mut sent = assignments
            .iter()
            .map(|assignment| assignment.fence)
            .peekable();
        // Both are in the order of the batch.
        for (grant, fence) in granted {
            if sent.next_if_eq(&fence).is_none() {
                self.dispatcher.forget(grant.session);
            }
        }
    }

    fn land_failed(&mut self, error: &ProposeError, landed: &Landed) -> Option<Ended> {
        let now = self.now();
        let dispatcher = &mut self.dispatcher;
        let nothing = self
            .shared
            .look(|state| dispatcher.settle(state, &landed.batch, Err(()), now));
        debug_assert!(nothing.is_empty(), "what was not applied assigns nothing");
        self.policies.forget();
        self.want_dispatch();
        let (write, ended) = match error {
            ProposeError::NotLeader { .. } => (WriteError::NotLeader, Some(Ended::Lost)),
            ProposeError::Stopped => (WriteError::NotLeader, Some(Ended::Stopped)),
            ProposeError::LeaseLapsed => (WriteError::NoQuorum, None),
            ProposeError::Unknown => (WriteError::Unknown, None),
            ProposeError::TooLarge { bytes, limit } => {
                tracing::error!(bytes, limit, "gathered more than one entry may hold");
                (WriteError::NoQuorum, None)
            }
        };
        self.batcher.fail(&landed.origins, write);
        ended
    }
}
