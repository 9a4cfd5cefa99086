//! Taking jobs in.

use std::time::Duration;

use bytes::Bytes;
use leasehold_types::{ErrorCode, IdempotencyKey, QueueName, limits};

use super::fixture::{Fixture, SECOND, digest, job, submit, tenant};
use crate::policy::QueuePolicy;
use crate::requirement::Requirement;
use crate::shard::command::{Cancel, Command, Purge, Submit};
use crate::shard::job::JobState;
use crate::shard::outcome::{Change, Outcome, Refusal, Submitted};

fn taken(number: u8, repeated: bool) -> Outcome {
    let job = job(number);
    Outcome::Submitted(Submitted { job, repeated })
}

fn keyed(number: u8, key: &str) -> Submit {
    Submit {
        key: Some(IdempotencyKey::new(key).unwrap()),
        ..submit(number)
    }
}

fn refusal(outcome: Outcome) -> Refusal {
    let Outcome::Refused(refusal) = outcome else {
        panic!("not refused: {outcome:?}");
    };
    refusal
}

#[test]
fn unknown_queue_is_refused_with_the_way_to_create_it() {
    let mut shard = Fixture::new();
    let queue = QueueName::new("nowhere").unwrap();
    let refused = refusal(shard.submit(Submit {
        queue: queue.clone(),
        ..submit(1)
    }));
    assert_eq!(refused, Refusal::UnknownQueue(queue));
    assert_eq!(refused.code(), ErrorCode::NotFound);
    assert!(
        refused
            .to_string()
            .contains("leasehold queue create nowhere")
    );
}

#[test]
fn payload_over_its_limit_is_refused_and_one_at_it_is_not() {
    let mut shard = Fixture::new();
    let of = |size: usize| Submit {
        payload: Bytes::from(vec![0; size]),
        ..submit(1)
    };
    let refused = refusal(shard.submit(of(limits::INLINE_BYTES + 1)));
    assert_eq!(refused.code(), ErrorCode::InvalidArgument);
    assert!(refused.to_string().contains("65537"), "{refused}");
    assert!(shard.state.job(job(1)).is_none());
    assert_eq!(shard.submit(of(limits::INLINE_BYTES)), taken(1, false));
}

#[test]
fn submit_out_of_bounds_is_refused_and_leaves_no_trace() {
    let mut shard = Fixture::new();
    let labels = (0..=limits::LABELS).map(|n| (n.to_string().into(), "x".into()));
    let wrong = [
        Submit {
            priority: limits::PRIORITY_MAX + 1,
            ..submit(1)
        },
        Submit {
            delay: limits::DELAY_MAX + SECOND,
            deadline: Some(limits::DELAY_MAX),
            ..submit(1)
        },
        Submit {
            deadline: Some(Duration::MAX),
            ..submit(1)
        },
        Submit {
            deadline: Some(Duration::ZERO),
            ..submit(1)
        },
        Submit {
            delay: 60 * SECOND,
            deadline: Some(60 * SECOND),
            ..submit(1)
        },
        Submit {
            requirement: Requirement {
                labels: labels.collect(),
                ..Requirement::default()
            },
            ..submit(1)
        },
    ];
    let before = shard.state.clone();
    for submit in wrong {
        let refused = refusal(shard.submit(submit));
        assert_eq!(refused.code(), ErrorCode::InvalidArgument, "{refused}");
    }
    assert_eq!(shard.state, before);
}

#[test]
fn repeated_id_finds_the_first_job_whatever_became_of_it() {
    let mut shard = Fixture::new();
    assert_eq!(shard.submit(submit(1)), taken(1, false));
    assert_eq!(shard.submit(submit(1)), taken(1, true));
    let fence = shard.lease(1);
    shard.complete(job(1), fence, 9);
    assert_eq!(shard.submit(submit(1)), taken(1, true));
    assert_eq!(shard.state.head().arrivals, 1);
}

#[test]
fn id_reused_with_another_payload_queue_or_tenant_is_refused() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    let other_payload = Submit {
        digest: digest(99),
        ..submit(1)
    };
    let other_tenant = Submit {
        tenant: Some(tenant("other")),
        ..submit(1)
    };
    for submit in [other_payload, other_tenant] {
        let refused = refusal(shard.submit(submit));
        assert_eq!(refused, Refusal::OtherPayload(job(1)));
        assert_eq!(refused.code(), ErrorCode::AlreadyExists);
    }
}

#[test]
fn one_key_stands_for_one_job_under_any_id() {
    let mut shard = Fixture::new();
    assert_eq!(shard.submit(keyed(1, "order-17")), taken(1, false));
    let again = Submit {
        job: job(2),
        ..keyed(1, "order-17")
    };
    assert_eq!(shard.submit(again), taken(1, true));
    let refused = refusal(shard.submit(keyed(3, "order-17")));
    assert_eq!(refused, Refusal::OtherPayload(job(1)));
    assert!(shard.state.job(job(2)).is_none() && shard.state.job(job(3)).is_none());
}

#[test]
fn id_repeated_under_another_key_is_refused_and_binds_no_key() {
    let mut shard = Fixture::new();
    shard.submit(keyed(1, "a"));
    shard.submit(submit(2));
    for (number, key) in [(1, "b"), (2, "c")] {
        let refused = refusal(shard.submit(keyed(number, key)));
        assert_eq!(refused, Refusal::OtherKey(job(number)));
        assert_eq!(refused.code(), ErrorCode::AlreadyExists);
    }
    assert_eq!(shard.submit(keyed(1, "a")), taken(1, true));
    assert_eq!(shard.submit(submit(1)), taken(1, true), "it names no key");
    assert_eq!(shard.submit(keyed(3, "b")), taken(3, false));
}

#[test]
fn key_is_scoped_to_its_tenant() {
    let mut shard = Fixture::new();
    shard.submit(keyed(1, "k"));
    let other = Submit {
        tenant: Some(tenant("other")),
        ..keyed(2, "k")
    };
    assert_eq!(shard.submit(other), taken(2, false));
}

#[test]
fn job_without_a_tenant_is_its_queue_s() {
    let mut shard = Fixture::new();
    shard.submit(submit(1));
    assert_eq!(shard.state.job(job(1)).unwrap().tenant, tenant("default"));
}

#[test]
fn delayed_job_waits_and_the_clock_makes_it_ready() {
    let mut shard = Fixture::new();
    shard.submit(Submit {
        delay: 10 * SECOND,
        ..submit(1)
    });
    assert!(matches!(shard.grant(1), Outcome::Refused(_)));
    assert_eq!(shard.state.next_due(), Some(shard.now + 10 * SECOND));
    shard.pass(10 * SECOND);
    let tick = shard.apply(Vec::new());
    assert_eq!(tick.changes, [Change::Ready(job(1))]);
    assert_eq!(shard.job_state(job(1)), &JobState::Ready);
}

#[test]
fn jobs_that_fall_due_together_become_ready_over_a_few_entries() {
    let mut shard = Fixture::new();
    shard.state = shard.state.with_bounds(|bounds| bounds.wakes = 2);
    for number in 1..=5 {
        shard.submit(Submit {
            delay: SECOND,
            ..submit(number)
        });
    }
    shard.pass(SECOND);
    let woken: Vec<usize> = (0..4)
        .map(|_| shard.apply(Vec::new()).changes.len())
        .collect();
    assert_eq!(woken, [2, 2, 1, 0]);
}

#[test]
fn full_shard_refuses_new_jobs_with_a_time_and_still_finds_old_ones() {
    let mut shard = Fixture::new();
    shard.state = shard.state.with_bounds(|bounds| bounds.jobs = 1);
    shard.submit(submit(1));
    let refused = refusal(shard.submit(submit(2)));
    assert_eq!(refused.code(), ErrorCode::ResourceExhausted);
    assert!(refused.retry_after().is_some());
    assert_eq!(shard.submit(submit(1)), taken(1, true));
}

#[test]
fn shard_full_of_bytes_refuses_new_jobs_and_still_takes_results_until_some_are_gone() {
    let mut shard = Fixture::with_policy(QueuePolicy {
        retain_done: SECOND,
        ..QueuePolicy::default()
    });
    shard.state = shard.state.with_bounds(|bounds| bounds.bytes = 2_000);
    let of = |number: u8, bytes: usize| Submit {
        payload: vec![number; bytes].into(),
        ..submit(number)
    };
    assert_eq!(shard.submit(of(1, 1_500)), taken(1, false));
    let refused = refusal(shard.submit(of(2, 501)));
    assert_eq!(refused.code(), ErrorCode::ResourceExhausted);
    assert!(refused.retry_after().is_some());
    assert_eq!(shard.submit(of(3, 500)), taken(3, false));
    let fence = shard.lease(1);
    let done = shard.complete(job(1), fence, 7);
    assert_eq!(done, Outcome::Completed { repeated: false });
    shard.pass(SECOND);
    shard.one(Command::Purge(Purge { limit: 9 }));
    assert_eq!(shard.submit(of(2, 501)), taken(2, false));
}

#[test]
fn tenants_and_requirements_are_bounded_by_those_in_use() {
    let mut shard = Fixture::new();
    shard.state = shard.state.with_bounds(|bounds| {
        bounds.tenants = 1;
        bounds.pools = 1;
    });
    shard.submit(submit(1));
    let of_tenant = |number| Submit {
        tenant: Some(tenant("other")),
        ..submit(number)
    };
    let of_pool = |number| Submit {
        requirement: Requirement {
            capacity: [("vram_gib".into(), 80)].into(),
            ..Requirement::default()
        },
        ..submit(number)
    };
    for submit in [of_tenant(2), of_pool(3)] {
        let refused = refusal(shard.submit(submit));
        assert_eq!(refused.code(), ErrorCode::ResourceExhausted);
    }
    let reason = String::new();
    shard.one(Command::Cancel(Cancel {
        job: job(1),
        reason,
    }));
    // A job that has ended needs no worker, but is still its tenant's.
    assert_eq!(shard.submit(of_pool(3)), taken(3, false));
    assert!(matches!(shard.submit(of_tenant(2)), Outcome::Refused(_)));
}

#[test]
fn tenant_of_many_requirements_leaves_room_for_others_and_for_jobs_without_any() {
    let mut shard = Fixture::new();
    shard.state = shard.state.with_bounds(|bounds| bounds.pools = 8);
    let asks = |number: u8, who: &str| Submit {
        tenant: Some(tenant(who)),
        requirement: Requirement {
            capacity: [("vram_gib".into(), u64::from(number))].into(),
            ..Requirement::default()
        },
        ..submit(number)
    };
    let mut taken_of = |who: &str, numbers: std::ops::Range<u8>| {
        let outcomes = numbers.map(|number| shard.submit(asks(number, who)));
        let taken = outcomes.filter(|outcome| matches!(outcome, Outcome::Submitted(_)));
        taken.count()
    };
    assert_eq!(taken_of("noisy", 1..20), 4);
    assert_eq!(taken_of("second", 20..30), 2);
    assert_eq!(taken_of("third", 30..40), 1);
    assert_eq!(taken_of("fourth", 40..50), 1);
    let in_use_anyway = Submit {
        job: job(98),
        ..asks(1, "fourth")
    };
    assert_eq!(shard.submit(in_use_anyway), taken(98, false));
    let plain = Submit {
        tenant: Some(tenant("fifth")),
        ..submit(99)
    };
    assert_eq!(shard.submit(plain), taken(99, false));
}

#[test]
fn full_key_table_refuses_keyed_submits_and_takes_others() {
    let mut shard = Fixture::new();
    shard.state = shard.state.with_bounds(|bounds| bounds.keys = 1);
    shard.submit(keyed(1, "a"));
    let refused = refusal(shard.submit(keyed(2, "b")));
    assert_eq!(refused.code(), ErrorCode::ResourceExhausted);
    assert_eq!(shard.submit(submit(3)), taken(3, false));
    assert_eq!(shard.submit(keyed(1, "a")), taken(1, true));
}
