//! What follows once an entry is applied, or has come to nothing.

use leasehold_consensus::ProposeError;
use leasehold_core::shard::{Applied, Batch};

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
