//! Random jobs, and whole shards of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_core::shard::ShardState;
use leasehold_core::shard::job::{
    AttemptEnd, AttemptRecord, Job, JobBody, JobHeader, JobState, Lease, Tries,
};
use leasehold_core::shard::state::{Owner, PlacedPolicy, Remembered, ShardHead};
use leasehold_types::{BootCount, Incarnation, JobId, NodeId, QueueName, ShardEpoch};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

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
        (fence(), digest(), stamp()).prop_map(|(fence, digest, at)| JobState::Done {
            fence,
            digest,
            at
        }),
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
    fn attempt()(
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
    pub(crate) fn header()(
        id in job(), (queue, tenant) in (name(), name()), key in option::of(name()), digest in digest(),
        priority: u8, requirement in requirement(), sequence: u64,
        (submitted_at, expires_at) in (stamp(), stamp()), state in state(), tries in tries(),
        last_fence in option::of(fence()),
    ) -> JobHeader {
        JobHeader {
            id, queue, tenant, key, digest, priority, requirement: Arc::new(requirement), sequence,
            submitted_at, expires_at, state, tries, last_fence,
        }
    }
}

prop_compose! {
    pub(crate) fn body()(
        payload in payload(), history in vec(attempt(), 0..4), result in option::of(payload()),
    ) -> JobBody {
        JobBody { payload, history, result }
    }
}

prop_compose! {
    fn head()(
        incarnation: u16, epoch: u64, owner in option::of(any::<(u64, u64)>()), stamp in stamp(),
        granted: u64,
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
            arrivals: 0,
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

fn jobs() -> impl Strategy<Value = BTreeMap<JobId, (JobHeader, JobBody, Index)>> {
    btree_map(job(), (header(), body(), any::<Index>()), 0..6)
}

prop_compose! {
    fn remembered()(
        (queue, tenant) in (name(), name()), key in option::of(name()), digest in digest(),
        forget_at in stamp(), job in job(),
    ) -> Remembered {
        Remembered { job, queue, tenant, key, digest, forget_at }
    }
}

prop_compose! {
    /// A shard whose parts agree: every job has its own id and place, and is of a known queue.
    pub(crate) fn shard()(
        mut head in head(), policies in policies(), jobs in jobs(),
        remembered in btree_map(job(), remembered(), 0..4),
    ) -> ShardState {
        let queues: Vec<QueueName> = policies.keys().cloned().collect();
        let remembered = remembered.into_iter().filter(|(id, _)| !jobs.contains_key(id));
        let remembered: Vec<_> = remembered.map(|(job, entry)| Remembered { job, ..entry }).collect();
        let jobs: Vec<Job> = (0..).zip(jobs).map(|(sequence, (id, (header, body, queue)))| {
            let queue = queue.get(&queues).clone();
            Job { header: JobHeader { id, sequence, queue, ..header }, body }
        }).collect();
        head.arrivals = u64::try_from(jobs.len()).unwrap();
        ShardState::from_parts(head, policies, jobs, remembered).unwrap()
    }
}
