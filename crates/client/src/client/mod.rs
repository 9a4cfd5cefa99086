//! The client: endpoints, connections, and calls that are repeated until their outcome is known or time is up.

mod attempts;
mod builder;
mod channels;
mod services;

pub use builder::ClientBuilder;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leasehold_api::ApiError;
use leasehold_core::policy::BackoffPolicy;
use leasehold_types::JobId;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::address::Address;
use crate::clock::now;
use crate::connect::SharedConnector;
use crate::endpoints::Endpoints;
use crate::entropy::Entropy;
use crate::error::ClientError;
use crate::jobs::Routes;
pub(crate) use attempts::wait;
use attempts::{Attempts, Next};
use channels::Channels;
pub(crate) use channels::connect;
pub(crate) use services::{admin, jobs};

/// What a call does, and so what may be said of it when no answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Changes nothing.
    Read,
    /// Changes something, and may be repeated safely.
    Write,
}

/// Speaks to a cluster through any of its nodes. Clones are cheap and share everything.
///
/// Each call is made at one endpoint and repeated, with the same content, at the next one under growing jittered
/// waits, until it is answered for good or the client's timeout has passed. Every request of the protocol may be
/// repeated safely, so the only question left open is what is known at the end: see [`ClientError`].
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoints: Mutex<Endpoints>,
    channels: Channels,
    routes: Mutex<Routes>,
    entropy: Entropy,
    limits: Limits,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// One call with all its repeats.
    pub(crate) total: Duration,
    /// One attempt at one endpoint.
    pub(crate) attempt: Duration,
    /// Waits between attempts.
    pub(crate) backoff: BackoffPolicy,
}

/// One call: what it does, how long it may take, and the job that it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) total: Duration,
    pub(crate) attempt: Duration,
    pub(crate) job: Option<JobId>,
}

impl Client {
    /// A client with everything at its default but the endpoints.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client of these endpoints, once one of them can be reached.
    ///
    /// # Errors
    /// When an endpoint is malformed, or none can be reached.
    pub async fn connect<I>(endpoints: I) -> Result<Self, ClientError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let client = Self::builder().endpoints(endpoints).build()?;
        client.reach().await?;
        Ok(client)
    }

    /// Waits until one endpoint can be reached.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] when each was tried once and none could be.
    pub async fn reach(&self) -> Result<Address, ClientError> {
        let mut tried = BTreeSet::new();
        loop {
            match self.dial(&mut tried).await {
                Ok((address, _)) => return Ok(address),
                Err(last) if tried.len() >= self.endpoints().len() => {
                    let attempts = u32::try_from(tried.len()).unwrap_or(u32::MAX);
                    return Err(ClientError::Unavailable { attempts, last });
                }
                Err(_) => {}
            }
        }
    }

    /// Makes a call of any service of the cluster, with the same failover as everything else here. The function is
    /// run once for each attempt and has to send the same request every time.
    ///
    /// ```no_run
    /// # async fn example(client: leasehold_client::Client) -> Result<(), leasehold_client::ClientError> {
    /// use leasehold_api::v1;
    /// use leasehold_client::Kind;
    ///
    /// let shards = client
    ///     .call(Kind::Read, |channel| async move {
    ///         let mut admin = v1::admin_client::AdminClient::new(channel);
    ///         admin.list_shards(v1::ListShardsRequest {}).await
    ///     })
    ///     .await?;
    /// # let _ = shards;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ClientError::Refused`], [`ClientError::Unavailable`], or for writes [`ClientError::Unknown`].
    pub async fn call<T, F, A>(&self, kind: Kind, request: F) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        self.repeat(self.ordinary(kind, None), request).await
    }

    /// A call with the client's own limits.
    pub(crate) fn ordinary(&self, kind: Kind, job: Option<JobId>) -> Call {
        let Limits { total, attempt, .. } = self.shared.limits;
        Call {
            kind,
            total,
            attempt,
            job,
        }
    }

    /// Attempts until one is answered for good or time is up.
    pub(crate) async fn repeat<T, F, A>(&self, call: Call, request: F) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let mut attempts = Attempts::new(call, now());
        let mut tried = BTreeSet::new();
        loop {
            let limit = attempts.limit(now());
            let failure = match self.attempt(&mut tried, limit, &request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let backoff = self.shared.limits.backoff;
            match attempts.failed(failure, &backoff, now(), self.draw()) {
                Next::Again(wait) => tokio::time::sleep(wait).await,
                Next::GiveUp(error) => return Err(error),
            }
        }
    }

    /// One attempt at the best endpoint that this call has not tried yet.
    pub(crate) async fn attempt<T, F, A>(
        &self,
        tried: &mut BTreeSet<Address>,
        limit: Duration,
        request: F,
    ) -> Result<T, ApiError>
    where
        F: Fn(Channel) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let (address, channel) = self.dial_within(tried, limit).await?;
        match tokio::time::timeout(limit, request(channel)).await {
            Ok(Ok(answer)) => {
                self.endpoints().worked(&address);
                Ok(answer.into_inner())
            }
            Ok(Err(status)) => Err(self.failed(&address, status)),
            Err(_) => {
                self.rest(&address);
                let message = format!("no answer from {address} within {limit:?}");
                Err(ApiError::unknown(message))
            }
        }
    }

    /// A node's own errors carry details; a bare status comes from the connection, so the endpoint is at fault.
    fn failed(&self, address: &Address, status: Status) -> ApiError {
        let is_bare = status.details().is_empty();
        let error = ApiError::from(status);
        if is_bare && error.code.is_retryable() {
            self.rest(address);
        }
        let message = format!("{address}: {}", error.message);
        if is_bare {
            ApiError { message, ..error }
        } else {
            error
        }
    }

    async fn dial_within(
        &self,
        tried: &mut BTreeSet<Address>,
        limit: Duration,
    ) -> Result<(Address, Channel), ApiError> {
        let dialled = tokio::time::timeout(limit, self.dial(tried)).await;
        dialled.unwrap_or_else(|_| {
            let message = format!("no endpoint could be reached within {limit:?}");
            Err(ApiError::unavailable(message))
        })
    }

    /// A channel to the next endpoint. Once all were tried, the round begins anew.
    async fn dial(&self, tried: &mut BTreeSet<Address>) -> Result<(Address, Channel), ApiError> {
        let Some(address) = self.pick(tried) else {
            return Err(ApiError::unavailable("no endpoint is known"));
        };
        tried.insert(address.clone());
        match self.shared.channels.get(&address).await {
            Ok(channel) => Ok((address, channel)),
            Err(failure) => {
                self.rest(&address);
                let message = format!("endpoint {address} cannot be reached: {failure}");
                Err(ApiError::unavailable(message))
            }
        }
    }

    fn pick(&self, tried: &mut BTreeSet<Address>) -> Option<Address> {
        let endpoints = self.endpoints();
        endpoints.pick(tried, now()).or_else(|| {
            tried.clear();
            endpoints.pick(tried, now())
        })
    }

    fn rest(&self, address: &Address) {
        self.shared.channels.forget(address);
        self.endpoints().failed(address, now());
    }

    /// Remembers endpoints that the cluster named; those that cannot be read are passed over.
    pub(crate) fn learn(&self, named: &[String]) {
        let readable = named.iter().filter_map(|text| text.parse().ok());
        self.endpoints().learn(readable);
    }

    pub(crate) fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        let endpoints = &self.shared.endpoints;
        endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn routes(&self) -> MutexGuard<'_, Routes> {
        let routes = &self.shared.routes;
        routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connector(&self) -> &SharedConnector {
        self.shared.channels.connector()
    }

    pub(crate) fn entropy(&self) -> &Entropy {
        &self.shared.entropy
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn draw(&self) -> u64 {
        self.shared.entropy.draw()
    }
}
