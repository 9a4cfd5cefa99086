//! `worker exec`: one process a job.
//!
//! The payload goes to the command's stdin, its stdout is the result, its stderr is kept with the attempt, its exit
//! code says what kind of failure it was. Output counts as progress. The command runs in a process group of its own,
//! which is killed whole when the lease is gone.

mod process;
mod verdict;

pub(crate) use process::{Launch, kill_all, run};
pub(crate) use verdict::{ExitRules, exit_rule, failure_class, verdict};

/// What `--help` says about commands.
pub(crate) const HELP: &str = "\
The command gets the payload on stdin and these variables: LEASEHOLD_JOB_ID, LEASEHOLD_QUEUE,
LEASEHOLD_ATTEMPT, LEASEHOLD_FENCE. What it writes to stdout is the result (64 KiB at most); what it
writes to stderr is kept with the attempt (the last 8 KiB). Every byte of either counts as progress.
It is killed, with its children, when its lease or time limit runs out.

What its exit code means:
  0            done
  64, 65, 126  permanent: this input will fail every time
  69, 127      infrastructure: not the job's fault
  75           transient: try again
  77           policy: refused
  others       transient; change any with --exit CODE=CLASS
  a signal     transient";
