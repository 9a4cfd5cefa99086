//! The points at which a node can be made to crash, as data: what is done, to which file, and on which side of it.
//!
//! A point is one line of [`POINTS`]. A new kind of file gets its points by adding lines; nothing else knows file names.
//! A point that a node never passes costs a moment of waiting and is then chosen less often, so lines for files that
//! only some versions write do no harm.

use std::fmt;

/// What a node does to a file or to its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Open,
    Create,
    Read,
    Write,
    Sync,
    SetLength,
    Rename,
    Remove,
    SyncFolder,
}

/// On which side of the operation the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    /// In the middle of a write: a first part of it is done.
    Halfway,
    After,
}

/// In which part of its life a node has to be for the point to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The very first start in an empty folder.
    FirstStart,
    /// Any later start: recovery.
    Start,
    /// A later start of one node of several, after the others went on for a while without it.
    CatchUp,
    /// Under load.
    Running,
}

/// One place in a node's life at which it can be made to crash.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    pub(crate) stage: Stage,
    /// Which operations count; none: all of them.
    operations: &'static [Operation],
    /// Names of files, with at most one star each. A rename has both names, a sync of the folder those of all changes
    /// that it makes durable.
    files: &'static [&'static str],
    age: Age,
    pub(crate) moment: Moment,
    /// The crash comes at the first to this many-th matching operation.
    pub(crate) nth_max: u32,
}

/// Whether the file's name is durable yet: what is written before is preparation, such as zeros ahead of their use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Any,
    New,
    Settled,
}

use Moment::{After, Before, Halfway};
use Operation::{Create, Read, Remove, Rename, SetLength, Sync, SyncFolder, Write};
use Stage::{CatchUp, FirstStart, Running, Start};

const SEGMENT: &[&str] = &["log-*.seg"];
const LOG_START: &[&str] = &["log-start", "log-start.tmp"];
const SNAPSHOT: &[&str] = &["snapshot-*"];
const CHECKPOINT: &[&str] = &["checkpoint-*"];
const INCOMING: &[&str] = &["checkpoint-*.incoming"];
const NOTE: &[&str] = &["node.toml", "node.toml.tmp"];
const FORMAT: &[&str] = &["FORMAT", "FORMAT.tmp"];
const IDENTITY: &[&str] = &["identity", "identity.tmp"];
const BOOTS: &[&str] = &["boots", "boots.tmp"];
const ANY: &[&str] = &["*"];

const fn point(
    name: &'static str,
    stage: Stage,
    (operations, files): (&'static [Operation], &'static [&'static str]),
    moment: Moment,
    nth_max: u32,
) -> Point {
    Point {
        name,
        stage,
        operations,
        files,
        age: Age::Any,
        moment,
        nth_max,
    }
}

const fn new(point: Point) -> Point {
    Point {
        age: Age::New,
        ..point
    }
}

const fn settled(point: Point) -> Point {
    Point {
        age: Age::Settled,
        ..point
    }
}

/// Every point that there is.
pub(crate) static POINTS: &[Point] = &[
    settled(point(
        "log-write-not-begun",
        Running,
        (&[Write], SEGMENT),
        Before,
        60,
    )),
    settled(point(
        "log-write-torn",
        Running,
        (&[Write], SEGMENT),
        Halfway,
        60,
    )),
    settled(point(
        "log-written-not-synced",
        Running,
        (&[Sync], SEGMENT),
        Before,
        60,
    )),
    settled(point(
        "log-synced-not-answered",
        Running,
        (&[Sync], SEGMENT),
        After,
        60,
    )),
    point("segment-created", Running, (&[Create], SEGMENT), After, 2),
    new(point(
        "segment-half-filled",
        Running,
        (&[Write], SEGMENT),
        Halfway,
        3,
    )),
    new(point(
        "segment-filled-not-synced",
        Running,
        (&[Sync], SEGMENT),
        Before,
        2,
    )),
    new(point(
        "segment-synced-not-named",
        Running,
        (&[Sync], SEGMENT),
        After,
        2,
    )),
    point("segment-named", Running, (&[SyncFolder], SEGMENT), After, 2),
    point(
        "log-start-half-written",
        Running,
        (&[Write], LOG_START),
        Halfway,
        2,
    ),
    point(
        "log-start-not-renamed",
        Running,
        (&[Rename], LOG_START),
        Before,
        2,
    ),
    point(
        "log-start-renamed",
        Running,
        (&[Rename], LOG_START),
        After,
        2,
    ),
    point("segment-removed", Running, (&[Remove], SEGMENT), After, 3),
    point(
        "segment-removal-not-synced",
        Running,
        (&[SyncFolder], SEGMENT),
        Before,
        3,
    ),
    point(
        "snapshot-half-written",
        Running,
        (&[Write], SNAPSHOT),
        Halfway,
        3,
    ),
    point(
        "snapshot-written-not-synced",
        Running,
        (&[Sync], SNAPSHOT),
        Before,
        2,
    ),
    point(
        "snapshot-synced-not-renamed",
        Running,
        (&[Rename], SNAPSHOT),
        Before,
        2,
    ),
    point("snapshot-renamed", Running, (&[Rename], SNAPSHOT), After, 2),
    point(
        "snapshot-name-not-synced",
        Running,
        (&[SyncFolder], SNAPSHOT),
        Before,
        2,
    ),
    point(
        "snapshot-name-synced",
        Running,
        (&[SyncFolder], SNAPSHOT),
        After,
        2,
    ),
    point(
        "checkpoint-half-written",
        Running,
        (&[Write], CHECKPOINT),
        Halfway,
        40,
    ),
    point(
        "checkpoint-lengthened",
        Running,
        (&[SetLength], CHECKPOINT),
        After,
        3,
    ),
    point(
        "checkpoint-not-synced",
        Running,
        (&[Sync], CHECKPOINT),
        Before,
        6,
    ),
    point(
        "checkpoint-synced",
        Running,
        (&[Sync], CHECKPOINT),
        After,
        6,
    ),
    point(
        "checkpoint-name-not-synced",
        Running,
        (&[SyncFolder], CHECKPOINT),
        Before,
        2,
    ),
    point("note-half-written", Running, (&[Write], NOTE), Halfway, 1),
    point("note-not-renamed", Running, (&[Rename], NOTE), Before, 1),
    point("note-renamed", Running, (&[Rename], NOTE), After, 1),
    point(
        "first-format-half-written",
        FirstStart,
        (&[Write], FORMAT),
        Halfway,
        1,
    ),
    point(
        "first-format-not-renamed",
        FirstStart,
        (&[Rename], FORMAT),
        Before,
        1,
    ),
    point(
        "first-format-renamed",
        FirstStart,
        (&[Rename], FORMAT),
        After,
        1,
    ),
    point(
        "first-identity-half-written",
        FirstStart,
        (&[Write], IDENTITY),
        Halfway,
        1,
    ),
    point(
        "first-identity-not-renamed",
        FirstStart,
        (&[Rename], IDENTITY),
        Before,
        1,
    ),
    point(
        "first-identity-renamed",
        FirstStart,
        (&[Rename], IDENTITY),
        After,
        1,
    ),
    point(
        "first-note-half-written",
        FirstStart,
        (&[Write], NOTE),
        Halfway,
        2,
    ),
    point(
        "first-note-renamed",
        FirstStart,
        (&[Rename], NOTE),
        After,
        2,
    ),
    point(
        "first-log-operation",
        FirstStart,
        (&[Create, Write, Sync], SEGMENT),
        After,
        8,
    ),
    point("first-operation", FirstStart, (&[], ANY), Before, 60),
    point("boots-half-written", Start, (&[Write], BOOTS), Halfway, 1),
    point("boots-not-renamed", Start, (&[Rename], BOOTS), Before, 1),
    point("boots-renamed", Start, (&[Rename], BOOTS), After, 1),
    point("boots-name-synced", Start, (&[SyncFolder], BOOTS), After, 1),
    point("recovery-read", Start, (&[Read], SEGMENT), Before, 12),
    point("recovery-mend-torn", Start, (&[Write], SEGMENT), Halfway, 1),
    point(
        "recovery-mend-not-synced",
        Start,
        (&[Sync], SEGMENT),
        Before,
        1,
    ),
    point("recovery-mend-synced", Start, (&[Sync], SEGMENT), After, 1),
    point("recovery-removal", Start, (&[Remove], ANY), After, 2),
    point("vote-torn", Start, (&[Write], SEGMENT), Halfway, 6),
    point("vote-not-synced", Start, (&[Sync], SEGMENT), Before, 6),
    point("vote-synced", Start, (&[Sync], SEGMENT), After, 6),
    point("recovery-operation", Start, (&[], ANY), Before, 80),
    point(
        "install-half-written",
        CatchUp,
        (&[Write], SNAPSHOT),
        Halfway,
        3,
    ),
    point(
        "install-not-synced",
        CatchUp,
        (&[Sync], SNAPSHOT),
        Before,
        1,
    ),
    point(
        "install-not-renamed",
        CatchUp,
        (&[Rename], SNAPSHOT),
        Before,
        1,
    ),
    point("install-renamed", CatchUp, (&[Rename], SNAPSHOT), After, 1),
    point(
        "install-name-synced",
        CatchUp,
        (&[SyncFolder], SNAPSHOT),
        After,
        1,
    ),
    point("incoming-created", CatchUp, (&[Create], INCOMING), After, 1),
    point(
        "incoming-half-written",
        CatchUp,
        (&[Write], INCOMING),
        Halfway,
        20,
    ),
    point(
        "incoming-not-synced",
        CatchUp,
        (&[Sync], INCOMING),
        Before,
        3,
    ),
    point(
        "incoming-not-renamed",
        CatchUp,
        (&[Rename], INCOMING),
        Before,
        1,
    ),
    point("incoming-renamed", CatchUp, (&[Rename], INCOMING), After, 1),
    point(
        "incoming-name-not-synced",
        CatchUp,
        (&[SyncFolder], INCOMING),
        Before,
        1,
    ),
    point(
        "incoming-name-synced",
        CatchUp,
        (&[SyncFolder], INCOMING),
        After,
        1,
    ),
];

/// One operation as a node does it.
pub(crate) struct Deed<'a> {
    pub(crate) operation: Operation,
    /// What it is done to; a rename has two, a sync of the folder any number.
    pub(crate) names: &'a [&'a str],
    /// Whether the name of the file is not yet durable.
    pub(crate) is_new: bool,
}

impl Point {
    /// Whether an operation is one of this point's.
    pub(crate) fn matches(&self, deed: &Deed<'_>) -> bool {
        let is_asked = self.operations.is_empty() || self.operations.contains(&deed.operation);
        let fits = |name: &str| self.files.iter().any(|pattern| fits(pattern, name));
        let is_of_age = match self.age {
            Age::Any => true,
            Age::New => deed.is_new,
            Age::Settled => !deed.is_new,
        };
        let any_file = self.files == ANY;
        is_asked && is_of_age && (any_file || deed.names.iter().any(|name| fits(name)))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The point of a name.
pub(crate) fn find(name: &str) -> Option<&'static Point> {
    POINTS.iter().find(|point| point.name == name)
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_for_any_run_of_letters() {
        assert!(fits("log-*.seg", "log-0000000007.seg"));
        assert!(!fits("log-*.seg", "log-start"));
        assert!(!fits("ab*bc", "abc"));
        assert!(fits("*", ""));
        assert!(!fits("boots", "boots.tmp"));
    }

    #[test]
    fn names_of_points_are_unique_and_words() {
        for (number, point) in POINTS.iter().enumerate() {
            assert!(!point.name.contains(char::is_whitespace), "{point}");
            assert!(point.nth_max > 0, "{point}");
            assert!(
                std::ptr::eq(find(point.name).unwrap(), &POINTS[number]),
                "{point}"
            );
        }
    }

    #[test]
    fn point_counts_only_what_it_names() {
        let torn = find("log-write-torn").unwrap();
        let deed = |operation, name, is_new| {
            let names: &[&str] = &[name];
            torn.matches(&Deed {
                operation,
                names,
                is_new,
            })
        };
        assert!(deed(Write, "log-0000000001.seg", false));
        assert!(!deed(Write, "log-0000000001.seg", true));
        assert!(!deed(Sync, "log-0000000001.seg", false));
        assert!(!deed(Write, "boots.tmp", false));
    }
}
