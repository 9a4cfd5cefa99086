//! The working side: one stream, driven message by message, so that a test can be as late or as wrong as it likes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body as Said;
use leasehold_api::v1::worker_message::Body;
use leasehold_api::v1::workers_client::WorkersClient;
use tokio::sync::mpsc;
use tokio::time::interval;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{TestCluster, soon};

/// How often a worker that has nothing to say speaks.
const ALIVE: Duration = Duration::from_millis(500);

/// A session id that no other worker of this process has.
pub(crate) fn session_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("w-{:032x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) job_id: String,
    pub(crate) fence: String,
}

impl Lease {
    pub(crate) fn renewal(&self, progress: u64) -> v1::Renewal {
        v1::Renewal {
            job_id: self.job_id.clone(),
            fence: self.fence.clone(),
            progress,
            phase: v1::WorkPhase::Running as i32,
        }
    }

    pub(crate) fn completion(&self, result: &[u8]) -> v1::CompleteRequest {
        v1::CompleteRequest {
            job_id: self.job_id.clone(),
            fence: self.fence.clone(),
            result: result.to_vec().into(),
            ..v1::CompleteRequest::default()
        }
    }
}

impl From<&v1::Assignment> for Lease {
    fn from(assignment: &v1::Assignment) -> Self {
        Self {
            job_id: assignment.job_id.clone(),
            fence: assignment.fence.clone(),
        }
    }
}

/// One worker's stream to one node.
pub(crate) struct TestWorker {
    to_gateway: mpsc::Sender<v1::WorkerMessage>,
    from_gateway: Streaming<v1::GatewayMessage>,
    number: u64,
    received: u64,
    /// Jobs that came while something else was waited for.
    granted: VecDeque<v1::Assignment>,
}

impl TestWorker {
    /// A new worker of a queue, connected to a node, whose session is open.
    pub(crate) async fn open(cluster: &TestCluster, node: usize, queue: &str) -> Self {
        Self::resume(cluster, node, queue, &session_id(), 1, Vec::new()).await
    }

    /// The same for a session that may have been elsewhere, and still works on these.
    pub(crate) async fn resume(
        cluster: &TestCluster,
        node: usize,
        queue: &str,
        session: &str,
        number: u64,
        leases: Vec<v1::Renewal>,
    ) -> Self {
        let mut worker = Self::connect(cluster, node).await;
        worker.number = number - 1;
        let hello = v1::WorkerHello {
            session: session.to_owned(),
            worker: "gpu-1".to_owned(),
            queues: vec![queue.to_owned()],
            leases,
            ..v1::WorkerHello::default()
        };
        worker.say(Body::Hello(hello)).await;
        let answer = worker.hear().await;
        assert!(matches!(answer, Said::Opened(_)), "{answer:?}");
        worker
    }

    /// A connection without a hello.
    pub(crate) async fn connect(cluster: &TestCluster, node: usize) -> Self {
        let address = format!("http://{}", cluster.address(node));
        let client = soon("a connection", WorkersClient::connect(address)).await;
        let mut client = client.expect("the node listens");
        let (to_gateway, messages) = mpsc::channel(16);
        let stream = client.session(ReceiverStream::new(messages));
        let stream = soon("a stream", stream).await.expect("a stream");
        Self {
            to_gateway,
            from_gateway: stream.into_inner(),
            number: 0,
            received: 0,
            granted: VecDeque::new(),
        }
    }

    /// Sends a message; its number.
    pub(crate) async fn say(&mut self, body: Body) -> u64 {
        self.number += 1;
        let message = v1::WorkerMessage {
            number: self.number,
            body: Some(body),
        };
        let sent = self.to_gateway.send(message).await;
        sent.expect("the connection stands");
        self.number
    }

    pub(crate) async fn free(&mut self, free: u32) {
        let received = self.received;
        self.say(Body::Credit(v1::WorkerCredit {
            free,
            received,
            ..v1::WorkerCredit::default()
        }))
        .await;
    }

    /// The next message, whatever it is; none when the stream ended.
    pub(crate) async fn next(&mut self) -> Option<Result<Said, Status>> {
        let message = soon("a message to the worker", self.from_gateway.message()).await;
        let body = message.map(|message| message.and_then(|message| message.body));
        if matches!(body, Ok(Some(Said::Assignment(_)))) {
            self.received += 1;
        }
        body.transpose()
    }

    pub(crate) async fn hear(&mut self) -> Said {
        let next = self.next().await.expect("the stream goes on");
        next.expect("a message")
    }

    /// The next message that is no job; jobs are kept for [`TestWorker::job`].
    async fn hear_beside_jobs(&mut self) -> Said {
        loop {
            match self.hear().await {
                Said::Assignment(assignment) => self.granted.push_back(assignment),
                said @ (Said::Opened(_) | Said::Renewed(_) | Said::Write(_) | Said::Leaving(_)) => {
                    return said;
                }
            }
        }
    }

    /// Leaves, and returns once the session is over and its leaders were told.
    pub(crate) async fn hang_up(self) {
        let Self {
            to_gateway,
            mut from_gateway,
            ..
        } = self;
        drop(to_gateway);
        let ended = async { while let Ok(Some(_)) = from_gateway.message().await {} };
        soon("the end of the session", ended).await;
    }

    /// The status that the stream ends with.
    pub(crate) async fn last_word(&mut self) -> Status {
        loop {
            match self.next().await.expect("a status") {
                Ok(_) => {}
                Err(status) => return status,
            }
        }
    }

    /// Waits for a job as an idle worker does: it says now and then that it lives.
    pub(crate) async fn job(&mut self) -> v1::Assignment {
        soon("a job", self.idle()).await
    }

    async fn idle(&mut self) -> v1::Assignment {
        if let Some(granted) = self.granted.pop_front() {
            return granted;
        }
        let mut alive = interval(ALIVE);
        loop {
            let said = tokio::select! {
                said = self.hear() => said,
                _ = alive.tick() => {
                    self.alive().await;
                    continue;
                }
            };
            match said {
                Said::Assignment(assignment) => return assignment,
                Said::Renewed(_) | Said::Write(_) | Said::Opened(_) | Said::Leaving(_) => {}
            }
        }
    }

    /// Lives for ever, and renews nothing.
    pub(crate) async fn neglects(&mut self) {
        let mut alive = interval(ALIVE);
        loop {
            alive.tick().await;
            self.alive().await;
        }
    }

    async fn alive(&mut self) {
        self.say(Body::Renew(v1::RenewRequest::default())).await;
    }

    /// Renews a lease and waits for the leader's answer.
    pub(crate) async fn renew(&mut self, lease: &Lease, progress: u64) -> v1::RenewalAnswer {
        let number = self
            .say(Body::Renew(v1::RenewRequest {
                session: String::new(),
                renewals: vec![lease.renewal(progress)],
            }))
            .await;
        self.renewed(number).await
    }

    /// The first answer to the renewals of a message; 0 for those that were not asked for.
    pub(crate) async fn renewed(&mut self, number: u64) -> v1::RenewalAnswer {
        loop {
            if let Said::Renewed(mut renewed) = self.hear_beside_jobs().await
                && renewed.number == number
                && let Some(answer) = renewed.answers.pop()
            {
                return answer;
            }
        }
    }

    /// Hands in a result and waits for what became of it.
    pub(crate) async fn complete(&mut self, lease: &Lease, result: &[u8]) -> v1::WriteAnswer {
        let completion = lease.completion(result);
        let number = self.say(Body::Complete(completion)).await;
        loop {
            if let Said::Write(answer) = self.hear_beside_jobs().await
                && answer.number == number
            {
                return answer;
            }
        }
    }
}
