//! Pages of jobs over all shards.
//!
//! Job ids begin with their slice, and a shard holds a run of slices, so the order of ids goes through one shard after
//! the other and a job's id is cursor enough: it names the shard and the place in it.

use leasehold_api::v1::shard_answer::Answer;
use leasehold_api::v1::shard_call::Call;
use leasehold_api::{ApiError, v1};
use leasehold_core::metadata::records::ShardRecord;
use leasehold_core::metadata::{MetadataRefusal, MetadataState};
use leasehold_core::shard::view::JobFilter;
use leasehold_types::ShardId;

use super::{CALL_TTL, Gateway, odd};

impl Gateway {
    /// A page of jobs, without payloads, results and histories. A page may be short though more follow: go on while
    /// it has a cursor.
    ///
    /// # Errors
    /// When a field is malformed or the queue does not exist; `unavailable` when a shard that comes next has no leader.
    pub async fn list(&self, request: v1::ListRequest) -> Result<v1::ListResponse, ApiError> {
        let listed = self.list_page(&request).await;
        self.counted(listed)
    }

    async fn list_page(&self, request: &v1::ListRequest) -> Result<v1::ListResponse, ApiError> {
        let mut filter = JobFilter::try_from(request)?;
        self.map().await?;
        let shards = self
            .cluster()
            .read(|metadata| still_to_list(metadata, &filter))?;
        let mut page = v1::ListResponse::default();
        let mut shards = shards.into_iter().peekable();
        while let Some(shard) = shards.next() {
            let part = self.list_shard(shard, &filter).await?;
            filter.limit -= part.jobs.len().min(filter.limit);
            page.jobs.extend(part.jobs);
            let shard_has_more = !part.cursor.is_empty();
            if shard_has_more {
                page.cursor = part.cursor;
                return Ok(page);
            }
            if filter.limit == 0 {
                let last = page.jobs.last().map(|job| job.job_id.clone());
                page.cursor = last.filter(|_| shards.peek().is_some()).unwrap_or_default();
                return Ok(page);
            }
        }
        Ok(page)
    }

    async fn list_shard(
        &self,
        shard: ShardId,
        filter: &JobFilter,
    ) -> Result<v1::ListResponse, ApiError> {
        let call = Call::List(filter.into());
        let answer = self.ask(shard, call, CALL_TTL).await?;
        if let Answer::List(part) = answer {
            return Ok(part);
        }
        Err(odd(shard))
    }
}

/// The shards that the list still has to go through, in the order of their slices.
fn still_to_list(metadata: &MetadataState, filter: &JobFilter) -> Result<Vec<ShardId>, ApiError> {
    let of_queue = match &filter.queue {
        None => None,
        Some(name) => {
            let queue = metadata.queue(name);
            let queue = queue.ok_or_else(|| MetadataRefusal::UnknownQueue(name.clone()))?;
            Some(&queue.shards)
        }
    };
    let is_wanted = |shard: &&ShardRecord| {
        let of_queue = of_queue.is_none_or(|shards| shards.contains(&shard.id));
        let is_ahead = filter.after.is_none_or(|job| {
            job.virtual_shard() < shard.first_virtual || shard.holds(job.virtual_shard())
        });
        of_queue && is_ahead
    };
    let mut shards: Vec<&ShardRecord> = metadata.shards().filter(is_wanted).collect();
    shards.sort_by_key(|shard| shard.first_virtual);
    Ok(shards.into_iter().map(|shard| shard.id).collect())
}
