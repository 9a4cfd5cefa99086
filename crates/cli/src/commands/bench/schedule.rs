//! When each job of an open loop is meant to be sent, and a thread that says so in time.
//!
//! A thread that sleeps wakes a tenth of a millisecond late or more, and whom it tells later still: as long as what is
//! measured takes. So it tells a little early, and the sender busies itself until the very moment.
//!
//! Every latency is counted from the *intended* time. A server that stalls delays the jobs behind the stall too, and a
//! client that waited for it before sending the next would leave those out of the count (coordinated omission). The
//! client's own lateness is thereby in the figures as well, so it is measured and shown beside them.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::clock::now;

/// How early a sender is told at most: a little longer than it takes until it hears.
const LEAD_MAX: Duration = Duration::from_micros(250);

/// And at most this part of the time between two jobs: it is spent on nothing but waiting.
const LEAD_PART: u32 = 20;

/// How often jobs are sent, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Jobs a second.
    pub(super) rate: u64,
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
}

/// Evenly spaced sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) start: Instant,
    pub(super) rate: u64,
    pub(super) jobs: u64,
    /// Of these, so many are sent before anything counts.
    pub(super) unmeasured: u64,
}

impl Schedule {
    pub(super) fn new(start: Instant, pace: Pace) -> Self {
        let Pace {
            rate,
            warm_up,
            measured,
        } = pace;
        let jobs_in = |span: Duration| {
            let jobs = u128::from(rate) * span.as_nanos() / 1_000_000_000;
            u64::try_from(jobs).unwrap_or(u64::MAX)
        };
        let unmeasured = jobs_in(warm_up);
        Self {
            start,
            rate,
            jobs: unmeasured.saturating_add(jobs_in(measured).max(1)),
            unmeasured,
        }
    }

    /// When the job at this place is meant to be sent.
    pub(super) fn intended(&self, at: u64) -> Instant {
        let nanos = u128::from(at) * 1_000_000_000 / u128::from(self.rate);
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.start + Duration::from_nanos(nanos)
    }

    /// How early the sender is told.
    fn lead(&self) -> Duration {
        let between = Duration::from_secs(1) / u32::try_from(self.rate).unwrap_or(u32::MAX);
        LEAD_MAX.min(between / LEAD_PART)
    }

    /// Waits for the moment at which the job at this place is meant to be sent, if it has not passed.
    pub(super) async fn moment(&self, at: u64) {
        while now() < self.intended(at) {
            yield_now().await;
        }
    }

    /// How late it is for the job at this place; none for one that does not count.
    pub(super) fn since(&self, at: u64) -> Option<Duration> {
        (at >= self.unmeasured).then(|| now().saturating_duration_since(self.intended(at)))
    }
}

/// Starts a thread that gives each place to its sender just before its time has come, round and round over the senders. A
/// timer of tokio's has a grain of a millisecond, which is more than what is measured. It ends with the schedule, when it
/// is told to, or when a sender's receiver is gone.
pub(super) fn pace(
    schedule: Schedule,
    senders: Vec<UnboundedSender<u64>>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("pacer".to_owned());
    let lead = schedule.lead();
    thread.spawn(move || {
        let places = (0..schedule.jobs).zip(senders.iter().cycle());
        for (at, sender) in places {
            let wait = schedule.intended(at).saturating_duration_since(now());
            let wait = wait.saturating_sub(lead);
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            if stop.is_cancelled() || sender.send(at).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: u64) -> Schedule {
        let pace = Pace {
            rate,
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(2),
        };
        Schedule::new(now(), pace)
    }

    #[test]
    fn sends_are_evenly_spaced_and_do_not_drift() {
        let schedule = schedule(3);
        let offset = |at| schedule.intended(at) - schedule.start;
        assert_eq!(schedule.jobs, 9);
        assert_eq!(offset(0), Duration::ZERO);
        assert_eq!(offset(3_000_000), Duration::from_secs(1_000_000));
        assert_eq!(offset(2) - offset(1), Duration::from_nanos(333_333_333));
    }

    #[test]
    fn time_counts_from_the_intended_send_and_warm_up_does_not_count() {
        let mut late = schedule(1_000);
        late.start = now().checked_sub(Duration::from_secs(60)).unwrap();
        assert_eq!(late.since(999), None);
        let waited = late.since(1_000).unwrap();
        assert!(waited >= Duration::from_secs(59), "{waited:?}");
    }

    #[tokio::test]
    async fn job_is_sent_at_its_moment_or_at_once_when_that_has_passed() {
        let schedule = schedule(200);
        assert_eq!(schedule.lead(), Duration::from_micros(250));
        schedule.moment(10).await;
        assert!(now() >= schedule.intended(10));
        schedule.moment(0).await;
    }

    #[test]
    fn waiting_for_the_moment_takes_a_small_part_of_the_time_at_any_rate() {
        for rate in [1, 100, 10_000, u64::MAX] {
            let lead = schedule(rate).lead();
            let part = lead.as_secs_f64() * f64::from(u32::try_from(rate).unwrap_or(0));
            assert!(part <= 1.0 / f64::from(LEAD_PART), "{rate}");
        }
    }

    #[test]
    fn every_place_is_given_once_round_and_round() {
        let mut due = schedule(100_000);
        due.jobs = 10;
        let (senders, mut places): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| tokio::sync::mpsc::unbounded_channel())
            .unzip();
        pace(due, senders, CancellationToken::new()).unwrap();
        let first: Vec<u64> = std::iter::from_fn(|| places[0].blocking_recv()).collect();
        assert_eq!(first, [0, 3, 6, 9]);
        assert_eq!(places[1].blocking_recv(), Some(1));
    }

    #[test]
    fn nothing_is_sent_once_the_pacer_is_told_to_stop() {
        let stop = CancellationToken::new();
        stop.cancel();
        let (sender, mut places) = tokio::sync::mpsc::unbounded_channel();
        pace(schedule(100_000), vec![sender], stop).unwrap();
        assert_eq!(places.blocking_recv(), None);
    }
}
