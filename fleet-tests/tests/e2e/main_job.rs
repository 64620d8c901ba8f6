//! From apply to running and reported on all matching devices; after a relabel the workload moves;
//! after a delete it is gone with its folder.

use std::path::Path;

use fleet_tests::harness::{DEADLINE, Plane, eventually, processes};

use crate::{await_copies, marker, sleeper};

/// Returns every path below a folder whose last part is `name`.
fn named(folder: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() == name {
            found.push(entry.path());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(named(&entry.path(), name));
        }
    }
    found
}

#[test]
fn apply_runs_on_every_matching_device_and_is_reported() {
    let plane = Plane::start();
    let gateways =
        [plane.device("gw-1", &["role=gateway"]), plane.device("gw-2", &["role=gateway"])];
    let camera = plane.device("cam-1", &["role=camera"]);
    let marker = marker();
    let said = plane.cli().apply(&sleeper("hello", "gateway", &marker)).ok();
    assert!(said.contains("hello"), "{said}");

    for device in &gateways {
        let seen = plane.await_phase(&device.name, "hello", "running");
        assert_eq!(seen["revision"], 1);
        let pid = device.await_phase("hello", "running");
        assert!(processes::alive(pid));
        plane.await_settled(&device.name);
    }
    assert_eq!(await_copies(&marker, 2).len(), 2);
    plane.await_connection(&camera.name, "online");
    assert!(plane.view(&camera.name)["status"]["workloads"].get("hello").is_none());

    // Output that scripts read, compared to the letter.
    let listed = plane.cli().run(&["get", "devices", "-o", "json"]).json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 3, "{listed}");
    let one = plane.cli().run(&["get", "devices", "gw-1", "-o", "json"]).json();
    assert_eq!(one["metadata"]["name"], "gw-1");
    assert_eq!(one["metadata"]["labels"]["role"], "gateway");
    let status = &one["status"];
    assert_eq!(status["connection"], "online", "{one}");
    assert!(status["epoch"].is_u64(), "{one}");
    assert_eq!(status["generation"]["desired"], status["generation"]["applied"], "{one}");
    assert_eq!(status["workloads"]["hello"]["phase"], "running", "{one}");
    assert_eq!(status["workloads"]["hello"]["restarts"], 0, "{one}");
    let selected = plane.cli().run(&["get", "devices", "-l", "role=camera", "-o", "json"]).json();
    assert_eq!(selected["items"].as_array().unwrap().len(), 1, "{selected}");

    let own = gateways[0].status().unwrap();
    assert!(own["device"].as_str().unwrap().contains("gw-1"), "{own}");
    assert_eq!(own["link"], "up");
    assert!(own["problems"].is_array(), "{own}");
}

#[test]
fn a_workload_follows_the_labels_and_its_folder_goes_with_it() {
    let plane = Plane::start();
    let first = plane.device("d-1", &["role=a"]);
    let second = plane.device("d-2", &["role=b"]);
    let marker = marker();
    plane.cli().apply(&sleeper("mover", "a", &marker)).ok();
    plane.await_phase("d-1", "mover", "running");
    assert!(!named(first.data(), "mover").is_empty(), "it has a folder of its name");

    plane.cli().run(&["device", "label", "d-2", "role=a"]).ok();
    plane.await_phase("d-2", "mover", "running");
    await_copies(&marker, 2);
    plane.cli().run(&["device", "label", "d-1", "role=b"]).ok();
    await_copies(&marker, 1);
    eventually(DEADLINE, "its folder on the device it left is gone", || {
        let left = named(first.data(), "mover");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    eventually(DEADLINE, "the control plane sees that it left", || {
        let view = plane.view("d-1");
        let gone = view["status"]["workloads"].get("mover").is_none();
        if gone { Ok(()) } else { Err(view["status"].to_string()) }
    });

    plane.cli().run(&["delete", "workload", "mover"]).ok();
    await_copies(&marker, 0);
    eventually(DEADLINE, "nothing of it is left on disk", || {
        let left = named(second.data(), "mover");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    plane.await_settled("d-2");
    plane.cli().run(&["get", "workloads", "mover"]).fails(3);
}

#[test]
fn a_new_revision_replaces_the_old_one() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (old, new) = (marker(), marker());
    plane.cli().apply(&sleeper("w", "a", &old)).ok();
    let before = device.await_phase("w", "running");
    // Applying the same document again is no change: nothing restarts.
    plane.cli().apply(&sleeper("w", "a", &old)).ok();
    plane.cli().apply(&sleeper("bystander", "a", &marker())).ok();
    plane.await_phase("d-1", "bystander", "running");
    assert_eq!(device.await_phase("w", "running"), before);

    plane.cli().apply(&sleeper("w", "a", &new)).ok();
    await_copies(&new, 1);
    await_copies(&old, 0);
    let seen = plane.await_phase("d-1", "w", "running");
    assert_eq!(seen["revision"], 2, "{seen}");
    let revisions = plane.cli().run(&["get", "revisions", "-o", "json"]).json();
    let of_w = revisions["items"].as_array().unwrap().iter();
    assert!(of_w.filter(|item| item.to_string().contains(&old)).count() == 1, "{revisions}");
}

#[test]
fn a_deleted_device_is_gone_and_may_not_come_back_with_its_old_certificate() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    plane.await_phase("d-1", "w", "running");
    plane.cli().run(&["delete", "device", "d-1"]).ok();
    plane.cli().run(&["get", "devices", "d-1"]).fails(3);
    device.await_link("down");
    device.restart();
    device.await_status("knows that it is refused", |status| {
        status["link"] == "down" && !status["problems"].as_array().unwrap().is_empty()
    });
    // The decision was about the device, not about its workloads: they run on.
    await_copies(&marker, 1);
}
