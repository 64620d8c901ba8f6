//! Containers beside the engine that runs them: how much of the time to a running container is ours,
//! what an agent with many of them costs while nothing happens, and the bytes of a changed layer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::latency::{await_event, events};
use super::table::Row;
use super::{machine, median};
use crate::harness::engine::{Family, RealEngine, ask};
use crate::harness::image::TestImage;
use crate::harness::{DEADLINE, Device, Link, Plane, Scratch, eventually, loopback};

/// Rounds of each latency: ours and the engine's own in turn, so that both see the same noise.
const ROUNDS: usize = 15;
/// Containers of the idle agent.
const MANY: usize = 20;

/// Control plane with one device that has an engine and an image at it.
struct Bench {
    engine: RealEngine,
    device: Device,
    plane: Plane,
    scratch: Scratch,
    image: TestImage,
}

impl Bench {
    fn new(family: Family) -> Option<Self> {
        let scratch = Scratch::new();
        let engine = RealEngine::start(family, &scratch)?;
        let plane = Plane::start();
        let mut device = plane.bare_device("bench");
        device.config = Some(format!("[containers]\nsocket = '{}'\n", engine.socket.display()));
        device.enrol(&plane.token(&[]), &["role=bench"]).ok();
        device.up();
        device.await_link("up");
        let image = TestImage::new("bench/program:1", "", &[]);
        let bench = Self { engine, device, plane, scratch, image };
        bench.push(&bench.image.archive(), "bench/program:1");
        Some(bench)
    }

    fn push(&self, archive: &[u8], name: &str) {
        let file = self.scratch.write("image.tar", archive);
        self.plane.cli().run(&["image", "push", file.to_str().unwrap(), name]).ok();
    }
}

fn document(name: &str, image: &str, network: &Value) -> Value {
    let mut container = json!({ "image": image, "args": ["wait"] });
    container.as_object_mut().unwrap().extend(network.as_object().unwrap().clone());
    json!({
        "apiVersion": "holdfast/v1",
        "kind": "Workload",
        "metadata": { "name": name },
        "spec": {
            "devices": { "matchLabels": { "role": "bench" } },
            "run": { "container": container },
            "stop": { "grace": "1s" },
        },
    })
}

fn apply(plane: &Plane, documents: &[Value]) {
    let body = serde_json::to_vec(&json!({ "documents": documents })).unwrap();
    let answer = plane.https().send("POST", "/api/v1/apply", "application/json", &body).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Time of the engine's own create and start of such a container, in milliseconds.
fn own(bench: &Bench, number: usize, mode: &str) -> f64 {
    let body = json!({
        "Image": bench.image.id(),
        "Cmd": ["wait"],
        "HostConfig": {
            "NetworkMode": mode,
            "ReadonlyRootfs": true,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 4096,
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m", "max-file": "2" } },
        },
    });
    let began = Instant::now();
    let id = bench.engine.create(&format!("own-{mode}-{number}"), &body);
    bench.engine.call("POST", &format!("/containers/{id}/start")).unwrap();
    let took = began.elapsed().as_secs_f64() * 1_000.0;
    bench.engine.call("DELETE", &format!("/containers/{id}?force=1")).unwrap();
    took
}

/// Measures apply to running beside the engine's own create and start.
fn latency(bench: &Bench, family: &str, network: (&str, Value, &str)) -> Vec<Row> {
    let (shown, network, mode) = network;
    let events = events(&bench.plane);
    let first = document("first", "bench/program:1", &network);
    apply(&bench.plane, &[first]);
    await_event(&events, &["first: running"]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        theirs.push(own(bench, number, mode));
        let name = format!("w-{number}");
        let began = Instant::now();
        apply(&bench.plane, &[document(&name, "bench/program:1", &network)]);
        let seen = await_event(&events, &[&format!("{name}: running")]);
        ours.push(seen.duration_since(began).as_secs_f64() * 1_000.0);
        bench.plane.cli().run(&["delete", "workload", &name]).ok();
        await_event(&events, &[&format!("{name}: gone")]);
    }
    bench.plane.cli().run(&["delete", "workload", "first"]).ok();
    await_event(&events, &["first: gone"]);
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let how = format!(
        "medians of {ROUNDS} in turn: {ours:.1} ms, the engine's own create and start {theirs:.1} ms"
    );
    vec![Row::at_most(
        &format!("apply → running and reported, {family}, {shown}"),
        1.1,
        ours / theirs,
        "times the engine's own",
        &how,
    )]
}

/// Measures an agent with many containers while nothing happens.
fn idle(bench: &Bench, family: &str, seconds: u64) -> Vec<Row> {
    let host = json!({ "network": "host" });
    let many = (0..MANY).map(|number| document(&format!("m-{number}"), "bench/program:1", &host));
    apply(&bench.plane, &many.collect::<Vec<_>>());
    for number in 0..MANY {
        bench.plane.await_phase("bench", &format!("m-{number}"), "running");
    }
    bench.plane.await_settled("bench");
    // The first half minute belongs to the start.
    std::thread::sleep(Duration::from_secs(30));
    let pid = bench.device.pid().unwrap();
    let before = machine::cpu_ms(pid);
    std::thread::sleep(Duration::from_secs(seconds));
    let cpu = (machine::cpu_ms(pid) - before) * 60.0 / seconds as f64;
    let (pss, _) = machine::memory(pid);
    vec![
        Row::at_most(
            &format!("idle agent with {MANY} containers, {family}, processor"),
            20.0,
            cpu,
            "ms/min",
            &format!("over {seconds} s; Ankaios with one container 1,870"),
        ),
        Row::at_most(
            &format!("idle agent with {MANY} containers, {family}, PSS"),
            5.5,
            pss / 1024.0,
            "MiB",
            "the same",
        ),
    ]
}

/// Bytes that nothing compresses, the same for the same seed.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_be_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Measures the bytes over the device's link for a change in one layer of a 200 MB image, beside the
/// same engine's pull from the same registry.
fn layer(bench: &Bench) -> Vec<Row> {
    const MB: usize = 1_000_000;
    let base: Vec<Vec<u8>> = (1..=3).map(|seed| noise(seed, 60 * MB)).collect();
    let app = noise(9, 20 * MB);
    let mut changed = app.clone();
    // One in a hundred bytes is another, in runs as a new build of a program has them.
    for at in (0..changed.len()).step_by(10_000) {
        changed.iter_mut().skip(at).take(100).for_each(|byte| *byte ^= 0x5a);
    }
    let image = |app: &[u8]| {
        let layers: Vec<(&str, &[u8])> = ["a", "b", "c"]
            .into_iter()
            .zip(base.iter().map(Vec::as_slice))
            .chain([("app", app)])
            .collect();
        TestImage::new("bench/large", "", &layers)
    };
    let host = json!({ "network": "host" });
    let mut ours = Vec::new();
    let (mut pulled, mut link) = (Vec::new(), None);
    for (tag, app) in [("1", &app), ("2", &changed)] {
        let name = format!("bench/large:{tag}");
        let image = image(app);
        bench.push(&image.archive(), &name);
        let before = bench.device.link.down();
        apply(&bench.plane, &[document("large", &name, &host)]);
        eventually(Duration::from_secs(300), "the image is at the engine", || {
            bench.engine.get(&format!("/images/{}/json", image.id())).map(drop)
        });
        bench.plane.await_settled("bench");
        bench.plane.await_phase("bench", "large", "running");
        ours.push(bench.device.link.down() - before);
        pulled.push(pull(bench, tag, &mut link));
    }
    let (whole, change) = (ours[0] as f64, ours[1] as f64);
    vec![
        Row::at_most(
            "bytes over the link, 200 MB image, first time",
            210.0 * 1e6,
            whole,
            "bytes",
            &format!("docker pull from the same registry: {}", pulled[0]),
        ),
        Row::at_most(
            "bytes over the link, 1 % of a 20 MB layer of it changed",
            pulled[1] as f64,
            change,
            "bytes",
            &format!("docker pull from the same registry: {}", pulled[1]),
        ),
    ]
}

/// Has another engine pull the image; returns the bytes that came over its link.
fn pull(bench: &Bench, tag: &str, kept: &mut Option<(RealEngine, Link, Scratch)>) -> u64 {
    use base64::Engine as _;
    let (engine, link, _) = kept.get_or_insert_with(|| {
        let scratch = Scratch::new();
        let engine = RealEngine::start(Family::Docker, &scratch).unwrap();
        let link = Link::new(loopback(), &[bench.plane.api]);
        (engine, link, scratch)
    });
    let registry = SocketAddr::new(link.address().into(), bench.plane.api.port());
    let login = json!({
        "username": "bench",
        "password": bench.plane.admin_token,
        "serveraddress": registry.to_string(),
    });
    let login = base64::engine::general_purpose::URL_SAFE.encode(login.to_string());
    let before = link.down();
    let path = format!("/images/create?fromImage={registry}/bench/large&tag={tag}");
    let head = format!("X-Registry-Auth: {login}\r\n");
    let (status, text) = crate::harness::engine::ask_with(
        &engine.socket,
        ("POST", &path),
        &head,
        b"",
        Duration::from_secs(120),
    )
    .unwrap();
    assert!(status == 200 && !text.contains("\"error\""), "{status} {text}");
    link.down() - before
}

/// Measures everything with both engines; `seconds` of idle time are looked at.
pub fn measure(seconds: u64) -> Vec<Row> {
    let mut rows = vec![Row::at_most(
        "agent's program",
        5.2,
        machine::file_kib(&Plane::start().binaries().agent) / 1024.0,
        "MiB",
        "x86_64, static, stripped",
    )];
    for (family, name) in [(Family::Docker, "Docker"), (Family::Podman, "Podman")] {
        let Some(bench) = Bench::new(family) else { continue };
        let version = bench.engine.get("/version").unwrap()["Version"].clone();
        let name = format!("{name} {}", version.as_str().unwrap_or_default());
        let host = ("host network", json!({ "network": "host" }), "host");
        rows.extend(latency(&bench, &name, host));
        // A network that both engines make the same way, without rules of a firewall.
        let made = ask(
            &bench.engine.socket,
            "POST",
            "/networks/create",
            json!({ "Name": "own", "Driver": "bridge" }).to_string().as_bytes(),
            DEADLINE,
        );
        assert!(made.is_ok(), "{made:?}");
        let bridge = ("bridge", json!({ "networks": ["bench"] }), "own");
        rows.extend(latency(&bench, &name, bridge));
        rows.extend(idle(&bench, &name, seconds));
        if family == Family::Docker {
            rows.extend(layer(&bench));
        }
    }
    rows
}
