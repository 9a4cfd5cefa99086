//! The types that openraft is run with: one configuration, generic over the machine that a group replicates.
//!
//! Node ids and terms are plain numbers here because openraft's own conformance suite builds them from numbers;
//! they turn into ours at the edge of the crate. A member carries no address: addresses live in the metadata.
//! A command travels as the bytes that its leader encoded once; the decoded form rides along on the leader only.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::responder::Responder;
use openraft::rt::deterministic_rng::DeterministicRng;
use openraft::vote::leader_id_adv::LeaderId as AdvancedLeaderId;
use openraft_rt_tokio::TokioRuntime;
use tokio::sync::oneshot;

use crate::machine::{Machine, MachineError};
use crate::snapshot::Pack;

/// Who leads, and since which term. Several may lead in one term, one after the other: never used to fence.
pub(crate) type LeaderId = AdvancedLeaderId<u64, u64>;
pub(crate) type LogId = openraft::LogId<LeaderId>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type Membership = openraft::Membership<u64, ()>;
pub(crate) type StoredMembership = openraft::StoredMembership<LeaderId, u64, ()>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, ()>;
pub(crate) type Snapshot = openraft::Snapshot<LeaderId, u64, (), Pack>;
pub(crate) type EntryPayload<M> = openraft::EntryPayload<Payload<M>, u64, ()>;
pub(crate) type Entry<M> = openraft::Entry<LeaderId, EntryPayload<M>>;

/// Tokio's runtime with its random numbers drawn from a seed: elections repeat when the seed does.
///
/// SUBTLE: it panics when it is asked for a number outside a seeded scope. Everything that openraft spawns
/// inherits the scope of its parent, so one scope around the opening of a group covers them all.
pub(crate) type Runtime = DeterministicRng<TokioRuntime>;

/// A command on its way through the log.
pub(crate) struct Payload<M: Machine> {
    /// As encoded by the leader; what the log and the other replicas get.
    pub(crate) bytes: Bytes,
    /// The command itself, where it was proposed; elsewhere it is decoded when it is applied, once.
    decoded: Option<Arc<M::Command>>,
}

impl<M: Machine> Payload<M> {
    pub(crate) fn proposed(command: impl Into<Arc<M::Command>>) -> Self {
        let command = command.into();
        Self {
            bytes: M::encode(&command),
            decoded: Some(command),
        }
    }

    pub(crate) const fn received(bytes: Bytes) -> Self {
        Self {
            bytes,
            decoded: None,
        }
    }

    pub(crate) fn into_command(self) -> Result<Arc<M::Command>, MachineError> {
        match self.decoded {
            Some(command) => Ok(command),
            None => M::decode(self.bytes).map(Arc::new),
        }
    }
}

impl<M: Machine> Clone for Payload<M> {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            decoded: self.decoded.clone(),
        }
    }
}

impl<M: Machine> fmt::Debug for Payload<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.bytes.len())
    }
}

impl<M: Machine> fmt::Display for Payload<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry gave: an outcome for a command, nothing for an entry of Raft's own.
pub(crate) struct Reply<M: Machine>(pub(crate) Option<M::Outcome>);

impl<M: Machine> fmt::Debug for Reply<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.0).finish()
    }
}

/// Carries an answer back to whoever waits for it; nobody may be waiting any more.
pub(crate) struct Answer<T>(pub(crate) oneshot::Sender<T>);

impl<C, T> Responder<C, T> for Answer<T>
where
    C: openraft::RaftTypeConfig,
    T: Send + 'static,
{
    fn on_complete(self, result: T) {
        let _gone_if_refused = self.0.send(result);
    }
}

/// The configuration of openraft for a machine. A marker: there are no values in it.
pub(crate) struct Types<M>(PhantomData<fn() -> M>);

impl<M: Machine> openraft::RaftTypeConfig for Types<M> {
    type D = Payload<M>;
    type R = Reply<M>;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = EntryPayload<M>;
    type Entry = Entry<M>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Answer<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

// By hand, because deriving them would ask the machine for the same.
impl<M> fmt::Debug for Types<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

impl<M> Clone for Types<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Types<M> {}

impl<M> Default for Types<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<M> PartialEq for Types<M> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<M> Eq for Types<M> {}

impl<M> PartialOrd for Types<M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<M> Ord for Types<M> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
