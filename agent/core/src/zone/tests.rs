use proptest::prelude::*;

use super::*;

/// Makes a file as `zic` does: a block of old times, and one of 64 bits.
fn file(changes: &[(i64, u8)], offsets: &[(i32, u8)], names: &[u8], footer: &str) -> Vec<u8> {
    let header = |changes: usize, offsets: usize, chars: usize| {
        let mut bytes = b"TZif2".to_vec();
        bytes.extend([0; 15]);
        for count in [0, 0, 0, changes, offsets, chars] {
            bytes.extend(u32::try_from(count).unwrap().to_be_bytes());
        }
        bytes
    };
    let mut bytes = header(0, 1, 4);
    bytes.extend([0; 6]);
    bytes.extend(b"UTC\0");
    bytes.extend(header(changes.len(), offsets.len(), names.len()));
    changes.iter().for_each(|(at, _)| bytes.extend(at.to_be_bytes()));
    changes.iter().for_each(|(_, number)| bytes.push(*number));
    for (seconds, name) in offsets {
        bytes.extend(seconds.to_be_bytes());
        bytes.extend([0, *name]);
    }
    bytes.extend(names);
    bytes.extend(format!("\n{footer}\n").into_bytes());
    bytes
}

#[test]
fn rules_give_the_offset_of_a_moment() {
    // 2026-03-29 01:00 and 2026-10-25 01:00 UTC, when the clocks of Europe are set.
    let (spring, autumn) = (1_774_746_000, 1_792_890_000);
    for (rule, moment, offset, name) in [
        ("CET-1CEST,M3.5.0,M10.5.0/3", spring - 1, 3_600, "CET"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", spring, 7_200, "CEST"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", autumn - 1, 7_200, "CEST"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", autumn, 3_600, "CET"),
        ("UTC0", 0, 0, "UTC"),
        ("<+0545>-5:45", spring, 20_700, "+0545"),
        ("EST5EDT,M3.2.0,M11.1.0", spring, -14_400, "EDT"),
        // South of the equator: summer over the turn of the year.
        ("AEST-10AEDT,M10.1.0,M4.1.0/3", 1_767_225_600, 39_600, "AEDT"),
        ("AEST-10AEDT,M10.1.0,M4.1.0/3", 1_782_864_000, 36_000, "AEST"),
        // Ireland: what is written as summer time is an hour less, in winter.
        ("IST-1GMT0,M10.5.0,M3.5.0/1", spring - 1, 0, "GMT"),
        ("IST-1GMT0,M10.5.0,M3.5.0/1", spring, 3_600, "IST"),
        // Days by number: 2024 has a leap day, J60 is the first of March in each year.
        ("AAA0BBB,J60/0,J61/0", 1_709_251_200, 3_600, "BBB"),
        ("AAA0BBB,J60/0,J61/0", 1_709_251_199, 0, "AAA"),
        ("AAA0BBB,59/0,60/0", 1_709_247_599, 3_600, "BBB"),
        // Greenland: the change is on the day before, by a negative time.
        ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", spring - 1, -7_200, "-02"),
        ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", spring, -3_600, "-01"),
    ] {
        let zone = Zone::of_rule(rule).unwrap();
        assert_eq!((zone.offset(moment), zone.name(moment)), (offset, name), "{rule} {moment}");
    }
    for bad in [
        "",
        "CET",
        "C-1",
        "CET-1CEST",
        "CET-1CEST,M3.5.0",
        "CET-1CEST,M13.1.0,M1.1.0",
        "CET-1x",
        "Ü0",
    ] {
        assert_eq!(Zone::of_rule(bad), Err(NotARule), "{bad}");
    }
}

#[test]
fn a_file_has_changes_and_a_rule_for_the_time_after_them() {
    let names = b"CET\0CEST\0";
    let changes = [(1_000_000_000, 1), (1_600_000_000, 0), (1_700_000_000, 1)];
    let file_bytes = file(&changes, &[(3_600, 0), (7_200, 4)], names, "EST5");
    let zone = Zone::read(&file_bytes).unwrap();
    let at = |moment| (zone.offset(moment), zone.name(moment));
    assert_eq!(at(1_599_999_999), (7_200, "CEST"));
    assert_eq!(at(1_600_000_000), (3_600, "CET"));
    assert_eq!(at(1_699_999_999), (3_600, "CET"));
    assert_eq!(at(1_700_000_000), (-18_000, "EST"), "the rule holds from the last change on");
    let empty = Zone::read(&file(&changes, &[(3_600, 0), (7_200, 4)], names, "")).unwrap();
    assert_eq!(empty.offset(1_800_000_000), 7_200, "without a rule the last offset goes on");
    let utc = Zone::read(&file(&[], &[(0, 0)], b"UTC\0", "UTC0")).unwrap();
    assert_eq!((utc.offset(5), utc.name(5)), (0, "UTC"));
}

#[test]
fn what_is_no_file_of_a_zone_is_refused() {
    let good = file(&[(5, 0)], &[(0, 0)], b"UTC\0", "UTC0");
    assert!(Zone::read(&good).is_ok());
    for (bytes, why) in [
        (Vec::new(), NotAZone::Format),
        (b"TZif".to_vec(), NotAZone::Format),
        (b"#!/bin/sh and more than twenty bytes".to_vec(), NotAZone::Format),
        (vec![0; 70_000], NotAZone::Long),
        (file(&[(5, 3)], &[(0, 0)], b"UTC\0", "UTC0"), NotAZone::Damaged),
        (file(&[(5, 0), (4, 0)], &[(0, 0)], b"UTC\0", "UTC0"), NotAZone::Damaged),
        (file(&[], &[], b"", "UTC0"), NotAZone::Damaged),
        (file(&[], &[(0, 0)], b"UTC\0", "UTC"), NotAZone::Damaged),
    ] {
        assert_eq!(Zone::read(&bytes), Err(why), "{bytes:?}");
    }
    for end in 0..good.len() - 1 {
        assert!(Zone::read(&good[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_local_time_is_a_moment() {
    let zone = Zone::of_rule("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    // 2026-03-29 and 2026-10-25, 02:30 by the clocks.
    let (spring, autumn) = (1_774_751_400, 1_792_895_400);
    assert_eq!(zone.moment(spring), spring - 3_600, "skipped: 03:30 of summer time");
    assert_eq!(zone.moment(autumn), autumn - 7_200, "twice: the first");
    assert_eq!(zone.moment(autumn + 3_600), autumn, "03:30 comes once");
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..120, with in any::<u8>()) {
        let _refused = Zone::read(&bytes);
        let mut file = file(&[(5, 0)], &[(0, 0)], b"UTC\0", "UTC0");
        let at = cut % file.len();
        file[at] = with;
        if let Ok(zone) = Zone::read(&file) {
            zone.offset(i64::MAX / 4);
            zone.moment(0);
        }
    }

    #[test]
    fn no_text_breaks_the_rule(text in "[A-Z<>+,./:MJ0-9-]{0,40}", moment in -4_000_000_000i64..8_000_000_000) {
        if let Ok(zone) = Zone::of_rule(&text) {
            prop_assert!(zone.offset(moment).abs() < 30 * 3_600);
            zone.moment(moment);
        }
    }
}
