//! Tests on real files: what was acknowledged is there again, whatever was done to the file.

use std::path::Path;

use holdfast_base::codec;
use holdfast_records::message::MAX_BATCH;
use holdfast_records::{
    Batch, Format, GapReason, Order, Overflow, Record, Ship, StreamPolicy, block,
};

use super::*;
use crate::core::backoff::Entropy;
use crate::core::data::places::MAX_STREAMS;

const SMALL: Limits = Limits { quota: Some(64 * 1024 * 1024), reserve: Some(0), endurance: None };

fn open(data: &Path) -> Buffer {
    Buffer::new(data, SMALL, right())
}

/// Returns a clock that is relied on.
fn right() -> Time {
    let time = Time::default();
    time.believe_until(u64::MAX);
    time
}

/// Creates a folder in memory where possible, for tests that do not depend on a disk.
fn quick() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

/// Builds `count` records of `size` bytes that begin with their number.
fn records(from: u64, count: u64, size: usize) -> Vec<(Format, Vec<u8>)> {
    (from..from + count)
        .map(|number| {
            let mut value = number.to_string().into_bytes();
            value.push(b' ');
            let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            while value.len() < size {
                noise = noise.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(13);
                value.push(noise.to_le_bytes()[0]);
            }
            (Format::Plain, value)
        })
        .collect()
}

async fn all(buffer: &Buffer, name: &StreamName, window: Window) -> Vec<Record> {
    let (mut all, mut window) = (Vec::new(), window);
    loop {
        let page = buffer.read(name, window, 100_000).await.unwrap();
        all.extend(page.records);
        match page.next {
            Some(next) => window.from = next,
            None => return all,
        }
    }
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart_and_numbers_go_on() {
    let scratch = quick();
    let name = stream("pump/temp");
    let buffer = open(scratch.path());
    assert!(!buffer.is_in_use(), "nothing was published");
    assert_eq!(buffer.summary().await.unwrap(), Summary::default());
    let range = buffer.append(None, name.clone(), 1_000, records(1, 1_000, 200)).await.unwrap();
    assert_eq!(range, Range { from: 1, to: 1_000 });
    let many: Vec<_> = (0..50)
        .map(|at| {
            buffer.try_append(None, name.clone(), 2_000 + at, records(1_001 + at, 1, 20)).unwrap()
        })
        .collect();
    for (at, one) in (1_001..).zip(many) {
        assert_eq!(one.await.unwrap().unwrap(), Range { from: at, to: at });
    }
    buffer.append(None, stream("other"), 5, records(1, 1, 70_000)).await.unwrap_err();
    buffer.append(None, stream("other"), 5, records(1, 3, 65_536)).await.unwrap();
    buffer.close().await;
    assert_eq!(buffer.append(None, name.clone(), 1, records(1, 1, 1)).await, Err(Refused::Closed));

    let buffer = open(scratch.path());
    assert!(buffer.is_in_use());
    let found = all(&buffer, &name, Window::default()).await;
    assert_eq!(found.len(), 1_050);
    for (seq, record) in (1..).zip(&found) {
        assert_eq!(record.seq, seq);
        assert!(record.value.starts_with(format!("{seq} ").as_bytes()));
    }
    let window = Window { from: 900, to: 1_020, since: 2_000, until: 2_009 };
    let some = all(&buffer, &name, window).await;
    assert_eq!((some[0].seq, some.len()), (1_001, 10));
    let next = buffer.append(None, name.clone(), 3_000, records(1_051, 1, 9)).await.unwrap();
    assert_eq!(next.from, 1_051);
    let summary = buffer.summary().await.unwrap();
    let pump = summary.streams.iter().find(|it| it.name == name).unwrap();
    assert_eq!((pump.last, pump.waiting, pump.count), (1_051, 1_051, 1_051));
    assert_eq!(pump.oldest, Some(1_000));
    buffer.close().await;
}

/// Control plane of a test: remembers the sequence numbers that it got records of, and those in
/// gaps.
#[derive(Default)]
struct Ledger {
    received: std::collections::BTreeMap<u64, Vec<u8>>,
    gaps: std::collections::BTreeMap<u64, GapReason>,
}

impl Ledger {
    fn take(&mut self, ready: &Ready) {
        let batch: Batch = codec::decode(&ready.payload).unwrap();
        assert!(ready.payload.len() <= MAX_BATCH);
        assert_eq!((batch.from, batch.to), (ready.range.from, ready.range.to));
        assert!(batch.from >= 1 && batch.from <= batch.to);
        let records =
            if batch.block.is_empty() { Vec::new() } else { block::unpack(&batch.block).unwrap() };
        for gap in &batch.gaps {
            // A few numbers of a gap are enough to check it by.
            for number in (gap.from..=gap.to).take(200_000) {
                self.gaps.entry(number).or_insert(gap.reason);
            }
        }
        let mut left: std::collections::BTreeSet<u64> =
            (batch.from..=batch.to).take(200_000).collect();
        for record in records {
            assert!((batch.from..=batch.to).contains(&record.seq));
            left.remove(&record.seq);
            let seq = record.seq;
            if let Some(former) = self.received.insert(seq, record.value.clone()) {
                assert_eq!(former, record.value, "{seq} came twice with another value");
            }
        }
        for number in left {
            let known = self.gaps.contains_key(&number);
            match batch.rest {
                Some(reason) => {
                    self.gaps.entry(number).or_insert(reason);
                }
                None => assert!(known, "{number} is in no gap and not there"),
            }
        }
    }

    /// Asserts that everything up to `last` is accounted for, and that every record is what was
    /// published.
    fn check(&self, last: u64, value: impl Fn(u64) -> Option<Vec<u8>>) {
        for number in 1..=last {
            let got = self.received.get(&number);
            assert!(got.is_some() || self.gaps.contains_key(&number), "{number} is nowhere");
            if let (Some(got), Some(value)) = (got, value(number)) {
                assert_eq!(*got, value, "{number}");
            }
        }
    }
}

/// Ships a stream to its end; returns the number of batches.
async fn drain(buffer: &Buffer, name: &StreamName, ledger: &mut Ledger, bytes: usize) -> usize {
    let mut batches = 0;
    while let Some(ready) = buffer.batch(name, bytes).await {
        ledger.take(&ready);
        buffer.shipped(name, ready.range, None, (RangeSet::new(), 0));
        batches += 1;
        assert!(batches < 100_000, "it never ends");
    }
    batches
}

fn policy(change: impl FnOnce(&mut StreamPolicy)) -> Arc<DataPolicies> {
    let mut policy =
        StreamPolicy { streams: vec!["*".parse().unwrap()], ..StreamPolicy::default() };
    change(&mut policy);
    let streams = [("p".parse().unwrap(), policy)].into();
    Arc::new(DataPolicies { streams, ..DataPolicies::default() })
}

#[tokio::test]
async fn what_another_store_had_is_shipped_again_or_told_as_lost() {
    let scratch = quick();
    let (name, quiet) = (stream("a"), stream("quiet"));
    let mut buffer = open(scratch.path());
    buffer.set_policies(policy(|policy| policy.quota_bytes = Some(256 * 1024)));
    buffer.append(None, quiet.clone(), 1, records(1, 100, 150)).await.unwrap();
    let (mut ledger, mut next) = (Ledger::default(), 1);
    drain(&buffer, &quiet, &mut Ledger::default(), 16 * 1024).await;
    for _ in 0..10 {
        // What is shipped goes when there is no room, and nobody misses it.
        buffer.append(None, name.clone(), next, records(next, 500, 150)).await.unwrap();
        next += 500;
        drain(&buffer, &name, &mut ledger, 16 * 1024).await;
    }
    assert!(ledger.gaps.is_empty(), "all of it was received");
    let value = |number: u64| Some(records(number, 1, 150).remove(0).1);
    // The first that says which it is is no other one.
    for store in [7, 7, 8, 8] {
        let (mut first, mut other) = (Ledger::default(), Ledger::default());
        buffer.set_store(store);
        drain(&buffer, &name, &mut first, 16 * 1024).await;
        drain(&buffer, &quiet, &mut other, 16 * 1024).await;
        if store == 8 && !first.received.is_empty() {
            first.check(next - 1, value);
            assert!((500..4_000).contains(&first.received.len()), "{}", first.received.len());
            assert!(first.gaps.values().all(|reason| *reason == GapReason::Damaged));
            assert_eq!((other.received.len(), other.gaps.len()), (100, 0));
            ledger = first;
        } else {
            assert!(first.received.is_empty() && first.gaps.is_empty(), "{store} is known");
            assert!(other.received.is_empty() && other.gaps.is_empty(), "{store} is known");
        }
        // And it is known after a restart.
        buffer.close().await;
        buffer = open(scratch.path());
        buffer.set_policies(policy(|policy| policy.quota_bytes = Some(256 * 1024)));
    }
    assert!(!ledger.gaps.is_empty(), "it was all sent again once");
    assert_eq!(buffer.summary().await.unwrap().damage, None, "nothing of it is damaged here");
    buffer.close().await;
}

#[tokio::test]
async fn everything_is_shipped_once_in_any_order() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let scratch = quick();
        let name = stream("a");
        let mut buffer = open(scratch.path());
        buffer.set_policies(policy(|policy| policy.order = order));
        let mut ledger = Ledger::default();
        let mut next = 1;
        for round in 0..6 {
            for _ in 0..3 {
                buffer.append(None, name.clone(), next, records(next, 700, 150)).await.unwrap();
                next += 700;
            }
            let ready = buffer.batch(&name, 16 * 1024).await.unwrap();
            assert!(ready.payload.len() <= 20 * 1024, "{}", ready.payload.len());
            match order {
                Order::OldestFirst if round == 0 => assert_eq!(ready.range.from, 1),
                Order::OldestFirst => {}
                Order::NewestFirst => assert_eq!(ready.range.to, next - 1),
            }
            ledger.take(&ready);
            if round % 2 == 0 {
                buffer.shipped(&name, ready.range, None, (RangeSet::new(), 0));
            }
            buffer.close().await;
            buffer = open(scratch.path());
            buffer.set_policies(policy(|policy| policy.order = order));
        }
        drain(&buffer, &name, &mut ledger, 16 * 1024).await;
        ledger.check(next - 1, |number| Some(records(number, 1, 150).remove(0).1));
        assert!(ledger.gaps.is_empty(), "{:?}", ledger.gaps.first_key_value());
        assert_eq!(buffer.summary().await.unwrap().streams[0].waiting, 0);
        buffer.close().await;
        let buffer = open(scratch.path());
        assert!(buffer.batch(&name, 16 * 1024).await.is_none(), "it is marked as shipped");
        buffer.close().await;
    }
}

#[tokio::test]
async fn a_quota_holds_and_what_goes_stands_in_the_ledger() {
    for (overflow, reason) in [
        (Overflow::DropOldest, GapReason::Quota),
        (Overflow::DropNewest, GapReason::Quota),
        (Overflow::Thin { keep_every: 4 }, GapReason::Thinned),
    ] {
        let scratch = quick();
        let name = stream("a");
        let buffer = open(scratch.path());
        let quota = 1_500_000;
        buffer.set_policies(policy(|policy| {
            policy.quota_bytes = Some(quota);
            policy.overflow = overflow;
        }));
        let (mut next, mut dropped) = (1, Vec::new());
        while next < 30_000 {
            match buffer.append(None, name.clone(), next, records(next, 500, 200)).await {
                Ok(range) => assert_eq!(range.len(), 500),
                Err(Refused::Dropped(range)) => dropped.push(range),
                Err(other) => panic!("{overflow:?}: {other}"),
            }
            next += 500;
            let bytes = buffer.summary().await.unwrap().streams[0].bytes;
            assert!(bytes <= quota, "{overflow:?}: {bytes}");
        }
        let mut ledger = Ledger::default();
        drain(&buffer, &name, &mut ledger, 100_000).await;
        ledger.check(next - 1, |number| Some(records(number, 1, 200).remove(0).1));
        assert!(ledger.received.len() > 4_000, "{overflow:?}: {}", ledger.received.len());
        assert!(ledger.gaps.values().any(|it| *it == reason), "{overflow:?}");
        // Who was told that it is on disk was told the truth, and who was not, too.
        let lost = |range: &Range| !ledger.received.contains_key(&range.from);
        assert_eq!(dropped.is_empty(), overflow != Overflow::DropNewest);
        assert!(dropped.iter().all(lost), "{overflow:?}");
        match overflow {
            Overflow::DropOldest => assert!(ledger.received.contains_key(&(next - 1))),
            Overflow::DropNewest => {
                let refused: u64 = dropped.iter().map(Range::len).sum();
                assert_eq!(ledger.received.len() as u64 + refused, next - 1);
            }
            Overflow::Thin { .. } => {
                assert!(ledger.received.range(..5_000).count() > 10);
                assert!(ledger.received.contains_key(&(next - 1)));
            }
        }
        // What is shipped goes first: the next records lose nothing.
        let gaps = ledger.gaps.len();
        for _ in 0..4 {
            buffer.append(None, name.clone(), next, records(next, 500, 200)).await.unwrap();
            next += 500;
        }
        drain(&buffer, &name, &mut ledger, 100_000).await;
        assert_eq!(ledger.gaps.len(), gaps, "{overflow:?}");
        buffer.close().await;
    }
}

#[tokio::test]
async fn what_is_over_its_ttl_goes_and_stands_in_the_ledger() {
    let scratch = quick();
    let name = stream("a");
    let buffer = open(scratch.path());
    buffer.set_policies(policy(|policy| policy.ttl_ms = Some(1_000_000)));
    for hour in 0..5_u64 {
        let from = hour * 10 + 1;
        buffer.append(None, name.clone(), hour * 3_600_000, records(from, 10, 50)).await.unwrap();
    }
    buffer.expire(0);
    buffer.expire(3 * 3_600_000);
    let mut ledger = Ledger::default();
    drain(&buffer, &name, &mut ledger, 100_000).await;
    ledger.check(50, |number| Some(records(number, 1, 50).remove(0).1));
    let expired = ledger.gaps.iter().filter(|(_, it)| **it == GapReason::Expired).count();
    assert_eq!((expired, ledger.received.len()), (30, 20));
    buffer.close().await;
}

#[tokio::test]
async fn what_a_wrong_clock_dated_waits_for_its_ttl_by_the_right_one() {
    const TTL: u64 = 3_600_000;
    const NOW: u64 = 20_000 * TTL;
    let (scratch, name) = (quick(), stream("a"));
    let ttl = || policy(|policy| policy.ttl_ms = Some(TTL));
    // Nothing is known of this one.
    let buffer = Buffer::new(scratch.path(), SMALL, Time::default());
    buffer.set_policies(ttl());
    buffer.append(None, name.clone(), 5, records(1, 10, 50)).await.unwrap();
    buffer.close().await;
    let buffer = open(scratch.path());
    buffer.set_policies(ttl());
    buffer.expire(NOW);
    buffer.append(None, name.clone(), NOW, records(11, 10, 50)).await.unwrap();
    buffer.close().await;
    let buffer = open(scratch.path());
    buffer.set_policies(ttl());
    buffer.expire(NOW + TTL);
    assert_eq!(buffer.summary().await.unwrap().streams[0].count, 20);
    buffer.expire(NOW + TTL + 1);
    assert_eq!(buffer.summary().await.unwrap().streams[0].count, 0);
    let mut ledger = Ledger::default();
    drain(&buffer, &name, &mut ledger, 100_000).await;
    let expired = ledger.gaps.values().filter(|it| **it == GapReason::Expired).count();
    assert_eq!((expired, ledger.received.len()), (20, 0));
    buffer.close().await;
}

#[tokio::test]
async fn what_is_withheld_is_told_and_can_be_had() {
    let scratch = quick();
    let name = stream("a");
    let buffer = open(scratch.path());
    buffer.set_policies(policy(|policy| policy.ship = Ship::Never));
    for at in 0..100_u64 {
        buffer.append(None, name.clone(), at * 1_000, records(at * 10 + 1, 10, 50)).await.unwrap();
    }
    let mut ledger = Ledger::default();
    assert_eq!(drain(&buffer, &name, &mut ledger, 100_000).await, 1);
    assert!(ledger.received.is_empty() && ledger.gaps.len() == 1_000);
    let (count, bytes) = buffer.request(&name, (20_000, 29_999), u64::MAX).await;
    assert!(count == 100 && bytes > 0);
    drain(&buffer, &name, &mut ledger, 100_000).await;
    let had: Vec<_> = ledger.received.keys().copied().collect();
    assert_eq!(had, (201..=300).collect::<Vec<_>>());
    // A clock that jumped and came back: what lies between is not in the window, and stays here.
    for (from, time) in [(1_001, 500_000), (1_011, 9_000_000), (1_021, 500_001)] {
        buffer.append(None, name.clone(), time, records(from, 10, 50)).await.unwrap();
    }
    drain(&buffer, &name, &mut ledger, 100_000).await;
    assert_eq!(buffer.request(&name, (500_000, 600_000), u64::MAX).await.0, 20);
    drain(&buffer, &name, &mut ledger, 100_000).await;
    let had: Vec<_> = ledger.received.keys().copied().filter(|seq| *seq > 300).collect();
    assert_eq!(had, (1_001..=1_010).chain(1_021..=1_030).collect::<Vec<_>>());
    buffer.close().await;
}

#[tokio::test]
async fn what_is_reduced_is_answered_for_and_survives_restarts() {
    for ship in [
        Ship::OnChange { field: "v".into(), deadband: "5".into() },
        Ship::Window { every_ms: 10_000, fields: vec!["v".into()], aggregates: vec![] },
    ] {
        let scratch = quick();
        let name = stream("a");
        let mut buffer = open(scratch.path());
        buffer.set_policies(policy(|policy| policy.ship = ship.clone()));
        let mut ledger = Ledger::default();
        let value = |at: u64| (Format::Plain, format!("{{\"v\":{}}}", at % 100).into_bytes());
        let mut last = 0;
        for round in 0..6 {
            for _ in 0..200 {
                last += 1;
                let range = buffer.append(None, name.clone(), last * 1_000, vec![value(last)]);
                assert_eq!(range.await.unwrap().to, last);
            }
            if round < 5 {
                if let Some(ready) = buffer.batch(&name, 2_000).await {
                    ledger.take(&ready);
                    // Every other time nobody hears of it.
                    if round % 2 == 0 {
                        buffer.shipped(&name, ready.range, None, (RangeSet::new(), 0));
                    }
                }
                buffer.close().await;
                buffer = open(scratch.path());
                buffer.set_policies(policy(|policy| policy.ship = ship.clone()));
            }
        }
        drain(&buffer, &name, &mut ledger, 4_000).await;
        // What is not told yet is the window that is open, or nothing at all.
        let summary = buffer.summary().await.unwrap();
        let open = summary.streams[0].waiting;
        assert!(open <= 10, "{ship:?}: {open} wait");
        ledger.check(last - open, |_| None);
        let (came, reduced) = (ledger.received.len(), ledger.gaps.len());
        assert!(came > 100 && came < 400, "{ship:?}: {came}");
        assert!(reduced > 800, "{ship:?}: {reduced}");
        assert!(ledger.gaps.values().all(|it| *it == GapReason::Reduced));
        buffer.close().await;
    }
}

/// Fills a buffer in `data` with two streams; returns their last sequence numbers.
async fn filled(data: &Path) -> [u64; 2] {
    let buffer = open(data);
    let last = fill(&buffer, [0, 0], (12, 400)).await;
    buffer.close().await;
    last
}

/// Publishes more to both streams after `last`; returns the new last sequence numbers.
async fn fill(buffer: &Buffer, mut last: [u64; 2], (rounds, many): (u64, u64)) -> [u64; 2] {
    for round in 0..rounds {
        for (at, name) in ["a", "b/c"].into_iter().enumerate() {
            let (count, size) = if at == 0 { (many, 120) } else { (3, 60) };
            let batch = records(last[at] + 1, count, size);
            let range = buffer.append(None, stream(name), round, batch).await.unwrap();
            last[at] = range.to;
        }
    }
    last
}

const FILES: [&str; 3] = ["data.redb", "data.journal", "data.ceilings"];

/// Reads the three files as a power cut would leave them at this moment.
fn files_of(data: &Path) -> [Vec<u8>; 3] {
    FILES.map(|name| std::fs::read(data.join(name)).unwrap())
}

/// An old copy of the database and of the ceilings, put back with and without a journal: no
/// sequence number that was given since is given again.
#[tokio::test]
async fn an_old_copy_gives_no_number_again() {
    let original = quick();
    let old = filled(original.path()).await;
    let copy = files_of(original.path());
    let buffer = open(original.path());
    let last = fill(&buffer, old, (3, 100)).await;
    buffer.close().await;
    let [_, newer, _] = files_of(original.path());
    // Set aside meanwhile, so that its generations might have begun anew.
    std::fs::write(original.path().join("data.redb"), vec![7; 100_000]).unwrap();
    let buffer = open(original.path());
    let later = fill(&buffer, last, (3, 10)).await;
    buffer.close().await;
    let [_, anew, _] = files_of(original.path());
    for (journal, given) in [(None, last), (Some(&newer), last), (Some(&anew), later)] {
        let scratch = quick();
        std::fs::write(scratch.path().join("data.redb"), &copy[0]).unwrap();
        std::fs::write(scratch.path().join("data.ceilings"), &copy[2]).unwrap();
        std::fs::write(scratch.path().join("buffer.made"), b"").unwrap();
        if let Some(journal) = journal {
            std::fs::write(scratch.path().join("data.journal"), journal).unwrap();
        }
        let buffer = open(scratch.path());
        let next = buffer.append(None, stream("a"), 99, records(1, 1, 10)).await.unwrap();
        assert!(next.from > given[0], "{next:?}, {given:?} were given");
        assert!(buffer.summary().await.unwrap().damage.is_some(), "and it is said");
        buffer.close().await;
    }
}

#[tokio::test]
async fn whatever_happens_to_the_journal_nothing_is_wrong_and_nothing_lost_in_silence() {
    let original = quick();
    let old = filled(original.path()).await;
    let buffer = open(original.path());
    // The first step goes to the database.
    let old = fill(&buffer, old, (1, 100)).await;
    let older = std::fs::read(original.path().join("data.redb")).unwrap();
    let last = fill(&buffer, old, (3, 100)).await;
    let good = files_of(original.path());
    let later = fill(&buffer, last, (20, 100)).await;
    let latest = files_of(original.path());
    buffer.close().await;
    assert!(good[0] == older, "the last rounds stand in the journal alone");
    assert!(good[0] != latest[0], "and go to the database when it is full");
    let mut entropy = Entropy::new(5);
    for round in 0..28_u64 {
        let [database, mut journal, mut ceilings] = good.clone();
        let mut draw = |most: usize| (entropy.draw() % most as u64) as usize;
        let mut given = last;
        match round % 7 {
            0 => {}
            1 => journal.truncate(draw(journal.len())),
            2 | 3 => {
                // Where something stands.
                let used = journal.iter().rposition(|byte| *byte != 0).unwrap() + 1;
                journal[draw(used)] ^= 1 << draw(8);
            }
            4 => {
                let at = draw(journal.len() / 4);
                journal[at..at + 5_000].fill(draw(256) as u8);
            }
            5 => {
                // The database, and what outlives it, are those of before.
                journal.clone_from(&latest[1]);
                given = later;
            }
            _ => {
                journal.clone_from(&latest[1]);
                ceilings.clone_from(&latest[2]);
                given = later;
            }
        }
        let scratch = quick();
        for (name, bytes) in FILES.iter().zip([&database, &journal, &ceilings]) {
            std::fs::write(scratch.path().join(name), bytes).unwrap();
        }
        let missing = round % 14 == 8;
        if missing {
            std::fs::remove_file(scratch.path().join("data.journal")).unwrap();
        }
        await_accounted(scratch.path(), given, &format!("round {round}")).await;
    }
}

#[tokio::test]
async fn whatever_happens_to_the_file_nothing_is_wrong_and_nothing_lost_in_silence() {
    let original = quick();
    let last = filled(original.path()).await;
    let whole = std::fs::read(original.path().join("data.redb")).unwrap();
    let [_, journal, ceilings] = files_of(original.path());
    let mut entropy = Entropy::new(7);
    let rounds = std::env::var("HOLDFAST_TEST_ROUNDS").ok().and_then(|it| it.parse().ok());
    for round in 0..rounds.unwrap_or(40_u64) {
        let mut bytes = whole.clone();
        let mut draw = |most: usize| (entropy.draw() % most as u64) as usize;
        match round % 4 {
            0 => bytes.truncate(draw(whole.len())),
            1 => {
                // The header and the pages beside it: structure rather than records.
                let at = draw(64 * 1024);
                bytes[at] ^= 1 << draw(8);
            }
            2 => {
                let at = draw(whole.len());
                bytes[at] ^= 1 << draw(8);
            }
            _ => {
                let (at, length) = (draw(whole.len()), draw(8_192));
                let end = (at + length).min(bytes.len());
                bytes[at..end].fill(draw(256) as u8);
            }
        }
        let scratch = quick();
        std::fs::write(scratch.path().join("data.redb"), &bytes).unwrap();
        std::fs::write(scratch.path().join("data.journal"), &journal).unwrap();
        std::fs::write(scratch.path().join("data.ceilings"), &ceilings).unwrap();
        await_accounted(scratch.path(), last, &format!("round {round}")).await;
    }
}

/// Publishes above all that was given, and asserts that every earlier number is a record or in a
/// gap.
async fn await_accounted(data: &Path, last: [u64; 2], round: &str) {
    let check = async {
        let buffer = open(data);
        for (name, last) in [("a", last[0]), ("b/c", last[1])] {
            let name = stream(name);
            let size = if name.as_str() == "a" { 120 } else { 60 };
            // A thread that is lost to what it found may refuse what it had in hand.
            let first = loop {
                match buffer.append(None, name.clone(), 99, records(1, 1, 10)).await {
                    Ok(range) => break range.from,
                    Err(Refused::Busy) => {}
                    Err(other) => panic!("{round}: {other}"),
                }
            };
            assert!(first > last, "{round}: {first} was given before");
            let mut ledger = Ledger::default();
            let mut idle = 0;
            while idle < 3 {
                idle = if drain(&buffer, &name, &mut ledger, 60_000).await == 0 {
                    idle + 1
                } else {
                    0
                };
            }
            // Above an older file's numbers is a gap without end.
            ledger.check(first.min(last + 100_000), |number| {
                (number <= last).then(|| records(number, 1, size).remove(0).1)
            });
            // Damage may be noticed late; then it takes in again.
            let mut works = ledger.received.contains_key(&first);
            for _ in 0..3 {
                let more = buffer.append(None, name.clone(), 99, records(1, 1, 10)).await;
                drain(&buffer, &name, &mut ledger, 60_000).await;
                works |= more.is_ok_and(|more| ledger.received.contains_key(&more.from));
            }
            assert!(works, "{round}");
        }
        buffer.close().await;
    };
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, check).await.unwrap_or_else(|_| panic!("{round}"));
}

#[tokio::test]
async fn a_full_disk_refuses_and_heals_by_itself() {
    let scratch = quick();
    let name = stream("a");
    let buffer = open(scratch.path());
    let first = buffer.append(None, name.clone(), 1, records(1, 500, 100)).await.unwrap();
    let full = scratch.path().join("data.full");
    std::fs::write(&full, "").unwrap();
    for _ in 0..3 {
        let refused = buffer.append(None, name.clone(), 2, records(1, 10, 100)).await;
        assert!(matches!(refused, Err(Refused::DiskFull(_))), "{refused:?}");
    }
    let page = buffer.read(&name, Window::default(), 1_000_000).await.unwrap();
    assert!(page.failed || page.records.len() == 500, "{} of them", page.records.len());
    let summary = buffer.summary().await.unwrap();
    assert!(summary.full.is_some() && summary.damage.is_none(), "{summary:?}");
    std::fs::remove_file(&full).unwrap();
    let healed = async {
        loop {
            match buffer.append(None, name.clone(), 3, records(501, 10, 100)).await {
                Ok(range) => return range,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    };
    let range = tokio::time::timeout(std::time::Duration::from_secs(30), healed).await.unwrap();
    assert!(range.from > first.to);
    assert!(buffer.summary().await.unwrap().full.is_none());
    let mut ledger = Ledger::default();
    drain(&buffer, &name, &mut ledger, 60_000).await;
    ledger.check(range.to, |_| None);
    for number in 1..=500 {
        assert_eq!(ledger.received[&number], records(number, 1, 100).remove(0).1);
    }
    buffer.close().await;
}

#[tokio::test]
async fn a_read_that_fails_while_room_is_made_leaves_nothing_that_is_not_so() {
    let scratch = quick();
    let (first, full) = (stream("a"), stream("full"));
    let buffer = open(scratch.path());
    let mut policies = DataPolicies::default();
    let gathered = StreamPolicy {
        streams: vec!["*".parse().unwrap()],
        durability_ms: 200,
        ..StreamPolicy::default()
    };
    let bounded = StreamPolicy {
        streams: vec!["full".parse().unwrap()],
        quota_bytes: Some(1_500_000),
        ..gathered.clone()
    };
    policies.streams.insert("all".parse().unwrap(), gathered);
    policies.streams.insert("full".parse().unwrap(), bounded);
    buffer.append(None, first.clone(), 1, records(1, 10, 100)).await.unwrap();
    let mut last = 0;
    while last < 10_000 {
        let range =
            buffer.append(None, full.clone(), 1, records(last + 1, 500, 200)).await.unwrap();
        last = range.to;
    }
    buffer.set_policies(Arc::new(policies));
    // Both in one group: there is room for the first one's, the second one's have to make it.
    std::fs::write(scratch.path().join("data.unread"), "").unwrap();
    let one = buffer.try_append(None, first.clone(), 2, records(11, 10, 100)).unwrap();
    let other = buffer.try_append(None, full.clone(), 2, records(last + 1, 500, 200)).unwrap();
    assert!(matches!(one.await.unwrap(), Err(Refused::DiskFull(_))));
    assert!(matches!(other.await.unwrap(), Err(Refused::DiskFull(_))));
    assert!(!scratch.path().join("data.unread").exists(), "a read has failed");
    for (name, mut next, size) in [(&first, 11, 100), (&full, last + 1, 200)] {
        for _ in 0..2 {
            let range = loop {
                match buffer.append(None, name.clone(), 3, records(next, 10, size)).await {
                    Ok(range) => break range,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                }
            };
            assert_eq!(range.from, next, "what was refused has no number");
            next = range.to + 1;
        }
        let mut ledger = Ledger::default();
        drain(&buffer, name, &mut ledger, 60_000).await;
        ledger.check(next - 1, |number| Some(records(number, 1, size).remove(0).1));
        assert!(ledger.gaps.values().all(|why| *why == GapReason::Quota), "{name}");
    }
    assert_eq!(buffer.summary().await.unwrap().damage, None);
    buffer.close().await;
}

#[tokio::test]
async fn what_the_rest_needs_of_the_disk_is_left() {
    let scratch = quick();
    // More is kept for the rest than the disk has.
    let limits = Limits { quota: None, reserve: Some(u64::MAX), endurance: None };
    let buffer = Buffer::new(scratch.path(), limits, right());
    let name = stream("a");
    let mut refused = None;
    // What the new file has already is used, and no more.
    for _ in 0..1_000 {
        if let Err(why) = buffer.append(None, name.clone(), 1, records(1, 500, 500)).await {
            refused = Some(why);
            break;
        }
    }
    let length = std::fs::metadata(scratch.path().join("data.redb")).unwrap().len();
    assert!(length < 16 << 20, "{length}");
    let summary = buffer.summary().await.unwrap();
    assert!(summary.low && summary.used <= summary.quota.max(1 << 20), "{summary:?}");
    assert!(refused.is_none_or(|why| matches!(why, Refused::DiskFull(_))));
    buffer.close().await;
}

#[tokio::test]
async fn both_files_lost_no_number_comes_twice() {
    type Harm = fn(&Path);
    let noise: Harm = |file| std::fs::write(file, vec![7; 100_000]).unwrap();
    let gone: Harm = |file| std::fs::remove_file(file).unwrap();
    for (buffer, ceilings) in [(noise, noise), (noise, gone), (gone, noise), (gone, gone)] {
        let scratch = quick();
        let (file, above) =
            (scratch.path().join("data.redb"), scratch.path().join("data.ceilings"));
        let name = stream("a");
        let first = open(scratch.path());
        let former = first.append(None, name.clone(), 1, records(1, 500, 100)).await.unwrap();
        first.close().await;
        buffer(&file);
        ceilings(&above);
        let second = open(scratch.path());
        let now = second.append(None, name.clone(), 1, records(1, 1, 100)).await.unwrap();
        assert!(now.from > former.to + 1_000_000, "{now:?}");
        assert!(second.summary().await.unwrap().damage.is_some());
        second.close().await;
        let third = open(scratch.path());
        let other = third.append(None, stream("b"), 1, records(1, 1, 100)).await.unwrap();
        assert!(other.from > former.to + 1_000_000, "{other:?}");
        third.close().await;
        // What the first file knew is not forgotten with the second one.
        std::fs::remove_file(&file).unwrap();
        let fourth = open(scratch.path());
        let other = fourth.append(None, stream("c"), 1, records(1, 1, 100)).await.unwrap();
        assert!(other.from > former.to + 1_000_000, "{other:?}");
        fourth.close().await;
    }
}

#[tokio::test]
async fn ceilings_that_were_lost_once_are_there_again_for_every_stream() {
    let harms: [fn(&Path); 2] = [
        |file| std::fs::write(file, "nonsense").unwrap(),
        |file| std::fs::remove_file(file).unwrap(),
    ];
    for harm in harms {
        let scratch = quick();
        let (a, b) = (stream("a"), stream("b"));
        let buffer = open(scratch.path());
        buffer.append(None, a.clone(), 1, records(1, 10, 100)).await.unwrap();
        let former = buffer.append(None, b.clone(), 1, records(1, 500, 100)).await.unwrap();
        buffer.close().await;
        harm(&scratch.path().join("data.ceilings"));
        let buffer = open(scratch.path());
        let next = buffer.append(None, a.clone(), 1, records(11, 1, 100)).await.unwrap();
        assert_eq!(next.from, 11, "the buffer itself is whole");
        buffer.close().await;
        std::fs::write(scratch.path().join("data.redb"), vec![7; 100_000]).unwrap();
        let buffer = open(scratch.path());
        let next = buffer.append(None, b.clone(), 1, records(1, 1, 100)).await.unwrap();
        assert!(next.from > former.to, "{next:?}");
        buffer.close().await;
    }
}

#[tokio::test]
async fn a_block_that_is_damaged_is_not_told_as_thinned() {
    let scratch = quick();
    let (name, file) = (stream("a"), scratch.path().join("data.redb"));
    let buffer = open(scratch.path());
    let mut next = 1;
    while next < 5_000 {
        buffer.append(None, name.clone(), next, records(next, 500, 200)).await.unwrap();
        next += 500;
    }
    buffer.close().await;
    // A bit of one of the first block's records.
    let mut bytes = std::fs::read(&file).unwrap();
    let noise: Vec<Vec<u8>> =
        records(1, 400, 200).into_iter().map(|(_, value)| value[60..100].to_vec()).collect();
    let hit = |at: &usize| noise.iter().any(|it| bytes[*at..].starts_with(it));
    let at = (0..bytes.len()).find(hit).unwrap();
    let found = bytes[at..at + 40].to_vec();
    let all: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&found)).collect();
    all.into_iter().for_each(|at| bytes[at + 20] ^= 1);
    std::fs::write(&file, &bytes).unwrap();
    let buffer = open(scratch.path());
    buffer.set_policies(policy(|policy| {
        policy.quota_bytes = Some(1_500_000);
        policy.overflow = Overflow::Thin { keep_every: 4 };
    }));
    while next < 12_000 {
        buffer.append(None, name.clone(), next, records(next, 500, 200)).await.unwrap();
        next += 500;
    }
    let mut ledger = Ledger::default();
    drain(&buffer, &name, &mut ledger, 100_000).await;
    ledger.check(next - 1, |number| Some(records(number, 1, 200).remove(0).1));
    let told = |number: u64| ledger.gaps.get(&number).copied();
    assert!((1..=500).all(|number| told(number) == Some(GapReason::Damaged)), "{:?}", told(1));
    assert!((501..1_500).any(|number| told(number) == Some(GapReason::Thinned)));
    assert!(buffer.summary().await.unwrap().damage.is_some());
    buffer.close().await;
}

#[tokio::test]
async fn what_is_reduced_after_something_was_thinned_is_told_as_reduced() {
    let scratch = quick();
    let name = stream("a");
    let buffer = open(scratch.path());
    buffer.set_policies(policy(|policy| {
        policy.quota_bytes = Some(1_500_000);
        policy.overflow = Overflow::Thin { keep_every: 4 };
        policy.ship = Ship::OnChange { field: "v".into(), deadband: "5".into() };
    }));
    let some = |from: u64| -> Vec<_> {
        let noise = records(from, 500, 200).into_iter().map(|(_, value)| {
            value.iter().map(|byte| char::from(b'a' + byte % 26)).collect::<String>()
        });
        let value = |(at, noise): (u64, String)| {
            (Format::Plain, format!("{{\"v\":{},\"noise\":\"{noise}\"}}", at % 100).into_bytes())
        };
        (from..).zip(noise).map(value).collect()
    };
    let mut next = 1;
    while next < 15_000 {
        buffer.append(None, name.clone(), next, some(next)).await.unwrap();
        next += 500;
    }
    let mut ledger = Ledger::default();
    drain(&buffer, &name, &mut ledger, 100_000).await;
    assert!(ledger.gaps.values().any(|why| *why == GapReason::Thinned));
    let began = next;
    while next < began + 2_000 {
        buffer.append(None, name.clone(), next, some(next)).await.unwrap();
        next += 500;
        drain(&buffer, &name, &mut ledger, 100_000).await;
    }
    let mut new = ledger.gaps.range(began..).map(|(_, why)| *why);
    assert!(ledger.gaps.range(began..).count() > 1_000);
    assert!(new.all(|why| why == GapReason::Reduced));
    buffer.close().await;
}

#[tokio::test]
async fn a_thread_that_is_lost_too_often_is_said() {
    let scratch = quick();
    let buffer = open(scratch.path());
    buffer.append(None, stream("a"), 1, records(1, 1, 20)).await.unwrap();
    for _ in 0..queue::MAX_LOST {
        buffer.queue.lost();
        assert!(!buffer.has_failed());
    }
    buffer.queue.lost();
    assert!(buffer.has_failed() && !buffer.is_in_use());
    let refused = buffer.append(None, stream("a"), 1, records(1, 1, 20)).await;
    assert_eq!(refused, Err(Refused::Closed));
}

#[tokio::test]
async fn a_kept_ledger_is_told_when_it_can_be_read() {
    let scratch = quick();
    let buffer = open(scratch.path());
    buffer.keep_ledger(b"once".to_vec());
    buffer.close().await;
    let (file, away) = (scratch.path().join("data.redb"), scratch.path().join("away"));
    std::fs::rename(&file, &away).unwrap();
    std::fs::create_dir(&file).unwrap();
    let buffer = open(scratch.path());
    assert_eq!(buffer.kept_ledger().await, None, "a file that cannot be opened");
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&away, &file).unwrap();
    let told = async {
        loop {
            if let Some(told) = buffer.kept_ledger().await {
                return told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(30), told).await.unwrap();
    assert_eq!(told, b"once");
    buffer.close().await;
    let scratch = quick();
    let buffer = open(scratch.path());
    buffer.append(None, stream("a"), 1, records(1, 1, 20)).await.unwrap();
    assert_eq!(buffer.kept_ledger().await, Some(Vec::new()), "none was kept");
    buffer.close().await;
}

/// Publishes one record to each of these streams; returns the numbers, or the reasons for refusal.
async fn each(
    buffer: &Buffer,
    owner: &str,
    names: impl Iterator<Item = String>,
    time: u64,
) -> Vec<Result<Range, Refused>> {
    let owner = Some(owner.parse().unwrap());
    let open: Vec<_> = names
        .map(|name| buffer.try_append(owner.clone(), stream(&name), time, records(1, 1, 20)))
        .collect();
    let mut answers = Vec::new();
    for one in open {
        answers.push(one.unwrap().await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_left_gives_its_place_and_never_a_number_again() {
    let scratch = quick();
    let buffer = open(scratch.path());
    buffer.set_policies(policy(|policy| policy.ttl_ms = Some(1_000)));
    for owner in 0..5 {
        let names = (0..200).map(|at| format!("w{owner}/{at}"));
        let all = each(&buffer, &format!("w{owner}"), names, 1_000 + owner).await;
        assert!(all.iter().all(Result::is_ok));
        let more = each(&buffer, &format!("w{owner}"), ["more".into()].into_iter(), 1).await;
        assert_eq!(more, [Err(Refused::TooManyOfOne)]);
    }
    let mut new = ["new".to_owned()].into_iter();
    let refused = each(&buffer, "late", new.clone(), 1).await;
    assert_eq!(refused, [Err(Refused::TooManyStreams)]);
    // Two of them are used again, and shipped; the others too, and what they had expires.
    let (first, second) = (stream("w0/0"), stream("w2/7"));
    let mut last = 1;
    for name in [&first, &second] {
        for _ in 0..3 {
            let range = buffer.append(None, name.clone(), 5_000, records(1, 100, 20)).await;
            last = range.unwrap().to;
        }
    }
    let names: Vec<_> =
        buffer.summary().await.unwrap().streams.into_iter().map(|it| it.name).collect();
    for name in &names {
        drain(&buffer, name, &mut Ledger::default(), 100_000).await;
    }
    assert_eq!(each(&buffer, "late", new.clone(), 1).await, [Err(Refused::TooManyStreams)]);
    buffer.expire(100_000_000);
    let began = Time::default().now_ms();
    let taken = each(&buffer, "late", new.clone(), 100_000_000).await.remove(0).unwrap();
    assert!(taken.from >= began, "{taken:?}");
    let has =
        |summary: &Summary, name: &str| summary.streams.iter().any(|it| it.name.as_str() == name);
    let now = buffer.summary().await.unwrap();
    assert_eq!(now.streams.len(), MAX_STREAMS);
    assert!(has(&now, "new") && !has(&now, "w0/1"), "the one that is longest without a record");
    // All others of before go as well: those with the latest records are the last.
    let others = (0..198).map(|at| format!("late/{at}"));
    assert!(each(&buffer, "late", others, 100_000_001).await.iter().all(Result::is_ok));
    let now = buffer.summary().await.unwrap();
    assert!(has(&now, first.as_str()) && !has(&now, "w0/199"));
    let more = (0..200).map(|at| format!("other/{at}"));
    assert!(each(&buffer, "other", more, 100_000_001).await.iter().all(Result::is_ok));
    buffer.close().await;
    // Over a restart, and with either file gone: above all that was given.
    let check = async |what: &str| {
        let buffer = open(scratch.path());
        let again = buffer.append(None, stream("w0/1"), 100_000_002, records(1, 1, 20)).await;
        assert!(again.unwrap().from > last.max(taken.to), "{what}");
        assert_eq!(buffer.summary().await.unwrap().streams.len(), MAX_STREAMS, "{what}");
        buffer.close().await;
    };
    std::fs::copy(scratch.path().join("data.redb"), scratch.path().join("kept")).unwrap();
    check("whole").await;
    std::fs::rename(scratch.path().join("kept"), scratch.path().join("data.redb")).unwrap();
    std::fs::remove_file(scratch.path().join("data.ceilings")).unwrap();
    check("without ceilings").await;
    std::fs::remove_file(scratch.path().join("data.redb")).unwrap();
    let buffer = open(scratch.path());
    let now = buffer.summary().await.unwrap();
    assert!(has(&now, "w0/1") && !has(&now, "w0/2"), "forgotten there too");
    let refused = each(&buffer, "late", new.by_ref(), 1).await;
    assert!(refused[0].as_ref().is_ok_and(|range| range.from > taken.to), "{refused:?}");
    buffer.close().await;
}

/// Prints what storing costs: `cargo test --release -p holdfast-agent --lib buffer::tests::measure
/// -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure() {
    let line = |n: u64| {
        let text = format!(
            "{{\"ts\":{},\"pump\":\"p-{}\",\"temp\":{}.{},\"rpm\":{},\"flow\":{}.{},\"state\":\"running\"}}",
            1_700_000_000_000 + n * 1_000,
            n % 7,
            40 + n % 13,
            n * 31 % 100,
            1_480 + n * 7 % 41,
            n % 5,
            n * 17 % 1_000
        );
        (Format::Plain, format!("{text:<200}").into_bytes())
    };
    for noise in [true, false] {
        for (posts, each, flight) in [(200_u64, 1_000_u64, 4_usize), (20_000, 1, 100)] {
            let scratch = tempfile::tempdir_in("/work").unwrap();
            let limits = Limits { quota: Some(1 << 30), ..SMALL };
            let buffer = Buffer::new(scratch.path(), limits, right());
            let name = stream("pump");
            buffer.append(None, name.clone(), 1, records(0, 1, 1)).await.unwrap();
            let before = (buffer.summary().await.unwrap().written, io_written());
            let began = std::time::Instant::now();
            let mut open = std::collections::VecDeque::new();
            for post in 0..posts {
                let batch = if noise {
                    records(post * each, each, 200)
                } else {
                    (post * each..(post + 1) * each).map(line).collect()
                };
                open.push_back(buffer.try_append(None, name.clone(), post, batch).unwrap());
                if open.len() >= flight {
                    open.pop_front().unwrap().await.unwrap().unwrap();
                }
            }
            for one in open {
                one.await.unwrap().unwrap();
            }
            let took = began.elapsed();
            let after = (buffer.summary().await.unwrap().written, io_written());
            let payload = (posts * each * 200) as f64;
            let rate = (posts * each) as f64 / took.as_secs_f64();
            println!(
                "noise {noise} {posts}x{each}, {flight} in flight: {rate:.0} records/s, counted {:.3} a payload byte ({} records {} bookkeeping), kernel {:.3}",
                (after.0.total() - before.0.total()) as f64 / payload,
                after.0.records - before.0.records,
                after.0.bookkeeping - before.0.bookkeeping,
                (after.1 - before.1) as f64 / payload,
            );
            buffer.close().await;
        }
    }
}

fn io_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}
