//! The control plane is stopped, the link is cut, the agent restarts, the machine reboots:
//! workloads run on or are restarted from the device's own disk, and reconnecting restarts nothing.

use std::time::Duration;

use fleet_tests::harness::{DEADLINE, Plane, eventually, holds_for, processes};

use crate::{QUICK, await_copies, marker, script, sleeper};

#[test]
fn without_control_plane_everything_goes_on_restarts_and_comes_back_after_a_reboot() {
    let mut plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let (steady, crashing) = (marker(), marker());
    plane.cli().apply(&sleeper("steady", "a", &steady)).ok();
    plane.cli().apply(&sleeper("crashing", "a", &crashing)).ok();
    let steady_pid = device.await_phase("steady", "running");
    let crashing_pid = device.await_phase("crashing", "running");
    plane.await_settled("d-1");

    plane.stop();
    device.await_link("down");
    processes::kill(crashing_pid);
    let again = eventually(DEADLINE, "the crashed workload is restarted", || {
        let pids = processes::with_argument(&crashing);
        match pids.as_slice() {
            [pid] if *pid != crashing_pid => Ok(*pid),
            other => Err(format!("{other:?}")),
        }
    });
    let status = device.await_status("the restart is counted", |status| {
        status["workloads"]["crashing"]["restarts"] == 1
    });
    assert_eq!(status["workloads"]["steady"]["restarts"], 0);

    // The agent restarts: it adopts the running processes.
    device.restart();
    assert_eq!(device.await_phase("steady", "running"), steady_pid);
    assert_eq!(device.await_phase("crashing", "running"), again);
    device.stop_agent();
    device.up();
    assert_eq!(device.await_phase("steady", "running"), steady_pid);

    // An adopted workload is watched like any other.
    processes::kill(again);
    eventually(DEADLINE, "the adopted workload is restarted", || {
        let pids = processes::with_argument(&crashing);
        match pids.as_slice() {
            [pid] if *pid != again => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    // The machine reboots, still without the control plane.
    device.power_off();
    await_copies(&steady, 0);
    device.up();
    let rebooted = device.await_phase("steady", "running");
    device.await_phase("crashing", "running");
    assert_eq!(await_copies(&steady, 1), [rebooted]);
    await_copies(&crashing, 1);
    assert_eq!(device.status().unwrap()["link"], "down");

    // The control plane is back: the device converges, and nothing restarts.
    plane.up();
    device.await_link("up");
    let view = plane.await_settled("d-1");
    plane.await_connection("d-1", "online");
    assert_eq!(view["status"]["workloads"]["steady"]["phase"], "running", "{view}");
    assert_eq!(await_copies(&steady, 1), [rebooted]);
}

#[test]
fn a_workload_that_ended_while_the_agent_was_dead_is_started_again_once() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let pid = device.await_phase("w", "running");
    device.kill_agent();
    assert!(processes::alive(pid), "a workload outlives its agent");
    processes::kill(pid);
    await_copies(&marker, 0);
    device.up();
    let now = device.await_phase("w", "running");
    assert_ne!(now, pid);
    holds_for(Duration::from_secs(1), "exactly one copy", || {
        let pids = processes::with_argument(&marker);
        if pids == [now] { Ok(()) } else { Err(format!("{pids:?}")) }
    });
}

#[test]
fn a_cut_link_restarts_nothing_and_changes_made_meanwhile_arrive() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (kept, gone, new) = (marker(), marker(), marker());
    plane.cli().apply(&sleeper("kept", "a", &kept)).ok();
    plane.cli().apply(&sleeper("gone", "a", &gone)).ok();
    let pid = device.await_phase("kept", "running");
    device.await_phase("gone", "running");

    device.link.cut();
    device.await_link("down");
    plane.await_connection("d-1", "offline");
    let view = plane.view("d-1");
    assert!(view["status"]["heardAt"].is_string(), "{view}");
    plane.cli().run(&["delete", "workload", "gone"]).ok();
    plane.cli().apply(&sleeper("new", "a", &new)).ok();
    // A device that is away is reported as behind, not as failed.
    let described = plane.cli().run(&["describe", "device", "d-1"]).ok();
    crate::assert_says(&described, &["offline"]);
    assert_eq!(processes::with_argument(&gone).len(), 1, "offline devices go on as they were");

    device.link.heal();
    device.await_phase("new", "running");
    await_copies(&gone, 0);
    plane.await_settled("d-1");
    plane.await_connection("d-1", "online");
    assert_eq!(device.await_phase("kept", "running"), pid);
    assert_eq!(plane.view("d-1")["status"]["workloads"]["kept"]["restarts"], 0);
}

#[test]
fn a_link_that_cuts_again_and_again_ends_converged_without_a_restart() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let pid = device.await_phase("w", "running");
    for round in 0..5 {
        device.link.cut();
        device.await_link("down");
        let name = format!("extra-{round}");
        plane.cli().apply(&sleeper(&name, "a", &crate::marker())).ok();
        device.link.heal();
        device.await_link("up");
    }
    plane.await_settled("d-1");
    assert_eq!(device.await_phase("extra-4", "running"), {
        let status = device.status().unwrap();
        u32::try_from(status["workloads"]["extra-4"]["pid"].as_u64().unwrap()).unwrap()
    });
    assert_eq!(await_copies(&marker, 1), [pid]);
}

#[test]
fn a_slow_link_works() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    device.link.delay(Duration::from_millis(400));
    plane.cli().apply(&sleeper("w", "a", &marker())).ok();
    plane.await_phase("d-1", "w", "running");
    plane.await_settled("d-1");
}

#[test]
fn control_plane_restarts_restart_no_workload() {
    let mut plane = Plane::start();
    let devices: Vec<_> = (1..=3).map(|n| plane.device(&format!("d-{n}"), &["role=a"])).collect();
    plane.cli().apply(&sleeper("w", "a", &marker())).ok();
    let pids: Vec<u32> = devices.iter().map(|device| device.await_phase("w", "running")).collect();
    plane.kill();
    plane.up();
    assert_eq!(plane.stop(), Some(0), "SIGTERM is a clean end");
    plane.up();
    for (device, pid) in devices.iter().zip(pids) {
        device.await_link("up");
        plane.await_connection(&device.name, "online");
        plane.await_settled(&device.name);
        assert_eq!(device.await_phase("w", "running"), pid);
    }
    // Changes still reach every device.
    plane.cli().apply(&sleeper("w-2", "a", &marker())).ok();
    for device in &devices {
        plane.await_phase(&device.name, "w-2", "running");
    }
}

#[test]
fn a_workload_with_children_is_stopped_whole() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (child, grandchild) = (marker(), marker());
    let text = format!("sleep {child} & (sleep {grandchild} & wait) & wait");
    plane.cli().apply(&script("family", "a", &text, QUICK)).ok();
    device.await_phase("family", "running");
    await_copies(&child, 1);
    await_copies(&grandchild, 1);
    plane.cli().run(&["delete", "workload", "family"]).ok();
    await_copies(&child, 0);
    await_copies(&grandchild, 0);
}

/// An idle link is kept alive by small messages: the gateway accepts them, and the device's session
/// stays valid.
#[test]
fn an_idle_link_is_kept_alive_by_beats_and_stays_of_use() {
    let plane = Plane::start();
    let mut device = plane.bare_device("d-1");
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.config = Some("[link]\nkeep_alive_seconds = 5\n".into());
    device.up();
    plane.cli().apply(&script("talker", "a", "echo said; exec sleep 1000", "")).ok();
    plane.await_phase("d-1", "talker", "running");
    plane.await_settled("d-1");
    let taken = |name: &str| plane.metric(&format!("holdfast_gateway_{name}_total"));
    let (publishes, pubacks) = (taken("publishes_in"), taken("pubacks_out"));
    eventually(DEADLINE, "three beats", || {
        let beats = taken("publishes_in") - publishes;
        if beats >= 3.0 { Ok(()) } else { Err(format!("{beats}")) }
    });
    assert_eq!(taken("pubacks_out"), pubacks, "a beat is not answered");
    assert_eq!(plane.metric("holdfast_malformed_total"), 0.0);
    assert_eq!(taken("connected"), 1.0, "one connection throughout");
    assert_eq!(plane.view("d-1")["status"]["connection"], "online");
    // The session is still valid: calls reach the device.
    let log = plane.cli().run(&["logs", "d-1", "talker"]).ok();
    assert!(log.contains("said"), "{log}");
}
