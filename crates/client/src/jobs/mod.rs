//! Submitting jobs and following them.

mod batch;
mod handle;
mod job;
mod read;
mod route;
mod stream;
mod submit;

pub use handle::JobHandle;
pub use job::Job;
pub(crate) use job::digest;
pub(crate) use route::Routes;
pub use stream::{SubmitResults, SubmitSink, SubmitStreamError};
