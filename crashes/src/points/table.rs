//! The list of all points, by file and by what the node is doing. Only data: what an entry means is told in the parent.

use super::Moment::{After, Before, Halfway};
use super::Operation::{Create, Read, Remove, Rename, SetLength, Sync, SyncFolder, Write};
use super::Stage::{CatchUp, FirstStart, Running, Start};

use super::{ANY, Point, new, point, settled};

const SEGMENT: &[&str] = &["log-*.seg"];
const LOG_START: &[&str] = &["log-start", "log-start.tmp"];
const CHECKPOINT: &[&str] = &["checkpoint-*"];
const INCOMING: &[&str] = &["checkpoint-*.incoming"];
const NOTE: &[&str] = &["node.toml", "node.toml.tmp"];
const FORMAT: &[&str] = &["FORMAT", "FORMAT.tmp"];
const IDENTITY: &[&str] = &["identity", "identity.tmp"];
const BOOTS: &[&str] = &["boots", "boots.tmp"];

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
