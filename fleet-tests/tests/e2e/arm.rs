//! The aarch64 agent, emulated by qemu-user, against the real control plane: it enrols, runs its
//! workloads, restarts and reconnects.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, holds_for, processes};

use crate::{QUICK, assert_says, await_copies, marker, script, sleeper};

const EMULATOR: &str = "qemu-aarch64-static";

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut there = std::env::split_paths(&path).chain(["/usr/bin".into()]);
    there.find_map(|folder| Some(folder.join(program)).filter(|file| file.is_file()))
}

/// Returns the agent for aarch64: the one that `make test` built, or built now.
fn agent() -> PathBuf {
    if let Some(path) = std::env::var_os("HOLDFAST_AARCH64_AGENT") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "HOLDFAST_AARCH64_AGENT: {} is no file", path.display());
        return path;
    }
    // Debian's package rustc-web contains Rust's library for aarch64.
    let library = Path::new("/usr/lib/rustlib/aarch64-unknown-linux-gnu").is_dir();
    assert!(
        library,
        "HOLDFAST_AARCH64_AGENT is not set, and there is no Rust for aarch64 to build it with: \
         run `make test`, or `.ci/tools cross-aarch64` first"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(root.join("images/build"))
        .args(["aarch64", "dev", "holdfast-agent"])
        .current_dir(root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "images/build aarch64 failed:\n{said}");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).join("holdfast-agent")
}

/// Returns a device whose agent is emulated, with its launchers.
fn device(plane: &Plane) -> Device {
    let emulator = find(EMULATOR)
        .unwrap_or_else(|| panic!("{EMULATOR} is missing: run `.ci/tools test` (or `make test`)"));
    let agent = agent();
    let mut device = plane.bare_device("arm-1");
    let launcher = format!("{} {}", emulator.display(), agent.display());
    device.env.insert("HOLDFAST_TEST_LAUNCHER".into(), launcher);
    device.program = vec![OsString::from(emulator), agent.into()];
    device
}

#[test]
fn the_aarch64_agent_enrols_runs_restarts_and_reconnects() {
    let plane = Plane::start();
    let mut device = device(&plane);
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.up();
    device.await_link("up");
    plane.await_connection("arm-1", "online");
    eventually(DEADLINE, "it says what it is", || {
        let status = plane.view("arm-1")["status"].clone();
        if status["arch"] == "aarch64" { Ok(()) } else { Err(status.to_string()) }
    });

    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    plane.await_phase("arm-1", "w", "running");
    let pid = await_copies(&marker, 1)[0];
    assert_eq!(device.await_phase("w", "running"), pid);
    assert_eq!(processes::status_line(pid, "NoNewPrivs:"), "1");
    assert!(processes::uids(pid).iter().all(|uid| (61_184..65_520).contains(uid)));

    // Killed and started again, the agent adopts the running processes.
    device.restart();
    assert_eq!(device.await_phase("w", "running"), pid);
    device.await_link("up");
    plane.await_settled("arm-1");

    // A cut link recovers by itself, and nothing restarts for it.
    device.link.cut();
    device.await_link("down");
    plane.await_connection("arm-1", "offline");
    device.link.heal();
    device.await_link("up");
    plane.await_connection("arm-1", "online");
    assert_eq!(await_copies(&marker, 1), [pid]);

    // Adopted and started workloads are both watched.
    processes::kill(pid);
    let again = eventually(DEADLINE, "the adopted workload is restarted", || {
        let found = processes::with_argument(&marker);
        if found.len() == 1 && found[0] != pid { Ok(found[0]) } else { Err(format!("{found:?}")) }
    });
    device.await_status("the restart is known", |status| {
        status["workloads"]["w"]["pid"] == again && status["workloads"]["w"]["phase"] == "running"
    });
    processes::kill(again);
    device.await_status("the second restart is known", |status| {
        let it = &status["workloads"]["w"];
        it["phase"] == "running" && it["pid"] != again
    });
    await_copies(&marker, 1);
}

#[test]
fn the_aarch64_agent_sees_how_a_workload_ended_probes_it_fetches_artifacts_and_gives_its_log() {
    let plane = Plane::start();
    let mut device = device(&plane);
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.up();
    device.await_link("up");
    plane
        .cli()
        .apply(&script("job", "a", "echo done; exit 7", "  restart: { policy: never }\n"))
        .ok();
    let seen = plane.await_phase("arm-1", "job", "failed");
    assert_says(seen["reason"].as_str().unwrap(), &["code 7"]);
    assert_eq!(plane.cli().run(&["logs", "arm-1", "job"]).ok(), "done");

    let health = "  health: { exec: { command: [/bin/true] }, interval: 200ms }\n";
    plane.cli().apply(&script("probed", "a", "exec sleep 1000", &format!("{health}{QUICK}"))).ok();
    plane.await_phase("arm-1", "probed", "running");

    let marker = marker();
    let file = plane.scratch.write("program", format!("#!/bin/sh\nexec sleep {marker}\n"));
    let digest = plane.cli().run(&["artifact", "push", file.to_str().unwrap()]).ok();
    let document = sleeper("fetched", "a", "1")
        .replace("path: /bin/sleep, args: [\"1\"]", &format!("artifact: \"{digest}\""));
    plane.cli().apply(&document).ok();
    plane.await_phase("arm-1", "fetched", "running");
    await_copies(&marker, 1);
    plane.cli().run(&["delete", "workload", "fetched"]).ok();
    await_copies(&marker, 0);
    plane.await_settled("arm-1");
    let agent = device.pid().unwrap();
    holds_for(Duration::from_secs(1), "the emulated agent is well", || {
        if processes::alive(agent) { Ok(()) } else { Err("it ended".into()) }
    });
}
