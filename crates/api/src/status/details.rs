//! The error inside a status' details, and between [`ApiError`] and its message.

use bytes::Bytes;
use leasehold_types::ErrorCode;
use prost::Message;
use tonic::Code;

use super::ApiError;
use crate::convert::{if_given, ms_up};
use crate::v1;

/// Longest message that a status carries, in bytes. It travels twice, once percent-encoded, in headers that many
/// peers bound to 16 KiB.
const MESSAGE_BYTES: usize = 1024;

/// Names our message inside a `google.protobuf.Any`.
const TYPE_URL: &str = "type.googleapis.com/leasehold.v1.Error";

/// `google.rpc.Status`, as `grpc-status-details-bin` holds it by convention.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The message to show and the details to send.
pub(super) fn encode(error: ApiError, code: Code) -> (String, Bytes) {
    let mut wire = v1::Error::from(error);
    let end = wire.message.floor_char_boundary(MESSAGE_BYTES);
    wire.message.truncate(end);
    let value = Any {
        type_url: TYPE_URL.to_owned(),
        value: wire.encode_to_vec().into(),
    };
    let status = RichStatus {
        code: code.into(),
        message: String::new(),
        details: vec![value],
    };
    (wire.message, status.encode_to_vec().into())
}

/// Our error, where the details hold one.
pub(super) fn decode(details: &[u8]) -> Option<v1::Error> {
    let status = RichStatus::decode(details).ok()?;
    let ours = (status.details.iter()).find(|any| any.type_url == TYPE_URL)?;
    v1::Error::decode(ours.value.clone()).ok()
}

impl From<ApiError> for v1::Error {
    fn from(error: ApiError) -> Self {
        Self {
            code: error.code.as_str().to_owned(),
            message: error.message,
            retry_after_ms: error.retry_after.map(ms_up).unwrap_or_default(),
            leader: error.leader,
        }
    }
}

/// A code that this version does not know reads as [`ErrorCode::Unknown`]: nothing can be concluded from it.
impl From<v1::Error> for ApiError {
    fn from(wire: v1::Error) -> Self {
        Self {
            code: ErrorCode::from_name(&wire.code).unwrap_or(ErrorCode::Unknown),
            message: wire.message,
            retry_after: if_given(wire.retry_after_ms),
            leader: wire.leader,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn error_survives_the_wire(
            code in 0..ErrorCode::ALL.len(), message in ".{0,100}",
            retry_ms in prop::option::of(1..1_000_000_u64), node_id in prop::option::of(any::<u64>()),
        ) {
            let error = ApiError {
                code: ErrorCode::ALL[code],
                message,
                retry_after: retry_ms.map(Duration::from_millis),
                leader: node_id.map(|node_id| v1::LeaderHint {
                    node_id,
                    ..v1::LeaderHint::default()
                }),
            };
            prop_assert_eq!(ApiError::from(v1::Error::from(error.clone())), error.clone());
            let (_, bytes) = encode(error.clone(), Code::Unavailable);
            prop_assert_eq!(decode(&bytes).map(ApiError::from), Some(error));
        }

        #[test]
        fn arbitrary_details_never_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn code_of_a_newer_version_concludes_nothing() {
        let wire = v1::Error {
            code: "too_hot".to_owned(),
            ..v1::Error::default()
        };
        assert_eq!(ApiError::from(wire).code, ErrorCode::Unknown);
    }

    #[test]
    fn overlong_message_is_cut_so_that_the_status_still_travels() {
        let error = ApiError::invalid("é".repeat(MESSAGE_BYTES));
        let (message, bytes) = encode(error, Code::InvalidArgument);
        assert_eq!(message.len(), MESSAGE_BYTES);
        assert!(bytes.len() < 2 * MESSAGE_BYTES);
    }

    #[test]
    fn empty_details_hold_no_error() {
        assert_eq!(decode(&[]), None);
    }
}
