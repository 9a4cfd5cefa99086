//! Jobs are submitted and leased, the leader of their shard is cut off from the other regions, work goes on, the cut is
//! mended, and every job has one result.

use std::time::Duration;

use anyhow::Context;
use leasehold_api::v1;
use leasehold_api::v1::admin_client::AdminClient;
use leasehold_client::{
    CancellationToken, Client, Job, JobId, Kind, SameRuntime, WorkError, WorkItem, Worker,
};
use tokio::time::sleep;

use crate::invariants::one_accepted_result;
use crate::trace::Trace;
use crate::world::{REGIONS, add_nodes, client, simulation};

/// Simulated time after which a run counts as stuck.
const LONGEST: Duration = Duration::from_secs(240);
const WORK: Duration = Duration::from_secs(3);
const CUT_FOR: Duration = Duration::from_secs(20);
const JOBS: u32 = 4;

/// Runs the scenario under one seed.
///
/// # Errors
/// When an invariant breaks, or the cluster does not get there in time.
pub fn run(seed: u64) -> anyhow::Result<Trace> {
    let trace = Trace::default();
    let mut sim = simulation(seed, LONGEST);
    add_nodes(&mut sim, seed, &trace);
    let noted = trace.clone();
    sim.client("outside", async move {
        Box::pin(course(seed, noted))
            .await
            .map_err(|error| format!("{error:#}").into())
    });
    sim.run()
        .map_err(|error| anyhow::anyhow!("seed {seed}: {error}"))?;
    Ok(trace)
}

async fn course(seed: u64, trace: Trace) -> anyhow::Result<()> {
    let driver = Driver {
        client: client(&REGIONS, seed ^ 1)?,
        trace,
        acknowledged: Vec::new(),
    };
    driver.drive(seed).await
}

struct Driver {
    client: Client,
    trace: Trace,
    acknowledged: Vec<(JobId, String)>,
}

impl Driver {
    async fn drive(mut self, seed: u64) -> anyhow::Result<()> {
        self.await_whole().await;
        let stop = CancellationToken::new();
        let worker = tokio::spawn(work(
            client(&REGIONS, seed ^ 2)?,
            self.trace.clone(),
            stop.clone(),
        ));
        self.submit("before").await?;
        let leader = self.cut_off_a_leader().await?;
        self.submit("during").await?;
        sleep(CUT_FOR).await;
        REGIONS
            .into_iter()
            .filter(|other| *other != leader)
            .for_each(|other| turmoil::repair(leader, other));
        self.note(format_args!("{leader} is back"));
        self.submit("after").await?;
        self.await_results().await?;
        let run_twice = one_accepted_result(&self.client, &self.acknowledged).await?;
        self.note(format_args!(
            "{} jobs done, {run_twice} of them run twice",
            self.acknowledged.len()
        ));
        stop.cancel();
        worker.await??;
        Ok(())
    }

    async fn shards(&self) -> Vec<v1::Shard> {
        let ask = |channel| async move {
            AdminClient::new(channel)
                .list_shards(v1::ListShardsRequest {})
                .await
        };
        let answer = self.client.call(Kind::Read, ask).await;
        answer.map(|answer| answer.shards).unwrap_or_default()
    }

    async fn await_whole(&self) {
        let is_whole = |shard: &v1::Shard| {
            shard.error.is_none() && shard.leader != 0 && shard.voters.len() == 3
        };
        loop {
            let shards = self.shards().await;
            if shards.len() == REGIONS.len() && shards.iter().all(is_whole) {
                return self.note("three shards with three replicas each");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// One job after the other, each under a key of its own, so that they spread over the shards.
    async fn submit(&mut self, when: &str) -> anyhow::Result<()> {
        for number in 0..JOBS {
            let text = format!("{when} {number}");
            let job = Job::new("default", text.clone()).key(text.replace(' ', "-"));
            let handle = self
                .client
                .submit(job)
                .await
                .with_context(|| format!("submitting {text:?}"))?;
            self.note(format_args!("{text} is {}", handle.id()));
            self.acknowledged.push((handle.id(), text.to_uppercase()));
        }
        Ok(())
    }

    /// The leader of the first shard keeps its clients and loses its peers.
    async fn cut_off_a_leader(&self) -> anyhow::Result<&'static str> {
        let shards = self.shards().await;
        let region = shards
            .first()
            .map(|shard| shard.leader_region.clone())
            .context("no shard")?;
        let leader = REGIONS
            .into_iter()
            .find(|known| *known == region)
            .context("no leader")?;
        REGIONS
            .into_iter()
            .filter(|other| *other != leader)
            .for_each(|other| turmoil::partition(leader, other));
        self.note(format_args!("{leader} is cut off"));
        Ok(leader)
    }

    async fn await_results(&self) -> anyhow::Result<()> {
        for (job, _) in &self.acknowledged {
            let view = self.client.wait(*job, Duration::from_secs(120)).await?;
            self.note(format_args!("{job} {:?} {:?}", view.status, view.tries));
        }
        Ok(())
    }

    fn note(&self, event: impl std::fmt::Display) {
        self.trace
            .note(turmoil::sim_elapsed().unwrap_or_default(), event);
    }
}

async fn work(client: Client, trace: Trace, stop: CancellationToken) -> anyhow::Result<()> {
    let shout = move |item: WorkItem| {
        let trace = trace.clone();
        async move {
            let at = turmoil::sim_elapsed().unwrap_or_default();
            trace.note(
                at,
                format_args!("{} runs under {}", item.id(), item.fence()),
            );
            sleep(WORK).await;
            Ok::<_, WorkError>(item.payload().to_ascii_uppercase().into())
        }
    };
    let worker = Worker::builder(&client)
        .name("outside")
        .queue("default")
        .slots(4)
        .spawner(SameRuntime);
    worker.run(shout, stop).await?;
    Ok(())
}
