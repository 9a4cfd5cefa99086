//! Real processes: nodes and workers on loopback, as people run them.

mod harness;
