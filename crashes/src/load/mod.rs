//! The load: clients that submit and workers that work, over the real protocol, for as long as a cluster lives.
//!
//! They never stop for a crash. Whatever they are told goes into the [`Ledger`](crate::ledger::Ledger), and nothing
//! else does; what they are not told is unknown.

mod looker;
mod packer;
mod session_wire;
mod session_worker;
mod simple_workers;
mod submitter;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_api::v1;
use leasehold_client::{CancellationToken, Client, ClientError, JobId};
use leasehold_types::FenceToken;
use tokio_util::task::TaskTracker;

use crate::cluster::ClusterError;
use crate::content::{is_payload, number_in};
use crate::history::{Number, Shelf};
use crate::ledger::Ledger;
use crate::violation::Violation;

pub(crate) use looker::{look_at_some, sweep};

const SUBMITTERS: u64 = 4;
const SESSION_WORKERS: u64 = 3;
/// How long the jobs that are kept until the end are kept: longer than any cluster lives.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const BRIEF: Duration = Duration::from_secs(1);
/// Longest that a cluster which says that it is ready may take to make a queue.
const QUEUE: Duration = Duration::from_secs(60);

/// What everybody under load has in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) client: Client,
    pub(crate) endpoints: Arc<[String]>,
    pub(crate) ledger: Arc<Ledger>,
    /// No more submits; workers do everything at once.
    draining: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Common {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// A worker was given a job: so the cluster took it in, under this id and with this payload. Says which submit it is
    /// of; none for a job that is not ours.
    fn granted(&self, id: JobId, fence: FenceToken, payload: &[u8]) -> Option<Number> {
        let mut history = self.ledger.history();
        let number = number_in(payload).or_else(|| history.number_of(id));
        let checked = match number {
            None => Err(Violation::Foreign { id }),
            Some(number) => history.granted(number, id, fence).and_then(|()| {
                let part = "payload";
                let other = Violation::OtherBytes { number, id, part };
                is_payload(number, payload).then_some(()).ok_or(other)
            }),
        };
        drop(history);
        self.ledger.check(checked);
        number
    }

    /// The same, as it comes over the wire.
    fn assigned(&self, assignment: &v1::Assignment) -> Option<(Number, FenceToken)> {
        let fence = assignment.fence.parse().ok()?;
        let id = assignment.job_id.parse().ok()?;
        let number = self.granted(id, fence, &assignment.payload)?;
        Some((number, fence))
    }
}

/// Clients and workers at work.
pub(crate) struct Load {
    pub(crate) common: Common,
    submitting: TaskTracker,
    working: TaskTracker,
    stop_submitting: CancellationToken,
}

pub(crate) const fn queue(shelf: Shelf) -> &'static str {
    match shelf {
        Shelf::Kept => "kept",
        Shelf::Brief => "brief",
    }
}

impl Load {
    /// Makes the queues and starts everybody.
    ///
    /// # Errors
    /// [`Violation::Stuck`] when the cluster does not take the queues.
    pub(crate) async fn start(
        endpoints: Vec<String>,
        ledger: Arc<Ledger>,
        seed: u64,
    ) -> Result<Self, ClusterError> {
        let client = client(&endpoints).map_err(anyhow::Error::from)?;
        make_queue(&client, Shelf::Kept, KEPT).await?;
        make_queue(&client, Shelf::Brief, BRIEF).await?;
        let load = Self {
            common: Common {
                client,
                endpoints: endpoints.into(),
                ledger,
                draining: Arc::default(),
                stop: CancellationToken::new(),
            },
            submitting: TaskTracker::new(),
            working: TaskTracker::new(),
            stop_submitting: CancellationToken::new(),
        };
        load.run(seed);
        Ok(load)
    }

    fn run(&self, seed: u64) {
        for number in 0..SUBMITTERS {
            let seed = seed.wrapping_mul(1_000).wrapping_add(number);
            let submit = submitter::run(self.common.clone(), seed, self.stop_submitting.clone());
            self.submitting.spawn(submit);
        }
        for number in 0..SESSION_WORKERS {
            let seed = seed.wrapping_mul(1_000).wrapping_add(500 + number);
            self.working
                .spawn(session_worker::run(self.common.clone(), seed));
        }
        self.working
            .spawn(simple_workers::unary(self.common.clone(), seed));
        self.working.spawn(simple_workers::sdk(self.common.clone()));
    }

    /// Takes in nothing more, and finishes what there is as fast as it goes.
    pub(crate) async fn drain(&self) {
        self.common.draining.store(true, Ordering::Relaxed);
        self.stop_submitting.cancel();
        self.submitting.close();
        self.submitting.wait().await;
    }

    /// Everybody goes home.
    pub(crate) async fn stop(self) {
        self.stop_submitting.cancel();
        self.common.stop.cancel();
        for tasks in [&self.submitting, &self.working] {
            tasks.close();
            tasks.wait().await;
        }
    }
}

/// A client that gives up soon, so that outcomes do stay unknown.
fn client(endpoints: &[String]) -> Result<Client, ClientError> {
    Client::builder()
        .endpoints(endpoints.iter().map(String::as_str))
        .timeout(Duration::from_millis(1_500))
        .attempt_timeout(Duration::from_millis(800))
        .backoff(Duration::from_millis(10), Duration::from_millis(200))
        .build()
}

/// Workers fail, hang and are lost all the time here: no job may be given up for that.
fn policy(retain_done: Duration) -> v1::QueuePolicyChange {
    v1::QueuePolicyChange {
        lease_ms: Some(4_000),
        max_attempts: Some(100),
        max_losses: Some(100),
        backoff_base_ms: Some(20),
        backoff_cap_ms: Some(200),
        retain_done_ms: u64::try_from(retain_done.as_millis()).ok(),
        retain_keys_ms: u64::try_from(KEPT.as_millis()).ok(),
        ..v1::QueuePolicyChange::default()
    }
}

async fn make_queue(client: &Client, shelf: Shelf, retain: Duration) -> Result<(), Violation> {
    let request = v1::CreateQueueRequest {
        name: queue(shelf).to_owned(),
        policy: Some(policy(retain)),
    };
    let mut last = None;
    let making = async {
        while let Err(error) = client.admin().create_queue(request.clone()).await {
            last = Some(error);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let made = tokio::time::timeout(QUEUE, making).await;
    made.map_err(|_| Violation::Stuck {
        what: format!("queue {} was not made, {last:?},", queue(shelf)),
        seconds: QUEUE.as_secs(),
    })
}

/// Jobs that have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Undone {
    pub(crate) waiting: u64,
    pub(crate) ready: u64,
    pub(crate) leased: u64,
}

/// How many jobs have not ended; none when nobody can say.
pub(crate) async fn undone(client: &Client) -> Option<Undone> {
    let queues = client
        .admin()
        .list_queues(v1::ListQueuesRequest {})
        .await
        .ok()?;
    if !queues.missing_shards.is_empty() {
        return None;
    }
    let mut undone = Undone::default();
    for counts in queues
        .queues
        .iter()
        .filter_map(|queue| queue.counts.as_ref())
    {
        undone.waiting += counts.waiting;
        undone.ready += counts.ready;
        undone.leased += counts.leased;
    }
    Some(undone)
}
