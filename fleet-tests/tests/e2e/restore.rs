//! Restore from a backup older than the devices' state: the epoch rises, devices follow the
//! restored state, and report it. Data records are in no backup: those shipped since are kept with
//! the data store; if that is lost, devices send what they still have and report the rest as gaps.

use fleet_tests::harness::publisher::Access;
use fleet_tests::harness::{DEADLINE, Device, Plane, eventually};
use fleet_tests::telemetry::Telemetry;
use serde_json::{Value, json};

use crate::data::{await_ledger, http, missing, mqtt, records};
use crate::{await_copies, marker, sleeper};

#[test]
fn devices_follow_a_restored_older_state() {
    let mut plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (kept, first, second, later) = (marker(), marker(), marker(), marker());
    plane.cli().apply(&sleeper("kept", "a", &kept)).ok();
    plane.cli().apply(&sleeper("w", "a", &first)).ok();
    let pid = device.await_phase("kept", "running");
    await_copies(&first, 1);
    plane.await_settled("d-1");
    let file = plane.scratch.join("backup.tar");
    plane.cli().run(&["backup", file.to_str().unwrap(), "--unencrypted"]).ok();
    let epoch = device.status().unwrap()["epoch"].as_u64().unwrap();

    plane.cli().apply(&sleeper("w", "a", &second)).ok();
    plane.cli().apply(&sleeper("later", "a", &later)).ok();
    await_copies(&second, 1);
    await_copies(&later, 1);
    plane.await_settled("d-1");
    let ahead = device.status().unwrap()["generation"]["applied"].as_u64().unwrap();

    plane.cli().run(&["restore", file.to_str().unwrap()]).ok();
    let status = device
        .await_status("the epoch rises", |status| status["epoch"].as_u64().unwrap_or(0) > epoch);
    assert!(status["generation"]["applied"].as_u64().unwrap() <= ahead + 2, "{status}");
    await_copies(&first, 1);
    await_copies(&second, 0);
    await_copies(&later, 0);
    assert_eq!(device.await_phase("kept", "running"), pid, "what did not change is not restarted");
    let view = plane.await_settled("d-1");
    assert!(view["status"]["epoch"].as_u64().unwrap() > epoch, "{view}");
    assert!(view["status"]["workloads"].get("later").is_none(), "{view}");
    let log = device.log().to_lowercase();
    assert!(log.contains("epoch"), "the device says that it follows a restored control plane");

    // The state survives a restart, and changes are still possible.
    plane.kill();
    plane.up();
    plane.await_connection("d-1", "online");
    let fresh = marker();
    plane.cli().apply(&sleeper("w", "a", &fresh)).ok();
    await_copies(&fresh, 1);
    await_copies(&first, 0);
}

#[test]
fn a_lost_machine_is_replaced_from_its_backup() {
    let mut plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let pid = device.await_phase("w", "running");
    plane.await_settled("d-1");
    let file = plane.scratch.join("backup.tar.age");
    let passphrase = plane.scratch.write("passphrase", "six words of a dice roll\n");
    let by = ["--passphrase-file", passphrase.to_str().unwrap()];
    plane.cli().run(&["backup", file.to_str().unwrap(), by[0], by[1]]).ok();

    // The machine is lost; another takes its addresses, with an empty disk.
    plane.kill();
    std::fs::remove_dir_all(plane.data()).unwrap();
    let old_admin = std::mem::take(&mut plane.admin_token);
    let old_ca = plane.ca_sha256.clone();
    plane.up();
    assert_ne!(plane.ca_sha256, old_ca, "an empty disk makes a new CA");
    let said = plane.cli().run(&["restore", file.to_str().unwrap()]).fails(2);
    assert!(said.contains("--passphrase-file"), "{said}");
    let wrong = plane.scratch.write("wrong", "six words of another roll\n");
    let of = ["--passphrase-file", wrong.to_str().unwrap()];
    let said = plane.cli().run(&["restore", file.to_str().unwrap(), of[0], of[1]]).fails(1);
    assert!(said.contains("the passphrase is not the one"), "{said}");
    let said = plane.cli().run(&["restore", file.to_str().unwrap(), by[0], by[1]]).ok();
    assert!(!said.is_empty());
    plane.stop();
    plane.admin_token = old_admin;
    plane.up();
    assert_eq!(plane.ca_sha256, old_ca, "the CA came back with the backup");
    eventually(DEADLINE, "the device is back by itself", || {
        let view = plane.view("d-1");
        if view["status"]["connection"] == "online" { Ok(()) } else { Err(view.to_string()) }
    });
    plane.await_settled("d-1");
    assert_eq!(device.await_phase("w", "running"), pid);
}

/// Policy of each kind for devices with `role: a`.
const POLICIES: &str = "\
apiVersion: holdfast/v1
kind: Stream
metadata: { name: urgent, labels: { team: pumps } }
spec: { devices: { matchLabels: { role: a } }, streams: [line, new], quota: 4Mi, priority: 9 }
---
apiVersion: holdfast/v1
kind: LinkBudget
metadata: { name: sim }
spec: { devices: { matchLabels: { role: a } }, per: day, bytes: 1Gi, shares: { data: 60% } }
";

fn device(plane: &Plane) -> (Device, Access) {
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    (device, access)
}

fn telemetry(seed: u64, count: usize) -> Vec<Vec<u8>> {
    Telemetry::new(seed, 1_795_478_400_000, 1_000).records(count)
}

/// Publishes data records and asserts that all are acknowledged.
fn post(access: &Access, stream: &str, all: &[Vec<u8>]) {
    let outcome = http(access).publish(stream, all, 500);
    assert_eq!(outcome.count(), all.len(), "{stream}: {:?}", outcome.error);
}

/// Returns the documents about data, without the fields that the control plane adds.
fn documents(plane: &Plane) -> Vec<Value> {
    let all = ["streams", "linkbudgets"].map(|kind| {
        let listed = plane.cli().run(&["get", kind, "-o", "json"]).json();
        listed["items"].as_array().unwrap().clone()
    });
    let written = |item: Value| {
        let (kind, labels) = (item["kind"].clone(), item["metadata"]["labels"].clone());
        json!([kind, item["metadata"]["name"], labels, item["spec"]])
    };
    all.into_iter().flatten().map(written).collect()
}

/// Asserts that every data record of a stream is there, as it was published.
fn assert_whole(plane: &Plane, stream: &str, all: &[Vec<u8>]) {
    let found = records(plane, "d-1", stream);
    let values: Vec<&[u8]> = found.iter().map(|got| got.value.as_bytes()).collect();
    assert!(values == all.iter().map(Vec::as_slice).collect::<Vec<_>>(), "{stream}: not all, once");
    assert!(found.iter().zip(1..).all(|(got, seq)| got.seq == seq), "{stream}: its own numbers");
}

#[test]
fn records_shipped_since_a_backup_outlive_its_restore_and_policies_come_back() {
    let mut plane = Plane::start();
    let (device, access) = device(&plane);
    plane.cli().apply(POLICIES).ok();
    plane.await_settled("d-1");
    let all = telemetry(11, 3_000);
    post(&access, "line", &all[..1_000]);
    await_ledger(&plane, "d-1", "line", "what was published came", |it| it["received"] == 1_000);
    let wanted = documents(&plane);
    assert_eq!(wanted.len(), 2, "{wanted:?}");
    let file = plane.scratch.join("backup.tar");
    plane.cli().run(&["backup", file.to_str().unwrap(), "--unencrypted"]).ok();

    post(&access, "line", &all[1_000..2_000]);
    post(&access, "new", &all);
    await_ledger(&plane, "d-1", "line", "more came", |it| it["received"] == 2_000);
    await_ledger(&plane, "d-1", "new", "a new stream came", |it| it["received"] == 3_000);
    plane.cli().run(&["delete", "linkbudget", "sim"]).ok();
    plane.cli().apply(&POLICIES.replace("priority: 9", "priority: 1")).ok();
    plane.cli().run(&["delete", "stream", "urgent"]).ok();
    let other = POLICIES.split("---").next().unwrap().replace("name: urgent", "name: later");
    plane.cli().apply(&other).ok();
    plane.await_settled("d-1");

    plane.cli().run(&["restore", file.to_str().unwrap()]).ok();
    plane.await_connection("d-1", "online");
    plane.await_settled("d-1");
    assert_eq!(documents(&plane), wanted, "the documents are those of the backup");
    // The device follows the restored documents.
    device.await_status("the restored policy holds", |status| {
        status["data"]["streams"]["line"]["policy"] == "urgent"
            && status["data"]["link"]["budget"].as_u64() == Some(1 << 30)
    });
    post(&access, "line", &all[2_000..]);
    for stream in ["line", "new"] {
        let said = await_ledger(&plane, "d-1", stream, "all came", |it| it["received"] == 3_000);
        assert_eq!(said["missing"], json!([]), "{stream}: {said}");
        assert_whole(&plane, stream, &all);
    }
    plane.kill();
    plane.up();
    assert_eq!(documents(&plane), wanted, "and stay");
    await_ledger(&plane, "d-1", "line", "the data store is open", |it| it["received"] == 3_000);
    assert_whole(&plane, "line", &all);
}

#[test]
fn a_lost_data_store_gets_what_devices_still_have_and_is_told_what_they_have_not() {
    let mut plane = Plane::start();
    let (mut device, access) = device(&plane);
    let little = "apiVersion: holdfast/v1\nkind: Stream\nmetadata: { name: small }\nspec: { devices: { matchLabels: { role: a } }, streams: [small], quota: 256Ki }\n";
    plane.cli().apply(little).ok();
    plane.await_settled("d-1");
    let file = plane.scratch.join("backup.tar");
    // Its keys come along in an encrypted one alone, and the lost folder had the master key.
    let words = plane.scratch.join("passphrase");
    std::fs::write(&words, "correct horse battery staple").unwrap();
    let by = ["--passphrase-file", words.to_str().unwrap()];
    plane.cli().run(&["backup", file.to_str().unwrap(), by[0], by[1]]).ok();
    // Streams shipped and acknowledged after the backup: one goes on later, one never publishes
    // again, and of one the device has dropped most records.
    let all = telemetry(12, 30_000);
    post(&access, "line", &all[..2_000]);
    post(&access, "quiet", &all[..1_500]);
    for (at, piece) in all.chunks(5_000).enumerate() {
        post(&access, "small", piece);
        let count = (at + 1) * 5_000;
        await_ledger(&plane, "d-1", "small", "all came before it had to go", |it| {
            it["received"] == count && it["missing"] == json!([])
        });
    }
    for (stream, count) in [("line", 2_000), ("quiet", 1_500)] {
        await_ledger(&plane, "d-1", stream, "it came", |it| it["received"] == count);
    }
    // The device's own notes of that survive.
    device.stop_agent();
    device.up();
    device.await_link("up");

    // The machine is lost; another takes its addresses, with an empty disk.
    plane.kill();
    std::fs::remove_dir_all(plane.data()).unwrap();
    let old_admin = std::mem::take(&mut plane.admin_token);
    plane.up();
    plane.cli().run(&["restore", file.to_str().unwrap(), by[0], by[1]]).ok();
    plane.stop();
    plane.admin_token = old_admin;
    plane.up();
    plane.await_connection("d-1", "online");
    let said = await_ledger(&plane, "d-1", "quiet", "a quiet stream is sent again", |it| {
        it["received"] == 1_500
    });
    assert_eq!(said["missing"], json!([]), "{said}");
    assert_whole(&plane, "quiet", &all[..1_500]);
    let said = await_ledger(&plane, "d-1", "small", "every number is answered", |it| {
        it["received"].as_u64().unwrap_or(0) + missing(it, "damaged") == 30_000
    });
    assert!(missing(&said, "damaged") > 1_000, "the device had not all of it any more: {said}");
    let found = records(&plane, "d-1", "small");
    assert!(found.len() > 500, "and had the newest: {said}");
    for got in &found {
        let published = &all[usize::try_from(got.seq - 1).unwrap()];
        assert_eq!(got.value.as_bytes(), published.as_slice(), "small {}", got.seq);
    }
    drop(mqtt(&access, "second"));
    post(&access, "line", &all[2_000..4_000]);
    let said = await_ledger(&plane, "d-1", "line", "all came", |it| it["received"] == 4_000);
    assert_eq!(said["missing"], json!([]), "{said}");
    assert_whole(&plane, "line", &all[..4_000]);
    // Devices send again only once: another start does not ask for it again.
    let duplicates = said["duplicates"].clone();
    device.stop_agent();
    device.up();
    device.await_link("up");
    plane.kill();
    plane.up();
    plane.await_connection("d-1", "online");
    drop(mqtt(&access, "third"));
    post(&access, "line", &all[4_000..5_000]);
    let said = await_ledger(&plane, "d-1", "line", "it goes on", |it| it["received"] == 5_000);
    assert_eq!(said["duplicates"], duplicates, "{said}");
}
