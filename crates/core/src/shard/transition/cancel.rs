//! A job is ended at its owner's wish, whoever has it.

use leasehold_types::limits;

use super::{Applying, cut};
use crate::shard::command::Cancel;
use crate::shard::job::{AttemptEnd, JobState};
use crate::shard::outcome::{Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn cancel(&mut self, cancel: &Cancel) -> Result<Outcome, Refusal> {
        let header = &self.state.known(cancel.job)?.header;
        match &header.state {
            JobState::Cancelled { .. } => Ok(Outcome::Cancelled { repeated: true }),
            JobState::Waiting { .. } | JobState::Ready | JobState::Leased(_) => {
                self.end_by_owner(cancel);
                Ok(Outcome::Cancelled { repeated: false })
            }
            JobState::Done(_) | JobState::Dead { .. } => Err(Refusal::WrongState {
                job: cancel.job,
                state: header.state.name(),
                wanted: "only a job that has not ended can be cancelled",
            }),
        }
    }

    fn end_by_owner(&mut self, cancel: &Cancel) {
        let at = self.state.head.stamp;
        let reason = cut(&cancel.reason, limits::REASON_BYTES).into();
        self.record(cancel.job, AttemptEnd::Cancelled);
        let cancelled = JobState::Cancelled { reason, at };
        self.state.restate(cancel.job, cancelled, &mut self.changes);
    }
}
