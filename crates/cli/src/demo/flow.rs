//! The demo's course, from the first start to the last check.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::{StreamExt, stream};
use leasehold_api::v1;
use leasehold_client::Job;
use leasehold_types::JobId;
use tokio::time::{Instant, sleep, timeout};

use super::cluster::Cluster;
use super::documents::{Document, SCRIPT};
use super::late::LateWriter;
use super::processes::{Launcher, Region, lay_out};
use super::report::Report;
use super::view::View;
use super::{LEASE, QUEUE, SLOTS_MAX};
use crate::commands::reach::{self, millis};
use crate::processes::REGIONS;

/// Longest that any one wait may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The killed region is started again this long after.
const DOWN_FOR: Duration = Duration::from_secs(8);
/// Longest that one region may take to stop: a node may take half a minute.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);
/// Pause between the submits that go on while a region is down.
const TRICKLE: Duration = Duration::from_millis(40);

/// Runs the demo in a folder.
pub(super) async fn run(root: &Path, documents: Vec<Document>) -> anyhow::Result<Report> {
    let mut demo = Demo::start(root, documents).await?;
    let course = demo.course().await;
    let stopped = demo.stop().await;
    if course.is_err() {
        eprintln!(
            "logs are in {} (keep them with --keep FOLDER)",
            root.display()
        );
    }
    let report = course?;
    stopped?;
    Ok(report)
}

struct Demo {
    started: Instant,
    regions: Vec<Region>,
    launcher: Launcher,
    documents: Vec<Document>,
    view: View,
    report: Report,
}

/// A document and the job that was acknowledged for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    document: usize,
    job: JobId,
}

impl Demo {
    async fn start(root: &Path, documents: Vec<Document>) -> anyhow::Result<Self> {
        let launcher = Launcher {
            program: std::env::current_exe().context("finding this program")?,
            script: SCRIPT,
            queue: QUEUE,
            slots: slots_for(documents.len()),
        };
        let mut demo = Self {
            started: now(),
            regions: lay_out(root)?,
            launcher,
            view: View::new(documents.len() as u64),
            report: Report {
                lease_ms: millis(LEASE),
                timings: "lan",
                ..Report::default()
            },
            documents,
        };
        demo.say("starting three regions: eu, us, ap");
        for at in 0..demo.regions.len() {
            let join = if at == 0 {
                Vec::new()
            } else {
                vec![demo.regions[0].place.peer.clone()]
            };
            demo.regions[at].start_node(&demo.launcher, &join)?;
        }
        Ok(demo)
    }

    async fn course(&mut self) -> anyhow::Result<Report> {
        let all = self.through_all()?;
        self.await_whole(&all).await?;
        all.create_queue(QUEUE, LEASE).await?;
        for at in 0..self.regions.len() {
            self.start_worker(at)?;
        }
        let early = self.documents.len() * 2 / 3;
        let mut taken = self.submit_early(&all, early).await?;
        let victim = self.await_work(&all, early).await?;
        let killed = self.kill(&all, victim).await?;
        taken.extend(self.carry_on(victim, killed, early).await?);
        self.check(&taken).await?;
        self.report.total_ms = millis(self.started.elapsed());
        self.view.finish();
        Ok(std::mem::take(&mut self.report))
    }

    async fn await_whole(&mut self, all: &Cluster) -> anyhow::Result<()> {
        let regions = self.regions.len();
        self.within("three regions with three replicas of each shard", async {
            while !reach::is_whole(&all.client, regions).await {
                sleep(LOOK_EVERY).await;
            }
        })
        .await?;
        self.say("each region has its shard, with a replica in every other");
        Ok(())
    }

    fn start_worker(&mut self, at: usize) -> anyhow::Result<()> {
        let others = self.endpoints_but(at);
        self.regions[at].start_worker(&self.launcher, &others)
    }

    async fn submit_early(&self, all: &Cluster, count: usize) -> anyhow::Result<Vec<Taken>> {
        let jobs = self.documents[..count].iter().map(job).collect();
        let results = all.client.submit_many(jobs).await;
        let taken = results.into_iter().enumerate().map(|(document, result)| {
            let job = result
                .with_context(|| format!("submitting document {document}"))?
                .id();
            Ok(Taken { document, job })
        });
        let taken = taken.collect::<anyhow::Result<Vec<_>>>()?;
        let slots = self.launcher.slots;
        self.say(&format!(
            "{count} documents submitted, {slots} slots in each region at work"
        ));
        Ok(taken)
    }

    /// Watches until a quarter of the results is in, then names the region that holds most leases.
    async fn await_work(&mut self, all: &Cluster, early: usize) -> anyhow::Result<usize> {
        let results = early / 4;
        let deadline = now() + PATIENCE;
        while now() < deadline {
            self.check_processes(None)?;
            let snapshot = all.snapshot().await.unwrap_or_default();
            self.view.show(self.started.elapsed(), &snapshot, None);
            let busiest = snapshot.busiest();
            let busiest = busiest.and_then(|name| REGIONS.iter().position(|known| *known == name));
            match busiest {
                Some(victim) if snapshot.done >= results as u64 => return Ok(victim),
                // So few documents that nobody was seen at work: the founder's region is as good as any.
                None if snapshot.done >= early as u64 => return Ok(0),
                Some(_) | None => sleep(LOOK_EVERY).await,
            }
        }
        bail!("the workers did not get {results} results within {PATIENCE:?}")
    }

    async fn kill(&mut self, all: &Cluster, victim: usize) -> anyhow::Result<Killed> {
        let name = self.regions[victim].place.region;
        let led = led_from(&all.shards().await?, name);
        let held = all.leases_in(name).await?;
        self.regions[victim].kill().await?;
        let at = now();
        self.say(&format!(
            "region {name} killed with SIGKILL, {} leases held there",
            held.len()
        ));
        name.clone_into(&mut self.report.killed_region);
        self.report.leases_at_kill = held.len();
        Ok(Killed {
            at,
            led,
            late: LateWriter::new(held),
        })
    }

    /// Submits go on, the region comes back, everything finishes, and late results are refused.
    async fn carry_on(
        &mut self,
        victim: usize,
        mut killed: Killed,
        early: usize,
    ) -> anyhow::Result<Vec<Taken>> {
        let rest = Cluster::through(&self.endpoints_but(victim))?;
        let late = self.documents[early..].to_vec();
        let trickle = tokio::spawn(trickle(rest.clone(), late, early, killed.at));
        let mut is_back = false;
        while !(self.look(&rest, victim, &mut killed, is_back).await? && is_back) {
            if killed.at.elapsed() > PATIENCE {
                bail!("not every job had its result {PATIENCE:?} after the kill");
            }
            if !is_back && killed.at.elapsed() > DOWN_FOR {
                self.bring_back(victim)?;
                is_back = true;
            }
            sleep(LOOK_EVERY).await;
        }
        self.await_back(victim, killed.at).await?;
        self.report.late_writes_sent = killed.late.sent;
        self.report.late_writes_refused = killed.late.refused;
        self.note_accepted(trickle.await??, &killed)
    }

    /// One look at everything. Whether all jobs have their results and every late write was answered.
    async fn look(
        &mut self,
        rest: &Cluster,
        victim: usize,
        killed: &mut Killed,
        is_back: bool,
    ) -> anyhow::Result<bool> {
        let dead = (!is_back).then_some(victim);
        self.check_processes(dead)?;
        self.look_for_redispatch(rest, killed).await;
        let snapshot = rest.snapshot().await.unwrap_or_default();
        let dead = dead.map(|at| self.regions[at].place.region);
        self.view.show(self.started.elapsed(), &snapshot, dead);
        let is_done = snapshot.done >= self.documents.len() as u64;
        if is_done && self.report.kill_to_last_result_ms.is_none() {
            self.report.kill_to_last_result_ms = Some(millis(killed.at.elapsed()));
        }
        Ok(is_done && killed.late.is_done())
    }

    fn bring_back(&mut self, victim: usize) -> anyhow::Result<()> {
        let peers: Vec<String> = (self.regions.iter().enumerate())
            .filter(|(at, _)| *at != victim)
            .map(|(_, region)| region.place.peer.clone())
            .collect();
        self.say(&format!(
            "region {} is started again",
            self.regions[victim].place.region
        ));
        self.regions[victim].start_node(&self.launcher, &peers)?;
        self.start_worker(victim)
    }

    async fn look_for_redispatch(&mut self, rest: &Cluster, killed: &mut Killed) {
        let Some(running) = killed.late.look(rest).await else {
            return;
        };
        if self.report.kill_to_redispatch_ms.is_none() {
            let after = killed.at.elapsed().saturating_sub(running);
            self.report.kill_to_redispatch_ms = Some(millis(after));
            self.say(&format!(
                "the first of its jobs runs again elsewhere, {after:.1?} after the kill"
            ));
        }
    }

    async fn await_back(&mut self, victim: usize, killed: Instant) -> anyhow::Result<()> {
        let back = Cluster::through(&[self.regions[victim].place.client.clone()])?;
        self.within("the killed region to serve again", async {
            while back.shards().await.is_err() {
                sleep(LOOK_EVERY).await;
            }
        })
        .await?;
        self.report.region_back_ms = Some(millis(killed.elapsed()));
        Ok(())
    }

    fn note_accepted(
        &mut self,
        accepted: Vec<Accepted>,
        killed: &Killed,
    ) -> anyhow::Result<Vec<Taken>> {
        self.report.kill_to_accepted_submit_ms = accepted.iter().map(|one| one.after_ms).min();
        let moved = accepted
            .iter()
            .filter(|one| killed.led.contains(&one.taken.job));
        self.report.kill_to_accepted_submit_on_moved_shard_ms = moved.map(|one| one.after_ms).min();
        Ok(accepted.into_iter().map(|one| one.taken).collect())
    }

    /// Reads every job back and holds its result against a direct computation.
    async fn check(&mut self, taken: &[Taken]) -> anyhow::Result<()> {
        let all = self.through_all()?;
        let read = stream::iter(taken).map(|one| {
            let all = all.clone();
            async move { (one, all.get(&one.job.to_string()).await) }
        });
        let jobs: Vec<_> = read.buffer_unordered(32).collect().await;
        self.report.jobs = taken.len();
        for (one, job) in jobs {
            let job = job.with_context(|| format!("reading job {} back", one.job))?;
            self.count(&self.documents[one.document].clone(), &job);
        }
        Ok(())
    }

    fn count(&mut self, document: &Document, job: &v1::Job) {
        let report = &mut self.report;
        let Some(done) = &job.done else {
            report.lost += 1;
            return;
        };
        report.accepted_results += 1;
        report.results_as_computed += usize::from(document.accepts(&done.result));
        report.run_twice += usize::from(job.tries.unwrap_or_default().granted > 1);
        let completed =
            |attempt: &&v1::Attempt| matches!(attempt.end, Some(v1::attempt::End::Completed(_)));
        report.accepted_twice += usize::from(job.history.iter().filter(completed).count() > 1);
    }

    /// One after the other: each can hand its leaderships to one that stays, and the last has nobody to wait for.
    async fn stop(&mut self) -> anyhow::Result<()> {
        for region in &mut self.regions {
            let name = region.place.region;
            let stopped = timeout(STOPPED_WITHIN, region.stop()).await;
            stopped
                .with_context(|| format!("region {name} took over {STOPPED_WITHIN:?} to stop"))??;
        }
        Ok(())
    }

    fn check_processes(&mut self, dead: Option<usize>) -> anyhow::Result<()> {
        for (at, region) in self.regions.iter_mut().enumerate() {
            match region.has_failed() {
                Some(failure) if Some(at) != dead => {
                    bail!("{failure}: see {}", region.place.log().display())
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    async fn within<T>(&self, what: &str, wait: impl Future<Output = T>) -> anyhow::Result<T> {
        timeout(PATIENCE, wait)
            .await
            .map_err(|_| anyhow!("waited {PATIENCE:?} for {what}"))
    }

    fn through_all(&self) -> anyhow::Result<Cluster> {
        let endpoints: Vec<String> = self
            .regions
            .iter()
            .map(|region| region.place.client.clone())
            .collect();
        Ok(Cluster::through(&endpoints)?)
    }

    fn endpoints_but(&self, at: usize) -> Vec<String> {
        let others = self
            .regions
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        others
            .map(|(_, region)| region.place.client.clone())
            .collect()
    }

    fn say(&self, words: &str) {
        self.view.say(self.started.elapsed(), words);
    }
}

/// The kill, and what has to be known of the moment before it.
struct Killed {
    at: Instant,
    led: Slices,
    late: LateWriter,
}

/// The slices of the job id space whose leader was killed.
struct Slices(Vec<std::ops::Range<u32>>);

impl Slices {
    fn contains(&self, job: &JobId) -> bool {
        let slice = u32::from(job.virtual_shard().get());
        self.0.iter().any(|range| range.contains(&slice))
    }
}

fn led_from(shards: &[v1::Shard], region: &str) -> Slices {
    let led = shards.iter().filter(|shard| shard.leader_region == region);
    Slices(
        led.map(|shard| {
            shard.first_virtual_shard..shard.first_virtual_shard + shard.virtual_shards
        })
        .collect(),
    )
}

/// A submit that was acknowledged after the kill.
struct Accepted {
    taken: Taken,
    after_ms: u64,
}

/// One submit after the other, each under its document's name as key, so that they spread over all shards.
async fn trickle(
    rest: Cluster,
    documents: Vec<Document>,
    first: usize,
    killed: Instant,
) -> anyhow::Result<Vec<Accepted>> {
    let submits = documents.into_iter().enumerate().map(|(at, document)| {
        let rest = rest.clone();
        async move {
            sleep(TRICKLE * u32::try_from(at).unwrap_or(u32::MAX)).await;
            let submitted = rest.client.submit(job(&document)).await;
            let job = submitted
                .with_context(|| format!("submitting {}", document.name))?
                .id();
            let after_ms = millis(killed.elapsed());
            let document = first + at;
            Ok(Accepted {
                taken: Taken { document, job },
                after_ms,
            })
        }
    });
    futures_util::future::try_join_all(submits).await
}

fn job(document: &Document) -> Job {
    Job::new(QUEUE, document.text.clone()).key(document.name.clone())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demo measures what people would see"
)]
fn now() -> Instant {
    Instant::now()
}

/// So many that the work lasts for a while: a region without leases shows nothing when it is killed.
fn slots_for(documents: usize) -> u32 {
    u32::try_from(documents / 75)
        .unwrap_or(SLOTS_MAX)
        .clamp(1, SLOTS_MAX)
}
