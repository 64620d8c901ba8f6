//! Clock at 1970 on boot; certificate expired while away; disk full: workloads run on, the status
//! shows the fault, and it disappears with its cause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_tests::harness::{
    DEADLINE, Device, Options, Plane, SmallDisk, eventually, holds_for, processes,
};

use crate::{assert_says, await_copies, marker, script, sleeper};

#[test]
fn clock_at_1970_on_boot() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    device.await_phase("w", "running");
    plane.await_settled("d-1");

    // No battery for the clock, and no link: the device runs what it ran.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    device.link.cut();
    device.power_off();
    await_copies(&marker, 0);
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), format!("-{now}"));
    device.up();
    device.await_phase("w", "running");
    let pids = await_copies(&marker, 1);
    device.await_problem("clock");

    // With a link it connects all the same: its time never goes below the stored floor.
    device.link.heal();
    device.await_link("up");
    plane.await_connection("d-1", "online");
    let fresh = crate::marker();
    plane.cli().apply(&sleeper("fresh", "a", &fresh)).ok();
    plane.await_phase("d-1", "fresh", "running");
    assert_eq!(await_copies(&marker, 1), pids);
    let reported = plane.view("d-1");
    assert_says(&reported["status"].to_string(), &["clock"]);

    // The clock is set: the problem is gone.
    device.kill_agent();
    device.env.remove("HOLDFAST_TEST_CLOCK_OFFSET");
    device.up();
    device.await_link("up");
    device.await_healed("clock");
    assert_eq!(await_copies(&marker, 1), pids);
}

#[test]
fn clock_far_ahead_on_boot() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    device.await_phase("w", "running");
    plane.await_settled("d-1");
    device.power_off();
    let clock = plane.scratch.write("clock", "1000000000");
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), clock.display().to_string());
    device.up();
    let pids = await_copies(&marker, 1);
    assert_says(&device.await_problem("certificate-expired"), &["clock"]);
    let status = device.await_status("it says why there is no link", |status| {
        status["linkReason"].as_str().is_some_and(|why| why.contains("not tried: "))
    });
    assert_says(status["linkReason"].as_str().unwrap(), &["expired", "clock"]);

    // A time service sets the clock right, and nothing has to be restarted.
    std::fs::write(&clock, "0").unwrap();
    device.await_link("up");
    device.await_healed("certificate-expired");
    plane.await_settled("d-1");
    assert_eq!(await_copies(&marker, 1), pids);
}

#[test]
fn certificates_are_renewed_in_time_and_after_an_absence() {
    let config = "[certificates]\ndevice_ttl = \"6s\"\n".to_owned();
    let plane = Plane::start_with(Options { config: Some(config), ..Options::default() });
    let device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let pid = device.await_phase("w", "running");
    let ends = |view: &serde_json::Value| view["status"]["certificateNotAfter"].clone();
    let first = eventually(DEADLINE, "the certificate's end is reported", || {
        let view = plane.view("d-1");
        if ends(&view).is_null() { Err(view["status"].to_string()) } else { Ok(ends(&view)) }
    });
    eventually(DEADLINE, "it is renewed before it ends", || {
        let view = plane.view("d-1");
        if ends(&view) != first && view["status"]["connection"] == "online" {
            Ok(())
        } else {
            Err(view["status"].to_string())
        }
    });

    device.link.cut();
    device.await_link("down");
    device.await_problem("certificate-expired");
    assert_eq!(processes::with_argument(&marker), [pid], "a workload needs no certificate");
    device.link.heal();
    device.await_link("up");
    plane.await_connection("d-1", "online");
    device.await_healed("certificate-expired");
    assert_eq!(device.await_phase("w", "running"), pid);
}

#[test]
fn a_full_disk_stops_nothing_is_said_and_heals() {
    let plane = Plane::start();
    let disk = SmallDisk::mount(&plane.scratch.join("disk"), "24m");
    let mut device = plane.bare_device("d-1");
    device.set_data(plane.scratch.join("disk/d-1"));
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.up();
    let (steady, crashing) = (marker(), marker());
    plane.cli().apply(&sleeper("steady", "a", &steady)).ok();
    plane.cli().apply(&sleeper("crashing", "a", &crashing)).ok();
    let steady_pid = device.await_phase("steady", "running");
    let crashing_pid = device.await_phase("crashing", "running");
    plane.await_settled("d-1");

    disk.fill();
    let said = device.await_problem("disk-full");
    assert_says(&said, &["free"]);
    eventually(DEADLINE, "the control plane is told", || {
        let view = plane.view("d-1")["status"].to_string();
        if view.contains("disk-full") { Ok(()) } else { Err(view) }
    });
    processes::kill(crashing_pid);
    eventually(DEADLINE, "a crashed workload is restarted on a full disk", || {
        let pids = processes::with_argument(&crashing);
        match pids.as_slice() {
            [pid] if *pid != crashing_pid => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let fresh = marker();
    plane.cli().apply(&sleeper("fresh", "a", &fresh)).ok();
    // The agent itself may be restarted too; no workload is affected.
    device.restart();
    assert_eq!(device.await_phase("steady", "running"), steady_pid);

    disk.free();
    device.await_healed("disk-full");
    plane.await_phase("d-1", "fresh", "running");
    plane.await_settled("d-1");
    assert_eq!(await_copies(&steady, 1), [steady_pid]);
    await_copies(&crashing, 1);
    drop(device);
    drop(disk);
}

#[test]
fn a_workload_that_fills_the_disk_or_stands_on_a_dead_one_is_ended_from_afar() {
    let plane = Plane::start();
    let marker = marker();
    let (disk, mut device, _) = on_a_small_disk(&plane, "24m", &marker);
    eventually(DEADLINE, "room is held back", || {
        let length = std::fs::metadata(device.data().join("reserve")).map(|meta| meta.len());
        if matches!(length, Ok(1_048_576)) { Ok(()) } else { Err(format!("{length:?}")) }
    });
    let eats = "while :; do cat /dev/zero >> big; sleep 0.01; done 2>/dev/null";
    plane.cli().apply(&script("eater", "a", eats, "")).ok();
    device.await_problem("disk-full");
    plane.cli().run(&["delete", "workload", "eater"]).ok();
    device.await_status("eater is gone", |status| status["workloads"]["eater"].is_null());
    device.await_healed("disk-full");
    device.await_healed("desired-not-stored");
    plane.await_settled("d-1");
    eventually(DEADLINE, "room is held back again", || {
        let there = device.data().join("reserve").exists();
        if there { Ok(()) } else { Err("not yet".into()) }
    });

    // Where nothing can be stored, a workload that is no longer desired ends all the same.
    device.power_off();
    disk.remount("ro");
    device.up();
    await_copies(&marker, 1);
    plane.cli().run(&["delete", "workload", "w"]).ok();
    await_copies(&marker, 0);
    await_said(&plane, &["desired-not-stored"]);
    disk.remount("rw");
    device.await_status("w is gone", |status| status["workloads"]["w"].is_null());
    device.await_healed("desired-not-stored");
    plane.await_settled("d-1");
    drop(device);
    drop(disk);
}

#[test]
fn a_device_reboots_on_a_full_disk_and_runs_what_it_ran() {
    let plane = Plane::start();
    let disk = SmallDisk::mount(&plane.scratch.join("disk"), "24m");
    let mut device = plane.bare_device("d-1");
    device.set_data(plane.scratch.join("disk/d-1"));
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.up();
    // With a configuration, which is on the disk already and needs no room.
    let marker = marker();
    let config = "  config: { etc/a.conf: some text }\n";
    plane.cli().apply(&(sleeper("w", "a", &marker) + config)).ok();
    let pid = device.await_phase("w", "running");
    plane.await_settled("d-1");
    disk.fill();
    device.await_problem("disk-full");
    device.link.cut();
    processes::kill(pid);
    eventually(DEADLINE, "it is restarted on a full disk", || {
        let pids = processes::with_argument(&marker);
        if pids.len() == 1 && pids[0] != pid { Ok(()) } else { Err(format!("{pids:?}")) }
    });
    device.power_off();
    device.up();
    let pids = await_copies(&marker, 1);
    disk.free();
    device.link.heal();
    device.await_healed("disk-full");
    plane.await_phase("d-1", "w", "running");
    eventually(Duration::from_secs(10), "still one copy", || {
        let now = processes::with_argument(&marker);
        if now == pids { Ok(()) } else { Err(format!("{now:?}, was {pids:?}")) }
    });
    drop(device);
    drop(disk);
}

/// Returns a settled device on a small disk that runs one workload with a configuration.
fn on_a_small_disk(plane: &Plane, options: &str, marker: &str) -> (SmallDisk, Device, u32) {
    let disk = SmallDisk::mount(&plane.scratch.join("disk"), options);
    let mut device = plane.bare_device("d-1");
    device.set_data(plane.scratch.join("disk/d-1"));
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.up();
    let config = "  config: { etc/a.conf: some text }\n";
    plane.cli().apply(&(sleeper("w", "a", marker) + config)).ok();
    let pid = device.await_phase("w", "running");
    plane.await_settled("d-1");
    (disk, device, pid)
}

fn await_said(plane: &Plane, parts: &[&str]) {
    eventually(DEADLINE, &format!("the control plane is told {parts:?}"), || {
        let view = plane.view("d-1")["status"].to_string();
        if parts.iter().all(|part| view.contains(part)) { Ok(()) } else { Err(view) }
    });
}

#[test]
fn a_device_reboots_on_a_disk_that_takes_nothing_any_more_and_runs_what_it_ran() {
    let plane = Plane::start();
    let marker = marker();
    let (disk, mut device, _) = on_a_small_disk(&plane, "24m", &marker);
    device.power_off();
    await_copies(&marker, 0);
    disk.remount("ro");
    device.up();
    let pids = await_copies(&marker, 1);
    await_said(&plane, &["status-socket", "\"store\"", "Read-only"]);
    assert!(!plane.view("d-1")["status"].to_string().contains("store-recovered"));
    // The agent alone, too.
    device.restart();
    plane.await_connection("d-1", "online");
    disk.remount("rw");
    device.await_healed("status-socket");
    device.await_healed("store");
    assert_eq!(device.await_phase("w", "running"), pids[0]);
    plane.await_settled("d-1");
    assert_eq!(await_copies(&marker, 1), pids);
    assert!(!device.data().join("store.damaged").exists(), "nothing was wrong with it");
    drop(device);
    drop(disk);
}

#[test]
fn an_agent_starts_where_no_file_can_be_made_any_more() {
    let plane = Plane::start();
    let marker = marker();
    let (disk, mut device, pid) = on_a_small_disk(&plane, "24m,nr_inodes=200", &marker);
    assert_eq!(device.stop_agent(), Some(0));
    disk.fill_inodes();
    device.up();
    await_said(&plane, &["status-socket"]);
    processes::kill(pid);
    eventually(DEADLINE, "it is restarted all the same", || {
        let pids = processes::with_argument(&marker);
        if pids.len() == 1 && pids[0] != pid { Ok(()) } else { Err(format!("{pids:?}")) }
    });
    device.power_off();
    device.up();
    let pids = await_copies(&marker, 1);
    disk.free_inodes();
    device.await_healed("status-socket");
    assert_eq!(device.await_phase("w", "running"), pids[0]);
    drop(device);
    drop(disk);
}

#[test]
fn a_certificate_is_renewed_on_a_full_disk() {
    let config = "[certificates]\ndevice_ttl = \"6s\"\n".to_owned();
    let plane = Plane::start_with(Options { config: Some(config), ..Options::default() });
    let marker = marker();
    let (disk, device, pid) = on_a_small_disk(&plane, "24m", &marker);
    disk.fill();
    device.await_problem("disk-full");
    assert_says(&device.await_problem("certificate-not-stored"), &["identity.json", "space"]);
    // Longer than the validity of the certificate on the disk.
    holds_for(Duration::from_secs(10), "renewed ones serve", || {
        let status = device.status()?;
        if status.to_string().contains("certificate-expired") {
            Err(status.to_string())
        } else {
            Ok(())
        }
    });
    device.await_link("up");
    let file = || std::fs::read_to_string(device.data().join("identity.json")).unwrap();
    let before = file();
    disk.free();
    device.await_healed("certificate-not-stored");
    assert_ne!(file(), before, "it is stored when there is room");
    assert_eq!(await_copies(&marker, 1), [pid]);
    drop(device);
    drop(disk);
}
