//! I1 and I2: an acknowledged job is not lost, and has exactly one accepted result.

use anyhow::{Context, ensure};
use leasehold_client::{Client, JobId, JobStatus, JobView};
use leasehold_core::shard::job::AttemptEnd;

/// Reads every acknowledged job back. Gives the number of jobs that ran more than once, which is allowed.
///
/// # Errors
/// The first job that is lost, unfinished, wrong, or accepted twice.
pub async fn one_accepted_result(
    client: &Client,
    acknowledged: &[(JobId, String)],
) -> anyhow::Result<usize> {
    let mut run_twice = 0;
    for (job, expected) in acknowledged {
        let view = client
            .get(*job)
            .await
            .with_context(|| format!("acknowledged job {job} is lost"))?;
        check(&view, expected)?;
        run_twice += usize::from(view.tries.granted > 1);
    }
    Ok(run_twice)
}

fn check(view: &JobView, expected: &str) -> anyhow::Result<()> {
    let JobStatus::Done { result, .. } = &view.status else {
        anyhow::bail!("job {} has no result: {:?}", view.id, view.status);
    };
    ensure!(
        result == expected,
        "job {} has result {result:?}, not {expected:?}",
        view.id
    );
    let accepted = view
        .history
        .iter()
        .filter(|attempt| attempt.end == AttemptEnd::Completed);
    let accepted = accepted.count();
    ensure!(
        accepted == 1,
        "job {} had {accepted} accepted results",
        view.id
    );
    Ok(())
}
