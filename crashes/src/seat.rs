//! One node's place: its ports, its folder, and the process that has it at the moment.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Process};
use tokio::sync::mpsc;

use crate::clock::now;
use crate::control::{Command, Event, order_text};
use crate::disk::Order;
use crate::violation::Violation;

/// Longest that a node may take to be ready.
const READY: Duration = Duration::from_secs(90);
/// Longest that a node may take to say that it has forgotten its order, or to die of it.
const ANSWER: Duration = Duration::from_secs(30);
/// Lines of a node's log that go into a violation.
const TAIL: usize = 12;

/// See the module.
pub(crate) struct Seat {
    pub(crate) name: &'static str,
    pub(crate) client: String,
    pub(crate) peer: String,
    pub(crate) folder: PathBuf,
    /// Whether this node founds the cluster.
    pub(crate) is_founder: bool,
    pub(crate) syncs_behind: usize,
    /// Decides, with the number of the start, what power failures take.
    pub(crate) seed: u64,
    pub(crate) process: Option<Running>,
    /// Processes that were started here so far.
    pub(crate) starts: u32,
}

/// A process.
pub(crate) struct Running {
    child: Child,
    input: ChildStdin,
    events: mpsc::UnboundedReceiver<Event>,
    started: Instant,
}

/// What a process came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It takes work, after so long.
    Ready(Duration),
    /// It died as it was told to.
    Died(String),
}

impl Seat {
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// Decides what a power failure of the present process takes: another thing at every start of every node.
    pub(crate) fn loss_seed(&self) -> u64 {
        self.seed.wrapping_add(u64::from(self.starts))
    }

    /// Starts the node's next process.
    pub(crate) fn start(&mut self, order: Option<Order>) -> anyhow::Result<()> {
        self.starts += 1;
        let mut process = Process::new(std::env::current_exe()?);
        process.args(["node", "--config"]).arg(self.config());
        process.args(["--seed", &self.loss_seed().to_string()]);
        process.args(["--syncs-behind", &self.syncs_behind.to_string()]);
        // A founding that was cut short goes on; one that is done must not be begun again.
        if self.is_founder && !self.data().join("identity").exists() {
            process.arg("--init");
        }
        if let Some(order) = order {
            process.args(["--arm", &order_text(order)]);
        }
        self.process = Some(spawn(process, &self.log())?);
        Ok(())
    }

    /// Waits until the node is ready, or dies as it was told to.
    pub(crate) async fn reach(&mut self) -> Result<Reached, Violation> {
        let Some(process) = &mut self.process else {
            return Ok(Reached::Died("it was not started".to_owned()));
        };
        match tokio::time::timeout(READY, process.events.recv()).await {
            Ok(Some(Event::Ready | Event::Disarmed)) => {
                Ok(Reached::Ready(process.started.elapsed()))
            }
            Ok(Some(Event::Dying(why))) => {
                self.bury().await;
                Ok(Reached::Died(why))
            }
            Ok(None) => Err(self.ended().await),
            Err(_) => Err(Violation::Stuck {
                what: format!("node {} was not ready: {}", self.name, self.tail()),
                seconds: READY.as_secs(),
            }),
        }
    }

    /// Waits until the node dies as it was told to; none when it does not in time.
    pub(crate) async fn death(&mut self, limit: Duration) -> Result<Option<String>, Violation> {
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        let dying = async {
            loop {
                match process.events.recv().await {
                    Some(Event::Ready | Event::Disarmed) => {}
                    Some(Event::Dying(why)) => return Some(why),
                    None => return None,
                }
            }
        };
        match tokio::time::timeout(limit, dying).await {
            Ok(Some(why)) => {
                self.bury().await;
                Ok(Some(why))
            }
            Ok(None) => Err(self.ended().await),
            Err(_) => Ok(None),
        }
    }

    /// Makes the node forget its order. Why it died, where the order came first.
    pub(crate) async fn disarm(&mut self) -> Result<Option<String>, Violation> {
        self.tell(Command::Disarm).await;
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        let answer = async {
            loop {
                match process.events.recv().await {
                    Some(Event::Ready) => {}
                    answer => return answer,
                }
            }
        };
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Some(Event::Dying(why))) => {
                self.bury().await;
                Ok(Some(why))
            }
            Ok(Some(Event::Disarmed | Event::Ready)) => Ok(None),
            Ok(None) => Err(self.ended().await),
            Err(_) => Err(Violation::Stuck {
                what: format!("node {} did not answer: {}", self.name, self.tail()),
                seconds: ANSWER.as_secs(),
            }),
        }
    }

    /// Tells the node something. One that is dead already does not hear it, which shows elsewhere.
    pub(crate) async fn tell(&mut self, command: Command) {
        if let Some(process) = &mut self.process {
            let line = format!("{}\n", command.line());
            let _ = process.input.write_all(line.as_bytes()).await;
        }
    }

    /// SIGKILL, from outside.
    pub(crate) async fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.child.start_kill();
        }
        self.bury().await;
    }

    /// Whether the process ended, though nobody told it to.
    pub(crate) async fn check_alive(&mut self) -> Result<(), Violation> {
        let ended = match &mut self.process {
            Some(process) => matches!(process.child.try_wait(), Ok(Some(_))),
            None => false,
        };
        if ended {
            Err(self.ended().await)
        } else {
            Ok(())
        }
    }

    async fn bury(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.child.wait().await;
        }
    }

    async fn ended(&mut self) -> Violation {
        self.bury().await;
        Violation::NodeEnded {
            node: self.name.to_owned(),
            log: self.tail(),
        }
    }

    /// The last that the node said.
    fn tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n  ")
    }
}

fn spawn(mut process: Process, log: &Path) -> anyhow::Result<Running> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("log {}", log.display()))?;
    let mut child = process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .context("starting a node")?;
    let input = child.stdin.take().context("a node without input")?;
    let output = child.stdout.take().context("a node without output")?;
    let (events, heard) = mpsc::unbounded_channel();
    tokio::spawn(listen(output, events));
    Ok(Running {
        child,
        input,
        events: heard,
        started: now(),
    })
}

async fn listen(output: ChildStdout, events: mpsc::UnboundedSender<Event>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(event) = Event::parse(&line) {
            let _ = events.send(event);
        }
    }
}
