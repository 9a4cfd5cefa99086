//! One stream to one peer: calls go out in the order in which they are made, answers come back in any order.
//!
//! What waits to be written is bounded in number and in bytes. A call that finds no room waits for it within its own
//! time and is then *not sent*; once it is in the queue, the worst that can be said is *unknown*.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use leasehold_api::v1;
use leasehold_api::v1::peer_frame::Body;
use leasehold_types::Timestamp;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::FRAME_BYTES;

/// Calls that may wait to be written.
const QUEUED_CALLS: usize = 1_024;
/// What may wait to be written, in KiB.
const QUEUED_KIB: usize = 64 * 1_024;

/// Why a call on a lane has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LaneError {
    /// It never left.
    NotSent(String),
    /// It left, and no answer came in this time.
    TimedOut(Duration),
    /// It left, and then the stream ended.
    Broken(String),
}

/// A frame on its way out. Its room in the queue is given back when it is taken out to be written.
type Queued = (v1::PeerFrame, OwnedSemaphorePermit);

/// The sending half of one stream, and the calls on it that wait for an answer.
pub(super) struct Lane {
    outgoing: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    next: AtomicU64,
    heard: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    calls: BTreeMap<u64, oneshot::Sender<Body>>,
    /// Why the stream ended.
    ended: Option<String>,
}

impl Lane {
    /// A lane and the frames to be written to the stream, the hello first.
    pub(super) fn new(
        hello: v1::PeerHello,
        now: Timestamp,
    ) -> (Self, impl Stream<Item = v1::PeerFrame> + Send + use<>) {
        let (outgoing, queue) = mpsc::channel::<Queued>(QUEUED_CALLS);
        let first = v1::PeerFrame {
            number: 0,
            body: Some(Body::Hello(hello)),
        };
        let rest = ReceiverStream::new(queue).map(|(frame, _room)| frame);
        let frames = futures_util::stream::iter([first]).chain(rest);
        let lane = Self {
            outgoing,
            room: Arc::new(Semaphore::new(QUEUED_KIB)),
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            heard: AtomicU64::new(now.as_micros()),
        };
        (lane, frames)
    }

    /// Makes one call and gives up once `ttl` has passed. Calls leave in the order in which they were first polled.
    pub(super) async fn call(&self, body: Body, ttl: Duration) -> Result<Body, LaneError> {
        let mut call = Call {
            lane: self,
            number: self.next.fetch_add(1, Ordering::Relaxed),
            sent: false,
        };
        match timeout(ttl, call.run(body)).await {
            Ok(answer) => answer,
            Err(_) if call.sent => Err(LaneError::TimedOut(ttl)),
            Err(_) => {
                let reason =
                    format!("too much waits to be sent, and none of it left within {ttl:?}");
                Err(LaneError::NotSent(reason))
            }
        }
    }

    // SUBTLE: as with the room, without waiting where there is no need to: awaiting may yield although there is a place
    // (tokio does so to be fair between tasks), and the calls made by one task would then overtake each other.
    async fn slot(&self) -> Result<mpsc::Permit<'_, Queued>, LaneError> {
        if let Ok(slot) = self.outgoing.try_reserve() {
            return Ok(slot);
        }
        let slot = self.outgoing.reserve().await;
        slot.map_err(|_| LaneError::NotSent(self.why_ended()))
    }

    /// Takes in an answer. One that nobody waits for any more is dropped.
    pub(super) fn answered(&self, frame: v1::PeerFrame, now: Timestamp) {
        self.heard.store(now.as_micros(), Ordering::Relaxed);
        let call = self.with_waiting(|waiting| waiting.calls.remove(&frame.number));
        if let (Some(call), Some(body)) = (call, frame.body) {
            // The caller may have given up at this moment.
            let _ = call.send(body);
        }
    }

    /// Ends all calls: the stream is gone.
    pub(super) fn end(&self, reason: &str) {
        let calls = self.with_waiting(|waiting| {
            waiting.ended = Some(reason.to_owned());
            std::mem::take(&mut waiting.calls)
        });
        drop(calls);
    }

    /// How long nothing has come from the other end.
    pub(super) fn silent_for(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_micros(self.heard.load(Ordering::Relaxed)))
    }

    fn with_waiting<R>(&self, change: impl FnOnce(&mut Waiting) -> R) -> R {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut waiting)
    }

    fn why_ended(&self) -> String {
        let ended = self.with_waiting(|waiting| waiting.ended.clone());
        ended.unwrap_or_else(|| "the stream ended".to_owned())
    }
}

/// One call under way; forgotten by its lane when it is dropped.
struct Call<'a> {
    lane: &'a Lane,
    number: u64,
    sent: bool,
}

impl Call<'_> {
    async fn run(&mut self, body: Body) -> Result<Body, LaneError> {
        let frame = v1::PeerFrame {
            number: self.number,
            body: Some(body),
        };
        let room = self.room_for(&frame).await?;
        let slot = self.lane.slot().await?;
        let answer = self.expect_answer()?;
        self.sent = true;
        slot.send((frame, room));
        answer
            .await
            .map_err(|_| LaneError::Broken(self.lane.why_ended()))
    }

    async fn room_for(&self, frame: &v1::PeerFrame) -> Result<OwnedSemaphorePermit, LaneError> {
        let bytes = frame.encoded_len();
        if bytes > FRAME_BYTES {
            let reason = format!("the message has {bytes} bytes, at most {FRAME_BYTES} are sent");
            return Err(LaneError::NotSent(reason));
        }
        let kib = u32::try_from(bytes / 1_024 + 1).expect("a frame has at most a few MiB");
        let room = Arc::clone(&self.lane.room);
        if let Ok(room) = Arc::clone(&room).try_acquire_many_owned(kib) {
            return Ok(room);
        }
        let room = room.acquire_many_owned(kib).await;
        room.map_err(|_| LaneError::NotSent(self.lane.why_ended()))
    }

    fn expect_answer(&self) -> Result<oneshot::Receiver<Body>, LaneError> {
        let (sender, receiver) = oneshot::channel();
        self.lane.with_waiting(|waiting| match &waiting.ended {
            Some(reason) => Err(LaneError::NotSent(reason.clone())),
            None => {
                waiting.calls.insert(self.number, sender);
                Ok(receiver)
            }
        })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.lane
            .with_waiting(|waiting| waiting.calls.remove(&self.number));
    }
}

#[cfg(test)]
mod tests;
