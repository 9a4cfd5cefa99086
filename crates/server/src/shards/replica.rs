//! One shard's replica on this node: what its runner and those who ask share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_api::convert::nodes::leader_hint;
use leasehold_api::{ApiError, v1};
use leasehold_consensus::Group;
use leasehold_core::shard::ShardState;
use leasehold_core::shard::command::Submit;
use leasehold_types::{NodeId, ShardEpoch, ShardId};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::barrier::Barrier;
use super::handover::{Handover, hand_over};
use super::mailbox::{Event, MAILBOX};
use super::waiters::Waiters;
use super::{Deliveries, ShardsOptions, answer, runner};

/// KiB of submitted jobs that may wait for a leader's log. What comes on top is refused with a time to come back.
const ADMITTED_KIB: usize = 64 * 1024;

/// KiB of workers' writes that may wait for a leader's log. What comes on top waits.
pub(super) const RESERVE_KIB: usize = 64 * 1024;

/// A runner that was told to end waits for nothing; it can only be busy.
const RUNNER_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A replica and its runner.
pub(super) struct Replica {
    shared: Arc<Shared>,
    runner: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What a replica's runner and those who ask share.
pub(super) struct Shared {
    pub(super) shard: ShardId,
    pub(super) group: Group<ShardState>,
    pub(super) context: Arc<ShardsOptions>,
    pub(super) mailbox: mpsc::Sender<Event>,
    pub(super) waiters: Waiters,
    pub(super) barrier: Barrier,
    /// The leadership that serves; none while this node does not lead or has not applied its own start yet.
    pub(super) serving: watch::Sender<Option<ShardEpoch>>,
    /// Told when it is known who leads: see [`Shards::leaders`](super::Shards::leaders).
    pub(super) leaders: watch::Sender<()>,
    /// Index of the metadata whose queue policies the shard has all been told.
    pub(super) metadata_seen: watch::Sender<u64>,
    /// Leadership is being handed over: nothing is granted and no renewal answered.
    pub(super) transferring: AtomicBool,
    /// Room for submitted bytes, in KiB.
    pub(super) admission: Semaphore,
    /// Room for workers' results and failures, in KiB: apart, so that submits never keep work from being finished.
    pub(super) reserve: Semaphore,
    pub(super) stop: CancellationToken,
}

impl Replica {
    /// Starts the replica's runner.
    pub(super) fn start(
        shard: ShardId,
        group: Group<ShardState>,
        context: Arc<ShardsOptions>,
        deliveries: Deliveries,
        leaders: watch::Sender<()>,
    ) -> Arc<Self> {
        let (mailbox, events) = mpsc::channel(MAILBOX);
        let shared = Arc::new(Shared {
            shard,
            barrier: Barrier::start(group.clone()),
            group,
            context,
            mailbox,
            waiters: Waiters::default(),
            serving: watch::Sender::new(None),
            leaders,
            metadata_seen: watch::Sender::new(0),
            transferring: AtomicBool::new(false),
            admission: Semaphore::new(ADMITTED_KIB),
            reserve: Semaphore::new(RESERVE_KIB),
            stop: CancellationToken::new(),
        });
        let runner = tokio::spawn(runner::run(shared.clone(), deliveries, events));
        Arc::new(Self {
            shared,
            runner: tokio::sync::Mutex::new(Some(runner)),
        })
    }

    pub(super) fn group(&self) -> &Group<ShardState> {
        &self.shared.group
    }

    pub(super) fn serves(&self) -> bool {
        self.shared.serving.borrow().is_some()
    }

    pub(super) async fn call(&self, call: v1::ShardCall) -> v1::ShardAnswer {
        answer::answer(&self.shared, call).await
    }

    pub(super) async fn submit(
        &self,
        jobs: Vec<Submit>,
        metadata_index: u64,
    ) -> Result<Vec<v1::SubmitResult>, ApiError> {
        answer::check_serving(&self.shared)?;
        let jobs = jobs.into_iter().map(Ok).collect();
        answer::take_in(&self.shared, jobs, metadata_index).await
    }

    /// Hands leadership away if there is time for it and it can, ends the runner, closes the group.
    pub(super) async fn stop(&self, within: Duration) {
        if !within.is_zero() {
            self.shared.hand_over(within).await;
        }
        self.shared.stop.cancel();
        let runner = self.runner.lock().await.take();
        if let Some(runner) = runner
            && timeout(RUNNER_ENDS_WITHIN, runner).await.is_err()
        {
            tracing::warn!(shard_id = %self.shared.shard, "runner did not end in time");
        }
        self.shared.group.shutdown().await;
    }
}

impl Shared {
    /// Looks at the shard as of the last entry applied here.
    pub(super) fn look<R>(&self, look: impl FnOnce(&ShardState) -> R) -> R {
        self.group.read(look)
    }

    /// Whether leadership is being handed over.
    pub(super) fn is_transferring(&self) -> bool {
        self.transferring.load(Ordering::Acquire)
    }

    /// Gives leadership to another replica if this node has it and another is fit for it. From the first moment
    /// nothing more is granted. Says whether it has gone.
    pub(super) async fn hand_over(&self, within: Duration) -> bool {
        if !self.group.status().is_leader() || self.transferring.swap(true, Ordering::AcqRel) {
            return false;
        }
        let shard_id = self.shard;
        let handed = hand_over(&self.group, self.context.cluster.peers(), within).await;
        match &handed {
            Ok(Handover::Passed(to)) => tracing::info!(%shard_id, %to, "leadership handed over"),
            Ok(Handover::Needless) => tracing::debug!(%shard_id, "nobody to hand leadership to"),
            Ok(Handover::SuccessorLost(to)) => {
                tracing::warn!(%shard_id, %to, "leadership not handed over: lost the successor");
            }
            Err(error) => tracing::warn!(%shard_id, %error, "leadership not handed over"),
        }
        self.transferring.store(false, Ordering::Release);
        matches!(handed, Ok(Handover::Passed(_)))
    }

    /// Hands leadership over for as long as the disk is no good for it and this node still leads.
    pub(super) async fn leave_to_better_disks(&self, within: Duration) {
        let disk = self.context.disk.clone();
        let leads_in_vain = || disk.borrow().hands_over() && self.group.status().is_leader();
        let leaving = async {
            while leads_in_vain() && !self.hand_over(within).await {
                sleep(within).await;
            }
        };
        // Ends with the replica.
        self.stop.run_until_cancelled(leaving).await;
    }

    /// Whoever asks here should ask there.
    pub(super) fn not_leader(&self) -> ApiError {
        let shard = self.shard;
        let status = self.group.status();
        if status.is_leader() {
            return ApiError::unavailable(format!(
                "shard {shard} is being taken over by this node: try again in a moment"
            ));
        }
        let hint = status.leader.and_then(|leader| self.hint(leader));
        let message = match status.leader {
            Some(leader) => format!("shard {shard} is led by node {leader}"),
            None => format!("shard {shard} has no leader at the moment: try again shortly"),
        };
        ApiError::not_leader(message, hint)
    }

    fn hint(&self, leader: NodeId) -> Option<v1::LeaderHint> {
        let cluster = &self.context.cluster;
        cluster.read(|metadata| metadata.node(leader).map(leader_hint))
    }
}
