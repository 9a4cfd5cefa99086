//! The nodes of one cluster as processes: laid out, started, made to crash, and started again.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use leasehold_core::policy::Timings;
use leasehold_server::config::{Config, FoundingConfig, ListenConfig, StorageConfig};
use leasehold_types::RegionName;
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::control::Command;
use crate::disk::{Flavour, Order};
use crate::plan::{Blow, How, Planner};
use crate::points::Stage;
use crate::seat::{Reached, Seat};
use crate::tally::Tally;
use crate::violation::Violation;

const REGIONS: [&str; 3] = ["eu", "us", "ap"];
/// Longest that a point is waited for under load.
const POINT: Duration = Duration::from_millis(2_500);
/// Longest that a point of catching up is waited for once the node is ready.
const CATCH_UP: Duration = Duration::from_secs(2);
/// How far the log of a lying disk lags behind what it says.
const LIE: usize = 4;

/// Why a cluster cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// A promise was broken.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The harness itself cannot go on.
    #[error(transparent)]
    Harness(#[from] anyhow::Error),
}

/// See the module.
pub(crate) struct Cluster {
    seats: Vec<Seat>,
}

impl Cluster {
    /// Chooses ports and writes configurations; starts nothing.
    pub(crate) fn lay_out(
        root: &Path,
        nodes: usize,
        is_lying: bool,
        rng: &mut SmallRng,
    ) -> anyhow::Result<Self> {
        let seeds: [u64; REGIONS.len()] = rng.random();
        let ports = free_ports(nodes * 2, rng)?;
        let mut seats = Vec::new();
        for (index, (name, ports)) in REGIONS.into_iter().zip(ports.chunks(2)).enumerate() {
            seats.push(Seat {
                name,
                client: format!("127.0.0.1:{}", ports[0]),
                peer: format!("127.0.0.1:{}", ports[1]),
                folder: root.join(name),
                is_founder: index == 0,
                syncs_behind: if is_lying { LIE } else { 0 },
                seed: seeds[index],
                process: None,
                starts: 0,
            });
        }
        let cluster = Self { seats };
        cluster.write_configs()?;
        Ok(cluster)
    }

    fn write_configs(&self) -> anyhow::Result<()> {
        for seat in &self.seats {
            std::fs::create_dir_all(&seat.folder)
                .with_context(|| format!("folder {}", seat.folder.display()))?;
            std::fs::write(seat.config(), self.config(seat)?.to_toml()?)?;
        }
        Ok(())
    }

    fn config(&self, seat: &Seat) -> anyhow::Result<Config> {
        let mut config = Config {
            region: RegionName::new(seat.name)?,
            data: seat.data(),
            listen: ListenConfig {
                client: seat.client.clone(),
                peer: seat.peer.clone(),
                ..ListenConfig::default()
            },
            founding: FoundingConfig {
                timings: Timings::Lan,
                regions: u16::try_from(self.seats.len())?,
                ..FoundingConfig::default()
            },
            storage: storage(seat.syncs_behind > 0),
            ..Config::default()
        };
        if !seat.is_founder {
            let others = self.seats.iter().filter(|other| other.name != seat.name);
            config.cluster.join = others.map(|other| other.peer.clone()).collect();
        }
        Ok(config)
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.seats.iter().map(|seat| seat.client.clone()).collect()
    }

    /// Starts every node for the first time; one of them may crash in that.
    pub(crate) async fn found(
        &mut self,
        crash: Option<(usize, Order)>,
        planner: &mut Planner,
        tally: &mut Tally,
    ) -> Result<(), ClusterError> {
        for (index, seat) in self.seats.iter_mut().enumerate() {
            let order = crash.filter(|(victim, _)| *victim == index);
            seat.start(order.map(|(_, order)| order))?;
        }
        for index in 0..self.seats.len() {
            let order = crash.filter(|(victim, _)| *victim == index);
            self.bring_up(index, order.map(|(_, order)| order), planner, tally)
                .await?;
        }
        Ok(())
    }

    /// Waits until a started node is ready, and starts it again when it crashes as ordered before that.
    async fn bring_up(
        &mut self,
        index: usize,
        order: Option<Order>,
        planner: &mut Planner,
        tally: &mut Tally,
    ) -> Result<(), ClusterError> {
        let seat = &mut self.seats[index];
        match (seat.reach().await?, order) {
            (Reached::Ready(after), order) => {
                tally.recovered(after);
                match order {
                    Some(order) => self.catch_up(index, order, planner, tally).await,
                    None => Ok(()),
                }
            }
            (Reached::Died(why), Some(order)) => {
                met(order, &why, planner, tally);
                self.start_again(index, tally).await
            }
            (Reached::Died(why), None) => {
                Err(anyhow::anyhow!("node {} died unasked: {why}", seat.name).into())
            }
        }
    }

    /// The node is ready and its point did not come: what belongs to catching up may come yet.
    async fn catch_up(
        &mut self,
        index: usize,
        order: Order,
        planner: &mut Planner,
        tally: &mut Tally,
    ) -> Result<(), ClusterError> {
        let limit = match order.point.stage {
            Stage::CatchUp => CATCH_UP,
            Stage::FirstStart | Stage::Start | Stage::Running => Duration::ZERO,
        };
        let seat = &mut self.seats[index];
        if let Some(why) = await_point(seat, limit).await? {
            met(order, &why, planner, tally);
            return self.start_again(index, tally).await;
        }
        planner.learn(order.point, false);
        tally.missed(order.point.name);
        Ok(())
    }

    async fn start_again(&mut self, index: usize, tally: &mut Tally) -> Result<(), ClusterError> {
        let seat = &mut self.seats[index];
        seat.start(None)?;
        match seat.reach().await? {
            Reached::Ready(after) => tally.recovered(after),
            Reached::Died(why) => {
                let error = anyhow::anyhow!("node {} died unasked: {why}", seat.name);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Makes the cluster crash, and brings it up again.
    pub(crate) async fn suffer(
        &mut self,
        blow: &Blow,
        planner: &mut Planner,
        tally: &mut Tally,
    ) -> Result<String, ClusterError> {
        let told = self.strike(blow, planner, tally).await?;
        if blow.takes_all {
            self.strike_others(blow, tally).await?;
        }
        tokio::time::sleep(blow.down).await;
        for index in 0..self.seats.len() {
            if self.seats[index].process.is_none() {
                let again = blow.again.filter(|_| index == blow.victim);
                self.seats[index].start(again)?;
            }
        }
        for index in 0..self.seats.len() {
            if blow.takes_all || index == blow.victim {
                let again = blow.again.filter(|_| index == blow.victim);
                self.bring_up(index, again, planner, tally).await?;
            }
        }
        Ok(told)
    }

    /// The first victim goes down. Says how.
    async fn strike(
        &mut self,
        blow: &Blow,
        planner: &mut Planner,
        tally: &mut Tally,
    ) -> Result<String, ClusterError> {
        let seat = &mut self.seats[blow.victim];
        match blow.how {
            How::At(order) => {
                seat.tell(Command::Arm(order)).await;
                if let Some(why) = await_point(seat, POINT).await? {
                    return Ok(met(order, &why, planner, tally));
                }
                planner.learn(order.point, false);
                tally.missed(order.point.name);
            }
            How::Ordered(after) => tokio::time::sleep(after).await,
            How::FromOutside(after) => {
                tokio::time::sleep(after).await;
                seat.kill().await;
                tally.died("at random, SIGKILL from outside", Flavour::Kill);
                return Ok("SIGKILL from outside".to_owned());
            }
        }
        let why = order_death(seat, blow.flavour, tally).await?;
        Ok(format!("{} at random: {why}", blow.flavour.word()))
    }

    async fn strike_others(&mut self, blow: &Blow, tally: &mut Tally) -> Result<(), ClusterError> {
        for seat in &mut self.seats {
            if seat.process.is_some() {
                seat.tell(Command::Crash(blow.flavour)).await;
            }
        }
        for seat in &mut self.seats {
            if seat.process.is_some() {
                order_death(seat, blow.flavour, tally).await?;
            }
        }
        Ok(())
    }

    /// No node may end unless it is told to.
    pub(crate) async fn check_alive(&mut self) -> Result<(), Violation> {
        for seat in &mut self.seats {
            seat.check_alive().await?;
        }
        Ok(())
    }

    /// The power of all nodes fails at once, and they start again.
    pub(crate) async fn black_out(&mut self, tally: &mut Tally) -> Result<(), ClusterError> {
        for seat in &mut self.seats {
            order_death(seat, Flavour::Power, tally).await?;
        }
        for seat in &mut self.seats {
            seat.start(None)?;
        }
        for seat in &mut self.seats {
            match seat.reach().await? {
                Reached::Ready(after) => tally.recovered(after),
                Reached::Died(why) => return Err(anyhow::anyhow!("died unasked: {why}").into()),
            }
        }
        Ok(())
    }

    /// Ends all processes.
    pub(crate) async fn end(&mut self) {
        for seat in &mut self.seats {
            seat.kill().await;
        }
    }
}

/// Waits for an armed node to die; after so long the order is void.
async fn await_point(seat: &mut Seat, limit: Duration) -> Result<Option<String>, Violation> {
    match seat.death(limit).await? {
        Some(why) => Ok(Some(why)),
        None => seat.disarm().await,
    }
}

/// Small segments and little time between checkpoints, so that everything happens often. Not so where the disk lies: a
/// second segment or a checkpoint, being newer than what was lost, would show the node that its log is damaged, and it
/// would refuse to start before a lost job could show.
fn storage(is_lying: bool) -> StorageConfig {
    if is_lying {
        return StorageConfig {
            checkpoint_every_ms: 600_000,
            checkpoint_mib: 128,
            // The log would go over to the first segment that is filled.
            zero_fill: false,
            ..StorageConfig::default()
        };
    }
    StorageConfig {
        segment_mib: 4,
        checkpoint_every_ms: 100,
        checkpoint_mib: 1,
        log_kept_mib: 0,
        ..StorageConfig::default()
    }
}

fn met(order: Order, why: &str, planner: &mut Planner, tally: &mut Tally) -> String {
    planner.learn(order.point, true);
    tally.died(order.point.name, order.flavour);
    format!("{} at {}: {why}", order.flavour.word(), order.point)
}

async fn order_death(
    seat: &mut Seat,
    flavour: Flavour,
    tally: &mut Tally,
) -> Result<String, ClusterError> {
    const LIMIT: Duration = Duration::from_secs(30);
    seat.tell(Command::Crash(flavour)).await;
    let Some(why) = seat.death(LIMIT).await? else {
        return Err(anyhow::anyhow!("node {} does not die", seat.name).into());
    };
    tally.died("at random", flavour);
    Ok(why)
}

/// Below the range that the kernel takes for outgoing connections: a port must still be free after a crash.
fn free_ports(count: usize, rng: &mut SmallRng) -> anyhow::Result<Vec<u16>> {
    let mut held: Vec<TcpListener> = Vec::new();
    let mut tries = 0;
    while held.len() < count {
        tries += 1;
        anyhow::ensure!(tries < 1_000, "no free ports between 20000 and 32000");
        let port = rng.random_range(20_000..32_000_u16);
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    let ports = held
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn power_failure_takes_other_things_at_every_start_of_every_node_and_seed() {
        let mut seeds = BTreeSet::new();
        for seed in 0..4 {
            let root = tempfile::tempdir().unwrap();
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut cluster = Cluster::lay_out(root.path(), 3, false, &mut rng).unwrap();
            for seat in &mut cluster.seats {
                for starts in 0..5 {
                    seat.starts = starts;
                    assert!(seeds.insert(seat.loss_seed()), "{} {starts}", seat.name);
                }
            }
        }
    }
}
