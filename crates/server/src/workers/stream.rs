//! One worker's stream: what comes in, message by message.

use std::sync::Arc;
use std::time::Duration;

use leasehold_api::convert::workers::{Hello, free_slots};
use leasehold_api::v1::gateway_message::Body as Out;
use leasehold_api::v1::worker_message::Body as In;
use leasehold_api::{ApiError, v1};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::Inner;
use super::outlet::Outlet;
use super::session::{End, Kind, Session};
use super::writes::{Reply, Sent};

/// Longest that a connection may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// Serves a connection from its hello to its end.
pub(super) async fn serve(
    inner: Arc<Inner>,
    mut messages: Streaming<v1::WorkerMessage>,
    outlet: Outlet,
) {
    match begin(&inner, &mut messages, &outlet).await {
        Ok(session) => listen(&inner, &session, messages).await,
        Err(error) => {
            tracing::debug!(%error, "worker connection without a session");
            outlet.fail(error);
        }
    }
}

async fn begin(
    inner: &Arc<Inner>,
    messages: &mut Streaming<v1::WorkerMessage>,
    outlet: &Outlet,
) -> Result<Arc<Session>, ApiError> {
    let first = timeout(HELLO_WITHIN, messages.message()).await;
    let first = first.map_err(|_| ApiError::invalid(no_hello()))?;
    let first = first.map_err(ApiError::from)?;
    let Some(v1::WorkerMessage {
        number,
        body: Some(In::Hello(hello)),
    }) = first
    else {
        return Err(ApiError::invalid(no_hello()));
    };
    let hello = Hello::try_from(hello)?;
    let leases = hello.leases.iter().map(Into::into).collect();
    let identity = inner.identity(hello, Kind::Stream);
    let session = inner.attach(identity, outlet.clone(), None)?;
    session.change(|lending| lending.heard(number, inner.now()));
    session.send(Out::Opened(inner.opened()));
    let forwarded = inner.forward_renewals(&session, number, leases);
    forwarded.inspect_err(|_| session.end(End::Misspoke))?;
    Ok(session)
}

fn no_hello() -> String {
    let seconds = HELLO_WITHIN.as_secs();
    format!("the first message of a session is its hello, within {seconds} s")
}

async fn listen(
    inner: &Arc<Inner>,
    session: &Arc<Session>,
    mut messages: Streaming<v1::WorkerMessage>,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = session.ended.cancelled() => return,
            () = session.outlet.closed() => return session.end(End::Disconnected),
            message = messages.message() => message,
        };
        if let Err(end) = heard(inner, session, message) {
            return session.end(end);
        }
    }
}

/// Takes in what came of waiting for a message; the error is how the session ends.
fn heard(
    inner: &Arc<Inner>,
    session: &Arc<Session>,
    message: Result<Option<v1::WorkerMessage>, Status>,
) -> Result<(), End> {
    let message = match message {
        Ok(Some(message)) => message,
        Ok(None) => return Err(End::Disconnected),
        Err(status) => {
            tracing::debug!(session = %session.id, %status, "worker connection broke");
            return Err(End::Disconnected);
        }
    };
    inner.metrics.worker_message();
    inner.obey(session, message).map_err(|error| {
        tracing::info!(session = %session.id, %error, "worker broke the protocol");
        session.outlet.fail(error);
        End::Misspoke
    })
}

impl Inner {
    fn opened(&self) -> v1::SessionOpened {
        v1::SessionOpened {
            region: self.cluster.region().to_string(),
            node_id: self.cluster.node().get(),
            endpoints: self.endpoints(),
        }
    }

    /// Does what a message says.
    fn obey(
        self: &Arc<Self>,
        session: &Arc<Session>,
        message: v1::WorkerMessage,
    ) -> Result<(), ApiError> {
        let number = message.number;
        session.change(|lending| lending.heard(number, self.now()));
        match message.body {
            Some(In::Hello(_)) => {
                let twice = "a session says hello once: open another stream for another session";
                return Err(ApiError::invalid(twice));
            }
            Some(In::Credit(credit)) => {
                let free = free_slots("credit.free", credit.free)?;
                session.change(|lending| {
                    lending.credit(free, credit.received, credit.returned);
                });
            }
            Some(In::Renew(renew)) => self.forward_renewals(session, number, renew.renewals)?,
            Some(In::Complete(complete)) => self.write(session, number, complete.into()),
            Some(In::Fail(fail)) => self.write(session, number, fail.into()),
            Some(In::Release(release)) => self.write(session, number, release.into()),
            Some(In::Leaving(_)) => session.change(|lending| lending.close()),
            // Of a newer version, which can do without an answer.
            None => {
                tracing::debug!(session = %session.id, number, "worker message of an unknown kind")
            }
        }
        Ok(())
    }

    fn write(&self, session: &Arc<Session>, number: u64, write: Sent) {
        let reply = Reply::Stream {
            session: Arc::clone(session),
            number,
        };
        self.send_write(write, reply);
    }
}
