//! The audit log against whoever owns the control plane's disk: real programs, a store that is
//! rewritten through the library with the stolen signing key, and the fleet that remembers.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleet_tests::harness::{Plane, eventually};
use holdfast_base::ids::hex;
use holdfast_control::adapters::store::RedbStore;
use holdfast_control::api::AuditRecord;
use holdfast_control::api::chain::{START, hash_of, link_own, link_whole};
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

/// Rewrites history in a stopped control plane's store: changes the entry of this action, and
/// computes every hash and signature after it anew. Returns the entry's number.
fn rewrite(store: &Path, action: &str) -> u64 {
    let store = RedbStore::open(store).unwrap();
    let keys = store.pick(&["authority".into()]).unwrap().remove(0).unwrap().value;
    let keys: Value = serde_json::from_slice(&keys).unwrap();
    let key = BASE64_STANDARD.decode(keys["signingKey"].as_str().unwrap()).unwrap();
    let signer = Signer::from_pkcs8(&key).unwrap();
    let (mut own, mut whole, mut changed) = (START, START, None);
    let mut batch = Batch::default();
    let mut hashes = Vec::new();
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
    let export = plane.data().parent().unwrap().join("audit.ndjson");
    cli.run(&["audit", "export", "-f", export.to_str().unwrap()]).ok();
    cli.run(&["audit", "verify", "--file", export.to_str().unwrap()]).ok();

    // The second device is away with what it knows; the first one's agent is started again.
    devices[1].power_off();
    devices[0].restart();
    plane.stop();
    let number = rewrite(&plane.data().join("store.redb"), "workload.apply");
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
