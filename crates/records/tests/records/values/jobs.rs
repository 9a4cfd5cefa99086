//! Random jobs, and what rows keep of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_core::shard::job::{
    Acceptance, AttemptEnd, AttemptRecord, Job, JobBody, JobHeader, JobState, Lease, Length,
    Recent, Stored, Tries,
};
use leasehold_core::shard::state::{
    Bundle, FrozenHead, Kept, Owner, PlacedPolicy, Remembered, Rows, ShardHead,
};
use leasehold_types::{BootCount, Incarnation, NodeId, QueueName, ShardEpoch};
use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;

use super::shard::{class, phase, reason};
use super::{digest, fence, job, name, payload, policy, requirement, session, span, stamp};

prop_compose! {
    fn lease()(
        fence in fence(), session in session(), (worker, region) in (name(), name()),
        (granted_at, contact, progressed_at) in (stamp(), stamp(), stamp()),
        (length, left) in (span(), span()), rearms: u32, progress: u64, phase in phase(),
    ) -> Lease {
        Lease {
            fence, session, worker, region, granted_at, length, contact, rearms, left, progress,
            progressed_at, phase,
        }
    }
}

fn state() -> impl Strategy<Value = JobState> {
    prop_oneof![
        stamp().prop_map(|due| JobState::Waiting { due }),
        Just(JobState::Ready),
        lease().prop_map(|lease| JobState::Leased(Box::new(lease))),
        (fence(), digest(), stamp()).prop_map(|(fence, digest, at)| JobState::Done(Box::new(
            Acceptance { fence, digest, at }
        ))),
        (any::<String>(), stamp()).prop_map(|(reason, at)| JobState::Cancelled {
            reason: reason.into(),
            at,
        }),
        (class(), any::<String>(), stamp()).prop_map(|(class, reason, at)| JobState::Dead {
            class,
            reason: reason.into(),
            at,
        }),
    ]
}

fn end() -> impl Strategy<Value = AttemptEnd> {
    prop_oneof![
        Just(AttemptEnd::Completed),
        (class(), any::<String>(), payload()).prop_map(|(class, message, detail)| {
            AttemptEnd::Failed {
                class,
                message: message.into(),
                detail,
            }
        }),
        reason().prop_map(AttemptEnd::Expired),
        any::<String>().prop_map(|reason| AttemptEnd::Released {
            reason: reason.into(),
        }),
        Just(AttemptEnd::Cancelled),
    ]
}

prop_compose! {
    pub(crate) fn attempt()(
        number: u32, fence in fence(), (worker, region) in (name(), name()),
        (started_at, ended_at) in (stamp(), stamp()), end in end(),
    ) -> AttemptRecord {
        AttemptRecord { number, fence, worker, region, started_at, ended_at, end }
    }
}

fn tries() -> impl Strategy<Value = Tries> {
    any::<[u32; 6]>().prop_map(
        |[granted, failed, lost, infrastructure, released, redriven]| Tries {
            granted,
            failed,
            lost,
            infrastructure,
            released,
            redriven,
        },
    )
}

prop_compose! {
    fn recent()(
        worker in name(), class in option::of(class()), astray in option::of(attempt()),
    ) -> Box<Recent> {
        let astray = astray.map(Box::new);
        Box::new(Recent { worker, class, astray })
    }
}

prop_compose! {
    fn header()(
        id in job(), (queue, tenant) in (name(), name()), key in option::of(name()), digest in digest(),
        priority: u8, requirement in requirement(), sequence: u64,
        (submitted_at, expires_at) in (stamp(), stamp()), state in state(), tries in tries(),
        last_fence in option::of(fence()), recent in option::of(recent()),
    ) -> JobHeader {
        JobHeader {
            id, queue, tenant, key, digest, priority, requirement: Arc::new(requirement), sequence,
            submitted_at, expires_at, state, tries, last_fence, recent,
        }
    }
}

fn length() -> impl Strategy<Value = Length> {
    (0..u32::MAX).prop_map(|bytes| Length::new(bytes.try_into().unwrap()))
}

prop_compose! {
    fn stored()(
        payload in option::of(length()), result in option::of(length()),
        attempts in option::of(length()),
    ) -> Stored {
        Stored { payload, result, attempts }
    }
}

fn bundle() -> impl Strategy<Value = Bundle> {
    (0..16_u32).prop_map(|place| Bundle::at(place).unwrap())
}

prop_compose! {
    fn held()(
        header in header(), stored in stored(), (payload, result) in (bundle(), bundle()), upto: u32,
    ) -> Kept {
        let rows = Rows {
            payload: stored.payload.map(|_| payload),
            result: stored.result.map(|_| result),
            attempts: upto,
        };
        Kept::Held(Box::new(Job::new(header, JobBody::default(), stored)), rows)
    }
}

prop_compose! {
    fn remembered()(
        (queue, tenant) in (name(), name()), key in option::of(name()), digest in digest(),
        forget_at in stamp(), job in job(), sequence: u64,
    ) -> Remembered {
        Remembered { job, sequence, queue, tenant, key, digest, forget_at }
    }
}

/// What a row keeps of one arrival.
pub(crate) fn kept() -> impl Strategy<Value = Kept> {
    prop_oneof![3 => held(), 1 => remembered().prop_map(|gone| Kept::Gone(Arc::new(gone)))]
}

prop_compose! {
    fn head()(
        incarnation: u16, epoch: u64, owner in option::of(any::<(u64, u64)>()), stamp in stamp(),
        (granted, arrivals) in any::<(u64, u64)>(),
    ) -> ShardHead {
        ShardHead {
            incarnation: Incarnation::new(incarnation),
            epoch: ShardEpoch::new(epoch),
            owner: owner.map(|(node, boot)| Owner {
                node: NodeId::new(node),
                boot: BootCount::new(boot),
            }),
            stamp,
            granted,
            arrivals,
        }
    }
}

fn policies() -> impl Strategy<Value = BTreeMap<QueueName, PlacedPolicy>> {
    let placed = (policy(), any::<u64>()).prop_map(|(policy, index)| PlacedPolicy {
        policy: Arc::new(policy),
        index,
    });
    btree_map(name(), placed, 1..4)
}

prop_compose! {
    pub(crate) fn frozen_head()(head in head(), policies in policies()) -> FrozenHead {
        let policies = policies.into_iter().collect();
        FrozenHead { head, policies }
    }
}
