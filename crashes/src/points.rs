//! The points at which a node can be made to crash, as data: what is done, to which file, and on which side of it.
//!
//! A point is one entry of [`POINTS`]. A new kind of file gets its points by adding entries; nothing else knows file names.
//! A point that a node never passes costs a moment of waiting and is then chosen less often, so entries for files that
//! only some versions write do no harm.

mod table;

use std::fmt;

pub(crate) use table::POINTS;

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

/// Any file, or the folder itself.
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
    use super::Operation::{Sync, Write};
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
