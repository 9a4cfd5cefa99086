//! The workers and the callers.

use std::collections::BTreeMap;

use bytes::Bytes;
use leasehold_types::{FenceToken, IdempotencyKey, JobId, Timestamp, VirtualShard};

use super::World;
use super::chance::Chance;
use crate::shard::command::{
    Cancel, Command, Complete, Fail, FailureClass, Redrive, Release, ReleaseCause, Submit,
    WorkPhase,
};
use crate::shard::dispatcher::{Assignment, Gate, Offer, Renewal, RenewalAnswer};
use crate::shard::tests::desk::{offer, region};
use crate::shard::tests::fixture::{SECOND, digest, submit, tenant};

/// What a worker does with its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Temper {
    /// Works, renews and completes.
    Live,
    /// Renews and gets nowhere.
    Stalled,
    /// Says nothing more about the jobs it has, and forgets them after a while.
    Dead,
}

#[derive(Debug, Clone, Copy)]
struct Work {
    fence: FenceToken,
    progress: u64,
}

#[derive(Debug)]
pub(super) struct Worker {
    number: u32,
    temper: Temper,
    slots: u32,
    works: BTreeMap<JobId, Work>,
    message: u64,
    /// Grants that reached it, or that its gateway wrote off, of the present leadership.
    granted_seen: u64,
    /// Jobs it was told to drop, and may complete all the same.
    dropped: Vec<(JobId, FenceToken)>,
}

impl Worker {
    pub(super) fn new(number: u32, chance: &mut Chance) -> Self {
        let slots = 1 + u32::try_from(chance.up_to(3)).unwrap();
        Self {
            number,
            temper: Temper::Live,
            slots,
            works: BTreeMap::new(),
            message: 0,
            granted_seen: 0,
            dropped: Vec::new(),
        }
    }

    pub(super) fn heal(&mut self) {
        self.temper = Temper::Live;
    }

    pub(super) fn leader_changed(&mut self) {
        self.granted_seen = 0;
    }

    fn change_temper(&mut self, chance: &mut Chance) {
        let was_dead = self.temper == Temper::Dead;
        self.temper = match chance.up_to(4) {
            0 => Temper::Stalled,
            1 => Temper::Dead,
            _ => Temper::Live,
        };
        if was_dead {
            // It starts anew and knows of nothing.
            let works = std::mem::take(&mut self.works);
            let dropped = works.into_iter().map(|(job, work)| (job, work.fence));
            self.dropped.extend(dropped);
        }
    }

    fn offer(&mut self) -> Offer {
        self.message += 1;
        let held = u32::try_from(self.works.len()).unwrap();
        Offer {
            region: region(if self.number.is_multiple_of(2) {
                "eu"
            } else {
                "us"
            }),
            message: self.message,
            granted_seen: self.granted_seen,
            ..offer(self.number, self.slots - held)
        }
    }

    fn renewals(&mut self) -> Vec<Renewal> {
        let gain = u64::from(self.temper == Temper::Live);
        let renewal = |(job, work): (&JobId, &mut Work)| {
            work.progress += gain;
            Renewal {
                job: *job,
                fence: work.fence,
                progress: work.progress,
                phase: WorkPhase::Running,
            }
        };
        self.works.iter_mut().map(renewal).collect()
    }

    fn heed(&mut self, answer: RenewalAnswer) {
        if let RenewalAnswer::Stop { job, fence, .. } = answer
            && (self.works.get(&job)).is_some_and(|work| work.fence == fence)
        {
            self.works.remove(&job);
            self.dropped.push((job, fence));
        }
    }
}

/// Workers.
impl World {
    pub(super) fn play_workers(&mut self) {
        for index in 0..self.workers.len() {
            if self.faults.takeover > 0 && self.chance.is(20) {
                self.workers[index].change_temper(&mut self.chance);
            }
            if self.workers[index].temper != Temper::Dead {
                self.talk(index);
                self.work(index);
            }
        }
        let (gate, verdict) = (self.faults.closed_gate, self.faults.verdict);
        self.leader.gate = Gate {
            quorum_fresh: !self.chance.is(gate),
            ..Gate::OPEN
        };
        if self.chance.is(verdict) {
            self.leader.is_unreachable = !self.leader.is_unreachable;
        }
    }

    /// Offers its slots and renews its leases, about every third step.
    fn talk(&mut self, index: usize) {
        if self.chance.is(650) || self.chance.is(self.faults.lost_message) {
            return;
        }
        let now = self.leader.now(self.monotonic);
        let worker = &mut self.workers[index];
        let offer = worker.offer();
        let renewals = worker.renewals();
        let answers = self.leader.renew(&self.state, &offer, &renewals, now);
        self.leader.offer(offer, now);
        let is_lost = self.chance.is(self.faults.lost_message);
        for answer in answers {
            self.note_heard(answer, now);
            if !is_lost {
                self.workers[index].heed(answer);
            }
        }
    }

    fn note_heard(&mut self, answer: RenewalAnswer, now: Timestamp) {
        match answer {
            RenewalAnswer::Keep { job, .. } | RenewalAnswer::Later { job } => {
                self.heard.insert(job, now);
            }
            RenewalAnswer::Stop { .. } => {}
        }
    }

    fn work(&mut self, index: usize) {
        let worker = &self.workers[index];
        let works: Vec<(JobId, FenceToken)> =
            worker.works.iter().map(|(j, w)| (*j, w.fence)).collect();
        let is_live = worker.temper == Temper::Live;
        for (job, fence) in works {
            if is_live && self.chance.is(150) {
                self.end_work(index, job, fence);
            }
        }
        if !self.workers[index].dropped.is_empty() && self.chance.is(200) {
            let (job, fence) = self.workers[index].dropped.remove(0);
            self.writes.push(complete(job, fence));
        }
    }

    /// Most often with a result. A write that gets lost is made again as one of those that come too late.
    fn end_work(&mut self, index: usize, job: JobId, fence: FenceToken) {
        let write = match self.chance.up_to(10) {
            0 => fail(job, fence, FailureClass::Transient),
            1 => fail(job, fence, FailureClass::Infrastructure),
            2 => Command::Release(Release {
                job,
                fence,
                reason: "draining".to_owned(),
                cause: ReleaseCause::Worker,
            }),
            _ => complete(job, fence),
        };
        let is_lost = self.chance.is(self.faults.lost_message);
        if !is_lost {
            self.writes.push(write);
        }
        let worker = &mut self.workers[index];
        worker.works.remove(&job);
        worker.dropped.push((job, fence));
    }

    /// Assignments reach their workers, or their gateway hands them back.
    pub(super) fn deliver(&mut self, assignments: Vec<Assignment>) {
        for assignment in assignments {
            let is_lost = self.chance.is(self.faults.lost_message);
            let (job, fence) = (assignment.job, assignment.fence);
            let worker = self.workers.iter_mut();
            let worker = worker
                .into_iter()
                .find(|worker| offer(worker.number, 0).session == assignment.session)
                .expect("assigned to a worker that exists");
            worker.granted_seen += 1;
            assert_eq!(worker.granted_seen, assignment.grant, "grants are numbered");
            if is_lost {
                let reason = "not delivered".to_owned();
                self.writes.push(Command::Release(Release {
                    job,
                    fence,
                    reason,
                    cause: ReleaseCause::Undelivered,
                }));
                continue;
            }
            let progress = 0;
            worker.works.insert(job, Work { fence, progress });
            let held = worker.works.len();
            assert!(held <= worker.slots as usize, "a slot was spent twice");
        }
    }
}

/// Callers.
impl World {
    pub(super) fn play_callers(&mut self) {
        if self.chance.is(500) {
            self.submitted += 1;
            let submit = self.submit(self.submitted);
            self.writes.push(Command::Submit(Box::new(submit)));
        }
        if self.chance.is(200) {
            // A caller that had no answer asks again.
            let again = 1 + self.chance.up_to(u64::from(self.submitted.max(1)));
            let submit = self.submit(u32::try_from(again).unwrap());
            self.writes.push(Command::Submit(Box::new(submit)));
        }
        if self.chance.is(20) {
            let (job, reason) = (self.any_job(), String::new());
            self.writes.push(Command::Cancel(Cancel { job, reason }));
        }
        if self.chance.is(30) {
            let job = self.any_job();
            self.writes.push(Command::Redrive(Redrive { job }));
        }
    }

    fn any_job(&mut self) -> JobId {
        let number = 1 + self.chance.up_to(u64::from(self.submitted.max(1)));
        id(u32::try_from(number).unwrap())
    }

    /// The submit of that number, the same each time: odd ones go in pairs under one key.
    fn submit(&self, number: u32) -> Submit {
        let pair = number / 4;
        let key = (number % 2 == 1).then(|| format!("pair-{pair}"));
        let content = u8::try_from(pair % 251).unwrap();
        let delay = number % 7 / 6 * 10;
        Submit {
            job: id(number),
            tenant: Some(tenant(if number % 4 < 2 { "a" } else { "b" })),
            key: key.map(|key| IdempotencyKey::new(&key).unwrap()),
            digest: digest(content),
            priority: u8::try_from(number % 10).unwrap(),
            delay: delay * SECOND,
            ..submit(content)
        }
    }
}

fn id(number: u32) -> JobId {
    let mut random = [0; 12];
    random[8..].copy_from_slice(&number.to_be_bytes());
    JobId::new(VirtualShard::new(1), random)
}

/// Each attempt's result is its own, so that a change of results would show.
fn complete(job: JobId, fence: FenceToken) -> Command {
    let content = u8::try_from(fence.sequence() % 251).unwrap();
    Command::Complete(Complete {
        job,
        fence,
        result: Bytes::from(vec![content]),
        digest: digest(content),
    })
}

fn fail(job: JobId, fence: FenceToken, class: FailureClass) -> Command {
    Command::Fail(Box::new(Fail {
        job,
        fence,
        class,
        message: "worker says so".to_owned(),
        detail: Bytes::new(),
        retry_after: None,
    }))
}
