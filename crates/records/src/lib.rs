//! Protobuf encodings of what Leasehold keeps on disk
