//! Who gets which job.

use leasehold_types::{NodeId, QueueName};

use super::desk::{Desk, offer, region};
use super::fixture::{SECOND, job, session, submit, tenant};
use crate::policy::QueuePolicy;
use crate::requirement::{Requirement, Supply};
use crate::shard::command::{Command, PutPolicy, Submit};
use crate::shard::dispatcher::{Assignment, Gate, Offer};

pub(super) fn numbers(assignments: &[Assignment]) -> Vec<u8> {
    let numbers = assignments.iter().map(|a| a.job.to_bytes()[13]);
    numbers.collect()
}

fn needs_gpu(number: u8) -> Submit {
    Submit {
        requirement: Requirement {
            labels: [("model".into(), "llama".into())].into(),
            ..Requirement::default()
        },
        ..submit(number)
    }
}

pub(super) fn gpu(worker: u32, free: u32) -> Offer {
    Offer {
        supply: Supply {
            labels: [("model".into(), "llama".into())].into(),
            ..Supply::default()
        },
        ..offer(worker, free)
    }
}

#[test]
fn job_goes_to_a_free_slot_with_all_the_worker_needs() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(7, 1));
    let assigned = desk.run();
    let lease = desk.shard.state.lease(job(1)).unwrap();
    assert_eq!(
        assigned,
        [Assignment {
            job: job(1),
            queue: QueueName::new("default").unwrap(),
            fence: lease.fence,
            attempt: 1,
            session: session(7),
            gateway: NodeId::new(1),
            payload: vec![1].into(),
            stored: None,
            lease: 30 * SECOND,
            attempt_limit: 900 * SECOND,
            remaining: 24 * 3_600 * SECOND,
            message: 1,
            grant: 1,
        }]
    );
}

#[test]
fn jobs_are_spread_over_workers_before_one_gets_a_second() {
    let mut desk = Desk::new();
    (1..=4).for_each(|number| drop(desk.shard.submit(submit(number))));
    (1..=4).for_each(|worker| desk.offer(offer(worker, 4)));
    let mut sessions: Vec<_> = desk.run().iter().map(|a| a.session).collect();
    sessions.sort();
    assert_eq!(sessions, [session(1), session(2), session(3), session(4)]);
}

#[test]
fn urgent_jobs_come_first_and_equal_ones_in_the_order_of_arrival() {
    let mut desk = Desk::new();
    for (number, priority) in [(3, 4), (2, 9), (1, 4), (4, 0)] {
        desk.shard.submit(Submit {
            priority,
            ..submit(number)
        });
    }
    desk.offer(offer(1, 4));
    assert_eq!(numbers(&desk.run()), [2, 3, 1, 4]);
}

#[test]
fn retried_job_comes_before_those_that_arrived_after_it() {
    let mut desk = Desk::new();
    (1..=3).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 1));
    assert_eq!(numbers(&desk.run()), [1]);
    desk.run_for(31 * SECOND);
    desk.offer(offer(2, 1));
    assert_eq!(numbers(&desk.run()), [1]);
}

#[test]
fn tenants_share_the_slots_whatever_their_backlogs() {
    let mut desk = Desk::new();
    for number in 1..=40 {
        let name = if number <= 30 { "loud" } else { "quiet" };
        desk.shard.submit(Submit {
            tenant: Some(tenant(name)),
            ..submit(number)
        });
    }
    desk.offer(offer(1, 20));
    let of_quiet = desk.run().iter().filter(|a| a.job > job(30)).count();
    assert_eq!(of_quiet, 10);
}

#[test]
fn job_waits_for_a_worker_that_meets_its_requirement() {
    let mut desk = Desk::new();
    desk.shard.submit(needs_gpu(1));
    desk.shard.submit(submit(2));
    desk.offer(offer(1, 5));
    assert_eq!(numbers(&desk.run()), [2]);
    desk.offer(gpu(2, 1));
    assert_eq!(numbers(&desk.run()), [1]);
}

#[test]
fn worker_takes_a_tenant_s_best_job_over_all_that_it_can_run() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.shard.submit(needs_gpu(2));
    desk.shard.submit(Submit {
        priority: 9,
        ..needs_gpu(3)
    });
    desk.shard.submit(submit(4));
    desk.offer(gpu(1, 4));
    assert_eq!(numbers(&desk.run()), [3, 1, 2, 4]);
}

#[test]
fn worker_gets_jobs_of_its_queues_only() {
    let mut desk = Desk::new();
    let video = QueueName::new("video").unwrap();
    desk.shard
        .apply(vec![Command::PutPolicy(Box::new(PutPolicy {
            queue: video.clone(),
            policy: QueuePolicy::default(),
            index: 9,
        }))]);
    desk.shard.submit(Submit {
        queue: video.clone(),
        ..submit(1)
    });
    desk.offer(offer(1, 1));
    assert!(desk.run().is_empty());
    desk.offer(Offer {
        queues: vec![video],
        ..offer(1, 1)
    });
    assert_eq!(numbers(&desk.run()), [1]);
}

#[test]
fn job_that_arrives_while_another_is_under_way_is_granted_too() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 5));
    let first = desk.poll();
    desk.shard.submit(submit(2));
    let second = desk.poll();
    assert_eq!((first.len(), second.len()), (1, 1));
    desk.commit(first);
    assert_eq!(numbers(&desk.commit(second).0), [2]);
}

#[test]
fn nothing_is_granted_behind_a_closed_gate() {
    let closed = [
        Gate {
            quorum_fresh: false,
            ..Gate::OPEN
        },
        Gate {
            transferring: true,
            ..Gate::OPEN
        },
        Gate {
            disk_keeps_up: false,
            ..Gate::OPEN
        },
    ];
    for gate in closed {
        let mut desk = Desk::new();
        desk.gate = gate;
        desk.shard.submit(submit(1));
        desk.offer(offer(1, 1));
        assert!(desk.poll().is_empty());
        desk.gate = Gate::OPEN;
        assert_eq!(numbers(&desk.run()), [1]);
    }
}

#[test]
fn worker_in_an_unreachable_region_is_granted_nothing() {
    let mut desk = Desk::new();
    desk.unreachable = [region("eu")].into();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    assert!(desk.run().is_empty());
    desk.offer(Offer {
        region: region("us"),
        ..offer(2, 1)
    });
    assert_eq!(desk.run()[0].session, session(2));
}

#[test]
fn job_that_failed_on_a_worker_goes_to_another_if_one_is_free() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 9));
    desk.run();
    desk.run_for(31 * SECOND);
    desk.offer(offer(1, 9));
    desk.offer(offer(2, 1));
    assert_eq!(desk.run()[0].session, session(2));
}

#[test]
fn tick_is_asked_for_when_a_waiting_job_falls_due_and_once() {
    let mut desk = Desk::new();
    let delay = SECOND / 10;
    desk.shard.submit(Submit { delay, ..submit(1) });
    desk.offer(offer(1, 1));
    let (state, now) = (&desk.shard.state, desk.shard.now);
    assert_eq!(desk.dispatcher.next_deadline(state), Some(now + delay));
    desk.shard.pass(delay);
    let (state, now) = (&desk.shard.state, desk.shard.now);
    let mut poll = || desk.dispatcher.poll(state, desk.gate, &|_| false, now);
    let polls = [poll(), poll()];
    assert_eq!(polls.map(|poll| poll.tick), [true, false]);
    desk.commit(Vec::new());
    assert_eq!(numbers(&desk.run()), [1]);
}

#[test]
fn backlog_is_what_this_worker_could_take_and_nobody_was_promised() {
    let mut desk = Desk::new();
    desk.offer(offer(1, 1));
    desk.offer(gpu(2, 0));
    (1..=3).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.shard.submit(needs_gpu(4));
    desk.poll();
    let backlog = |worker| {
        let state = &desk.shard.state;
        desk.dispatcher.backlog(state, session(worker))
    };
    assert_eq!([backlog(1), backlog(2), backlog(9)], [2, 3, 0]);
}

#[test]
fn ended_jobs_are_purged_when_their_retention_ends() {
    let mut desk = Desk::with_policy(QueuePolicy {
        retain_done: 60 * SECOND,
        retain_keys: 90 * SECOND,
        ..QueuePolicy::default()
    });
    let (done, fence) = desk.shard.leased_job(1);
    desk.shard.complete(done, fence, 7);
    desk.run_for(59 * SECOND);
    assert!(desk.shard.state.job(done).is_some());
    desk.run_for(SECOND);
    assert!(desk.shard.state.job(done).is_none());
    desk.run_for(30 * SECOND);
    assert_eq!(desk.shard.state.stats().keys, 0);
}

#[test]
fn a_thousand_jobs_are_granted_in_one_entry_and_the_rest_in_the_next() {
    let mut desk = Desk::new();
    for number in 0..1_500_u32 {
        let mut random = [0; 12];
        random[..4].copy_from_slice(&number.to_be_bytes());
        let job = leasehold_types::JobId::new(leasehold_types::VirtualShard::new(1), random);
        let submit = Submit { job, ..submit(1) };
        let batch = desk.shard.batch(vec![Command::Submit(Box::new(submit))]);
        desk.shard.state.apply(&batch);
    }
    (1..=2).for_each(|worker| desk.offer(offer(worker, 1_000)));
    let first = desk.poll();
    assert_eq!(first.len(), leasehold_types::limits::ENTRY_COMMANDS);
    let state = &desk.shard.state;
    assert!(desk.dispatcher.next_deadline(state) <= Some(desk.shard.now));
    let second = desk.poll();
    assert_eq!(first.len() + second.len(), 1_500);
    assert_eq!(
        desk.commit(first).0.len() + desk.commit(second).0.len(),
        1_500
    );
}

#[test]
fn idle_leader_with_a_lease_moves_the_clock_sooner_while_it_is_young() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    desk.run();
    desk.take_over();
    let started = desk.shard.now;
    let mut moved = Vec::new();
    for _ in 0..5 {
        let next = desk.dispatcher.next_deadline(&desk.shard.state).unwrap();
        desk.run_until(next);
        moved.push(desk.shard.state.stamp().since(started).as_millis());
    }
    assert_eq!(moved, [250, 500, 1_000, 2_000, 4_000]);
}
