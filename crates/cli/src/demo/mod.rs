//! `demo`: three regions on this machine take real work, lose one to SIGKILL, and finish every job exactly once.

mod cluster;
mod documents;
mod flow;
mod late;
mod processes;
mod report;
mod view;

use std::path::PathBuf;

use anyhow::Context;

use crate::args::DemoArgs;
use crate::commands::StopSignals;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};
use report::Report;

/// Length of a lease in the demo: the floor of `lan` timings.
const LEASE: std::time::Duration = leasehold_types::limits::LEASE_MIN_LAN;
const QUEUE: &str = "documents";
/// Most jobs at the same time in each region.
const SLOTS_MAX: u32 = 8;

pub(crate) async fn run(arguments: DemoArgs) -> Result<(), Failure> {
    let documents = match &arguments.folder {
        Some(folder) => documents::read_folder(folder)?,
        None => documents::generate(arguments.jobs, arguments.seed),
    };
    let (root, _held) = root(arguments.keep)?;
    let mut stop = StopSignals::listen()?;
    let demo = Box::pin(flow::run(&root, documents));
    let report = tokio::select! {
        biased;
        () = stop.received() => return Err(Failure::new(Exit::Failed, "stopped before its end")),
        report = demo => report?,
    };
    output::print(Format::from_flag(arguments.json), &report, Report::table)?;
    verdict(&report)
}

/// The folder that is kept, or one that goes with the value beside it.
fn root(keep: Option<PathBuf>) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    if let Some(folder) = keep {
        std::fs::create_dir_all(&folder).with_context(|| format!("folder {}", folder.display()))?;
        return Ok((folder, None));
    }
    let folder = tempfile::Builder::new()
        .prefix("leasehold-demo-")
        .tempdir()?;
    Ok((folder.path().to_owned(), Some(folder)))
}

fn verdict(report: &Report) -> Result<(), Failure> {
    let broken = report.broken_promises();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::BrokenPromise, broken.join("; ")))
}
