//! `queue create|set|get|list`.

use leasehold_api::v1;
use leasehold_client::{Client, Kind};

use super::reach::{admin, client, millis, present};
use crate::args::{Connection, PolicyArgs, QueueArgs, QueueCommand};
use crate::exit::Failure;
use crate::output::{self, Format};
use crate::render::QueueOut;

pub(crate) async fn run(command: QueueCommand) -> Result<(), Failure> {
    match command {
        QueueCommand::Create(arguments) => create(arguments).await,
        QueueCommand::Set(arguments) => set(arguments).await,
        QueueCommand::Get { name, connection } => {
            let queue = get(&client(&connection)?, &name).await?;
            show(&connection, queue)
        }
        QueueCommand::List { connection } => list(&connection).await,
    }
}

async fn create(arguments: QueueArgs) -> Result<(), Failure> {
    let request = v1::CreateQueueRequest {
        name: arguments.name,
        policy: Some(change(arguments.policy)),
    };
    let answer = client(&arguments.connection)?
        .call(Kind::Write, |channel| {
            let request = request.clone();
            async move { admin(channel).create_queue(request).await }
        })
        .await?;
    show(&arguments.connection, present(answer.queue, "queue")?)
}

/// Sets what was read a moment ago: if somebody changed it meanwhile, that is a conflict and not lost.
async fn set(arguments: QueueArgs) -> Result<(), Failure> {
    let client = client(&arguments.connection)?;
    let base = get(&client, &arguments.name).await?.index;
    let request = v1::SetQueueRequest {
        name: arguments.name,
        policy: Some(change(arguments.policy)),
        base,
    };
    let answer = client
        .call(Kind::Write, |channel| {
            let request = request.clone();
            async move { admin(channel).set_queue(request).await }
        })
        .await?;
    show(&arguments.connection, present(answer.queue, "queue")?)
}

async fn get(client: &Client, name: &str) -> Result<v1::Queue, Failure> {
    let request = v1::GetQueueRequest {
        name: name.to_owned(),
    };
    let answer = client
        .call(Kind::Read, |channel| {
            let request = request.clone();
            async move { admin(channel).get_queue(request).await }
        })
        .await?;
    present(answer.queue, "queue")
}

fn show(connection: &Connection, queue: v1::Queue) -> Result<(), Failure> {
    let format = Format::from_flag(connection.json);
    output::print(format, &QueueOut::from(queue), QueueOut::describe)?;
    Ok(())
}

async fn list(connection: &Connection) -> Result<(), Failure> {
    let answer = client(connection)?
        .call(Kind::Read, |channel| async move {
            admin(channel).list_queues(v1::ListQueuesRequest {}).await
        })
        .await?;
    let queues: Vec<QueueOut> = answer.queues.into_iter().map(QueueOut::from).collect();
    let format = Format::from_flag(connection.json);
    output::print(format, &queues, |queues| QueueOut::rows(queues))?;
    for shard in answer.missing_shards {
        eprintln!(
            "note: shard s{shard} has no leader that could be asked: its jobs are not counted"
        );
    }
    Ok(())
}

fn change(policy: PolicyArgs) -> v1::QueuePolicyChange {
    v1::QueuePolicyChange {
        tenant: policy.tenant,
        placement: None,
        lease_ms: policy.lease.map(millis),
        stall_limit_ms: policy.stall_limit.map(millis),
        attempt_limit_ms: policy.attempt_limit.map(millis),
        job_deadline_ms: policy.job_deadline.map(millis),
        requeue_on_verdict: policy.requeue_on_verdict,
        max_attempts: policy.max_attempts,
        max_losses: policy.max_losses,
        backoff_base_ms: policy.backoff_base.map(millis),
        backoff_cap_ms: policy.backoff_cap.map(millis),
        retain_done_ms: policy.retain_done.map(millis),
        retain_failed_ms: policy.retain_failed.map(millis),
        retain_keys_ms: policy.retain_keys.map(millis),
    }
}
