//! Tests of rollbacks, pauses and restarts, with devices that answer, refuse or are away.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use holdfast_base::codec;
use holdfast_base::ids::Name;
use holdfast_control::api::{OnDevices, Role};
use holdfast_control::core::rights::Actor;
use holdfast_protocol::message::{Method, Reply, ReplyCode, ReplyError};
use holdfast_protocol::signing;
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use super::world::{World, document};

async fn post(world: &World, path: &str, body: Value) -> (u16, Value) {
    let headers = [("accept", "application/json")];
    let body = Body::from(body.to_string());
    let path = format!("/api/v1/workloads/{path}");
    let (status, bytes) = world.send("POST", &path, &headers, body).await;
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn get(world: &World, path: &str) -> Value {
    let (status, said) = world.request("GET", path, Value::Null).await;
    assert_eq!(status, 200, "{path}: {said}");
    said
}

async fn last_audit(world: &World) -> (String, String) {
    let all = get(world, "/api/v1/audit?order=newest&limit=1").await;
    let text = |key: &str| all["items"][0][key].as_str().unwrap().to_owned();
    (text("action"), text("message"))
}

fn w() -> Name {
    "w".parse().unwrap()
}

fn paused(world: &World, device: &str) -> bool {
    world.desired(device).unwrap().workloads[&w()].paused
}

#[tokio::test]
async fn a_former_revision_is_applied_again_as_a_new_one() {
    let world = World::new().await;
    world.device("d-1").await;
    for argument in ["1", "2", "2"] {
        world.apply("w", argument).await.unwrap();
    }
    let mut labelled = document("w", "2");
    labelled["metadata"]["labels"] = json!({ "team": "a" });
    world.request("POST", "/api/v1/apply", json!({ "documents": [labelled] })).await;
    let (status, said) = post(&world, "w/rollback?dryRun=true", json!({})).await;
    assert_eq!((status, &said["to"]), (200, &json!(1)), "{said}");
    let result = &said["results"][0];
    assert_eq!((&result["action"], &result["revision"]), (&json!("changed"), &json!(3)));
    assert_eq!(result["changedDevices"]["update"], json!(["d-1"]));
    assert_ne!(result["before"], result["after"]);
    assert_eq!(get(&world, "/api/v1/workloads/w").await["status"]["revision"], 2, "a dry run");

    let version = get(&world, "/api/v1/workloads/w").await["metadata"]["resourceVersion"].clone();
    let stale = json!({ "resourceVersion": version.as_u64().unwrap() - 1 });
    assert_eq!(post(&world, "w/rollback", stale).await.0, 409);
    let (status, said) = post(&world, "w/rollback", json!({ "resourceVersion": version })).await;
    assert_eq!((status, &said["to"], &said["results"][0]["revision"]), (200, &json!(1), &json!(3)));
    let (action, message) = last_audit(&world).await;
    assert_eq!(action, "workload.rollback");
    assert!(message.starts_with("back to revision 1: changed, revision 3"), "{message}");
    let now = get(&world, "/api/v1/workloads/w").await;
    assert_eq!(now["metadata"]["labels"], json!({}), "the labels of that document");
    assert_eq!(now["spec"], document("w", "1")["spec"]);

    let all = get(&world, "/api/v1/revisions?workload=w").await;
    let said: Vec<Value> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| json!([it["revision"], it["current"], it["changed"]]))
        .collect();
    let path = "run.process.args";
    assert_eq!(
        said,
        [json!([1, false, []]), json!([2, false, [path]]), json!([3, true, [path]])],
        "{all:#}"
    );
    // The default is the last revision that differs from the present one.
    assert_eq!(post(&world, "w/rollback", json!({})).await.1["to"], 2);
    for (body, status, text) in
        [(json!({ "to": 99 }), 404, "from 1 to 4 are kept"), (json!({ "too": 1 }), 400, "too")]
    {
        let (found, said) = post(&world, "w/rollback", body).await;
        assert_eq!(found, status, "{said}");
        assert!(said["error"]["message"].as_str().unwrap().contains(text), "{said}");
    }
    world.apply("new", "1").await.unwrap();
    let (status, said) = post(&world, "new/rollback", json!({})).await;
    assert_eq!(status, 404, "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("nothing to go back to"));
}

#[tokio::test]
async fn a_pause_is_desired_and_stays_until_it_is_resumed() {
    let world = World::new().await;
    for name in ["d-1", "d-2"] {
        world.device(name).await;
    }
    world.apply("w", "1").await.unwrap();
    world.connect("d-1", 1);
    let generation = world.desired("d-1").unwrap().generation;

    let (status, said) = post(&world, "w/pause", json!({ "devices": ["d-2", "d-1"] })).await;
    assert_eq!(status, 200, "{said}");
    let offline = (&said["offline"], &said["everywhere"]);
    assert_eq!(said["devices"], json!(["d-1", "d-2"]));
    assert_eq!(offline, (&json!(["d-2"]), &json!(false)));
    assert_eq!(last_audit(&world).await, ("workload.pause".into(), "paused on 2 devices".into()));
    assert!(paused(&world, "d-1") && paused(&world, "d-2"));
    assert_eq!(world.desired("d-1").unwrap().generation, generation + 1);
    let (_, said) = post(&world, "w/pause", json!({ "devices": ["d-1"] })).await;
    assert_eq!(said["deviceCount"], 0, "it is paused there already");
    assert_eq!(world.desired("d-1").unwrap().generation, generation + 1);

    let device = world.view("d-1");
    assert!(device["desired"]["w"]["paused"]["at"].as_str().unwrap().ends_with('Z'), "{device}");
    let workload = get(&world, "/api/v1/workloads/w").await;
    assert_eq!(workload["paused"]["devices"][1]["device"], "d-2", "{workload}");
    let explained = get(&world, "/api/v1/explain/device/d-1").await;
    assert!(explained.to_string().contains("w: paused by "), "{explained}");

    // A new revision starts on no paused device.
    world.apply("w", "2").await.unwrap();
    let world = world.restart().await;
    let revision = world.desired("d-1").unwrap().workloads[&w()].revision;
    assert!(paused(&world, "d-1") && revision == 2);
    post(&world, "w/resume", json!({ "devices": ["d-1"] })).await;
    assert!(!paused(&world, "d-1") && paused(&world, "d-2"));
    assert_eq!(last_audit(&world).await, ("workload.resume".into(), "resumed on d-1".into()));

    // A pause everywhere also applies to devices that come later, except where it was resumed.
    let (_, said) = post(&world, "w/pause", json!({})).await;
    assert_eq!((&said["everywhere"], &said["devices"]), (&json!(true), &json!(["d-1"])));
    world.device("d-3").await;
    assert!(paused(&world, "d-3"));
    post(&world, "w/resume", json!({ "labelSelector": "role=a" })).await;
    assert!(["d-1", "d-2", "d-3"].iter().all(|name| !paused(&world, name)));
    let workload = get(&world, "/api/v1/workloads/w").await;
    assert_eq!(workload["paused"]["exceptCount"], 3, "{workload}");
    // A new device with the name of a deleted one is paused: the exception ended with that one.
    world.request("DELETE", "/api/v1/devices/d-3", Value::Null).await;
    world.device("d-3").await;
    assert!(paused(&world, "d-3"));
    post(&world, "w/resume", json!({})).await;
    assert!(!paused(&world, "d-3"));
    assert_eq!(get(&world, "/api/v1/workloads/w").await["paused"], Value::Null);

    for (body, status, text) in [
        (json!({ "devices": [] }), 400, "the list is empty"),
        (json!({ "devices": ["none"] }), 404, "there is no device"),
        (json!({ "labelSelector": "" }), 400, "no conditions"),
        (json!({ "labelSelector": "role=none" }), 404, "role=none"),
        (json!({ "devices": ["d-1"], "labelSelector": "role=a" }), 400, "give only one"),
        (json!({ "device": "d-1" }), 400, "device"),
    ] {
        let (found, said) = post(&world, "w/pause", body).await;
        assert_eq!(found, status, "{said}");
        assert!(said["error"]["message"].as_str().unwrap().contains(text), "{said}");
    }
    assert_eq!(post(&world, "none/pause", json!({})).await.0, 404);
    let mut elsewhere = document("elsewhere", "1");
    elsewhere["spec"]["devices"] = json!({ "matchLabels": { "role": "none" } });
    world.request("POST", "/api/v1/apply", json!({ "documents": [elsewhere] })).await;
    let (status, said) = post(&world, "elsewhere/pause", json!({ "devices": ["d-1"] })).await;
    assert_eq!(status, 404, "{said}");
}

#[tokio::test]
async fn revisions_and_pauses_name_who_made_them_also_when_the_token_is_gone() {
    let world = World::new().await;
    world.device("d-1").await;
    let token = json!({ "name": "night duty", "role": "operator" });
    let (_, made) = world.request("POST", "/api/v1/access", token).await;
    let id = made["id"].as_str().unwrap();
    let night = Actor::token(world.actor().tenant, id, Role::Operator);
    let workloads = &world.service.workloads;
    workloads.apply(&night, &[document("w", "1")], false).await.unwrap();
    let on = OnDevices { devices: Some(vec!["d-1".into()]), ..Default::default() };
    workloads.pause(&night, "w", &on, true).await.unwrap();
    assert_eq!(world.request("DELETE", &format!("/api/v1/access/{id}"), json!(null)).await.0, 204);
    let world = world.restart().await;
    let made = &get(&world, "/api/v1/revisions?workload=w").await["items"][0];
    assert_eq!((&made["createdBy"], &made["createdByName"]), (&json!(id), &json!("night duty")));
    let paused = &get(&world, "/api/v1/workloads/w").await["paused"]["devices"][0];
    assert_eq!((&paused["by"], &paused["byName"]), (&json!(id), &json!("night duty")));
    assert_eq!(world.view("d-1")["desired"]["w"]["paused"]["byName"], "night duty");
    let explained = get(&world, "/api/v1/explain/device/d-1").await;
    assert!(explained.to_string().contains("w: paused by night duty since"), "{explained}");
    let (status, said) = post(&world, "w/restart", json!({})).await;
    assert_eq!(status, 409, "{said}");
    assert!(said.to_string().contains("is paused there, by night duty since"), "{said}");
    // A token without a comment has no other name than its id.
    world.apply("w", "2").await.unwrap();
    let made = &get(&world, "/api/v1/revisions?workload=w").await["items"][1];
    assert_eq!((&made["revision"], &made["createdByName"]), (&json!(2), &json!(null)), "{made}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_asked_of_those_who_are_there() {
    let world = Arc::new(World::new().await);
    for name in ["d-1", "d-2", "d-3", "d-4"] {
        world.device(name).await;
    }
    world.apply("w", "1").await.unwrap();
    post(&world, "w/pause", json!({ "devices": ["d-4"] })).await;
    for (connection, name) in [(1, "d-1"), (2, "d-2"), (3, "d-4")] {
        world.connect(name, connection);
        world.present(name, 77).await;
    }
    let answering = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            let key = world.service.enrolment.authority().signer().public_key();
            loop {
                let calls = std::mem::take(&mut *world.bus.calls.lock().unwrap());
                for (device, bytes) in calls {
                    let call = signing::open_call(&bytes, &key, &device, 77).unwrap();
                    let Method::Restart { workload } = &call.method else { continue };
                    assert_eq!(workload.as_str(), "w");
                    let name = device.device.to_string();
                    let error = (name == "d-2")
                        .then(|| ReplyError::new(ReplyCode::Failed, "ended with code 3"));
                    for (sequence, end) in [(0, false), (1, true)] {
                        let (id, body, log) = (call.id, Vec::new(), Vec::new());
                        let error = error.clone().filter(|_| end);
                        let reply = Reply { v: 1, id, sequence, body, end, error, log };
                        let reply = codec::encode(&reply).unwrap();
                        assert!(world.publish(&name, Channel::Reply, reply).await);
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let (status, said) = post(&world, "w/restart", json!({})).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(said["restarted"], json!(["d-1"]));
    assert_eq!(said["failed"], json!([{ "device": "d-2", "reason": "ended with code 3" }]));
    assert_eq!(
        said["notAsked"],
        json!([{ "device": "d-3", "reason": "offline" }, { "device": "d-4", "reason": "paused" }])
    );
    let (action, message) = last_audit(&world).await;
    assert_eq!(action, "workload.restart");
    assert_eq!(message, "everywhere: asked 2 devices; 2 offline or paused");

    let (_, said) = post(&world, "w/restart", json!({ "devices": ["d-1"] })).await;
    assert_eq!(said, json!({ "restarted": ["d-1"], "failed": [], "notAsked": [] }));
    let (status, said) = post(&world, "w/restart", json!({ "devices": ["d-4"] })).await;
    assert_eq!(status, 409, "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("resume it"), "{said}");

    // The response is a line for each step of progress, and the result as the last.
    let body = Body::from(json!({ "devices": ["d-1"] }).to_string());
    let (status, bytes) = world.send("POST", "/api/v1/workloads/w/restart", &[], body).await;
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(status, 200);
    assert_eq!(lines[0], json!({ "progress": { "answered": 0, "of": 1 } }), "{text}");
    assert_eq!(lines.last().unwrap()["result"]["restarted"], json!(["d-1"]), "{text}");
    answering.abort();
}
