//! What a process workload has, a container has too: files, secrets, volumes, the sockets of the
//! local bus, probes, limits, ends that are told, and what is refused.

use std::collections::BTreeMap;

use fleet_tests::harness::engine::Family;
use fleet_tests::harness::{DEADLINE, eventually};
use holdfast_protocol::container::{Mount, MountFrom, Network, Port};
use holdfast_protocol::sealing::{Bound, OnChange, Sealed, SealedContent, SealingKey, seal};
use holdfast_protocol::workload::{Health, Probe, Resources, RestartPolicy};

use crate::{Scene, spec};

const BOTH: [Family; 2] = [Family::Docker, Family::Podman];

fn mount(path: &str, from: MountFrom) -> Mount {
    Mount { path: path.into(), from, read_only: false }
}

fn seal_for(scene: &Scene, version: u64, content: &SealedContent) -> Sealed {
    let path = scene.device.data().join("sealing.key");
    let text = eventually(DEADLINE, "the agent has made its key", || {
        std::fs::read_to_string(&path).map_err(|error| error.to_string())
    });
    let key = SealingKey::new(holdfast_base::ids::unhex(text.trim()).unwrap()).unwrap();
    let (device, workload) = ("default_d-1".parse().unwrap(), "w".parse().unwrap());
    let revision = scene.device.next_revision();
    let bound = Bound { device: &device, workload: &workload, revision, epoch: 1, version };
    let random = [u8::try_from(version).unwrap(); 32];
    let bytes = seal(content, &key.public(), &bound, random).unwrap();
    Sealed { version, on_change: OnChange::Signal(1), bytes }
}

fn content(token: &str) -> SealedContent {
    SealedContent {
        env: [("PASSWORD".to_owned(), "secret-in-env".to_owned())].into(),
        files: [("conf/token".to_owned(), token.as_bytes().to_vec().into())].into(),
    }
}

#[test]
fn files_secrets_volumes_and_variables_are_seen_inside_and_nothing_else() {
    for family in BOTH {
        let Some(mut scene) = Scene::new(family) else { return };
        let words = "cat /f/conf/plain say | cat /f/conf/token say | env PASSWORD env OF_THE_IMAGE \
                     env HOLDFAST_WORKLOAD env HOLDFAST_FOLDER env TZ env MORE write /x no \
                     write /v/kept yes write /m/y yes cat /v/kept say . \
                     ask /run/holdfast/data.sock \
                     POST+/v1/streams/heat+HTTP/1.1\\nHost:+x\\nContent-Type:+text/plain\\nContent-Length:+1\\n\\n7 \
                     say done wait";
        let mut container = scene.container(words);
        container.user = Some("65532:65532".into());
        container.time_zone = Some("Europe/Oslo".into());
        container.env = BTreeMap::from([("MORE".into(), "more".into())]);
        container.mounts = vec![
            mount("/f", MountFrom::Files(String::new())),
            mount("/m", MountFrom::Memory(1 << 20)),
        ];
        let mut spec = spec(container);
        spec.config = [("conf/plain".to_owned(), "plain".to_owned())].into();
        // The agent makes its key before anything can be sealed to it.
        scene.device.up();
        eventually(DEADLINE, "it has a key", || {
            match scene.device.data().join("sealing.key").exists() {
                true => Ok(()),
                false => Err("no".into()),
            }
        });
        scene.device.kill();
        let sealed = seal_for(&scene, 1, &content("token-1"));
        scene.device.wants_sealed("w", Some(spec), Some(sealed), false);
        scene.device.up();
        let log = scene.device.await_log("w", "done");
        for line in [
            "plain|",
            "token-1|",
            "secret-in-env",
            "yes",
            "\nw\n",
            "/f\n",
            "Europe/Oslo",
            "more",
            "/x: Read-only file system",
            "/m/y: written",
            "HTTP/1.1 200 OK",
        ] {
            assert!(log.contains(line), "{family:?} lacks {line:?}: {log}");
        }
    }
}

#[test]
fn a_volume_outlives_revisions_and_the_workload() {
    for family in BOTH {
        let Some(mut scene) = Scene::new(family) else { return };
        let with_volume = |words: &str| {
            let mut container = scene.container(words);
            container.mounts = vec![mount("/v", MountFrom::Volume("data".parse().unwrap()))];
            spec(container)
        };
        let [first, second] = ["write /v/kept yes wait", "cat /v/kept say . wait"].map(with_volume);
        scene.device.wants("w", Some(first));
        scene.device.up();
        scene.device.await_log("w", "written");
        scene.device.kill();
        scene.device.wants("w", None);
        scene.device.up();
        eventually(DEADLINE, "it is removed", || match scene.engine.containers().len() {
            0 => Ok(()),
            other => Err(other.to_string()),
        });
        scene.device.kill();
        scene.device.wants("w", Some(second));
        scene.device.up();
        scene.device.await_log("w", "yes.");
        let volume = scene.engine.get("/volumes/hf-w.data").unwrap();
        assert_eq!(volume["Labels"]["holdfast.workload"], "w", "{volume}");
        let volumes = scene.engine.get("/volumes").unwrap();
        assert_eq!(volumes["Volumes"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn files_of_secrets_change_under_a_container_that_runs() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let mut container = scene.container("hup /f/conf/token");
    container.mounts = vec![mount("/f", MountFrom::Files(String::new()))];
    let spec = spec(container);
    scene.device.up();
    eventually(DEADLINE, "it has a key", || {
        match scene.device.data().join("sealing.key").exists() {
            true => Ok(()),
            false => Err("no".into()),
        }
    });
    scene.device.kill();
    let sealed = seal_for(&scene, 1, &content("token-1"));
    scene.device.wants_sealed("w", Some(spec.clone()), Some(sealed), false);
    scene.device.up();
    scene.device.await_log("w", "0: token-1");
    let before = scene.engine.running();
    scene.device.kill();
    let sealed = seal_for(&scene, 2, &content("token-2"));
    scene.device.wants_sealed("w", Some(spec), Some(sealed), false);
    scene.device.up();
    scene.device.await_log("w", "1: token-2");
    assert_eq!(scene.engine.running(), before, "it goes on");
}

#[test]
fn probes_look_into_a_container_and_a_sick_one_is_started_again() {
    for family in BOTH {
        let Some(mut scene) = Scene::new(family) else { return };
        let health = |probe| Health {
            probe,
            start_period_ms: 0,
            interval_ms: 200,
            timeout_ms: 5_000,
            failures: 2,
        };
        let exec = |words: &str| {
            let command = format!("/t {words}").split(' ').map(str::to_owned).collect();
            health(Probe::Exec { command })
        };
        let mut well = spec(scene.container("say well wait"));
        well.health = Some(exec("exit 0"));
        let mut sick = spec(scene.container("say sick wait"));
        sick.health = Some(exec("say broken exit 3"));
        scene.device.wants("well", Some(well));
        scene.device.wants("sick", Some(sick));
        scene.device.up();
        scene.device.await_phase("well", "running");
        scene.device.await_status("it is told why", |status| {
            let it = &status["workloads"]["sick"];
            let text = it["reason"].as_str().unwrap_or_default();
            text.contains("/t ended with code 3: broken") && it["restarts"].as_u64() > Some(0)
        });
    }
}

#[test]
fn ends_are_told_as_they_were() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let job = |words: &str| {
        let mut job = spec(scene.container(words));
        job.restart.policy = RestartPolicy::Never;
        job
    };
    let mut hungry = job("eat 200 wait");
    hungry.resources = Resources { memory_bytes: Some(32 << 20), ..Resources::default() };
    let unknown = {
        let mut container = scene.container("wait");
        container.command = vec!["/nowhere".into()];
        spec(container)
    };
    let jobs = [
        ("ok", job("exit 0")),
        ("bad", job("exit 3")),
        ("hungry", hungry),
        ("stopped", job("wait")),
    ];
    for (name, job) in jobs {
        scene.device.wants(name, Some(job));
    }
    scene.device.wants("unknown", Some(unknown));
    scene.device.up();
    let reason = |name: &str, text: &str| {
        scene.device.await_status(&format!("{name}: {text}"), |status| {
            status["workloads"][name]["reason"].as_str().is_some_and(|it| it.contains(text))
        });
    };
    reason("bad", "ended with code 3");
    reason("hungry", "limit of memory");
    reason("unknown", "/nowhere");
    scene.device.await_phase("ok", "stopped");
    scene.device.await_phase("stopped", "running");
    let list = scene.engine.containers();
    let one =
        list.iter().find(|it| it["Names"][0].as_str().unwrap().contains("hf-stopped-")).unwrap();
    let id = one["Id"].as_str().unwrap();
    scene.engine.call("POST", &format!("/containers/{id}/stop")).unwrap();
    reason("stopped", "by somebody else");
}

#[test]
fn what_the_configuration_does_not_allow_is_refused() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let with = |path: &str| {
        let mut container = scene.container("say in wait");
        container.mounts = vec![mount("/host", MountFrom::Host(path.into()))];
        spec(container)
    };
    let link = scene.scratch.join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let inside = scene.scratch.path().to_str().unwrap().to_owned();
    let cases = [
        ("etc", "/etc".to_owned()),
        ("dots", format!("{inside}/../..")),
        ("link", link.to_str().unwrap().into()),
    ];
    let refused = cases.iter().map(|(name, path)| (*name, with(path))).collect::<Vec<_>>();
    let allowed = with(&inside);
    for (name, spec) in refused.into_iter().chain([("inside", allowed)]) {
        scene.device.wants(name, Some(spec));
    }
    scene.device.up();
    scene.device.await_log("inside", "in");
    for (name, _) in &cases {
        scene.device.await_status(&format!("{name} is refused"), |status| {
            let text = status["workloads"][*name]["reason"].as_str().unwrap_or_default();
            text.contains("host_paths")
        });
    }
    assert_eq!(scene.engine.running().len(), 1);
}

#[test]
fn workloads_share_a_network_by_name_and_ports_are_assigned() {
    let Some(mut scene) = Scene::new(Family::Docker) else { return };
    let shared = || Network::Shared(vec!["shop".parse().unwrap()]);
    let port = Port {
        name: Some("http".parse().unwrap()),
        container: 8_080,
        host: None,
        address: None,
        udp: false,
    };
    let mut server = scene.container("serve 8080 env HOLDFAST_PORT_HTTP wait");
    server.network = shared();
    server.ports = vec![port];
    let mut server = spec(server);
    server.health = Some(Health {
        probe: Probe::Http { host: None, port: 8_080, path: "/".into() },
        start_period_ms: 10_000,
        interval_ms: 200,
        timeout_ms: 2_000,
        failures: 3,
    });
    let mut client = scene.container("reach server:8080 wait");
    client.network = shared();
    scene.device.wants("server", Some(server));
    scene.device.wants("client", Some(spec(client)));
    scene.device.up();
    let report = scene.device.await_phase("server", "running");
    let assigned = report["container"]["ports"]["http"].as_u64().unwrap();
    scene.device.await_log("server", &assigned.to_string());
    scene.device.await_log("client", "server:8080: reached");
    std::net::TcpStream::connect(("127.0.0.1", u16::try_from(assigned).unwrap())).unwrap();
    let networks = || scene.engine.get("/networks").unwrap().to_string();
    assert!(networks().contains("hf-shop"));
    // The same port again after its end.
    let id = scene.engine.containers().iter().find_map(|it| {
        let name = it["Names"][0].as_str()?;
        name.contains("hf-server-").then(|| it["Id"].as_str().unwrap().to_owned())
    });
    scene.engine.call("POST", &format!("/containers/{}/kill", id.unwrap())).unwrap();
    scene.device.await_status("it has the same port again", |status| {
        let it = &status["workloads"]["server"];
        it["phase"] == "running"
            && it["restarts"] == 1
            && it["container"]["ports"]["http"] == assigned
    });
    scene.device.kill();
    scene.device.wants("server", None);
    scene.device.wants("client", None);
    scene.device.up();
    eventually(DEADLINE, "the network goes with the last that is in it", || {
        let text = scene.engine.get("/networks").unwrap().to_string();
        if text.contains("hf-shop") { Err(text) } else { Ok(()) }
    });
}
