//! The `Admin` service: see `proto/leasehold/v1/admin.proto`.

use leasehold_api::v1;
use leasehold_api::v1::admin_server::{Admin, AdminServer};
use leasehold_types::limits;
use tonic::{Request, Response, Status};

use crate::gateway::Gateway;

/// See [`service`].
#[derive(Clone)]
pub struct AdminService {
    gateway: Gateway,
}

/// The service over this node's gateway. A request may have [`limits::REQUEST_BYTES`].
#[must_use]
pub fn service(gateway: Gateway) -> AdminServer<AdminService> {
    AdminServer::new(AdminService { gateway }).max_decoding_message_size(limits::REQUEST_BYTES)
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn create_queue(
        &self,
        request: Request<v1::CreateQueueRequest>,
    ) -> Result<Response<v1::QueueResponse>, Status> {
        let queue = self.gateway.create_queue(request.get_ref()).await?;
        Ok(Response::new(queue))
    }

    async fn set_queue(
        &self,
        request: Request<v1::SetQueueRequest>,
    ) -> Result<Response<v1::QueueResponse>, Status> {
        let queue = self.gateway.set_queue(request.get_ref()).await?;
        Ok(Response::new(queue))
    }

    async fn get_queue(
        &self,
        request: Request<v1::GetQueueRequest>,
    ) -> Result<Response<v1::QueueResponse>, Status> {
        let queue = self.gateway.get_queue(request.get_ref()).await?;
        Ok(Response::new(queue))
    }

    async fn list_queues(
        &self,
        _request: Request<v1::ListQueuesRequest>,
    ) -> Result<Response<v1::ListQueuesResponse>, Status> {
        Ok(Response::new(self.gateway.list_queues().await?))
    }

    async fn redrive(
        &self,
        request: Request<v1::RedriveRequest>,
    ) -> Result<Response<v1::RedriveResponse>, Status> {
        let redriven = self.gateway.redrive(request.into_inner()).await?;
        Ok(Response::new(redriven))
    }

    async fn discard(
        &self,
        request: Request<v1::DiscardRequest>,
    ) -> Result<Response<v1::DiscardResponse>, Status> {
        let discarded = self.gateway.discard(request.into_inner()).await?;
        Ok(Response::new(discarded))
    }

    async fn cluster_status(
        &self,
        _request: Request<v1::ClusterStatusRequest>,
    ) -> Result<Response<v1::ClusterStatusResponse>, Status> {
        Ok(Response::new(self.gateway.cluster_status()))
    }

    async fn list_shards(
        &self,
        _request: Request<v1::ListShardsRequest>,
    ) -> Result<Response<v1::ListShardsResponse>, Status> {
        Ok(Response::new(self.gateway.list_shards().await?))
    }
}
