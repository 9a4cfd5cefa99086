//! The enums of a shard, both ways. Zero is nobody's choice and is refused.

use leasehold_core::shard::command::{ExpireReason, FailureClass, WorkPhase};

use crate::error::DecodeError;
use crate::field::In;
use crate::store::v1;

pub(super) fn phase(phase: WorkPhase) -> i32 {
    match phase {
        WorkPhase::Queued => v1::WorkPhase::Queued,
        WorkPhase::Loading => v1::WorkPhase::Loading,
        WorkPhase::Running => v1::WorkPhase::Running,
        WorkPhase::Uploading => v1::WorkPhase::Uploading,
    }
    .into()
}

pub(super) fn read_phase(at: In, value: i32) -> Result<WorkPhase, DecodeError> {
    match at.choice("phase", value)? {
        v1::WorkPhase::Unspecified => at.unspecified("phase"),
        v1::WorkPhase::Queued => Ok(WorkPhase::Queued),
        v1::WorkPhase::Loading => Ok(WorkPhase::Loading),
        v1::WorkPhase::Running => Ok(WorkPhase::Running),
        v1::WorkPhase::Uploading => Ok(WorkPhase::Uploading),
    }
}

pub(super) fn class(class: FailureClass) -> i32 {
    match class {
        FailureClass::Transient => v1::FailureClass::Transient,
        FailureClass::Permanent => v1::FailureClass::Permanent,
        FailureClass::Policy => v1::FailureClass::Policy,
        FailureClass::ContextOverflow => v1::FailureClass::ContextOverflow,
        FailureClass::Poison => v1::FailureClass::Poison,
        FailureClass::Budget => v1::FailureClass::Budget,
        FailureClass::Semantic => v1::FailureClass::Semantic,
        FailureClass::Lost => v1::FailureClass::Lost,
        FailureClass::Infrastructure => v1::FailureClass::Infrastructure,
    }
    .into()
}

pub(super) fn read_class(at: In, value: i32) -> Result<FailureClass, DecodeError> {
    match at.choice("class", value)? {
        v1::FailureClass::Unspecified => at.unspecified("class"),
        v1::FailureClass::Transient => Ok(FailureClass::Transient),
        v1::FailureClass::Permanent => Ok(FailureClass::Permanent),
        v1::FailureClass::Policy => Ok(FailureClass::Policy),
        v1::FailureClass::ContextOverflow => Ok(FailureClass::ContextOverflow),
        v1::FailureClass::Poison => Ok(FailureClass::Poison),
        v1::FailureClass::Budget => Ok(FailureClass::Budget),
        v1::FailureClass::Semantic => Ok(FailureClass::Semantic),
        v1::FailureClass::Lost => Ok(FailureClass::Lost),
        v1::FailureClass::Infrastructure => Ok(FailureClass::Infrastructure),
    }
}

pub(super) fn reason(reason: ExpireReason) -> i32 {
    match reason {
        ExpireReason::Silent => v1::ExpireReason::Silent,
        ExpireReason::Stalled => v1::ExpireReason::Stalled,
        ExpireReason::AttemptLimit => v1::ExpireReason::AttemptLimit,
        ExpireReason::Verdict => v1::ExpireReason::Verdict,
        ExpireReason::Deadline => v1::ExpireReason::Deadline,
    }
    .into()
}

pub(super) fn read_reason(at: In, value: i32) -> Result<ExpireReason, DecodeError> {
    match at.choice("reason", value)? {
        v1::ExpireReason::Unspecified => at.unspecified("reason"),
        v1::ExpireReason::Silent => Ok(ExpireReason::Silent),
        v1::ExpireReason::Stalled => Ok(ExpireReason::Stalled),
        v1::ExpireReason::AttemptLimit => Ok(ExpireReason::AttemptLimit),
        v1::ExpireReason::Verdict => Ok(ExpireReason::Verdict),
        v1::ExpireReason::Deadline => Ok(ExpireReason::Deadline),
    }
}
