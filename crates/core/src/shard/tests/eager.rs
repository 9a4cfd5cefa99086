//! Which jobs are leased by the entry that takes them in, and which wait for their turn.

use super::desk::{Desk, offer, region};
use super::dispatching::{gpu, numbers};
use super::fixture::{SECOND, job, session, submit, tenant};
use crate::requirement::Requirement;
use crate::shard::command::{Command, Submit};
use crate::shard::dispatcher::{Gate, Offer};
use crate::shard::outcome::Outcome;

fn command(submit: Submit) -> Command {
    Command::Submit(Box::new(submit))
}

fn submits(numbers: impl IntoIterator<Item = u8>) -> Vec<Command> {
    let numbers = numbers.into_iter();
    numbers.map(|number| command(submit(number))).collect()
}

/// A desk that had jobs of this kind before, and has none now: what they ask of a worker is known.
fn used(worker: u32, free: u32) -> Desk {
    let mut desk = Desk::new();
    desk.shard.submit(submit(250));
    desk.offer(offer(9, 1));
    let fence = desk.run()[0].fence;
    desk.shard.complete(job(250), fence, 1);
    desk.dispatcher.forget(session(9));
    desk.offer(offer(worker, free));
    assert!(desk.run().is_empty());
    desk
}

/// How many grants the leader adds to an entry with these commands.
fn granted(desk: &mut Desk, commands: Vec<Command>) -> usize {
    let given = commands.len();
    desk.entry(commands).commands.len() - given
}

#[test]
fn waiting_worker_gets_a_job_by_the_entry_that_takes_it_in() {
    let mut desk = used(1, 1);
    let entry = desk.entry(submits([1]));
    assert_eq!(entry.commands.len(), 2);
    let assigned = desk.land(&entry);
    assert_eq!(numbers(&assigned), [1]);
    let lease = desk.shard.state.lease(job(1)).unwrap();
    assert_eq!((assigned[0].fence, assigned[0].grant), (lease.fence, 1));
    assert_eq!(
        lease.granted_at,
        desk.shard.state.header(job(1)).unwrap().submitted_at
    );
    assert!(desk.run().is_empty());
}

#[test]
fn entry_grants_jobs_to_workers_in_turn() {
    let mut desk = used(1, 4);
    desk.offer(offer(2, 4));
    let entry = desk.entry(submits([1, 2, 3, 4]));
    let assigned = desk.land(&entry);
    let of = |worker: u128| {
        let own = assigned.iter().filter(|a| a.session == session(worker));
        own.count()
    };
    assert_eq!([of(1), of(2)], [2, 2]);
}

#[test]
fn entry_with_more_jobs_than_slots_grants_none_and_leaves_them_to_fair_turns() {
    let mut desk = used(1, 4);
    let of = |number, name| Submit {
        tenant: Some(tenant(name)),
        ..submit(number)
    };
    let loud = (1..=6).map(|number| command(of(number, "loud")));
    let quiet = (7..=8).map(|number| command(of(number, "quiet")));
    let entry = desk.entry(loud.chain(quiet).collect());
    assert!(desk.land(&entry).is_empty());
    let mut first = numbers(&desk.run());
    first.sort_unstable();
    assert_eq!(first, [1, 2, 7, 8]);
}

#[test]
fn jobs_of_an_entry_on_its_way_are_not_passed_over_by_those_of_the_next() {
    let mut desk = used(1, 1);
    let early = desk.entry(submits([1, 2]));
    assert_eq!(early.commands.len(), 2, "one slot for two jobs");
    let late = desk.entry(submits([3]));
    assert_eq!(late.commands.len(), 1);
    desk.land(&early);
    assert_eq!(granted(&mut desk, submits([4])), 0, "jobs are ready");
    desk.land(&late);
    assert_eq!(numbers(&desk.run()), [1]);
}

#[test]
fn entry_whose_outcome_is_lost_keeps_no_later_one_from_granting() {
    let mut desk = used(1, 1);
    let lost = desk.entry(submits([1, 2]));
    desk.settle(&lost, Err(()));
    assert_eq!(granted(&mut desk, submits([3])), 1);
}

#[test]
fn worker_with_other_work_to_take_is_granted_nothing_eagerly() {
    let mut desk = used(1, 1);
    desk.shard.submit(needy(1));
    desk.offer(gpu(2, 1));
    desk.dispatcher.forget(session(1));
    assert_eq!(granted(&mut desk, submits([2])), 0);
    assert_eq!(numbers(&desk.run()), [1]);
}

#[test]
fn nothing_is_granted_eagerly_that_could_not_be_granted_at_all() {
    let mut desk = used(1, 4);
    desk.gate = Gate {
        quorum_fresh: false,
        ..Gate::OPEN
    };
    assert_eq!(granted(&mut desk, submits([1])), 0, "the gate is closed");
    let mut desk = used(1, 4);
    desk.unreachable.insert(region("eu"));
    assert_eq!(
        granted(&mut desk, submits([1])),
        0,
        "its region is unreachable"
    );
    let mut desk = used(1, 0);
    assert_eq!(granted(&mut desk, submits([1])), 0, "no slot is free");
    let mut desk = used(1, 4);
    let delay = SECOND;
    let later = command(Submit { delay, ..submit(1) });
    assert_eq!(granted(&mut desk, vec![later]), 0, "the job is not ready");
    let mut desk = used(1, 4);
    desk.shard.pass(31 * SECOND);
    assert_eq!(granted(&mut desk, submits([1])), 0, "the worker is silent");
}

/// A job that only a worker with a model may take.
fn needy(number: u8) -> Submit {
    Submit {
        requirement: Requirement {
            labels: [("model".into(), "llama".into())].into(),
            ..Requirement::default()
        },
        ..submit(number)
    }
}

#[test]
fn id_that_was_submitted_with_other_needs_before_goes_to_no_worker_that_lacks_them() {
    let mut desk = used(1, 1);
    let first = desk.entry(vec![command(needy(1))]);
    assert_eq!(first.commands.len(), 1, "nobody may take it");
    desk.settle(&first, Err(()));
    let second = desk.entry(submits([1]));
    assert_eq!(second.commands.len(), 2);
    desk.shard.state.apply(&first);
    assert!(desk.land(&second).is_empty());
    assert!(desk.run().is_empty());
    assert!(desk.shard.state.lease(job(1)).is_none());
    assert_eq!(desk.dispatcher.free_slots(), 1);
    desk.offer(gpu(2, 1));
    assert_eq!(numbers(&desk.run()), [1]);
}

#[test]
fn lane_served_first_takes_no_slot_that_only_another_lane_of_the_entry_could_use() {
    let mut desk = used(1, 1);
    desk.shard.submit(needy(251));
    desk.offer(gpu(2, 1));
    let fence = desk.run()[0].fence;
    desk.shard.complete(job(251), fence, 1);
    desk.offer(Offer {
        granted_seen: 1,
        ..gpu(2, 1)
    });
    desk.run();
    // Two slots for the first, and only one of them for the second.
    let both = vec![command(submit(1)), command(needy(2))];
    assert_eq!(granted(&mut desk, both), 0);
}

#[test]
fn full_shard_is_granted_nothing_eagerly() {
    let mut desk = used(1, 4);
    desk.shard.state.bounds.jobs = 1;
    assert_eq!(granted(&mut desk, submits([1])), 0);
}

#[test]
fn grants_beyond_the_room_of_the_entry_are_not_made() {
    let mut desk = used(1, 4);
    let mut batch = desk.shard.batch(submits([1, 2]));
    let (state, gate) = (&desk.shard.state, desk.gate);
    (desk.dispatcher).grant_eagerly(state, &mut batch, 1, gate, &|_| false);
    assert_eq!(batch.commands.len(), 2);
}

#[test]
fn repeated_submit_is_not_granted_and_costs_no_slot() {
    let mut desk = used(1, 2);
    let entry = desk.entry(submits([1, 1]));
    assert_eq!(entry.commands.len(), 3);
    assert_eq!(granted(&mut desk, submits([1])), 0, "it is on its way");
    assert_eq!(numbers(&desk.land(&entry)), [1]);
    assert_eq!(granted(&mut desk, submits([1])), 0, "it is there");
    assert_eq!(desk.dispatcher.free_slots(), 1);
}

#[test]
fn grant_of_a_refused_submit_is_refused_and_its_slot_is_free_again() {
    let mut desk = used(1, 1);
    let priority = 200;
    let entry = desk.entry(vec![command(Submit {
        priority,
        ..submit(1)
    })]);
    assert_eq!((entry.commands.len(), desk.dispatcher.free_slots()), (2, 0));
    let applied = desk.shard.state.apply(&entry);
    let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
    assert!(applied.outcomes.iter().all(is_refused));
    assert!(desk.settle(&entry, Ok(&applied)).is_empty());
    assert_eq!(desk.dispatcher.free_slots(), 1);
    let entry = desk.entry(submits([2]));
    assert_eq!(numbers(&desk.land(&entry)), [2]);
}

#[test]
fn eager_grant_that_was_applied_after_all_is_handed_back_and_made_again() {
    let mut desk = used(1, 1);
    let late = desk.entry(submits([1]));
    desk.settle(&late, Err(()));
    desk.shard.state.apply(&late);
    let old = desk.shard.state.lease(job(1)).unwrap().fence;
    let assigned = desk.run_for(2 * SECOND);
    assert_eq!(numbers(&assigned), [1]);
    assert!(assigned[0].fence > old);
    assert_eq!(desk.shard.state.job(job(1)).unwrap().tries.lost, 0);
}
