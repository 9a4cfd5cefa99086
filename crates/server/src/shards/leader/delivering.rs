//! Sends granted jobs, ended leases and news of a backlog to gateways, and learns what did not arrive.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_api::convert::workers::lease_stop;
use leasehold_api::v1;
use leasehold_consensus::{PayloadReader, StoredError};
use leasehold_core::shard::dispatcher::{Assignment, StoredPayload};
use leasehold_types::{NodeId, Timestamp, limits};
use tokio::sync::mpsc;

use super::Leader;
use crate::peers::CallError;
use crate::shards::Deliveries;
use crate::shards::effects::Stop;
use crate::shards::mailbox::{Event, Fate, Undelivered};

/// Most bytes of payload in one delivery.
const DELIVERY_BYTES: usize = limits::REQUEST_BYTES;

impl Leader {
    /// Sends what an entry brought about, each gateway its part. Nobody waits for the answers here.
    pub(super) fn deliver(&mut self, assignments: Vec<Assignment>, stops: Vec<Stop>) {
        let now = self.now();
        for (gateway, parts) in by_gateway(assignments) {
            for part in parts {
                let sent = part.iter().map(|grant| undelivered(grant, now)).collect();
                let (sender, delivery) = (self.sender(gateway), self.delivery());
                tokio::spawn(sender.send_jobs(delivery, part, sent));
            }
        }
        for (gateway, stops) in self.stops_by_gateway(stops) {
            let mut delivery = self.delivery();
            delivery.stops = stops;
            tokio::spawn(self.sender(gateway).send(delivery, Vec::new()));
        }
    }

    /// A stop is a kindness: where no gateway is known, the worker learns of it with its next renewal.
    fn stops_by_gateway(&self, stops: Vec<Stop>) -> BTreeMap<NodeId, Vec<v1::LeaseStop>> {
        let mut by_gateway: BTreeMap<NodeId, Vec<v1::LeaseStop>> = BTreeMap::new();
        for stop in stops {
            if let Some(holder) = self.gateways.get(&stop.session) {
                let told = lease_stop(stop.session, stop.job, stop.fence, stop.why);
                by_gateway.entry(holder.node).or_default().push(told);
            }
        }
        by_gateway
    }

    /// Tells every gateway of queues that have work which nobody took.
    pub(super) fn tell_news(&mut self) {
        let stats = self.shared.look(|state| state.stats());
        let news = self.news.round(&stats.queues, self.now());
        if news.is_empty() {
            return;
        }
        let backlog = news.into_iter().map(|(queue, jobs)| (queue.into(), jobs));
        let mut delivery = self.delivery();
        delivery.backlog = backlog.collect();
        let cluster = &self.shared.context.cluster;
        let gateways: Vec<NodeId> =
            cluster.read(|metadata| metadata.nodes().map(|node| node.id).collect());
        for gateway in gateways {
            tokio::spawn(self.sender(gateway).send(delivery.clone(), Vec::new()));
        }
    }

    fn delivery(&self) -> v1::Delivery {
        v1::Delivery {
            shard_id: self.shared.shard.get(),
            epoch: self.epoch.get(),
            ..v1::Delivery::default()
        }
    }

    fn sender(&self, gateway: NodeId) -> Sender {
        Sender {
            gateway,
            deliveries: self.deliveries.clone(),
            mailbox: self.shared.mailbox.clone(),
            payloads: self.payloads.clone(),
            is_doubted: self.dispatcher.is_doubted(gateway),
        }
    }
}

/// The way to one gateway, and back to the leader.
struct Sender {
    gateway: NodeId,
    deliveries: Deliveries,
    mailbox: mpsc::Sender<Event>,
    payloads: Arc<PayloadReader>,
    is_doubted: bool,
}

impl Sender {
    /// Reads back what is not in memory, and sends. What cannot be read goes back: the checkpoint is damaged, and this
    /// replica is about to stop.
    async fn send_jobs(
        self,
        mut delivery: v1::Delivery,
        jobs: Vec<Assignment>,
        sent: Vec<Undelivered>,
    ) {
        match read_back(&self.payloads, jobs).await {
            Ok(jobs) => {
                delivery.assignments = jobs.into_iter().map(Into::into).collect();
                self.send(delivery, sent).await;
            }
            Err(error) => {
                tracing::error!(shard_id = delivery.shard_id, %error, "granted jobs cannot be read");
                self.give_back(all(sent, Fate::NotSent)).await;
            }
        }
    }

    /// SUBTLE: only a grant that certainly did not arrive goes back. One that may have arrived is left to its lease: the
    /// worker may be at it.
    async fn send(self, delivery: v1::Delivery, sent: Vec<Undelivered>) {
        let gateway = self.gateway;
        let back = match self.deliveries.deliver(gateway, delivery).await {
            Ok(answer) => {
                if self.is_doubted {
                    let _leads_no_more = self.mailbox.send(Event::Reached(gateway)).await;
                }
                of_unknown_sessions(&answer, sent)
            }
            Err(error) => {
                tracing::debug!(%gateway, %error, "delivery failed");
                all(sent, fate_after(&error))
            }
        };
        self.give_back(back).await;
    }

    async fn give_back(&self, back: Vec<Undelivered>) {
        if !back.is_empty() {
            let _leads_no_more = self.mailbox.send(Event::Undelivered(back)).await;
        }
    }
}

/// The jobs with their payloads. One that has ended meanwhile has none, and is sent to nobody.
async fn read_back(
    payloads: &PayloadReader,
    mut jobs: Vec<Assignment>,
) -> Result<Vec<Assignment>, StoredError> {
    let away: Vec<StoredPayload> = jobs.iter().filter_map(|job| job.stored).collect();
    if away.is_empty() {
        return Ok(jobs);
    }
    let mut payloads = payloads.read(&away).await?.into_iter();
    jobs.retain_mut(|job| {
        if job.stored.is_none() {
            return true;
        }
        let payload = payloads.next().flatten();
        let is_there = payload.is_some();
        job.payload = payload.unwrap_or_default();
        is_there
    });
    Ok(jobs)
}

/// Each gateway's jobs, in parts that one message can carry.
fn by_gateway(assignments: Vec<Assignment>) -> BTreeMap<NodeId, Vec<Vec<Assignment>>> {
    let mut parts: BTreeMap<NodeId, Vec<Vec<Assignment>>> = BTreeMap::new();
    let mut bytes: BTreeMap<NodeId, usize> = BTreeMap::new();
    for assignment in assignments {
        let gateway = assignment.gateway;
        let size = payload_bytes(&assignment) + 256;
        let filled = bytes.entry(gateway).or_default();
        let parts = parts.entry(gateway).or_default();
        *filled += size;
        match parts.last_mut() {
            Some(last) if *filled <= DELIVERY_BYTES => last.push(assignment),
            Some(_) | None => {
                *filled = size;
                parts.push(vec![assignment]);
            }
        }
    }
    parts
}

fn payload_bytes(assignment: &Assignment) -> usize {
    let stored = assignment.stored.map_or(0, |stored| stored.bytes);
    assignment.payload.len() + usize::try_from(stored).unwrap_or(usize::MAX)
}

const fn undelivered(assignment: &Assignment, sent_at: Timestamp) -> Undelivered {
    Undelivered {
        job: assignment.job,
        fence: assignment.fence,
        session: assignment.session,
        gateway: assignment.gateway,
        sent_at,
        fate: Fate::Doubtful,
    }
}

const fn fate_after(error: &CallError) -> Fate {
    match error {
        CallError::NotSent { .. } => Fate::NotSent,
        CallError::Unknown { .. } => Fate::Doubtful,
    }
}

fn all(sent: Vec<Undelivered>, fate: Fate) -> Vec<Undelivered> {
    let with_fate = |grant| Undelivered { fate, ..grant };
    sent.into_iter().map(with_fate).collect()
}

fn of_unknown_sessions(answer: &v1::DeliveryAnswer, sent: Vec<Undelivered>) -> Vec<Undelivered> {
    if answer.unknown_sessions.is_empty() {
        return Vec::new();
    }
    let is_unknown = |grant: &Undelivered| {
        let session = grant.session.to_string();
        answer.unknown_sessions.contains(&session)
    };
    let unknown = sent.into_iter().filter(is_unknown).collect();
    all(unknown, Fate::SessionGone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use leasehold_types::{FenceToken, JobId, QueueName, SessionId, VirtualShard};
    use std::time::Duration;

    fn assignment(gateway: u64, bytes: usize) -> Assignment {
        Assignment {
            job: JobId::new(VirtualShard::new(0), [0; 12]),
            queue: QueueName::new("chat").unwrap(),
            fence: FenceToken::default(),
            attempt: 1,
            session: SessionId::from_random(1),
            gateway: NodeId::new(gateway),
            payload: Bytes::from(vec![0; bytes]),
            stored: None,
            lease: Duration::ZERO,
            attempt_limit: Duration::ZERO,
            remaining: Duration::ZERO,
            message: 0,
            grant: 1,
        }
    }

    #[test]
    fn each_gateway_gets_its_own_jobs_in_messages_that_fit() {
        let half = DELIVERY_BYTES / 2;
        let all = vec![
            assignment(1, half),
            assignment(2, 10),
            assignment(1, half),
            assignment(1, 10),
        ];
        let parts = by_gateway(all);
        let sizes = |gateway: u64| -> Vec<usize> {
            let parts = &parts[&NodeId::new(gateway)];
            parts.iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(1), [1, 2]);
        assert_eq!(sizes(2), [1]);
    }

    #[test]
    fn only_grants_of_unknown_sessions_go_back_when_the_gateway_was_reached() {
        let here = undelivered(&assignment(1, 0), Timestamp::ZERO);
        let mut gone = here;
        gone.session = SessionId::from_random(2);
        let answer = v1::DeliveryAnswer {
            unknown_sessions: vec![SessionId::from_random(2).to_string()],
        };
        let back = of_unknown_sessions(&answer, vec![here, gone]);
        assert_eq!(back.len(), 1);
        assert!(back[0].fate == Fate::SessionGone && back[0].session == SessionId::from_random(2));
    }
}
