//! The `Jobs` service: see `proto/leasehold/v1/jobs.proto`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use leasehold_api::v1;
use leasehold_api::v1::jobs_server::{Jobs, JobsServer};
use leasehold_types::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status, Streaming};

use crate::gateway::Gateway;

/// KiB of jobs that one stream may have unanswered, beside [`limits::STREAM_WINDOW`] submits.
const STREAM_KIB: u32 = 16 * 1024;

/// See [`service`].
#[derive(Clone)]
pub struct JobsService {
    gateway: Gateway,
}

/// The service over this node's gateway. A request may have [`limits::REQUEST_BYTES`].
#[must_use]
pub fn service(gateway: Gateway) -> JobsServer<JobsService> {
    JobsServer::new(JobsService { gateway }).max_decoding_message_size(limits::REQUEST_BYTES)
}

#[tonic::async_trait]
impl Jobs for JobsService {
    type SubmitStreamStream =
        Pin<Box<dyn Stream<Item = Result<v1::SubmitStreamResponse, Status>> + Send>>;

    async fn route(
        &self,
        request: Request<v1::RouteRequest>,
    ) -> Result<Response<v1::RouteResponse>, Status> {
        Ok(Response::new(self.gateway.route(request.get_ref()).await?))
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let submitted = self.gateway.submit(request.into_inner()).await?;
        Ok(Response::new(submitted))
    }

    async fn submit_stream(
        &self,
        request: Request<Streaming<v1::SubmitStreamRequest>>,
    ) -> Result<Response<Self::SubmitStreamStream>, Status> {
        let answers = answers(self.gateway.clone(), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::GetResponse>, Status> {
        let job = self.gateway.get(request.into_inner()).await?;
        Ok(Response::new(job))
    }

    async fn wait(
        &self,
        request: Request<v1::WaitRequest>,
    ) -> Result<Response<v1::WaitResponse>, Status> {
        let job = self.gateway.wait(request.into_inner()).await?;
        Ok(Response::new(job))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let page = self.gateway.list(request.into_inner()).await?;
        Ok(Response::new(page))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let cancelled = self.gateway.cancel(request.into_inner()).await?;
        Ok(Response::new(cancelled))
    }
}

/// Submits as they come, each answered once its outcome is known, in whatever order. A stream that has as much
/// unanswered as it may is not read from until something is answered: HTTP/2 holds the client back.
fn answers(
    gateway: Gateway,
    requests: impl Stream<Item = Result<v1::SubmitStreamRequest, Status>>,
) -> impl Stream<Item = Result<v1::SubmitStreamResponse, Status>> {
    let room = Arc::new(Semaphore::new(
        Semaphore::MAX_PERMITS.min(STREAM_KIB as usize),
    ));
    requests
        .then(move |request| with_room(room.clone(), request))
        .map(move |request| answer(gateway.clone(), request))
        .buffer_unordered(limits::STREAM_WINDOW)
}

type Admitted = Result<(v1::SubmitStreamRequest, OwnedSemaphorePermit), Status>;

async fn with_room(
    room: Arc<Semaphore>,
    request: Result<v1::SubmitStreamRequest, Status>,
) -> Admitted {
    let request = request?;
    let permit = room.acquire_many_owned(kib(&request)).await;
    let permit = permit.map_err(|_| Status::internal("the stream's room was closed"))?;
    Ok((request, permit))
}

fn kib(request: &v1::SubmitStreamRequest) -> u32 {
    let jobs = request.submit.iter().flat_map(|submit| &submit.jobs);
    let bytes: usize = jobs.map(|job| job.payload.len() + 256).sum();
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(u32::MAX)
        .clamp(1, STREAM_KIB)
}

/// A batch that is refused as a whole ends no stream: each of its jobs gets the refusal.
async fn answer(gateway: Gateway, admitted: Admitted) -> Result<v1::SubmitStreamResponse, Status> {
    let (request, _room) = admitted?;
    let submit = request.submit.unwrap_or_default();
    let jobs = submit.jobs.len();
    let submit = gateway.submit(submit).await;
    let submit = submit.unwrap_or_else(|error| v1::SubmitResponse {
        results: vec![error.into(); jobs.max(1)],
    });
    Ok(v1::SubmitStreamResponse {
        number: request.number,
        submit: Some(submit),
    })
}
