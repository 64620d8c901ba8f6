//! Behaviour of a session towards a client that keeps to the rules: time, wills, publishes in.

use bytes::Bytes;

use super::wire::{self, Connect, NAME, packet, topic};
use super::{Channel, NOTHING, Rig, Told, limits};
use crate::{Code, Ending, Fault, Will};

const BOTH: [u8; 2] = [4, 5];

fn ended(told: &[Told]) -> Option<Code> {
    told.iter().find_map(|told| match told {
        Told::Ended(Ending::Fault(fault) | Ending::Refused(fault, _), _) => Some(fault.code),
        _ => None,
    })
}

/// Asserts that the session ended with this code: a DISCONNECT in version 5, silence in 3.1.1.
fn assert_cut(rig: &mut Rig, version: u8, code: Code) {
    let answer = rig.take();
    let said = (version == 5).then_some((0xe0, code.byte()));
    assert_eq!(answer.first().map(|&first| (first, answer[2])), said, "version {version}");
    assert_eq!(ended(&rig.told), Some(code), "{:?}", rig.told);
    assert!(!rig.session.wants_input());
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_it() {
    for version in BOTH {
        let mut rig = Rig::connected(version);
        rig.at(89_999);
        assert_eq!(rig.told, []);
        assert_eq!(rig.answer(&[0xc0, 0]), [0xd0, 0]);
        assert_eq!(rig.session.next_timeout(), Some(89_999 + 90_000));
        rig.at(179_998);
        assert_eq!(rig.told, []);
        rig.at(179_999);
        assert_cut(&mut rig, version, Code::KeepAliveTimeout);
        assert_eq!(rig.session.next_timeout(), None);
    }
}

#[test]
fn the_keep_alive_has_an_upper_bound_that_v5_is_told() {
    for (version, asked, counted, told) in [
        (5, 60, 60, None),
        (5, 0, 3_600, Some(3_600)),
        (5, 7_200, 3_600, Some(3_600)),
        (4, 0, 3_600, None),
        (4, 7_200, 7_200, None),
    ] {
        let mut rig = Rig::new();
        let mut connect = Connect::new(version, NAME);
        connect.keep_alive = asked;
        rig.give(&connect.bytes());
        let connack = rig.take();
        assert_eq!(rig.told, [Told::Connected(counted)]);
        let [high, low] = u16::to_be_bytes(told.unwrap_or(3_600));
        let says = connack.windows(3).any(|part| part == [0x13, high, low]);
        assert_eq!(says, told.is_some(), "version {version}, asked {asked}: {connack:02x?}");
        assert_eq!(rig.session.next_timeout(), Some(u64::from(counted) * 1_500));
    }
}

#[test]
fn a_connect_has_its_time() {
    let mut rig = Rig::new();
    rig.give(&[0x10]);
    rig.at(9_999);
    assert_eq!(rig.told, []);
    rig.at(10_000);
    assert!(matches!(rig.ending(), Some(Ending::Refused(_, None))), "{:?}", rig.told);
    assert_eq!(rig.take(), NOTHING);
}

#[test]
fn a_begun_packet_must_grow() {
    for version in BOTH {
        let mut connect = Connect::new(version, NAME);
        connect.keep_alive = 1_000;
        let mut rig = Rig::after(&connect.bytes());
        rig.now = 5_000;
        rig.give(&[0x30, 10]);
        rig.at(64_999);
        rig.give(&[0]);
        rig.at(124_998);
        assert_eq!(rig.told, []);
        rig.at(124_999);
        assert_cut(&mut rig, version, Code::KeepAliveTimeout);
    }
}

#[test]
fn who_is_not_listened_to_is_not_silent() {
    for version in BOTH {
        let mut rig = Rig::connected(version);
        rig.stores = false;
        for id in 1..=3 {
            rig.give(&wire::publish1(version, &topic("state"), id, &[0; 50_000]));
        }
        assert!(!rig.session.wants_input(), "128 KiB wait for the host");
        rig.at(90_000);
        rig.at(600_000);
        assert_eq!(rig.ending(), None);
        rig.session.acknowledge(1, true);
        assert!(rig.session.wants_input());
    }
}

#[test]
fn the_last_will_is_the_client_s_unless_it_says_goodbye() {
    let left = || {
        Some(Will { route: Channel::Presence, payload: Bytes::from_static(b"gone"), retain: false })
    };
    let goodbye: &[u8] = &[0xe0, 0];
    for (version, bytes, ending, will) in [
        (4, Some(goodbye), Ending::Goodbye, None),
        (5, Some(goodbye), Ending::Goodbye, None),
        (5, Some(&[0xe0, 1, 0]), Ending::Goodbye, None),
        (5, Some(&[0xe0, 1, 4]), Ending::Goodbye, left()),
        (4, None, Ending::Lost, left()),
        (5, None, Ending::Lost, left()),
    ] {
        let connect = Connect::will(version, NAME, &topic("presence"), b"gone").bytes();
        let mut rig = Rig::after(&connect);
        match bytes {
            Some(bytes) => rig.give(bytes),
            None => rig.session.lost(),
        }
        rig.events();
        assert_eq!(rig.news(), [Told::Ended(ending, will)], "version {version}, {bytes:?}");
        rig.session.lost();
        rig.events();
        assert_eq!(rig.news(), [], "an end is told once");
    }
}

#[test]
fn a_will_may_be_retained_and_must_be_the_client_s_own() {
    for version in BOTH {
        let mut connect = Connect::will(version, NAME, &topic("presence"), b"gone");
        connect.flags |= 0x28; // retained, QoS 1
        let mut rig = Rig::after(&connect.bytes());
        rig.session.lost();
        rig.events();
        let told = rig.news();
        let [Told::Ended(Ending::Lost, Some(will))] = &told[..] else { panic!("{told:?}") };
        assert!(will.retain);

        for foreign in ["hf/v1/7/acme_other/presence", &topic("desired"), &topic("none")] {
            let mut rig = Rig::new();
            let answer = rig.answer(&Connect::will(version, NAME, foreign, b"x").bytes());
            assert_eq!(answer[3], if version == 5 { 0x87 } else { 5 }, "{foreign}");
            assert_eq!(ended(&rig.told), Some(Code::NotAuthorized));
        }
        let mut rig = Rig::new();
        let large = Connect::will(version, NAME, &topic("presence"), &[0; 4_097]).bytes();
        assert_eq!(rig.answer(&large)[3], if version == 5 { 0x97 } else { 3 });
    }
}

#[test]
fn the_host_ends_it_with_a_reason() {
    for code in [Code::TakenOver, Code::Administrative, Code::ShuttingDown] {
        for version in BOTH {
            let connect = Connect::will(version, NAME, &topic("presence"), b"gone").bytes();
            let mut rig = Rig::after(&connect);
            rig.session.close(Fault::new(code, "enough"));
            rig.events();
            assert_cut(&mut rig, version, code);
            let told = rig.news();
            // The session always hands over the will; whether it counts is the host's decision.
            assert!(matches!(&told[..], [Told::Ended(Ending::Fault(_), Some(_))]), "{told:?}");
            assert_eq!(rig.answer(&[0xc0, 0]), NOTHING, "nothing is heard after the end");
            rig.session.close(Fault::new(Code::Quota, "again"));
            rig.session.acknowledge(1, true);
            assert_eq!(rig.answer(b""), NOTHING);
            assert_eq!(rig.news(), []);
        }
    }
    let mut rig = Rig::new();
    rig.session.close(Fault::new(Code::ShuttingDown, "before CONNECT"));
    rig.events();
    assert!(matches!(rig.ending(), Some(Ending::Refused(_, None))));
    assert_eq!(rig.take(), NOTHING);
}

#[test]
fn the_host_refuses_a_client_with_a_reason() {
    for (code, v3) in [(Code::NotAuthorized, 5), (Code::Unavailable, 3), (Code::BadCredentials, 4)]
    {
        for version in BOTH {
            let mut rig = Rig::with(limits(), Some(Fault::new(code, "not you")));
            let answer = rig.answer(&wire::connect(version, NAME));
            let expected = if version == 5 { code.byte() } else { v3 };
            assert_eq!((answer[0], answer[2], answer[3]), (0x20, 0, expected));
            let told = rig.news();
            assert!(matches!(&told[..], [Told::Ended(Ending::Refused(..), None)]), "{told:?}");
        }
    }
}

#[test]
fn the_client_id_is_the_certificate_s_name() {
    for id in ["", "acme_other", "acme", "ACME_DEV", "acme_dev_x", "acme.dev"] {
        for version in BOTH {
            let answer = Rig::new().answer(&wire::connect(version, id));
            assert_eq!(answer[3], if version == 5 { 0x85 } else { 2 }, "{id:?}");
        }
    }
}

#[test]
fn a_publish_is_acknowledged_when_it_is_stored() {
    for version in BOTH {
        let mut rig = Rig::connected(version);
        rig.stores = false;
        for (id, payload) in [(7, b"a"), (9, b"b")] {
            assert_eq!(rig.answer(&wire::publish1(version, &topic("state"), id, payload)), NOTHING);
        }
        assert_eq!(
            rig.news(),
            [
                Told::Published(1, Channel::State, b"a".to_vec(), false),
                Told::Published(2, Channel::State, b"b".to_vec(), false)
            ]
        );
        rig.session.acknowledge(2, true);
        rig.session.acknowledge(2, true);
        rig.session.acknowledge(99, true);
        assert_eq!(rig.take(), NOTHING, "in the order of the publishes");
        rig.session.acknowledge(1, false);
        rig.events();
        if version == 5 {
            assert_eq!(rig.take(), [0x40, 3, 0, 7, 0x80, 0x40, 2, 0, 9], "each once");
            assert_eq!(rig.ending(), None);
        } else {
            assert_eq!(rig.take(), [0x40, 2, 0, 9], "what is stored behind it is acknowledged");
            assert!(matches!(rig.ending(), Some(Ending::Fault(_))), "3.1.1 has no word for it");
        }
    }
}

#[test]
fn a_publish_of_qos_0_is_told_and_not_answered() {
    for version in BOTH {
        let mut rig = Rig::connected(version);
        let bytes = wire::publish(version, 1, &topic("presence"), None, &[], b"x");
        assert_eq!(rig.answer(&bytes), NOTHING);
        assert_eq!(rig.news(), [Told::Published(1, Channel::Presence, b"x".to_vec(), true)]);
    }
}

#[test]
fn publishes_in_flight_are_bounded() {
    for version in BOTH {
        let state = topic("state");
        let mut rig = Rig::connected(version);
        rig.stores = false;
        let many: Vec<u8> =
            (1..=6).flat_map(|id| wire::publish1(version, &state, id, b"x")).collect();
        rig.give(&many);
        assert_eq!(rig.news().len(), 4, "the rest waits, whatever v5 was told: many do not count");
        assert!(!rig.session.wants_input());
        rig.session.acknowledge(1, true);
        rig.events();
        assert_eq!(rig.news().len(), 1);
        for token in 2..=5 {
            rig.session.acknowledge(token, true);
        }
        rig.events();
        assert_eq!((rig.news().len(), rig.session.wants_input()), (1, true));
    }
}

#[test]
fn a_foreign_publish_is_refused() {
    let foreign = "hf/v1/7/acme_other/state";
    let mut rig = Rig::connected(5);
    assert_eq!(rig.answer(&wire::publish1(5, foreign, 3, b"x")), [0x40, 3, 0, 3, 0x87]);
    assert_eq!(rig.news(), [Told::NotAllowed]);
    assert_eq!(rig.answer(&[0xc0, 0]), [0xd0, 0], "it stays connected");
    let mut rig = Rig::connected(4);
    rig.give(&wire::publish1(4, foreign, 3, b"x"));
    assert_cut(&mut rig, 4, Code::NotAuthorized);
}

#[test]
fn what_v5_is_told_at_the_start() {
    let mut connect = Connect::new(5, NAME);
    connect.props = vec![0x11, 0, 0, 0, 9];
    let mut rig = Rig::new();
    let connack = rig.answer(&connect.bytes());
    for property in [
        &[0x11, 0, 0, 0, 0][..], // no session outlives the connection
        &[0x21, 0, 4],           // Receive Maximum
        &[0x24, 1],              // Maximum QoS
        &[0x27, 0, 1, 0, 0],     // Maximum Packet Size
        &[0x29, 0],              // no subscription identifiers
        &[0x2a, 0],              // no shared subscriptions
    ] {
        assert!(connack.windows(property.len()).any(|part| part == property), "{property:02x?}");
    }
    let mut rig = Rig::new();
    assert_eq!(rig.answer(&wire::connect(4, NAME)), [0x20, 2, 0, 0]);
}

#[test]
fn unknown_acknowledgements_change_nothing() {
    for version in BOTH {
        let mut rig = Rig::connected(version);
        assert_eq!(rig.answer(&wire::puback(4_711)), NOTHING);
        assert_eq!(rig.answer(&packet(0xc0, &[])), [0xd0, 0]);
        assert_eq!(rig.news(), []);
    }
}
