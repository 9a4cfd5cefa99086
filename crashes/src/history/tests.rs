//! Each kind of broken promise is noticed, and what is allowed is not called broken.

use leasehold_types::VirtualShard;

use super::*;
use crate::violation::Kind;

fn id(number: u8) -> JobId {
    JobId::new(VirtualShard::new(1), [number; 12])
}

fn accepted(sequence: u64) -> Accepted {
    Accepted {
        fence: format!("f0.1.{sequence}").parse().unwrap(),
        variant: Variant::First,
    }
}

fn sight(number: Number, id: JobId, state: StateName) -> Sight {
    Sight {
        number,
        id,
        state,
        result: None,
    }
}

fn done(number: Number, id: JobId, accepted: Accepted) -> Sight {
    let digest = result_digest(number, accepted.fence, accepted.variant);
    Sight {
        result: Some((accepted.fence, digest)),
        ..sight(number, id, StateName::Done)
    }
}

/// One acknowledged submit.
fn submitted(shelf: Shelf) -> History {
    let mut history = History::default();
    let number = history.begin(shelf, Some(id(1)));
    history.acknowledged(number, id(1)).unwrap();
    history
}

#[test]
fn acknowledged_job_that_is_not_there_is_lost() {
    let history = submitted(Shelf::Kept);
    assert_eq!(history.missing(), [(0, id(1))]);
    let violation = history.not_found(0).unwrap_err();
    assert!(matches!(violation, Violation::LostJob { .. }) && violation.kind() == Kind::Lost);
}

#[test]
fn unknown_submit_may_be_there_or_not() {
    let mut history = History::default();
    let number = history.begin(Shelf::Kept, Some(id(1)));
    assert_eq!(history.missing(), []);
    assert_eq!(history.not_found(number), Ok(()));
    assert_eq!(
        history.seen(&sight(number, id(1), StateName::Ready), false),
        Ok(())
    );
    assert_eq!(history.sums().unknown, 1);
}

#[test]
fn refused_submit_must_not_be_there() {
    let mut history = History::default();
    let number = history.begin(Shelf::Kept, Some(id(1)));
    history.refused(number);
    let violation = history
        .seen(&sight(number, id(1), StateName::Ready), false)
        .unwrap_err();
    assert!(matches!(violation, Violation::RefusedYetThere { .. }));
    assert_eq!((history.sums().refused, history.sums().unknown), (1, 0));
}

#[test]
fn one_submit_has_one_id_by_key_too() {
    let mut history = History::default();
    let number = history.begin(Shelf::Kept, None);
    history.acknowledged(number, id(1)).unwrap();
    history.acknowledged(number, id(1)).unwrap();
    assert_eq!(history.sums().submits, 1);
    let violation = history.acknowledged(number, id(2)).unwrap_err();
    assert!(matches!(violation, Violation::TwoIds { .. }) && violation.kind() == Kind::Doubled);
    let violation = history
        .seen(&sight(number, id(3), StateName::Ready), false)
        .unwrap_err();
    assert!(matches!(violation, Violation::TwoIds { .. }));
}

#[test]
fn same_result_may_be_acknowledged_again_and_no_other() {
    let mut history = submitted(Shelf::Kept);
    history.completed(0, accepted(1)).unwrap();
    history.completed(0, accepted(1)).unwrap();
    assert_eq!(history.sums().completions, 1);
    let other_fence = history.completed(0, accepted(2)).unwrap_err();
    let other_digest = Accepted {
        variant: Variant::Second,
        ..accepted(1)
    };
    let other_digest = history.completed(0, other_digest).unwrap_err();
    assert_eq!(other_fence.kind(), Kind::Doubled);
    assert_eq!(other_digest.kind(), Kind::Doubled);
}

#[test]
fn acknowledged_result_must_be_shown_for_ever() {
    let mut history = submitted(Shelf::Kept);
    history.completed(0, accepted(1)).unwrap();
    assert_eq!(history.seen(&done(0, id(1), accepted(1)), true), Ok(()));
    let changed = history
        .seen(&done(0, id(1), accepted(2)), true)
        .unwrap_err();
    assert!(matches!(changed, Violation::ResultChanged { .. }));
    let gone = history
        .seen(&sight(0, id(1), StateName::Leased), true)
        .unwrap_err();
    assert!(matches!(gone, Violation::ResultGone { .. }) && gone.kind() == Kind::Lost);
    let lost = history.not_found(0).unwrap_err();
    assert!(matches!(lost, Violation::LostResult { .. }) && lost.kind() == Kind::Lost);
}

#[test]
fn look_that_began_before_the_acknowledgement_may_miss_it() {
    let mut history = submitted(Shelf::Kept);
    let had_result = history.has_result(0);
    history.completed(0, accepted(1)).unwrap();
    assert_eq!(
        history.seen(&sight(0, id(1), StateName::Leased), had_result),
        Ok(())
    );
}

#[test]
fn job_that_has_its_result_is_never_granted_again_whatever_is_heard_first() {
    let fence = |sequence| accepted(sequence).fence;
    for shelf in [Shelf::Kept, Shelf::Brief] {
        let mut result_first = submitted(shelf);
        result_first.granted(0, id(1), fence(2)).unwrap();
        result_first.completed(0, accepted(2)).unwrap();
        // These were on their way.
        result_first.granted(0, id(1), fence(1)).unwrap();
        result_first.granted(0, id(1), fence(2)).unwrap();
        let again = result_first.granted(0, id(1), fence(3)).unwrap_err();
        assert!(matches!(again, Violation::GrantedAfterResult { .. }));
        assert_eq!(again.kind(), Kind::Doubled);

        let mut grant_first = submitted(shelf);
        grant_first.granted(0, id(1), fence(3)).unwrap();
        let again = grant_first.completed(0, accepted(2)).unwrap_err();
        assert!(matches!(again, Violation::GrantedAfterResult { .. }));
    }
}

#[test]
fn result_that_nobody_sent_is_noticed() {
    let mut history = submitted(Shelf::Kept);
    let mut foreign = done(0, id(1), accepted(1));
    foreign.result = foreign
        .result
        .map(|(fence, _)| (fence, Digest::new([9; 32])));
    let violation = history.seen(&foreign, false).unwrap_err();
    assert!(matches!(violation, Violation::ForeignResult { .. }));
}

#[test]
fn job_that_nobody_gave_up_must_not_end_as_dead() {
    let mut history = submitted(Shelf::Kept);
    let violation = history
        .seen(&sight(0, id(1), StateName::Dead), false)
        .unwrap_err();
    assert!(matches!(violation, Violation::GivenUp { .. }));
}

#[test]
fn brief_job_may_be_gone_once_it_was_worked_and_not_before() {
    let mut history = submitted(Shelf::Brief);
    assert_eq!(history.not_found(0).unwrap_err().kind(), Kind::Lost);
    history.worked(0);
    assert_eq!(history.not_found(0), Ok(()));
}

#[test]
fn found_jobs_are_not_missing_until_looked_for_again() {
    let mut history = submitted(Shelf::Kept);
    history.seen(&done(0, id(1), accepted(1)), false).unwrap();
    assert_eq!(history.missing(), []);
    history.look_again();
    assert_eq!(history.missing(), [(0, id(1))]);
}
