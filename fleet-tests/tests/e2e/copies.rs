//! Data folders that are copied or restored to an earlier state: every acknowledged data record
//! arrives, once, and both sides report what happened.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually};

use crate::data::{await_ledger, post, records};

/// Returns `count` records of one machine, which contain its name.
fn told(who: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|at| format!("{{\"who\":\"{who}\",\"at\":{at}}}").into_bytes()).collect()
}

/// Copies a data folder as a disk image does: files alone, with their modes.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Waits until exactly these records are at the control plane, each once.
fn await_all(plane: &Plane, all: &[Vec<Vec<u8>>]) {
    let wanted: BTreeSet<String> =
        all.iter().flatten().map(|it| String::from_utf8(it.clone()).unwrap()).collect();
    eventually(DEADLINE, "every acknowledged record arrives", || {
        let found = records(plane, "d-1", "t");
        let values: BTreeSet<String> = found.iter().map(|it| it.value.clone()).collect();
        if values == wanted && found.len() == wanted.len() {
            Ok(())
        } else {
            Err(format!("{} of {}, {} of them different", found.len(), wanted.len(), values.len()))
        }
    });
    await_ledger(plane, "d-1", "t", "nothing is missing", |it| {
        it["received"] == wanted.len()
            && it["missingCount"].as_object().is_none_or(|it| it.is_empty())
    });
}

/// Waits until the device and the control plane both report this problem.
fn await_said(plane: &Plane, device: &Device, code: &str) {
    device.await_problem(code);
    eventually(DEADLINE, &format!("the control plane says {code}"), || {
        let view = plane.view("d-1");
        let problems = view["status"]["problems"].as_array().cloned().unwrap_or_default();
        if problems.iter().any(|it| it["code"] == code) {
            Ok(())
        } else {
            Err(view["status"].to_string())
        }
    });
}

#[test]
fn a_folder_that_is_put_back_to_an_earlier_state_loses_no_record() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &[]);
    device.await_link("up");
    let (before, between, after) = (told("before", 10), told("between", 15), told("after", 20));
    post(&device.access("plc"), "t", &before);
    await_all(&plane, std::slice::from_ref(&before));
    assert_eq!(device.stop_agent(), Some(0));
    let earlier = plane.scratch.join("earlier");
    copy(device.data(), &earlier);
    device.up();
    device.await_link("up");
    post(&device.access("plc"), "t", &between);
    await_all(&plane, &[before.clone(), between.clone()]);
    device.kill_agent();
    fs::remove_dir_all(device.data()).unwrap();
    copy(&earlier, device.data());
    device.link.cut();
    device.up();
    // Numbers are assigned a second time to other records, before any contact with the control
    // plane.
    device.await_link("down");
    post(&device.access("plc"), "t", &after);
    device.link.heal();
    await_all(&plane, &[before, between, after]);
    await_said(&plane, &device, "rolled-back");
}

#[test]
fn two_machines_with_one_identity_lose_no_record_and_are_said() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &[]);
    device.await_link("up");
    let _made = device.access("plc");
    assert_eq!(device.stop_agent(), Some(0));
    let mut copied = plane.bare_device("copy");
    copy(device.data(), copied.data());
    fs::remove_file(copied.data().join("bus.port")).unwrap();
    for machine in [&mut device, &mut copied] {
        machine.up();
    }
    let mut all = Vec::new();
    for round in 0..3 {
        for (who, machine) in [("one", &device), ("other", &copied)] {
            let records = told(&format!("{who} {round}"), 10);
            post(&machine.access("plc"), "t", &records);
            all.push(records);
        }
    }
    await_all(&plane, &all);
    let said = eventually(DEADLINE, "the control plane says that there are two", || {
        let view = plane.view("d-1");
        let problems = view["status"]["problems"].as_array().cloned().unwrap_or_default();
        let found = problems.into_iter().find(|it| it["code"] == "identity-twice");
        found.ok_or_else(|| view["status"].to_string())
    });
    let message = said["message"].as_str().unwrap();
    assert!(
        message.contains("127.") && message.contains("enrol it with a name of its own"),
        "{message}"
    );
    eventually(DEADLINE, "one of them says it too, by its own evidence", || {
        let by_one = [&device, &copied].map(|machine| {
            machine.status().map_or_else(|_| String::new(), |it| it["problems"].to_string())
        });
        if by_one.iter().any(|it| it.contains("identity-twice")) {
            Ok(())
        } else {
            Err(format!("{by_one:?}"))
        }
    });
}
