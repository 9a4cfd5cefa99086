//! Results that were handed in and never answered: whether they were accepted is read from the cluster.

use leasehold_client::{Client, ClientError, JobStatus};
use leasehold_types::{ErrorCode, JobId};

use super::Bench;
use super::run::Run;

/// What the cluster shows of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Done,
    /// Known, and not done.
    Open,
    /// Not known.
    Gone,
}

/// Looks for every job whose result had no answer. One that is done counts as completed from here on, so that it may
/// not be given out again. One that is not known was lost, unless it may have been done for so long that it was let go of.
/// Any other goes on waiting for a worker.
pub(super) async fn confirm(bench: &Bench, run: &Run) -> anyhow::Result<()> {
    look(bench, run, |number, shown| {
        if shown == Shown::Gone && !may_be_forgotten(bench, run) {
            run.missed(number);
        }
    })
    .await
}

/// The last look, when nothing moves any more: a job that waits for a worker still was lost too.
pub(super) async fn judge(bench: &Bench, run: &Run) -> anyhow::Result<()> {
    look(bench, run, |number, shown| {
        if shown == Shown::Open || !may_be_forgotten(bench, run) {
            run.missed(number);
        }
    })
    .await
}

fn may_be_forgotten(bench: &Bench, run: &Run) -> bool {
    run.age() >= bench.target.policy().retain
}

/// Tells of every job that is not found to be done.
async fn look(
    bench: &Bench,
    run: &Run,
    mut is_not_done: impl FnMut(u64, Shown),
) -> anyhow::Result<()> {
    let unconfirmed = run.unconfirmed();
    if unconfirmed.is_empty() {
        return Ok(());
    }
    let client = bench.target.client()?;
    for number in unconfirmed {
        match shown(&client, run, number).await? {
            Shown::Done => run.ended(number),
            other @ (Shown::Open | Shown::Gone) => is_not_done(number, other),
        }
    }
    Ok(())
}

async fn shown(client: &Client, run: &Run, number: u64) -> anyhow::Result<Shown> {
    for id in run.ids(number) {
        let id: JobId = id.parse()?;
        match client.get(id).await {
            Ok(job) if matches!(job.status, JobStatus::Done { .. }) => return Ok(Shown::Done),
            Ok(_not_done) => return Ok(Shown::Open),
            Err(ClientError::Refused(error)) if error.code == ErrorCode::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Shown::Gone)
}
