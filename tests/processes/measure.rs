//! Measurements on real processes. They assert promises and print figures; no figure fails them. Run one with
//! `cargo test --release -p leasehold-cli --test processes -- --ignored --nocapture NAME`.
#![allow(clippy::disallowed_methods, reason = "measurements read the clock")]

use std::process::Command;
use std::time::{Duration, Instant};

use leasehold_api::v1;
use leasehold_api::v1::admin_client::AdminClient;
use leasehold_client::{Client, Job, JobId, Kind};

use crate::harness::{Cluster, LEASEHOLD, Process};

fn client(endpoints: Vec<String>) -> Client {
    Client::builder()
        .endpoints(endpoints)
        .timeout(Duration::from_secs(60))
        .attempt_timeout(Duration::from_secs(5))
        .backoff(Duration::from_millis(20), Duration::from_millis(200))
        .build()
        .unwrap()
}

async fn shards(client: &Client) -> Vec<v1::Shard> {
    let ask = |channel| async move {
        AdminClient::new(channel)
            .list_shards(v1::ListShardsRequest {})
            .await
    };
    client.call(Kind::Read, ask).await.unwrap().shards
}

fn rounds() -> usize {
    std::env::var("ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20)
}

fn print_spread(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let p50 = times[times.len() / 2];
    println!(
        "{what}: n {}, min {:.2?}, p50 {p50:.2?}, max {:.2?}",
        times.len(),
        times[0],
        times[times.len() - 1]
    );
}

/// A key of the queue `default` that belongs to a shard.
fn key_of(cluster: &Cluster, shard: u64, salt: &str) -> String {
    let endpoints = cluster.endpoints();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = client(endpoints);
        for number in 0..1000 {
            let key = format!("{salt}-{number}");
            let ask = |channel| {
                let request = v1::RouteRequest {
                    queue: "default".to_owned(),
                    idempotency_key: key.clone(),
                    ..v1::RouteRequest::default()
                };
                async move {
                    v1::jobs_client::JobsClient::new(channel)
                        .route(request)
                        .await
                }
            };
            if u64::from(client.call(Kind::Read, ask).await.unwrap().shard_id) == shard {
                return key;
            }
        }
        panic!("no key of a thousand belongs to shard {shard}");
    })
}

fn leader_killed(timings: &'static str) {
    let mut cluster = Cluster::new(3, timings);
    cluster.start_all();
    let mut times = Vec::new();
    for round in 0..rounds() {
        cluster.await_whole();
        let list = cluster.json(&["shard", "list"]);
        let status = cluster.json(&["cluster", "status"]);
        let shard = &list[round % 3];
        let leader = shard["leader"].as_u64().unwrap();
        let node = status["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|node| node["node_id"] == leader)
            .unwrap();
        let at = cluster
            .nodes
            .iter()
            .position(|known| known.region == node["region"])
            .unwrap();
        let key = key_of(
            &cluster,
            shard["shard_id"].as_u64().unwrap(),
            &format!("{timings}-{round}"),
        );
        let others: Vec<String> = (0..3)
            .filter(|other| *other != at)
            .map(|other| cluster.nodes[other].client.clone())
            .collect();
        cluster.kill(at);
        times.push(time_to_accept(others, key));
        cluster.start(at);
    }
    print_spread(
        &format!("{timings}: kill -9 of a shard's leader to the next accepted submit"),
        times,
    );
}

fn time_to_accept(endpoints: Vec<String>, key: String) -> Duration {
    let killed = Instant::now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let job = Job::new("default", "after the kill").key(key);
        client(endpoints).submit(job).await.unwrap();
    });
    killed.elapsed()
}

#[test]
#[ignore = "a measurement of minutes"]
fn leader_killed_lan() {
    leader_killed("lan");
}

#[test]
#[ignore = "a measurement of minutes"]
fn leader_killed_wan() {
    leader_killed("wan");
}

fn everything_killed(timings: &'static str) {
    const JOBS: usize = 20_000;
    let mut cluster = Cluster::new(3, timings);
    cluster.start_all();
    cluster.await_whole();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let endpoints = cluster.endpoints();
    let jobs: Vec<JobId> = runtime.block_on(async {
        let jobs = (0..JOBS)
            .map(|number| Job::new("default", format!("job {number}")))
            .collect();
        let results = client(endpoints.clone()).submit_many(jobs).await;
        results
            .into_iter()
            .map(|result| result.unwrap().id())
            .collect()
    });
    let workers: Vec<Process> = (0..3).map(|at| sleeper(&cluster, at)).collect();
    await_leases(&cluster, 300);
    (0..3).for_each(|at| cluster.kill(at));
    let killed = Instant::now();
    cluster.start_all();
    let serving = runtime.block_on(async {
        client(endpoints.clone())
            .submit(Job::new("default", "after"))
            .await
            .unwrap();
        killed.elapsed()
    });
    let (missing, states) = runtime.block_on(read_back(client(endpoints.clone()), &jobs));
    let all_serving = runtime.block_on(async {
        while shards(&client(endpoints.clone()))
            .await
            .iter()
            .any(|shard| shard.error.is_some())
        {
            tokio::task::yield_now().await;
        }
        killed.elapsed()
    });
    drop(workers);
    println!(
        "{timings}: {JOBS} jobs acknowledged, {missing} missing after kill -9 of all three; {states:?}"
    );
    println!(
        "{timings}: first submit accepted {serving:.2?} after the start, all read back and every shard led by {all_serving:.2?}"
    );
    assert_eq!(missing, 0);
}

fn sleeper(cluster: &Cluster, at: usize) -> Process {
    let mut command = Command::new(LEASEHOLD);
    command.args([
        "worker",
        "exec",
        "--slots",
        "100",
        "--endpoint",
        &cluster.nodes[at].client,
    ]);
    command.args(["--", "sleep", "600"]);
    Process::start(
        &mut command,
        &cluster.root.path().join(format!("worker-{at}.log")),
    )
}

fn await_leases(cluster: &Cluster, wanted: u64) {
    for _ask in 0..240 {
        let shards = cluster.json(&["shard", "list"]);
        let leased = shards
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|shard| shard["counts"]["leased"].as_u64());
        if leased.sum::<u64>() >= wanted {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(250));
    }
    panic!("not {wanted} leases: {}", cluster.logs());
}

async fn read_back(
    client: Client,
    jobs: &[JobId],
) -> (usize, std::collections::BTreeMap<String, usize>) {
    use futures_util::{StreamExt, stream};
    let mut states = std::collections::BTreeMap::new();
    let mut missing = 0;
    let reads = stream::iter(jobs).map(|job| {
        let client = client.clone();
        async move { client.get(*job).await }
    });
    let mut reads = reads.buffer_unordered(64);
    while let Some(read) = reads.next().await {
        match read {
            Ok(view) => {
                let status = format!("{:?}", view.status);
                let state = status
                    .split([' ', '{', '('])
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                *states.entry(state).or_default() += 1;
            }
            Err(_) => missing += 1,
        }
    }
    (missing, states)
}

#[test]
#[ignore = "a measurement of a minute"]
fn everything_killed_lan() {
    everything_killed("lan");
}

#[test]
#[ignore = "a measurement of a minute"]
fn everything_killed_wan() {
    everything_killed("wan");
}
