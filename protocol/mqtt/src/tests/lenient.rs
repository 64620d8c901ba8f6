//! A server for any client, as brokers are: QoS 2, and publishes that can never be accepted.

use super::table::MAX_PACKET;
use super::wire::{self, Connect, NAME, packet, topic};
use super::{Limits, NOTHING, Rig, Told, limits};
use crate::{Answer, Code, Ending, Fault};

const BOTH: [u8; 2] = [4, 5];

fn publish2(version: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    wire::publish(version, 4, &topic("state"), Some(id), &[], payload)
}

fn published(rig: &mut Rig) -> usize {
    rig.news().iter().filter(|told| matches!(told, Told::Published(..))).count()
}

#[test]
fn what_v5_is_told_at_the_start() {
    let mut rig = Rig::with(Limits { lenient: true, ..limits() }, None);
    let connack = rig.answer(&wire::connect(5, NAME));
    let says = |id: u8| connack[5..].contains(&id);
    assert!(!says(0x21), "no Receive Maximum: {connack:02x?}");
    assert!(!says(0x24), "no Maximum QoS: {connack:02x?}");
}

#[test]
fn a_publish_of_qos_2_is_taken_once() {
    for version in BOTH {
        let mut rig = Rig::lenient(version);
        rig.stores = false;
        rig.give(&publish2(version, 7, b"x"));
        rig.give(&publish2(version, 7, b"x"));
        assert_eq!((published(&mut rig), rig.take()), (1, Vec::new()), "stored before PUBREC");
        rig.session.acknowledge(1, true);
        assert_eq!(rig.take(), [0x50, 2, 0, 7]);
        let mut again = publish2(version, 7, b"x");
        again[0] |= 8;
        assert_eq!(rig.answer(&again), [0x50, 2, 0, 7], "the same again");
        assert_eq!(published(&mut rig), 0);
        assert_eq!(rig.answer(&packet(0x62, &[0, 7])), [0x70, 2, 0, 7]);
        let unknown: &[u8] = if version == 5 { &[0x70, 3, 0, 7, 0x92] } else { &[0x70, 2, 0, 7] };
        assert_eq!(rig.answer(&packet(0x62, &[0, 7])), unknown);
        rig.give(&publish2(version, 7, b"y"));
        assert_eq!(published(&mut rig), 1, "the id is free again");
    }
}

#[test]
fn a_will_of_qos_2_is_taken() {
    for version in BOTH {
        let mut connect = Connect::will(version, NAME, &topic("presence"), b"gone");
        connect.flags |= 0x10;
        let mut rig = Rig::with(Limits { lenient: true, ..limits() }, None);
        assert_eq!(rig.answer(&connect.bytes())[3], 0);
    }
}

/// Returns publishes that can never be accepted, and the code that each is answered with.
fn never(version: u8) -> Vec<(&'static str, Vec<u8>, u8)> {
    vec![
        ("another's topic", wire::publish1(version, "hf/v1/7/acme_other/x", 9, b"x"), 0x87),
        ("a wildcard", wire::publish1(version, "hf/v1/7/acme_dev/+", 9, b"x"), 0x87),
        ("a long topic", wire::publish1(version, &"x".repeat(300), 9, b"x"), 0x87),
        ("too large", wire::publish1(version, &topic("state"), 9, &[0; MAX_PACKET]), 0x97),
        ("larger", wire::publish1(version, &topic("state"), 9, &[0; 3 * MAX_PACKET]), 0x97),
    ]
}

#[test]
fn a_publish_that_can_never_be_taken_keeps_nothing_behind_it_back() {
    for version in BOTH {
        for (what, bytes, code) in never(version) {
            let mut rig = Rig::lenient(version);
            rig.stores = false;
            rig.give(&wire::publish1(version, &topic("state"), 1, b"a"));
            rig.give(&bytes);
            rig.give(&wire::publish1(version, &topic("state"), 2, b"b"));
            assert_eq!(published(&mut rig), 2, "{what}");
            assert_eq!(rig.take(), NOTHING, "in their order");
            rig.session.acknowledge(1, true);
            rig.session.acknowledge(3, true);
            let word: &[u8] = if version == 5 { &[0x40, 3, 0, 9, code] } else { &[0x40, 2, 0, 9] };
            let all = [&[0x40, 2, 0, 1][..], word, &[0x40, 2, 0, 2]].concat();
            assert_eq!(rig.take(), all, "{what}");
            assert_eq!(rig.answer(&[0xc0, 0]), [0xd0, 0], "{what}: it stays");
            assert!(rig.session.held() < 100, "{what}");
        }
        let mut rig = Rig::lenient(version);
        rig.stores = false;
        rig.give(&wire::publish1(version, &topic("state"), 1, b"a"));
        rig.session.answer(1, Answer::Never(Fault::new(Code::Quota, "one stream too many")));
        let code: &[u8] = if version == 5 { &[0x40, 3, 0, 1, 0x97] } else { &[0x40, 2, 0, 1] };
        assert_eq!(rig.take(), code, "by the host");
    }
}

#[test]
fn of_qos_2_it_is_refused_too() {
    for (version, word) in [(4, &[0x50, 2, 0, 9][..]), (5, &[0x50, 3, 0, 9, 0x87])] {
        let mut rig = Rig::lenient(version);
        let bytes = wire::publish(version, 4, "hf/v1/7/acme_other/x", Some(9), &[], b"x");
        assert_eq!(rig.answer(&bytes), word);
        assert_eq!(rig.news(), [Told::NotAllowed]);
    }
}

#[test]
fn a_publish_that_is_too_large_is_skipped_without_being_kept() {
    for version in BOTH {
        let mut rig = Rig::lenient(version);
        let bytes = wire::publish1(version, &topic("state"), 9, &vec![0; 1 << 20]);
        for piece in bytes[..bytes.len() - 1].chunks(10_000) {
            assert_eq!(rig.answer(piece), NOTHING, "not before all of it has come");
            assert!(rig.session.held() < 16_384, "{}", rig.session.held());
        }
        assert_ne!(rig.answer(&bytes[bytes.len() - 1..]), NOTHING);
        assert_eq!(rig.news(), [Told::TooLarge(topic("state"))]);
        // A body that ends within its topic is malformed.
        let mut rig = Rig::lenient(version);
        rig.give(&packet(0x32, &vec![0xff; 65_535]));
        assert!(matches!(rig.ending(), Some(Ending::Fault(_))));
    }
}

#[test]
fn an_empty_client_id_needs_a_clean_session() {
    for (version, flags, fault) in
        [(4, 2, None), (4, 0, Some(Code::ClientId)), (5, 0, None), (5, 2, None)]
    {
        let mut connect = Connect::new(version, "");
        connect.flags = flags;
        let parsed = crate::connect::parse(&connect.bytes()[2..], true);
        assert_eq!(parsed.err().map(|(fault, _)| fault.code), fault, "{version} {flags}");
    }
}
