//! Who gets which job.

use leasehold_types::{NodeId, QueueName};

use super::desk::{Desk, offer, region, renewal};
use super::fixture::{SECOND, digest, job, session, submit, tenant};
use crate::policy::QueuePolicy;
use crate::requirement::{Requirement, Supply};
use crate::shard::command::{Command, Complete, PutPolicy, Release, ReleaseCause, Submit};
use crate::shard::dispatcher::{Assignment, Gate, Offer, RenewalAnswer};
use crate::shard::job::JobState;

fn numbers(assignments: &[Assignment]) -> Vec<u8> {
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

fn gpu(worker: u32, free: u32) -> Offer {
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
            lease: 30 * SECOND,
            attempt_limit: 900 * SECOND,
            remaining: 24 * 3_600 * SECOND,
            message: 1,
            grant: 1,
        }]
    );
}

#[test]
fn no_more_jobs_than_slots_are_given() {
    let mut desk = Desk::new();
    (1..=5).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 2));
    assert_eq!(numbers(&desk.run()), [1, 2]);
    assert!(desk.run().is_empty());
    assert_eq!(desk.dispatcher.free_slots(), 0);
}

#[test]
fn slot_is_not_spent_twice_however_offers_come_late_or_twice() {
    let mut desk = Desk::new();
    (1..=9).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 2));
    assert_eq!(desk.run().len(), 2);
    // Counted before the worker saw the two grants: both slots are spent.
    desk.offer(offer(1, 2));
    assert!(desk.run().is_empty());
    // Counted after it saw one of them.
    let seen_one = Offer {
        granted_seen: 1,
        ..offer(1, 1)
    };
    desk.offer(seen_one);
    assert!(desk.run().is_empty());
    let seen_both = Offer {
        granted_seen: 2,
        ..offer(1, 1)
    };
    desk.offer(seen_both.clone());
    assert_eq!(desk.run().len(), 1);
    desk.dispatcher.offer(seen_both, desk.shard.now);
    assert!(desk.run().is_empty(), "an older message changes nothing");
}

#[test]
fn grants_are_numbered_and_those_on_their_way_count_as_made() {
    let mut desk = Desk::new();
    (1..=3).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 3));
    let proposed = desk.poll();
    assert_eq!(desk.dispatcher.granted(session(1)), 3);
    let (assigned, _) = desk.commit(proposed);
    let grants: Vec<u64> = assigned.iter().map(|a| a.grant).collect();
    assert_eq!(grants, [1, 2, 3]);
    assert_eq!(desk.dispatcher.granted(session(1)), 3);
}

#[test]
fn session_that_comes_back_after_being_forgotten_spends_no_slot_twice() {
    let mut desk = Desk::new();
    (1..=9).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 2));
    desk.run();
    desk.dispatcher.forget(session(1));
    desk.offer(Offer {
        granted_seen: 2,
        ..offer(1, 1)
    });
    let assigned = desk.run();
    assert_eq!((assigned.len(), assigned[0].grant), (1, 3));
    assert!(desk.run().is_empty());
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
fn credit_of_a_worker_that_was_silent_for_a_lease_is_void_until_it_offers_again() {
    let mut desk = Desk::new();
    desk.offer(offer(1, 1));
    desk.run_for(31 * SECOND);
    desk.shard.submit(submit(1));
    assert!(desk.run().is_empty());
    desk.offer(offer(1, 1));
    assert_eq!(desk.run().len(), 1);
}

#[test]
fn workers_of_a_gateway_that_is_gone_are_granted_nothing() {
    let mut desk = Desk::new();
    desk.offer(offer(1, 1));
    desk.offer(Offer {
        gateway: NodeId::new(2),
        ..offer(2, 1)
    });
    desk.dispatcher
        .missed_gateway(NodeId::new(1), desk.shard.now);
    desk.shard.submit(submit(1));
    desk.shard.submit(submit(2));
    let assigned = desk.run();
    assert_eq!((assigned.len(), assigned[0].session), (1, session(2)));
    assert_eq!(desk.dispatcher.sessions(), 1);
}

#[test]
fn job_whose_worker_left_before_the_commit_is_handed_back() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let proposed = desk.poll();
    desk.dispatcher.forget(session(1));
    assert!(desk.commit(proposed).0.is_empty());
    desk.offer(offer(2, 1));
    let assigned = desk.run();
    assert_eq!((assigned.len(), assigned[0].session), (1, session(2)));
    assert_eq!(desk.shard.state.job(job(1)).unwrap().tries.lost, 0);
}

#[test]
fn gateway_that_is_not_reached_lends_nothing_until_its_pause_is_over() {
    let mut desk = Desk::new();
    let gateway = NodeId::new(1);
    desk.shard.submit(submit(1));
    desk.dispatcher.missed_gateway(gateway, desk.shard.now);
    assert!(!desk.dispatcher.offer(offer(1, 1), desk.shard.now));
    assert!(desk.run().is_empty());
    desk.shard.pass(SECOND);
    assert!(desk.dispatcher.offer(offer(1, 1), desk.shard.now));
    assert_eq!(desk.run().len(), 1);
    assert!(desk.dispatcher.is_doubted(gateway), "it is on trial");
    desk.dispatcher.reached_gateway(gateway);
    assert!(!desk.dispatcher.is_doubted(gateway));
}

#[test]
fn job_that_reaches_no_worker_is_neither_dead_nor_lost_however_long_that_lasts() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    for _ in 0..60 {
        desk.dispatcher.offer(offer(1, 1), desk.shard.now);
        for grant in desk.run() {
            desk.dispatcher
                .missed_gateway(grant.gateway, desk.shard.now);
            let back = Release {
                job: grant.job,
                fence: grant.fence,
                reason: "the grant did not reach its worker".to_owned(),
                cause: ReleaseCause::Undelivered,
            };
            desk.commit(vec![Command::Release(back)]);
        }
        assert_eq!(desk.shard.job_state(job(1)), &JobState::Ready);
        desk.run_for(60 * SECOND);
    }
    let seen = desk.shard.state.job(job(1)).unwrap();
    let tries = seen.tries;
    assert_eq!((tries.granted, tries.released, tries.lost), (60, 0, 0));
    assert_eq!(seen.history.len(), 1, "one line stands for all of them");
}

#[test]
fn grant_in_doubt_that_nobody_was_heard_of_goes_back_uncounted_after_its_lease() {
    for is_heard in [false, true] {
        let mut desk = Desk::new();
        desk.shard.submit(submit(1));
        desk.offer(offer(1, 1));
        let fence = desk.run()[0].fence;
        desk.dispatcher.doubt_delivery(job(1), fence);
        desk.run_for(29 * SECOND);
        if is_heard {
            desk.renew(1, renewal(job(1), fence, 1));
        }
        assert!(desk.shard.state.lease(job(1)).is_some());
        desk.run_for(31 * SECOND);
        assert_eq!(desk.shard.job_state(job(1)), &JobState::Ready);
        let tries = desk.shard.state.job(job(1)).unwrap().tries;
        assert_eq!(tries.lost, u32::from(is_heard));
    }
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
fn grant_whose_outcome_is_unknown_is_made_again_once_it_is_known_not_to_be() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let commands = desk.poll();
    let lost = desk.shard.batch(commands);
    assert!(desk.settle(&lost, Err(())).is_empty());
    desk.offer(offer(2, 1));
    assert!(desk.poll().is_empty(), "it may still be applied");
    assert_eq!(numbers(&desk.run_for(2 * SECOND)), [1]);
}

#[test]
fn grant_that_was_applied_after_all_is_handed_back_and_made_again() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let commands = desk.poll();
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.shard.state.apply(&late);
    let old = desk.shard.state.lease(job(1)).unwrap().fence;
    let assigned = desk.run_for(2 * SECOND);
    assert_eq!(numbers(&assigned), [1]);
    assert!(assigned[0].fence > old);
    let tries = desk.shard.state.job(job(1)).unwrap().tries;
    assert_eq!((tries.released, tries.lost), (0, 0));
}

#[test]
fn grant_applied_long_after_it_was_given_up_goes_back_uncounted() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let commands = desk.poll();
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.dispatcher.forget(session(1));
    desk.run_for(10 * SECOND);
    desk.shard.state.apply(&late);
    desk.run_for(6 * SECOND);
    assert_eq!(desk.shard.job_state(job(1)), &JobState::Ready);
    assert_eq!(desk.shard.state.job(job(1)).unwrap().tries.lost, 0);
}

#[test]
fn grant_refused_because_an_earlier_one_was_applied_after_all_hands_that_one_back() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 1));
    let commands = desk.poll();
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.shard.pass(SECOND);
    let again = desk.poll();
    assert_eq!(again.len(), 1);
    desk.shard.state.apply(&late);
    assert!(desk.commit(again).0.is_empty());
    assert_eq!(numbers(&desk.run()), [1]);
    assert_eq!(desk.shard.state.job(job(1)).unwrap().tries.lost, 0);
}

#[test]
fn lease_that_ended_unseen_does_not_hide_one_that_began_unseen() {
    let mut desk = Desk::new();
    desk.offer(offer(1, 1));
    desk.shard.submit(submit(1));
    let first = desk.run();
    desk.shard.submit(submit(2));
    desk.offer(Offer {
        granted_seen: 1,
        ..offer(1, 1)
    });
    let mut commands = desk.poll();
    commands.push(Command::Complete(Complete {
        job: job(1),
        fence: first[0].fence,
        result: vec![1].into(),
        digest: digest(1),
    }));
    let late = desk.shard.batch(commands);
    desk.settle(&late, Err(()));
    desk.gate.quorum_fresh = false;
    desk.shard.pass(3 * SECOND);
    desk.poll();
    desk.shard.state.apply(&late);
    desk.run_for(6 * SECOND);
    assert_eq!(desk.shard.job_state(job(2)), &JobState::Ready);
    assert_eq!(desk.shard.state.job(job(2)).unwrap().tries.lost, 0);
}

#[test]
fn session_forgotten_while_a_grant_is_under_way_spends_no_slot_twice() {
    let mut desk = Desk::new();
    (1..=3).for_each(|number| drop(desk.shard.submit(submit(number))));
    desk.offer(offer(1, 1));
    let first = desk.poll();
    desk.dispatcher.forget(session(1));
    desk.offer(offer(1, 1));
    assert!(desk.poll().is_empty());
    assert_eq!(desk.dispatcher.granted(session(1)), 1);
    assert_eq!(desk.commit(first).0[0].grant, 1);
    assert!(desk.run().is_empty());
}

#[test]
fn offer_counts_although_a_renewal_overtook_it() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 5));
    let fence = desk.run()[0].fence;
    let lower = Offer {
        message: 2,
        granted_seen: 1,
        ..offer(1, 0)
    };
    let (state, now) = (&desk.shard.state, desk.shard.now);
    let renewals = [renewal(job(1), fence, 1)];
    (desk.dispatcher).renew(state, session(1), &renewals, 3, Gate::OPEN, now);
    assert!(desk.dispatcher.offer(lower, now));
    (2..=9).for_each(|number| drop(desk.shard.submit(submit(number))));
    assert!(desk.run().is_empty(), "it was told to grant no more");
}

#[test]
fn of_two_offers_from_one_message_the_later_stands() {
    let mut desk = Desk::new();
    let sent = |number, free| Offer {
        message: 7,
        number,
        ..offer(1, free)
    };
    assert!(desk.dispatcher.offer(sent(2, 0), desk.shard.now));
    assert!(!desk.dispatcher.offer(sent(1, 5), desk.shard.now));
    assert_eq!(desk.dispatcher.free_slots(), 0);
}

#[test]
fn session_stands_in_one_queue_once_however_often_it_offers() {
    let mut desk = Desk::new();
    desk.offer(offer(50, 1));
    for _ in 0..100 {
        desk.offer(offer(1, 1));
        desk.offer(gpu(1, 1));
        desk.dispatcher.forget(session(1));
    }
    assert_eq!(desk.dispatcher.queued(), 1);
    desk.offer(gpu(1, 1));
    desk.offer(offer(1, 1));
    assert_eq!(desk.dispatcher.queued(), 2);
}

#[test]
fn tick_is_asked_for_when_a_waiting_job_falls_due_and_once() {
    let mut desk = Desk::new();
    desk.shard.submit(Submit {
        delay: SECOND,
        ..submit(1)
    });
    desk.offer(offer(1, 1));
    let (state, now) = (&desk.shard.state, desk.shard.now);
    assert_eq!(desk.dispatcher.next_deadline(state), Some(now + SECOND));
    desk.shard.pass(SECOND);
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
fn renewing_worker_is_heard_though_it_offers_nothing_new() {
    let mut desk = Desk::new();
    desk.shard.submit(submit(1));
    desk.offer(offer(1, 2));
    let assigned = desk.run();
    for _ in 0..10 {
        desk.run_for(5 * SECOND);
        let answer = desk.renew(1, renewal(job(1), assigned[0].fence, 1));
        assert!(matches!(answer, RenewalAnswer::Keep { .. }));
    }
    desk.shard.submit(submit(2));
    assert_eq!(desk.run().len(), 1);
}

#[test]
fn idle_worker_of_short_and_long_leases_is_granted_jobs_between_its_offers() {
    let mut desk = Desk::new();
    let video = QueueName::new("video").unwrap();
    let policy = QueuePolicy {
        lease: 600 * SECOND,
        ..QueuePolicy::default()
    };
    desk.shard.one(Command::PutPolicy(Box::new(PutPolicy {
        queue: video.clone(),
        policy,
        index: 50,
    })));
    desk.offer(Offer {
        queues: vec![super::fixture::queue(), video],
        ..offer(1, 1)
    });
    desk.run_for(99 * SECOND);
    desk.shard.submit(submit(1));
    assert_eq!(desk.run().len(), 1);
}

#[test]
fn session_beyond_the_bound_is_told_that_nothing_is_lent() {
    let mut desk = Desk::new();
    let bound = u32::try_from(leasehold_types::limits::SESSIONS).unwrap();
    for worker in 0..bound {
        assert!(desk.dispatcher.offer(offer(worker, 0), desk.shard.now));
    }
    assert!(!desk.dispatcher.offer(offer(bound, 1), desk.shard.now));
    desk.dispatcher.forget(session(0));
    assert!(desk.dispatcher.offer(offer(bound, 1), desk.shard.now));
}
