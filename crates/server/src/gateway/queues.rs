//! Creating, changing and showing queues.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_api::convert::admin::{queue as to_queue, queue_name, set_queue, sum};
use leasehold_api::{ApiError, v1};
use leasehold_core::metadata::command::{CreateQueue, SetQueue};
use leasehold_core::metadata::records::QueueRecord;
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome, MetadataRefusal, MetadataState};
use leasehold_core::shard::view::QueueStats;
use leasehold_types::{ErrorCode, QueueName, ShardId};
use tokio::time::timeout;

use super::Gateway;

/// How long this node waits to have applied a change that the metadata leader has.
const CATCH_UP: Duration = Duration::from_secs(5);
/// A change without a base is merged anew this many times when somebody else was first.
const MERGES: u32 = 5;

impl Gateway {
    /// Creates a queue. The same request again finds it.
    ///
    /// # Errors
    /// When the policy is out of bounds, or the name is taken by a queue with another policy.
    pub async fn create_queue(
        &self,
        request: &v1::CreateQueueRequest,
    ) -> Result<v1::QueueResponse, ApiError> {
        let created = self.try_create_queue(request).await;
        self.counted(created)
    }

    async fn try_create_queue(
        &self,
        request: &v1::CreateQueueRequest,
    ) -> Result<v1::QueueResponse, ApiError> {
        let create = CreateQueue::try_from(request)?;
        self.map().await?;
        let name = create.name.clone();
        let command = MetadataCommand::CreateQueue(create);
        let outcome = self.cluster().propose(command).await?;
        self.as_changed(&name, &outcome).await
    }

    /// Changes a queue's policy, field by field.
    ///
    /// # Errors
    /// When there is no such queue, the policy is out of bounds, or (`conflict`) it is not what the request was based on.
    pub async fn set_queue(
        &self,
        request: &v1::SetQueueRequest,
    ) -> Result<v1::QueueResponse, ApiError> {
        let set = self.set_queue_merging(request).await;
        self.counted(set)
    }

    async fn set_queue_merging(
        &self,
        request: &v1::SetQueueRequest,
    ) -> Result<v1::QueueResponse, ApiError> {
        let mut merges = 0;
        self.map().await?;
        loop {
            let set = self.merged(request)?;
            let name = set.name.clone();
            let command = MetadataCommand::SetQueue(set);
            match self.cluster().propose(command).await {
                Ok(outcome) => return self.as_changed(&name, &outcome).await,
                Err(error) if error.code == ErrorCode::Conflict && request.base == 0 => {
                    merges += 1;
                    if merges > MERGES {
                        return Err(error);
                    }
                    self.await_next_change().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn merged(&self, request: &v1::SetQueueRequest) -> Result<SetQueue, ApiError> {
        let stands = self.record(&queue_name(&request.name)?)?;
        Ok(set_queue(request, stands.policy, stands.index)?)
    }

    fn record(&self, name: &QueueName) -> Result<QueueRecord, ApiError> {
        let found = self
            .cluster()
            .read(|metadata| metadata.queue(name).cloned());
        Ok(found.ok_or_else(|| MetadataRefusal::UnknownQueue(name.clone()))?)
    }

    /// The queue as the change left it, once this node has applied it too.
    async fn as_changed(
        &self,
        name: &QueueName,
        outcome: &MetadataOutcome,
    ) -> Result<v1::QueueResponse, ApiError> {
        self.catch_up_with(changed_at(outcome)).await;
        let queue = to_queue(&self.record(name)?, None);
        Ok(v1::QueueResponse { queue: Some(queue) })
    }

    /// Whoever creates a queue here submits here next.
    async fn catch_up_with(&self, index: u64) {
        // Where this node leads it has applied the change already: those who wait are woken by every change of anybody.
        if self.cluster().read(MetadataState::applied) >= index {
            return;
        }
        let mut applied = self.cluster().applied();
        let caught_up = applied.wait_for(|applied| *applied >= index);
        if timeout(CATCH_UP, caught_up).await.is_err() {
            tracing::warn!(index, "this node is behind with the metadata");
        }
    }

    async fn await_next_change(&self) {
        let mut applied = self.cluster().applied();
        let _whatever_comes_first = timeout(Duration::from_millis(100), applied.changed()).await;
    }

    /// A queue with its counts, as far as its shards' leaders can be asked.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn get_queue(
        &self,
        request: &v1::GetQueueRequest,
    ) -> Result<v1::QueueResponse, ApiError> {
        self.map().await?;
        let name = queue_name(&request.name).map_err(ApiError::from);
        let record = self.counted(name.and_then(|name| self.record(&name)))?;
        let counts = self.counts_of(&record.shards).await;
        let queue = to_queue(&record, counts.of(&record));
        Ok(v1::QueueResponse { queue: Some(queue) })
    }

    /// Every queue with its counts, and the shards whose counts are missing.
    ///
    /// # Errors
    /// `unavailable` while this node has not read the map yet.
    pub async fn list_queues(&self) -> Result<v1::ListQueuesResponse, ApiError> {
        self.map().await?;
        let (records, shards) = self.cluster().read(|metadata| {
            let records: Vec<QueueRecord> = metadata.queues().cloned().collect();
            let shards: Vec<ShardId> = metadata.shards().map(|shard| shard.id).collect();
            (records, shards)
        });
        let counts = self.counts_of(&shards).await;
        let with_counts = |record: &QueueRecord| to_queue(record, counts.of(record));
        Ok(v1::ListQueuesResponse {
            queues: records.iter().map(with_counts).collect(),
            missing_shards: counts.missing.iter().map(|shard| shard.get()).collect(),
        })
    }

    async fn counts_of(&self, shards: &[ShardId]) -> Counts {
        let mut counts = Counts::default();
        for (shard, status) in self.statuses(shards).await {
            let Ok(status) = status else {
                counts.missing.push(shard);
                continue;
            };
            for (queue, part) in status.queues {
                let sum_so_far = counts.queues.entry(queue).or_default();
                *sum_so_far = sum(*sum_so_far, part.into());
            }
        }
        counts
    }
}

/// Counts by queue, over the shards that answered.
#[derive(Default)]
struct Counts {
    queues: BTreeMap<String, QueueStats>,
    missing: Vec<ShardId>,
}

impl Counts {
    /// A queue's counts; none when none of its shards answered.
    fn of(&self, record: &QueueRecord) -> Option<QueueStats> {
        if record
            .shards
            .iter()
            .all(|shard| self.missing.contains(shard))
        {
            return None;
        }
        let counts = self.queues.get(record.name.as_str());
        Some(counts.copied().unwrap_or_default())
    }
}

/// Index of the entry that made the change.
const fn changed_at(outcome: &MetadataOutcome) -> u64 {
    match outcome {
        MetadataOutcome::QueueCreated(index) | MetadataOutcome::QueueSet(index) => *index,
        MetadataOutcome::Founded(_)
        | MetadataOutcome::NodeAdded(_)
        | MetadataOutcome::NodeStarted
        | MetadataOutcome::ShardCreated(_)
        | MetadataOutcome::Intended(_)
        | MetadataOutcome::Refused(_) => 0,
    }
}
