//! Tests of tenants that are made, limited and deleted through the API, and of what a tenant sees of
//! another one that has the same names of everything.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, hex};
use holdfast_control::adapters::http::openapi;
use holdfast_control::core::kinds::AnyKind;
use holdfast_control::core::model::sha256;
use holdfast_control::ports::bus::{Done, Inbox as _, Outcome};
use holdfast_protocol::topic::Channel;
use holdfast_records::Acknowledgement;
use serde_json::{Value, json};

use crate::data::batch;
use crate::world::{Key, World, advance};

/// Text in everything that the tenant zeta has, and in nothing else.
const MARK: &str = "zeta-alone";

async fn send(world: &World, token: &str, method: &str, path: &str, body: Body) -> (u16, String) {
    let bearer = format!("Bearer {token}");
    let head = [("authorization", &*bearer), ("content-type", "application/json")];
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let answer = world.raw(method, path, &head, &body).await;
    (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
}

async fn ask(world: &World, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let (status, text) = send(world, token, method, path, body).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn must(world: &World, token: &str, method: &str, path: &str, body: Value) -> Value {
    let (status, answer) = ask(world, token, method, path, body).await;
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

/// Makes a tenant with these quotas and returns its first access token.
async fn tenant(world: &World, name: &str, quotas: Value) -> String {
    let body = json!({ "name": name, "quotas": quotas });
    let made = must(world, &world.admin, "POST", "/api/v1/tenants", body).await;
    made["token"].as_str().unwrap().to_owned()
}

async fn apply(world: &World, token: &str, documents: &[Value]) -> (u16, Value) {
    ask(world, token, "POST", "/api/v1/apply", json!({ "documents": documents })).await
}

fn document(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "holdfast/v1", "kind": kind,
        "metadata": { "name": name }, "spec": spec,
    })
}

fn workload(name: &str, resources: Value) -> Value {
    let mut spec = json!({ "devices": "all", "run": { "process": { "path": "/bin/sleep" } } });
    if !resources.is_null() {
        spec["resources"] = resources;
    }
    document("Workload", name, spec)
}

/// Enrols a device into the tenant of an access token. Returns the failure's text.
async fn enrol(world: &World, token: &str, name: &str) -> Result<Key, String> {
    let new = json!({ "allowLabels": ["*"], "ttlSeconds": 3600, "uses": 10 });
    let made = must(world, token, "POST", "/api/v1/tokens", new).await;
    let key = Key::new();
    let enrolled = world.enrol(&key, made["token"].as_str().unwrap(), Some(name)).await;
    enrolled.map(|_| key).map_err(|failure| failure.to_string())
}

async fn publish(world: &World, device: &str, channel: Channel, payload: Vec<u8>) -> Outcome {
    let device: DeviceId = device.parse().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    let done = Done::new(move |outcome| tell.send(outcome).unwrap());
    world.service.directory.received(&device, channel, payload.into(), done);
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap()
}

fn message(answer: &Value) -> String {
    let error = &answer["error"];
    let faults = error["faults"].as_array().into_iter().flatten();
    let faults = faults.map(|fault| format!(" {}: {}", fault["path"], fault["message"]));
    format!("{} {}{}", error["code"], error["message"], faults.collect::<String>())
}

#[tokio::test]
async fn a_tenant_is_made_lives_through_a_restart_and_goes_with_all_that_it_has() {
    let mut world = World::new().await;
    let acme = tenant(&world, "acme", json!({ "devices": 2 })).await;
    let again = json!({ "name": "acme" });
    let (status, answer) = ask(&world, &world.admin, "POST", "/api/v1/tenants", again).await;
    assert_eq!(status, 409, "{answer}");
    enrol(&world, &acme, "d-1").await.unwrap();
    assert_eq!(apply(&world, &acme, &[workload("w", Value::Null)]).await.0, 200);
    let stored = send(&world, &acme, "PUT", "/api/v1/artifacts", Body::from("bytes")).await.1;
    let stored: Value = serde_json::from_str(&stored).unwrap();
    let artifact = format!("/api/v1/artifacts/{}", stored["digest"].as_str().unwrap());
    let payload = codec::encode(&batch("s", 1, 3)).unwrap();
    assert_eq!(publish(&world, "acme_d-1", Channel::Data, payload).await, Outcome::Stored);
    world = world.restart().await;
    let devices = must(&world, &acme, "GET", "/api/v1/devices", Value::Null).await;
    assert_eq!(devices["items"][0]["metadata"]["name"], "d-1");

    let list = must(&world, &world.admin, "GET", "/api/v1/tenants", Value::Null).await;
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["acme", "default"]);
    assert_eq!(
        list["items"][0]["quotas"][0],
        json!({ "quota": "devices", "used": 1, "limit": 2, "unit": "count" })
    );
    let own = must(&world, &acme, "GET", "/api/v1/tenants", Value::Null).await;
    assert_eq!(own["items"].as_array().unwrap().len(), 1, "{own}");

    let path = "/api/v1/tenants/acme";
    let (status, answer) = ask(&world, &world.admin, "DELETE", path, Value::Null).await;
    assert_eq!(status, 409, "{answer}");
    let why = message(&answer);
    assert!(why.contains("1 device, 1 workload, 1 stream"), "{why}");
    let dry = format!("{path}?cascade=true&dryRun=true");
    let plan = must(&world, &world.admin, "DELETE", &dry, Value::Null).await;
    let told = |key: &str| plan[key].clone();
    assert_eq!(
        [told("deleted"), told("devices"), told("workloads"), told("artifacts"), told("records")],
        [json!(false), json!(1), json!(1), json!(1), json!(3)]
    );
    let gone = format!("{path}?cascade=true");
    let went = must(&world, &world.admin, "DELETE", &gone, Value::Null).await;
    assert_eq!((&went["deleted"], &went["records"]), (&json!(true), &json!(3)));
    assert!(world.bus.disconnected.lock().unwrap().contains(&"acme_d-1".to_owned()));
    assert_eq!(ask(&world, &acme, "GET", "/api/v1/devices", Value::Null).await.0, 401);
    assert_eq!(ask(&world, &world.admin, "DELETE", &gone, Value::Null).await.0, 404);
    // Nothing of it is left in the store, and another one of its name begins empty.
    let left = |world: &World| {
        let mut rows = Vec::new();
        let snapshot = holdfast_control::ports::store::Store::snapshot(&*world.store).unwrap();
        let seen = snapshot.visit(&[], &mut |key, _| {
            if key.contains("/acme") {
                rows.push(key.to_owned());
            }
            Ok(())
        });
        seen.unwrap();
        rows
    };
    assert_eq!(left(&world), Vec::<String>::new());
    world = world.restart().await;
    let acme = tenant(&world, "acme", json!({})).await;
    for list in ["devices", "workloads", "streams", "artifacts", "tokens"] {
        let path = format!("/api/v1/{list}");
        let found = must(&world, &acme, "GET", &path, Value::Null).await;
        assert_eq!(found["items"], json!([]), "{list}");
    }
    assert_eq!(ask(&world, &acme, "GET", &artifact, Value::Null).await.0, 404);
    let (status, answer) =
        ask(&world, &world.admin, "DELETE", "/api/v1/tenants/default", Value::Null).await;
    assert_eq!(status, 409, "{answer}");
    let empty = must(&world, &world.admin, "DELETE", path, Value::Null).await;
    assert_eq!(empty["deleted"], true, "an empty one goes without cascade");
}

#[tokio::test]
async fn only_admins_of_the_first_tenant_make_and_change_tenants() {
    let world = World::new().await;
    let acme = tenant(&world, "acme", json!({ "devices": 1 })).await;
    let more = document("Tenant", "acme", json!({ "quotas": { "devices": 100 } }));
    let (status, answer) = apply(&world, &acme, std::slice::from_ref(&more)).await;
    assert_eq!(status, 404, "{answer}");
    let new = json!({ "name": "mine" });
    assert_eq!(ask(&world, &acme, "POST", "/api/v1/tenants", new.clone()).await.0, 404);
    for path in ["/api/v1/tenants/acme", "/api/v1/tenants/default", "/api/v1/tenants/none"] {
        assert_eq!(ask(&world, &acme, "DELETE", path, Value::Null).await.0, 404, "{path}");
    }
    let operator = json!({ "scope": "operate" });
    let operator = must(&world, &world.admin, "POST", "/api/v1/access", operator).await;
    let operator = operator["token"].as_str().unwrap();
    assert_eq!(apply(&world, operator, std::slice::from_ref(&more)).await.0, 403);
    assert_eq!(ask(&world, operator, "POST", "/api/v1/tenants", new).await.0, 403);
    let seen = must(&world, operator, "GET", "/api/v1/tenants", Value::Null).await;
    assert_eq!(seen["items"].as_array().unwrap().len(), 1, "names of tenants are for admins");
    // A document makes a tenant too; its first token comes from `create`.
    let made = document("Tenant", "beta", json!({}));
    assert_eq!(apply(&world, &world.admin, &[made, more]).await.0, 200);
    let beta = tenant(&world, "beta", Value::Null).await;
    assert_eq!(ask(&world, &beta, "GET", "/api/v1/devices", Value::Null).await.0, 200);
    let document = "/api/v1/policies/tenants/acme";
    let (status, answer) = ask(&world, &world.admin, "DELETE", document, Value::Null).await;
    assert!(status == 403 && message(&answer).contains("delete the tenant itself"), "{answer}");
    assert_eq!(ask(&world, &beta, "GET", document, Value::Null).await.0, 404);
}

#[tokio::test]
async fn each_quota_refuses_with_its_use_and_its_limit() {
    let world = World::new().await;
    let quotas = json!({ "devices": 2, "artifacts": 10, "cpu": 2, "memory": "64Mi" });
    let acme = tenant(&world, "acme", quotas).await;
    let other = tenant(&world, "other", json!({})).await;
    enrol(&world, &acme, "d-1").await.unwrap();
    enrol(&world, &acme, "d-2").await.unwrap();
    let why = enrol(&world, &acme, "d-3").await.err().unwrap();
    assert!(why.starts_with("quota devices: 2 in use, 1 more asked for, the limit is 2"), "{why}");
    enrol(&world, &other, "d-3").await.unwrap();

    let (status, answer) = apply(&world, &acme, &[workload("w", Value::Null)]).await;
    let why = message(&answer);
    assert!(status == 422 && why.contains("spec.resources.cpu") && why.contains("memory"), "{why}");
    let of = |cpu: &str| json!({ "cpu": cpu, "memory": "16Mi" });
    assert_eq!(apply(&world, &acme, &[workload("w", of("1"))]).await.0, 200);
    let (status, answer) = apply(&world, &acme, &[workload("v", of("100m"))]).await;
    let why = message(&answer);
    let said =
        "quota cpu: 2000 thousandths of a core in use, 200 more asked for, the limit is 2000";
    assert!(status == 403 && why.contains("\"quota\"") && why.contains(said), "{status} {why}");
    assert_eq!(apply(&world, &acme, &[workload("w", of("900m"))]).await.0, 200, "it shrinks");
    assert_eq!(apply(&world, &acme, &[workload("v", of("100m"))]).await.0, 200);
    let big = json!({ "cpu": "1m", "memory": "16Mi" });
    let (status, answer) = apply(&world, &acme, &[workload("u", big)]).await;
    assert_eq!(status, 403, "{answer}");
    assert_eq!(apply(&world, &other, &[workload("v", Value::Null)]).await.0, 200);

    let push = |token: String, bytes: &'static str| {
        let world = &world;
        async move { send(world, &token, "PUT", "/api/v1/artifacts", Body::from(bytes)).await }
    };
    assert_eq!(push(acme.clone(), "1234567").await.0, 200);
    let (status, why) = push(acme.clone(), "12345").await;
    assert!(status == 403 && why.contains("quota artifacts: 7 bytes in use"), "{status} {why}");
    assert_eq!(push(acme.clone(), "1234567").await.0, 200, "it counts once");
    assert_eq!(push(acme.clone(), "123").await.0, 200);
    assert_eq!(push(other.clone(), "1234567").await.0, 200, "and for each tenant");
    let list = must(&world, &acme, "GET", "/api/v1/artifacts", Value::Null).await;
    let seven = list["items"].as_array().unwrap().iter().find(|it| it["size"] == 7).unwrap();
    let path = format!("/api/v1/artifacts/{}", seven["digest"].as_str().unwrap());
    assert_eq!(ask(&world, &acme, "DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(ask(&world, &acme, "GET", &path, Value::Null).await.0, 404);
    assert_eq!(send(&world, &other, "GET", &path, Body::empty()).await, (200, "1234567".into()));
    assert_eq!(ask(&world, &other, "DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(push(acme.clone(), "12345").await.0, 200, "there is room again");

    let limited = tenant(&world, "limited", json!({ "requestsPerSecond": 1 })).await;
    let mut refused = None;
    for _ in 0..50 {
        let bearer = format!("Bearer {limited}");
        let head = [("authorization", &*bearer)];
        let answer = world.raw("GET", "/api/v1/devices", &head, "").await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("more than one in a second");
    assert!(refused.headers().contains_key("retry-after"));
    let why = String::from_utf8(refused.body().to_vec()).unwrap();
    assert!(
        why.contains("quota requestsPerSecond: 1 in use") && why.contains("limit is 1"),
        "{why}"
    );
    assert_eq!(ask(&world, &other, "GET", "/api/v1/devices", Value::Null).await.0, 200);
}

#[tokio::test]
async fn records_beyond_the_days_quota_stay_on_the_devices_and_come_the_next_day() {
    let mut world = World::new().await;
    let payload = |from| codec::encode(&batch("s", from, from + 9)).unwrap();
    let quota = payload(1).len() * 2 + 10;
    let acme = tenant(&world, "acme", json!({ "dataPerDay": quota })).await;
    enrol(&world, &acme, "d-1").await.unwrap();
    for from in [1, 11] {
        assert_eq!(
            publish(&world, "acme_d-1", Channel::Data, payload(from)).await,
            Outcome::Stored
        );
    }
    world.bus.acks.lock().unwrap().clear();
    let third = payload(21);
    let outcome = publish(&world, "acme_d-1", Channel::Data, third.clone()).await;
    assert_eq!(outcome, Outcome::NotStored, "the device keeps it");
    let acks = std::mem::take(&mut *world.bus.acks.lock().unwrap());
    let held: Acknowledgement = codec::decode(&acks[0].1).unwrap();
    assert!(held.acked.is_empty() && held.hold_ms >= 30_000, "{held:?}");
    for again in [false, true] {
        if again {
            world = world.restart().await;
        }
        let own = must(&world, &acme, "GET", "/api/v1/tenants", Value::Null).await;
        let why = own["items"][0]["heldBack"].as_str().unwrap_or_default();
        assert!(why.contains("quota dataPerDay"), "restarted: {again}: {own}");
        let outcome = publish(&world, "acme_d-1", Channel::Data, third.clone()).await;
        assert_eq!(outcome, Outcome::NotStored, "restarted: {again}");
    }
    advance(86_400);
    assert_eq!(publish(&world, "acme_d-1", Channel::Data, third).await, Outcome::Stored);
    let own = must(&world, &acme, "GET", "/api/v1/tenants", Value::Null).await;
    assert!(own["items"][0].get("heldBack").is_none(), "{own}");
    let records = "/api/v1/devices/d-1/streams/s/records?limit=100";
    let records = must(&world, &acme, "GET", records, Value::Null).await;
    assert_eq!(records["items"].as_array().unwrap().len(), 30, "each of them, once");
}

#[tokio::test]
async fn an_artifact_is_of_those_who_pushed_it_whoever_else_has_it() {
    let world = World::new().await;
    let (acme, zeta) =
        (tenant(&world, "acme", json!({})).await, tenant(&world, "zeta", json!({})).await);
    let stored = send(&world, &zeta, "PUT", "/api/v1/artifacts", Body::from(MARK)).await.1;
    let digest = serde_json::from_str::<Value>(&stored).unwrap()["digest"].clone();
    let path = format!("/api/v1/artifacts/{}", digest.as_str().unwrap());
    let none = format!("/api/v1/artifacts/sha256:{}", "0".repeat(64));
    let theirs = ask(&world, &acme, "GET", &path, Value::Null).await;
    let nobodys = ask(&world, &acme, "GET", &none, Value::Null).await;
    let cut = |text: String| text.replace(digest.as_str().unwrap(), "DIGEST");
    let zeros = |text: String| text.replace(&format!("sha256:{}", "0".repeat(64)), "DIGEST");
    assert_eq!((theirs.0, cut(theirs.1.to_string())), (404, zeros(nobodys.1.to_string())));
    assert_eq!(ask(&world, &acme, "DELETE", &path, Value::Null).await.0, 404);
    let names = document(
        "Workload",
        "w",
        json!({ "devices": "all", "run": { "process": { "artifact": digest } } }),
    );
    let (status, answer) = apply(&world, &acme, std::slice::from_ref(&names)).await;
    assert!(status == 422, "{answer}");
    assert_eq!(apply(&world, &zeta, &[names]).await.0, 200);
    // Pushing it answers the same as it did the first time, and from then on both have it.
    let (status, again) = send(&world, &acme, "PUT", "/api/v1/artifacts", Body::from(MARK)).await;
    assert_eq!((status, again), (200, stored));
    assert_eq!(send(&world, &acme, "GET", &path, Body::empty()).await, (200, MARK.into()));
    assert_eq!(ask(&world, &acme, "DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(send(&world, &zeta, "GET", &path, Body::empty()).await, (200, MARK.into()));
    let (status, answer) = ask(&world, &zeta, "DELETE", &path, Value::Null).await;
    assert!(status == 409 && message(&answer).contains("(w)"), "a workload needs it: {answer}");
}

#[tokio::test]
async fn artifacts_from_before_they_had_owners_are_given_to_the_first_tenant_once() {
    let world = World::new().await;
    let acme = tenant(&world, "acme", json!({})).await;
    let digest = hex(&sha256(MARK.as_bytes()));
    world.write_file(&format!("artifacts/sha256/{digest}"), MARK.as_bytes());
    let path = format!("/api/v1/artifacts/sha256:{digest}");
    let world = world.restart().await;
    assert_eq!(send(&world, &world.admin, "GET", &path, Body::empty()).await.0, 404);
    for _ in 0..2 {
        world.service.workloads.adopt_artifacts().await.unwrap();
        let got = send(&world, &world.admin, "GET", &path, Body::empty()).await;
        assert_eq!(got, (200, MARK.into()));
        assert_eq!(send(&world, &acme, "GET", &path, Body::empty()).await.0, 404);
    }
    // Bytes that come without an owner later are nobody's.
    assert_eq!(ask(&world, &world.admin, "DELETE", &path, Value::Null).await.0, 204);
    world.write_file(&format!("artifacts/sha256/{digest}"), MARK.as_bytes());
    let world = world.restart().await;
    world.service.workloads.adopt_artifacts().await.unwrap();
    assert_eq!(send(&world, &world.admin, "GET", &path, Body::empty()).await.0, 404);
}

/// Password of the user anna of a tenant.
fn words(tenant: &str) -> String {
    format!("correct horse battery of {tenant}")
}

/// Logs the user anna in.
async fn login(world: &World, tenant: Option<&str>, password: &str) -> (u16, Value) {
    let mut body = json!({ "user": "anna", "password": password });
    if let Some(tenant) = tenant {
        body["tenant"] = tenant.into();
    }
    let head = [("content-type", "application/json")];
    let answer = world.raw("POST", "/api/v1/session", &head, &body.to_string()).await;
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
}

#[tokio::test]
async fn people_roles_and_tokens_of_a_tenant_are_the_matter_of_its_own_admins() {
    let world = World::new().await;
    let acme = tenant(&world, "acme", json!({})).await;
    let zeta = tenant(&world, "zeta", json!({})).await;
    furnish(&world, "acme", &acme, "acme-alone").await;
    let theirs = furnish(&world, "zeta", &zeta, MARK).await;
    // The same name is two people, with passwords and roles of their own.
    for (tenant, password) in [
        (Some("acme"), words("zeta")),
        (Some("zeta"), words("acme")),
        (Some("nobodys"), words("acme")),
        (Some("No tenant!"), words("acme")),
        (None, words("acme")),
    ] {
        let (status, said) = login(&world, tenant, &password).await;
        let why = "the name or the password is wrong, or the user may not log in";
        assert_eq!((status, &said["error"]["message"]), (401, &json!(why)), "{tenant:?}");
    }
    let (status, open) = login(&world, Some("acme"), &words("acme")).await;
    assert_eq!((status, &open["tenant"]), (201, &json!("acme")), "{open}");
    let roles = open["roles"].to_string();
    assert!(roles.contains("viewer") && !roles.contains("admin"), "{open}");
    // A login to a tenant that nobody has made stands in the log of the first one.
    let log = must(&world, &world.admin, "GET", "/api/v1/audit?limit=100", Value::Null).await;
    assert!(log.to_string().contains("tenant nobodys, which does not exist"), "{log}");
    assert!(!log.to_string().contains(MARK), "{log}");
    // The first tenant's admin makes tenants, and is a stranger in them.
    for (method, path) in [
        ("DELETE", format!("/api/v1/access/{}", theirs["access"])),
        ("DELETE", format!("/api/v1/sessions/{}", theirs["session"])),
        ("DELETE", format!("/api/v1/silences/{}", theirs["silence"])),
        ("DELETE", "/api/v1/users/anna".to_owned()),
        ("GET", "/api/v1/policies/rolebindings/p".to_owned()),
        ("GET", "/api/v1/policies/identityproviders/p".to_owned()),
    ] {
        let (status, answer) = ask(&world, &world.admin, method, &path, Value::Null).await;
        assert_eq!(status, 404, "{method} {path}: {answer}");
    }
    // What lets somebody in at one tenant is nothing at another one.
    let listed = |query: &'static str| {
        let world = &world;
        async move {
            let path = format!("/api/v1/providers{query}");
            let answer = world.raw("GET", &path, &[], "").await;
            String::from_utf8(answer.body().to_vec()).unwrap()
        }
    };
    assert!(listed("?tenant=zeta").await.contains("\"p\""));
    assert_eq!(listed("").await, listed("?tenant=nobodys").await);
    let own = must(&world, &acme, "GET", "/api/v1/whoami", Value::Null).await;
    assert_eq!(own["tenant"], "acme");
}

#[tokio::test]
async fn metrics_are_for_those_who_scrape_and_for_admins() {
    let world = World::new().await;
    let acme = tenant(&world, "acme", json!({})).await;
    let whole = "holdfast_gateway_connections";
    for (admin, of_all) in [(world.admin.clone(), true), (acme, false)] {
        for (role, expected) in
            [("metrics", 200), ("admin", 200), ("viewer", 403), ("operator", 403), ("auditor", 403)]
        {
            let new = json!({ "role": role });
            let made = must(&world, &admin, "POST", "/api/v1/access", new).await;
            let token = made["token"].as_str().unwrap();
            let (status, text) = send(&world, token, "GET", "/metrics", Body::empty()).await;
            assert_eq!(status, expected, "{role}: {text}");
            assert_eq!(text.contains(whole), of_all && status == 200, "{role}: {text}");
        }
    }
}

/// Documents of every kind, each with `mark` in its texts.
fn documents(mark: &str) -> Vec<Value> {
    let mut one = workload("w", Value::Null);
    one["metadata"]["labels"] = json!({ "note": mark });
    one["spec"]["run"]["process"]["args"] = json!([mark]);
    let mut all = vec![
        one,
        document("Stream", "p", json!({ "devices": "all", "streams": ["s"] })),
        document("LinkBudget", "p", json!({ "devices": "all", "bytes": "1Gi", "per": "month" })),
        document(
            "DevicePolicy",
            "p",
            json!({ "devices": "all", "whenOffline": { "alarmAfter": "1h" } }),
        ),
        document(
            "Notification",
            "p",
            json!({
                "devices": "all", "to": { "webhook": { "url": format!("https://{mark}.example/") } },
            }),
        ),
        document(
            "RoleBinding",
            "p",
            json!({ "role": "viewer", "subjects": ["anna"], "devices": "all" }),
        ),
        document("Secret", "p", json!({ "data": { "password": { "generate": {} } } })),
        document("Config", "p", json!({ "data": { "motto": mark } })),
        document(
            "IdentityProvider",
            "p",
            json!({
                "issuer": format!("https://{mark}.example"), "clientId": mark, "nameClaim": "sub",
                "rules": [
                    { "claim": "groups", "value": mark, "role": "viewer", "devices": "all" },
                ],
            }),
        ),
    ];
    for document in &mut all {
        document["metadata"]["labels"] = json!({ "note": mark });
    }
    all
}

/// Gives a tenant one of everything, each with `mark` in its texts. Returns the ids that are random.
async fn furnish(world: &World, name: &str, token: &str, mark: &str) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    enrol(world, token, "d-1").await.unwrap();
    let labels = json!({ "labels": { "note": mark } });
    must(world, token, "PATCH", "/api/v1/devices/d-1", labels).await;
    for document in documents(mark) {
        let (status, answer) = apply(world, token, std::slice::from_ref(&document)).await;
        assert_eq!(status, 200, "{document}: {answer}");
    }
    let payload = codec::encode(&batch("s", 1, 5)).unwrap();
    let device = format!("{name}_d-1");
    assert_eq!(publish(world, &device, Channel::Data, payload).await, Outcome::Stored);
    let new = json!({ "labels": { "note": mark }, "allowLabels": [], "ttlSeconds": 60, "uses": 1 });
    let made = must(world, token, "POST", "/api/v1/tokens", new).await;
    ids.insert("token".into(), made["id"].as_str().unwrap().into());
    let made = must(world, token, "POST", "/api/v1/access", json!({ "comment": mark })).await;
    ids.insert("access".into(), made["id"].as_str().unwrap().into());
    let bytes = format!("artifact of {mark}");
    let (_, stored) = send(world, token, "PUT", "/api/v1/artifacts", Body::from(bytes)).await;
    let stored: Value = serde_json::from_str(&stored).unwrap();
    ids.insert("digest".into(), stored["digest"].as_str().unwrap().into());
    let user = json!({ "name": "anna", "fullName": mark, "password": words(name) });
    must(world, token, "POST", "/api/v1/users", user).await;
    let (status, said) = login(world, Some(name), &words(name)).await;
    assert_eq!(status, 201, "{said}");
    let sessions = must(world, token, "GET", "/api/v1/sessions", Value::Null).await;
    ids.insert("session".into(), sessions["items"][0]["id"].as_str().unwrap().into());
    let new = json!({ "code": mark, "forSeconds": 600, "note": mark });
    let made = must(world, token, "POST", "/api/v1/alarms/silence", new).await;
    ids.insert("silence".into(), made["id"].as_str().unwrap().into());
    ids
}

/// Requests that need a body or a query of their own to come as far as an object.
fn body(operation: &str) -> Value {
    match operation {
        "applyDocuments" | "apply" => json!({ "documents": [workload("w", Value::Null)] }),
        "query" | "ask" => json!({ "stream": "s", "select": "count" }),
        _ => json!({}),
    }
}

/// Lists of the API that hold what a tenant has.
const LISTS: [&str; 16] = [
    "/api/v1/devices",
    "/api/v1/workloads",
    "/api/v1/tokens",
    "/api/v1/access",
    "/api/v1/artifacts",
    "/api/v1/policies/streams",
    "/api/v1/policies/linkbudgets",
    "/api/v1/policies/notifications",
    "/api/v1/policies/rolebindings",
    "/api/v1/policies/secrets",
    "/api/v1/policies/configs",
    "/api/v1/policies/identityproviders",
    "/api/v1/users",
    "/api/v1/sessions",
    "/api/v1/silences",
    "/api/v1/devices/d-1/streams/s/records",
];

/// What a tenant's admin reads of its own.
async fn seen(world: &World, token: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for path in LISTS {
        let mut answer = must(world, token, "GET", path, Value::Null).await;
        assert!(!answer["items"].as_array().unwrap().is_empty(), "{path}");
        for item in answer["items"].as_array_mut().into_iter().flatten() {
            // Times of use move by themselves.
            if let Some(item) = item.as_object_mut() {
                item.retain(|key, _| !key.starts_with("lastUsed"));
            }
        }
        answer["metadata"] = Value::Null;
        all.push(answer);
    }
    all
}

/// Path of a route with the names that both tenants have, and the ids that are another tenant's.
fn path(route: &str, operation: &Value, kind: &str, theirs: &BTreeMap<String, String>) -> String {
    let id = match route {
        _ if route.contains("/access") => "access",
        _ if route.contains("/sessions") => "session",
        _ if route.contains("/silences") => "silence",
        _ => "token",
    };
    let name = match route {
        _ if route.starts_with("/api/v1/devices") || kind == "device" => "d-1",
        _ if route.starts_with("/api/v1/workloads") || kind == "workloads" => "w",
        _ if route.starts_with("/api/v1/tenants") || kind == "tenants" => "zeta",
        _ if route.starts_with("/api/v1/users") => "anna",
        _ => "p",
    };
    let path = route
        .replace("{kind}", kind)
        .replace("{digest}", &theirs["digest"])
        .replace("{stream}", "s")
        .replace("{workload}", "w")
        .replace("{device}", "d-1")
        .replace("{provider}", "p")
        .replace("{id}", &theirs[id])
        .replace("{name}", name);
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let needed = parameters.filter(|it| it["in"] == "query" && it["required"] == true);
    let needed: Vec<String> =
        needed.map(|it| format!("{}=s", it["name"].as_str().unwrap())).collect();
    match needed.is_empty() {
        true => path,
        false => format!("{path}?{}", needed.join("&")),
    }
}

/// Asks as the tenant acme, and checks that the answer has nothing of zeta. Returns its status.
async fn look(
    world: &World,
    (token, method, path): (&str, &str, &str),
    wanted: &Value,
    theirs: &BTreeMap<String, String>,
) -> u16 {
    let wanted = if wanted.is_null() { String::new() } else { wanted.to_string() };
    let sent = send(world, token, method, path, Body::from(wanted));
    let (status, text) = tokio::time::timeout(Duration::from_secs(60), sent).await.unwrap();
    assert!(!text.contains(MARK), "{method} {path}: {status} {text}");
    // A name that the caller has given is repeated in the answer, and tells nothing.
    let named =
        if path.contains("/zeta") { text.replace("\\\"zeta\\\"", "") } else { text.clone() };
    assert!(!named.contains("zeta"), "{method} {path}: {status} {text}");
    for (what, id) in theirs {
        let quoted = path.contains(id.as_str());
        assert!(quoted || !text.contains(id.as_str()), "{what}: {method} {path}: {text}");
    }
    status
}

#[tokio::test]
async fn no_route_shows_or_changes_anything_of_another_tenant_with_the_same_names() {
    let world = World::new().await;
    let (acme, zeta) =
        (tenant(&world, "acme", json!({})).await, tenant(&world, "zeta", json!({})).await);
    furnish(&world, "acme", &acme, "acme-alone").await;
    let theirs = furnish(&world, "zeta", &zeta, MARK).await;
    let before = seen(&world, &zeta).await;
    assert!(before.iter().filter(|list| list.to_string().contains(MARK)).count() > 10);
    let api: Value = serde_json::to_value(openapi()).unwrap();
    let kinds: Vec<&str> =
        AnyKind::all().map(|kind| kind.words().plural).chain(["device"]).collect();
    let (mut asked, mut not_found) = (0, Vec::new());
    for (route, operations) in api["paths"].as_object().unwrap() {
        if route == "/api/v1/events" {
            continue; // It never ends; `events_data_and_metrics_are_of_one_tenant` reads it.
        }
        let kinds = if route.contains("{kind}") { kinds.as_slice() } else { &[""] };
        for (method, operation) in operations.as_object().unwrap() {
            for kind in kinds {
                let path = path(route, operation, kind, &theirs);
                let method = method.to_uppercase();
                let id = operation["operationId"].as_str().unwrap_or_default();
                let wanted = if method == "GET" { Value::Null } else { body(id) };
                let status = look(&world, (&acme, &method, &path), &wanted, &theirs).await;
                asked += 1;
                if ["{id}", "{digest}"].iter().any(|part| route.contains(part)) {
                    assert!(status == 404 || status == 400, "{method} {path}: {status}");
                    not_found.push(route.clone());
                }
            }
        }
    }
    assert!(asked > 120 && not_found.len() > 6, "{asked} {not_found:?}");
    assert_eq!(seen(&world, &zeta).await, before, "and nothing of it was changed");
    // The backup and all tenants are for the first one alone.
    for (backup, wanted) in [
        ("/api/v1/backup", json!({ "passphrase": "correct horse battery" })),
        ("/api/v1/backup/unencrypted", Value::Null),
    ] {
        assert_eq!(ask(&world, &acme, "POST", backup, wanted).await.0, 404, "{backup}");
    }
}
