//! Trouble: an agent that dies at each step, an engine that is away, late, restarted or killed, and
//! a machine that was switched off. Nothing healthy is made anew, nothing runs twice.

use std::time::Duration;

use fleet_tests::harness::engine::Family;
use fleet_tests::harness::{DEADLINE, eventually, holds_for};
use holdfast_protocol::workload::RestartPolicy;

use crate::{Scene, spec};

const BOTH: [Family; 2] = [Family::Docker, Family::Podman];

impl Scene {
    /// Number of starts, as the program itself counts them in a folder of the device.
    fn starts(&self) -> usize {
        std::fs::read(self.scratch.join("starts")).map_or(0, |it| it.len())
    }

    /// A container that counts its starts and goes on.
    fn counting(&self) -> holdfast_protocol::container::Container {
        use holdfast_protocol::container::{Mount, MountFrom};
        let mut container = self.container("count /host/starts say up wait");
        let from = MountFrom::Host(self.scratch.path().to_str().unwrap().to_owned());
        container.mounts = vec![Mount { path: "/host".into(), from, read_only: false }];
        container.writable_root = true;
        container
    }

    fn await_one(&self) -> String {
        eventually(DEADLINE, "one container runs", || match self.engine.running().as_slice() {
            [one] => Ok(one.clone()),
            other => Err(format!("{other:?}")),
        })
    }
}

#[test]
fn an_agent_that_dies_at_any_step_of_a_start_leaves_one_container_that_ran_once() {
    for point in ["container-created", "workload-saved", "container-started"] {
        let Some(mut scene) = Scene::new(Family::Docker) else { return };
        scene.device.wants("w", Some(spec(scene.counting())));
        scene.device.env.insert("HOLDFAST_CRASH_AT".into(), point.into());
        scene.device.up();
        scene.device.await_end();
        scene.device.env.remove("HOLDFAST_CRASH_AT");
        let before = scene.engine.containers();
        assert_eq!(before.len(), 1, "{point}: {before:?}");
        scene.device.up();
        scene.device.await_phase("w", "running");
        let one = scene.await_one();
        eventually(DEADLINE, "nothing else is left", || match scene.engine.containers().len() {
            1 => Ok(()),
            other => Err(format!("{point}: {other}")),
        });
        eventually(DEADLINE, "it counted its start", || match scene.starts() {
            0 => Err("not yet".into()),
            _ => Ok(()),
        });
        assert_eq!(scene.starts(), 1, "{point}");
        if point == "container-started" {
            assert_eq!(before[0]["Id"], one.as_str(), "{point}: it is adopted");
        }
    }
}

#[test]
fn a_job_that_was_stored_and_never_started_is_started_once() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let mut job = scene.counting();
    job.args = "count /host/starts exit 0".split(' ').map(str::to_owned).collect();
    let mut job = spec(job);
    job.restart.policy = RestartPolicy::Never;
    scene.device.wants("w", Some(job));
    scene.device.env.insert("HOLDFAST_CRASH_AT".into(), "workload-saved".into());
    scene.device.up();
    scene.device.await_end();
    assert_eq!(scene.starts(), 0);
    scene.device.env.remove("HOLDFAST_CRASH_AT");
    scene.device.up();
    scene.device.await_phase("w", "stopped");
    assert_eq!(scene.starts(), 1);
    scene.device.restart();
    scene.device.await_phase("w", "stopped");
    holds_for(Duration::from_secs(1), "it runs no more", || match scene.starts() {
        1 => Ok(()),
        other => Err(other.to_string()),
    });
}

#[test]
fn an_engine_that_was_killed_and_is_back_finds_its_containers_as_they_were() {
    for family in BOTH {
        let Some(mut scene) = Scene::new(family) else { return };
        if family == Family::Docker {
            scene.engine.stop();
            scene.engine.live_restore();
            scene.engine.up();
        }
        scene.device.wants("w", Some(spec(scene.counting())));
        scene.device.up();
        scene.device.await_phase("w", "running");
        let one = scene.await_one();

        scene.engine.kill();
        let said = scene.device.await_problem("engine-away");
        assert!(said.contains("presumed to run") && said.starts_with("w: "), "{said}");
        scene.device.await_phase("w", "running");
        // An agent that starts while the engine is away presumes the same.
        scene.device.restart();
        scene.device.await_problem("engine-away");
        scene.device.await_phase("w", "running");
        scene.engine.up();
        scene.device.await_healed("engine-away");
        scene.device.await_phase("w", "running");
        assert_eq!((scene.await_one(), scene.starts()), (one.clone(), 1), "{family:?}");

        // It ends while the engine is away: its code is told when the engine is back.
        scene.engine.kill();
        scene.device.await_problem("engine-away");
        end_main_process(&scene, &one);
        scene.engine.up();
        eventually(DEADLINE, "it is started again", || match scene.starts() {
            2 => Ok(()),
            other => Err(other.to_string()),
        });
        let report = scene.device.await_phase("w", "running");
        assert_eq!(report["restarts"], 1, "{family:?}: {report}");
        scene.await_one();
    }
}

/// Kills the main process of a container behind the back of its engine.
fn end_main_process(scene: &Scene, id: &str) {
    let mine = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let group = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        group.contains(id) && line.starts_with("/t\0")
    });
    let pids: Vec<i32> =
        mine.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    assert!(!pids.is_empty(), "{}", scene.device.own_log());
    for pid in pids {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
fn a_device_that_boots_offline_starts_everything_when_its_engine_comes() {
    for family in BOTH {
        let Some(mut scene) = Scene::new(family) else { return };
        scene.device.wants("w", Some(spec(scene.counting())));
        scene.device.up();
        scene.device.await_phase("w", "running");
        let first = scene.await_one();
        // The power goes: agent, engine and containers at once.
        scene.device.kill();
        scene.engine.kill();
        end_main_process(&scene, &first);
        scene.device.new_boot();
        scene.device.up();
        scene.device.await_problem("engine-away");
        scene.engine.up();
        eventually(DEADLINE, "it is started", || match scene.starts() {
            2 => Ok(()),
            other => Err(format!("{family:?}: {other}")),
        });
        scene.device.await_phase("w", "running");
        assert_ne!(scene.await_one(), first);
        assert_eq!(scene.starts(), 2);
    }
}

#[test]
fn what_is_not_of_this_agent_is_never_touched() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let body = serde_json::json!({
        "Image": scene.image.id(), "Cmd": ["wait"],
        "Labels": { "holdfast.agent": "another", "holdfast.workload": "w" },
        "HostConfig": { "NetworkMode": "host" }
    });
    let foreign = scene.engine.create("hf-w-00000000", &body);
    scene.engine.call("POST", &format!("/containers/{foreign}/start")).unwrap();
    scene.device.wants("w", Some(spec(scene.container("say up wait"))));
    scene.device.up();
    scene.device.await_phase("w", "running");
    scene.device.kill();
    scene.device.wants("w", None);
    scene.device.up();
    eventually(DEADLINE, "its own are gone", || match scene.engine.containers().len() {
        1 => Ok(()),
        other => Err(other.to_string()),
    });
    assert_eq!(scene.engine.running(), [foreign]);
}
