//! Calls to leaders on behalf of sessions, a few at a time where no leader answers.
//!
//! A gateway may hold thousands of sessions, and each has an offer or a renewal under way at any time. The router
//! looks for a lost leader several times a second for each call that it is given; were it given all of them, a shard
//! without a leader would cost its neighbours thousands of messages a second. So once a call found nobody, only a few
//! go looking; the first that is answered lets the others through.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_api::{ApiError, v1};
use leasehold_types::{ErrorCode, ShardId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::gateway::Router;
use crate::seam::Seam;

/// Calls that go looking for the leader of one shard at once.
const SEEKERS: usize = 8;

/// The way to leaders.
pub(super) struct Leaders {
    router: Router,
    seam: Seam,
    /// Shards whose leader was not found when last asked.
    lost: Mutex<BTreeMap<ShardId, Arc<Semaphore>>>,
}

impl Leaders {
    pub(super) fn new(router: Router, seam: Seam) -> Self {
        Self {
            router,
            seam,
            lost: Mutex::default(),
        }
    }

    /// Has a shard's leader answer a call within `ttl`. The outcome of a call may be unknown; every call of a session
    /// may be repeated.
    pub(super) async fn call(
        &self,
        shard: ShardId,
        call: v1::ShardCall,
        ttl: Duration,
    ) -> Result<v1::ShardAnswer, ApiError> {
        let began = self.seam.clock.now();
        let Ok(_turn) = timeout(ttl, self.turn(shard)).await else {
            return Err(ApiError::unavailable(format!(
                "no leader of shard {shard} is found for the moment, nothing was done"
            )));
        };
        let left = ttl.saturating_sub(self.seam.clock.now().since(began));
        let answer = self.router.call(shard, call, left).await;
        self.note(shard, &answer);
        answer
    }

    /// A turn to go looking, where the leader is lost; else nothing holds the call up.
    async fn turn(&self, shard: ShardId) -> Option<OwnedSemaphorePermit> {
        let turns = self.lost().get(&shard).cloned()?;
        turns.acquire_owned().await.ok()
    }

    fn note(&self, shard: ShardId, answer: &Result<v1::ShardAnswer, ApiError>) {
        if answer.as_ref().is_err_and(found_nobody) {
            let turns = || Arc::new(Semaphore::new(SEEKERS));
            self.lost().entry(shard).or_insert_with(turns);
        } else if let Some(turns) = self.lost().remove(&shard) {
            // Those in line get no permit any more, and need none.
            turns.close();
        }
    }

    fn lost(&self) -> MutexGuard<'_, BTreeMap<ShardId, Arc<Semaphore>>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found_nobody(error: &ApiError) -> bool {
    match error.code {
        ErrorCode::NotLeader | ErrorCode::Unavailable | ErrorCode::Unknown => true,
        ErrorCode::InvalidArgument
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::StaleFence
        | ErrorCode::FailedPrecondition
        | ErrorCode::Conflict
        | ErrorCode::ResourceExhausted
        | ErrorCode::PermissionDenied
        | ErrorCode::Unsupported
        | ErrorCode::Internal => false,
    }
}
