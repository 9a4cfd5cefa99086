//! The gRPC services as thin shells: each call is handed on, and its answer or error put into a tonic response.

pub mod admin;
pub mod jobs;
pub mod workers;
