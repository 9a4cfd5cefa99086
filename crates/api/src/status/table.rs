//! Codes to gRPC codes, and statuses back to errors.

use std::error::Error as _;

use leasehold_types::ErrorCode;
use tonic::{Code, ConnectError, Status};

use super::{ApiError, details};

/// The gRPC code of each error code.
#[must_use]
pub const fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::StaleFence | ErrorCode::FailedPrecondition | ErrorCode::Unsupported => {
            Code::FailedPrecondition
        }
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::NotLeader | ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::ResourceExhausted => Code::ResourceExhausted,
        ErrorCode::Unknown => Code::DeadlineExceeded,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::Internal => Code::Internal,
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let code = grpc_code(error.code);
        let (message, details) = details::encode(error, code);
        Self::with_details(code, message, details)
    }
}

/// With our details: the very error that was sent. Without: what the gRPC code allows to be said for certain.
impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        match details::decode(status.details()) {
            Some(error) => error.into(),
            None => Self::new(bare_code(&status), bare_message(&status)),
        }
    }
}

/// Whether the request certainly never left: the connection could not be made.
#[must_use]
pub fn is_certainly_unsent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn bare_code(status: &Status) -> ErrorCode {
    if is_certainly_unsent(status) {
        return ErrorCode::Unavailable;
    }
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange => ErrorCode::InvalidArgument,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::PermissionDenied | Code::Unauthenticated => ErrorCode::PermissionDenied,
        Code::ResourceExhausted => ErrorCode::ResourceExhausted,
        Code::FailedPrecondition => ErrorCode::FailedPrecondition,
        Code::Aborted => ErrorCode::Conflict,
        Code::Unimplemented => ErrorCode::Unsupported,
        // SUBTLE: a bare UNAVAILABLE is also what a connection that broke half-way through a request gives, and a
        // bare INTERNAL what a reset stream gives: in both the request may have been done.
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => ErrorCode::Unknown,
    }
}

/// The status' message with the innermost cause, which is where the network says what happened.
fn bare_message(status: &Status) -> String {
    if status.code() == Code::Unimplemented && status.message().is_empty() {
        // What a server says of a call that its version does not have.
        return "the node does not know this call: upgrade it, or use a client of its version"
            .to_owned();
    }
    let mut innermost = None;
    let mut source = status.source();
    while let Some(error) = source {
        innermost = Some(error);
        source = error.source();
    }
    match innermost.map(ToString::to_string) {
        Some(cause) if !status.message().contains(&cause) => {
            format!("{}: {cause}", status.message())
        }
        Some(_) | None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;
    use std::time::Duration;

    #[test]
    fn every_code_has_its_grpc_code_and_comes_back_as_itself() {
        for code in ErrorCode::ALL {
            let error = ApiError::new(code, format!("trouble of kind {code}"));
            let status = Status::from(error.clone());
            assert_eq!(status.code(), grpc_code(code));
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(ApiError::from(status), error);
        }
    }

    #[test]
    fn time_and_leader_travel_with_the_status() {
        let leader = v1::LeaderHint {
            node_id: 3,
            region: "eu".to_owned(),
            address: "10.0.0.3:7101".to_owned(),
        };
        let error = ApiError::not_leader("shard s1 is led by n3", Some(leader))
            .with_retry_after(Duration::from_millis(250));
        assert_eq!(ApiError::from(Status::from(error.clone())), error);
    }

    #[test]
    fn bare_status_never_claims_certainty_that_it_does_not_have() {
        for code in [
            Code::Unavailable,
            Code::Internal,
            Code::Unknown,
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::DataLoss,
        ] {
            let error = ApiError::from(Status::new(code, "from a proxy"));
            assert_eq!(error.code, ErrorCode::Unknown, "{code}");
        }
    }

    #[test]
    fn connection_never_made_is_certainly_not_done() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(ConnectError(refused.into())));
        assert!(is_certainly_unsent(&status));
        let error = ApiError::from(status);
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert!(error.message.contains("connection refused"), "{error}");
    }

    #[test]
    fn call_that_the_other_side_does_not_have_says_what_to_do() {
        let error = ApiError::from(Status::new(Code::Unimplemented, ""));
        assert_eq!(error.code, ErrorCode::Unsupported);
        assert!(error.message.contains("upgrade"), "{error}");
    }

    #[test]
    fn bare_status_of_a_refused_request_keeps_its_meaning() {
        let code_of = |code| ApiError::from(Status::new(code, "no")).code;
        assert_eq!(code_of(Code::OutOfRange), ErrorCode::InvalidArgument);
        assert_eq!(code_of(Code::Unimplemented), ErrorCode::Unsupported);
        assert_eq!(code_of(Code::Unauthenticated), ErrorCode::PermissionDenied);
    }
}
