//! What is measured: a cluster of one's own, or one that runs already.

use std::time::Duration;

use anyhow::Context;
use leasehold_api::v1;
use leasehold_client::{Address, Client, ClientError, Kind};
use leasehold_types::ErrorCode;
use tonic::transport::Channel;

use super::nodes::Nodes;
use crate::commands::reach::{self, millis};

/// Longest that a call may take that is not measured: the cluster may be changing its leaders.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where load goes, and whose costs are counted.
pub(super) struct Target {
    /// Where clients connect.
    endpoints: Vec<Address>,
    queue: QueuePlan,
    /// The nodes, where they are the bench's own.
    pub(super) nodes: Option<Nodes>,
}

/// The policy of the queue that load goes through.
#[derive(Debug, Clone)]
pub(super) struct QueuePlan {
    pub(super) name: String,
    pub(super) retain: Duration,
    pub(super) lease: Duration,
}

impl Target {
    /// Asks nobody anything yet.
    pub(super) fn new(
        endpoints: &[String],
        nodes: Option<Nodes>,
        queue: QueuePlan,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            endpoints: addresses(endpoints)?,
            queue,
            nodes,
        })
    }

    /// Makes the queue, where it is not there yet, and reads how it stands.
    pub(super) async fn make_queue(&mut self) -> anyhow::Result<()> {
        self.make(&self.queue).await?;
        let stands = standing(&self.client()?, &self.queue.name).await;
        self.queue = stands.with_context(|| format!("queue {}", self.queue.name))?;
        Ok(())
    }

    /// Makes another queue with the same policy, and returns its name.
    pub(super) async fn queue_beside(&self) -> anyhow::Result<String> {
        let queue = QueuePlan {
            name: format!("{}-beside", self.queue.name),
            ..self.queue.clone()
        };
        self.make(&queue).await?;
        Ok(queue.name)
    }

    async fn make(&self, queue: &QueuePlan) -> anyhow::Result<()> {
        let made = create(&self.client()?, queue).await;
        made.with_context(|| format!("queue {}", queue.name))
    }

    /// Connections go round over the endpoints.
    pub(super) fn endpoint(&self, connection: usize) -> &Address {
        &self.endpoints[connection % self.endpoints.len()]
    }

    pub(super) fn endpoints(&self) -> &[Address] {
        &self.endpoints
    }

    /// Whose counters are read: all nodes of the bench's own, also those that no client connects to.
    pub(super) fn counted(&self) -> anyhow::Result<Vec<Address>> {
        match &self.nodes {
            Some(nodes) => addresses(&nodes.endpoints()),
            None => Ok(self.endpoints.clone()),
        }
    }

    pub(super) fn queue(&self) -> &str {
        &self.queue.name
    }

    /// What the queue's policy says: one that was there already has its own.
    pub(super) const fn policy(&self) -> &QueuePlan {
        &self.queue
    }

    /// An SDK client, for what is not measured.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        client(self.endpoints.iter().map(Address::to_string), PATIENCE)
    }

    /// The processes whose costs are counted; empty for a cluster that is not the bench's own.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.nodes
            .as_ref()
            .map(Nodes::processes)
            .unwrap_or_default()
    }
}

fn addresses(endpoints: &[String]) -> anyhow::Result<Vec<Address>> {
    let parsed = endpoints.iter().map(|endpoint| endpoint.parse());
    Ok(parsed.collect::<Result<_, _>>()?)
}

/// An SDK client that tries for so long.
pub(super) fn client(
    endpoints: impl IntoIterator<Item = String>,
    patience: Duration,
) -> anyhow::Result<Client> {
    let client = Client::builder().endpoints(endpoints).timeout(patience);
    Ok(client.build()?)
}

/// Makes the queue as planned, where it is not there yet.
pub(super) async fn create(client: &Client, queue: &QueuePlan) -> Result<(), ClientError> {
    let policy = v1::QueuePolicyChange {
        lease_ms: Some(millis(queue.lease)),
        retain_done_ms: Some(millis(queue.retain)),
        retain_failed_ms: Some(millis(queue.retain)),
        retain_keys_ms: Some(millis(queue.retain)),
        ..v1::QueuePolicyChange::default()
    };
    let request = v1::CreateQueueRequest {
        name: queue.name.clone(),
        policy: Some(policy),
    };
    let ask = |channel: Channel| {
        let request = request.clone();
        async move { reach::admin(channel).create_queue(request).await }
    };
    match client.call(Kind::Write, ask).await {
        Ok(_) => Ok(()),
        Err(ClientError::Refused(error)) if error.code == ErrorCode::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The queue as it stands.
async fn standing(client: &Client, name: &str) -> anyhow::Result<QueuePlan> {
    let ask = |channel: Channel| {
        let name = name.to_owned();
        async move {
            let request = v1::GetQueueRequest { name };
            reach::admin(channel).get_queue(request).await
        }
    };
    let answer = client.call(Kind::Read, ask).await?;
    let policy = answer.queue.and_then(|queue| queue.policy);
    let policy = policy.context("the answer has no policy")?;
    Ok(QueuePlan {
        name: name.to_owned(),
        retain: Duration::from_millis(policy.retain_done_ms),
        lease: Duration::from_millis(policy.lease_ms),
    })
}
