//! `config check`: what would be in force.

use leasehold_server::config::{Config, Overrides};

use super::serve;
use crate::args::ConfigCommand;
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn run(command: ConfigCommand) -> Result<(), Failure> {
    let ConfigCommand::Check { file } = command;
    let text = serve::read(&file)?;
    let refused = |error| {
        let error = anyhow::Error::from(error);
        Failure::new(
            Exit::Refused,
            format!("configuration {}: {error:#}", file.display()),
        )
    };
    let config =
        Config::load(Some(&text), std::env::vars(), Overrides::default()).map_err(refused)?;
    let in_force = config.to_toml().map_err(refused)?;
    output::line(&format!(
        "# {} is in order; this would be in force:\n{in_force}",
        file.display()
    ))?;
    Ok(())
}
