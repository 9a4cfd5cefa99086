//! Exit codes that scripts can trust, and the one place where a failure is printed.

use std::fmt;
use std::process::ExitCode;

use leasehold_types::ErrorCode;

/// What the exit code says. 2 is clap's: the command line itself is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Failed = 1,
    /// No such job, queue or node.
    NotFound = 3,
    /// Exists with other content, or was changed meanwhile.
    Conflict = 4,
    /// The request does not fit the state of the thing, or a bound.
    Refused = 5,
    /// Nobody could be reached; certainly nothing was done.
    Unavailable = 6,
    /// It may have been done or not: repeat it with the same id.
    Unknown = 7,
    /// The job ended without a result.
    JobFailed = 8,
    /// The job had not ended when the wait was over.
    StillRunning = 9,
    /// A promise broke.
    BrokenPromise = 10,
}

/// The table that `--help` shows.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done                        5  refused: wrong state, or over a limit
  1  failed otherwise            6  unavailable, certainly not done
  2  wrong command line          7  unknown: repeat with the same id
  3  not found                   8  the job ended without a result
  4  exists or changed already   9  the job had not ended in time";

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { exit, message }
    }

    /// Whether it may have been done or not.
    pub(crate) fn is_unknown(&self) -> bool {
        self.exit == Exit::Unknown
    }

    /// The same failure, said as one of several things that were asked for.
    pub(crate) fn among(self, asked: usize) -> Self {
        let message = match asked {
            0 | 1 => return self,
            more if self.is_unknown() => {
                format!(
                    "not all of {more} are known to be done, one because: {}",
                    self.message
                )
            }
            more => format!("not all of {more} were done, one because: {}", self.message),
        };
        Self::new(self.exit, message)
    }

    /// Prints the message and gives the code to exit with.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.message);
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

/// The exit code of an error code.
pub(crate) const fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::NotFound => Exit::NotFound,
        ErrorCode::AlreadyExists | ErrorCode::Conflict => Exit::Conflict,
        ErrorCode::InvalidArgument
        | ErrorCode::StaleFence
        | ErrorCode::FailedPrecondition
        | ErrorCode::ResourceExhausted
        | ErrorCode::PermissionDenied
        | ErrorCode::Unsupported => Exit::Refused,
        ErrorCode::NotLeader | ErrorCode::Unavailable => Exit::Unavailable,
        ErrorCode::Unknown => Exit::Unknown,
        ErrorCode::Internal => Exit::Failed,
    }
}
