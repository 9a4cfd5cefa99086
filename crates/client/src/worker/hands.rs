//! Running handlers, on the runtime that the worker was started on.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use leasehold_api::convert::workers::LeasedJob;
use leasehold_types::Digest;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::failure::WorkError;
use super::item::WorkItem;
use super::lease::LeaseKey;
use super::vitals::Vitals;
use crate::jobs::digest;

/// A job that a handler is to start.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) job: LeasedJob,
    pub(super) vitals: Arc<Vitals>,
}

/// What a handler ended with.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: LeaseKey,
    pub(super) outcome: Outcome,
}

/// How a handler ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With a result.
    Completed {
        /// The result.
        result: Bytes,
        /// Its SHA-256.
        digest: Digest,
    },
    /// With a failure, a panic included.
    Failed(WorkError),
    /// It was stopped and dropped.
    Dropped,
}

/// Starts a handler for each job until the session is over; what still runs then is dropped.
pub(super) async fn work<H, F>(
    handler: Arc<H>,
    mut starts: mpsc::UnboundedReceiver<Start>,
    finished: mpsc::UnboundedSender<Finished>,
) where
    H: Fn(WorkItem) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Bytes, WorkError>> + Send + 'static,
{
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            start = starts.recv() => match start {
                Some(start) => {
                    running.spawn(one(Arc::clone(&handler), start, finished.clone()));
                }
                None => return,
            },
            Some(_) = running.join_next() => {}
        }
    }
}

async fn one<H, F>(handler: Arc<H>, start: Start, finished: mpsc::UnboundedSender<Finished>)
where
    H: Fn(WorkItem) -> F,
    F: Future<Output = Result<Bytes, WorkError>>,
{
    let key = LeaseKey {
        job: start.job.job,
        fence: start.job.fence,
    };
    let outcome = guarded(&*handler, start).await;
    // A session that is over takes no more reports; it has said so itself.
    let _ = finished.send(Finished { key, outcome });
}

/// Runs the handler until it ends, panics, or is told to stop.
async fn guarded<H, F>(handler: &H, start: Start) -> Outcome
where
    H: Fn(WorkItem) -> F,
    F: Future<Output = Result<Bytes, WorkError>>,
{
    let stop = start.vitals.stopped().clone();
    let item = WorkItem::new(start.job, start.vitals);
    let run = AssertUnwindSafe(async { handler(item).await }).catch_unwind();
    tokio::select! {
        biased;
        () = stop.cancelled() => Outcome::Dropped,
        ended = run => match ended {
            Ok(Ok(result)) => Outcome::Completed { digest: digest(&result), result },
            Ok(Err(error)) => Outcome::Failed(error),
            Err(panic) => Outcome::Failed(panicked(&*panic)),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> WorkError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    WorkError::transient(format!("the handler panicked: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::shard::command::FailureClass;
    use leasehold_types::{FenceToken, JobId, VirtualShard};
    use std::time::Duration;

    fn start() -> Start {
        Start {
            job: LeasedJob {
                job: JobId::new(VirtualShard::new(1), [1; 12]),
                queue: "chat".parse().unwrap(),
                fence: FenceToken::default(),
                attempt: 1,
                payload: Bytes::from_static(b"hello"),
                lease: Duration::from_secs(30),
                attempt_limit: Duration::from_secs(60),
                remaining: Duration::from_secs(3600),
                counted_from: 1,
            },
            vitals: Arc::default(),
        }
    }

    #[tokio::test]
    async fn result_comes_with_its_digest() {
        let shout = |item: WorkItem| async move { Ok(item.payload().to_ascii_uppercase().into()) };
        let Outcome::Completed { result, digest } = guarded(&shout, start()).await else {
            panic!("no result");
        };
        assert_eq!(result, "HELLO");
        assert_eq!(digest, crate::jobs::digest(b"HELLO"));
    }

    #[tokio::test]
    async fn panic_is_a_transient_failure_with_its_text() {
        let broken = |item: WorkItem| async move {
            assert!(item.payload().is_empty(), "no payload expected");
            Ok(Bytes::new())
        };
        let Outcome::Failed(error) = guarded(&broken, start()).await else {
            panic!("no failure");
        };
        assert_eq!(error.class(), FailureClass::Transient);
        assert!(error.message().contains("no payload expected"), "{error}");
    }

    #[tokio::test]
    async fn stopped_handler_is_dropped_before_its_end_is_told() {
        let held = Arc::new(());
        let inner = Arc::clone(&held);
        let forever = move |_| {
            let inner = Arc::clone(&inner);
            async move {
                std::future::pending::<()>().await;
                drop(inner);
                Ok(Bytes::new())
            }
        };
        let start = start();
        let vitals = Arc::clone(&start.vitals);
        let run = tokio::spawn(async move {
            let outcome = guarded(&forever, start).await;
            drop(forever);
            outcome
        });
        vitals.stop();
        assert!(matches!(run.await.unwrap(), Outcome::Dropped));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn remaining_time_is_the_shorter_of_both_limits() {
        let item = WorkItem::new(start().job, Arc::default());
        assert_eq!(item.remaining(), Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(item.remaining(), Duration::ZERO);
    }
}
