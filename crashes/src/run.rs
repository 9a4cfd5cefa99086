//! A whole run: cluster after cluster, crash after crash, and the check of each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::args::RunArgs;
use crate::clock::now;
use crate::cluster::{Cluster, ClusterError};
use crate::ledger::{Found, Ledger};
use crate::load::{Load, Undone, look_at_some, sweep, undone};
use crate::plan::Planner;
use crate::tally::Tally;
use crate::violation::Violation;

/// So many times the submits wanted between two crashes come at full speed, and then a trickle: a cluster's jobs, and so
/// the time that it takes to start, stay within bounds, and the disk is busy while a point is waited for.
const QUOTA: u64 = 4;
/// Jobs looked at after each crash.
const LOOKS: u32 = 120;
/// Longest that clients may wait for the submits between two crashes.
const PROGRESS: Duration = Duration::from_secs(120);
/// Longest that it may take to look at all jobs.
const LOOK: Duration = Duration::from_secs(120);
/// Longest that a drain may take.
const DRAIN: Duration = Duration::from_secs(180);

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) broken: Option<Broken>,
}

/// Where and how promises were broken.
pub(crate) struct Broken {
    pub(crate) kill: u32,
    pub(crate) how: String,
    pub(crate) found: Found,
    pub(crate) folder: PathBuf,
}

/// Runs until so many crashes were survived, or a promise was broken.
///
/// # Errors
/// When the harness itself cannot go on. What it had come to stays, and the error says where.
pub(crate) async fn run(arguments: &RunArgs) -> anyhow::Result<Outcome> {
    let root = Root::new(arguments.keep.clone())?;
    let began = now();
    let mut run = Run {
        arguments,
        planner: Planner::new(arguments),
        tally: Tally::default(),
        last: "nothing".to_owned(),
    };
    let mut broken = None;
    while broken.is_none() && run.tally.kills < arguments.kills {
        broken = match run.one_cluster(&root).await {
            Ok(broken) => broken,
            Err(error) => return Err(run.failed(error, root)),
        };
    }
    run.tally.ended(began.elapsed());
    if broken.is_some() {
        root.keep();
    }
    let tally = run.tally;
    Ok(Outcome { tally, broken })
}

/// Where clusters live: a folder that goes away, or one that was asked for.
enum Root {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Root {
    fn new(asked: Option<PathBuf>) -> anyhow::Result<Self> {
        match asked {
            None => Ok(Self::Temporary(tempfile::tempdir()?)),
            Some(folder) => {
                let named = || format!("folder {}", folder.display());
                std::fs::create_dir_all(&folder).with_context(named)?;
                let is_empty = folder.read_dir().with_context(named)?.next().is_none();
                anyhow::ensure!(is_empty, "{} is not empty: name another one", named());
                Ok(Self::Kept(folder))
            }
        }
    }

    fn folder(&self, cluster: u32) -> PathBuf {
        let root = match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(folder) => folder,
        };
        root.join(format!("cluster-{cluster}"))
    }

    fn keep(self) {
        if let Self::Temporary(folder) = self {
            drop(folder.keep());
        }
    }
}

struct Run<'a> {
    arguments: &'a RunArgs,
    planner: Planner,
    tally: Tally,
    /// The last crash, in words.
    last: String,
}

impl Run<'_> {
    /// The harness cannot go on, which may well be the nodes' fault: what there is stays.
    fn failed(&self, error: anyhow::Error, root: Root) -> anyhow::Error {
        let folder = root.folder(self.tally.clusters);
        root.keep();
        error.context(format!(
            "after crash {} of seed {}, {}; data and logs: {}",
            self.tally.kills,
            self.arguments.seed,
            self.last,
            folder.display()
        ))
    }

    /// The life of one cluster, from its founding to its last check.
    async fn one_cluster(&mut self, root: &Root) -> anyhow::Result<Option<Broken>> {
        self.tally.clusters += 1;
        let folder = root.folder(self.tally.clusters);
        let nodes = self.nodes();
        let mut rng = self.planner.cluster(self.tally.kills);
        let load_seed = rng.random();
        let mut cluster = Cluster::lay_out(&folder, nodes, self.arguments.lie, &mut rng)?;
        let ledger = Arc::new(Ledger::new());
        let lived = self.live(&mut cluster, &ledger, load_seed).await;
        cluster.end().await;
        self.tally.add(ledger.history().sums());
        let mut found = ledger.found();
        match lived {
            Ok(()) => {}
            Err(ClusterError::Violation(violation)) => found.add(violation),
            Err(ClusterError::Harness(error)) => return Err(error),
        }
        if found.is_empty() {
            std::fs::remove_dir_all(&folder)?;
            return Ok(None);
        }
        self.tally.broken(&found);
        Ok(Some(Broken {
            kill: self.tally.kills,
            how: self.last.clone(),
            found,
            folder,
        }))
    }

    fn nodes(&self) -> usize {
        match (self.arguments.nodes, self.tally.clusters % 2) {
            (Some(nodes), _) => nodes,
            (None, 1) => 3,
            (None, _) => 1,
        }
    }

    async fn live(
        &mut self,
        cluster: &mut Cluster,
        ledger: &Arc<Ledger>,
        load_seed: u64,
    ) -> Result<(), ClusterError> {
        let nodes = cluster.endpoints().len();
        let first = self.planner.first_start(self.tally.kills, nodes);
        let (planner, tally) = (&mut self.planner, &mut self.tally);
        self.last = "the founding".to_owned();
        cluster.found(first, planner, tally).await?;
        let load = Load::start(cluster.endpoints(), Arc::clone(ledger), load_seed).await?;
        let lived = self.under_load(cluster, &load, ledger).await;
        load.stop().await;
        lived
    }

    async fn under_load(
        &mut self,
        cluster: &mut Cluster,
        load: &Load,
        ledger: &Ledger,
    ) -> Result<(), ClusterError> {
        let last = self
            .tally
            .kills
            .saturating_add(self.arguments.kills_per_cluster);
        while self.tally.kills < last.min(self.arguments.kills) && !ledger.is_broken() {
            self.await_submits(ledger).await?;
            self.one_kill(cluster, load).await?;
        }
        let mut rng = self.planner.looks(self.tally.kills);
        if ledger.is_broken() {
            // All that is broken is to be known, not only what was met first.
            return look_at_all(load, &mut rng).await;
        }
        self.last = "the drain".to_owned();
        load.drain().await;
        await_drained(load).await?;
        look_at_all(load, &mut rng).await?;
        if ledger.is_broken() {
            return Ok(());
        }
        self.last = "the power failure of all nodes after the drain".to_owned();
        cluster.black_out(&mut self.tally).await?;
        look_at_all(load, &mut rng).await
    }

    async fn one_kill(&mut self, cluster: &mut Cluster, load: &Load) -> Result<(), ClusterError> {
        let nodes = cluster.endpoints().len();
        self.tally.kills += 1;
        let blow = self.planner.blow(self.tally.kills, nodes);
        self.last = format!("{blow:?}");
        let (planner, tally) = (&mut self.planner, &mut self.tally);
        cluster.check_alive().await?;
        let told = cluster.suffer(&blow, planner, tally).await?;
        let mut rng = self.planner.looks(self.tally.kills);
        let looks = look_at_some(&load.common, LOOKS, &mut rng).await;
        self.tally.looks += looks as u64;
        let sums = load.common.ledger.history().sums();
        eprintln!(
            "{:>4}/{} {nodes} nodes: {told}; {} acknowledged, {} done, {} unknown",
            self.tally.kills, self.arguments.kills, sums.submits, sums.completions, sums.unknown
        );
        Ok(())
    }

    /// Waits until clients got as much done as is wanted between two crashes.
    async fn await_submits(&self, ledger: &Ledger) -> Result<(), Violation> {
        ledger.allow(self.arguments.submits.saturating_mul(QUOTA));
        let mut progress = ledger.watch();
        let wanted = progress.borrow().submits + self.arguments.submits;
        let enough = progress.wait_for(|progress| progress.submits >= wanted);
        match tokio::time::timeout(PROGRESS, enough).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Violation::Stuck {
                what: format!("{} submits were not acknowledged", self.arguments.submits),
                seconds: PROGRESS.as_secs(),
            }),
        }
    }
}

async fn await_drained(load: &Load) -> Result<(), Violation> {
    let mut last = None;
    let draining = async {
        loop {
            let undone = undone(&load.common.client).await;
            if undone == Some(Undone::default()) {
                return;
            }
            last = undone.or(last);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    if tokio::time::timeout(DRAIN, draining).await.is_ok() {
        return Ok(());
    }
    Err(Violation::Stuck {
        what: format!("the jobs did not drain, {last:?},"),
        seconds: DRAIN.as_secs(),
    })
}

async fn look_at_all(load: &Load, rng: &mut SmallRng) -> Result<(), ClusterError> {
    let mut last = None;
    let looking = async {
        // A leader may still have to be found.
        while let Err(error) = sweep(&load.common, rng).await {
            last = Some(error);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    if tokio::time::timeout(LOOK, looking).await.is_ok() {
        return Ok(());
    }
    let why = last.map_or_else(|| "it was too slow".to_owned(), |error| error.to_string());
    let violation = Violation::Stuck {
        what: format!("not all jobs could be looked at ({why})"),
        seconds: LOOK.as_secs(),
    };
    Err(violation.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn run_that_could_not_go_on_keeps_its_folder_and_says_where_and_under_which_seed() {
        let arguments = Arguments::parse_from(["leasehold-crashes", "--seed", "4711"]).run;
        let root = Root::new(None).unwrap();
        let run = Run {
            arguments: &arguments,
            planner: Planner::new(&arguments),
            tally: Tally::default(),
            last: "the founding".to_owned(),
        };
        let folder = root.folder(0);
        std::fs::create_dir(&folder).unwrap();
        let said = format!("{:#}", run.failed(anyhow::anyhow!("no ports"), root));
        assert!(folder.is_dir(), "{said}");
        std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
        for part in [
            "4711",
            "the founding",
            "no ports",
            &folder.display().to_string(),
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
