//! Many courses of events that nobody thought of: links and nodes fail at random, and then everything heals.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_types::NodeId;
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, SOON};
use super::wires::roll;
use crate::timings::Timings;

const SEEDS: u64 = 12;
/// Proposed until it is acknowledged, so it may be there more than once.
const LAST: u64 = u64::MAX - 9;
const STEPS: u64 = 25;

/// Three replicas under random faults, and the commands that were acknowledged meanwhile.
struct Course {
    cluster: Cluster,
    dice: u64,
    down: Option<u64>,
    next: u64,
    acknowledged: Vec<(u64, u64)>,
}

impl Course {
    async fn of(seed: u64) -> Self {
        let mut cluster = Cluster::new(Timings::Lan);
        cluster.seed = seed;
        cluster.retention = SOON;
        cluster.found().await;
        cluster.wires.set_jitter(seed, Duration::from_millis(20));
        Self {
            cluster,
            dice: seed,
            down: None,
            next: 0,
            acknowledged: Vec::new(),
        }
    }

    async fn step(&mut self) {
        let node = 1 + roll(&mut self.dice, 3);
        let other = 1 + roll(&mut self.dice, 3);
        match roll(&mut self.dice, 8) {
            0 => self.cluster.wires.isolate(NodeId::new(node)),
            1 if node != other => {
                let (from, to) = (NodeId::new(node), NodeId::new(other));
                self.cluster.wires.cut_one_way(from, to);
            }
            2 | 3 => self.cluster.wires.heal(),
            4 => self.restart(node).await,
            5 => self.hold_a_disk(node).await,
            _ => sleep(Duration::from_millis(300)).await,
        }
        self.write(other).await;
    }

    /// Takes a node down, or brings back the one that is.
    async fn restart(&mut self, node: u64) {
        match self.down.take() {
            Some(down) => drop(self.cluster.start(down).await),
            None => {
                self.cluster.stop(node).await;
                self.down = Some(node);
            }
        }
    }

    async fn hold_a_disk(&mut self, node: u64) {
        self.cluster.log(node).hold();
        self.write(node).await;
        self.cluster.log(node).release();
    }

    async fn write(&mut self, node: u64) {
        if self.down == Some(node) {
            return;
        }
        let command = self.next;
        self.next += 1;
        let group = self.cluster.group(node).clone();
        // Not waiting for the outcome is one more way of not knowing it.
        let patience = Duration::from_millis(500);
        if let Ok(Ok(applied)) = timeout(patience, group.propose(command)).await {
            self.acknowledged.push((applied.index, command));
        }
    }

    /// Everything works again, and all replicas come to hold the same.
    async fn heal(&mut self) -> Vec<(u64, u64)> {
        self.cluster.wires.heal();
        if let Some(down) = self.down.take() {
            self.cluster.start(down).await;
        }
        let last = self.last_write().await;
        for node in [1, 2, 3] {
            self.cluster.await_applied(node, last).await;
        }
        let held = |node| self.cluster.group(node).read(|it| it.applied.clone());
        assert_eq!(held(1), held(2));
        assert_eq!(held(2), held(3));
        held(1)
    }

    async fn last_write(&self) -> u64 {
        loop {
            for node in [1, 2, 3] {
                if let Ok(applied) = self.cluster.group(node).propose(LAST).await {
                    return applied.index;
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_fault_loses_moves_or_doubles_an_acknowledged_command() {
    let mut shown = 0;
    for seed in 0..SEEDS {
        let mut course = Course::of(seed).await;
        for _ in 0..STEPS {
            course.step().await;
        }
        let held = course.heal().await;
        for acknowledged in &course.acknowledged {
            assert!(
                held.contains(acknowledged),
                "seed {seed}: {acknowledged:?} is lost"
            );
        }
        let once = held.iter().filter(|(_, command)| *command != LAST);
        let commands: Vec<u64> = once.map(|(_, command)| *command).collect();
        let different = BTreeSet::from_iter(&commands);
        assert_eq!(different.len(), commands.len(), "seed {seed} doubled one");
        shown += course.acknowledged.len();
        course.cluster.end().await;
    }
    assert!(shown > 0, "nothing was acknowledged, so nothing is shown");
}
