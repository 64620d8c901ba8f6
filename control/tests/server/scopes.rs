//! Tests of the scopes and the life of access tokens, and of what a device's certificate permits.

use axum::body::Body;
use holdfast_control::adapters::http::openapi;
use holdfast_control::api::Scope;
use holdfast_control::core::scope::needed;
use holdfast_control::service::Failure;
use serde_json::{Value, json};

use crate::world::{World, advance};

/// Returns every route that needs an access token, by method and path as described.
fn routes() -> Vec<(String, String)> {
    let api: Value = serde_json::to_value(openapi()).unwrap();
    let mut found = Vec::new();
    for (path, operations) in api["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let security = operation["security"].as_array().cloned().unwrap_or_default();
            if security.iter().any(|one| one.get("bearer").is_some()) {
                found.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(found.len() > 30, "{found:?}");
    found
}

async fn token(world: &World, new: Value) -> String {
    let (status, answer) = world.request("POST", "/api/v1/access", new).await;
    assert_eq!(status, 201, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

async fn ask(world: &World, method: &str, path: &str, token: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let answer = world.raw(method, path, &[("authorization", &bearer)], "").await;
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or(Value::Null))
}

#[test]
fn every_route_says_which_scope_it_needs() {
    for (method, path) in routes() {
        let scope = needed(&method, &path);
        assert!(
            scope.is_some(),
            "{method} {path} is not in the table of control/core/src/scope.rs"
        );
        if method != "GET" {
            assert!(scope > Some(Scope::Read), "{method} {path} changes something");
        }
    }
}

#[tokio::test]
async fn a_token_does_what_its_scope_allows_and_no_more() {
    let world = World::new().await;
    let reader = token(&world, json!({ "comment": "prometheus" })).await;
    let operator = token(&world, json!({ "scope": "operate" })).await;
    for (method, path) in routes() {
        let real = path.replace("{digest}", &format!("sha256:{}", "0".repeat(64)));
        let real: Vec<&str> =
            real.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
        let real = real.join("/");
        let scope = needed(&method, &path).unwrap();
        for (token, has) in [(&reader, Scope::Read), (&operator, Scope::Operate)] {
            if path == "/api/v1/events" {
                continue; // It never ends; it is read below.
            }
            let (status, answer) = ask(&world, &method, &real, token).await;
            let refused = status == 403 && answer["error"]["code"] == "refused";
            assert_eq!(refused, scope > has, "{method} {path} by {has}: {status} {answer}");
            if refused {
                let said = answer["error"]["message"].as_str().unwrap();
                let needs = format!("needs an access token of scope {scope}");
                assert!(said.contains(&needs) && said.contains(has.as_str()), "{said}");
                assert!(said.contains("under Settings"), "it says what to do: {said}");
            }
        }
    }
    assert!(world.service.authorize(&reader).is_ok(), "nothing that it tried ended it");
    // HEAD needs the same scope as GET.
    assert_eq!(ask(&world, "HEAD", "/api/v1/backup", &operator).await.0, 403);
    assert_eq!(ask(&world, "HEAD", "/api/v1/devices", &reader).await.0, 200);
    // A session has the scope of its token.
    let head = [("content-type", "application/json")];
    let body = json!({ "token": reader }).to_string();
    let answer = world.raw("POST", "/api/v1/session", &head, &body).await;
    let begun: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(begun["scope"], "read");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let csrf = begun["csrf"].as_str().unwrap();
    let head = [("cookie", cookie), ("x-csrf-token", csrf)];
    assert_eq!(world.raw("GET", "/api/v1/devices", &head, "").await.status(), 200);
    for (method, path) in [("GET", "/api/v1/backup"), ("POST", "/api/v1/tokens")] {
        assert_eq!(world.raw(method, path, &head, "{}").await.status(), 403, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_ends_when_it_was_said_and_its_session_with_it() {
    let world = World::new().await;
    let brief = token(&world, json!({ "scope": "operate", "ttlSeconds": 3_600 })).await;
    let head = [("content-type", "application/json")];
    let body = json!({ "token": brief }).to_string();
    let answer = world.raw("POST", "/api/v1/session", &head, &body).await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    let head = [("cookie", cookie.split(';').next().unwrap())];
    assert_eq!(ask(&world, "GET", "/api/v1/devices", &brief).await.0, 200);
    assert_eq!(world.raw("GET", "/api/v1/devices", &head, "").await.status(), 200);
    let held = world.service.authorize(&brief).unwrap();
    advance(3_601);
    let (status, answer) = ask(&world, "GET", "/api/v1/devices", &brief).await;
    assert_eq!(status, 401);
    assert!(answer["error"]["message"].as_str().unwrap().contains("has ended"), "{answer}");
    assert_eq!(world.raw("GET", "/api/v1/devices", &head, "").await.status(), 401);
    assert!(!world.service.holds(&held), "long answers end with it");
    for bad in [json!({ "ttlSeconds": 0 }), json!({ "scope": "root" }), json!({ "ttl": 1 })] {
        assert_eq!(world.request("POST", "/api/v1/access", bad).await.0, 400);
    }
}

#[tokio::test]
async fn somebody_can_always_make_another_token() {
    let world = World::new().await;
    token(&world, json!({ "scope": "operate" })).await;
    token(&world, json!({ "scope": "admin", "ttlSeconds": 60 })).await;
    let (status, answer) = world.request("DELETE", "/api/v1/access/admin", Value::Null).await;
    assert_eq!(status, 409, "{answer}");
    token(&world, json!({ "scope": "admin" })).await;
    let (status, answer) = world.request("DELETE", "/api/v1/access/admin", Value::Null).await;
    assert_eq!(status, 204, "{answer}");
}

#[tokio::test]
async fn tokens_from_before_there_were_scopes_may_do_everything() {
    let world = World::new().await;
    let old = token(&world, json!({ "scope": "read" })).await;
    let id = old.split('.').nth(1).unwrap().to_owned();
    let key = format!("access/{id}");
    let kept = holdfast_control::ports::store::Store::read(&*world.store, &key, 1).unwrap();
    let mut record: Value = serde_json::from_slice(&kept[0].1).unwrap();
    record.as_object_mut().unwrap().remove("scope").unwrap();
    let world = world.with_records(vec![(key, serde_json::to_vec(&record).unwrap())]).await;
    assert_eq!(ask(&world, "GET", "/api/v1/backup", &old).await.0, 200);
}

#[tokio::test]
async fn event_streams_are_bounded_for_each_token() {
    let world = World::new().await;
    let reader = token(&world, json!({})).await;
    let bearer = format!("Bearer {reader}");
    let head = [("authorization", bearer.as_str())];
    let mut open = Vec::new();
    for _ in 0..16 {
        let answer = world.streamed("/api/v1/events", &head).await;
        assert_eq!(answer.status(), 200);
        open.push(answer);
    }
    let refused = world.streamed("/api/v1/events", &head).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (429, &"10".parse().unwrap())
    );
    assert_eq!(world.answer("GET", "/api/v1/events", &[], Body::empty()).await.status(), 200);
    open.pop();
    assert_eq!(world.streamed("/api/v1/events", &head).await.status(), 200);
}

#[tokio::test]
async fn a_device_fetches_what_its_workloads_are_made_of_and_nothing_else() {
    let world = World::new().await;
    world.device("d-1").await;
    let mut digests = Vec::new();
    for bytes in ["mine", "another's"] {
        let stored = world.send("PUT", "/api/v1/artifacts", &[], Body::from(bytes)).await.1;
        let stored: Value = serde_json::from_slice(&stored).unwrap();
        digests.push(stored["digest"].as_str().unwrap().to_owned());
    }
    let workload = |name: &str, role: &str, digest: &str| {
        json!({ "documents": [{
            "apiVersion": "holdfast/v1", "kind": "Workload", "metadata": { "name": name },
            "spec": {
                "devices": { "matchLabels": { "role": role } },
                "run": { "process": { "artifact": digest } },
            },
        }] })
    };
    for document in [workload("w", "a", &digests[0]), workload("v", "b", &digests[1])] {
        let (status, answer) = world.request("POST", "/api/v1/apply", document).await;
        assert_eq!(status, 200, "{answer}");
    }
    let device = "default_d-1".parse().unwrap();
    let may = |digest: &str| world.service.may_fetch(&device, &digest.parse().unwrap());
    assert!(may(&digests[0]).is_ok());
    let refused = may(&digests[1]);
    assert!(
        matches!(&refused, Err(Failure::Refused(text)) if text.contains("no workload")),
        "{refused:?}"
    );
    // A device may still fetch the artifact of the revision that worked, to go back to it.
    let next = workload("w", "a", &digests[1]);
    assert_eq!(world.request("POST", "/api/v1/apply", next).await.0, 200);
    assert!(may(&digests[0]).is_ok() && may(&digests[1]).is_ok());
    let nobody = "default_nobody".parse().unwrap();
    assert!(world.service.may_fetch(&nobody, &digests[0].parse().unwrap()).is_err());
}
