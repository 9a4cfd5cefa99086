//! The wire protocol of Leasehold and its conversions
