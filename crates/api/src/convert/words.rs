//! The small enums: failure classes, work phases, expire reasons and names of states.
//!
//! On the wire an enum is a number whose zero means that the sender named nothing. Zero is refused where a value is
//! needed; in a filter it means "any".

use leasehold_core::shard::command::{ExpireReason, FailureClass, WorkPhase};
use leasehold_core::shard::view::StateName;

use super::ConvertError;
use crate::v1;

/// One table an enum, read in both directions; the compiler checks both for gaps.
macro_rules! wire_enum {
    ($name:ident, $wire:ident, $needed:ident, $filter:ident, $what:literal, { $($variant:ident),+ $(,)? }) => {
        impl From<$name> for v1::$wire {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)+
                }
            }
        }

        #[doc = concat!("The ", $what, " of a field that needs one.")]
        ///
        /// # Errors
        /// When it is unspecified, or not known to this version.
        pub fn $needed(field: &'static str, number: i32) -> Result<$name, ConvertError> {
            $filter(field, number)?.ok_or(ConvertError::Unspecified { field })
        }

        #[doc = concat!("The ", $what, " of a filter; none where it is unspecified.")]
        ///
        /// # Errors
        /// When it is not known to this version.
        pub fn $filter(field: &'static str, number: i32) -> Result<Option<$name>, ConvertError> {
            match v1::$wire::try_from(number) {
                Ok(v1::$wire::Unspecified) => Ok(None),
                $(Ok(v1::$wire::$variant) => Ok(Some($name::$variant)),)+
                Err(_) => Err(ConvertError::UnknownValue { field, number }),
            }
        }
    };
}

wire_enum!(FailureClass, FailureClass, failure_class, failure_class_filter, "failure class", {
    Transient, Permanent, Policy, ContextOverflow, Poison, Budget, Semantic, Lost, Infrastructure,
});
wire_enum!(WorkPhase, WorkPhase, work_phase, work_phase_filter, "work phase", {
    Queued, Loading, Running, Uploading,
});
wire_enum!(ExpireReason, ExpireReason, expire_reason, expire_reason_filter, "expire reason", {
    Silent, Stalled, AttemptLimit, Verdict, Deadline,
});
wire_enum!(StateName, JobState, state_name, state_filter, "state", {
    Waiting, Ready, Leased, Done, Cancelled, Dead,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_the_wire_comes_back_as_itself() {
        for number in 1..=9 {
            let class = failure_class("class", number).unwrap();
            assert_eq!(v1::FailureClass::from(class) as i32, number);
        }
        for number in 1..=4 {
            let phase = work_phase("phase", number).unwrap();
            assert_eq!(v1::WorkPhase::from(phase) as i32, number);
        }
        for number in 1..=5 {
            let reason = expire_reason("expired", number).unwrap();
            assert_eq!(v1::ExpireReason::from(reason) as i32, number);
        }
        for number in 1..=6 {
            let state = state_name("state", number).unwrap();
            assert_eq!(v1::JobState::from(state) as i32, number);
        }
    }

    #[test]
    fn unspecified_is_refused_where_a_value_is_needed_and_means_any_in_a_filter() {
        let refused = ConvertError::Unspecified { field: "class" };
        assert_eq!(failure_class("class", 0), Err(refused));
        assert_eq!(failure_class_filter("class", 0), Ok(None));
        assert_eq!(state_filter("state", 0), Ok(None));
    }

    #[test]
    fn value_of_a_newer_version_is_named_by_field_and_number() {
        let error = work_phase("phase", 99).unwrap_err().to_string();
        assert!(error.contains("phase") && error.contains("99"), "{error}");
        assert!(state_filter("state", -1).is_err());
    }
}
