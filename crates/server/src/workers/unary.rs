//! Working jobs by calls instead of a stream: for anything that speaks HTTP and cannot hold one open.
//!
//! A `Lease` call opens a session that stands between calls, so that the slots it lent can be taken back in order. The
//! session's slots are free only while a call waits; what is granted in the very moment in which a call ends is handed
//! back. Messages have no numbers here, so a lease that was granted counts from when its call was sent: a worker that
//! waited long for its first job renews it before anything else.

use std::sync::Arc;
use std::time::Duration;

use leasehold_api::convert::workers::{Hello, free_slots, lease_wait};
use leasehold_api::v1::gateway_message::Body;
use leasehold_api::v1::write_answer::Answer;
use leasehold_api::{ApiError, v1};
use leasehold_types::ErrorCode;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::outlet;
use super::session::{Identity, Kind, Session};
use super::writes::{Reply, Sent};
use super::{Inner, WorkerSessions};

/// A call that does not wish to wait still asks every leader once: so long at least.
const WAIT_MIN: Duration = Duration::from_millis(500);

/// Longest that a call waits for a queue that this node has not heard of: it may have been made this moment.
const QUEUE_WITHIN: Duration = Duration::from_secs(2);

/// What a unary session is handed; one call at a time takes from it.
pub(super) type Inbox = Arc<Mutex<Queue>>;
type Queue = mpsc::Receiver<Result<v1::GatewayMessage, Status>>;

impl WorkerSessions {
    /// Takes up to so many jobs, waiting up to so long for the first.
    ///
    /// # Errors
    /// A malformed request; no such queue; another call of the same session under way; a node that is stopping.
    pub async fn lease(&self, request: v1::LeaseRequest) -> Result<v1::LeaseResponse, ApiError> {
        let jobs = free_slots("jobs", request.jobs)?.max(1);
        let wait = lease_wait(request.wait_ms)?.max(WAIT_MIN);
        let hello = hello(request)?;
        self.inner.refuse_unknown_queues(&hello).await?;
        let call = self.inner.take_turn(hello)?;
        Ok(call.collect(jobs, wait).await)
    }

    /// Hands in a result.
    ///
    /// # Errors
    /// Why it was refused, or that it is not known whether it was accepted.
    pub async fn complete(
        &self,
        request: v1::CompleteRequest,
    ) -> Result<v1::CompleteResponse, ApiError> {
        match self.inner.write_and_wait(request.into()).await? {
            Answer::Completed(completed) => Ok(completed),
            other @ (Answer::Failed(_) | Answer::Released(_) | Answer::Error(_)) => {
                Err(other_answer(other))
            }
        }
    }

    /// Reports a failure.
    ///
    /// # Errors
    /// Why it was refused, or that it is not known whether it counted.
    pub async fn fail(&self, request: v1::FailRequest) -> Result<v1::FailResponse, ApiError> {
        match self.inner.write_and_wait(request.into()).await? {
            Answer::Failed(failed) => Ok(failed),
            other @ (Answer::Completed(_) | Answer::Released(_) | Answer::Error(_)) => {
                Err(other_answer(other))
            }
        }
    }

    /// Hands a job back unrun.
    ///
    /// # Errors
    /// Why it was refused, or that it is not known whether it counted.
    pub async fn release(
        &self,
        request: v1::ReleaseRequest,
    ) -> Result<v1::ReleaseResponse, ApiError> {
        match self.inner.write_and_wait(request.into()).await? {
            Answer::Released(released) => Ok(released),
            other @ (Answer::Completed(_) | Answer::Failed(_) | Answer::Error(_)) => {
                Err(other_answer(other))
            }
        }
    }
}

fn hello(request: v1::LeaseRequest) -> Result<Hello, ApiError> {
    let hello = v1::WorkerHello {
        session: request.session,
        worker: request.worker,
        queues: request.queues,
        supply: request.supply,
        ..v1::WorkerHello::default()
    };
    Ok(Hello::try_from(hello)?)
}

/// A refusal as the call's error; anything else was not asked for.
fn other_answer(answer: Answer) -> ApiError {
    match answer {
        Answer::Error(error) => error.into(),
        Answer::Completed(_) | Answer::Failed(_) | Answer::Released(_) => {
            ApiError::internal("a leader answered a write with another kind of answer")
        }
    }
}

impl Inner {
    async fn write_and_wait(&self, sent: Sent) -> Result<Answer, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.send_write(sent, Reply::Call(reply));
        let stopping =
            "this node is stopping and does not know what became of the write: repeat it";
        let answer = answer.await.map_err(|_| ApiError::unknown(stopping))?;
        answer
            .answer
            .ok_or_else(|| ApiError::internal("a leader answered a write with nothing"))
    }

    /// Somebody who asks for jobs of queues that do not exist has most likely misspelt them.
    async fn refuse_unknown_queues(&self, hello: &Hello) -> Result<(), ApiError> {
        let mut applied = self.cluster.applied();
        let known = applied.wait_for(|_| self.knows_any(&hello.queues));
        if matches!(timeout(QUEUE_WITHIN, known).await, Ok(Ok(_))) {
            return Ok(());
        }
        let queue = &hello.queues[0];
        Err(ApiError::not_found(format!(
            "queue {queue} does not exist: create it with `leasehold queue create {queue}`"
        )))
    }

    /// The session's turn, which one call has at a time.
    fn take_turn(self: &Arc<Self>, hello: Hello) -> Result<Turn, ApiError> {
        self.refuse_when_leaving()?;
        let id = hello.session;
        let identity = self.identity(hello, Kind::Unary);
        let session = self.unary_session(identity)?;
        let inbox = session
            .inbox
            .clone()
            .and_then(|inbox| inbox.try_lock_owned().ok());
        let Some(inbox) = inbox else {
            let message = format!("session {id} takes jobs by another call or stream already");
            return Err(ApiError::new(ErrorCode::FailedPrecondition, message));
        };
        Ok(Turn {
            inner: Arc::clone(self),
            session,
            inbox,
        })
    }

    /// The session of earlier calls, if it is of the same worker; else a new one. A stream is left alone.
    fn unary_session(self: &Arc<Self>, identity: Identity) -> Result<Arc<Session>, ApiError> {
        let stands = self.registry.get(identity.hello.session);
        let stays = |s: &Arc<Session>| s.kind == Kind::Stream || s.is_of(&identity);
        let lives = |s: &Arc<Session>| !s.ended.is_cancelled();
        if let Some(stands) = stands.filter(stays).filter(lives) {
            return Ok(stands);
        }
        let (outlet, inbox) = outlet::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        self.attach(identity, outlet, Some(inbox))
    }
}

/// One `Lease` call's hold of its session. Dropped in any way, it leaves no slot free and no job behind.
struct Turn {
    inner: Arc<Inner>,
    session: Arc<Session>,
    inbox: OwnedMutexGuard<Queue>,
}

impl Turn {
    async fn collect(mut self, jobs: u32, wait: Duration) -> v1::LeaseResponse {
        self.lend(jobs);
        let first = timeout(wait, self.first()).await.ok().flatten();
        self.lend(0);
        let mut assignments = Vec::from_iter(first);
        assignments.extend(self.rest());
        v1::LeaseResponse { assignments }
    }

    /// The next job; none when the session or the node stops. The waiting call is what shows that the worker lives.
    async fn first(&mut self) -> Option<v1::Assignment> {
        loop {
            let refresh = self.session.lending(|lending| lending.pace().refresh);
            let message = tokio::select! {
                biased;
                () = self.inner.leaving.cancelled() => return None,
                () = self.session.ended.cancelled() => return None,
                message = self.inbox.recv() => message?,
                () = sleep(refresh) => {
                    let now = self.inner.now();
                    self.session.change(|lending| lending.heard(0, now));
                    continue;
                }
            };
            if let Some(assignment) = assignment(message) {
                return Some(assignment);
            }
        }
    }

    /// What else has been handed over by now.
    fn rest(&mut self) -> Vec<v1::Assignment> {
        let messages = std::iter::from_fn(|| self.inbox.try_recv().ok());
        messages.filter_map(assignment).collect()
    }

    fn lend(&self, free: u32) {
        let now = self.inner.now();
        self.session.change(|lending| {
            lending.heard(0, now);
            lending.credit(free, u64::MAX, 0);
        });
    }
}

impl Drop for Turn {
    /// A caller that went away while it waited gets no jobs; those that came in that moment go back at once.
    fn drop(&mut self) {
        self.lend(0);
        for assignment in self.rest() {
            self.inner.hand_back(&assignment);
        }
    }
}

fn assignment(message: Result<v1::GatewayMessage, Status>) -> Option<v1::Assignment> {
    match message.ok()?.body? {
        Body::Assignment(assignment) => Some(assignment),
        Body::Opened(_) | Body::Renewed(_) | Body::Write(_) | Body::Leaving(_) => None,
    }
}
