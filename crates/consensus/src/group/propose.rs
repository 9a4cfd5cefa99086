//! Getting a command into the log, and knowing that what is read is not old.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use leasehold_types::{NodeId, limits};
use openraft::ReadPolicy;
use openraft::errors::{
    ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError,
};
use openraft::raft::ClientWriteResult;
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::sleep;

use super::Group;
use crate::machine::Machine;
use crate::types::{Answer, Payload, Types};

/// Largest command in its encoded form. Twice what a batch may hold: encoding adds names and numbers.
const COMMAND_BYTES: usize = 2 * limits::ENTRY_BYTES;

/// A refused proposal is tried again this many times in a heartbeat.
const TRIES_PER_HEARTBEAT: u32 = 20;

/// A command that was carried out on this replica, and is on a majority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied<O> {
    /// Where it stands in the log.
    pub index: u64,
    /// What came of it.
    pub outcome: O,
}

/// Why a proposal did not come to an end here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Certainly not done: this replica does not lead, or has been asked to hand over.
    #[error("this replica does not lead; {}", hint(*leader))]
    NotLeader {
        /// Who does, or is about to, as far as this replica knows.
        leader: Option<NodeId>,
    },
    /// Certainly not done: this replica leads, and no majority has answered it for a lease.
    #[error("no majority of the replicas has answered; try again or elsewhere")]
    LeaseLapsed,
    /// Unknown: it was written to the log, and then leadership or the majority was lost. It may yet be carried out.
    #[error("the leader was lost before the outcome was known; the command may yet take effect")]
    Unknown,
    /// Certainly not done: the command is larger than one entry of the log may be.
    #[error("command of {bytes} bytes is over the limit of {limit}; split the batch")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The largest that is taken.
        limit: usize,
    },
    /// Certainly not done: the replica has stopped.
    #[error("this replica has stopped")]
    Stopped,
}

/// Why a read cannot be vouched for here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This replica does not lead.
    #[error("this replica does not lead; {}", hint(*leader))]
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<NodeId>,
    },
    /// No majority confirmed within a lease that this replica still leads.
    #[error("no majority of the replicas has answered; try again or elsewhere")]
    NoQuorum,
    /// The machine did not catch up with the log within a lease.
    #[error("this replica is behind its own log; try again")]
    Lagging,
    /// The replica has stopped.
    #[error("this replica has stopped")]
    Stopped,
}

pub(super) fn hint(leader: Option<NodeId>) -> String {
    match leader {
        Some(leader) => format!("ask node {leader}"),
        None => "no leader is known, try again shortly".to_owned(),
    }
}

/// What one try came to.
enum Try<O> {
    Done(Applied<O>),
    /// Leads, and no majority has answered yet: the next try may get through.
    TooEarly,
    Failed(ProposeError),
}

impl<M: Machine> Group<M> {
    /// Puts a command into the log and waits until it is on a majority and carried out here.
    ///
    /// Commands stand in the log in the order in which their futures were first polled. A leader that no majority has
    /// answered yet, a fresh one above all, is given one lease to be answered; a command that had to wait for that may
    /// be overtaken.
    ///
    /// # Errors
    /// See [`ProposeError`]: [`ProposeError::Unknown`] alone leaves open whether the command takes effect.
    pub async fn propose(
        &self,
        command: impl Into<Arc<M::Command>>,
    ) -> Result<Applied<M::Outcome>, ProposeError> {
        let patience = self.inner.timings.leader_lease();
        self.propose_within(command, patience).await
    }

    /// [`Group::propose`], giving a leader that no majority has answered `patience` instead of one lease. It does not
    /// bound how long a command that was written to the log waits for its majority: two leases of silence do.
    ///
    /// # Errors
    /// As of [`Group::propose`].
    pub async fn propose_within(
        &self,
        command: impl Into<Arc<M::Command>>,
        patience: Duration,
    ) -> Result<Applied<M::Outcome>, ProposeError> {
        let payload = Payload::<M>::proposed(command);
        check_size(payload.bytes.len())?;
        let pause = self.inner.timings.params().heartbeat / TRIES_PER_HEARTBEAT;
        let mut left = patience;
        loop {
            match self.try_once(payload.clone()).await {
                Try::Done(applied) => return Ok(applied),
                Try::Failed(error) => return Err(error),
                Try::TooEarly if left.is_zero() => return Err(ProposeError::LeaseLapsed),
                Try::TooEarly => sleep(pause.min(left)).await,
            }
            left = left.saturating_sub(pause);
        }
    }

    async fn try_once(&self, payload: Payload<M>) -> Try<M::Outcome> {
        let (answer, answered) = oneshot::channel();
        let write = self.inner.engine.write(payload).responder(Answer(answer));
        // Unconstrained, or a poll late in a busy task would leave the queue for the next one and lose its place.
        if unconstrained(write.into_future()).await.is_err() {
            return Try::Failed(ProposeError::Stopped);
        }
        tokio::select! {
            biased;
            result = answered => result.map_or(Try::Failed(ProposeError::Unknown), understand),
            () = self.deserted() => Try::Failed(ProposeError::Unknown),
        }
    }

    /// Comes to an end once whatever was written to the log may wait for ever: this replica no longer leads, or no
    /// majority answers it.
    pub(super) async fn deserted(&self) {
        let mut leading = self.inner.followed.leading.clone();
        loop {
            if leading.wait_for(|leading| !leading).await.is_err() {
                return;
            }
            // Grace, for the engine answers at once what it can answer: it knows better than we do.
            sleep(self.inner.timings.params().heartbeat).await;
            if !*leading.borrow_and_update() {
                return;
            }
        }
    }

    /// Waits until this replica has confirmed with a majority that it leads, and has carried out everything that was
    /// committed before: what [`Group::read`] shows then is not older than the call. Costs a round trip.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        let Self { inner } = self;
        let linearizer = inner
            .engine
            .get_read_linearizer(ReadPolicy::ReadIndex)
            .await
            .map_err(read_error)?;
        let patience = Some(inner.timings.leader_lease());
        match linearizer.try_await_ready(&inner.engine, patience).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ReadError::Lagging),
            Err(_) => Err(ReadError::Stopped),
        }
    }
}

fn check_size(bytes: usize) -> Result<(), ProposeError> {
    let limit = COMMAND_BYTES;
    if bytes > limit {
        return Err(ProposeError::TooLarge { bytes, limit });
    }
    Ok(())
}

fn understand<M: Machine>(result: ClientWriteResult<Types<M>>) -> Try<M::Outcome> {
    let error = match result {
        Ok(response) => return done(response.log_id.index, response.data.0),
        Err(error) => error,
    };
    match error {
        ClientWriteError::ForwardToLeader(forward) => match forward.reason {
            ForwardReason::LeaseExpired => Try::TooEarly,
            ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                Try::Failed(ProposeError::NotLeader {
                    leader: leader(&forward),
                })
            }
        },
        ClientWriteError::LogEntryDiscarded(_) => Try::Failed(ProposeError::Unknown),
        // These two answer changes of members only; should that change, nothing is claimed.
        ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => {
            Try::Failed(ProposeError::Unknown)
        }
    }
}

fn done<O>(index: u64, outcome: Option<O>) -> Try<O> {
    outcome.map_or(Try::Failed(ProposeError::Unknown), |outcome| {
        Try::Done(Applied { index, outcome })
    })
}

pub(super) fn leader<M: Machine>(forward: &ForwardToLeader<Types<M>>) -> Option<NodeId> {
    forward.leader_id.map(NodeId::new)
}

fn read_error<M: Machine>(
    error: RaftError<Types<M>, LinearizableReadError<Types<M>>>,
) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ReadError::NotLeader {
                leader: leader(&forward),
            }
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::NoQuorum,
        RaftError::Fatal(_) => ReadError::Stopped,
    }
}
