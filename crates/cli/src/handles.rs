//! How many files and connections a node may have open at once.
//!
//! A connection is a handle, and so is a file of the log or of a checkpoint. Systems start a process with a low bound, of
//! 1 024 mostly, for the sake of programs that use `select`, and with a high one that it may raise that to.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes as many as the system lets this process have.
pub(crate) fn take_all() {
    let allowed = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: allowed.maximum,
        ..allowed
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(now = allowed.current, %error, "cannot have more files and connections open");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_may_have_as_many_open_as_the_system_allows() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit {
            current: Some(100),
            ..before
        };
        setrlimit(Resource::Nofile, low).unwrap();
        take_all();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(
            (after.current, after.maximum),
            (before.maximum, before.maximum)
        );
    }
}
