//! Tests of the scopes and the life of access tokens, and of what a device's certificate permits.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use holdfast_control::adapters::http::openapi;
use holdfast_control::api::Role;
use holdfast_control::core::rights::{Action, Actor, Need};
use holdfast_control::service::Failure;
use serde_json::{Value, json};

use crate::world::{World, advance};

/// Returns every operation of the OpenAPI document, by method and path.
fn described() -> BTreeMap<(String, String), Value> {
    let api: Value = serde_json::to_value(openapi()).unwrap();
    let mut found = BTreeMap::new();
    for (path, operations) in api["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            found.insert((method.to_uppercase(), path.clone()), operation.clone());
        }
    }
    assert!(found.len() > 60, "{found:?}");
    found
}

/// Returns a path with a name in each place for one.
fn real(route: &str) -> String {
    let route = route.replace("{digest}", &format!("sha256:{}", "0".repeat(64)));
    let parts = route.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
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
fn every_route_has_an_action_of_its_own() {
    let described = described();
    let mut left: BTreeSet<Action> = Action::ALL.iter().copied().collect();
    for ((method, path), operation) in &described {
        let action = Action::of_route(method, path);
        let action = action.unwrap_or_else(|| {
            panic!("{method} {path} is not in the table of control/core/src/rights.rs")
        });
        assert!(left.remove(&action), "{method} {path}: {action:?} belongs to another route");
        assert_eq!(operation["x-holdfast-action"], action.word(), "{method} {path}");
        let roles: Vec<&str> = action.roles().iter().map(|role| role.as_str()).collect();
        assert_eq!(operation["x-holdfast-roles"], json!(roles), "{method} {path}");
        let security = operation["security"].as_array().cloned().unwrap_or_default();
        let bearer = security.iter().any(|one| one.get("bearer").is_some());
        match action.need() {
            Need::Own => assert!(!bearer, "{method} {path} needs no token"),
            Need::Role(roles) => {
                assert!(bearer, "{method} {path} needs a token");
                let changes = method != "GET" && !action.word().starts_with("me.");
                let reads = roles.contains(&Role::Viewer);
                assert!(!changes || !reads, "{method} {path} changes something");
            }
        }
    }
    assert!(left.is_empty(), "no route for {left:?}");
}

/// Public methods of the service that operators do not reach, each with whom it is for.
const NOT_FOR_OPERATORS: &[(&str, &[&str])] = &[
    (
        "the process that serves",
        &[
            "check",
            "start",
            "bus_ports",
            "close",
            "live",
            "closed",
            "is_closed",
            "host",
            "first_start",
            "new_admin_token",
            "admin_token_was_shown",
            "tell_due",
            "tell_withheld",
            "count_trend",
            "adopt_artifacts",
            "sweep",
            "audit",
        ],
    ),
    (
        "open routes, and sums over all tenants for the first one: /healthz, /readyz, /metrics, /api/v1/ca, /api/v1/providers",
        &[
            "refusing",
            "needs_restart",
            "has_diverged",
            "check_held",
            "counters",
            "logins_refused",
            "data_trouble",
            "knows_streams",
            "batches_waiting",
            "room",
            "data_readers",
            "data_sums",
            "ca_pem",
            "authority",
            "now",
            "login_providers",
        ],
    ),
    (
        "callers who have proved something else: a token, a password, a key or a certificate",
        &[
            "authorize",
            "login",
            "session",
            "authorize_session",
            "logout",
            "enrol",
            "nonce",
            "renew",
            "admit_device",
            "begin_login",
            "finish_login",
            "begin_device_login",
            "ask_device_login",
            "take_request",
        ],
    ),
    (
        "the gateway, which asks `reader` and `may_read` of the bus's port `Readers`",
        &["read_along"],
    ),
    (
        "the check of a backup before its restore, and tests",
        &["first_tenant", "each_stream", "keyring", "passphrases"],
    ),
];

/// Parameters that show that the caller was asked, or is.
const WITNESSES: &[&str] = &["actor: &Actor", "actor: &'a Actor", "&Readable", "&[Readable]"];

/// Files of a folder and of the folders in it.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Names of the types that the service is made of, itself included: the types of its fields.
fn parts(source: &std::path::Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(source.join("service/mod.rs")).unwrap();
    let fields = text.split("pub struct Service {\n").nth(1).unwrap().split("\n}").next().unwrap();
    let part = |line: &str| Some(line.split_once("Arc<")?.1.trim_end_matches(">,").to_owned());
    let parts: BTreeSet<String> = fields.lines().filter_map(part).collect();
    assert!(parts.len() > 5, "{parts:?}");
    parts.into_iter().chain(["Service".to_owned()]).collect()
}

#[test]
fn every_method_of_the_service_takes_an_actor_or_is_not_for_operators() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let all = NOT_FOR_OPERATORS.iter().flat_map(|(_, names)| *names);
    let known: BTreeSet<&str> = all.copied().collect();
    let parts = parts(&source);
    let (mut seen, mut bare, mut asked) = (BTreeSet::new(), Vec::new(), String::new());
    for file in files(&source.join("service")) {
        let text = std::fs::read_to_string(file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        asked.push_str(text);
        let blocks = text.split("\nimpl ").skip(1).filter_map(|block| block.split_once(" {\n"));
        for (_, block) in blocks.filter(|(of, _)| parts.contains(*of)) {
            let body = block.split("\n}\n").next().unwrap();
            let body = format!("\n{body}");
            for method in body.split("\n    pub ").skip(1) {
                let signature = method.split(" {\n").next().unwrap();
                let signature = signature.trim_start_matches("async ");
                let Some(rest) = signature.strip_prefix("fn ") else { continue };
                let name = rest.split(['(', '<']).next().unwrap().to_owned();
                let has = WITNESSES.iter().any(|witness| signature.contains(witness));
                if !has && !known.contains(&*name) {
                    bare.push(name.clone());
                }
                seen.insert(name);
            }
        }
    }
    assert!(bare.is_empty(), "whoever calls these is not asked what they may: {bare:?}");
    let gone: Vec<_> = known.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(gone.is_empty() && seen.len() > 80, "no longer there: {gone:?} of {}", seen.len());
    // Some handlers ask by themselves: what they do has no method of the service.
    for path in files(&source.join("adapters/http")) {
        if path.extension().is_some_and(|it| it == "rs") {
            asked.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    for action in Action::ALL.iter().filter(|action| action.need() != Need::Own) {
        assert!(asked.contains(&format!("Action::{action:?}")), "nobody asks for {action:?}");
    }
}

#[tokio::test]
async fn a_token_does_what_its_role_allows_and_no_more() {
    let world = World::new().await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        tokens.push((token(&world, json!({ "role": role })).await, role));
    }
    for (method, path) in described().into_keys() {
        let action = Action::of_route(&method, &path).unwrap();
        let real = real(&path);
        if path == "/api/v1/events" {
            continue; // It never ends; it is read below.
        }
        let nobody = world.raw(&method, &real, &[], "").await.status().as_u16();
        let Need::Role(needed) = action.need() else {
            assert!(path.ends_with("/session") || nobody != 401, "{method} {path}: {nobody}");
            continue;
        };
        assert_eq!(nobody, 401, "{method} {path} by nobody");
        for (token, role) in tokens.iter().filter(|(_, role)| *role != Role::Admin) {
            let (status, answer) = ask(&world, &method, &real, token).await;
            // The OCI distribution API has errors of another form.
            let registry = path.starts_with("/v2/");
            let (error, code) = if registry {
                (&answer["errors"][0], "DENIED")
            } else {
                (&answer["error"], "refused")
            };
            let refused = status == 403 && error["code"] == code;
            let may = needed.contains(role);
            assert_eq!(refused, !may, "{method} {path} by {role}: {status} {answer}");
            if refused {
                let said = error["message"].as_str().unwrap();
                let needs = format!("needs the role {}", needed[0]);
                assert!(said.contains(&needs) && said.contains(role.as_str()), "{said}");
                assert!(said.contains("under Settings"), "it says what to do: {said}");
            }
        }
    }
    let (reader, operator) = (tokens[0].0.clone(), tokens[1].0.clone());
    assert!(world.service.access.authorize(&reader).is_ok(), "nothing that it tried ended it");
    // HEAD needs the same role as GET.
    assert_eq!(ask(&world, "HEAD", "/api/v1/access", &operator).await.0, 403);
    assert_eq!(ask(&world, "HEAD", "/api/v1/devices", &reader).await.0, 200);
    // A session has the role of its token.
    let head = [("content-type", "application/json")];
    let body = json!({ "token": reader }).to_string();
    let answer = world.raw("POST", "/api/v1/session", &head, &body).await;
    let begun: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(begun["roles"], json!(["viewer"]));
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let csrf = begun["csrf"].as_str().unwrap();
    let head = [("cookie", cookie), ("x-csrf-token", csrf)];
    assert_eq!(world.raw("GET", "/api/v1/devices", &head, "").await.status(), 200);
    for (method, path) in [("POST", "/api/v1/backup"), ("POST", "/api/v1/tokens")] {
        assert_eq!(world.raw(method, path, &head, "{}").await.status(), 403, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_ends_when_it_was_said_and_its_session_with_it() {
    let world = World::new().await;
    let brief = token(&world, json!({ "role": "operator", "ttlSeconds": 3_600 })).await;
    let head = [("content-type", "application/json")];
    let body = json!({ "token": brief }).to_string();
    let answer = world.raw("POST", "/api/v1/session", &head, &body).await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    let head = [("cookie", cookie.split(';').next().unwrap())];
    assert_eq!(ask(&world, "GET", "/api/v1/devices", &brief).await.0, 200);
    assert_eq!(world.raw("GET", "/api/v1/devices", &head, "").await.status(), 200);
    let held = world.service.access.authorize(&brief).unwrap();
    advance(3_601);
    let (status, answer) = ask(&world, "GET", "/api/v1/devices", &brief).await;
    assert_eq!(status, 401);
    assert!(answer["error"]["message"].as_str().unwrap().contains("has ended"), "{answer}");
    assert_eq!(world.raw("GET", "/api/v1/devices", &head, "").await.status(), 401);
    assert!(!world.service.access.holds(&held), "long answers end with it");
    let endless = json!({ "ttlSeconds": 9, "endless": true });
    let long = json!({ "name": "x".repeat(81) });
    for bad in [
        json!({ "ttlSeconds": 0 }),
        json!({ "role": "root" }),
        json!({ "ttl": 1 }),
        json!({ "selector": "" }),
        json!({ "selector": "a=b,," }),
        endless,
        long,
    ] {
        assert_eq!(world.request("POST", "/api/v1/access", bad).await.0, 400);
    }
}

#[tokio::test]
async fn somebody_can_always_make_another_token() {
    let world = World::new().await;
    token(&world, json!({ "role": "operator", "endless": true })).await;
    token(&world, json!({ "role": "admin", "ttlSeconds": 60 })).await;
    token(&world, json!({ "role": "admin", "endless": true, "selector": "site=kiel" })).await;
    let (status, answer) = world.request("DELETE", "/api/v1/access/admin", Value::Null).await;
    assert_eq!(status, 409, "{answer}");
    let rotate = "/api/v1/access/admin/rotate";
    let (status, answer) = world.request("POST", rotate, json!({ "ttlSeconds": 60 })).await;
    assert_eq!(status, 409, "an end would lock everybody out: {answer}");
    token(&world, json!({ "role": "admin", "endless": true })).await;
    let (status, answer) = world.request("DELETE", "/api/v1/access/admin", Value::Null).await;
    assert_eq!(status, 204, "{answer}");
}

#[tokio::test]
async fn tokens_from_before_there_were_roles_keep_what_they_could_do() {
    let world = World::new().await;
    let mut made = Vec::new();
    let mut records = Vec::new();
    for scope in ["read", "operate", "admin", ""] {
        let old = token(&world, json!({})).await;
        let id = old.split('.').nth(1).unwrap().to_owned();
        let key = format!("access/default/{id}");
        let kept = holdfast_control::ports::store::Store::read(&*world.store, &key, 1).unwrap();
        let mut record: Value = serde_json::from_slice(&kept[0].1).unwrap();
        let fields = record.as_object_mut().unwrap();
        for newer in ["role", "name", "expiresAt"] {
            assert!(fields.remove(newer).is_some(), "{newer}");
        }
        if !scope.is_empty() {
            fields.insert("scope".into(), scope.into());
        }
        fields.insert("comment".into(), format!("of old {scope}").into());
        records.push((key, serde_json::to_vec(&record).unwrap()));
        made.push((scope, old));
    }
    let world = world.with_records(records).await;
    for (scope, token) in made {
        let (_, told) = ask(&world, "GET", "/api/v1/whoami", &token).await;
        let role = match scope {
            "read" => "viewer",
            "operate" => "operator",
            _ => "admin",
        };
        assert_eq!(told["grants"][0]["role"], role, "{scope}: {told}");
        assert_eq!(told.get("expiresAt"), None, "it had no end: {told}");
    }
    let listed = world.request("GET", "/api/v1/access", Value::Null).await.1;
    assert!(listed.to_string().contains("of old operate"), "{listed}");
}

#[tokio::test]
async fn a_token_ends_after_90_days_unless_told_otherwise_and_its_name_is_its_own() {
    let world = World::new().await;
    let usual = token(&world, json!({ "name": "pipeline" })).await;
    let (status, answer) =
        world.request("POST", "/api/v1/access", json!({ "name": "pipeline" })).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("rotate"), "{answer}");
    let endless = token(&world, json!({ "endless": true })).await;
    advance(90 * 86_400 - 1);
    assert_eq!(ask(&world, "GET", "/api/v1/devices", &usual).await.0, 200);
    advance(1);
    assert_eq!(ask(&world, "GET", "/api/v1/devices", &usual).await.0, 401);
    assert_eq!(ask(&world, "GET", "/api/v1/devices", &endless).await.0, 200);
    token(&world, json!({ "name": "pipeline" })).await;
}

#[tokio::test]
async fn a_rotated_token_leaves_no_gap() {
    let world = World::new().await;
    let former = token(&world, json!({ "name": "pipeline", "role": "operator" })).await;
    let id = former.split('.').nth(1).unwrap().to_owned();
    let path = format!("/api/v1/access/{id}/rotate");
    let (status, answer) = world.request("POST", &path, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let fresh = answer["token"].as_str().unwrap().to_owned();
    assert!(fresh != former && fresh.starts_with(&format!("hfa1.{id}.")));
    for token in [&former, &fresh] {
        assert_eq!(ask(&world, "GET", "/api/v1/devices", token).await.0, 200);
    }
    advance(86_400);
    assert_eq!(ask(&world, "GET", "/api/v1/devices", &former).await.0, 401, "its day is over");
    assert_eq!(ask(&world, "GET", "/api/v1/devices", &fresh).await.0, 200);
    // A stolen one ends at once.
    let (_, answer) = world.request("POST", &path, json!({ "overlapSeconds": 0 })).await;
    assert_eq!(ask(&world, "GET", "/api/v1/devices", &fresh).await.0, 401, "{answer}");
    let newest = answer["token"].as_str().unwrap();
    assert_eq!(ask(&world, "GET", "/api/v1/devices", newest).await.0, 200);
    let (status, _) = world.request("POST", "/api/v1/access/none/rotate", json!({})).await;
    assert_eq!(status, 404);
    let bad = json!({ "overlapSeconds": 2_592_001 });
    assert_eq!(world.request("POST", &path, bad).await.0, 400);
}

#[tokio::test]
async fn whoever_asks_is_told_what_they_may_do_and_why() {
    let world = World::new().await;
    let kiel = token(&world, json!({ "role": "operator", "selector": "site=kiel" })).await;
    world.device("d-1").await;
    world.device("d-2").await;
    let labels = json!({ "labels": { "site": "kiel" } });
    assert_eq!(world.request("PATCH", "/api/v1/devices/d-1", labels).await.0, 200);
    let (_, told) = ask(&world, "GET", "/api/v1/whoami", &kiel).await;
    assert_eq!(told["grants"][0]["selector"], "site=kiel", "{told}");
    let can = |action: &str, object: &str| {
        let path = format!("/api/v1/can?action={action}&object={object}");
        let (world, kiel) = (&world, kiel.clone());
        async move { ask(world, "GET", &path, &kiel).await }
    };
    let (_, yes) = can("device.revoke", "d-1").await;
    assert_eq!((&yes["allowed"], &yes["reach"]), (&json!(true), &json!("site=kiel")), "{yes}");
    assert_eq!(can("device.revoke", "d-2").await.0, 404, "as a device that does not exist");
    let (_, no) = can("backup.read", "").await;
    assert!(no["why"].as_str().unwrap().contains("needs the role admin"), "{no}");
    assert_eq!(can("device.revoke", "nobody").await.0, 404);
    let (status, answer) = can("device.fly", "d-1").await;
    assert!(status == 400 && answer.to_string().contains("whoami"), "{answer}");
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
    let of = |name: &str| Actor::device("default".parse().unwrap(), name.parse().unwrap());
    let device = of("d-1");
    let may = |digest: &str| world.service.workloads.may_fetch(&device, &digest.parse().unwrap());
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
    let nobody = of("nobody");
    assert!(world.service.workloads.may_fetch(&nobody, &digests[0].parse().unwrap()).is_err());
}
