//! Two plain workers: one over single calls, one that is the SDK's own.

use std::time::Duration;

use leasehold_api::v1;
use leasehold_api::v1::workers_client::WorkersClient;
use leasehold_client::{Kind, WorkError, WorkItem, Worker};
use leasehold_types::FenceToken;

use super::{Common, queue};
use crate::content::{Variant, result};
use crate::history::{Accepted, Number, Shelf};

const JOBS: u32 = 32;

/// Leases, renews and completes with one call each.
pub(super) async fn unary(common: Common, seed: u64) {
    let session = format!("w-{:032x}", u128::from(seed) << 64 | 1);
    while !common.stop.is_cancelled() {
        for assignment in lease(&common, &session).await {
            // Without a cluster each of them waits its time out.
            if common.stop.is_cancelled() {
                return;
            }
            work(&common, &session, &assignment).await;
        }
    }
}

async fn lease(common: &Common, session: &str) -> Vec<v1::Assignment> {
    let request = v1::LeaseRequest {
        session: session.to_owned(),
        worker: "unary".to_owned(),
        queues: [Shelf::Kept, Shelf::Brief]
            .map(|shelf| queue(shelf).to_owned())
            .into(),
        jobs: JOBS,
        wait_ms: 200,
        ..v1::LeaseRequest::default()
    };
    let ask = |channel| {
        let request = request.clone();
        async move { WorkersClient::new(channel).lease(request).await }
    };
    match common.client.call(Kind::Read, ask).await {
        Ok(leased) => leased.assignments,
        Err(_) => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Vec::new()
        }
    }
}

async fn work(common: &Common, session: &str, assignment: &v1::Assignment) {
    let Some((number, fence)) = common.assigned(assignment) else {
        return;
    };
    renew(common, session, assignment).await;
    let lease = (assignment, number, fence);
    complete(common, session, lease, Variant::First).await;
    if number % 16 == 0 {
        complete(common, session, lease, Variant::Second).await;
    }
}

async fn renew(common: &Common, session: &str, assignment: &v1::Assignment) {
    let request = v1::RenewRequest {
        session: session.to_owned(),
        renewals: vec![v1::Renewal {
            job_id: assignment.job_id.clone(),
            fence: assignment.fence.clone(),
            progress: 1,
            phase: v1::WorkPhase::Running as i32,
        }],
    };
    let ask = |channel| {
        let request = request.clone();
        async move { WorkersClient::new(channel).renew(request).await }
    };
    // Whatever the answer: a result under a lost lease is refused, which is what is to be seen.
    let _ = common.client.call(Kind::Read, ask).await;
}

async fn complete(
    common: &Common,
    session: &str,
    (assignment, number, fence): (&v1::Assignment, Number, FenceToken),
    variant: Variant,
) {
    common.ledger.history().worked(number);
    let request = v1::CompleteRequest {
        session: session.to_owned(),
        job_id: assignment.job_id.clone(),
        fence: assignment.fence.clone(),
        result: result(number, fence, variant),
        ..v1::CompleteRequest::default()
    };
    let ask = |channel| {
        let request = request.clone();
        async move { WorkersClient::new(channel).complete(request).await }
    };
    if common.client.call(Kind::Write, ask).await.is_ok() {
        let accepted = Accepted { fence, variant };
        let checked = common.ledger.history().completed(number, accepted);
        common.ledger.check(checked);
        common.ledger.publish();
    }
}

/// The SDK's worker. It keeps its acknowledgements to itself; that its results are its own shows in the end.
pub(super) async fn sdk(common: Common) {
    let seen_by = common.clone();
    let handler = move |item: WorkItem| {
        let number = seen_by.granted(item.id(), item.fence(), item.payload());
        if let Some(number) = number {
            seen_by.ledger.history().worked_quietly(number);
        }
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let number =
                number.ok_or_else(|| WorkError::permanent("a payload of somebody else"))?;
            Ok(result(number, item.fence(), Variant::First))
        }
    };
    let worker = Worker::builder(&common.client)
        .queues([queue(Shelf::Kept), queue(Shelf::Brief)])
        .slots(16)
        .grace(Duration::from_secs(1))
        .name("sdk");
    if let Err(error) = worker.run(handler, common.stop.clone()).await {
        eprintln!("the worker of the SDK ended: {error}");
    }
}
