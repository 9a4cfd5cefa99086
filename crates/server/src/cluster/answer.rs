//! What other nodes ask of the metadata: changes that this node decides if it leads, and nodes that join.

use leasehold_api::ApiError;
use leasehold_api::convert::admin::{queue, queue_name, set_queue};
use leasehold_api::convert::nodes::{Joining, leader_hint, node_status};
use leasehold_api::convert::policy::timings_word;
use leasehold_api::v1::{self, join_response, metadata_answer, metadata_call};
use leasehold_core::metadata::command::{CreateQueue, NodeStarted};
use leasehold_core::metadata::{MetadataCommand, MetadataOutcome, MetadataRefusal};
use leasehold_types::{ClusterId, ErrorCode, NodeId};

use super::Cluster;
use super::propose::Missed;
use crate::peers::ProtocolRange;

impl Cluster {
    /// Answers a call that another node passed on. It is not passed on a second time: a node that does not lead says
    /// who does, so that no call can go in circles.
    pub async fn answer(&self, call: v1::MetadataCall) -> v1::MetadataAnswer {
        let answer = match call.call {
            Some(metadata_call::Call::CreateQueue(request)) => self.create_queue(&request).await,
            Some(metadata_call::Call::SetQueue(request)) => self.set_queue(&request).await,
            Some(metadata_call::Call::Join(request)) => self.join_here(&request).await,
            None => Err(ApiError::new(
                ErrorCode::Unsupported,
                "a call to the metadata that this version does not know",
            )),
        };
        let answer = answer.unwrap_or_else(|error| metadata_answer::Answer::Error(error.into()));
        v1::MetadataAnswer {
            answer: Some(answer),
        }
    }

    /// Lets a node join, or notes that it started; any node can be asked.
    pub async fn join(&self, request: v1::JoinRequest) -> v1::JoinResponse {
        let result = match self.joined(&request, Ask::WhoeverLeads).await {
            Ok(joined) => join_response::Result::Joined(joined),
            Err(error) => join_response::Result::Error(error.into()),
        };
        v1::JoinResponse {
            result: Some(result),
        }
    }

    async fn create_queue(
        &self,
        request: &v1::CreateQueueRequest,
    ) -> Result<metadata_answer::Answer, ApiError> {
        let create = CreateQueue::try_from(request)?;
        self.lead(MetadataCommand::CreateQueue(create)).await?;
        self.queue_answer(&request.name)
    }

    async fn set_queue(
        &self,
        request: &v1::SetQueueRequest,
    ) -> Result<metadata_answer::Answer, ApiError> {
        let name = queue_name(&request.name)?;
        let stands = self.read(|metadata| {
            let queue = metadata.queue(&name)?;
            Some((queue.policy.clone(), queue.index))
        });
        let (policy, index) = stands.ok_or(MetadataRefusal::UnknownQueue(name))?;
        let set = set_queue(request, policy, index)?;
        self.lead(MetadataCommand::SetQueue(set)).await?;
        self.queue_answer(&request.name)
    }

    fn queue_answer(&self, name: &str) -> Result<metadata_answer::Answer, ApiError> {
        let name = queue_name(name)?;
        let queue = self.read(|metadata| metadata.queue(&name).map(|record| queue(record, None)));
        if queue.is_none() {
            return Err(MetadataRefusal::UnknownQueue(name).into());
        }
        Ok(metadata_answer::Answer::Queue(v1::QueueResponse { queue }))
    }

    async fn join_here(
        &self,
        request: &v1::JoinRequest,
    ) -> Result<metadata_answer::Answer, ApiError> {
        let joined = self.joined(request, Ask::ThisNode).await?;
        Ok(metadata_answer::Answer::Join(v1::JoinResponse {
            result: Some(join_response::Result::Joined(joined)),
        }))
    }

    async fn joined(&self, request: &v1::JoinRequest, ask: Ask) -> Result<v1::Joined, ApiError> {
        check_protocol(request)?;
        let command = match Joining::try_from(request)? {
            Joining::New(add) => MetadataCommand::AddNode(add),
            Joining::Known(cluster, started) => {
                self.hear(cluster, &started)?;
                if self.knows_start(&started) {
                    return Ok(self.welcome(started.node));
                }
                MetadataCommand::NodeStarted(started)
            }
        };
        let known = NodeId::new(request.node_id);
        let outcome = match ask {
            Ask::WhoeverLeads => self.propose(command).await?,
            Ask::ThisNode => self.lead(command).await?,
        };
        match outcome {
            MetadataOutcome::NodeAdded(node) => Ok(self.welcome(node)),
            MetadataOutcome::NodeStarted => Ok(self.welcome(known)),
            MetadataOutcome::Refused(refusal) => Err(refusal.into()),
            MetadataOutcome::Founded(_)
            | MetadataOutcome::ShardCreated(_)
            | MetadataOutcome::Intended(_)
            | MetadataOutcome::QueueCreated(_)
            | MetadataOutcome::QueueSet(_) => Err(ApiError::internal(
                "a join was answered with the outcome of another command",
            )),
        }
    }

    /// Notes where a node of this cluster is now: at once, and not only when it is committed. When all have moved,
    /// this is how they find each other.
    fn hear(&self, cluster: ClusterId, started: &NodeStarted) -> Result<(), ApiError> {
        if cluster == self.id() {
            let peers = self.peers();
            peers.know(started.node, started.boot, &started.addresses.peer);
            return Ok(());
        }
        let why = format!(
            "node {} belongs to cluster {cluster}, and here is cluster {}: \
             give it the address of a node of its own cluster, or an empty data folder to join this one",
            started.node,
            self.id()
        );
        Err(ApiError::new(ErrorCode::PermissionDenied, why))
    }

    /// Whether the metadata has this very start: a node tells it to several others.
    fn knows_start(&self, started: &NodeStarted) -> bool {
        self.read(|metadata| {
            metadata.node(started.node).is_some_and(|known| {
                (known.boot, &known.addresses, &known.build)
                    == (started.boot, &started.addresses, &started.build)
            })
        })
    }

    /// What a node needs to know to take part.
    fn welcome(&self, node: NodeId) -> v1::Joined {
        let leader = self.status().leader;
        let nodes = self.read(|metadata| {
            let nodes = metadata.nodes();
            let status =
                nodes.map(|record| node_status(record, self.peers().unreachable_reason(record.id)));
            status.collect()
        });
        v1::Joined {
            cluster_id: self.id().to_string(),
            node_id: node.get(),
            timings: timings_word(self.timings()).to_owned(),
            nodes,
            metadata_leader: leader.map_or(0, NodeId::get),
        }
    }

    /// Carries a command out if this node leads the metadata.
    async fn lead(&self, command: MetadataCommand) -> Result<MetadataOutcome, ApiError> {
        match self.propose_if_room(command).await {
            Ok(MetadataOutcome::Refused(refusal)) => Err(refusal.into()),
            Ok(outcome) => Ok(outcome),
            Err(Missed::Over(error)) => Err(error),
            Err(Missed::NotDone(error, leader)) => Err(ApiError {
                code: if leader.is_some() {
                    ErrorCode::NotLeader
                } else {
                    error.code
                },
                leader: leader.map(|leader| self.hint(leader)),
                ..error
            }),
        }
    }

    fn hint(&self, leader: NodeId) -> v1::LeaderHint {
        let known = self.read(|metadata| metadata.node(leader).map(leader_hint));
        known.unwrap_or_else(|| v1::LeaderHint {
            node_id: leader.get(),
            ..v1::LeaderHint::default()
        })
    }
}

/// Who is to decide about a join.
#[derive(Clone, Copy)]
enum Ask {
    WhoeverLeads,
    ThisNode,
}

fn check_protocol(request: &v1::JoinRequest) -> Result<(), ApiError> {
    let theirs = ProtocolRange {
        min: request.protocol_min,
        max: request.protocol_max,
    };
    let agreed = ProtocolRange::SPOKEN.agree("this node", theirs, "the node that asks");
    match agreed {
        Ok(_) => Ok(()),
        Err(error) => Err(ApiError::new(ErrorCode::Unsupported, error.to_string())),
    }
}
