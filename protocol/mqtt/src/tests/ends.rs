//! However the server ends a connection, publishes that it accepted and stored are acknowledged
//! first.

use super::wire::{self, Connect, NAME, packet, topic};
use super::{NOTHING, Rig, Told};
use crate::{Code, Ending, Fault};

const BOTH: [u8; 2] = [4, 5];
const ACKS: [u8; 12] = [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3];

/// Cause for the end of a connection, applied from outside.
type End = Box<dyn Fn(&mut Rig)>;

/// Returns every way in which server or client can end a connection, by name.
fn ends(version: u8) -> Vec<(String, End)> {
    let mut ends: Vec<(String, End)> = Vec::new();
    for case in super::table::cases() {
        if case.connected == Some(version) {
            let bytes = case.bytes;
            ends.push((case.what, Box::new(move |rig| rig.give(&bytes))));
        }
    }
    for code in [Code::TakenOver, Code::Administrative, Code::ShuttingDown] {
        let close = move |rig: &mut Rig| rig.session.close(Fault::new(code, "enough"));
        ends.push((format!("{code:?}"), Box::new(close)));
    }
    ends.push(("silence".into(), Box::new(|rig| rig.at(90_000))));
    ends.push(("a goodbye".into(), Box::new(|rig| rig.give(&[0xe0, 0]))));
    ends.push(("no more to send".into(), Box::new(|rig| rig.session.half_closed())));
    ends
}

/// Gives the session three publishes that are not stored yet.
fn with_three(mut rig: Rig, version: u8) -> Rig {
    rig.stores = false;
    for id in 1..=3 {
        rig.give(&wire::publish1(version, &topic("state"), id, b"x"));
    }
    assert_eq!(rig.news().len(), 3);
    rig
}

#[test]
fn what_was_taken_is_acknowledged_before_the_end_whatever_ends_it() {
    for version in BOTH {
        let ends = ends(version);
        assert!(ends.len() > 50, "{}", ends.len());
        for (what, end) in ends {
            let mut rig = with_three(Rig::connected(version), version);
            end(&mut rig);
            rig.events();
            assert_eq!(rig.take(), NOTHING, "{what}: nothing is stored yet");
            assert_eq!(rig.ending(), None, "{what}");
            assert!(!rig.session.wants_input(), "{what}");
            for token in [2, 1, 3] {
                rig.session.acknowledge(token, true);
            }
            rig.events();
            let out = rig.take();
            let (acks, rest) = out.split_at(ACKS.len().min(out.len()));
            assert_eq!(acks, ACKS, "{what}");
            let told = version == 5 && matches!(rig.ending(), Some(Ending::Fault(_)));
            assert_eq!(rest.first().copied(), told.then_some(0xe0), "{what}: the reason is last");
            assert!(rig.ending().is_some(), "{what}");
        }
    }
}

#[test]
fn what_is_never_answered_does_not_keep_it_for_ever() {
    for version in BOTH {
        let connect = Connect::will(version, NAME, &topic("presence"), b"gone").bytes();
        let mut rig = with_three(Rig::after(&connect), version);
        rig.at(1_000);
        rig.give(&[0, 0]);
        rig.session.acknowledge(1, true);
        assert_eq!(rig.session.next_timeout(), Some(6_000));
        rig.at(5_999);
        assert_eq!(rig.ending(), None);
        rig.at(6_000);
        let told = rig.news();
        assert!(matches!(&told[..], [Told::Ended(Ending::Fault(_), Some(_))]), "{told:?}");
        assert_eq!(rig.take().get(..4), Some(&ACKS[..4]), "what is known is said");
        rig.session.acknowledge(2, true);
        assert_eq!(rig.answer(b""), NOTHING);
    }
}

#[test]
fn who_is_gone_is_not_waited_for() {
    for version in BOTH {
        let mut rig = with_three(Rig::connected(version), version);
        rig.give(&[0, 0]);
        rig.session.lost();
        rig.events();
        assert!(matches!(rig.ending(), Some(Ending::Fault(_))), "the first reason stays");
        let mut rig = Rig::connected(version);
        rig.stores = false;
        rig.give(&wire::publish(version, 0, &topic("state"), None, &[], b"x"));
        rig.give(&packet(0x41, &[0, 1]));
        assert!(rig.ending().is_some(), "nobody waits for an answer at QoS 0");
    }
}
