//! For operators: queues, dead letters, the state of the cluster. Messages are the protocol's own.

use leasehold_api::v1;
use leasehold_types::JobId;

use crate::client::{Client, Kind, admin};
use crate::error::ClientError;

/// The admin service, with the client's failover. Every change here may be repeated safely.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Client {
    /// For operators.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin {
            client: self.clone(),
        }
    }
}

/// One method a call of the service.
macro_rules! admin_calls {
    ($($(#[$doc:meta])* $method:ident($request:ident) -> $answer:ident, $kind:ident;)+) => {
        impl Admin {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// See [`Client::call`].
                pub async fn $method(
                    &self,
                    request: v1::$request,
                ) -> Result<v1::$answer, ClientError> {
                    let ask = |channel| {
                        let request = request.clone();
                        async move { admin(channel).$method(request).await }
                    };
                    self.client.call(Kind::$kind, ask).await
                }
            )+
        }
    };
}

admin_calls! {
    /// Creates a queue; finds it when it exists with this very policy.
    create_queue(CreateQueueRequest) -> QueueResponse, Write;
    /// Changes a queue's policy, field by field.
    set_queue(SetQueueRequest) -> QueueResponse, Write;
    /// One queue with its policy and counts.
    get_queue(GetQueueRequest) -> QueueResponse, Read;
    /// All queues.
    list_queues(ListQueuesRequest) -> ListQueuesResponse, Read;
    /// Nodes, regions and the metadata group.
    cluster_status(ClusterStatusRequest) -> ClusterStatusResponse, Read;
    /// All shards with their leaders and counts.
    list_shards(ListShardsRequest) -> ListShardsResponse, Read;
}

impl Admin {
    /// Puts a dead letter back.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such job or it is no dead letter, [`ClientError::Unavailable`], or
    /// [`ClientError::Unknown`].
    pub async fn redrive(&self, job: JobId) -> Result<(), ClientError> {
        let ask = |channel| {
            let job_id = job.to_string();
            let request = v1::RedriveRequest { job_id };
            async move { admin(channel).redrive(request).await }
        };
        let call = self.client.ordinary(Kind::Write, Some(job));
        self.client.repeat(call, ask).await.map(drop)
    }

    /// Removes a dead letter before its retention ends.
    ///
    /// # Errors
    /// As for [`Admin::redrive`].
    pub async fn discard(&self, job: JobId) -> Result<(), ClientError> {
        let ask = |channel| {
            let job_id = job.to_string();
            let request = v1::DiscardRequest { job_id };
            async move { admin(channel).discard(request).await }
        };
        let call = self.client.ordinary(Kind::Write, Some(job));
        self.client.repeat(call, ask).await.map(drop)
    }
}
