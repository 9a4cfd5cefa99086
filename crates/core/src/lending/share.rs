//! How many slots each shard should be lent: a plain division, made anew at every poll.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use leasehold_types::ShardId;

/// A shard that slots may be lent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) shard: ShardId,
    /// At home in the gateway's region.
    pub(super) home: bool,
    /// Its leader has answered lately, as far as it was asked.
    pub(super) usable: bool,
    /// Jobs ready for this session.
    pub(super) backlog: u64,
    /// Slots it has now.
    pub(super) lent: u32,
    /// Had work a moment ago: what it has may stay.
    pub(super) lingers: bool,
}

/// Divides `slots` over the candidates, in four rounds: work at home, work elsewhere, what lingers elsewhere, and the
/// rest idles. The targets together are never more than `slots`. `spread` picks where an idle slot goes first.
pub(super) fn share(slots: u32, candidates: Vec<Candidate>, spread: u64) -> BTreeMap<ShardId, u32> {
    let mut division = Division {
        left: slots,
        targets: candidates.iter().map(|c| (c.shard, 0)).collect(),
    };
    let busy = |c: &&Candidate| c.usable && c.backlog > 0;
    division.give_work(candidates.iter().filter(|c| c.home).filter(busy));
    division.give_work(candidates.iter().filter(|c| !c.home).filter(busy));
    for stays in candidates
        .iter()
        .filter(|c| c.usable && !c.home && c.lingers)
    {
        division.raise_to(stays.shard, stays.lent);
    }
    division.idle(&idlers(&candidates), spread);
    division.targets
}

/// Where idle slots wait: at home if any shard there is usable, else anywhere usable, else anywhere.
fn idlers(candidates: &[Candidate]) -> Vec<Candidate> {
    let all_that = |fits: fn(&Candidate) -> bool| -> Vec<Candidate> {
        candidates.iter().filter(|c| fits(c)).copied().collect()
    };
    let choices = [
        all_that(|c| c.home && c.usable),
        all_that(|c| c.usable),
        all_that(|_| true),
    ];
    choices
        .into_iter()
        .find(|some| !some.is_empty())
        .unwrap_or_default()
}

struct Division {
    left: u32,
    targets: BTreeMap<ShardId, u32>,
}

impl Division {
    /// Longest backlog first; each as much as it has jobs.
    fn give_work<'a>(&mut self, busy: impl Iterator<Item = &'a Candidate>) {
        let mut busy: Vec<&Candidate> = busy.collect();
        busy.sort_by_key(|c| (Reverse(c.backlog), c.shard));
        for candidate in busy {
            let jobs = u32::try_from(candidate.backlog).unwrap_or(u32::MAX);
            self.raise_to(candidate.shard, jobs);
        }
    }

    /// Idle slots stay where they are; what is over goes to whoever has least, starting at a place of the session's
    /// own. Moving them about to be even would cost two messages for nothing.
    fn idle(&mut self, idlers: &[Candidate], spread: u64) {
        for idler in idlers {
            self.raise_to(idler.shard, idler.lent);
        }
        let count = idlers.len().max(1);
        let start = usize::try_from(spread % count as u64).unwrap_or(0);
        while self.left > 0 {
            let by_turn = idlers.iter().cycle().skip(start).take(idlers.len());
            let Some(least) = by_turn
                .map(|c| c.shard)
                .min_by_key(|shard| self.targets[shard])
            else {
                return;
            };
            self.raise_to(least, self.targets[&least] + 1);
        }
    }

    fn raise_to(&mut self, shard: ShardId, wanted: u32) {
        let target = self.targets.entry(shard).or_default();
        let given = wanted.saturating_sub(*target).min(self.left);
        *target += given;
        self.left -= given;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: ShardId = ShardId::new(1);
    const AWAY: ShardId = ShardId::new(2);

    fn candidate(shard: ShardId, backlog: u64, lent: u32) -> Candidate {
        Candidate {
            shard,
            home: shard == HOME,
            usable: true,
            backlog,
            lent,
            lingers: false,
        }
    }

    fn shared(slots: u32, home: Candidate, away: Candidate) -> (u32, u32) {
        let targets = share(slots, vec![home, away], 0);
        (targets[&HOME], targets[&AWAY])
    }

    #[test]
    fn work_at_home_comes_before_more_work_elsewhere() {
        let (home, away) = (candidate(HOME, 3, 0), candidate(AWAY, 100, 0));
        assert_eq!(shared(4, home, away), (3, 1));
        assert_eq!(shared(2, home, away), (2, 0));
    }

    #[test]
    fn idle_slots_wait_at_home() {
        let (home, away) = (candidate(HOME, 0, 0), candidate(AWAY, 1, 0));
        assert_eq!(shared(4, home, away), (3, 1));
        assert_eq!(shared(4, home, candidate(AWAY, 0, 4)), (4, 0));
    }

    #[test]
    fn slots_linger_where_work_was_until_home_has_some() {
        let lingers = Candidate {
            lingers: true,
            ..candidate(AWAY, 0, 2)
        };
        assert_eq!(shared(2, candidate(HOME, 0, 0), lingers), (0, 2));
        assert_eq!(shared(2, candidate(HOME, 1, 0), lingers), (1, 1));
    }

    #[test]
    fn shard_whose_leader_is_silent_is_lent_to_only_when_there_is_no_other() {
        let silent = |c: Candidate| Candidate { usable: false, ..c };
        let (home, away) = (candidate(HOME, 9, 2), candidate(AWAY, 0, 0));
        assert_eq!(shared(2, silent(home), away), (0, 2));
        assert_eq!(shared(2, silent(home), silent(away)), (2, 0));
    }

    #[test]
    fn idle_slots_spread_over_shards_by_session() {
        let away = |number| candidate(ShardId::new(number), 0, 0);
        let first = share(1, vec![away(2), away(3)], 0);
        let second = share(1, vec![away(2), away(3)], 1);
        assert_eq!(first[&ShardId::new(2)], 1);
        assert_eq!(second[&ShardId::new(3)], 1);
    }

    #[test]
    fn nothing_is_divided_over_nobody() {
        assert!(share(5, Vec::new(), 7).is_empty());
    }
}
