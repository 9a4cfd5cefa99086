//! A simulated machine room: hosts with names, each with a disk that survives its crashes.

mod cluster;
mod net;
mod seam;

pub use cluster::{REGIONS, add_nodes, client, endpoint, simulation};
pub use net::SimulatedNet;
pub use seam::{SimulatedClock, SimulatedThreads, seam};
