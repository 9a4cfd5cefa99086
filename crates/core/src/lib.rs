//! Every decision of Leasehold, as pure state machines
