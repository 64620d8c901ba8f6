//! Table of what every implementation of [`Store`] does.

use std::time::Duration;

use holdfast_control::ports::store::{
    Batch, Changes, Fence, LeaseError, Refused, Revision, Snapshot, Store, Versioned,
};

/// Life of a lease that does not end during a test.
pub const LONG: Duration = Duration::from_secs(3_600);

/// Runs the whole table, each row on a new store from `make`. `leases_end` tells whether a lease of
/// the store ends by time: one that several processes can open gives it to another one then.
pub fn store_contract(make: impl Fn() -> Box<dyn Store>, leases_end: bool) {
    batches_count_in_their_order(&*make());
    a_snapshot_stays_as_it_was(&*make());
    parts_are_read_alone_and_left_out_alone(&*make());
    preconditions_refuse_a_batch_alone(&*make());
    a_batch_without_writes_has_the_present_revision(&*make());
    changes_come_in_whole_batches(&*make());
    a_new_lease_ends_the_former_one(&*make());
    shards_have_leases_of_their_own(&*make());
    if leases_end {
        a_lease_ends_by_time(&*make());
    }
}

/// Makes a batch of one write.
pub fn put(key: &str, value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(key.into(), value.to_vec());
    batch
}

/// Returns the content of a snapshot.
pub fn content(snapshot: &dyn Snapshot, without: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |key: &str, value: &[u8]| {
        found.push((key.to_owned(), value.to_vec()));
        Ok(())
    };
    snapshot.visit(without, &mut visit).unwrap();
    found
}

fn all(store: &dyn Store) -> Vec<(String, Vec<u8>)> {
    content(&*store.snapshot().unwrap(), &[])
}

fn pairs(expected: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect()
}

fn batches_count_in_their_order(store: &dyn Store) {
    let mut two = put("a", b"1");
    two.put("b".into(), b"1".to_vec());
    assert_eq!(store.commit(&[two]).unwrap(), [Ok(1)]);
    let mut other = put("a", b"3");
    other.delete("b".into());
    other.delete("absent".into());
    assert_eq!(store.commit(&[put("c", b"2"), other]).unwrap(), [Ok(2), Ok(3)]);
    assert_eq!(all(store), pairs(&[("a", b"3"), ("c", b"2")]));
    let mut twice = put("a", b"first");
    twice.put("a".into(), b"last".to_vec());
    let cleared = Batch { clear: true, ..twice };
    let group = [put("d", b"4"), cleared, put("f", b"")];
    assert_eq!(store.commit(&group).unwrap(), [Ok(4), Ok(5), Ok(6)]);
    assert_eq!(all(store), pairs(&[("a", b"last"), ("f", b"")]));
}

fn a_snapshot_stays_as_it_was(store: &dyn Store) {
    store.commit(&[put("a", b"1")]).unwrap();
    let before = store.snapshot().unwrap();
    store.commit(&[put("a", b"2"), put("b", b"2")]).unwrap();
    for _ in 0..2 {
        assert_eq!(content(&*before, &[]), pairs(&[("a", b"1")]));
    }
    let mut count = 0;
    let ended = store.snapshot().unwrap().visit(&[], &mut |_, _| {
        count += 1;
        Err(std::io::Error::other("enough"))
    });
    assert!(ended.is_err() && count == 1, "the visitor ends the reading");
}

fn parts_are_read_alone_and_left_out_alone(store: &dyn Store) {
    let keys = ["a", "h", "h/", "h/a/1", "h/b/1", "h/b/2", "h0", "z/1"];
    let writes = keys.iter().map(|key| ((*key).to_owned(), Some(b"1".to_vec()))).collect();
    store.commit(&[Batch { writes, ..Batch::default() }]).unwrap();
    for (prefix, most, expected) in [
        ("h/b/", 9, &["h/b/1", "h/b/2"][..]),
        ("h/b/", 1, &["h/b/1"]),
        ("h/c/", 9, &[]),
        ("zz", 9, &[]),
        ("", 99, &keys),
    ] {
        let found = store.read(prefix, most).unwrap();
        let found: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(found, expected, "{prefix} {most}");
    }
    for (without, expected) in [
        (&[][..], &keys[..]),
        (&["h/"], &["a", "h", "h0", "z/1"]),
        (&["z/", "h/", "none/"], &["a", "h", "h0"]),
        (&["a", "h", "z"], &[]),
    ] {
        let found = content(&*store.snapshot().unwrap(), without);
        let found: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(found, expected, "without {without:?}");
    }
    let some = ["z/1".to_owned(), "none".to_owned(), "a".to_owned()];
    let one = || Some(Versioned { revision: 1, value: b"1".to_vec() });
    assert_eq!(store.pick(&some).unwrap(), [one(), None, one()]);
}

fn expecting(key: &str, revision: Option<Revision>) -> Batch {
    Batch { expect: vec![(key.into(), revision)], ..put(key, b"1") }
}

fn preconditions_refuse_a_batch_alone(store: &dyn Store) {
    let refused = |key: &str, revision| Err(Refused::Conflict { key: key.into(), revision });
    store.commit(&[put("a", b"1")]).unwrap();
    let group = [
        expecting("a", Some(1)),
        expecting("a", Some(1)),
        expecting("b", None),
        expecting("b", Some(3)),
    ];
    let outcomes = [Ok(2), refused("a", Some(2)), Ok(3), Ok(4)];
    assert_eq!(store.commit(&group).unwrap(), outcomes, "earlier batches of a call count");
    // Nothing of a refused batch is written, though one of its preconditions holds.
    let mut half = expecting("a", Some(2));
    half.expect.push(("b".into(), None));
    half.put("c".into(), b"1".to_vec());
    assert_eq!(store.commit(&[half]).unwrap(), [refused("b", Some(4))]);
    assert_eq!(store.pick(&["c".into()]).unwrap(), [None]);
    let mut gone = Batch { expect: vec![("a".into(), Some(2))], ..Batch::default() };
    gone.delete("a".into());
    let outcomes = [Ok(5), refused("a", None), Ok(6)];
    let group = [gone, expecting("a", Some(5)), expecting("a", None)];
    assert_eq!(store.commit(&group).unwrap(), outcomes, "a deleted key is absent");
    let clear = Batch { clear: true, ..Batch::default() };
    assert_eq!(store.commit(&[clear, expecting("b", None)]).unwrap(), [Ok(7), Ok(8)]);
}

fn a_batch_without_writes_has_the_present_revision(store: &dyn Store) {
    assert_eq!(store.commit(&[]).unwrap(), []);
    assert_eq!(store.commit(&[Batch::default()]).unwrap(), [Ok(0)]);
    let only = Batch { expect: vec![("a".into(), Some(1))], ..Batch::default() };
    assert_eq!(store.commit(&[put("a", b"1"), only]).unwrap(), [Ok(1), Ok(1)]);
}

fn changes_come_in_whole_batches(store: &dyn Store) {
    let mut two = put("a", b"1");
    two.put("b".into(), b"1".to_vec());
    let mut gone = Batch::default();
    gone.delete("a".into());
    store.commit(&[two, gone]).unwrap();
    let b = Versioned { revision: 1, value: b"1".to_vec() };
    let changed = vec![("a".into(), None), ("b".into(), Some(b))];
    let page = Changes::Page { changed, upto: 1, more: true };
    assert_eq!(store.changes(0, 1).unwrap(), page);
    let page = Changes::Page { changed: vec![("a".into(), None)], upto: 2, more: false };
    assert_eq!(store.changes(1, 9).unwrap(), page);
    let none = Changes::Page { changed: Vec::new(), upto: 2, more: false };
    assert_eq!(store.changes(2, 9).unwrap(), none);
    let refused = store.commit(&[expecting("a", Some(9))]).unwrap();
    assert!(refused[0].is_err());
    assert_eq!(store.changes(2, 9).unwrap(), none, "a refused batch changes nothing");
}

/// Takes a lease, whose former holder lets it go at once.
fn lease(store: &dyn Store, shard: u8, holder: &str, former: Option<Fence>) -> Fence {
    if let Some(former) = former {
        store.renew(former, Duration::ZERO).unwrap();
    }
    store.lease(shard, holder, LONG).unwrap()
}

fn fenced(fence: Fence) -> Batch {
    Batch { fence: Some(fence), ..put("a", b"1") }
}

fn a_new_lease_ends_the_former_one(store: &dyn Store) {
    let old = lease(store, 0, "a", None);
    assert_eq!(store.commit(&[fenced(old)]).unwrap(), [Ok(1)]);
    store.renew(old, LONG).unwrap();
    let new = lease(store, 0, "b", Some(old));
    assert!(new.epoch > old.epoch);
    let outcomes = [Err(Refused::Lost(old)), Ok(2), Ok(3)];
    assert_eq!(store.commit(&[fenced(old), fenced(new), put("a", b"1")]).unwrap(), outcomes);
    assert!(matches!(store.renew(old, LONG), Err(LeaseError::Lost)));
    store.renew(new, LONG).unwrap();
    // Its own holder gets a newer one too, as after a restart.
    let again = store.lease(0, "b", LONG).unwrap();
    assert!(again.epoch > new.epoch);
    assert_eq!(store.commit(&[fenced(new)]).unwrap(), [Err(Refused::Lost(new))]);
    let made_up = Fence { epoch: again.epoch + 1, ..again };
    assert_eq!(store.commit(&[fenced(made_up)]).unwrap(), [Err(Refused::Lost(made_up))]);
    // A lost lease is told before a precondition: the batch is not the holder's to repeat.
    let both = Batch { expect: vec![("a".into(), None)], ..fenced(old) };
    assert_eq!(store.commit(&[both]).unwrap(), [Err(Refused::Lost(old))]);
}

fn shards_have_leases_of_their_own(store: &dyn Store) {
    let (one, other) = (store.lease(0, "a", LONG).unwrap(), store.lease(1, "b", LONG).unwrap());
    assert_eq!(store.commit(&[fenced(one), fenced(other)]).unwrap(), [Ok(1), Ok(2)]);
    let new = lease(store, 1, "c", Some(other));
    store.renew(one, LONG).unwrap();
    let group = [fenced(one), fenced(other), fenced(new)];
    assert_eq!(store.commit(&group).unwrap(), [Ok(3), Err(Refused::Lost(other)), Ok(4)]);
}

fn a_lease_ends_by_time(store: &dyn Store) {
    let held = store.lease(0, "a", LONG).unwrap();
    assert!(matches!(store.lease(0, "b", LONG), Err(LeaseError::Held(holder)) if holder == "a"));
    store.renew(held, Duration::ZERO).unwrap();
    assert_eq!(store.commit(&[fenced(held)]).unwrap(), [Err(Refused::Lost(held))]);
    assert!(matches!(store.renew(held, LONG), Err(LeaseError::Lost)), "it does not come back");
    assert!(store.lease(0, "b", LONG).unwrap().epoch > held.epoch);
}
