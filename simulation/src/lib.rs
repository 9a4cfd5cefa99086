//! Deterministic simulation of whole Leasehold clusters
