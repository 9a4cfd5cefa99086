//! Whether the volume of the data folder has room for something new, and who may still write when it has not.
//!
//! A disk does not fill up in a moment that suits: the jobs that are in have to be finished on it, and finishing them
//! writes. So new jobs, and whatever else only adds, are refused while there is still room for all the rest: results,
//! failures, expiries, renewals, cancels, votes, checkpoints, which are what gives space back. That room is the first
//! reserve. Others may use the volume too and take it; what they cannot take is the second, the segment that the log
//! holds filled ahead. A node that has begun on that one gives its leaderships away while it still can.
//!
//! Pure but for [`RoomGate`], which hands what is known to those who take things in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold_api::ApiError;
use leasehold_storage::DiskSpace;
use leasehold_types::ErrorCode;
use tokio::sync::watch;

/// When to come back: space comes back by people and by purges, not within a moment.
const COME_BACK: Duration = Duration::from_secs(10);
/// On a small volume the watermark is no more than this part of it.
const PART_OF_VOLUME: u64 = 10;

/// How much room there is, from enough to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RoomLevel {
    /// Everything is taken in.
    #[default]
    Ample,
    /// Below the watermark: nothing new is taken in, all that is under way goes on.
    Low,
    /// The log lives on what it holds in reserve.
    Full,
}

/// Where the levels begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// Free bytes below which nothing new is taken in, as configured; 0 for no watermark.
    pub low: u64,
    /// Bytes of a segment of the log.
    pub segment: u64,
}

/// What is known about the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskRoom {
    /// What follows from it.
    pub level: RoomLevel,
    /// Free bytes of the volume.
    pub free: u64,
    /// Bytes of the volume.
    pub total: u64,
    /// The watermark in force, in free bytes.
    pub low: u64,
}

impl Watermarks {
    /// The watermark in force on a volume: as configured, yet no more than a tenth of the volume, so that a small one is
    /// of use, and no less than a segment.
    #[must_use]
    pub fn low_on(&self, total: u64) -> u64 {
        match self.low {
            0 => 0,
            low => low.min(total / PART_OF_VOLUME).max(self.segment),
        }
    }

    /// What the room comes to; `spare` is what the log holds in reserve. What was short before has to be a quarter, or
    /// for a full disk twice, over its mark, so that a level does not flutter at the mark with each purge.
    #[must_use]
    pub fn judge(&self, before: RoomLevel, space: DiskSpace, spare: u64) -> DiskRoom {
        let low = self.low_on(space.total);
        let for_the_log = space.free.saturating_add(spare);
        let enough_for_the_log = match before {
            RoomLevel::Full => self.segment.saturating_mul(2),
            RoomLevel::Low | RoomLevel::Ample => self.segment,
        };
        let enough = match before {
            RoomLevel::Ample => low,
            RoomLevel::Low | RoomLevel::Full => low.saturating_add(low / 4),
        };
        let level = if for_the_log < enough_for_the_log {
            RoomLevel::Full
        } else if space.free < enough {
            RoomLevel::Low
        } else {
            RoomLevel::Ample
        };
        DiskRoom {
            level,
            free: space.free,
            total: space.total,
            low,
        }
    }
}

/// Asked before something new is taken in. Clones share what is known.
#[derive(Debug, Clone)]
pub struct RoomGate {
    room: watch::Receiver<DiskRoom>,
    folder: Arc<str>,
}

impl RoomGate {
    /// Goes by what is told of the volume that `folder` is on.
    #[must_use]
    pub fn new(room: watch::Receiver<DiskRoom>, folder: &Path) -> Self {
        let folder = folder.display().to_string().into();
        Self { room, folder }
    }

    /// What is known now.
    #[must_use]
    pub fn room(&self) -> DiskRoom {
        *self.room.borrow()
    }

    /// Whether something new may be taken in; `what` names it, in the plural.
    ///
    /// # Errors
    /// `resource_exhausted`, with a time to come back: certainly nothing was done.
    pub fn admit(&self, what: &str) -> Result<(), ApiError> {
        match self.shortage() {
            None => Ok(()),
            Some(shortage) => {
                let message = format!(
                    "{shortage}, and {what} are refused: free some space there, or use another region meanwhile"
                );
                let error = ApiError::new(ErrorCode::ResourceExhausted, message);
                Err(error.with_retry_after(COME_BACK))
            }
        }
    }

    /// What is short, for people; none while nothing is.
    #[must_use]
    pub fn shortage(&self) -> Option<String> {
        self.describe(self.room())
    }

    /// The same, once nothing may be written any more that the log can do without.
    #[must_use]
    pub fn fullness(&self) -> Option<String> {
        let room = self.room();
        self.describe(room)
            .filter(|_| room.level == RoomLevel::Full)
    }

    fn describe(&self, room: DiskRoom) -> Option<String> {
        let (folder, free, low) = (&self.folder, mib(room.free), mib(room.low));
        match room.level {
            RoomLevel::Ample => None,
            RoomLevel::Low => Some(format!(
                "the volume of data folder {folder} has {free} MiB free, less than {low} MiB"
            )),
            RoomLevel::Full => Some(format!(
                "the volume of data folder {folder} is full: {free} MiB free"
            )),
        }
    }
}

const fn mib(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const GIB: u64 = 1024 * MIB;
    const MARKS: Watermarks = Watermarks {
        low: 2 * GIB,
        segment: 64 * MIB,
    };

    fn on(total: u64, free: u64) -> DiskSpace {
        DiskSpace { free, total }
    }

    fn level(before: RoomLevel, free: u64, spare: u64) -> RoomLevel {
        MARKS.judge(before, on(100 * GIB, free), spare).level
    }

    #[test]
    fn nothing_new_is_taken_in_below_the_watermark_until_a_quarter_above_it() {
        assert_eq!(level(RoomLevel::Ample, 2 * GIB, 0), RoomLevel::Ample);
        assert_eq!(level(RoomLevel::Ample, 2 * GIB - 1, 0), RoomLevel::Low);
        assert_eq!(level(RoomLevel::Low, 2 * GIB, 0), RoomLevel::Low);
        assert_eq!(
            level(RoomLevel::Low, 2 * GIB + GIB / 2 - 1, 0),
            RoomLevel::Low
        );
        assert_eq!(
            level(RoomLevel::Low, 2 * GIB + GIB / 2, 0),
            RoomLevel::Ample
        );
    }

    #[test]
    fn disk_is_full_when_free_space_and_the_reserve_hold_no_segment_until_they_hold_two() {
        assert_eq!(level(RoomLevel::Low, 0, 64 * MIB), RoomLevel::Low);
        assert_eq!(level(RoomLevel::Low, 0, 64 * MIB - 1), RoomLevel::Full);
        assert_eq!(level(RoomLevel::Ample, 40 * MIB, 10 * MIB), RoomLevel::Full);
        assert_eq!(level(RoomLevel::Full, 100 * MIB, 0), RoomLevel::Full);
        assert_eq!(level(RoomLevel::Full, 64 * MIB, 64 * MIB), RoomLevel::Low);
        assert_eq!(level(RoomLevel::Full, 3 * GIB, 0), RoomLevel::Ample);
    }

    #[test]
    fn small_volume_has_a_small_watermark_and_never_one_below_a_segment() {
        assert_eq!(MARKS.low_on(100 * GIB), 2 * GIB);
        assert_eq!(MARKS.low_on(5 * GIB), GIB / 2);
        assert_eq!(MARKS.low_on(100 * MIB), 64 * MIB);
    }

    #[test]
    fn without_a_watermark_only_a_full_disk_refuses() {
        let marks = Watermarks { low: 0, ..MARKS };
        let judge = |free| marks.judge(RoomLevel::Ample, on(GIB, free), 0).level;
        assert_eq!(judge(64 * MIB), RoomLevel::Ample);
        assert_eq!(judge(64 * MIB - 1), RoomLevel::Full);
    }

    #[test]
    fn refusal_names_the_folder_the_free_space_and_the_way_out() {
        let (tell, room) = watch::channel(DiskRoom::default());
        let gate = RoomGate::new(room, Path::new("/var/lib/leasehold"));
        assert_eq!(gate.admit("new jobs"), Ok(()));
        tell.send_replace(MARKS.judge(RoomLevel::Ample, on(100 * GIB, 900 * MIB), 0));
        let error = gate.admit("new jobs").unwrap_err();
        assert_eq!(error.code, ErrorCode::ResourceExhausted);
        assert_eq!(error.retry_after, Some(COME_BACK));
        let said = "the volume of data folder /var/lib/leasehold has 900 MiB free, less than 2048 MiB, \
                    and new jobs are refused: free some space there";
        assert!(error.message.starts_with(said), "{}", error.message);
        tell.send_replace(DiskRoom::default());
        assert_eq!(gate.admit("new jobs"), Ok(()), "it opens by itself");
    }
}
