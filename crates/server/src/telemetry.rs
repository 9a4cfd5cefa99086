//! What a node writes about itself: one line an event, on standard error, for people or for programs.
//!
//! Standard output stays free for the commands of the same binary. Installed once per process; a second node in the
//! same process (the demo runs three) writes into the same lines, told apart by their `node` span.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat};

/// Libraries that warn at every heartbeat to a node that is down, which this crate reports once. A filter that names
/// them has its way.
const QUIET: &str = "openraft=error,h2=warn,hyper_util=warn,tower=warn";

/// Why a node cannot write its log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log.level {given:?} is no filter: give a level such as info, or target=level pairs")]
    Filter {
        /// What was given.
        given: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else in this process writes the log already.
    #[error("the log of this process is set up already: set it up once, before the first node")]
    Installed(#[source] TryInitError),
}

/// Starts writing events at or above the configured level. Call once, before the first node starts.
///
/// # Errors
/// [`TelemetryError`]: a filter that cannot be read, or a second call.
pub fn install(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = filter(&config.level)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let installed = match config.format {
        LogFormat::Text => lines
            .with_ansi(std::io::stderr().is_terminal())
            .finish()
            .try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    installed.map_err(TelemetryError::Installed)
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|source| TelemetryError::Filter {
        given: level.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noisy_library_is_heard_when_it_is_asked_for() {
        let quiet = filter("info").unwrap().to_string();
        assert!(quiet.contains("openraft=error"), "{quiet}");
        let asked = filter("openraft=debug").unwrap().to_string();
        assert!(asked.contains("openraft=debug"), "{asked}");
        assert!(!asked.contains("openraft=error"), "{asked}");
    }

    #[test]
    fn filter_that_cannot_be_read_is_refused_with_what_was_given() {
        assert!(filter("leasehold_server=debug,info").is_ok());
        let error = filter("leasehold_server=loud").unwrap_err().to_string();
        assert!(error.contains("leasehold_server=loud"), "{error}");
    }
}
