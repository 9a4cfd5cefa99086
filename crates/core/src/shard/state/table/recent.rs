//! Where the jobs are that commands were about lately.
//!
//! In its short life a job is looked for by its id half a dozen times, most of them within milliseconds. With a million
//! others beside it, held or retained, each look into the tree of ids waits several times for memory. So the latest few
//! thousand are kept where one look finds them. What is not found here is in the tree or nowhere.

use std::fmt;

use super::Key;

/// Places: more jobs than are mostly on their way at once. 128 KiB a shard, once it has had a job.
const PLACES: usize = 4096;

/// No job ever arrives there.
const NOWHERE: (Key, u64) = (Key(0), u64::MAX);

/// Ids and places in the order of arrival, each where the last bits of its id say: the newer takes the older's place.
#[derive(Clone, Default)]
pub(super) struct Recent {
    places: Vec<(Key, u64)>,
}

impl Recent {
    pub(super) fn note(&mut self, key: Key, sequence: u64) {
        if self.places.is_empty() {
            self.places = vec![NOWHERE; PLACES];
        }
        self.places[at(key)] = (key, sequence);
    }

    pub(super) fn get(&self, key: Key) -> Option<u64> {
        let (owner, sequence) = *self.places.get(at(key))?;
        (owner == key && sequence != NOWHERE.1).then_some(sequence)
    }

    pub(super) fn forget(&mut self, key: Key) {
        if self.get(key).is_some() {
            self.places[at(key)] = NOWHERE;
        }
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recent")
    }
}

/// Whoever draws ids that end alike has them looked up in the tree.
fn at(key: Key) -> usize {
    let place = key.0 % PLACES as u128;
    usize::try_from(place).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_job_takes_the_place_of_an_older_one_whose_id_ends_alike() {
        let (older, newer) = (Key(7), Key(7 + PLACES as u128));
        let mut recent = Recent::default();
        assert_eq!(recent.get(older), None);
        recent.note(older, 1);
        assert_eq!((recent.get(older), recent.get(newer)), (Some(1), None));
        recent.note(newer, 2);
        assert_eq!((recent.get(older), recent.get(newer)), (None, Some(2)));
    }

    #[test]
    fn only_the_job_itself_is_forgotten() {
        let (job, other) = (Key(7), Key(7 + PLACES as u128));
        let mut recent = Recent::default();
        recent.forget(job);
        recent.note(job, 1);
        recent.forget(other);
        assert_eq!(recent.get(job), Some(1));
        recent.forget(job);
        assert_eq!(recent.get(job), None);
    }
}
