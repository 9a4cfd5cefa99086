//! `shard list`.

use leasehold_api::v1;
use leasehold_client::Kind;

use super::reach::{admin, client};
use crate::args::ShardCommand;
use crate::exit::Failure;
use crate::output::{self, Format};
use crate::render::ShardOut;

pub(crate) async fn run(command: ShardCommand) -> Result<(), Failure> {
    let ShardCommand::List { connection } = command;
    let answer = client(&connection)?
        .call(Kind::Read, |channel| async move {
            admin(channel).list_shards(v1::ListShardsRequest {}).await
        })
        .await?;
    let shards: Vec<ShardOut> = answer.shards.into_iter().map(ShardOut::from).collect();
    let format = Format::from_flag(connection.json);
    output::print(format, &shards, |shards| ShardOut::rows(shards))?;
    Ok(())
}
