//! Submitting without waiting between jobs.
//!
//! What waits in the pipe is gathered into requests as large as the bounds allow, with a few requests under way at
//! once. Each request is an ordinary submit with its repeats, so a stream survives whatever a single submit survives,
//! and no connection has to be kept in order for it.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};
use leasehold_types::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{Job, JobHandle};
use crate::client::Client;
use crate::error::ClientError;

/// Requests under way at once.
const REQUESTS: usize = 8;

/// Where jobs go in.
#[derive(Debug)]
pub struct SubmitSink {
    jobs: mpsc::UnboundedSender<Numbered>,
    window: Arc<Semaphore>,
    next: u64,
}

/// What came of each job, by the number that [`SubmitSink::send`] gave, in the order of the answers. Ends once the
/// sink is dropped and everything is answered. A stream.
pub type SubmitResults = BoxStream<'static, (u64, Result<JobHandle, ClientError>)>;

/// The results were dropped, so nobody would learn what came of the job. It was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the results of the submit stream were dropped: keep them to learn what came of each job")]
pub struct SubmitStreamError;

/// A job in the pipe. The permit is given back when its result is taken.
struct Numbered {
    number: u64,
    job: Job,
    permit: OwnedSemaphorePermit,
}

type Answer = (u64, Result<JobHandle, ClientError>, OwnedSemaphorePermit);

impl SubmitSink {
    /// Puts a job into the pipe, and returns its number, counted from 0. Waits while 4096 jobs are under way or have
    /// results that nobody took: take results at the same time, or this waits for ever.
    ///
    /// # Errors
    /// When the results were dropped.
    pub async fn send(&mut self, job: Job) -> Result<u64, SubmitStreamError> {
        let window = Arc::clone(&self.window);
        let permit = window
            .acquire_owned()
            .await
            .map_err(|_| SubmitStreamError)?;
        let number = self.next;
        let numbered = Numbered {
            number,
            job,
            permit,
        };
        self.jobs.send(numbered).map_err(|_| SubmitStreamError)?;
        self.next += 1;
        Ok(number)
    }
}

impl Client {
    /// A pipe for many jobs: send into the one end, take results from the other.
    pub fn submit_stream(&self) -> (SubmitSink, SubmitResults) {
        let (jobs, incoming) = mpsc::unbounded_channel();
        let window = Arc::new(Semaphore::new(limits::STREAM_WINDOW));
        let sink = SubmitSink {
            jobs,
            window: Arc::clone(&window),
            next: 0,
        };
        let (answers, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(pump(self.clone(), incoming, answers, window));
        let taken = |(number, result, _permit): Answer| (number, result);
        let results = UnboundedReceiverStream::new(outgoing).map(taken).boxed();
        (sink, results)
    }
}

async fn pump(
    client: Client,
    mut incoming: mpsc::UnboundedReceiver<Numbered>,
    answers: mpsc::UnboundedSender<Answer>,
    window: Arc<Semaphore>,
) {
    let mut under_way = FuturesUnordered::new();
    let mut gathered = Vec::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            biased;
            () = answers.closed() => break,
            Some(done) = under_way.next() => deliver(done, &answers),
            count = incoming.recv_many(&mut gathered, limits::BATCH_JOBS),
                if open && under_way.len() < REQUESTS =>
            {
                open = count > 0;
                if open {
                    under_way.push(submit(client.clone(), std::mem::take(&mut gathered)));
                }
            }
        }
    }
    // Whoever waits to send learns that nobody takes results any more.
    window.close();
}

async fn submit(client: Client, gathered: Vec<Numbered>) -> Vec<Answer> {
    let mut jobs = Vec::with_capacity(gathered.len());
    let mut owed = Vec::with_capacity(gathered.len());
    for numbered in gathered {
        jobs.push(numbered.job);
        owed.push((numbered.number, numbered.permit));
    }
    let results = client.submit_many(jobs).await;
    let answer = |((number, permit), result)| (number, result, permit);
    owed.into_iter().zip(results).map(answer).collect()
}

fn deliver(done: Vec<Answer>, answers: &mpsc::UnboundedSender<Answer>) {
    for answer in done {
        // A receiver that is gone is noticed by the loop, through `closed`.
        let _ = answers.send(answer);
    }
}
