//! What workers and leaders say to each other survives the wire; what breaks a bound is refused by name.

use super::*;
use leasehold_core::shard::command::WorkPhase;
use leasehold_types::{Incarnation, VirtualShard};
use proptest::prelude::*;

fn job() -> JobId {
    JobId::new(VirtualShard::new(4), [9; 12])
}

fn token(sequence: u64) -> FenceToken {
    FenceToken::new(Incarnation::new(1), ShardEpoch::new(2), sequence)
}

fn hello() -> Hello {
    Hello {
        session: SessionId::from_random(77),
        worker: "gpu-1".parse().unwrap(),
        queues: vec!["chat".parse().unwrap(), "video".parse().unwrap()],
        supply: Supply {
            capacity: [("vram_gib".into(), 80)].into(),
            ..Supply::default()
        },
        leases: vec![Renewal {
            job: job(),
            fence: token(3),
            progress: 12,
            phase: WorkPhase::Uploading,
        }],
        region: Some("eu".parse().unwrap()),
        slots_return: true,
    }
}

proptest! {
    #[test]
    fn offer_survives_the_wire(
        session: u128, gateway: u64, free in 0..=limits::WORKER_CREDIT, message: u64,
        granted_seen: u64, epoch: u64,
    ) {
        let lent = Offer {
            session: SessionId::from_random(session),
            worker: "gpu-1".parse().unwrap(),
            region: "eu".parse().unwrap(),
            gateway: NodeId::new(gateway),
            queues: vec!["chat".parse().unwrap()],
            supply: hello().supply,
            free,
            message,
            number: message ^ 1,
            granted_seen,
        };
        let epoch = ShardEpoch::new(epoch);
        prop_assert_eq!(offer(worker_offer(&lent, epoch)).unwrap(), (lent, epoch));
    }

    #[test]
    fn renewal_survives_the_wire(sequence: u64, progress: u64, phase in 1..=4) {
        let phase = work_phase("phase", phase).unwrap();
        let renewal = Renewal { job: job(), fence: token(sequence), progress, phase };
        prop_assert_eq!(Renewal::try_from(&v1::Renewal::from(&renewal)).unwrap(), renewal);
    }

    #[test]
    fn assignment_reaches_the_worker_whole(
        attempt: u32, payload: Vec<u8>, lease_ms in 1..600_000_u64, limit_ms: u32, left_ms: u32,
        message: u64, grant: u64,
    ) {
        let sent = Assignment {
            job: job(),
            queue: "chat".parse().unwrap(),
            fence: token(8),
            attempt,
            session: SessionId::from_random(5),
            gateway: NodeId::new(3),
            payload: payload.into(),
            stored: None,
            lease: Duration::from_millis(lease_ms),
            attempt_limit: Duration::from_millis(limit_ms.into()),
            remaining: Duration::from_millis(left_ms.into()),
            message,
            grant,
        };
        let delivered = v1::SessionAssignment::from(sent.clone());
        prop_assert_eq!(delivered.grant, grant);
        prop_assert_eq!(session(&delivered.session).unwrap(), sent.session);
        let read = LeasedJob::try_from(delivered.assignment.unwrap()).unwrap();
        prop_assert_eq!((read.job, read.fence, read.attempt), (sent.job, sent.fence, sent.attempt));
        prop_assert_eq!((read.lease, read.attempt_limit), (sent.lease, sent.attempt_limit));
        prop_assert_eq!((read.remaining, read.counted_from), (sent.remaining, sent.message));
        prop_assert_eq!((read.queue, read.payload), (sent.queue, sent.payload));
    }
}

#[test]
fn hello_survives_the_wire() {
    let wire = v1::WorkerHello::from(&hello());
    assert_eq!(Hello::try_from(wire), Ok(hello()));
}

#[test]
fn each_answer_to_a_renewal_survives_the_wire() {
    let (job, fence, lease) = (job(), token(1), Duration::from_secs(30));
    let why = Stale::Superseded(token(2));
    for answer in [
        RenewalAnswer::Keep { job, fence, lease },
        RenewalAnswer::Stop { job, fence, why },
        RenewalAnswer::Later { job },
    ] {
        let reply = RenewalReply::from(answer);
        let wire = v1::RenewalAnswer::from(answer);
        assert_eq!(RenewalReply::try_from(wire), Ok(reply));
    }
}

#[test]
fn stop_names_job_fence_and_reason() {
    let stop = lease_stop(SessionId::from_random(1), job(), token(1), Stale::Cancelled);
    let why = ApiError::from(stop.why.unwrap());
    assert_eq!(why.code, ErrorCode::StaleFence);
    assert!(why.message.contains("f1.2.1") && why.message.contains("cancelled"));
}

#[test]
fn worker_over_a_bound_is_refused_by_name() {
    let error = |wire: v1::WorkerHello| Hello::try_from(wire).unwrap_err().to_string();
    let wire = || v1::WorkerHello::from(&hello());
    let queues = vec!["chat".to_owned(); limits::WORKER_QUEUES + 1];
    assert!(error(v1::WorkerHello { queues, ..wire() }).starts_with("queues is 33"));
    let queues = Vec::new();
    assert!(error(v1::WorkerHello { queues, ..wire() }).starts_with("queues is missing"));
    let leases = vec![v1::Renewal::default(); limits::RENEWALS + 1];
    assert!(error(v1::WorkerHello { leases, ..wire() }).starts_with("renewals is 1025"));
    assert!(free_slots("free", limits::WORKER_CREDIT + 1).is_err());
    assert!(lease_wait(30_001).is_err());
}
