//! The audit log against whoever owns the control plane's disk: real programs, a store that is
//! rewritten through the library with the stolen signing key, and the fleet that remembers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleet_tests::harness::{Plane, eventually};
use holdfast_base::ids::hex;
use holdfast_control::adapters::keyring::{LocalKeyring, Place};
use holdfast_control::adapters::store::RedbStore;
use holdfast_control::api::AuditRecord;
use holdfast_control::api::chain::{START, hash_of, link_own, link_whole};
use holdfast_control::ports::authority::SealedKeys;
use holdfast_control::ports::store::{Batch, Store as _};
use holdfast_protocol::checkpoint::Checkpoint;
use holdfast_protocol::signing::Signer;
use serde_json::Value;

use crate::sleeper;

/// Time within which a checkpoint comes after an entry, and some.
const CHECKPOINT: Duration = Duration::from_secs(90);

/// Number of the entry that the newest stored checkpoint of the running control plane covers.
fn covered(plane: &Plane) -> u64 {
    let export = plane.get("/api/v1/audit/export").text();
    let head: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    let points = head["checkpoints"].as_array().unwrap().iter();
    points.map(|point| point["number"].as_u64().unwrap()).max().unwrap_or(0)
}

/// Returns the control plane's signing key, as whoever owns its disk and its master key has it.
fn stolen(folder: &Path) -> Signer {
    let store = RedbStore::open(&folder.join("store.redb")).unwrap();
    let mut rows = store.pick(&["keyring".into(), "authority".into()]).unwrap().into_iter();
    let (keyring, authority) = (rows.next().flatten().unwrap(), rows.next().flatten().unwrap());
    let place = Place::find(None, None, folder.join("master.key"));
    let keyring = LocalKeyring::open(place, &keyring.value).unwrap();
    let sealed: SealedKeys = serde_json::from_slice(&authority.value).unwrap();
    let keys = sealed.open(&keyring).unwrap();
    Signer::from_pkcs8(&BASE64_STANDARD.decode(keys.signing_key).unwrap()).unwrap()
}

/// Row of an entry of the audit log, by its number.
fn row(number: u64) -> String {
    format!("audit/default/{number:020}")
}

type Rows = Vec<(String, Option<Vec<u8>>)>;

/// What is done to the entries of a stopped control plane's audit log: name, rows that are written
/// instead of those of the log, and what the fault says.
fn damages(store: &RedbStore) -> Vec<(&'static str, Rows, String)> {
    let all = store.read("audit/default/", 10_000).unwrap();
    let last = all.len() as u64 - 1;
    let bytes = |number: u64| all[usize::try_from(number).unwrap()].1.clone();
    let entry = |number: u64| -> AuditRecord { serde_json::from_slice(&bytes(number)).unwrap() };
    let put = |entry: &AuditRecord, number: u64| {
        let entry = AuditRecord { number, ..entry.clone() };
        (row(number), Some(serde_json::to_vec(&entry).unwrap()))
    };
    let meta = store.pick(&["meta/default".into()]).unwrap().remove(0).unwrap().value;
    let mut meta: Value = serde_json::from_slice(&meta).unwrap();
    assert_eq!(meta["nextAudit"], last + 1);
    let point = store.read("checkpoint/default/", 1_000).unwrap().pop().unwrap().1;
    let point: Value = serde_json::from_slice(&point).unwrap();
    let covered = point["number"].as_u64().unwrap();
    meta["nextAudit"] = covered.into();
    let mut tail: Rows = (covered..=last).map(|number| (row(number), None)).collect();
    tail.push(("meta/default".into(), Some(meta.to_string().into_bytes())));
    let edited = AuditRecord { by: "nobody".into(), ..entry(2) };
    vec![
        ("one removed from the middle", vec![(row(2), None)], "entry 2 is missing".into()),
        ("two swapped", vec![put(&entry(3), 2), put(&entry(2), 3)], "entry 2 was edited".into()),
        ("one rewritten", vec![put(&edited, 2)], "entry 2 was edited".into()),
        ("the last cut off", vec![(row(last), None)], format!("entry {last} is missing")),
        (
            "the tail cut off, with the number of the next entry",
            tail,
            format!("entry {covered} is missing, which a signed checkpoint saw"),
        ),
    ]
}

/// Does each damage to a copy of the store, lets the control plane start on it and verify it, and
/// puts the store back.
fn each_damage_is_found(plane: &mut Plane) {
    let (store, kept) = (plane.data().join("store.redb"), plane.data().join("kept.redb"));
    plane.stop();
    std::fs::copy(&store, &kept).unwrap();
    let all = damages(&RedbStore::open(&store).unwrap());
    for (what, writes, fault) in all {
        RedbStore::open(&store).unwrap().commit(&[Batch { writes, ..Batch::default() }]).unwrap();
        plane.up();
        let outcome = plane.cli().run(&["audit", "verify"]);
        assert!(
            outcome.out.contains("NOT INTACT") && outcome.out.contains(&fault),
            "{what}: {outcome}"
        );
        outcome.fails(14);
        plane.stop();
        std::fs::copy(&kept, &store).unwrap();
    }
    plane.up();
}

/// Rewrites history in a stopped control plane's store: changes the entry of this action, and
/// computes every hash and signature after it anew. Returns the entry's number.
fn rewrite(folder: &Path, action: &str) -> u64 {
    let signer = stolen(folder);
    let store = RedbStore::open(&folder.join("store.redb")).unwrap();
    let (mut own, mut whole, mut changed) = (START, START, None);
    let mut batch = Batch::default();
    let (mut hashes, mut wholes) = (Vec::new(), BTreeMap::new());
    for (key, value) in store.read("audit/default/", 10_000).unwrap() {
        let mut entry: AuditRecord = serde_json::from_slice(&value).unwrap();
        if entry.action == action && changed.is_none() {
            entry.by = "somebody-else".into();
            changed = Some(entry.number);
        }
        if changed.is_some() {
            whole = link_whole(&whole, &entry, "default");
            entry.whole = Some(hex(&whole).into());
            own = link_own(&own, &entry, "default");
            entry.hash = Some(hex(&own).into());
            batch.writes.push((key, Some(serde_json::to_vec(&entry).unwrap())));
        }
        own = hash_of(entry.hash.as_deref()).unwrap();
        whole = hash_of(entry.whole.as_deref()).unwrap();
        hashes.push(own);
        wholes.insert(entry.whole_number, whole);
    }
    for (key, value) in store.read("checkpoint/default/", 1_000).unwrap() {
        let mut record: Value = serde_json::from_slice(&value).unwrap();
        let number = record["number"].as_u64().unwrap();
        let hash = hashes[usize::try_from(number).unwrap()];
        let made = Checkpoint { number, hash, at: record["at"].as_u64().unwrap() };
        let signed = signer.sign_checkpoint(&made, Some("default")).unwrap();
        record["hash"] = hex(&hash).into();
        record["signed"] = BASE64_STANDARD.encode(signed).into();
        batch.writes.push((key, Some(record.to_string().into_bytes())));
    }
    let point = store.pick(&["checkpoint".into()]).unwrap().remove(0).unwrap().value;
    let mut point: Value = serde_json::from_slice(&point).unwrap();
    let (place, at) = (point["number"].as_u64(), point["at"].as_u64().unwrap());
    let made = Checkpoint { number: place.unwrap(), hash: wholes[&place], at };
    let signed = signer.sign_checkpoint(&made, None).unwrap();
    point["hash"] = hex(&made.hash).into();
    point["signed"] = BASE64_STANDARD.encode(signed).into();
    batch.writes.push(("checkpoint".into(), Some(point.to_string().into_bytes())));
    store.commit(&[batch]).unwrap();
    changed.expect("there is such an entry")
}

#[test]
fn whoever_owns_the_disk_and_the_key_cannot_rewrite_what_the_fleet_saw() {
    let mut plane = Plane::start();
    let mut devices = [plane.device("gw-1", &["role=a"]), plane.device("gw-2", &["role=b"])];
    let cli = plane.cli();
    cli.apply(&sleeper("evil", "a", &crate::marker())).ok();
    plane.await_settled("gw-1");
    let wanted: Value = cli.run(&["activity", "--action", "workload.apply", "-o", "json"]).json();
    assert_eq!(wanted["items"].as_array().unwrap().len(), 1, "{wanted}");
    eventually(CHECKPOINT, "a checkpoint over the apply", || {
        let number = covered(&plane);
        let listed = plane.get("/api/v1/audit?action=workload.apply").json();
        let applied = listed["items"][0]["number"].as_u64().unwrap();
        if number >= applied { Ok(()) } else { Err(format!("{number} of {applied}")) }
    });
    // The checkpoint comes with the next desired state, to the device that it is for.
    cli.apply(&sleeper("good", "a", &crate::marker())).ok();
    plane.await_settled("gw-1");
    let said = cli.run(&["audit", "verify", "--witness"]).ok();
    assert!(said.starts_with("chain verified: "), "{said}");
    assert!(said.contains("over all tenants: "), "{said}");
    let export = plane.data().parent().unwrap().join("audit.ndjson");
    cli.run(&["audit", "export", "-f", export.to_str().unwrap()]).ok();
    cli.run(&["audit", "verify", "--file", export.to_str().unwrap()]).ok();

    each_damage_is_found(&mut plane);
    plane.await_connection("gw-1", "online");
    plane.cli().run(&["audit", "verify"]).ok();

    // The second device is away with what it knows; the first one's agent is started again.
    devices[1].power_off();
    devices[0].restart();
    plane.stop();
    let number = rewrite(plane.data(), "workload.apply");
    plane.up();
    plane.await_connection("gw-1", "online");
    let cli = plane.cli();
    let said = cli.run(&["audit", "verify"]).ok();
    assert!(said.starts_with("chain verified: "), "the chain alone tells nothing: {said}");
    let found = eventually(Duration::from_secs(30), "the device is asked", || {
        let outcome = cli.run(&["audit", "verify", "--witness", "-o", "json"]);
        let found: Value = serde_json::from_str(&outcome.out).map_err(|why| why.to_string())?;
        let said = &found["witnesses"];
        let asked = said["agree"].as_u64().unwrap_or(0) + said["disagree"].as_u64().unwrap_or(0);
        if asked > 0 { Ok(found) } else { Err(found.to_string()) }
    });
    assert_eq!(found["intact"], false, "{found}");
    assert_eq!(found["witnesses"]["disagree"], 1, "{found}");
    let fault = &found["faults"][0];
    let (from, to) = (fault["number"].as_u64().unwrap(), fault["to"].as_u64());
    assert!(from <= number && to.is_none_or(|to| number <= to), "entry {number}: {fault}");
    let said = cli.run(&["audit", "verify", "--witness"]).fails(14);
    assert!(!said.contains("panic"), "{said}");

    // An export that somebody edited names the entry.
    let text = std::fs::read_to_string(&export).unwrap();
    std::fs::write(&export, text.replacen("workload.apply", "workload.delete", 1)).unwrap();
    let outcome = cli.run(&["audit", "verify", "--file", export.to_str().unwrap()]);
    assert!(outcome.out.contains(&format!("entry {number} was edited")), "{outcome}");
    outcome.fails(14);
}

#[test]
fn an_older_store_is_told_by_the_fleet_and_by_the_device_itself() {
    let mut plane = Plane::start();
    let mut device = plane.device("gw-1", &["role=a"]);
    let cli = plane.cli();
    cli.apply(&sleeper("pump", "a", &crate::marker())).ok();
    plane.await_settled("gw-1");
    let (store, older) = (plane.data().join("store.redb"), plane.data().join("older.redb"));
    plane.stop();
    std::fs::copy(&store, &older).unwrap();
    plane.up();
    plane.await_connection("gw-1", "online");

    // What is done then changes no desired state: a checkpoint over it is no reason to send one.
    let generation = plane.view("gw-1")["status"]["generation"]["desired"].clone();
    plane.cli().run(&["token", "create"]).ok();
    let wanted = plane.get("/api/v1/audit?action=token.create&order=newest").json();
    let wanted = wanted["items"][0]["number"].as_u64().unwrap();
    eventually(CHECKPOINT, "a checkpoint over the token", || {
        let number = covered(&plane);
        if number >= wanted { Ok(()) } else { Err(format!("{number} of {wanted}")) }
    });
    let vouched = |plane: &Plane| -> Option<u64> {
        let outcome = plane.cli().run(&["audit", "verify", "--witness", "-o", "json"]);
        let found: Value = serde_json::from_str(&outcome.out).ok()?;
        found["devices"][0]["number"].as_u64()
    };
    assert!(vouched(&plane) < Some(wanted), "nothing was sent for it");
    // It comes with the desired state that a connection begins with, whatever its generation is.
    device.restart();
    plane.await_connection("gw-1", "online");
    eventually(Duration::from_secs(30), "the device vouches for the token", || {
        let number = vouched(&plane);
        if number >= Some(wanted) { Ok(()) } else { Err(format!("{number:?} of {wanted}")) }
    });
    assert_eq!(plane.view("gw-1")["status"]["generation"]["desired"], generation);

    plane.stop();
    std::fs::copy(&older, &store).unwrap();
    plane.up();
    plane.await_connection("gw-1", "online");
    plane.cli().run(&["audit", "verify"]).ok();
    let said = device.await_problem("audit-contradicted");
    assert!(said.contains("was put back or rewritten"), "{said}");
    let outcome = eventually(Duration::from_secs(30), "the device is asked", || {
        let outcome = plane.cli().run(&["audit", "verify", "--witness"]);
        if outcome.code == 14 { Ok(outcome) } else { Err(outcome.to_string()) }
    });
    assert!(outcome.out.contains("or an older copy was put back"), "{outcome}");
    assert!(outcome.out.contains("device gw-1"), "{outcome}");
}
