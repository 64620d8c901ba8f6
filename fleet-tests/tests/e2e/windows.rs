//! Windows on a real device, whose clock the test moves: what is wanted is fetched and switched to
//! within its windows, and what runs goes on until then.

use std::time::{SystemTime, UNIX_EPOCH};

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually};

use crate::{QUICK, assert_says, await_copies, marker};

/// Returns a window of an hour that begins so many hours from now, in UTC.
fn window(hours: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let minute = |hours: u64| (now / 60 + hours * 60) % 1_440;
    let text = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{}-{}", text(minute(hours)), text(minute(hours + 1)))
}

fn workload(run: &str, windows: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: w }}\nspec:\n\
         \x20 devices: {{ matchLabels: {{ role: a }} }}\n\
         \x20 run: {{ process: {{ {run} }} }}\n{windows}{QUICK}"
    )
}

fn await_reason(plane: &Plane, part: &str) {
    eventually(DEADLINE, part, || {
        let view = plane.view("d-1");
        let reason = view["status"]["workloads"]["w"]["reason"].as_str().unwrap_or("").to_owned();
        if reason.contains(part) { Ok(()) } else { Err(reason) }
    });
}

#[test]
fn a_revision_is_fetched_and_switched_to_within_its_windows() {
    let plane = Plane::start();
    let mut device = Device::new(&plane, "d-1");
    let clock = plane.scratch.write("clock", "0");
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), clock.display().to_string());
    device.config = Some("[time]\nzone = \"UTC0\"\n".into());
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.up();
    let (old, new) = (marker(), marker());
    plane.cli().apply(&workload(&format!("path: /bin/sleep, args: [\"{old}\"]"), "")).ok();
    device.await_phase("w", "running");
    let pid = await_copies(&old, 1)[0];

    let program = plane.scratch.write("program", format!("#!/bin/sh\nexec sleep {new}\n"));
    let digest = plane.cli().run(&["artifact", "push", program.to_str().unwrap()]).ok();
    let windows =
        format!("\x20 windows: {{ download: [\"{}\"], switch: [\"{}\"] }}\n", window(3), window(6));
    plane.cli().apply(&workload(&format!("artifact: \"{digest}\""), &windows)).ok();
    await_reason(&plane, "revision 2 waits for its download window: ");
    let described = plane.cli().run(&["describe", "workload", "w"]).ok();
    assert_says(&described, &["waits for its download window", "UTC"]);
    let hex = digest.strip_prefix("sha256:").unwrap();
    let file = device.data().join("artifacts/sha256").join(hex);
    assert!(!file.exists(), "it is not fetched yet");

    std::fs::write(&clock, (3 * 3_600 + 120).to_string()).unwrap();
    await_reason(&plane, "revision 2 waits for its switch window: ");
    assert!(file.exists());
    // What runs is started again, and not what is to follow: after a restart of the agent too.
    device.restart();
    await_reason(&plane, "revision 2 waits for its switch window: ");
    assert_eq!(await_copies(&old, 1), [pid], "it was not touched");
    await_copies(&new, 0);

    std::fs::write(&clock, (6 * 3_600 + 120).to_string()).unwrap();
    await_copies(&new, 1);
    await_copies(&old, 0);
    eventually(DEADLINE, "the second revision is reported, and waits for nothing", || {
        let is = plane.await_phase("d-1", "w", "running");
        if is["revision"] == 2 && is["reason"] == "" { Ok(()) } else { Err(is.to_string()) }
    });
}
