//! Restore from a backup older than the devices' state: the epoch rises, devices follow the
//! restored state, and say so.

use fleet_tests::harness::{DEADLINE, Plane, eventually};

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
    plane.cli().run(&["backup", file.to_str().unwrap()]).ok();
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

    // It stays so over a restart, and changes go on.
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
    let file = plane.scratch.join("backup.tar");
    plane.cli().run(&["backup", file.to_str().unwrap()]).ok();

    // The machine burns; another takes its addresses, with an empty disk.
    plane.kill();
    std::fs::remove_dir_all(plane.data()).unwrap();
    let old_admin = std::mem::take(&mut plane.admin_token);
    let old_ca = plane.ca_sha256.clone();
    plane.up();
    assert_ne!(plane.ca_sha256, old_ca, "an empty disk makes a new CA");
    let said = plane.cli().run(&["restore", file.to_str().unwrap()]).ok();
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
