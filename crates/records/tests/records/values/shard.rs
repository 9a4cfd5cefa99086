//! Random commands and batches of a shard.

use leasehold_core::shard::command::{
    Cancel, Complete, Contact, Discard, Expire, ExpireReason, Fail, FailureClass, Grant,
    LeaderStart, Purge, PutPolicy, Redrive, Release, ReleaseCause, Submit, WorkPhase,
};
use leasehold_core::shard::{Batch, Command};
use leasehold_types::{BootCount, NodeId, ShardEpoch};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{digest, fence, job, name, payload, policy, requirement, session, span, stamp};

pub(crate) fn phase() -> impl Strategy<Value = WorkPhase> {
    select(vec![
        WorkPhase::Queued,
        WorkPhase::Loading,
        WorkPhase::Running,
        WorkPhase::Uploading,
    ])
}

pub(crate) fn class() -> impl Strategy<Value = FailureClass> {
    select(vec![
        FailureClass::Transient,
        FailureClass::Permanent,
        FailureClass::Policy,
        FailureClass::ContextOverflow,
        FailureClass::Poison,
        FailureClass::Budget,
        FailureClass::Semantic,
        FailureClass::Lost,
        FailureClass::Infrastructure,
    ])
}

pub(crate) fn reason() -> impl Strategy<Value = ExpireReason> {
    select(vec![
        ExpireReason::Silent,
        ExpireReason::Stalled,
        ExpireReason::AttemptLimit,
        ExpireReason::Verdict,
        ExpireReason::Deadline,
    ])
}

fn release_cause() -> impl Strategy<Value = ReleaseCause> {
    select(vec![ReleaseCause::Worker, ReleaseCause::Undelivered])
}

pub(crate) fn leader_start() -> impl Strategy<Value = Command> {
    any::<(u64, u64, u64)>().prop_map(|(previous, node, boot)| {
        Command::LeaderStart(LeaderStart {
            previous: ShardEpoch::new(previous),
            node: NodeId::new(node),
            boot: BootCount::new(boot),
        })
    })
}

prop_compose! {
    pub(crate) fn submit()(
        job in job(),
        queue in name(),
        (tenant, key) in (option::of(name()), option::of(name())),
        payload in payload(),
        digest in digest(),
        priority: u8,
        (delay, deadline) in (span(), option::of(span())),
        requirement in requirement(),
    ) -> Command {
        Command::Submit(Box::new(Submit {
            job, queue, tenant, key, payload, digest, priority, delay, deadline, requirement,
        }))
    }
}

prop_compose! {
    pub(crate) fn grant()(
        job in job(), session in session(), worker in name(), region in name(),
    ) -> Command {
        Command::Grant(Box::new(Grant { job, session, worker, region }))
    }
}

prop_compose! {
    pub(crate) fn contact()(
        job in job(), fence in fence(), progress: u64, progressed_at in stamp(), phase in phase(),
    ) -> Command {
        Command::Contact(Contact { job, fence, progress, progressed_at, phase })
    }
}

prop_compose! {
    pub(crate) fn complete()(
        job in job(), fence in fence(), result in payload(), digest in digest(),
    ) -> Command {
        Command::Complete(Complete { job, fence, result, digest })
    }
}

prop_compose! {
    pub(crate) fn fail()(
        job in job(), fence in fence(), class in class(), message: String, detail in payload(),
        retry_after in option::of(span()),
    ) -> Command {
        Command::Fail(Box::new(Fail { job, fence, class, message, detail, retry_after }))
    }
}

prop_compose! {
    pub(crate) fn expire()(
        job in job(), fence in option::of(fence()), reason in reason(),
    ) -> Command {
        Command::Expire(Expire { job, fence, reason })
    }
}

prop_compose! {
    pub(crate) fn put_policy()(queue in name(), policy in policy(), index: u64) -> Command {
        Command::PutPolicy(Box::new(PutPolicy { queue, policy, index }))
    }
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let release = (job(), fence(), any::<String>(), release_cause()).prop_map(
        |(job, fence, reason, cause)| {
            Command::Release(Release {
                job,
                fence,
                reason,
                cause,
            })
        },
    );
    let cancel =
        (job(), any::<String>()).prop_map(|(job, reason)| Command::Cancel(Cancel { job, reason }));
    prop_oneof![
        leader_start(),
        submit(),
        grant(),
        contact(),
        complete(),
        fail(),
        expire(),
        release,
        cancel,
        job().prop_map(|job| Command::Redrive(Redrive { job })),
        job().prop_map(|job| Command::Discard(Discard { job })),
        any::<u32>().prop_map(|limit| Command::Purge(Purge { limit })),
        put_policy(),
    ]
}

prop_compose! {
    pub(crate) fn batch()(
        epoch: u64, stamp in stamp(), seed: u64, commands in vec(command(), 0..8),
    ) -> Batch {
        let epoch = ShardEpoch::new(epoch);
        Batch { epoch, stamp, seed, commands }
    }
}
