//! The way of a request from any node to the shard that decides it.
//!
//! [`Router`] knows who leads and repeats what may be repeated; [`Gateway`] checks what users send, picks shards and
//! puts answers together. Neither keeps any job state: a gateway that dies takes nothing with it.

mod ask;
mod candidates;
mod cluster_view;
mod digest;
mod jobs;
mod queues;
mod router;
mod routes;
mod submit;

pub use ask::Gateway;
pub use router::Router;
