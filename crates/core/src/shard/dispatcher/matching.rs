//! Which worker gets which job: by classes of workers and lanes of jobs, never by looking through jobs.
//!
//! Workers of one region with the same queues and supply are one class; jobs of one queue with the same requirement
//! are one lane. Which class may take from which lane is worked out once, when either appears. A pick costs the number
//! of lanes with ready jobs that the class may take from, and the logarithm of everything else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use leasehold_types::{JobId, QueueName, RegionName, SessionId, TenantName, limits};

use super::fairness::Turns;
use super::message::Offer;
use crate::requirement::{Requirement, Supply};
use crate::shard::job::JobHeader;
use crate::shard::state::{Lane, Place, ShardState};

/// A class of interchangeable workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClassId(u64);

/// What makes workers interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) region: RegionName,
    pub(super) queues: BTreeSet<QueueName>,
    pub(super) supply: Supply,
}

#[derive(Debug)]
struct Class {
    kind: Arc<Kind>,
    members: usize,
    /// The lanes that its workers may take jobs from.
    lanes: BTreeSet<Lane>,
    /// Sessions that may have credit, the next to be served first. Each stands here once at most.
    queue: BTreeMap<Ticket, SessionId>,
}

/// A job that is to be granted.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) job: JobId,
    /// Its place in the order of arrival.
    pub(super) sequence: u64,
    /// Where it is ready.
    pub(super) lane: Lane,
}

/// A place in the queue of a class: the lowest is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Debug)]
struct LaneTurns {
    requirement: Arc<Requirement>,
    classes: BTreeSet<ClassId>,
    turns: Turns,
}

/// Lanes without ready jobs are kept up to this many, so that a trickle of jobs does not match anew each time.
const LANES_KEPT: usize = 4 * limits::POOLS;

/// How far the search went in each tenant's jobs of each lane, within one poll.
pub(super) type Cursors = BTreeMap<(Lane, TenantName), Place>;

/// Classes and lanes.
#[derive(Debug, Default)]
pub(super) struct Matching {
    ids: BTreeMap<Arc<Kind>, ClassId>,
    classes: BTreeMap<ClassId, Class>,
    next_class: u64,
    next_ticket: u64,
    lanes: BTreeMap<Lane, LaneTurns>,
    /// Lanes with ready jobs.
    active: BTreeSet<Lane>,
    /// Classes with sessions in their queues.
    hungry: BTreeSet<ClassId>,
    /// How far the journal of ready jobs was read.
    seen: Option<u64>,
    /// How often a session was taken from a queue.
    #[cfg(test)]
    dequeued: u64,
}

/// Sessions and classes.
impl Matching {
    /// The class of a worker, made when it is the first of its kind. Counts it in.
    pub(super) fn join(&mut self, offer: &Offer) -> ClassId {
        let queues = offer.queues.iter().take(limits::WORKER_QUEUES);
        let kind = Kind {
            region: offer.region.clone(),
            queues: queues.cloned().collect(),
            supply: offer.supply.clone(),
        };
        let id = match self.ids.get(&kind) {
            Some(id) => *id,
            None => self.found(kind),
        };
        if let Some(class) = self.classes.get_mut(&id) {
            class.members += 1;
        }
        id
    }

    fn found(&mut self, kind: Kind) -> ClassId {
        let id = ClassId(self.next_class);
        self.next_class += 1;
        let kind = Arc::new(kind);
        let mut lanes = BTreeSet::new();
        for (lane, turns) in &mut self.lanes {
            if may_take(&kind, &lane.queue, &turns.requirement) {
                turns.classes.insert(id);
                lanes.insert(lane.clone());
            }
        }
        self.ids.insert(Arc::clone(&kind), id);
        let class = Class {
            kind,
            members: 0,
            lanes,
            queue: BTreeMap::new(),
        };
        self.classes.insert(id, class);
        id
    }

    /// Counts a worker out, and drops its class with the last one.
    pub(super) fn leave(&mut self, id: ClassId) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        class.members -= 1;
        if class.members > 0 {
            return;
        }
        for lane in &class.lanes {
            if let Some(turns) = self.lanes.get_mut(lane) {
                turns.classes.remove(&id);
            }
        }
        self.ids.remove(&class.kind);
        self.classes.remove(&id);
        self.hungry.remove(&id);
    }

    /// Whether workers of a class may take a job.
    pub(super) fn may_take(&self, id: ClassId, job: &JobHeader) -> bool {
        self.kind(id)
            .is_some_and(|kind| may_take(kind, &job.queue, &job.requirement))
    }

    pub(super) fn kind(&self, id: ClassId) -> Option<&Kind> {
        self.classes.get(&id).map(|class| class.kind.as_ref())
    }

    /// Puts a session at the end of its class's queue, and gives its place.
    pub(super) fn enqueue(&mut self, id: ClassId, session: SessionId) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.put_back(id, ticket, session);
        ticket
    }

    /// Puts a session back to its place in its class's queue: it was not served.
    pub(super) fn put_back(&mut self, id: ClassId, ticket: Ticket, session: SessionId) {
        if let Some(class) = self.classes.get_mut(&id) {
            class.queue.insert(ticket, session);
            self.hungry.insert(id);
        }
    }

    /// Takes the next session out of a class's queue.
    pub(super) fn dequeue(&mut self, id: ClassId) -> Option<SessionId> {
        let class = self.classes.get_mut(&id)?;
        let next = class.queue.pop_first();
        #[cfg(test)]
        {
            self.dequeued += 1;
        }
        if class.queue.is_empty() {
            self.hungry.remove(&id);
        }
        next.map(|(_, session)| session)
    }

    /// Takes a session out of its class's queue, wherever it stands.
    pub(super) fn withdraw(&mut self, id: ClassId, ticket: Ticket) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        class.queue.remove(&ticket);
        if class.queue.is_empty() {
            self.hungry.remove(&id);
        }
    }

    /// Whether any session stands in a queue.
    pub(super) fn has_waiting(&self) -> bool {
        !self.hungry.is_empty()
    }

    /// The sessions in a class's queue, the next first.
    pub(super) fn waiting(&self, id: ClassId) -> impl Iterator<Item = SessionId> {
        let class = self.classes.get(&id).into_iter();
        class.flat_map(|class| class.queue.values().copied())
    }

    /// The classes with sessions in their queues that may take from a lane, and from no lane with ready jobs.
    pub(super) fn idle_classes(&self, lane: &Lane) -> impl Iterator<Item = ClassId> {
        let may_take = self.lanes.get(lane).into_iter();
        let hungry = may_take.flat_map(|lane| lane.classes.intersection(&self.hungry));
        hungry.copied().filter(|id| {
            let class = self.classes.get(id);
            class.is_some_and(|class| class.lanes.is_disjoint(&self.active))
        })
    }

    /// How often a session was taken from a queue.
    #[cfg(test)]
    pub(super) fn dequeued(&self) -> u64 {
        self.dequeued
    }

    /// How many sessions stand in queues.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.classes.values().map(|class| class.queue.len()).sum()
    }

    /// Whether any lane may have a ready job.
    pub(super) fn has_work(&self) -> bool {
        !self.active.is_empty()
    }

    /// The classes that have both sessions in their queue and lanes with ready jobs.
    pub(super) fn candidates(&self) -> VecDeque<ClassId> {
        if self.hungry.len() <= self.active.len() {
            let has_work = |id: &&ClassId| {
                (self.classes.get(id)).is_some_and(|class| !class.lanes.is_disjoint(&self.active))
            };
            return self.hungry.iter().filter(has_work).copied().collect();
        }
        let active = self.active.iter().filter_map(|lane| self.lanes.get(lane));
        let classes: BTreeSet<ClassId> = active
            .flat_map(|lane| lane.classes.intersection(&self.hungry))
            .copied()
            .collect();
        classes.into_iter().collect()
    }
}

/// Lanes and tenants.
impl Matching {
    /// The lanes with ready jobs that workers of a class may take from.
    pub(super) fn lanes_with_work(&self, id: ClassId) -> impl Iterator<Item = &Lane> {
        let class = self.classes.get(&id).into_iter();
        // Goes through the smaller set: the standard library's `intersection` does.
        class.flat_map(|class| class.lanes.intersection(&self.active))
    }

    /// Reads what became ready since the last time.
    pub(super) fn catch_up(&mut self, state: &ShardState) {
        let ready = &state.index.ready;
        let news = self.seen.and_then(|seen| ready.arrivals_after(seen));
        match news {
            Some(arrivals) => arrivals.for_each(|a| self.activate(state, &a.lane, &a.tenant)),
            None => {
                let active = ready.active();
                active.for_each(|(lane, tenant)| self.activate(state, lane, tenant));
            }
        }
        self.seen = Some(ready.arrivals());
    }

    /// A tenant has, or may have, a ready job in a lane.
    pub(super) fn activate(&mut self, state: &ShardState, lane: &Lane, tenant: &TenantName) {
        if !self.lanes.contains_key(lane) && !self.open(state, lane) {
            return;
        }
        if let Some(turns) = self.lanes.get_mut(lane) {
            turns.turns.activate(tenant);
            if !self.active.contains(lane) {
                self.active.insert(lane.clone());
            }
        }
    }

    /// Works out who may take from a lane that is new. False when its pool is gone, and all its jobs with it.
    fn open(&mut self, state: &ShardState, lane: &Lane) -> bool {
        let Some(requirement) = state.index.pools.requirement(lane.pool) else {
            return false;
        };
        self.drop_idle_lanes();
        let mut classes = BTreeSet::new();
        for (id, class) in &mut self.classes {
            if may_take(&class.kind, &lane.queue, requirement) {
                class.lanes.insert(lane.clone());
                classes.insert(*id);
            }
        }
        let requirement = Arc::clone(requirement);
        let turns = LaneTurns {
            requirement,
            classes,
            turns: Turns::default(),
        };
        self.lanes.insert(lane.clone(), turns);
        true
    }

    fn drop_idle_lanes(&mut self) {
        if self.lanes.len() < LANES_KEPT.max(2 * self.active.len()) {
            return;
        }
        let active = &self.active;
        self.lanes.retain(|lane, _| active.contains(lane));
        for class in self.classes.values_mut() {
            class.lanes.retain(|lane| active.contains(lane));
        }
    }

    fn deactivate(&mut self, lane: &Lane, tenant: &TenantName) {
        let Some(turns) = self.lanes.get_mut(lane) else {
            return;
        };
        turns.turns.deactivate(tenant);
        if turns.turns.is_idle() {
            self.active.remove(lane);
        }
    }

    /// The next job for a worker of the class: of the tenant whose turn it is, its best over all lanes that the class
    /// may take from. The tenant is charged in each of those lanes, since they compete for the same workers.
    pub(super) fn pick(
        &mut self,
        state: &ShardState,
        id: ClassId,
        cursors: &mut Cursors,
        is_free: &dyn Fn(&JobHeader) -> bool,
    ) -> Option<Pick> {
        let mut lanes: Vec<Lane> = self.lanes_with_work(id).cloned().collect();
        loop {
            let tenant = self.next_tenant(&lanes)?;
            let mut best: Option<(Place, JobId, &Lane)> = None;
            for lane in self.lanes_of(&lanes, &tenant) {
                match first_free(state, lane, &tenant, cursors, is_free) {
                    Some((place, job)) if best.is_none_or(|(least, _, _)| place < least) => {
                        best = Some((place, job, lane));
                    }
                    Some(_) => {}
                    None => self.deactivate(lane, &tenant),
                }
            }
            if let Some((place, job, lane)) = best {
                self.charge(&lanes, lane, &tenant);
                let (lane, sequence) = (lane.clone(), place.sequence());
                return Some(Pick {
                    job,
                    sequence,
                    lane,
                });
            }
            lanes.retain(|lane| self.active.contains(lane));
        }
    }

    fn next_tenant(&self, lanes: &[Lane]) -> Option<TenantName> {
        let turns = lanes.iter().filter_map(|lane| self.lanes.get(lane));
        let next = turns.filter_map(|lane| lane.turns.next()).min()?;
        Some(next.1.clone())
    }

    fn lanes_of<'a>(&self, lanes: &'a [Lane], tenant: &TenantName) -> Vec<&'a Lane> {
        let has_tenant = |lane: &&Lane| {
            (self.lanes.get(lane)).is_some_and(|turns| turns.turns.is_active(tenant))
        };
        lanes.iter().filter(has_tenant).collect()
    }

    fn charge(&mut self, lanes: &[Lane], served: &Lane, tenant: &TenantName) {
        for lane in lanes {
            if let Some(turns) = self.lanes.get_mut(lane) {
                if lane == served {
                    turns.turns.serve(tenant);
                } else {
                    turns.turns.charge(tenant);
                }
            }
        }
    }
}

/// Whether workers of a kind may take jobs of a queue that ask this.
fn may_take(kind: &Kind, queue: &QueueName, requirement: &Requirement) -> bool {
    kind.queues.contains(queue) && requirement.is_met_by(&kind.supply)
}

/// The tenant's best job in the lane that nothing is proposed for yet. What is passed over is passed once a poll.
fn first_free(
    state: &ShardState,
    lane: &Lane,
    tenant: &TenantName,
    cursors: &mut Cursors,
    is_free: &dyn Fn(&JobHeader) -> bool,
) -> Option<(Place, JobId)> {
    let key = (lane.clone(), tenant.clone());
    let passed = cursors.get(&key).copied();
    let mut last = None;
    let mut found = None;
    for place in state.index.ready.after(lane, tenant, passed) {
        let header = state.jobs.at(place.sequence()).map(|job| &job.header);
        if let Some(header) = header.filter(|header| is_free(header)) {
            found = Some((place, header.id));
            break;
        }
        last = Some(place);
    }
    if let Some(last) = last {
        cursors.insert(key, last);
    }
    found
}
