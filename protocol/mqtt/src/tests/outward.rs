//! Messages to the client: subscriptions, windows, conflation, flags.

use bytes::Bytes;

use super::wire::{self, Connect, NAME, topic};
use super::{NOTHING, Rig, Told, limits};
use crate::{Message, NotTaken, Retain};

const BOTH: [u8; 2] = [4, 5];

fn message(channel: &str, payload: &'static str, retain: Retain) -> Message {
    Message {
        topic: topic(channel).into(),
        payload: Bytes::from_static(payload.as_bytes()),
        retain,
        conflate: retain != Retain::No,
    }
}

fn call(payload: &'static str) -> Message {
    message("call", payload, Retain::No)
}

/// Returns a session subscribed to everything at this QoS.
fn subscribed(version: u8, qos: u8) -> Rig {
    let mut rig = Rig::connected(version);
    rig.answer(&wire::subscribe(version, 1, &[(&topic("#"), qos)]));
    rig.news();
    rig
}

/// Returns a publish as the client receives it.
fn expected(version: u8, flags: u8, channel: &str, id: Option<u16>, payload: &str) -> Vec<u8> {
    wire::publish(version, flags, &topic(channel), id, &[], payload.as_bytes())
}

#[test]
fn subscriptions_are_granted_filter_by_filter() {
    for version in BOTH {
        let mut rig = Rig::connected(version);
        let (desired, calls) = (topic("desired"), topic("call"));
        let answer = rig.answer(&wire::subscribe(
            version,
            3,
            &[(&desired, 1), ("hf/v1/7/acme_other/desired", 1), (&calls, 2), ("$share/g/a", 0)],
        ));
        let (codes, words): (&[u8], &[u8]) = if version == 5 {
            (&[1, 0x87, 1, 0x9e], &[0x90, 7, 0, 3, 0])
        } else {
            (&[1, 0x80, 1, 0x80], &[0x90, 6, 0, 3])
        };
        assert_eq!(answer, [words, codes].concat());
        // The granted filters count, whatever else the SUBSCRIBE contained.
        assert_eq!(rig.news(), [Told::Subscribed(vec![desired.clone(), calls.clone()], true)]);
        assert!(rig.session.is_subscribed(&desired) && rig.session.is_subscribed(&calls));

        let answer = rig.answer(&wire::unsubscribe(version, 4, &[&calls, &topic("state")]));
        let unsuback: &[u8] =
            if version == 5 { &[0xb0, 5, 0, 4, 0, 0, 0x11] } else { &[0xb0, 2, 0, 4] };
        assert_eq!(answer, unsuback);
        assert_eq!(rig.news(), [Told::Unsubscribed]);
        assert!(!rig.session.is_subscribed(&calls));
        assert_eq!(rig.session.deliver(call("x")), Err(NotTaken::NotSubscribed));
    }
}

/// Returns a CONNECT of version 5 that accepts this number of topic aliases.
fn accepting_aliases(most: u8) -> Vec<u8> {
    Connect { props: vec![0x22, 0, most], ..Connect::new(5, NAME) }.bytes()
}

#[test]
fn a_topic_is_sent_once_where_the_client_accepts_aliases() {
    let mut rig = Rig::after(&accepting_aliases(9));
    rig.answer(&wire::subscribe(5, 1, &[(&topic("#"), 0)]));
    let mut sent = |channel: &str| {
        rig.session.deliver(message(channel, "x", Retain::No)).unwrap();
        rig.take()
    };
    let whole =
        |channel: &str, props: &[u8]| wire::publish(5, 0, &topic(channel), None, props, b"x");
    let short = |alias: u8| wire::publish(5, 0, "", None, &[0x23, 0, alias], b"x");
    assert_eq!(sent("call"), whole("call", &[0x23, 0, 1]));
    assert_eq!(sent("ack"), whole("ack", &[0x23, 0, 2]));
    assert_eq!(sent("call"), short(1));
    assert_eq!(sent("ack"), short(2));
    assert_eq!(sent("ack").len(), 9, "header 2, no topic 2, properties 4, payload 1");
    assert_eq!(sent("desired"), whole("desired", &[]), "the session keeps no more than two");
    assert_eq!(sent("ack"), short(2));
}

#[test]
fn nobody_gets_an_alias_who_accepts_none() {
    for connect in [accepting_aliases(0), wire::connect(5, NAME), wire::connect(4, NAME)] {
        let version = connect[8];
        let mut rig = Rig::after(&connect);
        rig.answer(&wire::subscribe(version, 1, &[(&topic("#"), 0)]));
        for _ in 0..2 {
            rig.session.deliver(call("x")).unwrap();
            assert_eq!(rig.take(), expected(version, 0, "call", None, "x"));
        }
    }
    let mut one = Rig::after(&accepting_aliases(1));
    one.answer(&wire::subscribe(5, 1, &[(&topic("#"), 0)]));
    let first = wire::publish(5, 0, &topic("call"), None, &[0x23, 0, 1], b"x");
    let plain = wire::publish(5, 0, &topic("ack"), None, &[], b"x");
    let short = wire::publish(5, 0, "", None, &[0x23, 0, 1], b"x");
    for (channel, bytes) in [("call", first), ("ack", plain), ("call", short)] {
        one.session.deliver(message(channel, "x", Retain::No)).unwrap();
        assert_eq!(one.take(), bytes, "{channel}");
    }
}

#[test]
fn the_same_filter_replaces() {
    let mut rig = Rig::connected(5);
    for qos in [0, 1] {
        let answer = rig.answer(&wire::subscribe(5, 1, &[(&topic("#"), qos)]));
        assert_eq!(answer, [0x90, 4, 0, 1, 0, qos]);
    }
    rig.session.deliver(call("x")).unwrap();
    assert_eq!(rig.take(), expected(5, 2, "call", Some(1), "x"), "once, at the newer QoS");
}

#[test]
fn which_retained_messages_a_subscription_wants() {
    let filter = topic("desired");
    let mut rig = Rig::connected(5);
    for (options, wants) in [(0x20, false), (0x10, false), (0x00, true), (0x11, false)] {
        rig.answer(&wire::subscribe(5, 1, &[(&filter, options)]));
        let due = if wants { vec![filter.clone()] } else { Vec::new() };
        assert_eq!(rig.news(), [Told::Subscribed(due, false)], "options {options:#04x}");
    }
    let mut rig = Rig::connected(5);
    rig.answer(&wire::subscribe(5, 1, &[(&filter, 0x10)]));
    assert_eq!(rig.news(), [Told::Subscribed(vec![filter], false)], "it is new");
}

#[test]
fn the_retain_flag_is_as_the_standard_has_it() {
    for (options, retain, flag) in [
        (1, Retain::Stored, 1),
        (1, Retain::Live, 0),
        (1, Retain::No, 0),
        (9, Retain::Stored, 1),
        (9, Retain::Live, 1), // retain as published
        (9, Retain::No, 0),
    ] {
        let mut rig = Rig::connected(5);
        rig.answer(&wire::subscribe(5, 1, &[(&topic("desired"), options)]));
        rig.session.deliver(message("desired", "d", retain)).unwrap();
        let sent = rig.take();
        assert_eq!(sent, expected(5, 2 | flag, "desired", Some(1), "d"), "{options} {retain:?}");
    }
}

#[test]
fn no_more_goes_out_than_the_window_holds() {
    for version in BOTH {
        let mut rig = subscribed(version, 1);
        for payload in ["a", "b", "c", "d", "e"] {
            rig.session.deliver(call(payload)).unwrap();
        }
        assert_eq!(rig.session.deliver(call("f")), Err(NotTaken::Full));
        assert!(!rig.session.is_ready());
        let first: Vec<u8> = [(1, "a"), (2, "b")]
            .iter()
            .flat_map(|&(id, payload)| expected(version, 2, "call", Some(id), payload))
            .collect();
        assert_eq!(rig.take(), first);
        assert_eq!(rig.answer(&wire::puback(9)), NOTHING, "made up");
        let next = rig.answer(&wire::puback(2));
        assert_eq!(next, expected(version, 2, "call", Some(3), "c"));
        assert_eq!(rig.answer(&wire::puback(2)), NOTHING, "acknowledged already");
        rig.answer(&wire::puback(1));
        rig.answer(&wire::puback(3));
        rig.answer(&wire::puback(4));
        rig.answer(&wire::puback(5));
        assert!(rig.session.is_ready());
        assert_eq!(rig.session.publishes_sent(), 5);
    }
}

#[test]
fn the_client_s_receive_maximum_counts_when_it_is_smaller() {
    for (asked, sent) in [(1, 1), (2, 2), (100, 2)] {
        let mut connect = Connect::new(5, NAME);
        connect.props = vec![0x21, 0, asked];
        let mut rig = Rig::after(&connect.bytes());
        rig.answer(&wire::subscribe(5, 1, &[(&topic("call"), 1)]));
        for payload in ["a", "b", "c"] {
            rig.session.deliver(call(payload)).unwrap();
        }
        assert_eq!(rig.session.publishes_sent(), sent, "Receive Maximum {asked}");
    }
}

#[test]
fn what_waits_is_replaced_by_what_is_newer() {
    for version in BOTH {
        let mut rig = subscribed(version, 1);
        rig.session.deliver(call("a")).unwrap();
        rig.session.deliver(call("b")).unwrap();
        rig.take();
        for payload in ["1", "2", "3", "4"] {
            rig.session.deliver(message("desired", payload, Retain::Live)).unwrap();
        }
        rig.session.deliver(call("c")).unwrap();
        assert_eq!(rig.answer(&wire::puback(1)), expected(version, 2, "desired", Some(3), "4"));
        assert_eq!(rig.answer(&wire::puback(2)), expected(version, 2, "call", Some(4), "c"));
    }
}

#[test]
fn a_retained_message_that_is_owed_stays_marked() {
    let mut rig = subscribed(5, 1);
    rig.session.deliver(call("a")).unwrap();
    rig.session.deliver(call("b")).unwrap();
    rig.take();
    rig.session.deliver(message("desired", "stored", Retain::Stored)).unwrap();
    rig.session.deliver(message("desired", "live", Retain::Live)).unwrap();
    assert_eq!(rig.answer(&wire::puback(1)), expected(5, 3, "desired", Some(3), "live"));
}

#[test]
fn a_subscription_of_qos_0_has_no_window() {
    for version in BOTH {
        let mut rig = subscribed(version, 0);
        for _ in 0..10 {
            rig.session.deliver(call("x")).unwrap();
        }
        assert_eq!(rig.take(), expected(version, 0, "call", None, "x").repeat(10));
    }
}

#[test]
fn unwritten_output_holds_back_what_could_be_replaced() {
    let mut rig = subscribed(5, 0);
    let large = Message { payload: Bytes::from(vec![7; 20_000]), ..call("") };
    rig.session.deliver(large.clone()).unwrap();
    assert!(!rig.session.is_ready() && !rig.session.wants_input(), "it does not read");
    for _ in 0..3 {
        rig.session.deliver(large.clone()).unwrap();
    }
    assert_eq!(rig.session.deliver(large), Err(NotTaken::Full));
    let waiting = rig.session.held();
    assert!(waiting < 32_000, "{waiting}");
    rig.take();
    assert!(rig.session.is_ready() && rig.session.wants_input());
    assert_eq!(rig.session.publishes_sent(), 4);
    assert_eq!(rig.session.held(), 0, "an idle session has no buffers");
}

#[test]
fn nothing_larger_than_the_client_takes() {
    let mut connect = Connect::new(5, NAME);
    connect.props = vec![0x27, 0, 0, 0, 40];
    let mut rig = Rig::after(&connect.bytes());
    rig.answer(&wire::subscribe(5, 1, &[(&topic("call"), 1)]));
    let fits = 40 - expected(5, 2, "call", Some(1), "").len();
    let sized = |size: usize| Message { payload: Bytes::from(vec![b'x'; size]), ..call("") };
    assert_eq!(rig.session.deliver(sized(fits + 1)), Err(NotTaken::TooLarge));
    rig.session.deliver(sized(fits)).unwrap();
    assert_eq!(rig.take().len(), 40);
    // The reason text would not fit; the code does.
    rig.give(&[0xc1, 0]);
    let goodbye = rig.take();
    assert_eq!((goodbye[0], goodbye[1]), (0xe0, 2), "{goodbye:02x?}");
}

#[test]
fn packet_ids_go_round() {
    let mut rig = Rig::with(limits(), None);
    rig.give(&wire::connect(5, NAME));
    rig.answer(&wire::subscribe(5, 1, &[(&topic("call"), 1)]));
    rig.session.deliver(call("stays")).unwrap();
    rig.take();
    for turn in 0..70_000_u32 {
        rig.session.deliver(call("x")).unwrap();
        let sent = rig.take();
        let at = 4 + topic("call").len();
        let id = u16::from_be_bytes([sent[at], sent[at + 1]]);
        assert!(id > 1, "turn {turn}: 0 is none, 1 is in flight");
        rig.give(&wire::puback(id));
    }
}
