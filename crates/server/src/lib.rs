//! One Leasehold node: services, shard runners, config, telemetry
