//! `job submit|get|wait|list|cancel`.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use leasehold_api::v1;
use leasehold_client::{Client, ClientError, Job, JobHandle, Kind};
use leasehold_types::limits;
use serde::Serialize;

use super::reach::{client, job_id, jobs, or_empty, page, present};
use crate::args::{Connection, JobCommand, ListArgs, StateArg, SubmitArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};
use crate::render::{JobOut, job_rows};

pub(crate) async fn run(command: JobCommand) -> Result<(), Failure> {
    match command {
        JobCommand::Submit(arguments) => submit(arguments).await,
        JobCommand::Get {
            job,
            result,
            payload,
            connection,
        } => get(&job, result, payload, &connection).await,
        JobCommand::Wait {
            job,
            wait_for,
            connection,
        } => wait(&client(&connection)?, &job, wait_for, &connection).await,
        JobCommand::List(arguments) => list_jobs(arguments).await,
        JobCommand::Cancel {
            job,
            reason,
            connection,
        } => cancel(job, reason, &connection).await,
    }
}

/// How long `submit --wait` waits: the queue's own deadline ends the job long before.
const WAIT_WITH_SUBMIT: Duration = Duration::from_secs(24 * 3600);

async fn submit(arguments: SubmitArgs) -> Result<(), Failure> {
    let connection = arguments.connection.clone();
    let client = client(&connection)?;
    let (names, payloads): (Vec<_>, Vec<_>) = payloads(&arguments)?.into_iter().unzip();
    let jobs = payloads
        .into_iter()
        .map(|payload| job(&arguments, payload))
        .collect();
    let results = client.submit_many(jobs).await;
    let named = names.into_iter().zip(results);
    let (results, failures): (Vec<_>, Vec<_>) = named.map(submitted).unzip();
    if let (true, [only]) = (arguments.wait, results.as_slice())
        && let Some(job_id) = &only.job_id
    {
        eprintln!("submitted {job_id}");
        return wait(&client, job_id, WAIT_WITH_SUBMIT, &connection).await;
    }
    let ids = |results: &Vec<SubmitOut>| {
        let ids = results.iter().filter_map(|one| one.job_id.as_deref());
        ids.collect::<Vec<_>>().join("\n")
    };
    if connection.json || results.iter().any(|one| one.job_id.is_some()) {
        output::print(Format::from_flag(connection.json), &results, ids)?;
    }
    all_of(results, failures.into_iter().flatten().collect())
}

/// One failure is said as it is; of several, each is said with its file before one of them decides the exit code.
fn all_of(results: Vec<SubmitOut>, failures: Vec<Failure>) -> Result<(), Failure> {
    if results.len() > 1 {
        let failed = results
            .iter()
            .filter_map(|one| Some((one.file.as_ref()?, one.error.as_ref()?)));
        failed.for_each(|(file, error)| eprintln!("file {file}: {error}"));
    }
    match gravest(failures) {
        None => Ok(()),
        Some(failure) => Err(failure.among(results.len())),
    }
}

/// The first one; but before all others one that leaves open whether anything was done. Under the code of another a
/// script would take it for certain that nothing was, and submit it a second time.
fn gravest(mut failures: Vec<Failure>) -> Option<Failure> {
    let unknown = failures.iter().position(Failure::is_unknown);
    let at = unknown.unwrap_or(0);
    (at < failures.len()).then(|| failures.swap_remove(at))
}

type Submission = (Option<String>, Result<JobHandle, ClientError>);

fn submitted((file, result): Submission) -> (SubmitOut, Option<Failure>) {
    let (job_id, repeated, error) = match &result {
        Ok(job) => (Some(job.id().to_string()), job.is_repeated(), None),
        Err(error) => (None, false, Some(error.to_string())),
    };
    let out = SubmitOut {
        job_id,
        repeated,
        file,
        error,
    };
    (out, result.err().map(Failure::from))
}

/// What became of one submit.
#[derive(Debug, Serialize)]
struct SubmitOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    repeated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What became of a cancel.
#[derive(Debug, Serialize)]
struct CancelOut {
    job_id: String,
    repeated: bool,
}

/// Each payload, with its file where it is one.
fn payloads(arguments: &SubmitArgs) -> Result<Vec<(Option<String>, Bytes)>, Failure> {
    if let Some(text) = &arguments.payload {
        return Ok(vec![(None, Bytes::from(text.clone()))]);
    }
    if arguments.file.is_empty() {
        let most = limits::INLINE_BYTES as u64 + 1;
        let mut payload = Vec::new();
        let mut input = std::io::stdin().take(most);
        input.read_to_end(&mut payload).context("standard input")?;
        return Ok(vec![(None, payload.into())]);
    }
    let read = |path: &std::path::PathBuf| {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("file {name}"))?;
        Ok((Some(name), Bytes::from(bytes)))
    };
    let files = arguments.file.iter().map(read);
    Ok(files.collect::<anyhow::Result<_>>()?)
}

fn job(arguments: &SubmitArgs, payload: Bytes) -> Job {
    let mut job = Job::new(arguments.queue.clone(), payload).priority(arguments.priority);
    if let Some(tenant) = &arguments.tenant {
        job = job.tenant(tenant.clone());
    }
    if let Some(key) = &arguments.key {
        job = job.key(key.clone());
    }
    if let Some(delay) = arguments.delay {
        job = job.delay(delay);
    }
    if let Some(deadline) = arguments.deadline {
        job = job.deadline(deadline);
    }
    for (name, value) in &arguments.labels {
        job = job.label(name.clone(), value.clone());
    }
    for (name, least) in &arguments.capacity {
        job = job.capacity(name.clone(), *least);
    }
    job
}

/// One job with everything.
pub(crate) async fn fetch(client: &Client, job: &str) -> Result<v1::Job, Failure> {
    job_id(job)?;
    let answer = client
        .call(Kind::Read, |channel| {
            let request = v1::GetRequest {
                job_id: job.to_owned(),
            };
            async move { jobs(channel).get(request).await }
        })
        .await?;
    present(answer.job, "job")
}

async fn get(
    job: &str,
    result: bool,
    payload: bool,
    connection: &Connection,
) -> Result<(), Failure> {
    let job = fetch(&client(connection)?, job).await?;
    if payload {
        return raw(&job.payload);
    }
    if result {
        return match &job.done {
            Some(done) => raw(&done.result),
            None => Err(without_result(&job)),
        };
    }
    output::print(
        Format::from_flag(connection.json),
        &JobOut::from(job),
        JobOut::describe,
    )?;
    Ok(())
}

fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

fn without_result(job: &v1::Job) -> Failure {
    let exit = match job.ended {
        Some(_) => Exit::JobFailed,
        None => Exit::StillRunning,
    };
    let job = JobOut::from(job.clone());
    let why = job
        .ended
        .as_ref()
        .map_or(String::new(), |ended| format!(": {}", ended.reason));
    Failure::new(
        exit,
        format!("job {} has no result, it is {}{why}", job.job_id, job.state),
    )
}

async fn wait(
    client: &Client,
    job: &str,
    within: Duration,
    connection: &Connection,
) -> Result<(), Failure> {
    client.wait(job_id(job)?, within).await?;
    let job = fetch(client, job).await?;
    if connection.json {
        output::print(Format::Json, &JobOut::from(job.clone()), JobOut::describe)?;
    }
    match (&job.done, connection.json) {
        (Some(_), true) => Ok(()),
        (Some(done), false) => raw(&done.result),
        (None, _) => Err(without_result(&job)),
    }
}

/// Which page of which jobs.
pub(crate) struct Listing {
    pub(crate) queue: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) state: v1::JobState,
    pub(crate) class: i32,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<String>,
}

/// One page, as `--json` prints it.
#[derive(Debug, Serialize)]
struct PageOut {
    jobs: Vec<JobOut>,
    #[serde(skip_serializing_if = "String::is_empty")]
    cursor: String,
}

async fn list_jobs(arguments: ListArgs) -> Result<(), Failure> {
    let listing = Listing {
        queue: arguments.queue,
        tenant: arguments.tenant,
        state: arguments
            .state
            .map_or(v1::JobState::Unspecified, v1::JobState::from),
        class: i32::from(v1::FailureClass::Unspecified),
        limit: arguments.limit,
        cursor: arguments.cursor,
    };
    list(&arguments.connection, listing).await
}

pub(crate) async fn list(connection: &Connection, listing: Listing) -> Result<(), Failure> {
    let request = v1::ListRequest {
        queue: or_empty(listing.queue),
        tenant: or_empty(listing.tenant),
        state: i32::from(listing.state),
        class: listing.class,
        cursor: or_empty(listing.cursor),
        limit: page(listing.limit),
    };
    let answer = client(connection)?
        .call(Kind::Read, |channel| {
            let request = request.clone();
            async move { jobs(channel).list(request).await }
        })
        .await?;
    let page = PageOut {
        jobs: answer.jobs.into_iter().map(JobOut::from).collect(),
        cursor: answer.cursor,
    };
    output::print(Format::from_flag(connection.json), &page, |page| {
        job_rows(&page.jobs)
    })?;
    if !connection.json && !page.cursor.is_empty() {
        eprintln!("more: --cursor {}", page.cursor);
    }
    Ok(())
}

async fn cancel(job: String, reason: String, connection: &Connection) -> Result<(), Failure> {
    job_id(&job)?;
    let request = v1::CancelRequest {
        job_id: job.clone(),
        reason,
    };
    let answer = client(connection)?
        .call(Kind::Write, |channel| {
            let request = request.clone();
            async move { jobs(channel).cancel(request).await }
        })
        .await?;
    let out = CancelOut {
        job_id: job,
        repeated: answer.repeated,
    };
    let words = |out: &CancelOut| match out.repeated {
        true => format!("{} was cancelled before", out.job_id),
        false => format!("{} is cancelled", out.job_id),
    };
    output::print(Format::from_flag(connection.json), &out, words)?;
    Ok(())
}

impl From<StateArg> for v1::JobState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Waiting => Self::Waiting,
            StateArg::Ready => Self::Ready,
            StateArg::Leased => Self::Leased,
            StateArg::Done => Self::Done,
            StateArg::Cancelled => Self::Cancelled,
            StateArg::Dead => Self::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_of_unknown_outcome_decides_the_exit_code_of_several() {
        let failure = |exit, why| Failure::new(exit, why);
        let failures = vec![
            failure(Exit::Unavailable, "a"),
            failure(Exit::Unknown, "b"),
            failure(Exit::Unknown, "c"),
        ];
        let gravest = gravest(failures).unwrap();
        assert!(gravest.is_unknown() && gravest.to_string() == "b");
    }

    #[test]
    fn first_failure_decides_where_all_are_certain() {
        let failures = vec![
            Failure::new(Exit::Unavailable, "a"),
            Failure::new(Exit::Refused, "b"),
        ];
        assert_eq!(gravest(failures).unwrap().to_string(), "a");
        assert!(gravest(Vec::new()).is_none());
    }
}
