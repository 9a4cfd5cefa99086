//! What readers see.

use leasehold_types::{QueueName, limits};

use super::fixture::{Fixture, SECOND, job, queue, submit, tenant};
use crate::policy::QueuePolicy;
use crate::shard::command::{Command, FailureClass, PutPolicy, Submit};
use crate::shard::job::Job;
use crate::shard::outcome::Outcome;
use crate::shard::state::{Kept, KeptRun, PartsError, Rows, ShardState};
use crate::shard::view::{JobFilter, JobStatus, QueueStats, StateName};

/// One job in each state: 1 waiting, 2 ready, 3 leased, 4 done, 5 dead.
fn one_of_each() -> Fixture {
    let mut shard = Fixture::new();
    shard.submit(Submit {
        delay: 9 * SECOND,
        tenant: Some(tenant("other")),
        ..submit(1)
    });
    shard.submit(submit(2));
    shard.leased_job(3);
    let (done, fence) = shard.leased_job(4);
    shard.complete(done, fence, 7);
    let (dead, fence) = shard.leased_job(5);
    shard.fail(dead, fence, FailureClass::Permanent);
    shard
}

fn listed(shard: &Fixture, filter: &JobFilter) -> Vec<u8> {
    let page = shard.state.list(filter);
    let numbers = page.jobs.iter().map(|job| job.id.to_bytes()[13]);
    numbers.collect()
}

#[test]
fn lists_show_what_fits_all_of_the_filter() {
    let shard = one_of_each();
    let all = JobFilter::default();
    assert_eq!(listed(&shard, &all), [1, 2, 3, 4, 5]);
    for (state, numbers) in [
        (StateName::Waiting, [1]),
        (StateName::Ready, [2]),
        (StateName::Leased, [3]),
        (StateName::Done, [4]),
        (StateName::Dead, [5]),
    ] {
        let filter = JobFilter {
            state: Some(state),
            ..JobFilter::default()
        };
        assert_eq!(listed(&shard, &filter), numbers);
    }
    let of_tenant = JobFilter {
        tenant: Some(tenant("other")),
        ..JobFilter::default()
    };
    assert_eq!(listed(&shard, &of_tenant), [1]);
    let of_class = |class| JobFilter {
        class: Some(class),
        ..JobFilter::default()
    };
    assert_eq!(listed(&shard, &of_class(FailureClass::Permanent)), [5]);
    assert!(listed(&shard, &of_class(FailureClass::Budget)).is_empty());
}

#[test]
fn pages_follow_each_other_and_the_last_says_so() {
    let shard = one_of_each();
    let mut filter = JobFilter {
        limit: 2,
        ..JobFilter::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = shard.state.list(&filter);
        pages.push(page.jobs.len());
        filter.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(pages, [2, 2, 1]);
}

#[test]
fn list_leaves_out_payloads_and_results_and_a_single_view_has_them() {
    let shard = one_of_each();
    let page = shard.state.list(&JobFilter::default());
    assert!(
        page.jobs
            .iter()
            .all(|job| job.payload.is_empty() && job.history.is_empty())
    );
    assert!(matches!(&page.jobs[3].status, JobStatus::Done { result, .. } if result.is_empty()));
    let whole = shard.state.job(job(4)).unwrap();
    assert!(matches!(&whole.status, JobStatus::Done { result, .. } if **result == [7]));
    assert_eq!((whole.payload.len(), whole.history.len()), (0, 1));
    let ready = shard.state.job(page.jobs[0].id).unwrap();
    assert_eq!(ready.payload.len(), 1);
}

#[test]
fn views_tell_times_as_spans_before_the_shard_s_own_stamp() {
    let mut shard = one_of_each();
    shard.pass(4 * SECOND);
    shard.apply(Vec::new());
    let waiting = shard.state.job(job(1)).unwrap();
    assert_eq!(waiting.age, 4 * SECOND);
    assert_eq!(
        waiting.status,
        JobStatus::Waiting {
            remaining: 5 * SECOND
        }
    );
    let done = shard.state.job(job(4)).unwrap();
    assert!(matches!(done.status, JobStatus::Done { ago, .. } if ago == 4 * SECOND));
    assert!(done.remaining.is_zero());
}

#[test]
fn counts_follow_the_jobs() {
    let shard = one_of_each();
    let stats = QueueStats {
        waiting: 1,
        ready: 1,
        leased: 1,
        done: 1,
        cancelled: 0,
        dead: 1,
    };
    assert_eq!(shard.state.stats().queues, [(queue(), stats)]);
    assert_eq!(shard.state.is_terminal(job(4)), Some(true));
    assert_eq!(shard.state.is_terminal(job(3)), Some(false));
    assert_eq!(shard.state.is_terminal(job(9)), None);
}

#[test]
fn newer_policy_stands_and_an_older_one_changes_nothing() {
    let mut shard = Fixture::new();
    let put = |index, max_attempts| {
        Command::PutPolicy(Box::new(PutPolicy {
            queue: queue(),
            policy: QueuePolicy {
                max_attempts,
                ..QueuePolicy::default()
            },
            index,
        }))
    };
    shard.apply(vec![put(7, 3)]);
    assert_eq!(shard.one(put(6, 9)), Outcome::PolicyPut);
    assert_eq!(shard.state.policy(&queue()).unwrap().max_attempts, 3);
    assert_eq!(shard.state.policy_index(&queue()), Some(7));
    assert_eq!(shard.state.newest_policy_index(), 7);
    assert_eq!(
        shard.state.policy_index(&QueueName::new("x").unwrap()),
        None
    );
}

#[test]
fn state_from_its_parts_is_the_same_state() {
    let shard = one_of_each();
    let rebuilt = shard.state.rebuilt();
    assert_eq!(rebuilt, shard.state);
    assert_eq!(rebuilt.stats(), shard.state.stats());
    assert_eq!(rebuilt.next_due(), shard.state.next_due());
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let shard = one_of_each();
    let head = shard.state.head();
    let policies = || shard.state.policies().map(|(q, p)| (q.clone(), p.clone()));
    let job: Job = shard.state.jobs().next().unwrap().clone();
    let kept = || KeptRun {
        kept: vec![Kept::Held(Box::new(job.clone()), Rows::default())],
        ..KeptRun::default()
    };
    assert_eq!(
        (kept().stray(0), kept().stray(1)),
        (None, Some(job.header.sequence))
    );
    let at_one_place = ShardState::from_parts(head, policies(), [kept(), kept()]);
    let sequence = job.header.sequence;
    let (id, order) = (
        job.header.id,
        Err(PartsError::Order {
            job: job.header.id,
            sequence,
        }),
    );
    assert_eq!(at_one_place, order);
    let mut again = job.clone();
    again.header.sequence += 1;
    let again = KeptRun {
        kept: vec![Kept::Held(Box::new(again), Rows::default())],
        ..KeptRun::default()
    };
    let repeated = ShardState::from_parts(head, policies(), [kept(), again]);
    assert_eq!(repeated, Err(PartsError::Repeated(id)));
    let orphan = ShardState::from_parts(head, [], [kept()]);
    assert!(matches!(orphan, Err(PartsError::UnknownQueue { .. })));
    let early = crate::shard::state::ShardHead {
        arrivals: job.header.sequence,
        ..head
    };
    let late = ShardState::from_parts(early, policies(), [kept()]);
    assert!(matches!(late, Err(PartsError::Sequence { .. })));
}

#[test]
fn page_is_never_longer_than_its_bound() {
    let shard = one_of_each();
    let filter = JobFilter {
        limit: usize::MAX,
        ..JobFilter::default()
    };
    assert!(shard.state.list(&filter).jobs.len() <= limits::PAGE_JOBS);
}
