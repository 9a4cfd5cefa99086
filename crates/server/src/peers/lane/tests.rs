use futures_util::FutureExt;
use tokio::task::unconstrained;

use super::*;

const TTL: Duration = Duration::from_secs(1);

fn lane() -> (Lane, impl Stream<Item = v1::PeerFrame> + Send) {
    Lane::new(v1::PeerHello::default(), Timestamp::ZERO)
}

fn ping() -> Body {
    Body::Ping(v1::PeerPing {})
}

fn pong(number: u64) -> v1::PeerFrame {
    v1::PeerFrame {
        number,
        body: Some(Body::Pong(v1::PeerPong {})),
    }
}

/// A frame with a body of about so many bytes.
fn heavy(bytes: usize) -> Body {
    Body::Error(v1::Error {
        message: "x".repeat(bytes),
        ..v1::Error::default()
    })
}

#[tokio::test]
async fn hello_comes_first_and_calls_follow_in_the_order_of_their_first_poll() {
    let (lane, frames) = lane();
    let calls = futures_util::future::join3(
        lane.call(ping(), TTL),
        lane.call(ping(), TTL),
        lane.call(ping(), TTL),
    );
    let mut calls = Box::pin(calls);
    assert!((&mut calls).now_or_never().is_none());
    let first: Vec<_> = frames.take(4).map(|frame| frame.number).collect().await;
    assert_eq!(first, [0, 1, 2, 3]);
}

#[tokio::test]
async fn answer_finds_its_call_whatever_the_order() {
    let (lane, _frames) = lane();
    let both = async { tokio::join!(lane.call(ping(), TTL), lane.call(heavy(1), TTL)) };
    let answering = async {
        lane.answered(
            v1::PeerFrame {
                number: 2,
                body: Some(heavy(7)),
            },
            Timestamp::ZERO,
        );
        lane.answered(pong(1), Timestamp::ZERO);
    };
    let ((one, two), ()) = tokio::join!(both, answering);
    assert_eq!(one, Ok(Body::Pong(v1::PeerPong {})));
    assert_eq!(two, Ok(heavy(7)));
}

#[tokio::test(start_paused = true)]
async fn call_without_an_answer_ends_with_its_time_and_is_forgotten() {
    let (lane, _frames) = lane();
    assert_eq!(lane.call(ping(), TTL).await, Err(LaneError::TimedOut(TTL)));
    assert!(lane.with_waiting(|waiting| waiting.calls.is_empty()));
    lane.answered(pong(1), Timestamp::ZERO);
}

#[tokio::test(start_paused = true)]
async fn call_that_found_no_room_in_time_was_not_sent() {
    let (lane, _frames) = lane();
    let mut crowd: Vec<_> = (0..QUEUED_CALLS)
        .map(|_| Box::pin(unconstrained(lane.call(ping(), TTL * 10))))
        .collect();
    for call in &mut crowd {
        assert!(call.now_or_never().is_none());
    }
    let late = lane.call(ping(), TTL).await;
    assert!(matches!(late, Err(LaneError::NotSent(_))), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_in_bytes_too() {
    let (lane, _frames) = lane();
    let half = QUEUED_KIB * 1_024 / 8;
    let mut crowd: Vec<_> = (0..7)
        .map(|_| Box::pin(unconstrained(lane.call(heavy(half), TTL * 10))))
        .collect();
    for call in &mut crowd {
        assert!(call.now_or_never().is_none());
    }
    let late = lane.call(heavy(half), TTL).await;
    assert!(matches!(late, Err(LaneError::NotSent(_))), "{late:?}");
}

#[tokio::test]
async fn message_over_the_limit_is_refused_with_both_sizes() {
    let (lane, _frames) = lane();
    let Err(LaneError::NotSent(why)) = lane.call(heavy(FRAME_BYTES), TTL).await else {
        panic!("it must not be sent");
    };
    assert!(why.contains(&FRAME_BYTES.to_string()), "{why}");
}

#[tokio::test]
async fn stream_that_ends_leaves_sent_calls_unknown_and_later_ones_unsent() {
    let (lane, _frames) = lane();
    let (sent, ()) = tokio::join!(lane.call(ping(), TTL), async { lane.end("cut") });
    assert_eq!(sent, Err(LaneError::Broken("cut".to_owned())));
    let later = lane.call(ping(), TTL).await;
    assert_eq!(later, Err(LaneError::NotSent("cut".to_owned())));
}

#[tokio::test]
async fn silence_is_counted_from_the_last_answer() {
    let (lane, _frames) = lane();
    let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
    assert_eq!(lane.silent_for(at(3)), Duration::from_secs(3));
    lane.answered(pong(99), at(5));
    assert_eq!(lane.silent_for(at(7)), Duration::from_secs(2));
}
