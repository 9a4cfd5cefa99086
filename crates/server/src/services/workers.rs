//! The `Workers` service: see `proto/leasehold/v1/workers.proto`.

use leasehold_api::v1;
use leasehold_api::v1::workers_server::{Workers, WorkersServer};
use leasehold_types::limits;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::workers::WorkerSessions;

/// See [`service`].
#[derive(Clone)]
pub struct WorkersService {
    sessions: WorkerSessions,
}

/// The service over this gateway's sessions. One message may have [`limits::REQUEST_BYTES`].
#[must_use]
pub fn service(sessions: WorkerSessions) -> WorkersServer<WorkersService> {
    WorkersServer::new(WorkersService { sessions })
        .max_decoding_message_size(limits::REQUEST_BYTES)
        .max_encoding_message_size(limits::REQUEST_BYTES)
}

#[tonic::async_trait]
impl Workers for WorkersService {
    type SessionStream = ReceiverStream<Result<v1::GatewayMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let answers = self.sessions.open(request.into_inner());
        let answers = self.sessions.counted(answers).map(ReceiverStream::new);
        answers.map(Response::new)
    }

    async fn lease(
        &self,
        request: Request<v1::LeaseRequest>,
    ) -> Result<Response<v1::LeaseResponse>, Status> {
        let leased = self.sessions.lease(request.into_inner()).await;
        self.sessions.counted(leased).map(Response::new)
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        let renewed = self.sessions.renew(request.into_inner()).await;
        self.sessions.counted(renewed).map(Response::new)
    }

    async fn complete(
        &self,
        request: Request<v1::CompleteRequest>,
    ) -> Result<Response<v1::CompleteResponse>, Status> {
        let completed = self.sessions.complete(request.into_inner()).await;
        self.sessions.counted(completed).map(Response::new)
    }

    async fn fail(
        &self,
        request: Request<v1::FailRequest>,
    ) -> Result<Response<v1::FailResponse>, Status> {
        let failed = self.sessions.fail(request.into_inner()).await;
        self.sessions.counted(failed).map(Response::new)
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let released = self.sessions.release(request.into_inner()).await;
        self.sessions.counted(released).map(Response::new)
    }
}
