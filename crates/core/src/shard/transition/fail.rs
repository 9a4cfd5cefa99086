//! A worker reports that its attempt failed.

use bytes::Bytes;
use leasehold_types::limits;

use super::{Applying, cut};
use crate::retry::Fault;
use crate::shard::command::Fail;
use crate::shard::job::AttemptEnd;
use crate::shard::outcome::{Outcome, Refusal};

impl Applying<'_> {
    pub(super) fn fail(&mut self, fail: &Fail) -> Result<Outcome, Refusal> {
        self.state.held(fail.job, fail.fence)?;
        let fault = Fault::Reported {
            class: fail.class,
            retry_after: fail.retry_after,
        };
        let end = AttemptEnd::Failed {
            class: fail.class,
            message: cut(&fail.message, limits::DETAIL_BYTES).into(),
            detail: tail(&fail.detail),
        };
        Ok(self.end_by_fault(fail.job, fault, end))
    }
}

/// The end of what the worker sent, which is where an error output says what was wrong.
fn tail(detail: &Bytes) -> Bytes {
    let from = detail.len().saturating_sub(limits::DETAIL_BYTES);
    Bytes::copy_from_slice(&detail[from..])
}
