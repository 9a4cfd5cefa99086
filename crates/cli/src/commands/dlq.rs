//! `dlq list|get|redrive|discard`.

use leasehold_api::v1;
use leasehold_client::{Client, Kind};
use serde::Serialize;

use super::job::{self, Listing};
use super::reach::{admin, class_on_wire, client, job_id};
use crate::args::{Connection, DlqCommand};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};
use crate::render::JobOut;

pub(crate) async fn run(command: DlqCommand) -> Result<(), Failure> {
    match command {
        DlqCommand::List {
            queue,
            class,
            limit,
            cursor,
            connection,
        } => {
            let listing = Listing {
                queue,
                tenant: None,
                state: v1::JobState::Dead,
                class: class_on_wire(class),
                limit,
                cursor,
            };
            job::list(&connection, listing).await
        }
        DlqCommand::Get { job, connection } => get(&job, &connection).await,
        DlqCommand::Redrive { jobs, connection } => each(Change::Redrive, jobs, connection).await,
        DlqCommand::Discard { jobs, connection } => each(Change::Discard, jobs, connection).await,
    }
}

async fn get(job: &str, connection: &Connection) -> Result<(), Failure> {
    let job = job::fetch(&client(connection)?, job).await?;
    if job.state() != v1::JobState::Dead {
        let job = JobOut::from(job);
        let message = format!("job {} is no dead letter, it is {}", job.job_id, job.state);
        return Err(Failure::new(Exit::Refused, message));
    }
    output::print(
        Format::from_flag(connection.json),
        &JobOut::from(job),
        JobOut::describe,
    )?;
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Redrive,
    Discard,
}

/// What became of one dead letter.
#[derive(Debug, Serialize)]
struct Done {
    job_id: String,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One after the other; a refused one does not stop the rest, but the exit code is its.
async fn each(change: Change, jobs: Vec<String>, connection: Connection) -> Result<(), Failure> {
    for job in &jobs {
        job_id(job)?;
    }
    let client = client(&connection)?;
    let (mut done, mut first_failure) = (Vec::new(), None);
    for job_id in jobs {
        let failure = one(change, &client, &job_id).await.err();
        done.push(Done {
            job_id,
            done: failure.is_none(),
            error: failure.as_ref().map(ToString::to_string),
        });
        first_failure = first_failure.or(failure);
    }
    let rows = |done: &Vec<Done>| {
        done.iter()
            .map(|one| line(change, one))
            .collect::<Vec<_>>()
            .join("\n")
    };
    output::print(Format::from_flag(connection.json), &done, rows)?;
    first_failure.map_or(Ok(()), Err)
}

fn line(change: Change, done: &Done) -> String {
    match (&done.error, change) {
        (Some(error), _) => format!("{}  not done: {error}", done.job_id),
        (None, Change::Redrive) => format!("{}  back in its queue", done.job_id),
        (None, Change::Discard) => format!("{}  removed", done.job_id),
    }
}

async fn one(change: Change, client: &Client, job_id: &str) -> Result<(), Failure> {
    match change {
        Change::Redrive => {
            let send = |channel| {
                let request = v1::RedriveRequest {
                    job_id: job_id.to_owned(),
                };
                async move { admin(channel).redrive(request).await }
            };
            client.call(Kind::Write, send).await?;
        }
        Change::Discard => {
            let send = |channel| {
                let request = v1::DiscardRequest {
                    job_id: job_id.to_owned(),
                };
                async move { admin(channel).discard(request).await }
            };
            client.call(Kind::Write, send).await?;
        }
    }
    Ok(())
}
