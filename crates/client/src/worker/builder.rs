//! Setting a worker up, running it, and how it ends.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use leasehold_api::convert::labels::supply;
use leasehold_api::convert::workers::{Hello, free_slots, queues};
use leasehold_api::{ApiError, ConvertError, convert, v1};
use leasehold_types::{NameError, SessionId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::failure::WorkError;
use super::hands;
use super::item::WorkItem;
use super::session::{Ended, Session};
use super::spawner::{OwnThread, Spawner};
use crate::client::Client;
use crate::error::SetupError;

/// Works jobs; see [`Worker::builder`].
#[derive(Debug)]
pub struct Worker;

/// Sets a worker up; see [`Worker::builder`].
#[must_use]
pub struct WorkerBuilder {
    client: Client,
    name: Option<String>,
    queues: Vec<String>,
    region: String,
    offered: v1::Labels,
    slots: u32,
    grace: Duration,
    spawner: Arc<dyn Spawner>,
}

/// Why a worker ended other than by being told to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// It was set up wrongly. Nothing was sent.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The cluster does not take such a worker.
    #[error("the cluster refused the worker: {0}")]
    Refused(ApiError),
    /// The session could not be started, or ended without a word.
    #[error("the worker's session is gone: {0}")]
    SessionGone(String),
    /// It stopped, and nobody answered its last reports in time: their jobs may run again.
    #[error("stopped with {reports} results or failures that nobody took")]
    Unanswered {
        /// How many.
        reports: usize,
    },
}

impl Worker {
    /// A worker that uses the client's endpoints, connector and randomness, over connections of its own. Give it
    /// queues and run it.
    pub fn builder(client: &Client) -> WorkerBuilder {
        WorkerBuilder {
            client: client.clone(),
            name: None,
            queues: Vec::new(),
            region: String::new(),
            offered: v1::Labels::default(),
            slots: 1,
            grace: Duration::from_secs(30),
            spawner: Arc::new(OwnThread),
        }
    }
}

impl WorkerBuilder {
    /// The worker's name, as operators know it; made up unless set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a queue to serve.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queues.push(queue.into());
        self
    }

    /// Adds queues to serve.
    pub fn queues<I>(mut self, queues: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.queues.extend(queues.into_iter().map(Into::into));
        self
    }

    /// The worker's region: its gateway's unless set.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Adds a label, such as `model` = `llama-70b`, for jobs that ask for it.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.offered.labels.insert(name.into(), value.into());
        self
    }

    /// Adds a capacity, such as `vram_gib`, 80, for jobs that ask for at most so much.
    pub fn capacity(mut self, name: impl Into<String>, amount: u64) -> Self {
        self.offered.capacity.insert(name.into(), amount);
        self
    }

    /// How many jobs it runs at once, 1 to 1024: 1 unless set.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// How long running jobs may go on after the worker is told to stop, before they are dropped and handed back:
    /// 30 s unless set.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Where the session runs: on a thread of its own unless set.
    pub fn spawner(mut self, spawner: impl Spawner) -> Self {
        self.spawner = Arc::new(spawner);
        self
    }

    /// Works until `shutdown` is cancelled and what then runs has ended, or the grace period is over. Needs a tokio
    /// runtime; handlers run on it. Dropping the future stops everything at once: its leases run out by themselves.
    ///
    /// A handler that panics has failed for once, like one that returns [`WorkError::transient`].
    ///
    /// # Errors
    /// See [`WorkerError`]. A cluster that cannot be reached is no error: the worker goes on dialling.
    pub async fn run<H, F>(self, handler: H, shutdown: CancellationToken) -> Result<(), WorkerError>
    where
        H: Fn(WorkItem) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Bytes, WorkError>> + Send + 'static,
    {
        let desk = Desk::new(self.hello()?, self.slots, self.grace);
        let (starts, to_start) = mpsc::unbounded_channel();
        let (done, finished) = mpsc::unbounded_channel();
        let abandoned = CancellationToken::new();
        let _abandon_on_drop = abandoned.clone().drop_guard();
        let session = Session {
            desk,
            endpoints: self.client.endpoints().clone(),
            connector: self.client.connector().clone(),
            entropy: self.client.entropy().clone(),
            starts,
            finished,
            shutdown,
            abandoned,
        };
        let ended = start(&*self.spawner, session)?;
        hands::work(Arc::new(handler), to_start, done).await;
        outcome(ended.await.ok())
    }

    /// Who the worker is, checked against every bound that can be checked here.
    fn hello(&self) -> Result<Hello, SetupError> {
        free_slots("slots", self.slots)?;
        if self.slots == 0 {
            return Err(ConvertError::Missing { field: "slots" }.into());
        }
        let session = self.client.entropy().session();
        let name = self.name.clone().unwrap_or_else(|| made_up(session));
        Ok(Hello {
            session,
            worker: name.parse().map_err(|error| malformed("worker", error))?,
            queues: queues(&self.queues)?,
            supply: supply(Some(self.offered.clone()))?,
            leases: Vec::new(),
            region: match self.region.as_str() {
                "" => None,
                region => Some(region.parse().map_err(|error| malformed("region", error))?),
            },
            slots_return: false,
        })
    }
}

fn made_up(session: SessionId) -> String {
    format!("worker-{:08x}", session.get() >> 96)
}

fn malformed(field: &'static str, error: NameError) -> ConvertError {
    let source = convert::Malformed::from(error);
    ConvertError::Malformed { field, source }
}

fn start(spawner: &dyn Spawner, session: Session) -> Result<oneshot::Receiver<Ended>, WorkerError> {
    let (end, ended) = oneshot::channel();
    let run = async move {
        // A worker that was dropped does not ask how its session ended.
        let _ = end.send(session.run().await);
    };
    let started = spawner.spawn(run.boxed());
    started.map_err(|error| WorkerError::SessionGone(error.to_string()))?;
    Ok(ended)
}

fn outcome(ended: Option<Ended>) -> Result<(), WorkerError> {
    match ended {
        Some(Ended::Stopped { unanswered: 0 }) => Ok(()),
        Some(Ended::Stopped { unanswered }) => Err(WorkerError::Unanswered {
            reports: unanswered,
        }),
        Some(Ended::Refused(error)) => Err(WorkerError::Refused(error)),
        None => Err(WorkerError::SessionGone("it panicked".to_owned())),
    }
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("name", &self.name)
            .field("queues", &self.queues)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    fn builder() -> WorkerBuilder {
        let client = Client::builder()
            .endpoint("127.0.0.1:1")
            .entropy(Entropy::seeded(1));
        Worker::builder(&client.build().unwrap())
    }

    fn refused(builder: WorkerBuilder) -> String {
        builder.hello().unwrap_err().to_string()
    }

    #[test]
    fn worker_that_breaks_a_bound_is_refused_before_anything_is_sent() {
        assert!(refused(builder()).starts_with("queues is missing"));
        let chat = || builder().queue("chat");
        assert!(refused(chat().slots(0)).starts_with("slots is missing"));
        assert!(refused(chat().slots(1_025)).starts_with("slots is 1025"));
        assert!(refused(chat().name("GPU 1")).starts_with("worker: "));
        assert!(refused(chat().region("EU")).starts_with("region: "));
        assert!(refused(chat().label("", "x")).starts_with("supply: "));
    }

    #[test]
    fn nameless_worker_gets_a_name_that_is_taken() {
        let hello = builder().queue("chat").hello().unwrap();
        assert!(hello.worker.as_str().starts_with("worker-"));
        assert_eq!(hello.region, None);
    }
}
