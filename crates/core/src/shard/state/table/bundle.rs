//! Payloads, or results, of neighbouring jobs that share one row of the checkpoint.
//!
//! A row for each job would cost a backlog more in the checkpoint's tree than anywhere else: room is made for every row,
//! and the tree closes up again when it goes. So what a checkpoint writes of one run goes into bundles, in the order of
//! arrival. Each job knows the bundle that it is in, since the jobs of a run need not be written in their order, nor by
//! one checkpoint: results come as they come. A bundle goes with the last job that wants its part of it, so that one
//! payload may keep a whole bundle on disk.
//!
//! What must hold: a part is written once. Hence no job is the first of two bundles, and its place can name the one,
//! also long after that went.

use super::run::{PLACES, RUN, place};

/// Most bytes of a bundle of more than one part, with [`PART_BYTES`] for each: a whole run of payloads of 1 KiB, and not
/// so much that reading one payload of a few kilobytes costs more for its neighbours than for itself.
pub const BUNDLE_BYTES: usize = 32 * 1024;

/// Most that a part takes in a bundle beside its own bytes.
pub const PART_BYTES: usize = 10;

/// A bundle in its run: the place of its first job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bundle(u8);

impl Bundle {
    /// The one that begins at a place; none when a run has no such place.
    #[must_use]
    pub fn at(place: u32) -> Option<Self> {
        let place = u8::try_from(place).ok()?;
        (usize::from(place) < PLACES).then_some(Self(place))
    }

    /// The one that begins with an arrival.
    pub(super) fn begun_by(sequence: u64) -> Self {
        Self(u8::try_from(place(sequence)).unwrap_or_default())
    }

    /// The place of its first job in the run.
    #[must_use]
    pub fn place(self) -> u32 {
        self.0.into()
    }

    /// Its first arrival, by any arrival of its run: what its row goes by.
    #[must_use]
    pub fn first(self, sequence: u64) -> u64 {
        sequence - sequence % RUN + u64::from(self.0)
    }
}

/// Some bundles of one run: a bit for each place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bundles(u16);

impl Bundles {
    pub(super) const fn insert(&mut self, bundle: Bundle) {
        self.0 |= 1 << bundle.0;
    }

    pub(super) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Bundle> {
        let all = (0..16).map(Bundle);
        all.filter(move |bundle| self.0 & (1 << bundle.0) != 0)
    }
}

impl FromIterator<Bundle> for Bundles {
    fn from_iter<T: IntoIterator<Item = Bundle>>(all: T) -> Self {
        let mut bundles = Self::default();
        all.into_iter().for_each(|bundle| bundles.insert(bundle));
        bundles
    }
}

/// Puts the parts of a run that one checkpoint writes into bundles.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// The newest bundle, and its bytes so far.
    newest: Option<(Bundle, usize)>,
}

impl Filling {
    /// The bundle for the next job's part.
    pub(super) fn put(&mut self, sequence: u64, bytes: usize) -> Bundle {
        let bytes = bytes + PART_BYTES;
        let (bundle, filled) = match self.newest {
            Some((bundle, filled)) if filled + bytes <= BUNDLE_BYTES => (bundle, filled),
            Some(_) | None => (Bundle::begun_by(sequence), 0),
        };
        self.newest = Some((bundle, filled + bytes));
        bundle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the bundles begin of parts with these lengths.
    fn filled(lengths: &[usize]) -> Vec<u32> {
        let mut filling = Filling::default();
        let bundles = (RUN..)
            .zip(lengths)
            .map(|(at, bytes)| filling.put(at, *bytes));
        bundles.map(Bundle::place).collect()
    }

    #[test]
    fn bundle_is_filled_to_its_bound_and_no_further() {
        let sixteenth = BUNDLE_BYTES / 16 - PART_BYTES;
        assert_eq!(filled(&[sixteenth; 16]), [0; 16]);
        assert_eq!(filled(&[sixteenth + 1; 16])[14..], [0, 15]);
        let half = BUNDLE_BYTES / 2 - PART_BYTES;
        assert_eq!(filled(&[half, half, 1, half, half]), [0, 0, 2, 2, 4]);
    }

    #[test]
    fn part_larger_than_a_bundle_has_one_of_its_own() {
        assert_eq!(filled(&[1, 40_000, 1, 40_000, 1]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn bundles_are_known_by_their_places() {
        let at = |place| Bundle::at(place).unwrap();
        let mut bundles: Bundles = [at(0), at(15), at(3)].into_iter().collect();
        assert!(bundles.iter().eq([at(0), at(3), at(15)]));
        bundles = bundles.without([at(3), at(4)].into_iter().collect());
        assert!(bundles.iter().eq([at(0), at(15)]));
        assert_eq!(Bundle::at(16), None);
        assert_eq!(at(3).first(5 * RUN + 7), 5 * RUN + 3);
    }
}
