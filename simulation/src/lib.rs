//! Whole clusters under one thread, one clock and one seed.
//!
//! The server's own code runs here unchanged: real gRPC, real openraft, the real log, over a simulated network, clock
//! and disk (turmoil). Everything random comes from the seed, so a run that went wrong can be had again.
//!
//! What determinism needs, all of it: `--cfg tokio_unstable`, without which turmoil cannot seed tokio's own choices;
//! openraft's random numbers scoped to the seed; no threads; and **one seed a process**, since some thread-local
//! state outlives a run.

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulation needs `--cfg tokio_unstable`, which .cargo/config.toml sets: a RUSTFLAGS variable overrides that \
     file; unset it or add the flag to it"
);

pub mod invariants;
pub mod scenarios;
pub mod trace;
pub mod world;
