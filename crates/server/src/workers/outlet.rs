//! What goes out to one worker, in order, through a bounded queue.
//!
//! A worker that does not read what it is sent is cut off rather than waited for: a queue that is full means that it
//! has left more unread than it can ever have slots and questions for.

use leasehold_api::{ApiError, v1};
use leasehold_types::limits;
use tokio::sync::mpsc;
use tonic::Status;

/// Messages that a worker may leave unread: a grant for every slot, and an answer to as many writes and more.
const UNREAD: usize = 4 * limits::WORKER_CREDIT as usize;

/// Why a message could not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unread;

/// The sending side. Clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Outlet(mpsc::Sender<Result<v1::GatewayMessage, Status>>);

/// A queue to one worker.
pub(super) fn channel() -> (Outlet, mpsc::Receiver<Result<v1::GatewayMessage, Status>>) {
    let (sender, receiver) = mpsc::channel(UNREAD);
    (Outlet(sender), receiver)
}

impl Outlet {
    /// Puts a message into the queue.
    pub(super) fn send(&self, body: v1::gateway_message::Body) -> Result<(), Unread> {
        let message = v1::GatewayMessage { body: Some(body) };
        self.0.try_send(Ok(message)).map_err(|_| Unread)
    }

    /// The last word: ends the stream with an error, if the worker still reads.
    pub(super) fn fail(&self, error: ApiError) {
        let _may_have_gone = self.0.try_send(Err(error.into()));
    }

    /// Resolves once nobody reads any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}
