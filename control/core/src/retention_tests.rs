//! Tables of retention: what goes first, how much of it, and what stays.

use holdfast_control_rows::{Answer, Tally};

use super::super::streams::Known;
use super::super::streams::tests::row;
use super::*;

const NOW: u64 = 1_000_000;

fn with(tally: Tally) -> StreamRow {
    StreamRow { tally, ..row(1, "d", "s") }
}

fn limits(age: Option<u64>, bytes: Option<u64>) -> Owner {
    Owner::Known(Retention { age, bytes })
}

#[test]
fn the_most_urgent_need_comes_first() {
    let full = Tally {
        bytes: 700,
        kept: 7,
        segments: SUM_UP_AT,
        oldest_stored: NOW - 100,
        ..Tally::default()
    };
    let long = Tally { segments: SUM_UP_AT + 1, ..full.clone() };
    let empty = Tally { kept: 0, bytes: 0, ..full.clone() };
    for (what, tally, owner, expected) in [
        ("no limits", &full, limits(None, None), Need::Nothing),
        ("as large as allowed", &full, limits(None, Some(700)), Need::Nothing),
        ("too large", &full, limits(None, Some(650)), Need::Shrinking(50)),
        ("as old as allowed", &full, limits(Some(100), None), Need::Nothing),
        ("too old", &full, limits(Some(99), None), Need::Aging(99)),
        ("large before old", &full, limits(Some(99), Some(650)), Need::Shrinking(50)),
        ("nothing kept is too old", &empty, limits(Some(99), Some(650)), Need::Nothing),
        ("long before large", &long, limits(Some(99), Some(650)), Need::SummingUp),
        ("long without limits", &long, limits(None, None), Need::SummingUp),
        ("unknown for a day", &long, Owner::Unknown(NOW - UNKNOWN), Need::Nothing),
        ("unknown for longer", &full, Owner::Unknown(NOW - UNKNOWN - 1), Need::Removal),
    ] {
        assert_eq!(need(&with(tally.clone()), owner, NOW), expected, "{what}");
    }
}

#[test]
fn a_round_looks_at_every_stream_once_and_again_at_one_that_is_too_large() {
    let large = |id, stream: &str| {
        let tally = Tally { bytes: 10, kept: 1, ..Tally::default() };
        StreamRow { tally, ..row(id, "d", stream) }
    };
    let known = Known::read(9, vec![row(1, "d", "a"), large(2, "b"), row(3, "d", "c")], 0);
    let mut round = Round::default();
    let small = Retention { age: None, bytes: Some(5) };
    let look = |round: &mut Round, now| {
        let place = round.place(now)?;
        let (rows, more) = known.after(place.as_ref(), 2);
        let found = round.look(&rows, more, now, |_| Some(small));
        Some((rows.len(), found.step.map(|(row, need)| (row.id, need))))
    };
    let step = Some((2, Need::Shrinking(5)));
    assert_eq!(look(&mut round, NOW), Some((2, step)), "two streams, and the second is too large");
    assert_eq!(look(&mut round, NOW), Some((2, step)), "it is looked at again");
    // The stream is small enough now.
    let rows = [row(2, "d", "b"), row(3, "d", "c")];
    assert_eq!(round.look(&rows, false, NOW, |_| Some(small)), Found::default());
    assert_eq!(round.place(NOW + ROUND - 1), None, "the next round is not due");
    assert_eq!(round.place(NOW + ROUND), Some(None));
}

#[test]
fn a_stream_of_an_unknown_machine_goes_after_a_day_unless_it_is_known_again() {
    let rows = [row(1, "d", "a"), row(2, "d", "b")];
    let look = |round: &mut Round, now, known: bool| {
        round.look(&rows, false, now, |_| known.then(Retention::default)).removals.len()
    };
    let mut round = Round::default();
    assert_eq!(look(&mut round, NOW, false), 0);
    assert_eq!(look(&mut round, NOW + UNKNOWN, false), 0);
    assert_eq!(look(&mut round, NOW + UNKNOWN + 1, false), 2, "all of the machine at once");
    assert_eq!(look(&mut round, NOW + UNKNOWN + 2, true), 0);
    assert_eq!(look(&mut round, NOW + UNKNOWN + 3, false), 0, "its day begins anew");
}

fn head(first: u64, stored: u64) -> Head {
    Head { first, last: first + 4, count: 5, min_time: 1, max_time: 2, stored, bytes: 10 }
}

#[test]
fn as_many_blocks_go_as_are_needed_and_those_with_the_lowest_numbers() {
    let tally = Tally { bytes: 30, kept: 15, oldest_stored: 7, ..Tally::default() };
    let heads = [head(1, 1), head(6, 2), head(11, 3)];
    for (excess, gone) in [(1, 1), (10, 1), (11, 2), (30, 3), (99, 3)] {
        let dropped = shrink(with(tally.clone()), &heads, excess).unwrap();
        let firsts: Vec<_> = heads[..gone].iter().map(|head| (1, head.first)).collect();
        assert_eq!(dropped.batch.gone_blocks, firsts, "{excess}");
        let gone = gone as u64;
        assert_eq!((dropped.bytes, dropped.records), (10 * gone, 5 * gone), "{excess}");
        let left = &dropped.row.tally;
        assert_eq!((left.bytes, left.kept), (30 - 10 * gone, 15 - 5 * gone), "{excess}");
        let rows = std::slice::from_ref(&dropped.row);
        assert_eq!(dropped.batch.streams, rows, "{excess}: one transaction");
        assert_eq!(left.oldest_stored, 7, "a lower bound stays one");
    }
    let empty = shrink(with(tally), &[], 5).unwrap();
    assert_eq!((empty.row.tally.bytes, empty.row.tally.kept), (0, 0), "the sum was wrong");
}

#[test]
fn a_scan_takes_what_is_too_old_and_learns_what_is_oldest_then() {
    let tally = Tally { bytes: 100_000, kept: 50_000, ..Tally::default() };
    let mut scan = Scan::of(&with(tally.clone()));
    let first: Vec<Head> = (0..BLOCKS as u64).map(|at| head(1 + 5 * at, NOW - at)).collect();
    let (dropped, goes_on) = scan.page(with(tally.clone()), &first, 500, NOW);
    assert!(goes_on);
    let dropped = dropped.unwrap();
    assert_eq!(dropped.batch.gone_blocks.len(), 11, "those from 501 s to 511 s ago");
    assert_eq!(dropped.row.tally.oldest_stored, 0, "not known before the end");
    assert_eq!(scan.range().from, first.last().unwrap().first + 1);
    let (dropped, goes_on) = scan.page(dropped.row, &[head(9_000, NOW - 400)], 500, NOW);
    assert!(!goes_on);
    assert_eq!(dropped.unwrap().row.tally.oldest_stored, NOW - 500);
    // Nothing stays: a block that is stored from now on is no older than now.
    let mut scan = Scan::of(&with(tally.clone()));
    let (dropped, _) = scan.page(with(tally), &[head(1, 1)], 500, NOW);
    assert_eq!(dropped.unwrap().row.tally.oldest_stored, NOW);
}

#[test]
fn a_ledger_is_summed_up_from_where_something_is_gained() {
    let segment = |from, to| Segment { from, to, answer: Answer::Received };
    let tally = Tally { highest: 90, segments: 2, summed_below: 50, ..Tally::default() };
    let row = with(tally);
    assert_eq!(summing_starts(&row), [0, 50]);
    assert_eq!(summing_range(&row, 91), None);
    assert_eq!(summing_range(&row, 50), Some(Range { from: 50, to: 90 }));
    assert!(sum_up(row.clone(), 50, Vec::new()).is_none(), "no segment");
    // From the beginning one row stays one row: nothing is gained.
    let summed = Segment { answer: Answer::Summed, ..segment(1, 49) };
    assert!(sum_up(row.clone(), 0, vec![summed]).is_none());
    let (after, batch) = sum_up(row, 50, vec![segment(50, 59), segment(61, 90)]).unwrap();
    assert_eq!(after.tally.summed_below, 91);
    assert_eq!(batch.streams, [after]);
    assert_eq!(batch.segments[0].0, 1);
}

#[test]
fn of_a_stream_that_is_gone_the_blocks_go_first_and_the_row_last() {
    let segments = [Segment { from: 1, to: 9, answer: Answer::Received }];
    let (batch, last) = removal(4, &[head(1, 1)], &[]);
    assert_eq!((batch.gone_blocks, batch.gone_streams, last), (vec![(4, 1)], vec![], false));
    let (batch, last) = removal(4, &[], &segments);
    assert_eq!((batch.segments, last), (vec![(4, vec![(1, None)])], false));
    let (batch, last) = removal(4, &[], &[]);
    assert_eq!((batch.gone_streams, last), (vec![4], true));
}
