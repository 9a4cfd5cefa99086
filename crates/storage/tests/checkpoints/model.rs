//! Any order of changes, crashes and replacements, compared with a map.

use std::sync::Arc;

use leasehold_storage::{Checkpoint, CheckpointStore, MemoryDisk, View, Writing};
use proptest::prelude::*;

use crate::support::{JOBS, Model, PAYLOADS, group, key, small, value};

#[derive(Debug, Clone)]
enum Step {
    Put {
        is_payload: bool,
        key: u64,
        length: usize,
    },
    Remove {
        is_payload: bool,
        key: u64,
    },
    Commit,
    GiveUp,
    View,
    DropViews,
    Compact,
    Gather,
    Replace,
    Restart,
    Crash {
        seed: u64,
    },
    CommitInto {
        syncs: u64,
        seed: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![4 => 0..300_usize, 2 => 300..3000_usize, 1 => 3000..40_000_usize];
    let step = prop_oneof![
        60 => (any::<bool>(), 0..150_u64, length)
            .prop_map(|(is_payload, key, length)| Step::Put { is_payload, key, length }),
        25 => (any::<bool>(), 0..150_u64)
            .prop_map(|(is_payload, key)| Step::Remove { is_payload, key }),
        8 => Just(Step::Commit),
        1 => Just(Step::GiveUp),
        3 => Just(Step::View),
        1 => Just(Step::DropViews),
        1 => Just(Step::Compact),
        2 => Just(Step::Gather),
        1 => Just(Step::Replace),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
        2 => (0..5_u64, any::<u64>())
            .prop_map(|(syncs, seed)| Step::CommitInto { syncs, seed }),
    ];
    prop::collection::vec(step, 1..160)
}

/// A checkpoint and what it should hold.
struct World {
    disk: MemoryDisk,
    store: CheckpointStore,
    checkpoint: Checkpoint,
    /// What is being written, and what it will make.
    writing: Option<(Writing, Model)>,
    committed: Model,
    views: Vec<(View, Model)>,
    commits: u64,
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let store = CheckpointStore::new(Arc::new(disk.clone()), small());
        let checkpoint = store.open(group()).unwrap();
        Self {
            disk,
            store,
            checkpoint,
            writing: None,
            committed: Model::default(),
            views: Vec::new(),
            commits: 0,
        }
    }

    fn writing(&mut self) -> &mut (Writing, Model) {
        self.writing.get_or_insert_with(|| {
            let writing = self.checkpoint.begin().unwrap();
            (writing, self.committed.clone())
        })
    }

    /// Commits; says what it would have made if it fails.
    fn commit(&mut self) -> Result<(), Model> {
        self.commits += 1;
        let head = value(self.commits, 0, 20);
        let _ = self.writing();
        let (writing, mut model) = self.writing.take().unwrap();
        model.head = Some(head.clone());
        match writing.commit(&head) {
            Ok(()) => {
                self.committed = model;
                Ok(())
            }
            Err(_) => Err(model),
        }
    }

    /// The process starts anew on what the disk has.
    fn restart(&mut self) {
        self.writing = None;
        self.views.clear();
        self.store = CheckpointStore::new(Arc::new(self.disk.clone()), small());
        self.checkpoint = self.store.open(group()).unwrap();
    }

    fn replace(&mut self) {
        self.writing = None;
        let incoming = self.store.receive(group()).unwrap();
        let mut model = Model::default();
        crate::support::change(&incoming, &mut model, self.commits % 7, 30).unwrap();
        self.checkpoint.replace_by(&incoming).unwrap();
        self.committed = model;
    }

    fn take(&mut self, step: &Step) {
        let table = |is_payload| if is_payload { PAYLOADS } else { JOBS };
        match *step {
            Step::Put {
                is_payload,
                key: number,
                length,
            } => {
                let row = value(number, self.commits, length);
                let (writing, model) = self.writing();
                writing.put(table(is_payload), &key(number), &row).unwrap();
                model.put(table(is_payload), key(number), row);
            }
            Step::Remove {
                is_payload,
                key: number,
            } => {
                let (writing, model) = self.writing();
                writing.remove(table(is_payload), &key(number)).unwrap();
                model.remove(table(is_payload), &key(number));
            }
            Step::Commit => self.commit().unwrap(),
            Step::GiveUp => self.writing = None,
            Step::View => {
                let view = self.checkpoint.view().unwrap();
                self.views.push((view, self.committed.clone()));
            }
            Step::DropViews => self.views.clear(),
            Step::Compact => drop(self.checkpoint.compact_if_worth().unwrap()),
            Step::Gather => drop(self.checkpoint.gather_if_worth().unwrap()),
            Step::Replace => self.replace(),
            Step::Restart => self.restart(),
            Step::Crash { seed } => {
                self.disk.crash_torn(seed);
                self.restart();
            }
            Step::CommitInto { syncs, seed } => self.commit_into_a_crash(syncs, seed),
        }
    }

    fn commit_into_a_crash(&mut self, syncs: u64, seed: u64) {
        self.disk.crash_in_sync(syncs, seed);
        let under_way = self.commit().err();
        self.disk.crash_torn(seed);
        self.restart();
        let found = Model::of(&self.checkpoint.view().unwrap()).unwrap();
        let is_new = under_way.is_some_and(|new| new.is(&found));
        assert!(is_new || self.committed.is(&found), "neither old nor new");
        self.committed = found;
    }

    fn check(&self) {
        self.committed.assert_is(&self.checkpoint.view().unwrap());
        for (view, model) in &self.views {
            model.assert_is(view);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn checkpoint_holds_what_a_map_would(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            if !matches!(step, Step::Put { .. } | Step::Remove { .. }) {
                world.check();
            }
        }
        world.check();
    }
}
