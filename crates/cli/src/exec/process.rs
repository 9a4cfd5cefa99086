//! Running one command to its end, or killing it.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use leasehold_types::limits;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

/// What to run, and for which job.
#[derive(Debug, Clone)]
pub(crate) struct Launch<'a> {
    pub(crate) command: &'a [String],
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) payload: Bytes,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Signalled(i32),
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) end: End,
    /// At most `limits::INLINE_BYTES`; complete only if `stdout_bytes` says so.
    pub(crate) stdout: Bytes,
    pub(crate) stdout_bytes: u64,
    /// The last `limits::DETAIL_BYTES`.
    pub(crate) stderr_tail: Bytes,
}

/// Runs the command. Dropping the future kills its whole process group.
///
/// `progress` is called with the number of bytes just read from stdout or stderr.
///
/// # Errors
/// When the command cannot be started, or its pipes break.
pub(crate) async fn run(
    launch: Launch<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<Finished> {
    let mut child = spawn(&launch)?;
    let group = GroupGuard::of(&child);
    let stdin = child.stdin.take();
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("stdout is not piped"))?;
    let stderr = child
        .stderr
        .take()
        .ok_or_else(|| io::Error::other("stderr is not piped"))?;
    // Whatever the command left running goes with it, or its pipes would stay open.
    let ended = async {
        let status = child.wait().await;
        drop(group);
        status
    };
    let ((), out, err, status) = tokio::try_join!(
        feed(stdin, launch.payload),
        collect(stdout, Keep::Head(limits::INLINE_BYTES), progress),
        collect(stderr, Keep::Tail(limits::DETAIL_BYTES), progress),
        ended,
    )?;
    Ok(Finished {
        end: end_of(status),
        stdout: out.kept.into(),
        stdout_bytes: out.bytes,
        stderr_tail: err.kept.into(),
    })
}

fn spawn(launch: &Launch<'_>) -> io::Result<Child> {
    let (program, arguments) = (launch.command.split_first())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    Command::new(program)
        .args(arguments)
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Kills the process group when dropped: what the command started must not outlive its lease.
struct GroupGuard(Option<Pid>);

/// Every group that runs now, for an end in a hurry.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every command that runs, with its children. For a process that is about to end.
pub(crate) fn kill_all() {
    for group in running().iter().copied().filter_map(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl GroupGuard {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        running().extend(id);
        Self(id.and_then(Pid::from_raw))
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group is gone already when every process in it has ended: that is the usual case.
            let _ = kill_process_group(group, Signal::KILL);
            running().remove(&group.as_raw_nonzero().get());
        }
    }
}

/// A command may end, or close its stdin, without reading all of the payload: that is its own business.
async fn feed(stdin: Option<ChildStdin>, payload: Bytes) -> io::Result<()> {
    let Some(mut stdin) = stdin else {
        return Ok(());
    };
    match stdin.write_all(&payload).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum Keep {
    Head(usize),
    Tail(usize),
}

struct Collected {
    kept: Vec<u8>,
    bytes: u64,
}

async fn collect(
    mut pipe: impl AsyncRead + Unpin,
    keep: Keep,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<Collected> {
    let mut kept = Vec::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = pipe.read(&mut buffer).await?;
        if read == 0 {
            return Ok(Collected { kept, bytes });
        }
        bytes += read as u64;
        progress(read as u64);
        store(&mut kept, &buffer[..read], keep);
    }
}

fn store(kept: &mut Vec<u8>, news: &[u8], keep: Keep) {
    match keep {
        Keep::Head(most) => kept.extend_from_slice(&news[..news.len().min(most - kept.len())]),
        Keep::Tail(most) => {
            kept.extend_from_slice(news);
            let excess = kept.len().saturating_sub(most);
            kept.drain(..excess);
        }
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    async fn shell(script: &str, payload: &'static [u8]) -> (Finished, u64) {
        let command = ["sh", "-c", script].map(str::to_owned);
        let launch = Launch {
            command: &command,
            environment: vec![("LEASEHOLD_ATTEMPT", "2".to_owned())],
            payload: Bytes::from_static(payload),
        };
        let seen = AtomicU64::new(0);
        let progress = |bytes| {
            seen.fetch_add(bytes, Ordering::Relaxed);
        };
        let finished = run(launch, &progress).await.unwrap();
        (finished, seen.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn payload_goes_in_result_comes_out_and_bytes_count_as_progress() {
        let (finished, seen) =
            shell("cat; echo $LEASEHOLD_ATTEMPT; echo oh >&2; exit 3", b"in ").await;
        assert_eq!(finished.end, End::Exited(3));
        assert_eq!(finished.stdout, "in 2\n");
        assert_eq!(finished.stderr_tail, "oh\n");
        assert_eq!(seen, 8);
    }

    #[tokio::test]
    async fn command_that_ignores_its_payload_still_succeeds() {
        let big = vec![b'x'; 1 << 20].leak();
        let (finished, _) = shell("exec 0<&-; echo fine", big).await;
        assert_eq!(finished.stdout, "fine\n");
    }

    #[tokio::test]
    async fn long_output_is_counted_whole_but_kept_to_its_limit() {
        let (finished, _) = shell(
            "head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2",
            b"",
        )
        .await;
        assert_eq!(finished.stdout_bytes, 100_000);
        assert_eq!(finished.stdout.len(), limits::INLINE_BYTES);
        assert_eq!(finished.stderr_tail.len(), limits::DETAIL_BYTES);
    }

    #[tokio::test]
    async fn dropping_the_run_kills_the_command_and_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let script = format!(
            "mkfifo {0}; (exec 3>{0}; echo up >&3; exec sleep 600) & wait",
            pipe.display()
        );
        let command = ["sh".to_owned(), "-c".to_owned(), script];
        let launch = Launch {
            command: &command,
            environment: Vec::new(),
            payload: Bytes::new(),
        };
        let progress = |_| {};
        let running = run(launch, &progress);
        let watch = async {
            while !pipe.exists() {
                tokio::task::yield_now().await;
            }
            let mut reader = tokio::fs::File::open(&pipe).await.unwrap();
            let mut up = [0; 3];
            reader.read_exact(&mut up).await.unwrap();
            reader
        };
        let mut reader = tokio::select! {
            _ = running => unreachable!("the command sleeps"),
            reader = watch => reader,
        };
        // The grandchild held the pipe open: its end proves that the grandchild is gone.
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
    }
}
