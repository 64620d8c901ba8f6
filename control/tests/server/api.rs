//! Tests of the API's responses, as scripts see them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use holdfast_base::codec;
use holdfast_protocol::message::{LogPart, Method, Reply};
use holdfast_protocol::signing;
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use crate::world::{World, document, id, report};

#[tokio::test]
async fn apply_says_what_it_does_and_does_all_or_nothing() {
    let world = World::new().await;
    world.device("d-1").await;
    let apply = |path: &'static str, documents: Value| {
        world.request("POST", path, json!({ "documents": documents }))
    };
    let (status, dry) = apply("/api/v1/apply?dryRun=true", json!([document("w", "1")])).await;
    assert_eq!(status, 200, "{dry}");
    assert_eq!(dry["results"][0]["action"], "created");
    assert_eq!(dry["results"][0]["devices"], json!(["d-1"]));
    assert!(world.service.workloads.workload(&world.actor(), "w").is_err());
    let (_, done) = apply("/api/v1/apply", json!([document("w", "1")])).await;
    assert_eq!(done, dry);
    let commits = world.service.documents.counters().commits.load(Ordering::Relaxed);
    let (_, same) = apply("/api/v1/apply", json!([document("w", "1")])).await;
    assert_eq!(same["results"][0]["action"], "unchanged");
    assert_eq!(world.service.documents.counters().commits.load(Ordering::Relaxed), commits);
    let (_, next) = apply("/api/v1/apply", json!([document("w", "2"), document("v", "1")])).await;
    assert_eq!(next["results"][0]["revision"], 2);
    assert_eq!(next["results"][0]["before"]["spec"]["run"]["process"]["args"][0], "1");
    assert_eq!(world.service.documents.counters().commits.load(Ordering::Relaxed), commits + 1);
    let (status, bad) =
        apply("/api/v1/apply", json!([document("x", "1"), { "kind": "Workload" }])).await;
    assert_eq!(status, 422, "{bad}");
    assert!(!bad["error"]["faults"].as_array().unwrap().is_empty());
    assert!(world.service.workloads.workload(&world.actor(), "x").is_err());
    let (status, many) = apply("/api/v1/apply", json!(vec![document("x", "1"); 1_001])).await;
    assert_eq!(status, 422, "{many}");
    let fault = &many["error"]["faults"][0];
    assert_eq!(fault["path"], "documents", "{many}");
    assert!(fault["message"].as_str().unwrap().contains("at most 1000 in one apply; split them"));
    let (_, revisions) = world.request("GET", "/api/v1/revisions?workload=w", json!(null)).await;
    assert_eq!(revisions["items"].as_array().unwrap().len(), 2, "{revisions}");
}

#[tokio::test]
async fn a_key_that_stands_twice_is_refused() {
    let world = World::new().await;
    let twice = document("w", "1").to_string().replacen("{", r#"{"kind":"Workload","#, 1);
    let body = Body::from(format!(r#"{{"documents":[{twice}]}}"#));
    let (status, answer) = world.send("POST", "/api/v1/apply", &[], body).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(status, 400, "{answer}");
    assert!(message.contains(r#"the key "kind" stands here twice"#), "{answer}");
    assert!(world.service.workloads.workload(&world.actor(), "w").is_err());
}

#[tokio::test]
async fn a_desired_state_that_cannot_be_sent_is_refused() {
    let world = World::new().await;
    world.device("d-1").await;
    let mut all = Vec::new();
    for number in 0..12 {
        let mut big = document(&format!("w-{number}"), "1");
        big["spec"]["config"] = json!({ "file": "x".repeat(100 * 1024) });
        all.push(big);
    }
    let apply = |documents: &[Value]| {
        world.request("POST", "/api/v1/apply", json!({ "documents": documents }))
    };
    let (status, answer) = apply(&all).await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(answer["error"]["faults"][0]["path"], "devices.d-1", "{answer}");
    assert_eq!(apply(&all[..10]).await.0, 200);
    assert!(world.desired("d-1").is_some(), "what is let in can be signed and sent");
}

#[tokio::test]
async fn lists_page_and_choose_by_labels() {
    let world = World::new().await;
    for number in 0..5 {
        world.device(&format!("d-{number}")).await;
    }
    let patch = json!({ "labels": { "role": null, "site": "north" } });
    let (status, device) = world.request("PATCH", "/api/v1/devices/d-3", patch.clone()).await;
    assert_eq!(status, 200, "{device}");
    let mut stale = patch;
    stale["resourceVersion"] = json!(1);
    assert_eq!(world.request("PATCH", "/api/v1/devices/d-3", stale).await.0, 409);
    let mut names = Vec::new();
    let mut next = String::new();
    loop {
        let path = format!("/api/v1/devices?limit=2{next}");
        let (_, page) = world.request("GET", &path, json!(null)).await;
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().map(|item| item["metadata"]["name"].clone()));
        match page["metadata"]["continue"].as_str() {
            Some(after) => next = format!("&continue={after}"),
            None => break,
        }
    }
    assert_eq!(json!(names), json!(["d-0", "d-1", "d-2", "d-3", "d-4"]));
    for (selector, count) in [("role=a", 4), ("site", 1), ("role!=a", 1), ("role=a,site", 0)] {
        let path = format!("/api/v1/devices?labelSelector={selector}");
        let (_, page) = world.request("GET", &path, json!(null)).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{selector}");
    }
    assert_eq!(world.request("GET", "/api/v1/devices?limit=0", json!(null)).await.0, 400);
    assert_eq!(world.request("GET", "/api/v1/devices?limit=x", json!(null)).await.0, 400);
}

#[tokio::test]
async fn every_refusal_is_the_same_json() {
    let mut world = World::new().await;
    for (method, path, status, code) in [
        ("GET", "/api/v1/nowhere", 404, "not-found"),
        ("GET", "/healthz/x", 404, "not-found"),
        ("POST", "/nowhere", 404, "not-found"),
        ("GET", "/api/v1/devices/x", 404, "not-found"),
        ("GET", "/api/v1/explain/planet/x", 404, "not-found"),
        ("DELETE", "/api/v1/workloads/x", 404, "not-found"),
        ("PUT", "/api/v1/devices", 405, "invalid"),
        ("POST", "/api/v1/apply", 400, "invalid"),
        ("POST", "/api/v1/enrol", 400, "invalid"),
        ("GET", "/api/v1/artifacts/md5:1", 400, "invalid"),
    ] {
        let (answered, body) = world.request(method, path, json!(null)).await;
        assert_eq!((answered, &body["error"]["code"]), (status, &json!(code)), "{path}: {body}");
        assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    }
    world.admin.push('0');
    for path in [
        "/metrics",
        "/api/v1/devices",
        "/api/v1/access",
        "/api/v1/artifacts/sha256:0",
        "/api/v1/events",
    ] {
        let (status, body) = world.request("GET", path, json!(null)).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthorized")), "{path}");
    }
    for path in ["/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/schema.json"] {
        assert_eq!(world.request("GET", path, json!(null)).await.0, 200, "{path} needs no token");
    }
    let ca = world.raw("GET", "/api/v1/ca", &[], "").await;
    assert_eq!(ca.status(), 200, "a certificate is public");
    assert_eq!(ca.headers()["content-type"], "application/x-pem-file");
    let pem = String::from_utf8(ca.body().to_vec()).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && !pem.contains("PRIVATE"), "{pem}");
}

#[tokio::test]
async fn the_description_names_every_route_of_the_map() {
    let described = serde_json::to_value(holdfast_control::adapters::http::openapi()).unwrap();
    assert_eq!(described["openapi"], "3.1.0");
    for (path, methods) in [
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
        ("/api/v1/schema.json", "get"),
        ("/api/v1/openapi.json", "get"),
        ("/api/v1/enrol", "post"),
        ("/api/v1/renew", "post"),
        ("/api/v1/renew/nonce", "post"),
        ("/api/v1/artifacts/{digest}", "get"),
        ("/api/v1/artifacts", "put"),
        ("/api/v1/apply", "post"),
        ("/api/v1/devices", "get"),
        ("/api/v1/devices/{name}", "get patch delete"),
        ("/api/v1/devices/{name}/approve", "post"),
        ("/api/v1/devices/{name}/revoke", "post"),
        ("/api/v1/devices/{name}/workloads/{workload}/logs", "get"),
        ("/api/v1/query", "post"),
        ("/api/v1/devices/{name}/streams/{stream}/fetch", "post"),
        ("/api/v1/workloads", "get"),
        ("/api/v1/workloads/{name}", "get delete"),
        ("/api/v1/revisions", "get"),
        ("/api/v1/tokens", "get post"),
        ("/api/v1/tokens/{id}", "delete"),
        ("/api/v1/explain/{kind}/{name}", "get"),
        ("/api/v1/events", "get"),
        ("/api/v1/audit", "get"),
        ("/api/v1/backup", "post"),
        ("/api/v1/restore", "post"),
    ] {
        for method in methods.split(' ') {
            assert!(described["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    let paths = described["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    let ids: Vec<String> = operations.map(|one| one["operationId"].to_string()).collect();
    let different: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "operations have ids of their own: {ids:?}");
    let text = described.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(described["components"]["schemas"][name].is_object(), "{name} is described");
    }
}

#[tokio::test]
async fn artifacts_are_kept_by_digest_and_served_in_parts() {
    let world = World::new().await;
    let (status, body) =
        world.send("PUT", "/api/v1/artifacts", &[], Body::from("0123456789")).await;
    let stored: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &stored["size"]), (200, &json!(10)));
    let path = format!("/api/v1/artifacts/{}", stored["digest"].as_str().unwrap());
    for (range, status, bytes) in [
        ("", 200, "0123456789"),
        ("bytes=0-3", 206, "0123"),
        ("bytes=7-", 206, "789"),
        ("bytes=-2", 206, "89"),
        ("bytes=8-100", 206, "89"),
        ("bytes=10-", 416, ""),
        ("bytes=5-2", 200, "0123456789"),
    ] {
        let headers: &[(&str, &str)] = if range.is_empty() { &[] } else { &[("range", range)] };
        let (answered, body) = world.send("GET", &path, headers, Body::empty()).await;
        assert_eq!((answered, &body[..]), (status, bytes.as_bytes()), "{range}");
    }
    let (status, _) =
        world.send("PUT", "/api/v1/artifacts", &[], Body::from(vec![0; 1_000_001])).await;
    assert_eq!(status, 413);
    let none = format!("/api/v1/artifacts/sha256:{}", "0".repeat(64));
    assert_eq!(world.send("GET", &none, &[], Body::empty()).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_come_from_the_device_in_order() {
    let world = std::sync::Arc::new(World::new().await);
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    let path = "/api/v1/devices/d-1/workloads/w/logs?tail=5";
    let (status, body) = world.request("GET", path, json!(null)).await;
    assert_eq!(status, 503, "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("offline"), "{body}");
    world.connect("d-1", 1);
    world.present("d-1", 77).await;
    let reading = tokio::spawn({
        let world = std::sync::Arc::clone(&world);
        async move { world.send("GET", path, &[], Body::empty()).await }
    });
    let call = loop {
        if let Some((_, bytes)) = world.bus.calls.lock().unwrap().first().cloned() {
            break bytes;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let key = world.service.enrolment.authority().signer().public_key();
    let call = signing::open_call(&call, &key, &id("d-1"), 77).unwrap();
    let Method::Logs { part, .. } = call.method else { panic!("{call:?}") };
    assert_eq!(part, LogPart { tail: 5, ..LogPart::default() });
    let piece = |sequence, text: &str, end| {
        let v = holdfast_base::WIRE_VERSION;
        let reply =
            Reply { v, id: call.id, sequence, body: text.into(), end, error: None, log: vec![] };
        codec::encode(&reply).unwrap()
    };
    for message in [piece(0, "one\n", false), piece(0, "one\n", false), piece(1, "two\n", true)] {
        assert!(world.publish("d-1", Channel::Reply, message).await);
    }
    let (status, body) = reading.await.unwrap();
    assert_eq!((status, &body[..]), (200, &b"one\ntwo\n"[..]));
    let none = "/api/v1/devices/d-1/workloads/other/logs";
    assert_eq!(world.request("GET", none, json!(null)).await.0, 404);
}

#[tokio::test]
async fn explanations_say_why() {
    let world = World::new().await;
    world.apply("w", "1").await.unwrap();
    let explain = |path: &'static str| world.request("GET", path, json!(null));
    let (_, nobody) = explain("/api/v1/explain/workload/w").await;
    assert_eq!(nobody["settled"], false);
    assert!(nobody["reasons"][0].as_str().unwrap().contains("no device"), "{nobody}");
    world.device("d-1").await;
    let (_, never) = explain("/api/v1/explain/device/d-1").await;
    assert!(never["summary"].as_str().unwrap().contains("never seen"), "{never}");
    world.connect("d-1", 1);
    let desired = world.desired("d-1").unwrap();
    let all = report(true, desired.epoch, desired.generation, &[("w", 1)]);
    assert!(world.publish("d-1", Channel::State, all).await);
    for path in ["/api/v1/explain/device/d-1", "/api/v1/explain/workload/w"] {
        let (_, settled) = world.request("GET", path, json!(null)).await;
        assert_eq!(settled["settled"], true, "{settled}");
    }
    let (_, workload) = world.request("GET", "/api/v1/workloads/w", json!(null)).await;
    assert_eq!(workload["status"]["running"], 1, "{workload}");
}

#[tokio::test]
async fn a_body_of_countless_documents_is_refused_in_words() {
    let world = World::new().await;
    let body = format!("{{\"documents\":[{}]}}", vec!["{}"; 100_000].join(","));
    let (status, answer) = world.send("POST", "/api/v1/apply", &[], Body::from(body)).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("too-large")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("5000 documents"), "{answer}");
}
