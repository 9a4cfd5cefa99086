//! The log and snapshots of a Leasehold node, over bytes
