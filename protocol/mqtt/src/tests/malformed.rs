//! Each malformed packet of the table, given to a session: the reason code, and the end.

use super::table::{Gets, cases, read};
use super::{Rig, wire};
use crate::Ending;

#[test]
fn every_malformed_packet_is_answered_and_ends_the_session() {
    for case in cases() {
        let what = &case.what;
        let mut rig = match case.connected {
            None => Rig::new(),
            Some(version) => Rig::connected(version),
        };
        rig.give(&case.bytes);
        assert_eq!(read(&rig.take()), case.gets, "{what}");
        match (case.connected, rig.ending()) {
            (None, Some(Ending::Refused(..))) | (Some(_), Some(Ending::Fault(_))) => {}
            (_, other) => panic!("{what}: ended by {other:?}"),
        }
        assert!(!rig.session.wants_input(), "{what}");
    }
}

#[test]
fn the_table_is_whole() {
    let cases = cases();
    let count = |gets: fn(&Gets) -> bool| cases.iter().filter(|case| gets(&case.gets)).count();
    assert!(cases.len() > 200, "{}", cases.len());
    assert!(count(|gets| matches!(gets, Gets::Connack5(_))) > 50);
    assert!(count(|gets| matches!(gets, Gets::Disconnect(_))) > 60);
    assert!(cases.iter().all(|case| case.bytes.len() <= 20_000), "written in one go");
    assert_eq!(wire::connect(5, wire::NAME).first(), Some(&0x10));
}
