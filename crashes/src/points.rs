//! The points at which a node can be made to crash, as data: what is done, to which file, and on which side of it.
//!
//! A point is one entry of [`POINTS`]. A new kind of file gets its points by adding entries. Beside them only two places
//! know a file's name: a disk that lies, which lies about the log alone, and a founder's seat, which looks whether the
//! founding is done.
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
    /// The folder, whatever was changed in it.
    SyncFolder,
    /// The sync of the folder that makes a file's creation durable.
    SyncCreated,
    /// The one that makes a rename durable.
    SyncRenamed,
    /// The one that makes a removal durable.
    SyncRemoved,
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
    /// Names of files, with at most one star each. A rename has both names.
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
    /// What is done to which file. A rename has one for either name; a sync of the folder one for the folder itself, which
    /// has no name, and one for each change that it makes durable.
    pub(crate) acts: &'a [(Operation, &'a str)],
    /// Whether the name of the file is not yet durable.
    pub(crate) is_new: bool,
}

impl Point {
    /// Whether an operation is one of this point's.
    pub(crate) fn matches(&self, deed: &Deed<'_>) -> bool {
        let is_asked =
            |operation| self.operations.is_empty() || self.operations.contains(operation);
        let fits = |name| self.files.iter().any(|pattern| fits(pattern, name));
        let is_of_age = match self.age {
            Age::Any => true,
            Age::New => deed.is_new,
            Age::Settled => !deed.is_new,
        };
        let mut acts = deed.acts.iter();
        is_of_age && acts.any(|(operation, name)| is_asked(operation) && fits(name))
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
    use super::Operation::{
        Rename, Sync, SyncCreated, SyncFolder, SyncRemoved, SyncRenamed, Write,
    };
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
            let acts = &[(operation, name)];
            torn.matches(&Deed { acts, is_new })
        };
        assert!(deed(Write, "log-0000000001.seg", false));
        assert!(!deed(Write, "log-0000000001.seg", true));
        assert!(!deed(Sync, "log-0000000001.seg", false));
        assert!(!deed(Write, "boots.tmp", false));
    }

    #[test]
    fn sync_of_the_folder_counts_for_the_kind_of_change_that_it_makes_durable() {
        let matches = |point: &str, change| {
            let acts = [(SyncFolder, ""), change];
            find(point).unwrap().matches(&Deed {
                acts: &acts,
                is_new: false,
            })
        };
        let created = (SyncCreated, "log-0000000002.seg");
        let removed = (SyncRemoved, "log-0000000001.seg");
        assert!(matches("segment-named", created));
        assert!(!matches("segment-named", removed));
        assert!(matches("segment-removal-not-synced", removed));
        assert!(!matches("segment-removal-not-synced", created));
        let incoming = "checkpoint-g1.incoming";
        assert!(matches("incoming-name-synced", (SyncRenamed, incoming)));
        assert!(!matches("incoming-name-synced", (SyncCreated, incoming)));
        assert!(matches("recovery-operation", created));
    }

    #[test]
    fn rename_counts_under_either_name() {
        let acts = [(Rename, "checkpoint-g1.tmp"), (Rename, "checkpoint-g1")];
        let point = find("first-checkpoint-renamed").unwrap();
        assert!(point.matches(&Deed {
            acts: &acts,
            is_new: true
        }));
    }
}
