//! Life of one container: started, adopted, ended, restarted, changed, removed.

use fleet_tests::harness::engine::Family;
use fleet_tests::harness::{DEADLINE, eventually};

use crate::{Scene, spec};

fn runs_is_adopted_restarted_and_removed(family: Family) {
    let Some(mut scene) = Scene::new(family) else { return };
    scene.device.wants("w", Some(spec(scene.container("say hello wait"))));
    scene.device.up();
    let report = scene.device.await_phase("w", "running");
    let first = scene.engine.running();
    assert_eq!(first.len(), 1, "{report}");
    scene.device.await_log("w", "hello");
    let inspected = scene.engine.get(&format!("/containers/{}/json", first[0])).unwrap();
    assert_eq!(inspected["HostConfig"]["ReadonlyRootfs"], true);
    assert!(first[0].starts_with(report["container"]["id"].as_str().unwrap_or("?")), "{report}");

    // A restart of the agent changes nothing.
    scene.device.restart();
    scene.device.await_phase("w", "running");
    assert_eq!(scene.engine.running(), first);

    // Its end is noticed, and it is started again as another container.
    scene.engine.call("POST", &format!("/containers/{}/kill", first[0])).unwrap();
    let second = eventually(DEADLINE, "another container runs", || match scene.engine.running() {
        running if running.len() == 1 && running != first => Ok(running),
        other => Err(format!("{other:?}")),
    });
    eventually(DEADLINE, "the former one is removed", || match scene.engine.containers().len() {
        1 => Ok(()),
        other => Err(format!("{other} containers")),
    });
    eventually(DEADLINE, "it says hello once more", || {
        let log = scene.device.log("w");
        if log.matches("hello").count() == 2 { Ok(()) } else { Err(log) }
    });

    // Another revision replaces it; nothing runs twice.
    scene.device.kill();
    scene.device.wants("w", Some(spec(scene.container("say other wait"))));
    scene.device.up();
    scene.device.await_log("w", "other");
    let third = scene.engine.running();
    assert!(third.len() == 1 && third != second, "{third:?}");

    scene.device.kill();
    scene.device.wants("w", None);
    scene.device.up();
    eventually(DEADLINE, "nothing is left", || match scene.engine.containers() {
        none if none.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn docker_runs_a_container_that_is_adopted_restarted_and_removed() {
    runs_is_adopted_restarted_and_removed(Family::Docker);
}

#[test]
fn podman_runs_a_container_that_is_adopted_restarted_and_removed() {
    runs_is_adopted_restarted_and_removed(Family::Podman);
}
