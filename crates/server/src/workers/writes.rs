//! Workers' writes (results, failures, jobs handed back) on their way to leaders, many in one call.
//!
//! One lane a shard, over all sessions: what arrives while calls are under way goes out together with the next. A
//! thousand workers that finish at once then cost a leader a few messages and not a thousand. Writes may be repeated
//! (their fence makes them idempotent), so a call that got no answer is simply reported as not known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use leasehold_api::convert::{job_id, writes as convert};
use leasehold_api::v1::shard_answer::Answer;
use leasehold_api::v1::shard_call::Call;
use leasehold_api::v1::worker_write::Write as Wire;
use leasehold_api::v1::write_answer::Answer as WriteAnswer;
use leasehold_api::{ApiError, v1};
use leasehold_core::shard::command::{Fail, Release};
use leasehold_types::{Digest, ErrorCode, ShardId, limits};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::renewals::unexpected;
use super::session::Session;
use crate::gateway::Router;

/// Longest that a write looks for a leader. Its worker keeps it and sends it again.
const TTL: Duration = Duration::from_secs(10);
/// Calls under way at once in one lane.
const UNDER_WAY: usize = 4;
/// Writes that may wait in one lane.
const WAITING: usize = 8 * limits::ENTRY_COMMANDS;
/// When to come back to a lane that is full.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Who is told what became of a write.
#[derive(Debug)]
pub(super) enum Reply {
    /// The worker on its stream, as the answer to its message.
    Stream { session: Arc<Session>, number: u64 },
    /// A call that waits.
    Call(oneshot::Sender<v1::WriteAnswer>),
    /// Nobody: the gateway hands back itself what did not reach its worker.
    Nobody,
}

/// A write as its worker sent it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    wire: Wire,
    /// Whether the gateway itself hands the job back.
    undelivered: bool,
    named: Named,
}

/// The job and the fence, as the worker spelt them.
#[derive(Debug, Clone)]
struct Named {
    job_id: String,
    fence: String,
}

struct Item {
    write: v1::WorkerWrite,
    bytes: usize,
    named: Named,
    reply: Reply,
}

/// The lanes of all shards.
pub(super) struct Writes {
    router: Router,
    stopped: CancellationToken,
    lanes: Mutex<BTreeMap<ShardId, mpsc::Sender<Item>>>,
}

impl Inner {
    /// Checks a write and sends it to its shard's leader; `reply` hears what became of it.
    pub(super) fn send_write(&self, sent: Sent, reply: Reply) {
        let named = sent.named.clone();
        let undelivered = sent.undelivered;
        let placed = checked(sent).and_then(|(wire, bytes)| {
            let job = job_id(&named.job_id)?;
            let shard = self.shard_of(job);
            Ok((shard.ok_or_else(|| no_shard(&named))?, wire, bytes))
        });
        match placed {
            Ok((shard, wire, bytes)) => {
                let write = v1::WorkerWrite {
                    write: Some(wire),
                    undelivered,
                };
                let item = Item {
                    write,
                    bytes,
                    named,
                    reply,
                };
                self.writes.push(shard, item);
            }
            Err(error) => {
                self.metrics.refused(error.code, 1);
                reply.tell(named.failed(error));
            }
        }
    }
}

impl Writes {
    pub(super) fn new(router: Router, stopped: CancellationToken) -> Self {
        Self {
            router,
            stopped,
            lanes: Mutex::default(),
        }
    }

    fn push(&self, shard: ShardId, item: Item) {
        match self.lane(shard).try_send(item) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(item)) => {
                let message = format!("{WAITING} writes wait for shard {shard}: send it again");
                let full = ApiError::new(ErrorCode::ResourceExhausted, message);
                item.fail(full.with_retry_after(RETRY_AFTER));
            }
            Err(mpsc::error::TrySendError::Closed(item)) => {
                item.fail(ApiError::unavailable(
                    "this node is stopping: dial another endpoint",
                ));
            }
        }
    }

    fn lane(&self, shard: ShardId) -> mpsc::Sender<Item> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(shard).or_insert_with(|| {
            let (sender, items) = mpsc::channel(WAITING);
            tokio::spawn(run(shard, self.router.clone(), items, self.stopped.clone()));
            sender
        });
        lane.clone()
    }
}

async fn run(
    shard: ShardId,
    router: Router,
    mut items: mpsc::Receiver<Item>,
    stopped: CancellationToken,
) {
    let mut calls = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            Some(()) = calls.next(), if !calls.is_empty() => {}
            first = items.recv(), if calls.len() < UNDER_WAY => match first {
                Some(first) => calls.push(send(shard, router.clone(), gather(first, &mut items))),
                None => return,
            },
        }
    }
}

/// What waits, up to what one log entry carries.
fn gather(first: Item, items: &mut mpsc::Receiver<Item>) -> Vec<Item> {
    let mut bytes = first.bytes;
    let mut gathered = vec![first];
    while bytes < limits::ENTRY_BYTES && gathered.len() < limits::ENTRY_COMMANDS {
        let Ok(next) = items.try_recv() else {
            break;
        };
        bytes += next.bytes;
        gathered.push(next);
    }
    gathered
}

async fn send(shard: ShardId, router: Router, items: Vec<Item>) {
    let writes = v1::WorkerWrites {
        writes: items.iter().map(|item| item.write.clone()).collect(),
    };
    let call = v1::ShardCall {
        shard_id: shard.get(),
        call: Some(Call::Writes(writes)),
    };
    match router.call(shard, call, TTL).await.and_then(read) {
        Ok(answers) if answers.len() == items.len() => {
            let told = items.into_iter().zip(answers);
            told.for_each(|(item, answer)| item.reply.tell(answer));
        }
        Ok(_) => {
            let odd =
                ApiError::unknown("a leader answered another number of writes: send it again");
            items.into_iter().for_each(|item| item.fail(odd.clone()));
        }
        Err(error) => items.into_iter().for_each(|item| item.fail(error.clone())),
    }
}

fn read(answer: v1::ShardAnswer) -> Result<Vec<v1::WriteAnswer>, ApiError> {
    match answer.answer {
        Some(Answer::Writes(writes)) => Ok(writes.answers),
        other => Err(unexpected("writes", other)),
    }
}

/// The write with every bound checked and the result's digest filled in, and about how large it is.
fn checked(sent: Sent) -> Result<(Wire, usize), ApiError> {
    Ok(match sent.wire {
        Wire::Complete(wire) => {
            let computed = Digest::new(Sha256::digest(&wire.result).into());
            let bytes = wire.result.len();
            let complete = convert::complete(wire, Some(computed))?;
            (Wire::Complete(complete.into()), bytes)
        }
        Wire::Fail(wire) => {
            let fail = Fail::try_from(wire)?;
            let bytes = fail.message.len() + fail.detail.len();
            (Wire::Fail(fail.into()), bytes)
        }
        Wire::Release(wire) => {
            let release = Release::try_from(wire)?;
            let bytes = release.reason.len();
            (Wire::Release(release.into()), bytes)
        }
    })
}

fn no_shard(named: &Named) -> ApiError {
    let job = &named.job_id;
    ApiError::not_found(format!("job {job} belongs to no shard of this cluster"))
}

impl Item {
    fn fail(self, error: ApiError) {
        self.reply.tell(self.named.failed(error));
    }
}

impl Named {
    fn failed(self, error: ApiError) -> v1::WriteAnswer {
        v1::WriteAnswer {
            job_id: self.job_id,
            fence: self.fence,
            answer: Some(WriteAnswer::Error(error.into())),
            ..v1::WriteAnswer::default()
        }
    }
}

impl Reply {
    fn tell(self, answer: v1::WriteAnswer) {
        match self {
            Self::Stream { session, number } => {
                session.answer(v1::WriteAnswer { number, ..answer });
            }
            Self::Call(waits) => {
                let _may_have_left = waits.send(answer);
            }
            Self::Nobody => note_refusal(&answer),
        }
    }
}

fn note_refusal(answer: &v1::WriteAnswer) {
    if let Some(WriteAnswer::Error(error)) = &answer.answer {
        let (job_id, why) = (&answer.job_id, &error.message);
        tracing::debug!(%job_id, %why, "a job could not be handed back, its lease decides");
    }
}

impl Sent {
    fn new(job_id: &str, fence: &str, wire: Wire) -> Self {
        let named = Named {
            job_id: job_id.to_owned(),
            fence: fence.to_owned(),
        };
        let undelivered = false;
        Self {
            wire,
            undelivered,
            named,
        }
    }

    /// A job goes back that did not reach its worker.
    pub(super) fn undelivered(release: v1::ReleaseRequest) -> Self {
        let undelivered = true;
        Self {
            undelivered,
            ..Self::from(release)
        }
    }
}

impl From<v1::CompleteRequest> for Sent {
    fn from(wire: v1::CompleteRequest) -> Self {
        Self::new(
            &wire.job_id.clone(),
            &wire.fence.clone(),
            Wire::Complete(wire),
        )
    }
}

impl From<v1::FailRequest> for Sent {
    fn from(wire: v1::FailRequest) -> Self {
        Self::new(&wire.job_id.clone(), &wire.fence.clone(), Wire::Fail(wire))
    }
}

impl From<v1::ReleaseRequest> for Sent {
    fn from(wire: v1::ReleaseRequest) -> Self {
        Self::new(
            &wire.job_id.clone(),
            &wire.fence.clone(),
            Wire::Release(wire),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(result: &'static [u8], digest: &[u8]) -> Sent {
        Sent::from(v1::CompleteRequest {
            session: "w-1".to_owned(),
            job_id: "00a1-0123456789abcdef01234567".to_owned(),
            fence: "f0.7.42".to_owned(),
            result: result.into(),
            digest: digest.to_vec().into(),
        })
    }

    #[test]
    fn result_without_a_digest_is_given_its_own() {
        let (wire, bytes) = checked(complete(b"yes", &[])).unwrap();
        let Wire::Complete(wire) = wire else {
            panic!("another write came out: {wire:?}");
        };
        assert_eq!(bytes, 3);
        assert_eq!(wire.digest.as_ref(), Sha256::digest(b"yes").as_slice());
    }

    #[test]
    fn result_that_does_not_match_its_digest_is_refused() {
        let error = checked(complete(b"yes", &[7; 32])).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("digest"), "{error}");
    }

    #[test]
    fn refusal_names_job_and_fence_as_the_worker_spelt_them() {
        let sent = Sent::from(v1::ReleaseRequest {
            job_id: "nonsense".to_owned(),
            fence: "f1".to_owned(),
            ..v1::ReleaseRequest::default()
        });
        let named = sent.named.clone();
        let error = checked(sent).unwrap_err();
        let answer = named.failed(error);
        assert_eq!(
            (answer.job_id.as_str(), answer.fence.as_str()),
            ("nonsense", "f1")
        );
        assert!(matches!(answer.answer, Some(WriteAnswer::Error(_))));
    }
}
