//! `cluster status`.

use leasehold_api::v1;
use leasehold_client::Kind;

use super::reach::{admin, client};
use crate::args::ClusterCommand;
use crate::exit::Failure;
use crate::output::{self, Format};
use crate::render::ClusterOut;

pub(crate) async fn run(command: ClusterCommand) -> Result<(), Failure> {
    let ClusterCommand::Status { connection } = command;
    let status = client(&connection)?
        .call(Kind::Read, |channel| async move {
            admin(channel)
                .cluster_status(v1::ClusterStatusRequest {})
                .await
        })
        .await?;
    let format = Format::from_flag(connection.json);
    output::print(format, &ClusterOut::from(status), ClusterOut::describe)?;
    Ok(())
}
