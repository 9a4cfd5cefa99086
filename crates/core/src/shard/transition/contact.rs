//! A sign of life of a leased job's worker is put down, so that the next leader knows of it.

use super::Applying;
use crate::shard::command::Contact;
use crate::shard::job::{JobState, Lease};
use crate::shard::outcome::{Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn contact(&mut self, contact: &Contact) -> Result<Outcome, Refusal> {
        self.state.held(contact.job, contact.fence)?;
        let now = self.state.head.stamp;
        self.state.amend(contact.job, |job| {
            if let JobState::Leased(lease) = &mut job.header.state {
                lease.contact = now;
                lease.rearms = 0;
                lease.left = lease.length;
                note_progress(lease, contact);
                lease.progressed_at = lease.progressed_at.min(now);
            }
        });
        Ok(Outcome::Contacted)
    }
}

/// Counters, phases and instants only rise: a contact that was overtaken by a newer one takes nothing back.
fn note_progress(lease: &mut Lease, contact: &Contact) {
    lease.progress = lease.progress.max(contact.progress);
    lease.progressed_at = lease.progressed_at.max(contact.progressed_at);
    lease.phase = lease.phase.max(contact.phase);
}
