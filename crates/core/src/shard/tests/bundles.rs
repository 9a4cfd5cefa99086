//! Which payloads and results share a row of the checkpoint, and when that row goes.

use bytes::Bytes;

use super::fixture::{Fixture, bytes_of, job, submit};
use super::store::{Rows, everything};
use crate::shard::command::{Command, Discard, FailureClass, Submit};

/// A shard, and what its checkpoint has.
struct Written {
    shard: Fixture,
    rows: Rows,
}

impl Written {
    /// A shard with so many jobs, of which nothing is written.
    fn with_jobs(jobs: u8) -> Self {
        let mut shard = Fixture::new();
        (0..jobs).for_each(|number| drop(shard.submit(submit(number))));
        let rows = Rows::default();
        Self { shard, rows }
    }

    /// Takes a checkpoint, and looks whether its rows are those that are wanted.
    fn write(&mut self) {
        self.rows.write_all(&mut self.shard.state);
        self.rows.check_rows(&self.shard.state);
    }

    fn submit(&mut self, number: u8, payload: Bytes) {
        let submit = submit(number);
        let _ = self.shard.submit(Submit { payload, ..submit });
    }

    fn complete(&mut self, number: u8) {
        let fence = self.shard.lease(number);
        let _ = self.shard.complete(job(number), fence, number);
    }

    /// The arrivals that share bundles of payloads.
    fn payloads(&self) -> Vec<Vec<u64>> {
        let bundles = self.rows.payloads.values();
        bundles
            .map(|parts| parts.keys().copied().collect())
            .collect()
    }

    /// As of payloads.
    fn results(&self) -> Vec<Vec<u64>> {
        let bundles = self.rows.results.values();
        bundles
            .map(|parts| parts.keys().copied().collect())
            .collect()
    }

    fn all_are_read_back(&self) {
        let state = &self.shard.state;
        for id in state.jobs().map(|job| job.header.id) {
            let view = self.rows.whole(state, id).unwrap();
            let is_done = state.is_terminal(id) == Some(true);
            assert_eq!(view.payload.is_empty(), is_done, "{view:?}");
        }
    }
}

#[test]
fn jobs_of_one_run_share_a_bundle_and_runs_share_none() {
    let mut written = Written::with_jobs(20);
    written.write();
    let all = [(0..16).collect::<Vec<_>>(), (16..20).collect()];
    assert_eq!(written.payloads(), all);
    written.all_are_read_back();
}

#[test]
fn run_that_fills_over_several_checkpoints_gets_a_bundle_from_each() {
    let mut written = Written::with_jobs(3);
    written.write();
    written.submit(3, bytes_of(4));
    written.submit(4, bytes_of(4));
    written.write();
    written.write();
    written.submit(5, bytes_of(4));
    written.write();
    assert_eq!(written.payloads(), [vec![0, 1, 2], vec![3, 4], vec![5]]);
    written.all_are_read_back();
}

#[test]
fn results_that_come_in_any_order_are_found() {
    let mut written = Written::with_jobs(8);
    written.write();
    for ends in [&[0, 2, 6][..], &[3, 1], &[7, 5, 4]] {
        ends.iter().for_each(|number| written.complete(*number));
        written.write();
        written.all_are_read_back();
    }
    assert_eq!(
        written.results(),
        [vec![0, 2, 6], vec![1, 3], vec![4, 5, 7]]
    );
    let read = written.rows.load();
    written.rows.check_rows(&read);
}

#[test]
fn payload_larger_than_a_bundle_has_a_bundle_of_its_own() {
    let mut written = Written::with_jobs(2);
    written.submit(2, bytes_of(3));
    written.submit(3, bytes_of(4));
    written.submit(4, bytes_of(4));
    written.write();
    assert_eq!(written.payloads(), [vec![0, 1], vec![2], vec![3, 4]]);
    written.all_are_read_back();
}

#[test]
fn bundle_stays_for_the_last_job_that_wants_its_part_and_goes_with_it() {
    let mut written = Written::with_jobs(3);
    written.write();
    let fence = written.shard.lease(1);
    written.shard.fail(job(1), fence, FailureClass::Permanent);
    for number in [0, 2] {
        written.complete(number);
        written.write();
        assert_eq!(written.payloads(), [vec![0, 1, 2]]);
    }
    let discard = Discard { job: job(1) };
    written.shard.one(Command::Discard(discard));
    written.write();
    assert!(written.rows.payloads.is_empty());
    assert_eq!(written.results(), [vec![0], vec![2]]);
}

#[test]
fn job_that_ends_before_its_payload_is_written_writes_none() {
    let mut written = Written::with_jobs(3);
    written.complete(0);
    written.complete(1);
    written.write();
    assert_eq!(written.payloads(), [vec![2]]);
}

#[test]
fn bundle_that_is_wanted_no_more_before_it_is_taken_goes_with_the_next_checkpoint() {
    let mut written = Written::with_jobs(3);
    let head = written.shard.state.freeze();
    (0..3).for_each(|number| written.complete(number));
    let all = everything(&mut written.shard.state);
    written.rows.head = Some(head);
    written.rows.write(&all);
    assert_eq!(written.payloads(), [vec![0, 1, 2]]);
    written.write();
    assert!(written.rows.payloads.is_empty());
}
