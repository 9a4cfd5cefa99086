//! Read barriers, shared by all readers that wait at the moment.
//!
//! A barrier costs a round trip to a majority. One that began before a reader came vouches for nothing to that reader,
//! so readers gather while one is under way and share the next.

use leasehold_consensus::{Group, ReadError};
use leasehold_core::shard::ShardState;
use tokio::sync::{mpsc, oneshot};

/// Readers that may wait; more of them wait to be let in.
const READERS: usize = 4_096;

/// Asks for barriers. Clones share them.
#[derive(Clone)]
pub(super) struct Barrier {
    ask: mpsc::Sender<oneshot::Sender<Result<(), ReadError>>>,
}

impl Barrier {
    /// Starts the task that makes them; it ends with the last clone.
    pub(super) fn start(group: Group<ShardState>) -> Self {
        let (ask, asked) = mpsc::channel(READERS);
        tokio::spawn(run(group, asked));
        Self { ask }
    }

    /// Returns once what the group's state shows is not older than this call.
    ///
    /// # Errors
    /// When this node does not lead the group, or no majority vouches for it.
    pub(super) async fn pass(&self) -> Result<(), ReadError> {
        let (tell, told) = oneshot::channel();
        let asked = self.ask.send(tell).await;
        asked.map_err(|_| ReadError::Stopped)?;
        told.await.unwrap_or(Err(ReadError::Stopped))
    }
}

async fn run(
    group: Group<ShardState>,
    mut asked: mpsc::Receiver<oneshot::Sender<Result<(), ReadError>>>,
) {
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, READERS).await > 0 {
        let result = group.read_barrier().await;
        for tell in waiting.drain(..) {
            let _may_have_left = tell.send(result.clone());
        }
    }
}
