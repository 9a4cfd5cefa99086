//! One exchange as its listening side sees it: calls come in, each is handed on, its answer goes back by number.
//!
//! Calls of groups are handed over in the order in which they came; what waits for an answer waits in a task of its
//! own, so that a slow call holds up no other. A peer that makes too many at once is told to come back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use leasehold_api::v1::peer_frame::Body;
use leasehold_api::{ApiError, v1};
use leasehold_types::{ErrorCode, GroupId};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::exchange::hello_in;
use super::hello::Introduced;
use super::links::{Context, Peers};
use super::{FRAME_BYTES, PeerHandler, call};

/// Calls of one stream that may be under way.
const CALLS: usize = 16_384;
/// Answers that may wait to be written.
const QUEUED_ANSWERS: usize = 1_024;
/// When to come back after too many calls.
const COME_BACK: Duration = Duration::from_millis(100);

/// Takes the other side's hello, answers it, and from then on its calls.
pub(super) async fn exchange(
    peers: &Peers,
    handler: &Arc<dyn PeerHandler>,
    mut calls: Streaming<v1::PeerFrame>,
) -> Result<impl Stream<Item = Result<v1::PeerFrame, Status>> + Send + use<>, Status> {
    let context = peers.context();
    let introduced = introduce(context, &mut calls).await?;
    tracing::debug!(peer = %introduced, "dialled by a peer");
    peers.know(introduced.node, introduced.boot, &introduced.peer_address);
    let (answers, queue) = mpsc::channel(QUEUED_ANSWERS);
    let hello = v1::PeerFrame {
        number: 0,
        body: Some(Body::Hello(context.local.hello(introduced.node))),
    };
    // The first in an empty queue.
    let _ = answers.try_send(hello);
    let exchange = Exchange {
        handler: Arc::clone(handler),
        answers,
        room: Arc::new(Semaphore::new(CALLS)),
    };
    let silence = context.patience.silence * 3;
    peers.spawn(async move { exchange.run(calls, silence).await });
    Ok(ReceiverStream::new(queue).map(Ok))
}

async fn introduce(
    context: &Context,
    calls: &mut Streaming<v1::PeerFrame>,
) -> Result<Introduced, Status> {
    let first = timeout(context.patience.connect, calls.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no hello came in time"))??;
    let introduced = context
        .local
        .check(hello_in(first), |node| context.book.boots(node));
    introduced.map_err(|refusal| {
        context.refusals.say(&refusal);
        ApiError::new(refusal.code(), refusal.to_string()).into()
    })
}

struct Exchange {
    handler: Arc<dyn PeerHandler>,
    answers: mpsc::Sender<v1::PeerFrame>,
    room: Arc<Semaphore>,
}

impl Exchange {
    /// Ends with the stream, or when nothing was heard for `silence`: the other side asks for signs of life and drops
    /// a connection without any, so such a stream has nobody at its other end.
    async fn run(self, mut calls: Streaming<v1::PeerFrame>, silence: Duration) {
        while let Ok(Ok(Some(frame))) = timeout(silence, calls.message()).await {
            self.take(frame).await;
        }
    }

    async fn take(&self, frame: v1::PeerFrame) {
        let number = frame.number;
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            let error = ApiError::new(ErrorCode::ResourceExhausted, TOO_MANY);
            let refusal = Body::Error(error.with_retry_after(COME_BACK).into());
            return answer(&self.answers, number, refusal).await;
        };
        let answering = carry_out(&self.handler, frame.body);
        tokio::spawn(send(self.answers.clone(), number, answering, room));
    }
}

const TOO_MANY: &str = "too many calls of this peer are under way: come back shortly";

async fn send(
    answers: mpsc::Sender<v1::PeerFrame>,
    number: u64,
    answering: BoxFuture<'static, Body>,
    _room: OwnedSemaphorePermit,
) {
    let body = answering.await;
    answer(&answers, number, body).await;
}

async fn answer(answers: &mpsc::Sender<v1::PeerFrame>, number: u64, body: Body) {
    let mut frame = v1::PeerFrame {
        number,
        body: Some(body),
    };
    let bytes = frame.encoded_len();
    if bytes > FRAME_BYTES {
        // SUBTLE: not a refusal. The call was carried out, and only its answer cannot travel.
        let why = format!(
            "the answer has {bytes} bytes, at most {FRAME_BYTES} are sent: ask for less at a time"
        );
        frame.body = Some(Body::Error(ApiError::unknown(why).into()));
    }
    // Nobody is left to tell when the stream is gone.
    let _ = answers.send(frame).await;
}

/// Hands a call on at once and gives back what will be its answer.
fn carry_out(handler: &Arc<dyn PeerHandler>, body: Option<Body>) -> BoxFuture<'static, Body> {
    match body {
        Some(Body::Raft(call)) => raft(handler, call),
        Some(Body::Shard(call)) => handler.shard(call).map(Body::ShardAnswer).boxed(),
        Some(Body::Metadata(call)) => handler.metadata(call).map(Body::MetadataAnswer).boxed(),
        Some(Body::Delivery(delivery)) => {
            handler.deliver(delivery).map(Body::DeliveryAnswer).boxed()
        }
        Some(Body::Ping(_)) => ready(Body::Pong(v1::PeerPong {})),
        Some(
            other @ (Body::Hello(_)
            | Body::RaftReply(_)
            | Body::ShardAnswer(_)
            | Body::MetadataAnswer(_)
            | Body::DeliveryAnswer(_)
            | Body::Error(_)
            | Body::Pong(_)),
        ) => ready(not_a_call(call::name(&other))),
        None => ready(not_a_call("a call that this version does not know")),
    }
}

fn raft(handler: &Arc<dyn PeerHandler>, call: v1::RaftCall) -> BoxFuture<'static, Body> {
    let Some(request) = call.request else {
        return ready(not_a_call("a call of a group without a request"));
    };
    let answering = handler.raft(GroupId::new(call.group_id), request);
    let body = answering.map(|reply| match reply {
        Ok(reply) => Body::RaftReply(reply),
        Err(error) => Body::Error(error.into()),
    });
    body.boxed()
}

fn ready(body: Body) -> BoxFuture<'static, Body> {
    std::future::ready(body).boxed()
}

fn not_a_call(what: &str) -> Body {
    let message = format!("{what} came where a call was expected");
    Body::Error(ApiError::new(ErrorCode::Unsupported, message).into())
}
