//! Every state and every end of an attempt survives the wire, to the millisecond.

use super::*;
use leasehold_core::requirement::Requirement;
use leasehold_core::shard::command::{ExpireReason, FailureClass, WorkPhase};
use leasehold_types::{FenceToken, Incarnation, JobId, SessionId, ShardEpoch, VirtualShard};
use proptest::prelude::*;

const STAMP: Timestamp = Timestamp::from_micros(90_000_000_000);

fn token(sequence: u64) -> FenceToken {
    FenceToken::new(Incarnation::new(0), ShardEpoch::new(7), sequence)
}

fn span() -> impl Strategy<Value = Duration> {
    (0..80_000_u64).prop_map(Duration::from_millis)
}

fn class() -> impl Strategy<Value = FailureClass> {
    (1..=9).prop_map(|number| failure_class("class", number).unwrap())
}

fn leased_status() -> impl Strategy<Value = JobStatus> {
    (any::<u64>(), any::<u64>(), span()).prop_map(|(sequence, progress, running)| {
        JobStatus::Leased {
            fence: token(sequence),
            worker: "gpu-1".parse().unwrap(),
            session: SessionId::from_random(u128::from(progress)),
            region: "eu".parse().unwrap(),
            running,
            progress,
            phase: WorkPhase::Loading,
        }
    })
}

fn any_status() -> impl Strategy<Value = JobStatus> {
    prop_oneof![
        span().prop_map(|remaining| JobStatus::Waiting { remaining }),
        Just(JobStatus::Ready),
        leased_status(),
        (any::<Vec<u8>>(), any::<[u8; 32]>(), span()).prop_map(|(result, digest, ago)| {
            JobStatus::Done {
                result: result.into(),
                digest: Digest::new(digest),
                fence: token(3),
                ago,
            }
        }),
        (".{0,20}", span()).prop_map(|(reason, ago)| JobStatus::Cancelled { reason, ago }),
        (class(), ".{0,20}", span()).prop_map(|(class, reason, ago)| JobStatus::Dead {
            class,
            reason,
            ago
        }),
    ]
}

fn any_end() -> impl Strategy<Value = AttemptEnd> {
    prop_oneof![
        Just(AttemptEnd::Completed),
        (class(), ".{0,20}", any::<Vec<u8>>()).prop_map(|(class, message, detail)| {
            AttemptEnd::Failed {
                class,
                message: message.into(),
                detail: detail.into(),
            }
        }),
        Just(AttemptEnd::Expired(ExpireReason::Stalled)),
        ".{0,20}".prop_map(|reason| AttemptEnd::Released {
            reason: reason.into()
        }),
        Just(AttemptEnd::Cancelled),
    ]
}

prop_compose! {
    fn any_record()(
        number: u32, sequence: u64, started in span(), ran in span(), end in any_end(),
    ) -> AttemptRecord {
        AttemptRecord {
            number,
            fence: token(sequence),
            worker: "gpu-2".parse().unwrap(),
            region: "us".parse().unwrap(),
            started_at: STAMP - started,
            ended_at: STAMP - started + ran.min(started),
            end,
        }
    }
}

prop_compose! {
    fn any_view()(
        random: [u8; 12], digest: [u8; 32], priority in 0..=9_u8, age in span(),
        remaining in span(), status in any_status(), tries: [u32; 6], payload: Vec<u8>,
        history in prop::collection::vec(any_record(), 0..4),
        key in prop::option::of("[!-~]{1,20}"),
    ) -> JobView {
        let [granted, failed, lost, infrastructure, released, redriven] = tries;
        JobView {
            id: JobId::new(VirtualShard::new(5), random),
            queue: "chat".parse().unwrap(),
            tenant: "acme".parse().unwrap(),
            key: key.map(|key| key.parse().unwrap()),
            priority,
            requirement: Requirement {
                labels: [("model".into(), "llama".into())].into(),
                ..Requirement::default()
            },
            age,
            remaining,
            status,
            tries: Tries { granted, failed, lost, infrastructure, released, redriven },
            payload: payload.into(),
            digest: Digest::new(digest),
            history,
        }
    }
}

proptest! {
    #[test]
    fn job_survives_the_wire(view in any_view()) {
        let wire = job(view.clone(), STAMP);
        prop_assert_eq!(job_view(wire, STAMP).unwrap(), view);
    }
}

#[test]
fn state_without_its_particulars_is_refused_by_name() {
    let wire = v1::Job {
        state: v1::JobState::Leased as i32,
        ..v1::Job::default()
    };
    let error = job_view(wire, STAMP).unwrap_err();
    assert_eq!(error, ConvertError::Missing { field: "lease" });
}

#[test]
fn wait_below_a_millisecond_shows_as_one() {
    let remaining = Duration::from_micros(3);
    assert_eq!(particulars(JobStatus::Waiting { remaining }).0, 1);
}
