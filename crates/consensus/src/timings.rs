//! How fast a group beats, and every openraft setting that follows from it.
//!
//! Two sets and no free numbers: a group's timings are committed in metadata and must be the same on every replica.
//! `election_max` is the length of the leader's lease, and leases of different length do not exclude each other. The
//! heartbeat must be at least twice the worst round trip, because openraft cuts a heartbeat off after one interval: with
//! 50 ms over a link of 60 ms no write is ever accepted, and no follower notices, since they hear the leader well.

use std::time::Duration;

use leasehold_core::policy;
use leasehold_types::GroupId;
use openraft::{Config, ConfigError, SnapshotPolicy, StepDownPolicy};

/// How fast a group beats. Committed in metadata, the same on every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timings {
    /// Replicas in several regions, up to 250 ms apart. A dead leader is replaced in 5.5 to 6.5 s.
    Wan,
    /// Replicas in one region, up to 50 ms apart. A dead leader is replaced in about 1.2 s.
    Lan,
}

/// The numbers behind [`Timings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Between two heartbeats of a leader to one follower; also when a heartbeat is given up.
    pub heartbeat: Duration,
    /// Shortest that a follower waits, once the leader's lease is over, before it stands for election.
    pub election_min: Duration,
    /// Longest that it waits, and the length of the leader's lease.
    pub election_max: Duration,
    /// After losing its quorum a leader falls silent for this long, then speaks for this long, and so on: without it, a
    /// leader that can send and not hear keeps a connected majority from electing another.
    pub quorum_loss_probe: Duration,
    /// When a whole snapshot that is being sent is given up.
    pub snapshot_timeout: Duration,
    /// How long a leader that was voted out goes on, so that its followers learn of it from the leader itself.
    pub step_down: Duration,
    /// When entries that are being sent are given up. Longer than a heartbeat's: entries are larger.
    pub append_timeout: Duration,
}

const WAN: Params = Params {
    heartbeat: Duration::from_millis(500),
    election_min: Duration::from_millis(2_000),
    election_max: Duration::from_millis(3_000),
    quorum_loss_probe: Duration::from_millis(6_000),
    snapshot_timeout: Duration::from_secs(60),
    step_down: Duration::from_millis(150),
    append_timeout: Duration::from_millis(2_000),
};

const LAN: Params = Params {
    heartbeat: Duration::from_millis(100),
    election_min: Duration::from_millis(400),
    election_max: Duration::from_millis(600),
    quorum_loss_probe: Duration::from_millis(1_200),
    snapshot_timeout: Duration::from_secs(60),
    step_down: Duration::from_millis(150),
    append_timeout: Duration::from_millis(400),
};

impl Timings {
    /// The numbers themselves.
    #[must_use]
    pub const fn params(self) -> Params {
        match self {
            Self::Wan => WAN,
            Self::Lan => LAN,
        }
    }

    /// How long after a majority last answered a leader may still believe that it leads.
    #[must_use]
    pub const fn leader_lease(self) -> Duration {
        self.params().election_max
    }

    /// The longest that an ordinary call between replicas may take.
    #[must_use]
    pub const fn rpc_ttl(self) -> Duration {
        self.params().append_timeout
    }
}

/// What metadata holds, as what it means here.
impl From<policy::Timings> for Timings {
    fn from(timings: policy::Timings) -> Self {
        match timings {
            policy::Timings::Wan => Self::Wan,
            policy::Timings::Lan => Self::Lan,
        }
    }
}

impl Params {
    /// The whole of openraft's configuration.
    pub(crate) fn config(&self, group: GroupId) -> Result<Config, Box<ConfigError>> {
        let config = Config {
            cluster_name: group.to_string(),
            heartbeat_interval: millis(self.heartbeat),
            heartbeat_min_interval: Some(millis(self.heartbeat)),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            quorum_loss_probe_interval: Some(millis(self.quorum_loss_probe)),
            install_snapshot_timeout: millis(self.snapshot_timeout),
            removed_leader_step_down: StepDownPolicy::After(millis(self.step_down)),
            // The keeper takes checkpoints and purges by bytes; a follower gets a snapshot only when its entries are gone.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            replication_lag_threshold: u64::MAX,
            backoff: "50ms 100ms 200ms ...1s".to_owned(),
            enable_pre_vote: Some(true),
            // SUBTLE: a leader may commit an entry through its followers before its own disk has it. If it then crashes
            // and is restored without an election, it gives the same log id to another entry: two acknowledged writes
            // in one place. An election shows it what the others have.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            ..Config::default()
        };
        config.validate().map_err(Box::new)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_are_valid_and_never_restore_a_leader() {
        for timings in [Timings::Wan, Timings::Lan] {
            let config = timings.params().config(GroupId::METADATA).unwrap();
            assert_eq!(config.enable_leader_restore, Some(false));
            assert_eq!(config.enable_pre_vote, Some(true));
            assert_eq!(config.allow_log_reversion, Some(false));
            assert!(config.quorum_loss_probe_interval.is_some());
        }
    }

    #[test]
    fn leaderless_time_is_what_the_lease_and_one_election_take() {
        let Params {
            election_min,
            election_max,
            ..
        } = Timings::Wan.params();
        assert_eq!(
            Timings::Wan.leader_lease() + election_min,
            Duration::from_secs(5)
        );
        assert_eq!(
            Timings::Wan.leader_lease() + election_max,
            Duration::from_secs(6)
        );
    }

    #[test]
    fn heartbeat_above_the_election_timeout_is_refused() {
        let wrong = Params {
            heartbeat: Duration::from_secs(5),
            ..Timings::Wan.params()
        };
        assert!(wrong.config(GroupId::METADATA).is_err());
    }
}
