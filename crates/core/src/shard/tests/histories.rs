//! Whole histories of a shard under faults: nothing that was promised is ever broken while they last, and everything
//! comes to its end once they are over.

use proptest::prelude::*;

use super::world::{Faults, World};

const BAD: Faults = Faults {
    takeover: 20,
    lost_message: 100,
    unknown_outcome: 50,
    verdict: 20,
    closed_gate: 100,
};

fn live_through(seed: u64, faults: Faults, steps: u32) -> World {
    let mut world = World::new(seed, faults);
    (0..steps).for_each(|_| world.step());
    world.heal();
    world.finish();
    world
}

#[test]
fn quiet_world_finishes_everything_without_a_takeover() {
    let world = live_through(7, Faults::NONE, 200);
    assert_eq!(world.takeovers, 0);
}

#[test]
fn history_repeats_from_its_seed() {
    let lived = [0, 1].map(|_| live_through(42, BAD, 300).state);
    assert_eq!(lived[0], lived[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn shard_keeps_its_promises_in_a_bad_world(seed: u64) {
        live_through(seed, BAD, 300);
    }

    #[test]
    fn shard_keeps_its_promises_while_leaders_change_all_the_time(seed: u64) {
        let flapping = Faults { takeover: 200, ..BAD };
        live_through(seed, flapping, 200);
    }
}
