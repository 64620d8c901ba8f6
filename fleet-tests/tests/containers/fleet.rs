//! The whole way of an image: pushed into a control plane by the command line, named in a document,
//! fetched by a real agent and run by a real engine.

use std::path::Path;

use fleet_tests::harness::engine::{Family, RealEngine, ask_with};
use fleet_tests::harness::image::TestImage;
use fleet_tests::harness::{DEADLINE, Device, Plane, Scratch, eventually};

/// Control plane with one device that has an engine.
struct Fleet {
    engine: RealEngine,
    device: Device,
    plane: Plane,
    scratch: Scratch,
}

impl Fleet {
    /// None: this machine is to have no engine.
    fn new(family: Family) -> Option<Self> {
        let scratch = Scratch::new();
        let engine = RealEngine::start(family, &scratch)?;
        let plane = Plane::start();
        let mut device = plane.bare_device("d-1");
        device.config = Some(format!("[containers]\nsocket = '{}'\n", engine.socket.display()));
        let token = plane.token(&["--uses", "1"]);
        device.enrol(&token, &["role=a"]).ok();
        device.up();
        device.await_link("up");
        Some(Self { engine, device, plane, scratch })
    }

    /// Pushes an image with a layer that differs by `content`, under this name.
    fn push(&self, name: &str, content: &str) -> TestImage {
        let image = TestImage::new(name, "", &[("content", content.as_bytes())]);
        let file = self.scratch.write("image.tar", image.archive());
        self.plane.cli().run(&["image", "push", path(&file), name]).ok();
        image
    }

    /// Images at the engine, by their ids.
    fn has(&self, image: &TestImage) -> bool {
        self.engine.get(&format!("/images/{}/json", image.id())).is_ok()
    }
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

/// A document whose container says what its image contains, and then waits.
fn document(image: &str, words: &str) -> String {
    let words: Vec<String> = words.split(' ').map(|word| format!("{word:?}")).collect();
    format!(
        "apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: till }}\nspec:\n\
         \x20 devices: {{ matchLabels: {{ role: a }} }}\n\
         \x20 run:\n    container:\n      image: {image}\n      args: [{}]\n\
         \x20     mounts: [{{ path: /data, volume: data }}]\n\
         \x20 stop: {{ grace: 1s }}\n",
        words.join(", ")
    )
}

fn an_image_is_pushed_named_fetched_and_run(family: Family) {
    let Some(mut fleet) = Fleet::new(family) else { return };
    let first = fleet.push("shop/till:1", "one");
    fleet.plane.cli().apply(&document("shop/till:1", "say hello wait")).ok();
    fleet.plane.await_phase("d-1", "till", "running");
    assert!(fleet.has(&first));
    let running = fleet.engine.running();
    assert_eq!(running.len(), 1);
    eventually(DEADLINE, "its log is read over the link", || {
        match fleet.plane.cli().run(&["logs", "d-1", "till"]).ok() {
            log if log.contains("hello") => Ok(()),
            other => Err(other),
        }
    });

    // The engine and the container are shown.
    let view = fleet.plane.view("d-1");
    let name = if family == Family::Docker { "docker" } else { "podman" };
    assert_eq!(view["status"]["engine"]["name"], name, "{view}");
    let shown = view["status"]["workloads"]["till"]["container"]["id"].as_str().unwrap().to_owned();
    assert!(running[0].starts_with(&shown), "{shown}, {running:?}");
    let wide = fleet.plane.cli().run(&["get", "devices", "-o", "wide"]).ok();
    assert!(wide.contains(name), "{wide}");

    // Another image behind the tag is no other revision, until the document is applied again.
    let second = fleet.push("shop/till:1", "two");
    let again = fleet.plane.cli().apply(&document("shop/till:1", "say hello wait")).ok();
    assert!(again.contains("revision 2"), "{again}");
    let other = eventually(DEADLINE, "the second image runs", || match fleet.engine.running() {
        now if now.len() == 1 && now != running => Ok(now),
        now => Err(format!("{now:?}")),
    });
    assert!(fleet.has(&second));
    fleet.plane.await_phase("d-1", "till", "running");

    // Without a link the agent is restarted, and then everything is: nothing is fetched for it.
    fleet.device.link.cut();
    fleet.device.restart();
    fleet
        .device
        .await_status("it is adopted", |status| status["workloads"]["till"]["phase"] == "running");
    assert_eq!(fleet.engine.running(), other, "the same container");
    fleet.device.kill_agent();
    fleet.engine.call("POST", &format!("/containers/{}/kill", other[0])).unwrap();
    fleet.device.up();
    eventually(DEADLINE, "it runs again without a link", || match fleet.engine.running() {
        now if now.len() == 1 && now != other => Ok(()),
        now => Err(format!("{now:?}")),
    });
    fleet.device.link.heal();
    fleet.plane.await_settled("d-1");

    // A rollback goes back to the image that the first revision meant.
    fleet.plane.cli().run(&["rollback", "till", "--to", "1"]).ok();
    eventually(DEADLINE, "the first image runs again", || {
        let running = fleet.engine.running();
        let [one] = running.as_slice() else { return Err(format!("{running:?}")) };
        let image = fleet.engine.get(&format!("/containers/{one}/json"))?["Image"].clone();
        let found = image.as_str().unwrap_or_default().to_owned();
        if found.contains(first.platform().config.digest.hex().as_str()) {
            Ok(())
        } else {
            Err(found)
        }
    });
}

#[test]
fn docker_runs_an_image_that_was_pushed_into_the_control_plane() {
    an_image_is_pushed_named_fetched_and_run(Family::Docker);
}

#[test]
fn podman_runs_an_image_that_was_pushed_into_the_control_plane() {
    an_image_is_pushed_named_fetched_and_run(Family::Podman);
}

fn a_volume_is_saved_put_back_and_deleted(family: Family) {
    let Some(fleet) = Fleet::new(family) else { return };
    let cli = || fleet.plane.cli();
    fleet.push("shop/till:1", "one");
    cli().apply(&document("shop/till:1", "write /data/sum seventeen wait")).ok();
    fleet.plane.await_phase("d-1", "till", "running");
    let list = || cli().run(&["volume", "list", "d-1", "-o", "json"]).json();
    eventually(DEADLINE, "the volume is listed as used", || match list() {
        list if list[0]["volume"] == "data" && list[0]["used"] == true => Ok(()),
        other => Err(other.to_string()),
    });
    let refused = cli().run(&["volume", "delete", "d-1", "till/data", "--yes"]).fails(4);
    assert!(refused.contains("in use"), "{refused}");

    let tar = fleet.scratch.join("data.tar");
    eventually(DEADLINE, "the container has written", || {
        cli().run(&["volume", "backup", "d-1", "till/data", path(&tar)]).ok();
        let bytes = std::fs::read(&tar).unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        if has(b"sum") && has(b"seventeen") {
            Ok(())
        } else {
            Err(format!("{} bytes", bytes.len()))
        }
    });
    // Another revision writes something else; then the former content is put back.
    cli().apply(&document("shop/till:1", "write /data/sum ninety wait")).ok();
    fleet.plane.await_settled("d-1");
    cli().run(&["pause", "till", "--device", "d-1"]).ok();
    fleet.plane.await_phase("d-1", "till", "paused");
    cli().run(&["volume", "restore", "d-1", "till/data", path(&tar), "--yes"]).ok();
    cli().apply(&document("shop/till:1", "cat /data/sum say . wait")).ok();
    cli().run(&["resume", "till", "--device", "d-1"]).ok();
    eventually(DEADLINE, "the former content is there", || {
        match cli().run(&["logs", "d-1", "till"]).ok() {
            log if log.lines().last().is_some_and(|line| line.contains("seventeen")) => Ok(()),
            other => Err(other),
        }
    });

    // Deleting the workload keeps the volume; deleting the volume does not.
    cli().run(&["delete", "workload", "till"]).ok();
    fleet.plane.await_settled("d-1");
    eventually(DEADLINE, "the volume is not used any more", || match list() {
        list if list[0]["used"] == false => Ok(()),
        other => Err(other.to_string()),
    });
    cli().run(&["volume", "delete", "d-1", "till/data", "--yes"]).ok();
    assert_eq!(list(), serde_json::json!([]));
    let gone = cli().run(&["volume", "delete", "d-1", "till/data", "--yes"]).fails(3);
    assert!(gone.contains("no volume"), "{gone}");
    assert!(fleet.engine.containers().is_empty(), "{:?}", fleet.engine.containers());
}

#[test]
fn docker_volumes_are_saved_put_back_and_deleted() {
    a_volume_is_saved_put_back_and_deleted(Family::Docker);
}

#[test]
fn podman_volumes_are_saved_put_back_and_deleted() {
    a_volume_is_saved_put_back_and_deleted(Family::Podman);
}

/// Other tools read images from the control plane with an access token.
fn an_engine_pulls_from_the_control_plane(family: Family) {
    use base64::Engine as _;
    let scratch = Scratch::new();
    let Some(engine) = RealEngine::start(family, &scratch) else { return };
    let plane = Plane::start();
    let image = TestImage::new("shop/till:1", "", &[("content", b"one")]);
    let file = plane.scratch.write("image.tar", image.archive());
    plane.cli().run(&["image", "push", path(&file), "shop/till:1"]).ok();
    let registry = plane.api.to_string();
    let pull = |password: &str| {
        let login = serde_json::json!({
            "username": "any", "password": password, "serveraddress": registry,
        });
        let login = base64::engine::general_purpose::URL_SAFE.encode(login.to_string());
        let from = match family {
            Family::Docker => format!("/images/create?fromImage={registry}/shop/till&tag=1"),
            Family::Podman => format!(
                "/v4.0.0/libpod/images/pull?reference=docker://{registry}/shop/till:1&tlsVerify=false"
            ),
        };
        let head = format!("X-Registry-Auth: {login}\r\n");
        ask_with(&engine.socket, ("POST", &from), &head, b"", DEADLINE).unwrap()
    };
    let refused = pull("hfa1.none.0000");
    assert!(engine.get(&format!("/images/{}/json", image.id())).is_err(), "{refused:?}");
    let pulled = pull(&plane.admin_token);
    assert!(engine.get(&format!("/images/{}/json", image.id())).is_ok(), "{pulled:?}");
}

#[test]
fn docker_pulls_from_the_control_plane() {
    an_engine_pulls_from_the_control_plane(Family::Docker);
}

#[test]
fn podman_pulls_from_the_control_plane() {
    an_engine_pulls_from_the_control_plane(Family::Podman);
}
