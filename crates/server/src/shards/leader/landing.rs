//! What follows once an entry is applied, or has come to nothing.

use leasehold_consensus::ProposeError;
use leasehold_core::shard::Applied;
use leasehold_types::Timestamp;

use super::{Ended, Entry, Landed, Leader};
use crate::shards::batcher::WriteError;
use crate::shards::effects::{count, effects};

impl Leader {
    /// Answers, sends and wakes; says if the leadership is over.
    pub(super) fn land(&mut self, landed: Landed) -> Option<Ended> {
        let Landed { entry, result } = landed;
        match result {
            Ok(applied) => self.land_applied(&entry, applied),
            Err(error) => self.land_failed(&entry, &error),
        }
    }

    fn land_applied(&mut self, entry: &Entry, applied: Applied) -> Option<Ended> {
        let now = self.now();
        let (batch, dispatcher) = (&entry.batch, &mut self.dispatcher);
        let assignments = self
            .shared
            .look(|state| dispatcher.settle(state, batch, Ok(&applied), now));
        let effects = effects(batch, &applied);
        self.count_applied(entry, &applied, effects.stale, now);
        self.batcher.settle(&entry.origins, applied.outcomes);
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

    fn count_applied(&mut self, entry: &Entry, applied: &Applied, stale: u64, now: Timestamp) {
        let metrics = &self.shared.context.metrics;
        let took = now.since(entry.proposed_at);
        metrics.entry_applied(entry.batch.commands.len(), entry.bytes, took);
        count(metrics, &entry.batch, applied);
        self.stale_writes_refused += stale;
    }

    fn land_failed(&mut self, entry: &Entry, error: &ProposeError) -> Option<Ended> {
        let now = self.now();
        let dispatcher = &mut self.dispatcher;
        let nothing = self
            .shared
            .look(|state| dispatcher.settle(state, &entry.batch, Err(()), now));
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
        self.batcher.fail(&entry.origins, write);
        ended
    }
}
