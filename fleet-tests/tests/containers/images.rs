//! Images: handed to the engine out of files, known without a link and without an engine, removed
//! when nothing wants them.

use std::time::Duration;

use fleet_tests::harness::engine::{Family, RealEngine};
use fleet_tests::harness::image::{TestImage, sha256};
use fleet_tests::harness::{DEADLINE, Loner, Scratch, eventually, holds_for};
use holdfast_protocol::workload::{Health, Probe};

use crate::{container, spec};

const BOTH: [Family; 2] = [Family::Docker, Family::Podman];

fn device(scratch: &Scratch, engine: &RealEngine, more: &str) -> Loner {
    let config = format!("[containers]\nsocket = '{}'\n{more}", engine.socket.display());
    Loner::new(scratch, &config)
}

fn images(engine: &RealEngine) -> String {
    engine.get("/images/json").unwrap().to_string()
}

/// Puts only the configuration and the last layer of an image on the disk.
fn put_top(image: &TestImage, device: &Loner) {
    let all = image.put_into(device.data());
    for base in &all[1..all.len() - 1] {
        std::fs::remove_file(base).unwrap();
    }
}

#[test]
fn an_image_is_handed_over_and_its_files_go() {
    for family in BOTH {
        let scratch = Scratch::new();
        let Some(mut engine) = RealEngine::start(family, &scratch) else { return };
        let mut device = device(&scratch, &engine, "");
        let image = TestImage::new("test/program:1", "", &[("one", b"1"), ("two", b"2")]);
        let files = image.put_into(device.data());
        device.wants("w", Some(spec(container(&image, "cat /two say here wait"))));
        device.up();
        device.await_log("w", "2here");
        assert!(files.iter().all(|it| !it.exists()), "{family:?}");
        assert!(device.data().join("images.json").exists());
        let text = images(&engine);
        assert!(text.contains(&image.id()), "{text}");

        // A second image with the same lowest layers: Docker needs only what is new, Podman all.
        let next = TestImage::new("test/program:2", "", &[("one", b"1"), ("two", b"3")]);
        device.kill();
        put_top(&next, &device);
        device.wants("w", Some(spec(container(&next, "cat /two say here wait"))));
        device.up();
        match family {
            Family::Docker => drop(device.await_log("w", "3here")),
            Family::Podman => {
                let base = sha256(&next.files[1]).to_string();
                device.await_status("it says which file lacks", |status| {
                    status["workloads"]["w"]["reason"].as_str().is_some_and(|it| it.contains(&base))
                });
                next.put_into(device.data());
                // What came beside the downloads is seen when the agent starts.
                device.restart();
                device.await_log("w", "3here");
            }
        }

        // Without link and engine, a device that boots knows its image by its own list.
        device.kill();
        engine.kill();
        device.new_boot();
        device.up();
        device.await_problem("engine-away");
        engine.up();
        device.await_phase("w", "running");
    }
}

#[test]
fn an_image_that_somebody_removed_is_handed_over_again() {
    let scratch = Scratch::new();
    let Some(engine) = RealEngine::start(Family::Docker, &scratch) else { return };
    let mut device = device(&scratch, &engine, "keep_image_files = true\n");
    let image = TestImage::new("test/program:1", "", &[]);
    let files = image.put_into(device.data());
    device.wants("w", Some(spec(container(&image, "say here wait"))));
    device.up();
    device.await_log("w", "here");
    assert!(files.iter().all(|it| it.exists()), "they are kept");
    device.kill();
    for container in engine.running() {
        engine.call("DELETE", &format!("/containers/{container}?force=1")).unwrap();
    }
    engine.call("DELETE", &format!("/images/{}?force=1", image.id())).unwrap();
    device.up();
    eventually(DEADLINE, "it runs again", || match engine.running().len() {
        1 => Ok(()),
        other => Err(format!("{other}")),
    });
    assert!(images(&engine).contains(&image.id()));
}

#[test]
fn images_beyond_the_quota_go_but_for_those_of_others_and_those_in_use() {
    let scratch = Scratch::new();
    let Some(engine) = RealEngine::start(Family::Docker, &scratch) else { return };
    let mut device = device(&scratch, &engine, "image_bytes = 1\n");
    let foreign = TestImage::new("test/foreign:1", "", &[("foreign", b"x")]);
    engine.load(&foreign);
    let proven = |image: &TestImage| {
        let mut spec = spec(container(image, "wait"));
        let command = vec!["/t".to_owned(), "exit".to_owned(), "0".to_owned()];
        spec.health = Some(Health {
            probe: Probe::Exec { command },
            start_period_ms: 10_000,
            interval_ms: 200,
            timeout_ms: 5_000,
            failures: 3,
        });
        spec
    };
    let [one, two] = ["1", "2"]
        .map(|it| TestImage::new(&format!("test/program:{it}"), "", &[("n", it.as_bytes())]));
    one.put_into(device.data());
    device.wants("w", Some(proven(&one)));
    device.up();
    device.await_phase("w", "running");
    holds_for(Duration::from_secs(1), "what is in use stays", || {
        let text = images(&engine);
        if text.contains(&one.id()) { Ok(()) } else { Err(text) }
    });
    device.kill();
    two.put_into(device.data());
    device.wants("w", Some(proven(&two)));
    device.up();
    eventually(DEADLINE, "the former image is removed", || {
        let text = images(&engine);
        let gone = text.contains(&two.id()) && !text.contains(&one.id());
        if gone { Ok(()) } else { Err(text) }
    });
    assert!(images(&engine).contains(&foreign.id()), "nobody touches what is not its own");
}

#[test]
fn an_agent_that_dies_once_an_image_is_handed_over_fetches_nothing_again() {
    for family in BOTH {
        let scratch = Scratch::new();
        let Some(engine) = RealEngine::start(family, &scratch) else { return };
        let mut device = device(&scratch, &engine, "");
        let image = TestImage::new("test/program:1", "", &[("one", b"1")]);
        let files = image.put_into(device.data());
        device.wants("w", Some(spec(container(&image, "say here wait"))));
        device.env.insert("HOLDFAST_CRASH_AT".into(), "image-loaded".into());
        device.up();
        device.await_end();
        assert!(engine.containers().is_empty(), "{family:?}: nothing was begun");
        device.env.remove("HOLDFAST_CRASH_AT");
        device.up();
        // There is no link, and no file of the image is left: the engine has it.
        device.await_log("w", "here");
        assert!(files.iter().all(|it| !it.exists()), "{family:?}");
        assert_eq!(engine.running().len(), 1);
    }
}
