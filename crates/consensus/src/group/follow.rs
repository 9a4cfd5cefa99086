//! Follows openraft's metrics and says in our words what they mean.

use std::time::Duration;

use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Engine;
use crate::machine::Machine;
use crate::status::{GroupStatus, Role};
use crate::timings::Timings;
use crate::types::Types;

/// A leader that no majority has answered for this many leases is not believed to get anything through any more.
const SILENT_LEASES: u32 = 2;

/// Between two looks at least. A busy engine has news thousands of times a second, and each wakes all who watch.
const BREATH: Duration = Duration::from_millis(2);

type Metrics<M> = WatchReceiverOf<Types<M>, RaftMetrics<Types<M>>>;

/// What is known of a group, as it changes.
pub(super) struct Followed {
    pub(super) status: watch::Receiver<GroupStatus>,
    /// Whether this replica leads and a majority still answers. Apart from the status, because it changes rarely and
    /// every proposal under way waits on it.
    pub(super) leading: watch::Receiver<bool>,
    /// The term in which this replica leads. Apart from the status as well, for those who act only when it changes.
    pub(super) led_term: watch::Receiver<Option<u64>>,
}

impl Followed {
    /// Starts the task that follows, once the engine has said where it stands. It ends with the engine.
    pub(super) async fn start<M: Machine>(engine: &Engine<M>, timings: Timings) -> Self {
        let (status_out, status) = watch::channel(GroupStatus::default());
        let (leading_out, leading) = watch::channel(false);
        let (led_term_out, led_term) = watch::channel(None);
        let mut follower = Follower {
            metrics: engine.metrics(),
            status: status_out,
            leading: leading_out,
            led_term: led_term_out,
            silent: timings.leader_lease() * SILENT_LEASES,
            look_again: timings.params().heartbeat,
        };
        // An engine that ends before its first word is found out by the task.
        let _ended = follower.metrics.changed().await;
        follower.publish(GroupStatus::of(&follower.metrics.borrow_watched()));
        tokio::spawn(follower.run());
        Self {
            status,
            leading,
            led_term,
        }
    }
}

struct Follower<M: Machine> {
    metrics: Metrics<M>,
    status: watch::Sender<GroupStatus>,
    leading: watch::Sender<bool>,
    led_term: watch::Sender<Option<u64>>,
    silent: Duration,
    /// A leader is looked at this often although nothing was said: its silence is what matters.
    look_again: Duration,
}

impl<M: Machine> Follower<M> {
    async fn run(mut self) {
        loop {
            let status = GroupStatus::of(&self.metrics.borrow_watched());
            let (leads, stopped) = (status.is_leader(), status.role == Role::Stopped);
            self.publish(status);
            if stopped {
                return;
            }
            sleep(BREATH).await;
            tokio::select! {
                biased;
                changed = self.metrics.changed() => if changed.is_err() {
                    return self.publish_the_end();
                },
                () = sleep(self.look_again), if leads => {}
            }
        }
    }

    fn publish(&self, status: GroupStatus) {
        let heard = status
            .since_quorum()
            .is_none_or(|since| since < self.silent);
        let leading = status.is_leader() && heard;
        tell(&self.leading, leading);
        tell(&self.led_term, status.is_leader().then_some(status.term));
        self.status.send_if_modified(|before| {
            let news = !status.differs_in_time_only(before);
            *before = status;
            news
        });
    }

    /// The engine's last words are missing: it did not stop, it broke.
    fn publish_the_end(&self) {
        let last = GroupStatus::of(&self.metrics.borrow_watched());
        let why = "the raft engine ended without a word; see the log for a panic";
        self.publish(last.stopped(Some(why.to_owned())));
    }
}

/// Wakes those who watch only where there is news.
fn tell<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|before| {
        let is_news = *before != value;
        *before = value;
        is_news
    });
}
