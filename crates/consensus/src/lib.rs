//! One replicated state machine on openraft, for metadata and shards alike
