//! Tests of two people who change the same thing: the later write with an old version is refused,
//! and nothing of it is done.

use serde_json::{Value, json};

use crate::world::{World, document};

async fn apply(world: &World, documents: Value) -> (u16, Value) {
    world.request("POST", "/api/v1/apply", json!({ "documents": documents })).await
}

async fn version(world: &World, name: &str) -> u64 {
    let path = format!("/api/v1/workloads/{name}");
    let (_, workload) = world.request("GET", &path, json!(null)).await;
    workload["metadata"]["resourceVersion"].as_u64().unwrap()
}

fn at(name: &str, argument: &str, version: u64) -> Value {
    let mut document = document(name, argument);
    document["metadata"]["resourceVersion"] = json!(version);
    document
}

#[tokio::test]
async fn a_stale_document_is_refused_and_nothing_is_applied() {
    let world = World::new().await;
    world.device("d-1").await;
    assert_eq!(apply(&world, json!([at("w", "1", 0)])).await.0, 200, "0: there is none yet");
    let seen = version(&world, "w").await;
    assert_eq!(apply(&world, json!([at("w", "2", seen)])).await.0, 200);
    let present = version(&world, "w").await;
    assert_ne!(present, seen);
    for stale in [seen, 0, present + 1] {
        for path in ["/api/v1/apply", "/api/v1/apply?dryRun=true"] {
            let documents = json!({ "documents": [document("other", "1"), at("w", "3", stale)] });
            let (status, answer) = world.request("POST", path, documents).await;
            assert_eq!((status, &answer["error"]["code"]), (409, &json!("conflict")), "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            let says = if stale == 0 { "already".to_owned() } else { present.to_string() };
            assert!(message.contains(&says), "{message}");
        }
    }
    assert!(world.service.workloads.workload(&world.actor(), "other").is_err(), "all or nothing");
    let shown = json!(world.service.workloads.workload(&world.actor(), "w").unwrap());
    assert_eq!(shown["status"]["revision"], 2);
    assert_eq!(version(&world, "w").await, present);
    let (status, same) = apply(&world, json!([at("w", "2", seen)])).await;
    assert_eq!((status, &same["results"][0]["action"]), (200, &json!("unchanged")));
    assert_eq!(apply(&world, json!([document("w", "3")])).await.0, 200, "unguarded, as before");
    // A write to a workload that was deleted meanwhile is a conflict, too.
    let present = version(&world, "w").await;
    assert_eq!(world.request("DELETE", "/api/v1/workloads/w", json!(null)).await.0, 204);
    let (status, answer) = apply(&world, json!([at("w", "4", present)])).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("deleted"), "{answer}");
    for bad in [json!("7"), json!(-1), json!(1.5), json!(null)] {
        let mut document = document("w", "1");
        document["metadata"]["resourceVersion"] = bad.clone();
        let (status, answer) = apply(&world, json!([document])).await;
        assert_eq!(status, 422, "{bad}");
        assert_eq!(answer["error"]["faults"][0]["path"], "metadata.resourceVersion", "{answer}");
    }
}

#[tokio::test]
async fn a_workload_that_was_changed_meanwhile_is_not_deleted() {
    let world = World::new().await;
    world.apply("w", "1").await.unwrap();
    let seen = version(&world, "w").await;
    world.apply("w", "2").await.unwrap();
    let path = |version: u64| format!("/api/v1/workloads/w?resourceVersion={version}");
    let (status, answer) = world.request("DELETE", &path(seen), json!(null)).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("conflict")), "{answer}");
    let present = version(&world, "w").await;
    assert_eq!(world.request("DELETE", &path(present), json!(null)).await.0, 204);
    assert_eq!(world.request("DELETE", &path(present), json!(null)).await.0, 404);
    let bad = "/api/v1/workloads/w?resourceVersion=x";
    assert_eq!(world.request("DELETE", bad, json!(null)).await.0, 400);
}

#[tokio::test]
async fn apply_says_which_devices_gain_lose_and_update() {
    let world = World::new().await;
    for name in ["d-1", "d-2", "d-3"] {
        world.device(name).await;
    }
    let label = |role: &'static str| json!({ "labels": { "role": role } });
    world.request("PATCH", "/api/v1/devices/d-3", label("b")).await;
    let changed = |answer: &Value| answer["results"][0]["changedDevices"].clone();
    let expected = |gain: &[&str], lose: &[&str], update: &[&str]| {
        json!({
            "gain": gain, "gainCount": gain.len(), "lose": lose, "loseCount": lose.len(),
            "update": update, "updateCount": update.len(),
        })
    };
    let (_, first) = apply(&world, json!([document("w", "1")])).await;
    assert_eq!(changed(&first), expected(&["d-1", "d-2"], &[], &[]));
    let (_, same) = apply(&world, json!([document("w", "1")])).await;
    assert_eq!(changed(&same), expected(&[], &[], &[]));
    world.request("PATCH", "/api/v1/devices/d-2", label("c")).await;
    world.request("PATCH", "/api/v1/devices/d-2", label("a")).await;
    let mut next = document("w", "2");
    next["spec"]["devices"] = json!({
        "matchExpressions": [{ "key": "role", "operator": "In", "values": ["b", "a"] }],
    });
    let dry = json!({ "documents": [next] });
    let (_, dry) = world.request("POST", "/api/v1/apply?dryRun=true", dry).await;
    assert_eq!(changed(&dry), expected(&["d-3"], &[], &["d-1", "d-2"]));
    next["spec"]["devices"] = json!({ "matchLabels": { "role": "b" } });
    let (_, moved) = apply(&world, json!([next])).await;
    assert_eq!(changed(&moved), expected(&["d-3"], &["d-1", "d-2"], &[]));
}
