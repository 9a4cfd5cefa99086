//! One client: a queue of its own, and one change of it under way.
//!
//! Every change asks for another value, one more than the last: whatever a node shows in the end is told apart from
//! everything that was asked for before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leasehold_api::v1::admin_client::AdminClient;
use leasehold_api::{ApiError, v1};
use leasehold_client::{Address, Client, Kind};
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::Counts;
use crate::commands::bench::clock::now;
use crate::commands::bench::run::{BREATH, Errors};
use crate::commands::bench::target::{QueuePlan, create};
use crate::commands::bench::times::Times;
use crate::commands::bench::wire::connect;
use crate::commands::reach::{self, millis};

/// The queue of one client.
pub(crate) fn queue_name(prefix: &str, client: usize) -> String {
    format!("{prefix}-{client}")
}

pub(super) struct Changer {
    admin: AdminClient<Channel>,
    queue: String,
    /// What the queue was made with, and every change counts up from.
    first: u64,
    unchanged: bool,
    asked: u64,
    ended: Ended,
}

/// What one client leaves behind.
pub(super) struct Ended {
    pub(super) standing: Standing,
    pub(super) queue: String,
    pub(super) times: Times,
    pub(super) errors: Errors,
    /// Changes that may have been made or not.
    pub(super) unsure: u64,
}

/// What may stand in the end.
///
/// A change is made on the base of the one that its node shows, so one of unknown outcome cannot come after a later one
/// that was acknowledged: only those since the last acknowledged may still stand in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    acknowledged: u64,
    unsure: Vec<u64>,
}

impl Standing {
    pub(super) const fn new(value: u64) -> Self {
        Self {
            acknowledged: value,
            unsure: Vec::new(),
        }
    }

    fn acknowledge(&mut self, value: u64) {
        self.acknowledged = value;
        self.unsure.clear();
    }

    fn doubt(&mut self, value: u64) {
        self.unsure.push(value);
    }

    pub(super) fn allows(&self, shown: u64) -> bool {
        shown == self.acknowledged || self.unsure.contains(&shown)
    }
}

impl Changer {
    /// Makes the queue where it is not there yet, and sets the first value, both through the SDK client: it tries again.
    pub(super) async fn open(
        client: &Client,
        address: &Address,
        queue: &QueuePlan,
        unchanged: bool,
    ) -> anyhow::Result<Self> {
        let first = millis(queue.retain);
        create(client, queue).await?;
        let ask = |channel| {
            let request = change(&queue.name, first);
            async move { reach::admin(channel).set_queue(request).await }
        };
        client.call(Kind::Write, ask).await?;
        Ok(Self {
            admin: reach::admin(connect(address).await?),
            queue: queue.name.clone(),
            first,
            unchanged,
            asked: 0,
            ended: Ended {
                standing: Standing::new(first),
                queue: queue.name.clone(),
                times: Times::new(),
                errors: Errors::new(),
                unsure: 0,
            },
        })
    }

    /// Changes the queue until it is told to end, and waits for the last answer.
    pub(super) async fn run(mut self, counts: Arc<Counts>) -> Ended {
        while !counts.end.is_cancelled() {
            let value = self.next_value();
            let is_measured = counts.is_measured.load(Ordering::Relaxed);
            let sent = now();
            let answer = self.admin.set_queue(change(&self.queue, value)).await;
            if self.hear(value, answer) {
                let took = is_measured.then(|| sent.elapsed());
                self.ended.times.add_if(took);
                counts.acknowledged.fetch_add(1, Ordering::Relaxed);
            } else {
                sleep(BREATH).await;
            }
        }
        self.ended
    }

    fn next_value(&mut self) -> u64 {
        self.asked += u64::from(!self.unchanged);
        self.first + self.asked
    }

    /// Whether the change was acknowledged.
    fn hear(&mut self, value: u64, answer: Result<Response<v1::QueueResponse>, Status>) -> bool {
        match answer {
            Ok(response) => {
                self.ended.standing.acknowledge(value);
                if shown(response.get_ref().queue.as_ref()) != Some(value) {
                    self.ended.count("shows another policy");
                }
                true
            }
            Err(status) => {
                let code = ApiError::from(status).code;
                self.ended.count(code.as_str());
                if !code.has_no_side_effects() {
                    self.ended.standing.doubt(value);
                    self.ended.unsure += 1;
                }
                false
            }
        }
    }
}

impl Ended {
    fn count(&mut self, what: &str) {
        *self.errors.entry(format!("change: {what}")).or_default() += 1;
    }
}

/// The value that is changed, as a queue shows it.
pub(super) fn shown(queue: Option<&v1::Queue>) -> Option<u64> {
    Some(queue?.policy.as_ref()?.retain_failed_ms)
}

fn change(queue: &str, value: u64) -> v1::SetQueueRequest {
    v1::SetQueueRequest {
        name: queue.to_owned(),
        policy: Some(v1::QueuePolicyChange {
            retain_failed_ms: Some(value),
            ..v1::QueuePolicyChange::default()
        }),
        base: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_acknowledged_and_what_was_unsure_since_may_stand() {
        let mut standing = Standing::new(10);
        standing.doubt(11);
        standing.acknowledge(12);
        standing.doubt(13);
        let allowed: Vec<u64> = (9..15).filter(|value| standing.allows(*value)).collect();
        assert_eq!(allowed, [12, 13]);
    }
}
