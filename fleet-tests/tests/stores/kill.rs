//! Stores of a process that is killed (SIGKILL) while it commits: what was told to be durable is
//! there, and each group of batches is there as a whole or not at all.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fleet_tests::stores::contract::LONG;
use fleet_tests::stores::data_contract::{block, row};
use holdfast_control::adapters::data_store::RedbDataStore;
use holdfast_control::adapters::store::RedbStore;
use holdfast_control::ports::data_store::{DataBatch, DataStore as _, Direction, StreamRow};
use holdfast_control::ports::rows::{Answer, Tally};
use holdfast_control::ports::store::{Batch, Fence, Refused, Store as _};
use holdfast_records::Range;

/// Variable with the folder in which the child commits.
const FOLDER: &str = "HOLDFAST_TEST_STORES";

/// How often the child is killed.
const KILLS: u64 = 10;

/// Keys of the batch with a precondition. Their values are large, so that a transaction is many
/// pages.
const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn value(number: u64) -> Vec<u8> {
    format!("{number:08}").repeat(700).into_bytes()
}

fn number_of(value: &[u8]) -> u64 {
    std::str::from_utf8(&value[..8]).unwrap().parse().unwrap()
}

/// Batches of one group: one that expects what the last group wrote, one that must be refused, and
/// one without precondition.
fn group(fence: Fence, number: u64, revision: Option<u64>) -> [Batch; 3] {
    let fence = Some(fence);
    let mut whole = Batch { fence, expect: vec![("a".into(), revision)], ..Batch::default() };
    KEYS.iter().for_each(|key| whole.put((*key).into(), value(number)));
    let mut stale = Batch { fence, expect: vec![("a".into(), revision)], ..Batch::default() };
    stale.put("never".into(), value(number));
    let mut beside = Batch { fence, ..Batch::default() };
    beside.put("beside".into(), value(number));
    [whole, stale, beside]
}

fn records(fence: Fence, number: u64) -> DataBatch {
    let first = 5 * number + 1;
    let tally = Tally { received: number + 1, ..Tally::default() };
    DataBatch {
        fence: Some(fence),
        streams: vec![StreamRow { tally, ..row(1) }],
        segments: vec![(1, vec![(first, Some((first + 4, Answer::Received)))])],
        blocks: vec![block(1, first, 7)],
        ..DataBatch::default()
    }
}

/// Commits until it is killed, when it is started by the test below.
#[test]
fn child_that_commits() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let store = RedbStore::open(&folder.join("store.redb")).unwrap();
    let data = RedbDataStore::new(&folder.join("data.redb"));
    let fence = store.lease(0, "child", LONG).unwrap();
    data.claim(fence).unwrap();
    let kept = store.pick(&["a".into()]).unwrap().pop().flatten();
    let mut revision = kept.as_ref().map(|value| value.revision);
    let mut number = kept.map_or(0, |value| number_of(&value.value) + 1);
    let mut stored = data.streams().unwrap().first().map_or(0, |row| row.tally.received);
    let mut out = std::io::stdout();
    loop {
        let outcomes = store.commit(&group(fence, number, revision)).unwrap();
        assert!(matches!(outcomes[1], Err(Refused::Conflict { .. })), "{outcomes:?}");
        revision = Some(outcomes[0].clone().unwrap());
        outcomes[2].clone().unwrap();
        data.commit(&records(fence, stored)).unwrap();
        stored += 1;
        writeln!(out, "done {number} {stored} {}", fence.epoch).unwrap();
        out.flush().unwrap();
        number += 1;
    }
}

/// Starts the child, kills it after a while, and returns the last figures that it told: the number
/// of its group, of its records' batches, and its epoch.
fn killed(folder: &Path, after: Duration) -> (u64, u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_commits", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    let mut note = |line: String| {
        let figures = line.split_once("done ")?.1;
        let mut figures = figures.split(' ').map(|figure| figure.parse::<u64>().unwrap());
        last = Some((figures.next()?, figures.next()?, figures.next()?));
        Some(())
    };
    // It is at work once it has told of one group.
    while note(lines.next().expect("the child commits").unwrap()).is_none() {}
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    // The last line may be cut.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let whole = rest.len().saturating_sub(1);
    for line in rest.into_iter().take(whole) {
        note(line);
    }
    last.unwrap()
}

#[test]
fn what_a_killed_process_committed_is_there_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut latest, mut epoch) = (0, 0);
    for round in 0..KILLS {
        let (group, batches, its) = killed(folder, Duration::from_millis(7 * round));
        assert!(its > epoch, "each process has a newer lease");
        epoch = its;
        let store = RedbStore::existing(&folder.join("store.redb")).unwrap();
        let keys: Vec<String> = KEYS.iter().map(|key| (*key).to_owned()).collect();
        let kept = store.pick(&keys).unwrap().into_iter().map(Option::unwrap);
        let kept: Vec<(u64, u64)> = kept.map(|it| (it.revision, number_of(&it.value))).collect();
        assert!(kept.iter().all(|it| *it == kept[0]), "one batch, one revision: {kept:?}");
        let (revision, number) = kept[0];
        assert!(number >= group && number >= latest, "{number}: it was told of {group}");
        latest = number;
        let beside = store.pick(&["beside".into(), "never".into()]).unwrap();
        let with = beside[0].as_ref().map(|it| (it.revision, number_of(&it.value)));
        assert_eq!(with, Some((revision + 1, number)), "one call is one transaction");
        assert_eq!(beside[1], None, "a refused batch");
        let data = RedbDataStore::new(&folder.join("data.redb"));
        let received = data.streams().unwrap()[0].tally.received;
        assert!(received >= batches, "{received}: it was told of {batches}");
        let all = Range { from: 0, to: u64::MAX };
        let blocks = data.heads(1, all, usize::MAX, Direction::Up).unwrap().len() as u64;
        let segments = data.segments(1, all, usize::MAX).unwrap().len() as u64;
        assert_eq!((blocks, segments), (received, received), "row, ledger and blocks");
    }
}
