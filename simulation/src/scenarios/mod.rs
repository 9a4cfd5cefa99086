//! What happens to the simulated clusters. One file a scenario.

pub mod leader_cut_off;
