//! Whole connections on a scripted transport: who is cut when, what is written before the close,
//! and how much one peer gets in one poll.

mod rig;

use std::time::Duration;

use holdfast_mqtt::{Code, Fault, Limits};
use tokio::time::{Instant, timeout};

use crate::host::CLOSE_TIMEOUT;
use rig::{
    CONNECT, CONNECT_TIMEOUT, PUBACK, PUBLISH, Read, Rig, STALL, SUBSCRIBE, State, TURNS, limits,
};

/// Fault by which a side closes a session.
const STOPS: Fault = Fault::new(Code::ShuttingDown, "the test stops");
/// Change of a script that breaks its transport.
type Break = fn(&mut rig::Script);

/// DISCONNECT of MQTT 5 begins with this byte.
const DISCONNECT: u8 = 0xe0;

#[tokio::test]
async fn a_peer_that_takes_nothing_is_cut_after_the_limit() {
    let mut rig = Rig::<true>::connected();
    rig.script.borrow_mut().room = 0;
    rig.state.queue.borrow_mut().push_back(10);
    assert!(rig.at(100).is_pending());
    assert_eq!(rig.host.armed, Some(100 + STALL));
    assert!(rig.at(100 + STALL - 1).is_pending());
    assert!(rig.at(100 + STALL).is_ready());
    assert_eq!(rig.told(), ["stalled"], "the session tells no end");
}

#[tokio::test]
async fn any_progress_begins_the_stall_time_anew() {
    let mut rig = Rig::<true>::connected();
    rig.script.borrow_mut().room = 0;
    rig.state.queue.borrow_mut().push_back(10);
    assert!(rig.at(0).is_pending());
    for step in 1..20 {
        rig.script.borrow_mut().room = usize::from(step % 2 == 0);
        assert!(rig.at(step * (STALL / 2)).is_pending(), "{step}");
    }
    rig.script.borrow_mut().room = 100;
    assert!(rig.at(20 * STALL).is_pending());
    // Nothing waits any more, so silence is no stall.
    rig.script.borrow_mut().room = 0;
    assert!(rig.at(40 * STALL).is_pending());
    assert!(rig.told().is_empty());
}

#[tokio::test]
async fn bytes_in_a_transports_own_buffer_are_no_progress() {
    for (rises, cut) in [(false, true), (true, false)] {
        let mut rig = Rig::<true>::connected();
        rig.script.borrow_mut().flush_waits = true;
        rig.script.borrow_mut().taken = Some(20);
        for step in 0..=STALL / 100 {
            // The transport takes each message, and the kernel takes it only where `rises`.
            rig.state.queue.borrow_mut().push_back(1);
            if let (true, Some(taken)) = (rises, &mut rig.script.borrow_mut().taken) {
                *taken += 1;
            }
            let is_last = step == STALL / 100;
            assert_eq!(rig.at(step * 100).is_ready(), is_last && cut, "{rises} {step}");
        }
        assert_eq!(rig.told().contains(&"stalled".to_owned()), cut);
    }
}

#[tokio::test]
async fn the_last_bytes_are_written_before_the_close() {
    let mut rig = Rig::<true>::connected();
    rig.script.borrow_mut().room = 0;
    rig.state.queue.borrow_mut().push_back(10);
    assert!(rig.at(0).is_pending());
    rig.state.close.set(Some(STOPS));
    assert!(rig.at(10).is_pending());
    assert!(rig.told().iter().any(|told| told.starts_with("ended")));
    assert!(!rig.script.borrow().shut);
    rig.script.borrow_mut().room = 16;
    assert!(rig.at(20).is_pending());
    assert!(!rig.script.borrow().shut, "some bytes are left");
    rig.script.borrow_mut().room = 1_000;
    assert!(rig.at(30).is_pending(), "the peer has not closed");
    assert!(rig.script.borrow().shut);
    let written = rig.written();
    let message = [&[0x30, 14, 0, 1, b't', 0][..], &[b'm'; 10]].concat();
    assert_eq!(written.get(..16), Some(&message[..]));
    assert_eq!(written.get(16), Some(&DISCONNECT));
    // What still arrives is dropped; its bytes are nobody's.
    let received = rig.state.bytes_received.get();
    rig.script.borrow_mut().reads.push_back(Read::Bytes(PUBLISH));
    assert!(rig.at(40).is_pending());
    rig.script.borrow_mut().reads.push_back(Read::Eof);
    assert!(rig.at(50).is_ready());
    assert_eq!(rig.state.bytes_received.get(), received);
    assert!(rig.told().is_empty());
}

#[tokio::test]
async fn a_peer_that_does_not_take_the_end_is_left_after_the_close_timeout() {
    for (room, shutdown_waits) in [(0, false), (1, false), (1_000, true), (1_000, false)] {
        let mut rig = Rig::<true>::connected();
        rig.script.borrow_mut().room = room;
        rig.script.borrow_mut().shutdown_waits = shutdown_waits;
        rig.state.close.set(Some(STOPS));
        assert!(rig.at(50).is_pending());
        assert_eq!(rig.host.armed, Some(50 + CLOSE_TIMEOUT));
        assert!(rig.at(50 + STALL).is_pending(), "no stall, it is over already");
        assert!(rig.at(50 + CLOSE_TIMEOUT - 1).is_pending());
        assert!(rig.at(50 + CLOSE_TIMEOUT).is_ready());
        assert_eq!(rig.told().len(), 2, "one end, told once");
    }
}

#[tokio::test]
async fn an_end_instead_of_a_message_counts_from_the_same_turn() {
    let mut rig = Rig::<true>::connected();
    rig.script.borrow_mut().room = 0;
    rig.state.close_by_offer.set(Some(STOPS));
    assert!(rig.at(0).is_pending());
    assert_eq!(rig.host.armed, Some(CLOSE_TIMEOUT));
}

#[tokio::test]
async fn a_half_closed_connection_is_answered_first_or_lost() {
    let mut rig = Rig::<true>::connected();
    rig.script.borrow_mut().reads.extend([Read::Bytes(PUBLISH), Read::Eof]);
    rig.script.borrow_mut().closes = true;
    assert!(rig.at(0).is_pending());
    assert_eq!(rig.told(), ["published", "-"]);
    assert!(!rig.script.borrow().shut);
    rig.state.answers.set(true);
    assert!(rig.at(10).is_ready());
    assert_eq!(rig.told(), ["ended: Lost", "-"]);
    assert_eq!(rig.written(), PUBACK);

    let mut rig = Rig::<false>::connected();
    rig.script.borrow_mut().reads.extend([Read::Bytes(PUBLISH), Read::Eof]);
    assert!(rig.at(0).is_ready());
    assert_eq!(rig.told(), ["published", "-", "ended: Lost", "-"]);
    assert!(rig.written().is_empty());
}

#[tokio::test]
async fn a_broken_transport_is_a_loss() {
    let cases: [(&str, Break); 4] = [
        ("write", |script| script.fails = true),
        ("empty write", |script| script.is_full_for_ever = true),
        ("flush", |script| script.flush_fails = true),
        ("read", |script| script.reads.push_back(Read::Error)),
    ];
    for (what, break_it) in cases {
        let mut rig = Rig::<true>::connected();
        rig.state.queue.borrow_mut().push_back(10);
        break_it(&mut rig.script.borrow_mut());
        assert!(rig.at(0).is_ready(), "{what}");
        assert_eq!(rig.told(), ["ended: Lost", "-"], "{what}");
        assert!(!rig.script.borrow().shut, "{what}");
    }
}

#[tokio::test]
async fn a_busy_peer_yields_after_its_turns() {
    let mut rig = Rig::<true>::connected();
    rig.state.answers.set(true);
    rig.script.borrow_mut().endless = Some(PUBLISH);
    for _ in 0..3 {
        rig.script.borrow_mut().reads_done = 0;
        assert!(rig.at(0).is_pending());
        assert_eq!(rig.script.borrow().reads_done, TURNS);
        assert_eq!(rig.wakes(), 1);
    }
    // So it is while it is being closed.
    rig.state.close.set(Some(STOPS));
    rig.script.borrow_mut().reads_done = 0;
    assert!(rig.at(0).is_pending());
    assert_eq!(rig.script.borrow().reads_done, TURNS);
    assert_eq!(rig.wakes(), 1);
    // An idle one waits.
    rig.script.borrow_mut().endless = None;
    assert!(rig.at(0).is_pending());
    assert_eq!(rig.wakes(), 0);
}

#[tokio::test]
async fn messages_behind_a_full_output_follow_in_the_same_poll() {
    const MESSAGE: usize = 20_000;
    let mut rig = Rig::<true>::connected();
    rig.state.queue.borrow_mut().extend([MESSAGE; 3]);
    assert!(rig.at(0).is_pending());
    assert!(rig.state.queue.borrow().is_empty());
    let written = rig.written().len();
    assert!(written > 3 * MESSAGE, "{written}");
    assert_eq!(rig.wakes(), 0);
}

#[tokio::test]
async fn a_full_window_is_not_read_on() {
    let mut rig = Rig::<true>::connected();
    let publishes = (0..5).map(|_| Read::Bytes(PUBLISH));
    rig.script.borrow_mut().reads.extend(publishes);
    assert!(rig.at(0).is_pending());
    assert_eq!(rig.wakes(), 0);
    assert_eq!(rig.script.borrow().reads.len(), 3, "the window has two");
    rig.state.answers.set(true);
    assert!(rig.at(0).is_pending());
    assert!(rig.script.borrow().reads.is_empty());
    assert_eq!(rig.written(), PUBACK.repeat(5));
}

#[tokio::test]
async fn the_earliest_time_arms_the_timer() {
    let mut rig = Rig::<true>::new();
    assert!(rig.at(5).is_pending());
    assert_eq!(rig.host.armed, Some(CONNECT_TIMEOUT), "the session's");

    let mut rig = Rig::<true>::new();
    rig.state.due.set(Some(70));
    assert!(rig.at(5).is_pending());
    assert_eq!(rig.host.armed, Some(70), "the side's");

    let mut rig = Rig::<true>::connected();
    let silence = rig.host.armed;
    rig.state.due.set(Some(5_000));
    rig.state.queue.borrow_mut().push_back(10);
    rig.script.borrow_mut().room = 0;
    assert!(rig.at(5).is_pending());
    assert_eq!(rig.host.armed, Some(5 + STALL), "the stall's");
    assert!(silence.is_none_or(|at| at > 5 + STALL));

    let mut rig = Rig::<true>::connected();
    rig.state.due.set(Some(2));
    rig.state.close.set(Some(STOPS));
    assert!(rig.at(1).is_pending());
    assert_eq!(rig.host.armed, Some(1 + CLOSE_TIMEOUT), "the close's, alone");
}

#[tokio::test]
async fn the_timer_fires_without_any_other_cause() {
    let state = State { real: Some(Instant::now()), ..State::default() };
    state.due.set(Some(20));
    let mut rig = Rig::<true>::with(Limits { connect_timeout: 60, ..limits() }, state);
    rig.script.borrow_mut().closes = true;
    timeout(Duration::from_secs(20), &mut rig.host).await.expect("the timer fires");
    let told = rig.told();
    assert!(told.first().is_some_and(|told| told.contains("no CONNECT in time")), "{told:?}");
    let offers = rig.state.offers.borrow();
    assert!(offers.iter().any(|at| (20..60).contains(at)), "{offers:?}");
}

#[tokio::test]
async fn a_side_is_told_bytes_events_and_the_tasks_end() {
    let mut rig = Rig::<true>::new();
    rig.script.borrow_mut().reads.extend([Read::Bytes(CONNECT), Read::Bytes(SUBSCRIBE)]);
    assert!(rig.at(0).is_pending());
    assert_eq!(rig.state.bytes_received.get(), CONNECT.len() + SUBSCRIBE.len());
    assert_eq!(rig.state.bytes_sent.get(), rig.written().len());
    assert_eq!(rig.told(), ["connected", "-", "subscribed", "-"]);
    let state = std::rc::Rc::clone(&rig.state);
    drop(rig);
    assert_eq!(state.told.take(), ["dropped"]);
}
