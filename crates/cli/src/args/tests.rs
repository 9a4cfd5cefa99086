//! The command line as a whole.

use super::*;
use clap::CommandFactory;

#[test]
fn command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn times_are_taken_as_people_write_them() {
    assert_eq!(time("1h 30m"), Ok(Duration::from_secs(5400)));
    assert_eq!(time("0"), Ok(Duration::ZERO));
    assert!(time("30").unwrap_err().contains("unit"));
}
