//! SDK for those who submit jobs and those who work them.
//!
//! Submit a job and wait for its result:
//!
//! ```no_run
//! # async fn example() -> Result<(), leasehold_client::ClientError> {
//! use std::time::Duration;
//! use leasehold_client::{Client, Job};
//!
//! let client = Client::connect(["127.0.0.1:7101", "127.0.0.1:7201"]).await?;
//! let job = client.submit(Job::new("default", "hello")).await?;
//! let result = job.result(Duration::from_secs(60)).await?;
//! # let _ = result;
//! # Ok(())
//! # }
//! ```
//!
//! Work jobs until told to stop:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use leasehold_client::{CancellationToken, Client, WorkItem, Worker};
//!
//! let client = Client::connect(["127.0.0.1:7101", "127.0.0.1:7201"]).await?;
//! let shout = |item: WorkItem| async move { Ok(item.payload().to_ascii_uppercase().into()) };
//! Worker::builder(&client).queue("default").run(shout, CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A job is run *at least once* and has *at most one accepted result*. A job's id is its own idempotency key: every
//! call here is repeated with the same content over all endpoints until its outcome is known, and when it is not
//! known in the end the error says so ([`ClientError::Unknown`]). Workers hold each job under a lease with a fence
//! token, renew it from where a busy handler cannot get in the way, and stop by themselves before the lease can have
//! run out.
#![warn(missing_docs)]

mod address;
mod admin;
mod client;
mod clock;
mod connect;
mod endpoints;
mod entropy;
mod error;
mod jobs;
mod worker;

pub use address::{Address, AddressError};
pub use admin::Admin;
pub use client::{Client, ClientBuilder, Kind};
pub use connect::{ConnectFailure, Connector, Tcp};
pub use entropy::Entropy;
pub use error::{ClientError, SetupError};
pub use jobs::{Job, JobHandle, SubmitResults, SubmitSink, SubmitStreamError};
pub use worker::{
    OwnThread, SameRuntime, Spawner, WorkError, WorkItem, WorkPhase, Worker, WorkerBuilder,
    WorkerError,
};

pub use leasehold_api::ApiError;
pub use leasehold_core::shard::command::FailureClass;
pub use leasehold_core::shard::view::{JobFilter, JobPage, JobStatus, JobView, StateName};
pub use leasehold_types::{ErrorCode, JobId};
pub use tokio_util::sync::CancellationToken;
