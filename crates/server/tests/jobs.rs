//! Jobs through real nodes on loopback ports: whichever node is asked, and whichever leads by then.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops where anything else would do"
)]

#[path = "support/nodes.rs"]
mod nodes;

use std::collections::BTreeSet;

use leasehold_api::v1::admin_client::AdminClient;
use leasehold_api::v1::jobs_client::JobsClient;
use leasehold_api::{ApiError, v1};
use leasehold_server::node::Node;
use leasehold_types::{ErrorCode, JobId, NodeId, QueueName, ShardId, VirtualShard, limits};
use nodes::{Place, in_time, until};
use tokio_stream::StreamExt;
use tonic::transport::Channel;

type Jobs = JobsClient<Channel>;
type Admin = AdminClient<Channel>;

async fn jobs(node: &Node) -> Jobs {
    JobsClient::connect(endpoint(node)).await.unwrap()
}

async fn admin(node: &Node) -> Admin {
    AdminClient::connect(endpoint(node)).await.unwrap()
}

fn endpoint(node: &Node) -> String {
    format!("http://{}", node.addresses().client)
}

fn knows_queue(node: &Node, name: &str) -> bool {
    let name = QueueName::new(name).unwrap();
    node.cluster()
        .read(|metadata| metadata.queue(&name).is_some())
}

async fn solo() -> (Place, Node) {
    let place = Place::new("solo");
    let node = nodes::open(place.founder(1)).await.unwrap();
    until(&node, |node| knows_queue(node, "default")).await;
    (place, node)
}

/// Three regions, each shard with a voter in each.
async fn three() -> ([Place; 3], Vec<Node>) {
    let places = ["eu", "us", "ap"].map(Place::new);
    let first = nodes::open(places[0].founder(3)).await.unwrap();
    let seed = first.addresses().peer.clone();
    let mut cluster = vec![first];
    for place in &places[1..] {
        cluster.push(nodes::open(place.joining(&seed)).await.unwrap());
    }
    for node in &cluster {
        in_time(node.ready()).await;
        until(node, |node| knows_queue(node, "default")).await;
        until(node, every_shard_has_three_voters).await;
    }
    (places, cluster)
}

fn every_shard_has_three_voters(node: &Node) -> bool {
    let shards = node.shards();
    let groups = shards.ids().into_iter().filter_map(|id| shards.group(id));
    let voters: Vec<usize> = groups.map(|group| group.status().voters.len()).collect();
    voters == [3, 3, 3]
}

async fn stop_all(cluster: Vec<Node>) {
    for node in cluster {
        in_time(node.stop()).await;
    }
}

fn new_job(payload: &str) -> v1::NewJob {
    v1::NewJob {
        queue: "default".to_owned(),
        payload: payload.to_owned().into(),
        ..v1::NewJob::default()
    }
}

fn with_key(payload: &str, key: &str) -> v1::NewJob {
    v1::NewJob {
        idempotency_key: key.to_owned(),
        ..new_job(payload)
    }
}

async fn submit(jobs: &mut Jobs, job: v1::NewJob) -> Result<v1::Accepted, ApiError> {
    let mut results = submit_all(jobs, vec![job]).await;
    results.pop().unwrap()
}

async fn submit_all(
    jobs: &mut Jobs,
    batch: Vec<v1::NewJob>,
) -> Vec<Result<v1::Accepted, ApiError>> {
    let request = v1::SubmitRequest { jobs: batch };
    let response = in_time(jobs.submit(request)).await.unwrap().into_inner();
    response.results.into_iter().map(accepted).collect()
}

fn accepted(result: v1::SubmitResult) -> Result<v1::Accepted, ApiError> {
    match result.result.unwrap() {
        v1::submit_result::Result::Accepted(accepted) => Ok(accepted),
        v1::submit_result::Result::Error(error) => Err(error.into()),
    }
}

async fn get(jobs: &mut Jobs, id: &str) -> Result<v1::Job, ApiError> {
    let request = v1::GetRequest {
        job_id: id.to_owned(),
    };
    let response = in_time(jobs.get(request)).await?;
    Ok(response.into_inner().job.unwrap())
}

async fn wait(jobs: &mut Jobs, id: &str) -> v1::Job {
    let request = v1::WaitRequest {
        job_id: id.to_owned(),
        timeout_ms: 60_000,
    };
    let response = in_time(jobs.wait(request)).await.unwrap();
    response.into_inner().job.unwrap()
}

async fn cancel(jobs: &mut Jobs, id: &str) -> Result<bool, ApiError> {
    let request = v1::CancelRequest {
        job_id: id.to_owned(),
        reason: "changed my mind".to_owned(),
    };
    Ok(in_time(jobs.cancel(request)).await?.into_inner().repeated)
}

/// Every job of a filter, page by page.
async fn list(jobs: &mut Jobs, request: v1::ListRequest) -> Vec<v1::Job> {
    let mut request = request;
    let mut all = Vec::new();
    loop {
        let page = in_time(jobs.list(request.clone())).await.unwrap();
        let page = page.into_inner();
        all.extend(page.jobs);
        if page.cursor.is_empty() {
            return all;
        }
        request.cursor = page.cursor;
    }
}

async fn route(jobs: &mut Jobs, key: &str) -> v1::RouteResponse {
    let request = v1::RouteRequest {
        queue: "default".to_owned(),
        idempotency_key: key.to_owned(),
        ..v1::RouteRequest::default()
    };
    in_time(jobs.route(request)).await.unwrap().into_inner()
}

fn minted(route: &v1::RouteResponse, random: u8) -> String {
    let slice = u16::try_from(route.first_virtual_shard).unwrap();
    JobId::new(VirtualShard::new(slice), [random; 12]).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_can_be_submitted_read_listed_and_cancelled_through_any_node() {
    let (_places, cluster) = three().await;
    let mut submitted = BTreeSet::new();
    let mut shards = BTreeSet::new();
    for node in &cluster {
        let mut jobs = jobs(node).await;
        shards.insert(route(&mut jobs, "").await.shard_id);
        let id = submit(&mut jobs, new_job("hello")).await.unwrap().job_id;
        submitted.insert(id);
    }
    assert_eq!(shards.len(), 3, "each region's gateway uses its own shard");
    for node in &cluster {
        let mut jobs = jobs(node).await;
        for id in &submitted {
            let job = get(&mut jobs, id).await.unwrap();
            assert_eq!(
                (job.state(), &job.payload[..]),
                (v1::JobState::Ready, &b"hello"[..])
            );
        }
        let request = v1::ListRequest {
            limit: 2,
            ..v1::ListRequest::default()
        };
        let listed = list(&mut jobs, request).await;
        let ids: BTreeSet<_> = listed.into_iter().map(|job| job.job_id).collect();
        assert_eq!(ids, submitted);
    }
    let mut last = jobs(&cluster[2]).await;
    for id in &submitted {
        assert_eq!(cancel(&mut last, id).await, Ok(false));
        assert_eq!(cancel(&mut last, id).await, Ok(true));
        let job = get(&mut last, id).await.unwrap();
        assert_eq!(job.state(), v1::JobState::Cancelled);
        assert_eq!(job.ended.unwrap().reason, "changed my mind");
    }
    stop_all(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeat_of_a_submit_finds_the_first_job_whichever_node_it_goes_through() {
    let (_places, cluster) = three().await;
    let mut first = jobs(&cluster[0]).await;
    let mut other = jobs(&cluster[1]).await;

    let id = minted(&route(&mut first, "").await, 7);
    let named = |payload| v1::NewJob {
        job_id: id.clone(),
        ..new_job(payload)
    };
    assert!(!submit(&mut first, named("x")).await.unwrap().repeated);
    let again = submit(&mut other, named("x")).await.unwrap();
    assert_eq!((&again.job_id, again.repeated), (&id, true));
    let error = submit(&mut other, named("y")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyExists, "{error}");

    let keyed = submit(&mut first, with_key("x", "order-17")).await.unwrap();
    let again = submit(&mut other, with_key("x", "order-17")).await.unwrap();
    assert_eq!((again.job_id, again.repeated), (keyed.job_id, true));
    let error = submit(&mut other, with_key("y", "order-17")).await;
    assert_eq!(error.unwrap_err().code, ErrorCode::AlreadyExists);
    stop_all(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shard_whose_leader_stops_is_led_and_served_by_another_node() {
    let (_places, mut cluster) = three().await;
    let mut jobs_there = jobs(&cluster[1]).await;
    let shard = ShardId::new(route(&mut jobs_there, "").await.shard_id);
    let kept = submit(&mut jobs_there, new_job("kept"))
        .await
        .unwrap()
        .job_id;
    let before = leader(&cluster[1], shard).await;
    let position = position_of(&cluster, before);
    in_time(cluster.remove(position).stop()).await;
    let mut jobs_here = jobs(&cluster[0]).await;
    let job = get(&mut jobs_here, &kept).await.unwrap();
    assert_eq!(&job.payload[..], b"kept");
    let slice = kept.parse::<JobId>().unwrap().virtual_shard();
    let id = JobId::new(slice, [9; 12]).to_string();
    let named = v1::NewJob {
        job_id: id.clone(),
        ..new_job("new")
    };
    assert_eq!(submit(&mut jobs_here, named).await.unwrap().job_id, id);
    assert_ne!(leader(&cluster[0], shard).await, before);
    stop_all(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shard_whose_leader_crashes_loses_no_acknowledged_job() {
    let (_places, mut cluster) = three().await;
    let mut jobs_there = jobs(&cluster[2]).await;
    let shard = ShardId::new(route(&mut jobs_there, "").await.shard_id);
    let batch = (0..200).map(|n| new_job(&n.to_string())).collect();
    let kept = submit_all(&mut jobs_there, batch).await;
    let kept: BTreeSet<_> = kept.into_iter().map(|job| job.unwrap().job_id).collect();
    let before = leader(&cluster[2], shard).await;
    let position = position_of(&cluster, before);
    nodes::crash(cluster.remove(position)).await;
    let mut jobs_here = jobs(&cluster[0]).await;
    let listed = list(&mut jobs_here, v1::ListRequest::default()).await;
    let listed: BTreeSet<_> = listed.into_iter().map(|job| job.job_id).collect();
    assert_eq!(listed, kept);
    stop_all(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submits_that_go_on_while_the_leader_crashes_are_each_taken_in_once() {
    let (_places, mut cluster) = three().await;
    let mut there = jobs(&cluster[1]).await;
    let route = route(&mut there, "").await;
    let shard = ShardId::new(route.shard_id);
    let leader = leader(&cluster[1], shard).await;
    let other = cluster.iter().find(|node| node.cluster().node() != leader);
    let mut client = jobs(other.unwrap()).await;
    let (tell, mut told) = tokio::sync::mpsc::channel(64);
    let submitting = tokio::spawn(async move {
        let mut ids = BTreeSet::new();
        for number in 0..60_u8 {
            let id = minted(&route, number);
            let job = v1::NewJob {
                job_id: id.clone(),
                ..new_job("x")
            };
            submit(&mut client, job).await.unwrap();
            ids.insert(id);
            tell.send(()).await.unwrap();
        }
        ids
    });
    for _ in 0..20 {
        in_time(told.recv()).await.unwrap();
    }
    let position = position_of(&cluster, leader);
    nodes::crash(cluster.remove(position)).await;
    let ids = in_time(submitting).await.unwrap();
    let listed = list(&mut jobs(&cluster[0]).await, v1::ListRequest::default()).await;
    let listed: Vec<String> = listed.into_iter().map(|job| job.job_id).collect();
    assert_eq!(listed.len(), ids.len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), ids);
    stop_all(cluster).await;
}

/// Who leads the shard, as soon as this node knows.
async fn leader(node: &Node, shard: ShardId) -> NodeId {
    let group = node.shards().group(shard).unwrap();
    let mut status = group.watch();
    let known = in_time(status.wait_for(|status| status.leader.is_some())).await;
    known.unwrap().leader.unwrap()
}

fn position_of(cluster: &[Node], id: NodeId) -> usize {
    let is_it = |node: &Node| node.cluster().node() == id;
    cluster.iter().position(is_it).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_jobs_survive_a_crash_of_the_only_node() {
    let (place, node) = solo().await;
    let mut before = jobs(&node).await;
    let batch = (0..300).map(|n| new_job(&n.to_string())).collect();
    let ids: BTreeSet<_> = submit_all(&mut before, batch)
        .await
        .into_iter()
        .map(|job| job.unwrap().job_id)
        .collect();
    nodes::crash(node).await;
    let node = nodes::open(place.again(&[])).await.unwrap();
    let mut after = jobs(&node).await;
    let listed = list(&mut after, v1::ListRequest::default()).await;
    let listed: BTreeSet<_> = listed.into_iter().map(|job| job.job_id).collect();
    assert_eq!(listed, ids);
    in_time(node.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_with_their_code_and_nothing_is_done() {
    let (_place, node) = solo().await;
    let mut jobs = jobs(&node).await;
    let unknown_queue = v1::NewJob {
        queue: "nowhere".to_owned(),
        ..new_job("x")
    };
    let too_large = v1::NewJob {
        payload: vec![0; limits::INLINE_BYTES + 1].into(),
        ..new_job("x")
    };
    let foreign_slice = v1::NewJob {
        job_id: JobId::new(VirtualShard::new(200), [1; 12]).to_string(),
        ..new_job("x")
    };
    let wrong_digest = v1::NewJob {
        digest: vec![0; 32].into(),
        ..new_job("x")
    };
    let batch = vec![
        unknown_queue,
        too_large,
        new_job("fine"),
        foreign_slice,
        wrong_digest,
    ];
    let results = submit_all(&mut jobs, batch).await;
    let codes: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().err().map(|error| error.code))
        .collect();
    let invalid = Some(ErrorCode::InvalidArgument);
    let not_found = Some(ErrorCode::NotFound);
    assert_eq!(codes, [not_found, invalid, None, not_found, invalid]);
    assert_eq!(list(&mut jobs, v1::ListRequest::default()).await.len(), 1);

    let error = get(&mut jobs, "nonsense").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    let absent = minted(&route(&mut jobs, "").await, 3);
    let error = get(&mut jobs, &absent).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound, "{error}");

    let too_many = v1::SubmitRequest {
        jobs: vec![new_job("x"); limits::BATCH_JOBS + 1],
    };
    let error = ApiError::from(in_time(jobs.submit(too_many)).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains("1000"), "{error}");
    in_time(node.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_and_id_that_lead_to_different_shards_are_refused() {
    let (_places, cluster) = three().await;
    let mut client = jobs(&cluster[0]).await;
    let keyed = route(&mut client, "order-1").await;
    let mut elsewhere = None;
    for node in &cluster {
        let unkeyed = route(&mut jobs(node).await, "").await;
        if unkeyed.shard_id != keyed.shard_id {
            elsewhere = Some(unkeyed);
        }
    }
    let job = v1::NewJob {
        job_id: minted(&elsewhere.unwrap(), 1),
        ..with_key("x", "order-1")
    };
    let error = submit(&mut client, job).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    let job = v1::NewJob {
        job_id: minted(&keyed, 1),
        ..with_key("x", "order-1")
    };
    submit(&mut client, job).await.unwrap();
    stop_all(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_ends_with_the_job_whichever_node_ends_it() {
    let (_places, cluster) = three().await;
    let mut here = jobs(&cluster[0]).await;
    let mut there = jobs(&cluster[1]).await;
    let id = submit(&mut here, new_job("x")).await.unwrap().job_id;
    let waiting = tokio::spawn({
        let id = id.clone();
        let mut jobs = jobs(&cluster[2]).await;
        async move { wait(&mut jobs, &id).await }
    });
    cancel(&mut there, &id).await.unwrap();
    let job = in_time(waiting).await.unwrap();
    assert_eq!(job.state(), v1::JobState::Cancelled);

    let short = v1::WaitRequest {
        job_id: submit(&mut here, new_job("y")).await.unwrap().job_id,
        timeout_ms: 1,
    };
    let job = in_time(here.wait(short)).await.unwrap().into_inner().job;
    assert_eq!(job.unwrap().state(), v1::JobState::Ready);
    stop_all(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_answers_every_submit_by_its_number() {
    let (_place, node) = solo().await;
    let mut client = jobs(&node).await;
    let requests = (1..=500_u64).map(|number| v1::SubmitStreamRequest {
        number,
        submit: Some(v1::SubmitRequest {
            jobs: vec![new_job(&number.to_string()), new_job("second")],
        }),
    });
    let answers = client.submit_stream(tokio_stream::iter(requests)).await;
    let mut answers = answers.unwrap().into_inner();
    let mut numbers = BTreeSet::new();
    let mut ids = BTreeSet::new();
    while let Some(answer) = in_time(answers.next()).await {
        let answer = answer.unwrap();
        numbers.insert(answer.number);
        for result in answer.submit.unwrap().results {
            ids.insert(accepted(result).unwrap().job_id);
        }
    }
    assert_eq!(numbers, (1..=500).collect());
    assert_eq!(ids.len(), 1_000);
    in_time(node.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_made_on_one_node_takes_jobs_through_another_at_once() {
    let (_places, cluster) = three().await;
    let mut operator = admin(&cluster[0]).await;
    let request = v1::CreateQueueRequest {
        name: "chat".to_owned(),
        policy: Some(v1::QueuePolicyChange {
            max_attempts: Some(2),
            ..v1::QueuePolicyChange::default()
        }),
    };
    let made = in_time(operator.create_queue(request.clone())).await;
    let made = made.unwrap().into_inner().queue.unwrap();
    assert_eq!(made.policy.as_ref().unwrap().max_attempts, 2);
    let again = in_time(operator.create_queue(request)).await.unwrap();
    assert_eq!(again.into_inner().queue.unwrap().index, made.index);

    for node in &cluster {
        until(node, |node| knows_queue(node, "chat")).await;
        let job = v1::NewJob {
            queue: "chat".to_owned(),
            ..new_job("x")
        };
        submit(&mut jobs(node).await, job).await.unwrap();
    }
    let listed = in_time(operator.list_queues(v1::ListQueuesRequest {})).await;
    let listed = listed.unwrap().into_inner();
    assert!(listed.missing_shards.is_empty());
    let chat = listed.queues.iter().find(|queue| queue.name == "chat");
    assert_eq!(chat.unwrap().counts.unwrap().ready, 3);
    stop_all(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_is_changed_field_by_field_and_a_stale_base_is_a_conflict() {
    let (_place, node) = solo().await;
    let mut operator = admin(&node).await;
    let change = |base, max_attempts, max_losses| v1::SetQueueRequest {
        name: "default".to_owned(),
        base,
        policy: Some(v1::QueuePolicyChange {
            max_attempts,
            max_losses,
            ..v1::QueuePolicyChange::default()
        }),
    };
    let first = in_time(operator.set_queue(change(0, Some(9), None))).await;
    let first = first.unwrap().into_inner().queue.unwrap();
    let second = in_time(operator.set_queue(change(first.index, None, Some(8)))).await;
    let policy = second.unwrap().into_inner().queue.unwrap().policy.unwrap();
    assert_eq!((policy.max_attempts, policy.max_losses), (9, 8));
    let stale = in_time(operator.set_queue(change(first.index, Some(1), None))).await;
    let error = ApiError::from(stale.unwrap_err());
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");
    let out_of_bounds = in_time(operator.set_queue(change(0, Some(0), None))).await;
    let error = ApiError::from(out_of_bounds.unwrap_err());
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
    in_time(node.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_past_its_deadline_becomes_a_dead_letter_that_can_be_redriven_and_discarded() {
    let (_place, node) = solo().await;
    let mut jobs = jobs(&node).await;
    let mut operator = admin(&node).await;
    let short = |payload| v1::NewJob {
        deadline_ms: 100,
        ..new_job(payload)
    };
    let id = submit(&mut jobs, short("x")).await.unwrap().job_id;
    let job = wait(&mut jobs, &id).await;
    assert_eq!(job.state(), v1::JobState::Dead);

    let dead = v1::ListRequest {
        state: v1::JobState::Dead.into(),
        ..v1::ListRequest::default()
    };
    assert_eq!(list(&mut jobs, dead.clone()).await.len(), 1);
    let redrive = v1::RedriveRequest { job_id: id.clone() };
    in_time(operator.redrive(redrive.clone())).await.unwrap();
    let job = get(&mut jobs, &id).await.unwrap();
    assert_eq!(
        (job.state(), job.tries.unwrap().redriven),
        (v1::JobState::Ready, 1)
    );
    let error = ApiError::from(in_time(operator.redrive(redrive)).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::FailedPrecondition, "{error}");

    let other = submit(&mut jobs, short("y")).await.unwrap().job_id;
    wait(&mut jobs, &other).await;
    let discard = v1::DiscardRequest {
        job_id: other.clone(),
    };
    in_time(operator.discard(discard)).await.unwrap();
    assert!(get(&mut jobs, &other).await.is_err());
    in_time(node.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_job_waits_and_is_ready_when_due() {
    let (_place, node) = solo().await;
    let mut jobs = jobs(&node).await;
    let delayed = |delay_ms| v1::NewJob {
        delay_ms,
        ..new_job("x")
    };
    let later = submit(&mut jobs, delayed(3_600_000)).await.unwrap().job_id;
    assert_eq!(
        get(&mut jobs, &later).await.unwrap().state(),
        v1::JobState::Waiting
    );
    let soon = submit(&mut jobs, delayed(50)).await.unwrap().job_id;
    in_time(async {
        while get(&mut jobs, &soon).await.unwrap().state() != v1::JobState::Ready {
            tokio::task::yield_now().await;
        }
    })
    .await;
    in_time(node.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_sees_every_shard_with_its_leader_and_counts() {
    let (_places, cluster) = three().await;
    submit(&mut jobs(&cluster[0]).await, new_job("x"))
        .await
        .unwrap();
    let mut operator = admin(&cluster[1]).await;
    let shards = in_time(operator.list_shards(v1::ListShardsRequest {})).await;
    let shards = shards.unwrap().into_inner().shards;
    assert_eq!(shards.len(), 3);
    for shard in &shards {
        assert!(
            shard.error.is_none() && shard.leader > 0 && shard.epoch > 0,
            "{shard:?}"
        );
        assert_eq!(shard.voters.len(), 3);
    }
    let ready = shards.iter().map(|shard| shard.counts.unwrap().ready);
    assert_eq!(ready.sum::<u64>(), 1);
    let status = in_time(operator.cluster_status(v1::ClusterStatusRequest {})).await;
    let status = status.unwrap().into_inner();
    assert_eq!((status.nodes.len(), status.regions.len()), (3, 3));
    assert!(status.nodes.iter().all(|node| node.reachable));
    stop_all(cluster).await;
}
