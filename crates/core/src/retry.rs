//! What follows a failed attempt: another try now, another try later, or the dead letters.
//!
//! One function decides, from the queue's policy, what was counted so far, and what went wrong. It is pure: the
//! randomness of the backoff comes in as a number drawn by whoever proposed the log entry, so that every replica
//! waits equally long. Faults are counted by who is to blame: the job (attempts), nobody knows (losses, which end in
//! poison), or the system (infrastructure, bounded apart so that an outage of ours kills no healthy job).

use std::time::Duration;

use leasehold_types::{JobId, limits};

use crate::policy::{BackoffPolicy, QueuePolicy};
use crate::shard::command::FailureClass;
use crate::shard::job::Tries;

/// Longest wait that a worker may ask for before the next try.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What ended an attempt without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The worker reported a failure.
    Reported {
        /// What kind.
        class: FailureClass,
        /// The worker's wish; taken when longer than the backoff, and cut to [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// The lease ran out, made no progress, or hit the time limit of an attempt.
    LeaseLost,
    /// The worker's region was declared unreachable: not the job's fault, and no reason to wait.
    RegionLost,
}

/// How a job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Again, at once.
    Now,
    /// Again, after a wait.
    After(Duration),
    /// Never again: a dead letter of this class.
    GiveUp(FailureClass),
}

/// Counts the fault and says what follows. `draw` is uniform over all of `u64`; see [`draw`].
#[must_use]
pub fn next_step(policy: &QueuePolicy, tries: Tries, fault: Fault, draw: u64) -> (Tries, Step) {
    match fault {
        Fault::LeaseLost => lost(policy, tries, draw),
        Fault::RegionLost => infrastructure(tries, |_| Step::Now),
        Fault::Reported { class, retry_after } => {
            let wait = |tried| Step::After(wait(&policy.backoff, tried, retry_after, draw));
            match class {
                FailureClass::Transient | FailureClass::Semantic => {
                    failed(policy, tries, class, wait)
                }
                FailureClass::Infrastructure => infrastructure(tries, wait),
                FailureClass::Lost => lost(policy, tries, draw),
                FailureClass::Permanent
                | FailureClass::Policy
                | FailureClass::ContextOverflow
                | FailureClass::Poison
                | FailureClass::Budget => failed_for_good(tries, class),
            }
        }
    }
}

fn failed(
    policy: &QueuePolicy,
    mut tries: Tries,
    class: FailureClass,
    again: impl Fn(u32) -> Step,
) -> (Tries, Step) {
    tries.failed = tries.failed.saturating_add(1);
    if tries.failed >= policy.max_attempts {
        return (tries, Step::GiveUp(class));
    }
    (tries, again(tries.failed))
}

fn failed_for_good(mut tries: Tries, class: FailureClass) -> (Tries, Step) {
    tries.failed = tries.failed.saturating_add(1);
    (tries, Step::GiveUp(class))
}

/// The first loss waits for nothing: a lost worker is most often not the job's fault.
fn lost(policy: &QueuePolicy, mut tries: Tries, draw: u64) -> (Tries, Step) {
    tries.lost = tries.lost.saturating_add(1);
    let step = match tries.lost {
        losses if losses >= policy.max_losses => Step::GiveUp(FailureClass::Poison),
        1 => Step::Now,
        losses => Step::After(wait(&policy.backoff, losses - 1, None, draw)),
    };
    (tries, step)
}

fn infrastructure(mut tries: Tries, again: impl Fn(u32) -> Step) -> (Tries, Step) {
    tries.infrastructure = tries.infrastructure.saturating_add(1);
    if tries.infrastructure >= limits::INFRASTRUCTURE_FAULTS {
        return (tries, Step::GiveUp(FailureClass::Infrastructure));
    }
    (tries, again(tries.infrastructure))
}

fn wait(policy: &BackoffPolicy, tried: u32, asked: Option<Duration>, draw: u64) -> Duration {
    let asked = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
    backoff(policy, tried, draw).max(asked)
}

/// Full jitter: uniform between nothing and `min(cap, base · 2^(tried − 1))`, for `tried` from 1.
#[must_use]
pub fn backoff(policy: &BackoffPolicy, tried: u32, draw: u64) -> Duration {
    let doublings = tried.saturating_sub(1).min(31);
    let ceiling = policy.base.saturating_mul(1 << doublings).min(policy.cap);
    let scaled = (ceiling.as_micros().min(u128::from(u64::MAX)) * u128::from(draw)) >> 64;
    Duration::from_micros(u64::try_from(scaled).expect("a product of two u64 shifted by 64"))
}

/// A job's own number out of the seed of a log entry: SplitMix64 (Steele, Lea and Flood, "Fast Splittable
/// Pseudorandom Number Generators", 2014) over the seed and the bytes of the id.
#[must_use]
pub fn draw(seed: u64, job: JobId) -> u64 {
    let bytes = job.to_bytes();
    bytes
        .chunks(8)
        .fold(mix(seed), |state, chunk| mix(state ^ word(chunk)))
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

const fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use leasehold_types::VirtualShard;
    use proptest::prelude::*;

    use super::*;

    const CLASSES: [FailureClass; 9] = [
        FailureClass::Transient,
        FailureClass::Permanent,
        FailureClass::Policy,
        FailureClass::ContextOverflow,
        FailureClass::Poison,
        FailureClass::Budget,
        FailureClass::Semantic,
        FailureClass::Lost,
        FailureClass::Infrastructure,
    ];

    fn reported(class: FailureClass) -> Fault {
        Fault::Reported {
            class,
            retry_after: None,
        }
    }

    fn give_up_after(fault: Fault) -> (u32, FailureClass) {
        let policy = QueuePolicy::default();
        let mut tries = Tries::default();
        for number in 1..1_000 {
            let (counted, step) = next_step(&policy, tries, fault, 0);
            tries = counted;
            if let Step::GiveUp(class) = step {
                return (number, class);
            }
        }
        panic!("tried for ever after {fault:?}");
    }

    #[test]
    fn every_fault_ends_in_a_dead_letter_after_its_own_number_of_tries() {
        use FailureClass::*;
        assert_eq!(give_up_after(reported(Transient)), (5, Transient));
        assert_eq!(give_up_after(reported(Semantic)), (5, Semantic));
        assert_eq!(give_up_after(Fault::LeaseLost), (3, Poison));
        assert_eq!(give_up_after(reported(Lost)), (3, Poison));
        assert_eq!(give_up_after(Fault::RegionLost), (10, Infrastructure));
        assert_eq!(
            give_up_after(reported(Infrastructure)),
            (10, Infrastructure)
        );
        for class in [Permanent, Policy, ContextOverflow, Poison, Budget] {
            assert_eq!(give_up_after(reported(class)), (1, class));
        }
    }

    #[test]
    fn first_loss_and_a_lost_region_wait_for_nothing() {
        let policy = QueuePolicy::default();
        let (tries, first) = next_step(&policy, Tries::default(), Fault::LeaseLost, u64::MAX);
        assert_eq!(first, Step::Now);
        let (_, second) = next_step(&policy, tries, Fault::LeaseLost, u64::MAX);
        assert!(matches!(second, Step::After(wait) if wait > Duration::ZERO));
        let (_, region) = next_step(&policy, tries, Fault::RegionLost, u64::MAX);
        assert_eq!(region, Step::Now);
    }

    #[test]
    fn infrastructure_faults_and_losses_leave_the_attempts_alone() {
        let policy = QueuePolicy::default();
        let (tries, _) = next_step(&policy, Tries::default(), Fault::RegionLost, 0);
        let (tries, _) = next_step(&policy, tries, Fault::LeaseLost, 0);
        assert_eq!((tries.failed, tries.lost, tries.infrastructure), (0, 1, 1));
    }

    proptest! {
        #[test]
        fn backoff_stays_under_its_exponential_ceiling(tried in 0_u32..80, draw: u64) {
            let policy = QueuePolicy::default().backoff;
            let ceiling = policy.base.saturating_mul(1 << tried.saturating_sub(1).min(20));
            prop_assert!(backoff(&policy, tried, draw) <= ceiling.min(policy.cap));
        }

        #[test]
        fn a_worker_s_wish_is_taken_when_longer_and_cut_to_its_bound(
            class in prop::sample::select(CLASSES.to_vec()), secs in 0_u64..100_000, draw: u64,
        ) {
            let asked = Duration::from_secs(secs);
            let fault = Fault::Reported { class, retry_after: Some(asked) };
            let policy = QueuePolicy::default();
            if let (_, Step::After(wait)) = next_step(&policy, Tries::default(), fault, draw) {
                prop_assert!(wait >= asked.min(RETRY_AFTER_MAX));
                prop_assert!(wait <= asked.clamp(policy.backoff.base, RETRY_AFTER_MAX));
            }
        }

        #[test]
        fn jobs_of_one_batch_draw_apart(seed: u64, random: [u8; 12]) {
            let id = JobId::new(VirtualShard::new(1), random);
            let mut other = random;
            other[11] ^= 1;
            prop_assert_ne!(draw(seed, id), draw(seed, JobId::new(VirtualShard::new(1), other)));
        }
    }
}
