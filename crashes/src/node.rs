//! The child: one real node over a disk that crashes, until it is told to die or its driver is gone.

use std::convert::Infallible;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use leasehold_server::config::Config;
use leasehold_server::node::Node;
use leasehold_server::seam::Seam;
use leasehold_server::telemetry;
use rustix::process::{Signal, getpid, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::args::NodeArgs;
use crate::control::{Command, Event, parse_order};
use crate::disk::{CrashingDisk, CrashingDiskOptions};

/// Runs until the node cannot go on, and ends the process: what it has on its threads does not matter any more.
pub(crate) async fn run(arguments: NodeArgs) -> ! {
    let Err(error) = live(arguments).await;
    eprintln!("error: {error:#}");
    std::process::exit(2)
}

async fn live(arguments: NodeArgs) -> anyhow::Result<Infallible> {
    let config = load(&arguments)?;
    telemetry::install(&config.log)?;
    let disk = open_disk(&arguments, config.data.clone())?;
    if let Some(order) = &arguments.arm {
        let order = parse_order(order).with_context(|| format!("no point for order {order:?}"))?;
        disk.arm(order);
    }
    tokio::spawn(obey(disk.clone()));
    let node = Node::start(config, Seam::system(Arc::new(disk))).await?;
    node.ready().await;
    say(&Event::Ready);
    Err(node.wait().await.into())
}

fn load(arguments: &NodeArgs) -> anyhow::Result<Config> {
    let file = &arguments.config;
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("configuration {}", file.display()))?;
    let mut config = Config::from_toml(&text)?;
    config.init = arguments.init;
    config.validate()?;
    Ok(config)
}

fn open_disk(arguments: &NodeArgs, folder: PathBuf) -> anyhow::Result<CrashingDisk> {
    CrashingDisk::open(CrashingDiskOptions {
        yard: folder.with_extension("yard"),
        folder,
        syncs_behind: arguments.syncs_behind,
        seed: arguments.seed,
        die: Box::new(die),
    })
}

/// The last thing that the process does.
fn die(why: &str) {
    say(&Event::Dying(why.to_owned()));
    // The kernel takes the process before the call returns, or right after it.
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

fn say(event: &Event) {
    let mut out = std::io::stdout().lock();
    // A driver that is gone is noticed by the input that ends.
    let _ = writeln!(out, "{}", event.line()).and_then(|()| out.flush());
}

async fn obey(disk: CrashingDisk) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match Command::parse(&line) {
            Some(Command::Arm(order)) => disk.arm(order),
            Some(Command::Disarm) if disk.disarm() => say(&Event::Disarmed),
            // It is dying, and says so itself.
            Some(Command::Disarm) => {}
            Some(Command::Crash(flavour)) => disk.crash(flavour),
            None => eprintln!("no command: {line:?}"),
        }
    }
    // Without a driver there is nobody to run for.
    std::process::exit(0);
}
