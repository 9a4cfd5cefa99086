//! The replicas of the shards under load: those that lead, and the one that stands still.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use leasehold_client::Address;
use tokio::time::sleep;

use crate::commands::bench::clock::now;
use crate::commands::bench::counters::Page;
use crate::commands::bench::nodes::Nodes;
use crate::commands::bench::target::Target;

/// Longest that a follower may take to catch up.
pub(super) const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(600);
/// Longest that a leader may take to write two checkpoints.
const WRITTEN_WITHIN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What a node shows is at most so old.
const SAMPLED_EVERY: Duration = Duration::from_secs(1);

/// The newest entry applied, by group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied(BTreeMap<String, u64>);

impl Applied {
    fn has_reached(&self, other: &Self) -> bool {
        let mut wanted = other.0.iter();
        wanted.all(|(group, index)| self.0.get(group).is_some_and(|applied| applied >= index))
    }

    /// Entries that the other has not applied.
    pub(super) fn ahead_of(&self, other: &Self) -> u64 {
        let applied = |group| other.0.get(group).copied().unwrap_or(0);
        let groups = self.0.iter();
        let missed = groups.map(|(group, index)| index.saturating_sub(applied(group)));
        missed.sum()
    }
}

/// Snapshots that a node was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshots {
    pub(super) installed: u64,
    pub(super) bytes: u64,
    pub(super) receiving: Duration,
}

impl Snapshots {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            installed: self.installed.saturating_sub(earlier.installed),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            receiving: self.receiving.saturating_sub(earlier.receiving),
        }
    }
}

/// See the module.
pub(super) struct Replicas<'a> {
    nodes: &'a Nodes,
    /// The one that stands still: the last.
    follower: (usize, Address),
    /// Where clients connect, and what is led there.
    leaders: Vec<(Address, Vec<String>)>,
}

impl<'a> Replicas<'a> {
    /// As they stand now.
    pub(super) async fn of(target: &'a Target) -> anyhow::Result<Self> {
        let nodes = target.nodes.as_ref();
        let nodes = nodes.context("only a node of its own can be stopped")?;
        let mut all = target.counted()?;
        let follower = all.pop().context("a cluster has nodes")?;
        let mut leaders = Vec::new();
        for address in target.endpoints() {
            let leads = Page::read(address).await?.of_shards("leasehold_raft_leads");
            let led = leads.into_iter().filter(|(_, leads)| *leads == 1);
            leaders.push((address.clone(), led.map(|(group, _)| group).collect()));
        }
        if leaders
            .iter()
            .any(|(_, led): &(Address, Vec<String>)| led.is_empty())
        {
            bail!("a node that clients connect to does not lead its own shard");
        }
        Ok(Self {
            nodes,
            follower: (all.len(), follower),
            leaders,
        })
    }

    pub(super) fn pause(&self) -> std::io::Result<()> {
        self.nodes.pause(self.follower.0)
    }

    pub(super) fn resume(&self) -> std::io::Result<()> {
        self.nodes.resume(self.follower.0)
    }

    /// What the follower has applied.
    pub(super) async fn applied(&self) -> anyhow::Result<Applied> {
        let page = Page::read(&self.follower.1).await?;
        Ok(Applied(page.of_shards("leasehold_raft_applied_index")))
    }

    /// What the leaders have applied, each in what it leads.
    pub(super) async fn led(&self) -> anyhow::Result<Applied> {
        Ok(Applied(self.of_led("leasehold_raft_applied_index").await?))
    }

    /// What the follower was sent.
    pub(super) async fn snapshots(&self) -> anyhow::Result<Snapshots> {
        let page = Page::read(&self.follower.1).await?;
        let sum = |name| page.of_shards(name).values().sum();
        Ok(Snapshots {
            installed: sum("leasehold_snapshots_installed"),
            bytes: sum("leasehold_snapshot_received_bytes"),
            receiving: page.spent("leasehold_snapshot_receiving_seconds"),
        })
    }

    /// Until each leader has begun two more checkpoints: the first of them covers everything from before, and has let go
    /// of the log.
    pub(super) async fn led_wrote_checkpoints(&self) -> anyhow::Result<()> {
        let begun = "leasehold_checkpoints_begun";
        let (start, before) = (now(), Applied(self.of_led(begun).await?));
        let two_more = Applied(
            before
                .0
                .into_iter()
                .map(|(group, n)| (group, n + 2))
                .collect(),
        );
        while !Applied(self.of_led(begun).await?).has_reached(&two_more) {
            if start.elapsed() > WRITTEN_WITHIN {
                bail!("the leaders wrote no checkpoints within {WRITTEN_WITHIN:?}");
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Until the follower has applied what the leaders had a moment before.
    pub(super) async fn caught_up(&self) -> anyhow::Result<()> {
        let start = now();
        loop {
            let (looked_at, wanted) = (now(), self.led().await?);
            while !self.has_applied(&wanted).await {
                if start.elapsed() > CAUGHT_UP_WITHIN {
                    bail!("the follower has not caught up within {CAUGHT_UP_WITHIN:?}");
                }
                sleep(LOOK_EVERY).await;
            }
            if looked_at.elapsed() < 2 * SAMPLED_EVERY {
                return Ok(());
            }
        }
    }

    /// Not while it does not answer: it may have much to do at first.
    async fn has_applied(&self, wanted: &Applied) -> bool {
        let applied = self.applied().await;
        applied.is_ok_and(|applied| applied.has_reached(wanted))
    }

    async fn of_led(&self, name: &str) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut values = BTreeMap::new();
        for (address, led) in &self.leaders {
            let page = Page::read(address).await?.of_shards(name);
            values.extend(page.into_iter().filter(|(group, _)| led.contains(group)));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(indexes: &[(&str, u64)]) -> Applied {
        let indexes = indexes.iter();
        Applied(
            indexes
                .map(|(group, index)| ((*group).to_owned(), *index))
                .collect(),
        )
    }

    #[test]
    fn follower_has_caught_up_once_it_has_in_every_group_that_is_led() {
        let led = applied(&[("g1", 5), ("g2", 7)]);
        assert!(applied(&[("g1", 5), ("g2", 8), ("g3", 0)]).has_reached(&led));
        assert!(!applied(&[("g1", 9), ("g2", 6)]).has_reached(&led));
        assert!(!applied(&[("g1", 9)]).has_reached(&led));
        assert_eq!(led.ahead_of(&applied(&[("g1", 9), ("g2", 4)])), 3);
    }
}
