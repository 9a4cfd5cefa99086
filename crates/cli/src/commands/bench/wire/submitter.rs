//! One connection that submits.

use anyhow::Context;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use leasehold_api::v1;
use leasehold_api::v1::jobs_client::JobsClient;
use leasehold_client::Address;
use leasehold_types::limits;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::super::jobs::Slices;
use super::{Calls, connect, route};

/// What came of a request: its number, and an answer for each of its jobs or one error for all.
type Answered = (u64, Result<Vec<v1::SubmitResult>, Status>);

/// Sends without waiting; answers come in whatever order. Whoever sends bounds how much is under way.
pub(in super::super) struct Submitter {
    pub(in super::super) slices: Slices,
    line: Line,
}

enum Line {
    Stream {
        requests: mpsc::UnboundedSender<v1::SubmitStreamRequest>,
        answers: Streaming<v1::SubmitStreamResponse>,
    },
    Unary {
        client: JobsClient<Channel>,
        under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    },
}

impl Submitter {
    pub(in super::super) async fn open(
        address: &Address,
        queue: &str,
        calls: Calls,
    ) -> anyhow::Result<Self> {
        let channel = connect(address).await?;
        let slices = route(&channel, queue).await?;
        let client = JobsClient::new(channel)
            .max_encoding_message_size(limits::REQUEST_BYTES)
            .max_decoding_message_size(limits::REQUEST_BYTES);
        let line = match calls {
            Calls::Streams => Line::stream(client).await?,
            Calls::Unary => Line::Unary {
                client,
                under_way: FuturesUnordered::new(),
            },
        };
        Ok(Self { slices, line })
    }

    /// Sends a request. Its answer will carry this number.
    pub(in super::super) fn send(&mut self, number: u64, jobs: Vec<v1::NewJob>) {
        let submit = v1::SubmitRequest { jobs };
        match &mut self.line {
            Line::Stream { requests, .. } => {
                let submit = Some(submit);
                // A stream that has ended says so where its answers are read.
                let _ = requests.send(v1::SubmitStreamRequest { number, submit });
            }
            Line::Unary { client, under_way } => {
                let mut client = client.clone();
                let call = async move {
                    let answer = client.submit(submit).await;
                    (number, answer.map(|answer| answer.into_inner().results))
                };
                under_way.push(call.boxed());
            }
        }
    }

    /// The next answer. On a stream an error means that it has ended; whatever had no answer gets none.
    pub(in super::super) async fn answered(&mut self) -> Result<Answered, Status> {
        match &mut self.line {
            Line::Stream { answers, .. } => match answers.message().await? {
                Some(answer) => Ok((answer.number, Ok(answer.submit.unwrap_or_default().results))),
                None => Err(Status::unavailable("the submit stream ended")),
            },
            Line::Unary { under_way, .. } => match under_way.next().await {
                Some(answered) => Ok(answered),
                None => std::future::pending().await,
            },
        }
    }
}

impl Line {
    async fn stream(mut client: JobsClient<Channel>) -> anyhow::Result<Self> {
        let (requests, sent) = mpsc::unbounded_channel();
        let opened = client.submit_stream(UnboundedReceiverStream::new(sent));
        let answers = opened.await.context("opening a submit stream")?;
        let answers = answers.into_inner();
        Ok(Self::Stream { requests, answers })
    }
}
