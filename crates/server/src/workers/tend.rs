//! The task of one session: makes its offers, notices its silence, and tells the leaders when it is over.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use leasehold_api::v1;
use leasehold_api::v1::shard_call::Call;
use leasehold_types::{ShardId, Timestamp};
use tokio::time::sleep;

use super::Inner;
use super::session::{End, Session};

/// How long leaders are told that a session ended. Those who do not hear of it find out by its silence.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// Shortest sleep, so that a deadline which cannot be dealt with yet costs little.
const NAP_MIN: Duration = Duration::from_millis(1);

/// Tends a session until it ends. When everything stops, nobody is told anything any more.
pub(super) async fn tend(inner: Arc<Inner>, session: Arc<Session>) {
    let stopped = inner.stopped.clone();
    tokio::select! {
        biased;
        () = stopped.cancelled() => session.end(End::Stopping),
        () = tend_and_bury(&inner, &session) => {}
    }
}

async fn tend_and_bury(inner: &Arc<Inner>, session: &Arc<Session>) {
    let mut offers = FuturesUnordered::new();
    loop {
        offers.extend(inner.offers(session));
        let nap = inner.nap(session);
        tokio::select! {
            biased;
            () = session.ended.cancelled() => break,
            Some(outcome) = offers.next() => inner.settle_offer(session, outcome),
            () = session.wake.notified() => {}
            () = sleep(nap) => {}
        }
    }
    drop(offers);
    inner.registry.remove(session);
    inner.farewell(session).await;
}

impl Inner {
    /// How long to sleep if nothing happens; ends a session that has been silent for too long.
    fn nap(&self, session: &Session) -> Duration {
        let now = self.now();
        let (silence_ends, next) = session.lending(|lending| {
            let silence_ends = lending.heard_at() + lending.pace().void * 2;
            (silence_ends, lending.next_deadline())
        });
        if silence_ends <= now {
            session.end(End::Silent);
        }
        let until: Timestamp = next.map_or(silence_ends, |next| next.min(silence_ends));
        until.since(now).max(NAP_MIN)
    }

    async fn farewell(&self, session: &Session) {
        let Some(why) = session.why_ended() else {
            return;
        };
        tracing::info!(session = %session.id, ?why, "worker session ended");
        session.say_goodbye(why);
        // A session that was opened again has the leaders' ear already: they would forget the new one.
        if why == End::Replaced {
            return;
        }
        let shards: Vec<ShardId> = session.lending(|lending| lending.shards().collect());
        join_all(
            shards
                .into_iter()
                .map(|shard| self.tell_ended(shard, session)),
        )
        .await;
    }

    async fn tell_ended(&self, shard: ShardId, session: &Session) {
        let ended = v1::SessionEnded {
            session: session.id.to_string(),
            gateway: self.cluster.node().get(),
        };
        let call = v1::ShardCall {
            shard_id: shard.get(),
            call: Some(Call::SessionEnded(ended)),
        };
        if let Err(error) = self.leaders.call(shard, call, FAREWELL).await {
            tracing::debug!(session = %session.id, shard_id = %shard, %error, "leader was not told that a session ended");
        }
    }
}
