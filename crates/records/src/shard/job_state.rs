//! Where a job is in its life, and the lease while a worker has it.

use leasehold_core::shard::job::{Acceptance, JobState, Lease};
use leasehold_types::SessionId;

use super::choice::{class, phase, read_class, read_phase};
use crate::error::DecodeError;
use crate::field::{In, bits, digest, fence, span, stamp, text};
use crate::store::v1::{self, kept_job::State};

impl From<&JobState> for State {
    fn from(state: &JobState) -> Self {
        match state {
            JobState::Waiting { due } => Self::Waiting(v1::Waiting {
                due_us: due.as_micros(),
            }),
            JobState::Ready => Self::Ready(v1::Ready {}),
            JobState::Leased(lease) => Self::Leased(lease.as_ref().into()),
            JobState::Done(done) => Self::Done(v1::Done {
                fence: fence(done.fence),
                digest: digest(done.digest),
                at_us: done.at.as_micros(),
            }),
            JobState::Cancelled { reason, at } => Self::Cancelled(v1::Cancelled {
                reason: reason.as_ref().into(),
                at_us: at.as_micros(),
            }),
            JobState::Dead {
                class: failure,
                reason,
                at,
            } => Self::Dead(v1::Dead {
                class: class(*failure),
                reason: reason.as_ref().into(),
                at_us: at.as_micros(),
            }),
        }
    }
}

impl TryFrom<State> for JobState {
    type Error = DecodeError;

    fn try_from(state: State) -> Result<Self, DecodeError> {
        Ok(match state {
            State::Waiting(waiting) => Self::Waiting {
                due: stamp(waiting.due_us),
            },
            State::Ready(v1::Ready {}) => Self::Ready,
            State::Leased(lease) => Self::Leased(Box::new(lease.try_into()?)),
            State::Done(done) => Self::Done(Box::new(Acceptance {
                fence: In("Done").nested("fence", done.fence)?,
                digest: In("Done").digest("digest", &done.digest)?,
                at: stamp(done.at_us),
            })),
            State::Cancelled(cancelled) => Self::Cancelled {
                reason: cancelled.reason.into(),
                at: stamp(cancelled.at_us),
            },
            State::Dead(dead) => Self::Dead {
                class: read_class(In("Dead"), dead.class)?,
                reason: dead.reason.into(),
                at: stamp(dead.at_us),
            },
        })
    }
}

impl From<&Lease> for v1::Lease {
    fn from(lease: &Lease) -> Self {
        Self {
            fence: fence(lease.fence),
            session: bits(lease.session.get()),
            worker: text(&lease.worker),
            region: text(&lease.region),
            granted_at_us: lease.granted_at.as_micros(),
            length: span(lease.length),
            contact_us: lease.contact.as_micros(),
            rearms: lease.rearms,
            left: span(lease.left),
            progress: lease.progress,
            progressed_at_us: lease.progressed_at.as_micros(),
            phase: phase(lease.phase),
        }
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = DecodeError;

    fn try_from(lease: v1::Lease) -> Result<Self, DecodeError> {
        let at = In("Lease");
        Ok(Self {
            fence: at.nested("fence", lease.fence)?,
            session: SessionId::from_random(at.bits("session", &lease.session)?),
            worker: at.name("worker", &lease.worker)?,
            region: at.name("region", &lease.region)?,
            granted_at: stamp(lease.granted_at_us),
            length: at.span("length", lease.length)?,
            contact: stamp(lease.contact_us),
            rearms: lease.rearms,
            left: at.span("left", lease.left)?,
            progress: lease.progress,
            progressed_at: stamp(lease.progressed_at_us),
            phase: read_phase(at, lease.phase)?,
        })
    }
}
