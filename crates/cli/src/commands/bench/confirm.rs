//! Results that were handed in and never answered: whether they were accepted is read from the cluster.

use leasehold_client::{ClientError, JobStatus};
use leasehold_types::{ErrorCode, JobId};

use super::Bench;
use super::run::Run;

/// Looks for every job whose result had no answer. One that is done counts as completed from here on, so that it may
/// not be given out again; any other goes on waiting for a worker.
pub(super) async fn confirm(bench: &Bench, run: &Run) -> anyhow::Result<()> {
    let client = bench.target.client()?;
    for number in run.unconfirmed() {
        for id in run.ids(number) {
            let id: JobId = id.parse()?;
            match client.get(id).await {
                Ok(job) if matches!(job.status, JobStatus::Done { .. }) => run.ended(number),
                Ok(_still_open) => {}
                Err(ClientError::Refused(error)) if error.code == ErrorCode::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
