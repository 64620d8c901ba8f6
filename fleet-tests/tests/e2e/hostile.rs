//! Forged, replayed, foreign and truncated desired states, foreign topics, revoked certificates,
//! bad tokens, a wrong CA: each is refused, reported and counted, and no workload stops.

use std::net::Ipv4Addr;

use fleet_tests::harness::{DEADLINE, Device, EvilBroker, Plane, eventually, processes};
use fleet_tests::sim::identity::new_key;
use fleet_tests::sim::packets::{self, kind};
use fleet_tests::sim::{Identity, Raw};
use holdfast_protocol::message::{DesiredState, StateReport};
use holdfast_protocol::signing::Signer;
use serde_json::Value;

use crate::{assert_says, await_copies, marker, sleeper};

/// Device with one workload, connected to a broker that has the control plane's CA.
struct Scene {
    plane: Plane,
    device: Device,
    broker: EvilBroker,
    signer: Signer,
    marker: String,
    pid: u32,
    generation: Value,
    topic: String,
}

impl Scene {
    fn new() -> Self {
        let plane = Plane::start();
        let device = plane.device("d-1", &["role=a"]);
        let marker = marker();
        plane.cli().apply(&sleeper("w", "a", &marker)).ok();
        let pid = device.await_phase("w", "running");
        plane.await_settled("d-1");
        let generation = device.status().unwrap()["generation"]["applied"].clone();
        let secrets = plane.secrets();
        let broker = EvilBroker::start(Ipv4Addr::LOCALHOST, &secrets.ca, &secrets.ca_key);
        device.link.divert(plane.mqtt.port(), broker.address);
        broker.await_subscriber();
        let topic = eventually(DEADLINE, "the device publishes its state", || {
            let seen = broker.seen();
            let state = seen.iter().find(|publish| publish.topic.ends_with("/state"));
            state.map(|publish| publish.topic.replace("/state", "/desired")).ok_or("no".into())
        });
        let signer = Signer::from_pkcs8(&secrets.signing_key).unwrap();
        Self { plane, device, broker, signer, marker, pid, generation, topic }
    }

    /// Returns an empty desired state of this version for this device: a device that obeyed would
    /// stop everything.
    fn empty(&self, device: &str, epoch: u64, generation: u64) -> DesiredState {
        DesiredState {
            v: holdfast_base::WIRE_VERSION,
            device: device.parse().unwrap(),
            epoch,
            generation,
            workloads: [].into(),
            data: None,
            audit: None,
        }
    }

    fn id(&self) -> String {
        self.topic.split('/').nth(3).unwrap().to_owned()
    }

    fn epoch(&self) -> u64 {
        self.device.status().unwrap()["epoch"].as_u64().unwrap()
    }

    fn refused(&self) -> u64 {
        // The control plane's counter comes from reports; the device's own is in its status too.
        self.broker
            .seen()
            .iter()
            .rev()
            .filter(|publish| publish.topic.ends_with("/state"))
            .filter_map(|publish| {
                holdfast_base::codec::decode::<StateReport>(&publish.payload).ok()
            })
            .find_map(|report| report.agent)
            .map_or(0, |agent| agent.refused)
    }

    /// Sends a message and checks that it is refused and reported, and that nothing stopped.
    fn refuses(&mut self, what: &str, payload: &[u8], said: &[&str]) {
        let before = problems(&self.device);
        self.broker.publish(&self.topic, payload);
        self.device.await_status(&format!("{what} is refused and said ({said:?})"), |status| {
            let text = status["problems"].to_string().to_lowercase();
            said.iter().any(|part| text.contains(&part.to_lowercase()))
        });
        let status = self.device.status().unwrap();
        assert_eq!(status["generation"]["applied"], self.generation, "{what}: {before} {status}");
        assert_eq!(processes::with_argument(&self.marker), [self.pid], "{what}: nothing stops");
    }

    /// Leads the link to the real control plane again: all is as before, and changes arrive.
    fn heals(self) {
        self.device.link.divert_no_more();
        self.plane.await_connection("d-1", "online");
        let fresh = marker();
        self.plane.cli().apply(&sleeper("fresh", "a", &fresh)).ok();
        self.plane.await_phase("d-1", "fresh", "running");
        assert_eq!(processes::with_argument(&self.marker), [self.pid]);
    }
}

fn problems(device: &Device) -> String {
    device.status().unwrap()["problems"].to_string()
}

#[test]
fn a_broker_can_neither_forge_nor_replay_nor_truncate_nor_misdirect() {
    let mut scene = Scene::new();
    let (id, epoch) = (scene.id(), scene.epoch());
    let next = scene.generation.as_u64().unwrap() + 1;
    let count_before = scene.refused();

    let stranger = Signer::from_pkcs8(&ed25519_key(7)).unwrap();
    let forged = stranger.sign(&scene.empty(&id, epoch, next)).unwrap();
    scene.refuses("forged", &forged, &["signature", "forged"]);

    let foreign = scene.signer.sign(&scene.empty("default_somebody-else", epoch, next)).unwrap();
    scene.refuses("foreign", &foreign, &["another device", "foreign", "signed for device"]);

    let whole = scene.signer.sign(&scene.empty(&id, epoch, next)).unwrap();
    scene.refuses(
        "truncated",
        &whole[..whole.len() / 2],
        &["not a signed", "malformed", "damaged"],
    );
    scene.refuses("empty", b"", &["not a signed", "malformed", "damaged"]);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    scene.refuses("damaged", &flipped, &["signature", "malformed", "not a signed"]);

    // A replay: an older state, correctly signed for this very device.
    let older = scene.signer.sign(&scene.empty(&id, epoch, 0)).unwrap();
    scene.refuses("replayed", &older, &["older", "stale", "replay"]);
    if epoch > 0 {
        let older = scene.signer.sign(&scene.empty(&id, epoch - 1, next + 1000)).unwrap();
        scene.refuses("of an older epoch", &older, &["older", "stale", "replay"]);
    }
    assert!(scene.device.is_up(), "the agent lives");

    // The refusals are counted: the next full report tells how many, and so do the metrics.
    scene.device.link.divert_no_more();
    eventually(DEADLINE, "the refusals are counted", || {
        let counted = scene.plane.metric("holdfast_device_refused");
        if counted >= 6.0 { Ok(()) } else { Err(format!("{counted} (before: {count_before})")) }
    });
    scene.heals();
}

#[test]
fn a_broker_that_sends_garbage_is_left_and_the_next_one_served() {
    let scene = Scene::new();
    scene.broker.send_raw(vec![0xff; 64]);
    scene.broker.send_raw(packets::packet(kind::PUBLISH | 2, &[0, 200, b'x']));
    await_copies(&scene.marker, 1);
    scene.heals();
}

/// Returns a full report of a device on which nothing runs.
fn nothing_runs() -> StateReport {
    StateReport {
        v: holdfast_base::WIRE_VERSION,
        full: true,
        epoch: 0,
        generation: 0,
        workloads: [].into(),
        problems: None,
        agent: None,
        data: None,
        history: Vec::new(),
        id: None,
    }
}

#[test]
fn foreign_topics_are_refused_and_nobody_else_is_disturbed() {
    let plane = Plane::start();
    let device = plane.device("victim", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let pid = device.await_phase("w", "running");
    plane.await_settled("victim");
    let token = plane.token(&["--uses", "2"]);
    let evil = Identity::enrol(&plane.https(), new_key(), &token, Some("evil")).unwrap();
    let victim_prefix = {
        let own = plane.view("victim");
        let shard = own["status"]["shard"].as_u64();
        let prefix = evil.enrolment.topic_prefix.replace("evil", "victim");
        match shard {
            Some(shard) => {
                let own_shard = format!("/{}/", evil.enrolment.shard);
                prefix.replacen(&own_shard, &format!("/{shard}/"), 1)
            }
            None => prefix,
        }
    };
    let before = plane.metric("holdfast_gateway_refused");

    // Publishing to another device's topics: v5 refuses with a reason code, or the connection ends.
    let (mut raw, code) = Raw::connect(plane.mqtt, &evil).unwrap();
    assert_eq!(code, 0, "a good certificate connects");
    let report = nothing_runs();
    let report = holdfast_base::codec::encode(&report).unwrap();
    raw.send(&packets::publish(&format!("{victim_prefix}state"), 5, false, &report)).unwrap();
    match raw.await_kind(kind::PUBACK) {
        Ok(answer) => assert!(answer.reason(2) >= 0x80, "refused: {answer:?}"),
        Err(ended) => assert!(ended.to_string().contains("0x87"), "not authorized: {ended}"),
    }

    // Subscribing to another device's topics.
    let (mut raw, _) = Raw::connect(plane.mqtt, &evil).unwrap();
    for filter in [format!("{victim_prefix}desired"), "hf/v1/#".into(), "#".into()] {
        let (id, sent) = (9, raw.send(&packets::subscribe(9, &filter)));
        match sent.and_then(|()| raw.await_kind(kind::SUBACK)) {
            Ok(answer) => {
                assert_eq!(answer.id(), id);
                assert!(answer.reason(3) >= 0x80, "{filter}: {answer:?}");
            }
            Err(_ended) => (raw, _) = Raw::connect(plane.mqtt, &evil).unwrap(),
        }
    }

    // A last will on another device's topic.
    let mut raw = Raw::dial(plane.mqtt, evil.tls()).unwrap();
    let will_topic = format!("{victim_prefix}presence");
    raw.send(&packets::connect(&evil.id(), 60, Some((&will_topic, b"gone")))).unwrap();
    match raw.await_kind(kind::CONNACK) {
        Ok(answer) => assert!(answer.reason(1) >= 0x80, "{answer:?}"),
        Err(_ended) => {}
    }

    // Another device's client id.
    let mut raw = Raw::dial(plane.mqtt, evil.tls()).unwrap();
    let victim_id = evil.id().replace("evil", "victim");
    raw.send(&packets::connect(&victim_id, 60, None)).unwrap();
    match raw.await_kind(kind::CONNACK) {
        Ok(answer) => assert!(answer.reason(1) >= 0x80, "{answer:?}"),
        Err(_ended) => {}
    }

    assert!(plane.metric("holdfast_gateway_refused") > before, "{}", plane.get("/metrics").text());
    let view = plane.view("victim");
    assert_eq!(view["status"]["connection"], "online", "{view}");
    assert_eq!(view["status"]["workloads"]["w"]["phase"], "running", "{view}");
    assert_eq!(device.await_phase("w", "running"), pid);
}

#[test]
fn a_revoked_device_is_cut_refused_and_told_but_runs_on() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    let other = plane.device("d-2", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let pid = device.await_phase("w", "running");
    other.await_phase("w", "running");

    plane.cli().run(&["device", "revoke", "d-1"]).ok();
    device.await_link("down");
    plane.await_connection("d-1", "revoked");
    device.await_status("says that it is revoked", |status| {
        status["problems"].to_string().contains("revoked")
    });
    device.restart();
    assert_eq!(device.await_phase("w", "running"), pid, "a person revoked access, not the work");
    device.await_status("still refused", |status| {
        status["link"] == "down" && !status["problems"].as_array().unwrap().is_empty()
    });
    plane.cli().apply(&sleeper("later", "a", &crate::marker())).ok();
    plane.await_phase("d-2", "later", "running");
    assert!(device.status().unwrap()["workloads"].get("later").is_none());
    assert!(plane.metric("holdfast_gateway_refused") >= 1.0, "{}", plane.get("/metrics").text());
    plane.await_connection("d-1", "revoked");
}

#[test]
fn bad_tokens_are_refused_with_what_to_do() {
    let plane = Plane::start();
    let before = plane.metric("holdfast_enrolments_refused");
    let expired = plane.token(&["--ttl", "1s", "--uses", "1000"]);
    let revoked = plane.token(&[]);
    let id = revoked.split('.').nth(1).unwrap().to_owned();
    plane.cli().run(&["token", "revoke", &id]).ok();
    let good = plane.token(&["--uses", "2"]);
    let last = good.chars().nth(30).unwrap();
    let other = if last == '0' { '1' } else { '0' };
    let guessed: String =
        good.chars().enumerate().map(|(at, c)| if at == 30 { other } else { c }).collect();

    let device = plane.bare_device("d-1");
    assert_says(&device.enrol(&revoked, &[]).fails(4), &["revoked"]);
    assert_says(&device.enrol(&guessed, &[]).fails(4), &["token"]);
    let mut tries = 0;
    eventually(DEADLINE, "a token of one second expires", || {
        // A new key each time: a known one may always repeat its enrolment.
        tries += 1;
        let outcome = plane.bare_device(&format!("late-{tries}")).enrol(&expired, &[]);
        if outcome.code == 4 && outcome.err.contains("expired") {
            Ok(())
        } else {
            Err(outcome.to_string())
        }
    });
    assert_says(&device.enrol("nonsense", &[]).fails(2), &["not an enrolment token"]);
    assert!(plane.metric("holdfast_enrolments_refused") >= before + 3.0);
    assert!(device.enrol(&good, &[]).code == 0, "nothing was half done");
}

#[test]
fn another_control_plane_is_not_believed() {
    let plane = Plane::start();
    let impostor = Plane::start();
    let device = plane.device("d-1", &["role=a"]);
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let pid = device.await_phase("w", "running");

    // The token of this control plane is of no use to an impostor on the way.
    let fresh = plane.bare_device("d-2");
    fresh.link.divert(plane.api.port(), impostor.api);
    let said = fresh.enrol(&plane.token(&[]), &[]).fails(4);
    assert_says(&said, &["another control plane answers there"]);
    assert_eq!(
        impostor.cli().run(&["get", "devices", "-o", "json"]).json()["items"],
        serde_json::json!([])
    );

    // An enrolled device does not talk with another's broker.
    device.link.divert(plane.mqtt.port(), impostor.mqtt);
    device.await_link("down");
    let status = device
        .await_status("says why", |status| !status["problems"].as_array().unwrap().is_empty());
    assert_says(&status["problems"].to_string(), &["certificate"]);
    assert_eq!(processes::with_argument(&marker), [pid]);
    device.link.divert_no_more();
    device.await_link("up");
    device.await_status("all is well again", |status| {
        status["problems"].as_array().unwrap().is_empty()
    });

    // Nor does the command line.
    let mut cli = plane.cli();
    cli.url = impostor.cli().url;
    let outcome = cli.run(&["get", "devices"]);
    assert!(outcome.code == 1 || outcome.code == 4, "{outcome}");
    assert_says(&outcome.err, &["certificate"]);
}

#[test]
fn a_device_that_waits_for_approval_gets_nothing_until_then() {
    let plane = Plane::start();
    let token = plane.token(&["--approve", "manual", "--label", "role=a"]);
    let mut device = plane.bare_device("d-1");
    let marker = marker();
    plane.cli().apply(&sleeper("w", "a", &marker)).ok();
    let outcome = device.enrol(&token, &[]);
    assert_eq!(outcome.code, 0, "waiting is no failure: {outcome}");
    device.up();
    plane.await_connection("d-1", "pending");
    assert!(processes::with_argument(&marker).is_empty());
    plane.cli().run(&["device", "approve", "d-1"]).ok();
    plane.await_phase("d-1", "w", "running");
    plane.await_connection("d-1", "online");
}

/// Returns the PKCS#8 document of a fixed key.
fn ed25519_key(seed: u8) -> Vec<u8> {
    let mut document = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    document.extend([seed; 32]);
    document
}
