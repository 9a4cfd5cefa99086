//! One call on its way to a leader: what was learnt so far, and what it ends with when its time is up. Pure.

use std::time::Duration;

use leasehold_api::{ApiError, v1};
use leasehold_types::{ErrorCode, NodeId, ShardId, Timestamp};

use super::candidates::Candidates;

/// Hints followed one after the other without a wait; more of them and two nodes point at each other.
const HINTS: u32 = 2;

/// What came of one try.
pub(super) enum Tried<T> {
    /// A leader answered.
    Answered(T),
    /// A definite error: repeating changes nothing.
    Refused(ApiError),
    /// Certainly not done; perhaps with the one to ask instead.
    NotDone(ApiError, Option<NodeId>),
    /// May be done.
    Unknown(ApiError),
}

impl<T> Tried<T> {
    /// An error of the whole call decides how to go on.
    pub(super) fn failed(error: ApiError) -> Self {
        match error.code {
            ErrorCode::NotLeader | ErrorCode::Unavailable => {
                let hint = error.leader.as_ref().map(|hint| NodeId::new(hint.node_id));
                Self::NotDone(error, hint)
            }
            ErrorCode::Unknown => Self::Unknown(error),
            ErrorCode::InvalidArgument
            | ErrorCode::NotFound
            | ErrorCode::AlreadyExists
            | ErrorCode::StaleFence
            | ErrorCode::FailedPrecondition
            | ErrorCode::Conflict
            | ErrorCode::ResourceExhausted
            | ErrorCode::PermissionDenied
            | ErrorCode::Unsupported
            | ErrorCode::Internal => Self::Refused(error),
        }
    }

    /// The same with another answer, where there is one.
    pub(super) fn and_then<U>(self, take: impl FnOnce(T) -> Tried<U>) -> Tried<U> {
        match self {
            Self::Answered(answer) => take(answer),
            Self::Refused(error) => Tried::Refused(error),
            Self::NotDone(error, hint) => Tried::NotDone(error, hint),
            Self::Unknown(error) => Tried::Unknown(error),
        }
    }
}

/// An answer that is an error of the whole call is none.
pub(super) fn sorted(answer: v1::ShardAnswer) -> Tried<v1::ShardAnswer> {
    match answer.answer {
        Some(v1::shard_answer::Answer::Error(error)) => Tried::failed(error.into()),
        Some(_) | None => Tried::Answered(answer),
    }
}

/// One call: what was learnt so far.
pub(super) struct Course {
    pub(super) shard: ShardId,
    pub(super) ends: Timestamp,
    pub(super) candidates: Candidates,
    pub(super) tries: u32,
    hint: Option<NodeId>,
    hints: u32,
    maybe_done: bool,
    last: Option<ApiError>,
}

impl Course {
    pub(super) fn new(shard: ShardId, ends: Timestamp) -> Self {
        Self {
            shard,
            ends,
            candidates: Candidates::default(),
            tries: 0,
            hint: None,
            hints: 0,
            maybe_done: false,
            last: None,
        }
    }

    /// The node did not do it, and may have said who does.
    pub(super) fn not_done(&mut self, node: NodeId, error: ApiError, hint: Option<NodeId>) {
        self.candidates.failed(node);
        self.hint = hint.filter(|other| *other != node && self.hints < HINTS);
        self.last = Some(error);
    }

    /// The node may have done it.
    pub(super) fn unknown(&mut self, node: NodeId, error: ApiError) {
        self.maybe_done = true;
        self.not_done(node, error, None);
    }

    /// Another is said to lead now: whatever failed before is no reason to wait or to pass it over.
    pub(super) fn learnt(&mut self) {
        self.tries = 0;
        self.candidates = Candidates::default();
    }

    /// Whether there is a hint to follow at once.
    pub(super) fn follows_a_hint(&mut self) -> bool {
        let follows = self.hint.is_some();
        self.hints = if follows { self.hints + 1 } else { 0 };
        follows
    }

    pub(super) fn take_hint(&mut self) -> Option<NodeId> {
        self.hint.take()
    }

    /// SUBTLE: once one try may have been done, the call as a whole may have been done, whatever later tries said.
    pub(super) fn given_up(&self, come_back: Duration) -> ApiError {
        let shard = self.shard;
        let last = match &self.last {
            Some(error) => error.message.clone(),
            None => format!("no voter of shard {shard} is known yet"),
        };
        if self.maybe_done {
            return ApiError::unknown(format!(
                "it is not known whether shard {shard} did this, repeat it with the same id: {last}"
            ));
        }
        let message = format!(
            "no leader of shard {shard} could be reached in time, nothing was done: {last}"
        );
        ApiError::unavailable(message).with_retry_after(come_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id)
    }

    fn course() -> Course {
        Course::new(ShardId::new(1), Timestamp::ZERO)
    }

    #[test]
    fn call_that_may_have_been_done_never_ends_as_not_done() {
        let mut course = course();
        course.unknown(node(1), ApiError::unknown("the connection broke"));
        course.not_done(node(2), ApiError::unavailable("no leader"), None);
        let error = course.given_up(Duration::ZERO);
        assert_eq!(error.code, ErrorCode::Unknown, "{error}");
    }

    #[test]
    fn call_that_was_never_done_ends_with_a_time_to_come_back() {
        let mut course = course();
        course.not_done(node(1), ApiError::unavailable("no leader"), None);
        let error = course.given_up(Duration::from_millis(500));
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert_eq!(error.retry_after, Some(Duration::from_millis(500)));
        assert!(error.message.contains("nothing was done"), "{error}");
    }

    #[test]
    fn nodes_that_point_at_each_other_are_followed_only_so_far() {
        let mut course = course();
        let mut followed = 0;
        for at in 0..10 {
            let (from, to) = (node(at % 2 + 1), node((at + 1) % 2 + 1));
            course.not_done(from, ApiError::unavailable("x"), Some(to));
            if !course.follows_a_hint() {
                break;
            }
            course.take_hint();
            followed += 1;
        }
        assert_eq!(followed, HINTS);
    }

    #[test]
    fn refusals_are_final_and_the_rest_is_tried_again() {
        for code in ErrorCode::ALL {
            let tried: Tried<()> = Tried::failed(ApiError::new(code, "x"));
            let again = matches!(tried, Tried::NotDone(..) | Tried::Unknown(_));
            let is_full = code == ErrorCode::ResourceExhausted;
            assert_eq!(again, code.is_retryable() && !is_full, "{code}");
        }
    }
}
