//! This node's one connection to another: made, watched, dropped, made again, for as long as the node runs.
//!
//! Nothing is queued for a peer that is not connected: a call then fails at once as *not sent*, and whoever called
//! decides whether to wait. What is silent is asked for a sign of life, and dropped when none comes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leasehold_api::v1;
use leasehold_api::v1::peer_frame::Body;
use leasehold_types::NodeId;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::dial;
use super::exchange::{self, Opened};
use super::lane::{Lane, LaneError};
use super::links::Context;
use super::missed::NoLink;
use super::protocol::Protocol;

/// Which of a connection's streams a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Small and urgent.
    Raft,
    /// Everything else.
    Work,
}

/// Calls to one peer go through here.
pub(super) struct Link {
    to: NodeId,
    state: Mutex<State>,
    redial: Notify,
}

enum State {
    Down { why: String },
    Up(Arc<Wire>),
}

/// An established connection.
struct Wire {
    raft: Lane,
    work: Lane,
    protocol: Protocol,
}

impl Wire {
    fn end(&self, why: &str) {
        self.raft.end(why);
        self.work.end(why);
    }
}

impl Link {
    pub(super) fn new(to: NodeId) -> Arc<Self> {
        let why = "it was not dialled yet".to_owned();
        Arc::new(Self {
            to,
            state: Mutex::new(State::Down { why }),
            redial: Notify::new(),
        })
    }

    /// Makes one call and gives up once `ttl` has passed.
    pub(super) async fn call(
        &self,
        stream: Stream,
        body: Body,
        ttl: Duration,
    ) -> Result<Body, LaneError> {
        let wire = self.wire()?;
        let lane = match stream {
            Stream::Raft => &wire.raft,
            Stream::Work => &wire.work,
        };
        lane.call(body, ttl).await
    }

    pub(super) fn is_up(&self) -> bool {
        self.with_state(|state| matches!(state, State::Up(_)))
    }

    /// What both ends speak, while they are connected.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.with_state(|state| match state {
            State::Up(wire) => Some(wire.protocol),
            State::Down { .. } => None,
        })
    }

    /// Why there is no connection, if there is none.
    pub(super) fn why_down(&self) -> Option<String> {
        self.with_state(|state| match state {
            State::Up(_) => None,
            State::Down { why } => Some(why.clone()),
        })
    }

    /// The peer is somewhere else now, or may be back: no need to wait any longer.
    pub(super) fn redial(&self) {
        self.redial.notify_one();
    }

    /// Keeps the peer connected. Runs until it is dropped.
    pub(super) async fn run(self: Arc<Self>, context: Arc<Context>) {
        let mut tried = 0;
        loop {
            let missed = match self.connect(&context).await {
                Ok(connected) => {
                    tried = 0;
                    NoLink::soon(self.serve(connected, &context).await)
                }
                Err(missed) => missed,
            };
            tried += 1;
            let wait = missed.wait(tried, &context);
            self.down(missed.into_why());
            tokio::select! {
                biased;
                () = self.redial.notified() => tried = 0,
                () = sleep(wait) => {}
            }
        }
    }

    async fn connect(&self, context: &Context) -> Result<(Opened, Opened), NoLink> {
        let address = context.book.address(self.to);
        let address = address.ok_or_else(|| NoLink::soon("its address is not known".to_owned()))?;
        let patience = context.patience.connect;
        match timeout(patience, Box::pin(self.open(&address, context))).await {
            Ok(opened) => opened.map_err(|missed| missed.at(&address)),
            Err(_) => {
                let why = format!("no connection within {patience:?}");
                Err(NoLink::soon(why).at(&address))
            }
        }
    }

    async fn open(&self, address: &str, context: &Context) -> Result<(Opened, Opened), NoLink> {
        let client = dial::connect(&context.net, address).await?;
        let raft = exchange::open(client.clone(), self.to, context).await?;
        let work = exchange::open(client, self.to, context).await?;
        Ok((raft, work))
    }

    /// Carries calls until the connection is no good any more, and says why.
    async fn serve(&self, (raft, work): (Opened, Opened), context: &Context) -> String {
        let introduced = raft.introduced;
        context
            .book
            .note(introduced.node, introduced.boot, &introduced.peer_address);
        let wire = Arc::new(Wire {
            raft: raft.lane,
            work: work.lane,
            protocol: introduced.protocol,
        });
        self.up(&wire, &introduced.to_string());
        let why = tokio::select! {
            biased;
            why = receive(&wire.raft, raft.answers, context) => why,
            why = receive(&wire.work, work.answers, context) => why,
            why = watch(&wire.raft, context) => why,
            why = watch(&wire.work, context) => why,
        };
        self.down(why.clone());
        wire.end(&why);
        why
    }

    fn wire(&self) -> Result<Arc<Wire>, LaneError> {
        self.with_state(|state| match state {
            State::Up(wire) => Ok(Arc::clone(wire)),
            State::Down { why } => Err(LaneError::NotSent(why.clone())),
        })
    }

    fn up(&self, wire: &Arc<Wire>, peer: &str) {
        tracing::info!(peer, "peer connected");
        self.with_state(|state| *state = State::Up(Arc::clone(wire)));
    }

    /// Said once for each reason: a peer that stays away is no news.
    fn down(&self, why: String) {
        let is_news = self.with_state(|state| {
            let is_news = !matches!(state, State::Down { why: known } if *known == why);
            *state = State::Down { why: why.clone() };
            is_news
        });
        if is_news {
            tracing::warn!(peer = %self.to, why, "peer not connected");
        }
    }

    fn with_state<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state)
    }
}

/// Takes in answers until the stream ends.
async fn receive(lane: &Lane, mut answers: Streaming<v1::PeerFrame>, context: &Context) -> String {
    loop {
        match answers.message().await {
            Ok(Some(frame)) => lane.answered(frame, context.clock.now()),
            Ok(None) => return "the other side closed the connection".to_owned(),
            Err(status) => return format!("the connection broke: {}", status.message()),
        }
    }
}

/// Asks for a sign of life where nothing was heard, and ends when there is none.
async fn watch(lane: &Lane, context: &Context) -> String {
    let silence = context.patience.silence;
    loop {
        sleep(silence / 4).await;
        let silent = lane.silent_for(context.clock.now());
        if silent >= silence {
            return format!("nothing was heard for {silent:?}");
        }
        if silent >= silence / 2 {
            // Whether it was answered shows in how long the lane is silent.
            let _ = lane.call(Body::Ping(v1::PeerPing {}), silence / 4).await;
        }
    }
}
