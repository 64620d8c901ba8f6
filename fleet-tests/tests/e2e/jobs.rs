//! Operations on workloads: pauses that hold over a reboot and without a link, restarts on
//! connected devices only, the return to a former revision.

use std::time::Duration;

use fleet_tests::harness::{DEADLINE, Plane, eventually, holds_for, processes};

use crate::{assert_says, await_copies, marker, script, sleeper};

#[test]
fn a_pause_holds_over_a_reboot_without_a_link_and_through_a_new_revision() {
    let mut plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let (first, second, other) = (marker(), marker(), marker());
    plane.cli().apply(&sleeper("w", "a", &first)).ok();
    plane.cli().apply(&sleeper("other", "a", &other)).ok();
    device.await_phase("w", "running");
    let bystander = device.await_phase("other", "running");

    let said = plane.cli().run(&["pause", "w", "--device", "d-1"]).ok();
    assert_says(&said, &["workload/w paused on d-1"]);
    await_copies(&first, 0);
    let status =
        device.await_status("it is paused", |it| it["workloads"]["w"]["phase"] == "paused");
    assert_says(&status["workloads"]["w"].to_string(), &["resumed"]);
    let view = plane.await_settled("d-1");
    assert_eq!(view["status"]["workloads"]["w"]["phase"], "paused", "{view}");
    let described = plane.cli().run(&["describe", "device", "d-1"]).ok();
    assert_says(&described, &["w: paused by"]);
    let text = plane.cli().run(&["restart", "w", "--device", "d-1"]).fails(4);
    assert_says(&text, &["paused", "resume it"]);

    // A new revision is accepted while paused, and not started.
    plane.cli().apply(&sleeper("w", "a", &second)).ok();
    plane.await_settled("d-1");
    let folder = device.data().join("workloads/w/files");
    assert!(folder.is_dir(), "its folder stays");

    // The pause holds without the control plane, after a restart of the agent and after a reboot.
    plane.stop();
    device.await_link("down");
    device.restart();
    device.await_status("paused still", |it| it["workloads"]["w"]["phase"] == "paused");
    assert_eq!(device.await_phase("other", "running"), bystander);
    device.power_off();
    device.up();
    device.await_phase("other", "running");
    device.await_status("paused still", |it| it["workloads"]["w"]["phase"] == "paused");
    holds_for(Duration::from_secs(1), "nothing of it runs", || {
        match processes::with_argument(&first).len() + processes::with_argument(&second).len() {
            0 => Ok(()),
            some => Err(format!("{some} run")),
        }
    });
    assert_eq!(device.status().unwrap()["link"], "down");

    // A resume while the device is offline takes effect when it connects again.
    plane.up();
    device.await_link("up");
    device.link.cut();
    plane.await_connection("d-1", "offline");
    let resumed = plane.cli().run(&["resume", "w", "--all"]);
    assert_says(&resumed.err, &["d-1: offline"]);
    assert_says(&resumed.ok(), &["resumed everywhere (1 device)"]);
    device.link.heal();
    let status = device.await_status("it runs", |it| it["workloads"]["w"]["phase"] == "running");
    assert_eq!(status["workloads"]["w"]["restarts"], 0, "{status}");
    await_copies(&second, 1);
}

#[test]
fn a_restart_is_of_who_is_there_counts_as_none_and_comes_to_nobody_later() {
    let plane = Plane::start();
    let here = plane.device("d-1", &["role=a"]);
    let away = plane.device("d-2", &["role=a"]);
    let text = "echo start >> starts; exec sleep 100000";
    plane.cli().apply(&script("w", "a", text, "  stop: { grace: 1s }\n")).ok();
    let (pid, other) = (here.await_phase("w", "running"), away.await_phase("w", "running"));
    plane.await_settled("d-1");

    let said = plane.cli().run(&["restart", "w", "--device", "d-1"]).ok();
    assert_says(&said, &["workload/w restarted on d-1"]);
    let again = here.await_phase("w", "running");
    assert_ne!(again, pid, "another process");
    assert!(!processes::alive(pid));
    assert_eq!(here.status().unwrap()["workloads"]["w"]["restarts"], 0);

    away.link.cut();
    plane.await_connection("d-2", "offline");
    let text = plane.cli().run(&["restart", "w", "--all"]);
    assert_says(&text.out, &["restarted on d-1", "d-2: not asked: offline"]);
    text.fails(1);
    away.link.heal();
    plane.await_connection("d-2", "online");
    plane.await_settled("d-2");
    holds_for(Duration::from_secs(2), "it is not restarted when it is back", || {
        if away.await_phase("w", "running") == other { Ok(()) } else { Err("restarted".into()) }
    });

    // A back-off is cut short, whether the program fails before the reply or after it.
    let fails = script(
        "f",
        "a",
        "echo try >> tries; exit 3",
        "  restart: { policy: always, backoff: { initial: 600s, max: 600s } }\n",
    );
    plane.cli().apply(&fails).ok();
    plane.await_phase("d-1", "f", "backoff");
    plane.cli().run(&["restart", "f", "--device", "d-1"]);
    let tries = here.data().join("workloads/f/files/tries");
    eventually(DEADLINE, "it was tried again", || {
        let text = std::fs::read_to_string(&tries).unwrap_or_default();
        if text.lines().count() == 2 { Ok(()) } else { Err(text) }
    });
    // A job that has ended runs again.
    let job = script("job", "a", "echo run >> runs", "  restart: { policy: never }\n");
    plane.cli().apply(&job).ok();
    plane.await_phase("d-1", "job", "stopped");
    plane.cli().run(&["restart", "job", "--device", "d-1"]).ok();
    let runs = here.data().join("workloads/job/files/runs");
    eventually(DEADLINE, "it ran twice", || {
        let text = std::fs::read_to_string(&runs).unwrap_or_default();
        if text.lines().count() == 2 { Ok(()) } else { Err(text) }
    });
}

#[test]
fn the_way_back_is_a_new_revision_with_the_former_document() {
    let plane = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let (good, bad) = (marker(), marker());
    plane.cli().apply(&sleeper("w", "a", &good)).ok();
    device.await_phase("w", "running");
    plane.cli().apply(&sleeper("w", "a", &bad)).ok();
    await_copies(&bad, 1);
    plane.await_settled("d-1");

    let history = plane.cli().run(&["history", "w"]).ok();
    assert_says(&history, &["CHANGED", "run.process.args", "current"]);
    let document = plane.cli().run(&["history", "w", "1"]).ok();
    assert_says(&document, &["kind: Workload", &good]);
    let would = plane.cli().run(&["rollback", "w", "--dry-run"]).ok();
    assert_says(
        &would,
        &[
            "would be changed",
            "back to revision 1",
            "1 device will go to this revision",
            &good,
            &bad,
        ],
    );
    await_copies(&good, 0);
    let said = plane.cli().run(&["rollback", "w", "--to", "1"]).ok();
    assert_says(&said, &["workload/w changed (revision 3, 1 device): back to revision 1"]);
    await_copies(&good, 1);
    await_copies(&bad, 0);
    plane.cli().run(&["rollback", "w", "--to", "9"]).fails(3);
    let listed = plane.cli().run(&["history", "w", "-o", "json"]).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "{listed}");
    plane.await_settled("d-1");
    let listed = plane.cli().run(&["history", "w", "-o", "json"]).json();
    assert_eq!(listed["items"][2]["devices"], 1, "{listed}");
}
