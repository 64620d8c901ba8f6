//! Tests of pings: a connected device is asked for a sign of life while somebody looks at it, and
//! at no other time.

use std::time::Duration;

use holdfast_base::codec;
use holdfast_protocol::message::{Method, Reply, ReplyCode, ReplyError};
use holdfast_protocol::signing;
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use crate::world::{World, report};

const PING: &str = "/api/v1/devices/d-1/ping?within=0";

async fn ping(world: &World, path: &str) -> Value {
    let (status, answer) = world.request("GET", path, json!(null)).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Returns the ids of the pings sent since the last call.
fn asked(world: &World) -> Vec<u64> {
    let key = world.service.enrolment.authority().signer().public_key();
    let calls = std::mem::take(&mut *world.bus.calls.lock().unwrap());
    let ids = calls.iter().map(|(device, bytes)| {
        let call = signing::open_call(bytes, &key, device, 77).unwrap();
        assert!(matches!(call.method, Method::Logs { part, .. } if part.tail == 0), "{call:?}");
        call.id
    });
    ids.collect()
}

async fn answer(world: &World, call: u64) {
    let v = holdfast_base::WIRE_VERSION;
    let why = Some(ReplyError::new(ReplyCode::NotFound, "this device has no such workload"));
    let reply =
        Reply { v, id: call, sequence: 0, end: true, body: vec![], error: why, log: vec![] };
    assert!(world.publish("d-1", Channel::Reply, codec::encode(&reply).unwrap()).await);
}

fn problems(world: &World) -> String {
    world.view("d-1")["status"]["problems"].to_string()
}

#[tokio::test]
async fn who_looks_has_a_device_asked_once_and_silence_is_a_problem_until_it_speaks() {
    let world = World::new().await;
    world.device("d-1").await;
    let offline = ping(&world, PING).await;
    assert_eq!((&offline["connection"], &offline["answers"]), (&"never-seen".into(), &Value::Null));
    world.connect("d-1", 1);
    assert_eq!(ping(&world, PING).await["answers"], Value::Null, "it has only just connected");
    world.present("d-1", 77).await;
    assert_eq!(ping(&world, PING).await["answers"], true, "it was heard a moment ago");
    assert!(asked(&world).is_empty(), "so it is not asked");
    crate::world::advance(20);

    ping(&world, PING).await;
    ping(&world, PING).await;
    let calls = asked(&world);
    assert_eq!(calls.len(), 1, "however many look");
    answer(&world, calls[0]).await;
    assert_eq!(ping(&world, PING).await["answers"], true);
    assert!(asked(&world).is_empty(), "it was heard a moment ago");
    assert!(!problems(&world).contains("not-answering"));

    world.apply("w", "1").await.unwrap();
    assert!(world.publish("d-1", Channel::State, report(true, 1, 1, &[("w", 1)])).await);
    assert_eq!(world.view("d-1")["status"]["workloads"]["w"]["state"], "running");

    // The device hangs: what it said is older than 10 s by now.
    crate::world::advance(20);
    let waited = ping(&world, "/api/v1/devices/d-1/ping").await;
    assert_eq!(waited["answers"], false, "{waited}");
    assert!(waited["silentSince"].is_string(), "{waited}");
    let status = &world.view("d-1")["status"];
    assert!(problems(&world).contains("not-answering"), "{status}");
    assert_eq!(status["workloads"]["w"]["state"], "unknown", "{status}");
    assert_eq!(status["workloads"]["w"]["lastState"], "running", "{status}");
    assert_eq!(status["health"]["state"], "problem", "{status}");
    ping(&world, PING).await;
    assert_eq!(asked(&world).len(), 2, "it is asked again while somebody looks");

    world.present("d-1", 77).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!problems(&world).contains("not-answering"), "any word is an answer");

    let (status, refused) =
        world.request("GET", "/api/v1/devices/d-1/ping?within=16", json!(null)).await;
    assert_eq!(status, 400, "{refused}");
    let (status, _) = world.request("GET", "/api/v1/devices/none/ping", json!(null)).await;
    assert_eq!(status, 404);
}
