//! Replicas of one group in one process, each with a log and a disk that outlive it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use leasehold_storage::{CheckpointOptions, CheckpointStore, LogStore, MemoryDisk};
use leasehold_types::{GroupId, NodeId};
use openraft::Config;
use tokio::time::{Instant, sleep, timeout};

use super::Counter;
use super::disks::HeldLog;
use super::wires::{End, Wires};
use crate::group::{Group, GroupOptions, OpenGroupError};
use crate::keeper::Retention;
use crate::status::GroupStatus;
use crate::timings::Timings;

/// Far more simulated time than anything here may take: whoever waits longer waits in vain.
pub(super) const TOO_LONG: Duration = Duration::from_secs(120);

/// Checkpoints often, and nothing of the log kept that they cover.
pub(super) const SOON: Retention = Retention {
    checkpoint_every: Duration::from_millis(200),
    checkpoint_bytes: u64::MAX,
    log_kept_bytes: 0,
};

#[expect(clippy::disallowed_methods, reason = "the tests' time is simulated")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// What a replica leaves behind when it goes down.
struct Remains {
    log: Arc<HeldLog>,
    disk: MemoryDisk,
}

pub(super) struct Cluster {
    pub(super) wires: Arc<Wires>,
    pub(super) timings: Timings,
    pub(super) retention: Retention,
    pub(super) seed: u64,
    /// Changes the configuration of every replica that is started from now on: how the traps are set.
    pub(super) tweak: fn(&mut Config),
    groups: BTreeMap<NodeId, Group<Counter>>,
    remains: BTreeMap<NodeId, Remains>,
}

impl Cluster {
    /// No replicas yet.
    pub(super) fn new(timings: Timings) -> Self {
        let retention = Retention::default();
        Self {
            wires: Arc::default(),
            timings,
            retention,
            seed: 7,
            tweak: |_| {},
            groups: BTreeMap::new(),
            remains: BTreeMap::new(),
        }
    }

    /// Three voters, led by the first.
    pub(super) async fn of_three(timings: Timings) -> Self {
        let mut cluster = Self::new(timings);
        cluster.found().await;
        cluster
    }

    /// Starts nodes 1 to 3, founds the group on the first and makes all three voters.
    pub(super) async fn found(&mut self) {
        for node in [1, 2, 3] {
            self.start(node).await;
        }
        let first = self.group(1).clone();
        first.initialize().await.unwrap();
        self.await_leader_among(&[1]).await;
        self.join(&[2, 3]).await;
        let voters = [1, 2, 3].map(NodeId::new);
        first.set_voters(BTreeSet::from(voters)).await.unwrap();
    }

    /// Starts node 1 as the only voter.
    pub(super) async fn found_alone(&mut self) -> Group<Counter> {
        let group = self.start(1).await;
        group.initialize().await.unwrap();
        self.await_leader_among(&[1]).await;
        group
    }

    /// Adds learners and waits until the leader has heard them with its whole log.
    pub(super) async fn join(&self, nodes: &[u64]) {
        let leader = self.group(1);
        for node in nodes.iter().copied().map(NodeId::new) {
            leader.add_learner(node).await.unwrap();
            let has_it_all = |status: &GroupStatus| {
                let follower = status.followers.get(&node);
                follower.is_some_and(|it| {
                    it.matched == Some(status.last_log) && it.since_heard().is_some()
                })
            };
            self.await_status(leader, has_it_all).await;
        }
    }

    /// Starts a replica on what it left behind, or on nothing.
    pub(super) async fn start(&mut self, node: u64) -> Group<Counter> {
        let group = self.try_start(node).await.unwrap();
        let node = NodeId::new(node);
        self.wires.attach(node, group.clone());
        self.groups.insert(node, group.clone());
        group
    }

    /// Opens a replica that nobody can reach.
    pub(super) async fn try_start(&mut self, node: u64) -> Result<Group<Counter>, OpenGroupError> {
        let node = NodeId::new(node);
        let remains = self.remains.entry(node).or_insert_with(|| Remains {
            log: Arc::default(),
            disk: MemoryDisk::new(),
        });
        let options = GroupOptions {
            group: GroupId::new(1),
            node,
            timings: self.timings,
            log: Arc::clone(&remains.log) as _,
            checkpoints: Arc::new(CheckpointStore::new(
                Arc::new(remains.disk.clone()),
                CheckpointOptions::default(),
            )),
            transport: Arc::new(End {
                node,
                wires: Arc::clone(&self.wires),
            }),
            machine: Counter::default(),
            seed: self.seed,
            retention: self.retention,
        };
        let params = self.timings.params();
        let mut config = params.config(options.group).unwrap();
        (self.tweak)(&mut config);
        Group::open_with(options, config).await
    }

    /// Stops a replica; its log and disk keep what was synced.
    pub(super) async fn stop(&mut self, node: u64) {
        let node = NodeId::new(node);
        self.wires.detach(node);
        let group = self.groups.remove(&node).unwrap();
        group.shutdown().await;
        let remains = self.remains.get_mut(&node).unwrap();
        remains.disk.crash();
        remains.log = Arc::new(remains.log.after_power_failure());
    }

    /// Stops all replicas: those of one cluster after another would share a thread.
    pub(super) async fn end(mut self) {
        for node in self.running() {
            self.stop(node).await;
        }
    }

    pub(super) fn group(&self, node: u64) -> &Group<Counter> {
        &self.groups[&NodeId::new(node)]
    }

    pub(super) fn log(&self, node: u64) -> &HeldLog {
        &self.remains[&NodeId::new(node)].log
    }

    /// A replica's log for as long as anybody uses it.
    pub(super) fn weak_log(&self, node: u64) -> Weak<HeldLog> {
        Arc::downgrade(&self.remains[&NodeId::new(node)].log)
    }

    /// Where a replica's checkpoints are.
    pub(super) fn disk(&self, node: u64) -> &MemoryDisk {
        &self.remains[&NodeId::new(node)].disk
    }

    /// A leader that a majority answers, with everybody who runs following it.
    pub(super) async fn await_leader(&self) -> u64 {
        let (_, leader) = self.await_leader_among(&self.running()).await;
        leader
    }

    fn running(&self) -> Vec<u64> {
        self.groups.keys().map(|node| node.get()).collect()
    }

    /// The term and node of a leader that a majority answers, with these nodes following it.
    pub(super) async fn await_leader_among(&self, nodes: &[u64]) -> (u64, u64) {
        let mut leader = None;
        for node in nodes {
            let leads = |status: &GroupStatus| {
                let known = status.leader.is_some_and(|it| nodes.contains(&it.get()));
                known && (!status.is_leader() || status.since_quorum().is_some())
            };
            let status = self.await_status(self.group(*node), leads).await;
            leader = leader.max(status.leader.map(|it| (status.term, it.get())));
        }
        leader.unwrap()
    }

    pub(super) async fn await_status(
        &self,
        group: &Group<Counter>,
        wanted: impl FnMut(&GroupStatus) -> bool,
    ) -> GroupStatus {
        let mut watch = group.watch();
        let waiting = timeout(TOO_LONG, watch.wait_for(wanted)).await;
        let Ok(status) = waiting else {
            panic!("waited in vain, the status is still {:?}", group.status());
        };
        status.unwrap().clone()
    }

    /// Waits until a replica's log holds nothing up to an index.
    pub(super) async fn await_purged(&self, node: u64, index: u64) {
        let purged = async {
            while self.log(node).bounds(GroupId::new(1)).first <= index {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(TOO_LONG, purged).await.unwrap();
    }

    /// Waits until a replica has carried out the entry at an index.
    pub(super) async fn await_applied(&self, node: u64, index: u64) {
        self.await_status(self.group(node), |status| status.applied >= index)
            .await;
    }

    /// What a replica's machine has been given, in order.
    pub(super) fn commands(&self, node: u64) -> Vec<u64> {
        let applied = |machine: &Counter| machine.applied.clone();
        let applied = self.group(node).read(applied);
        applied.into_iter().map(|(_, command)| command).collect()
    }
}
