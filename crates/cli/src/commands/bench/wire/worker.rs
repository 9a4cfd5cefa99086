//! One connection that works.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use leasehold_api::v1;
use leasehold_api::v1::gateway_message::Body as In;
use leasehold_api::v1::worker_message::Body as Out;
use leasehold_api::v1::workers_client::WorkersClient;
use leasehold_api::v1::write_answer::Answer;
use leasehold_client::Address;
use leasehold_types::{SessionId, limits};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{Calls, connect};

/// Longest that a unary lease call is held open.
const LEASE_WAIT: Duration = Duration::from_secs(1);

/// What a worker hears.
pub(in super::super) enum Heard {
    /// A job.
    Assigned(v1::Assignment),
    /// What became of a result that was handed in.
    Reported(Reported),
    /// Answers to one renewal message.
    Renewed(v1::RenewResponse),
}

/// What became of a result.
pub(in super::super) struct Reported {
    pub(in super::super) job_id: String,
    /// Whether it was accepted before; or the name of the code with which it was refused.
    pub(in super::super) outcome: Result<bool, String>,
    /// Whether its slot counts as free without a word.
    pub(in super::super) slot_back: bool,
}

/// Speaks without waiting. What it may have under way is bounded by its slots.
pub(in super::super) struct Worker {
    line: Line,
    /// Heard and not yet taken.
    heard: VecDeque<Heard>,
}

enum Line {
    Session(Box<Session>),
    Unary(Box<Unary>),
}

struct Session {
    out: mpsc::UnboundedSender<v1::WorkerMessage>,
    messages: Streaming<v1::GatewayMessage>,
    number: u64,
    received: u64,
    returned: u64,
}

struct Unary {
    client: WorkersClient<Channel>,
    lease: v1::LeaseRequest,
    is_leasing: bool,
    under_way: FuturesUnordered<BoxFuture<'static, Result<Ended, Status>>>,
}

/// How a unary call ended.
enum Ended {
    Leased(Vec<v1::Assignment>),
    Other(Heard),
}

impl Worker {
    pub(in super::super) async fn open(
        address: &Address,
        queue: &str,
        session: SessionId,
        calls: Calls,
    ) -> anyhow::Result<Self> {
        let client = WorkersClient::new(connect(address).await?)
            .max_encoding_message_size(limits::REQUEST_BYTES)
            .max_decoding_message_size(limits::REQUEST_BYTES);
        let line = match calls {
            Calls::Streams => Line::Session(Box::new(Session::open(client, queue, session).await?)),
            Calls::Unary => Line::Unary(Box::new(Unary::new(client, queue, session))),
        };
        let heard = VecDeque::new();
        Ok(Self { line, heard })
    }

    /// Says how many slots are free.
    pub(in super::super) fn credit(&mut self, free: u32) {
        match &mut self.line {
            Line::Session(session) => session.credit(free),
            Line::Unary(unary) => unary.lease(free),
        }
    }

    /// Wants no more jobs, also for the slots that come free from now on.
    pub(in super::super) fn leave(&mut self) {
        match &mut self.line {
            Line::Session(session) => session.say(Out::Leaving(v1::WorkerLeaving {})),
            Line::Unary(unary) => unary.lease(0),
        }
    }

    /// Hands in the result of a job.
    pub(in super::super) fn complete(&mut self, assignment: &v1::Assignment, result: bytes::Bytes) {
        let complete = v1::CompleteRequest {
            job_id: assignment.job_id.clone(),
            fence: assignment.fence.clone(),
            result,
            ..v1::CompleteRequest::default()
        };
        match &mut self.line {
            Line::Session(session) => session.say(Out::Complete(complete)),
            Line::Unary(unary) => unary.complete(complete),
        }
    }

    /// Renews leases. One message, one answer.
    pub(in super::super) fn renew(&mut self, renewals: Vec<v1::Renewal>) {
        let request = v1::RenewRequest {
            session: String::new(),
            renewals,
        };
        match &mut self.line {
            Line::Session(session) => session.say(Out::Renew(request)),
            Line::Unary(unary) => unary.renew(request),
        }
    }

    /// The next thing heard.
    pub(in super::super) async fn hear(&mut self) -> Result<Heard, Status> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            match &mut self.line {
                Line::Session(session) => self.heard.extend(session.hear().await?),
                Line::Unary(unary) => self.heard.extend(unary.hear().await?),
            }
        }
    }

    /// What else has been heard by now.
    pub(in super::super) fn heard_by_now(&mut self) -> Option<Result<Heard, Status>> {
        self.hear().now_or_never()
    }
}

impl Session {
    async fn open(
        mut client: WorkersClient<Channel>,
        queue: &str,
        session: SessionId,
    ) -> anyhow::Result<Self> {
        let (out, said) = mpsc::unbounded_channel();
        let hello = v1::WorkerHello {
            session: session.to_string(),
            worker: worker_name(session),
            queues: vec![queue.to_owned()],
            slots_return: true,
            ..v1::WorkerHello::default()
        };
        let hello = v1::WorkerMessage {
            number: 1,
            body: Some(Out::Hello(hello)),
        };
        out.send(hello).context("a new stream takes its hello")?;
        let opened = client.session(UnboundedReceiverStream::new(said)).await;
        let mut messages = opened.context("opening a worker session")?.into_inner();
        messages
            .message()
            .await
            .context("opening a worker session")?;
        Ok(Self {
            out,
            messages,
            number: 1,
            received: 0,
            returned: 0,
        })
    }

    fn credit(&mut self, free: u32) {
        let (received, returned) = (self.received, self.returned);
        self.say(Out::Credit(v1::WorkerCredit {
            free,
            received,
            returned,
        }));
    }

    fn say(&mut self, body: Out) {
        self.number += 1;
        let message = v1::WorkerMessage {
            number: self.number,
            body: Some(body),
        };
        // A stream that has ended says so where it is read.
        let _ = self.out.send(message);
    }

    async fn hear(&mut self) -> Result<Option<Heard>, Status> {
        let message = self.messages.message().await?;
        let Some(message) = message else {
            return Err(Status::unavailable("the worker session ended"));
        };
        Ok(match message.body {
            Some(In::Assignment(assignment)) => {
                self.received += 1;
                Some(Heard::Assigned(assignment))
            }
            Some(In::Write(answer)) => {
                self.returned += u64::from(answer.slot_back);
                Some(Heard::Reported(answer.into()))
            }
            Some(In::Renewed(renewed)) => Some(Heard::Renewed(renewed)),
            Some(In::Opened(_) | In::Leaving(_)) | None => None,
        })
    }
}

impl Unary {
    fn new(client: WorkersClient<Channel>, queue: &str, session: SessionId) -> Self {
        let lease = v1::LeaseRequest {
            session: session.to_string(),
            worker: worker_name(session),
            queues: vec![queue.to_owned()],
            wait_ms: u64::try_from(LEASE_WAIT.as_millis()).unwrap_or(u64::MAX),
            ..v1::LeaseRequest::default()
        };
        Self {
            client,
            lease,
            is_leasing: false,
            under_way: FuturesUnordered::new(),
        }
    }

    /// One call at a time: what becomes free meanwhile is asked for by the next.
    fn lease(&mut self, free: u32) {
        self.lease.jobs = free;
        if self.is_leasing || free == 0 {
            return;
        }
        self.is_leasing = true;
        let (mut client, request) = (self.client.clone(), self.lease.clone());
        let call = async move {
            let leased = client.lease(request).await?;
            Ok(Ended::Leased(leased.into_inner().assignments))
        };
        self.under_way.push(call.boxed());
    }

    /// A call may give less than was asked for: the next asks for the rest.
    fn leased(&mut self, jobs: usize) {
        self.is_leasing = false;
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        self.lease(self.lease.jobs.saturating_sub(jobs));
    }

    fn complete(&mut self, mut complete: v1::CompleteRequest) {
        complete.session.clone_from(&self.lease.session);
        let mut client = self.client.clone();
        let call = async move {
            let job_id = complete.job_id.clone();
            let outcome = match client.complete(complete).await {
                Ok(answer) => Ok(answer.into_inner().repeated),
                Err(status) => Err(leasehold_api::ApiError::from(status).code.to_string()),
            };
            Ok(Ended::Other(Heard::Reported(Reported {
                job_id,
                outcome,
                slot_back: false,
            })))
        };
        self.under_way.push(call.boxed());
    }

    fn renew(&mut self, mut renew: v1::RenewRequest) {
        renew.session.clone_from(&self.lease.session);
        let mut client = self.client.clone();
        let call = async move {
            let renewed = client.renew(renew).await?.into_inner();
            Ok(Ended::Other(Heard::Renewed(renewed)))
        };
        self.under_way.push(call.boxed());
    }

    async fn hear(&mut self) -> Result<Vec<Heard>, Status> {
        let ended = match self.under_way.next().await {
            Some(ended) => ended?,
            None => std::future::pending().await,
        };
        Ok(match ended {
            Ended::Leased(assignments) => {
                self.leased(assignments.len());
                assignments.into_iter().map(Heard::Assigned).collect()
            }
            Ended::Other(heard) => vec![heard],
        })
    }
}

fn worker_name(session: SessionId) -> String {
    format!("bench-{:08x}", session.get() >> 96)
}

impl From<v1::WriteAnswer> for Reported {
    fn from(answer: v1::WriteAnswer) -> Self {
        let outcome = match answer.answer {
            Some(Answer::Completed(completed)) => Ok(completed.repeated),
            Some(Answer::Error(error)) => Err(error.code),
            Some(Answer::Failed(_) | Answer::Released(_)) | None => Err("odd_answer".to_owned()),
        };
        Self {
            job_id: answer.job_id,
            outcome,
            slot_back: answer.slot_back,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_client::Tcp;

    #[tokio::test]
    async fn calls_that_give_less_than_was_asked_for_are_followed_by_one_for_the_rest() {
        let nobody = "127.0.0.1:1".parse().unwrap();
        let client = WorkersClient::new(Tcp::endpoint(&nobody).unwrap().connect_lazy());
        let mut unary = Unary::new(client, "bench", SessionId::from_random(1));
        unary.lease(5);
        for (given, rest) in [(2, 3), (0, 3), (3, 0)] {
            unary.under_way.clear();
            unary.leased(given);
            assert_eq!(unary.lease.jobs, rest, "{given} given");
            assert_eq!(unary.under_way.len(), usize::from(rest > 0));
        }
    }
}
