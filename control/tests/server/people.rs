//! Tests of local users: login with password and second factor, roles by bindings, sessions, and the
//! last admin.

use std::sync::Arc;

use axum::http::HeaderMap;
use holdfast_control::adapters::keyring::{LocalKeyring, Place};
use serde_json::{Value, json};

use crate::world::{World, advance, clock as now};

const SESSION: &str = "/api/v1/session";
const WORDS: &str = "correct horse battery";

/// A login: its cookie and its CSRF token.
struct Open {
    cookie: String,
    csrf: String,
    document: Value,
}

async fn login(world: &World, body: Value) -> Result<Open, (u16, Value)> {
    let head = [("content-type", "application/json"), ("user-agent", "test browser")];
    let answer = world.raw("POST", SESSION, &head, &body.to_string()).await;
    let status = answer.status().as_u16();
    let document: Value = serde_json::from_slice(answer.body()).unwrap();
    if status != 201 {
        return Err((status, document));
    }
    let cookie = |head: &HeaderMap| {
        head["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let csrf = document["csrf"].as_str().unwrap().to_owned();
    Ok(Open { cookie: cookie(answer.headers()), csrf, document })
}

async fn refused(world: &World, body: Value) -> (u16, Value) {
    login(world, body).await.err().expect("it was let in")
}

impl Open {
    async fn ask(&self, world: &World, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = [("cookie", self.cookie.as_str()), ("x-csrf-token", &self.csrf)];
        let answer = world.raw(method, path, &head, &body).await;
        let json = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        (answer.status().as_u16(), json)
    }
}

async fn user(world: &World, name: &str) {
    let body = json!({ "name": name, "fullName": "Anna Berg", "password": WORDS });
    let (status, answer) = world.request("POST", "/api/v1/users", body).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer.get("password"), None, "a password that was given is not repeated");
}

fn binding(name: &str, role: &str, subjects: &[&str], devices: Value) -> Value {
    json!({ "documents": [{
        "apiVersion": "holdfast/v1", "kind": "RoleBinding", "metadata": { "name": name },
        "spec": { "role": role, "subjects": subjects, "devices": devices },
    }] })
}

async fn bind(world: &World, name: &str, role: &str, subjects: &[&str], devices: Value) {
    let body = binding(name, role, subjects, devices);
    let (status, answer) = world.request("POST", "/api/v1/apply", body).await;
    assert_eq!(status, 200, "{answer}");
}

fn anna() -> Value {
    json!({ "user": "anna", "password": WORDS })
}

#[tokio::test]
async fn a_person_logs_in_and_may_what_bindings_say() {
    let world = World::new().await;
    user(&world, "anna").await;
    let open = login(&world, anna()).await.ok().unwrap();
    assert_eq!(open.document["operator"], "user anna");
    assert_eq!((&open.document["roles"], &open.document["mustChange"]), (&json!([]), &json!(true)));
    let (status, answer) = open.ask(&world, "GET", "/api/v1/devices", Value::Null).await;
    assert_eq!(status, 403);
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(said.contains("user anna has no role"), "default deny, in words: {said}");

    world.device("d-1").await;
    world.device("d-2").await;
    let labels = json!({ "labels": { "site": "kiel" } });
    assert_eq!(world.request("PATCH", "/api/v1/devices/d-1", labels).await.0, 200);
    let kiel = json!({ "matchLabels": { "site": "kiel" } });
    bind(&world, "kiel", "operator", &["anna"], kiel).await;
    let path = |name: &str| format!("/api/v1/devices/{name}");
    assert_eq!(open.ask(&world, "GET", &path("d-1"), Value::Null).await.0, 200, "at once");
    assert_eq!(open.ask(&world, "GET", &path("d-2"), Value::Null).await.0, 404);
    let (_, told) = open.ask(&world, "GET", "/api/v1/whoami", Value::Null).await;
    assert_eq!(told["grants"][0]["by"], "role binding kiel", "{told}");
    assert_eq!(told["caller"], "user anna");
    let deleted = world.request("DELETE", "/api/v1/policies/rolebindings/kiel", Value::Null).await;
    assert_eq!(deleted.0, 204, "{deleted:?}");
    assert_eq!(open.ask(&world, "GET", &path("d-1"), Value::Null).await.0, 403, "at once, too");
}

#[tokio::test]
async fn only_admins_give_roles() {
    let world = World::new().await;
    user(&world, "anna").await;
    bind(&world, "b", "operator", &["anna"], json!("all")).await;
    let open = login(&world, anna()).await.ok().unwrap();
    let body = binding("mine", "admin", &["anna"], json!("all"));
    let (status, answer) = open.ask(&world, "POST", "/api/v1/apply", body).await;
    assert_eq!(status, 403, "{answer}");
    assert!(answer.to_string().contains("RoleBinding documents"), "{answer}");
    let gone = open.ask(&world, "DELETE", "/api/v1/policies/rolebindings/b", Value::Null).await;
    assert_eq!(gone.0, 403);
    for (method, path) in [("POST", "/api/v1/users"), ("DELETE", "/api/v1/users/anna")] {
        assert_eq!(open.ask(&world, method, path, json!({ "name": "x" })).await.0, 403);
    }
}

#[tokio::test]
async fn wrong_names_and_passwords_are_told_alike_and_slowed_down() {
    let world = World::new().await;
    user(&world, "anna").await;
    user(&world, "bob").await;
    let wrong = |user: &str| json!({ "user": user, "password": "something else" });
    let one = refused(&world, wrong("anna")).await;
    let other = refused(&world, wrong("nobody")).await;
    assert_eq!(one, other, "nobody learns which users there are");
    assert_eq!(one.0, 401);
    for _ in 0..9 {
        assert_eq!(refused(&world, wrong("anna")).await.0, 401);
    }
    assert_eq!(refused(&world, anna()).await.0, 429, "the right one waits too, for this user");
    let bob = json!({ "user": "bob", "password": WORDS });
    assert!(login(&world, bob).await.is_ok(), "and nobody else does");
    advance(60);
    assert!(login(&world, anna()).await.is_ok());
    let audit = world.request("GET", "/api/v1/audit?limit=200", Value::Null).await.1.to_string();
    assert!(audit.contains("session.refused") && audit.contains("user nobody"), "{audit}");
    assert!(!audit.contains("something else"), "no password stands in the log");
    for bad in [json!({}), json!({ "user": "anna" }), json!({ "user": "anna", "pass": "x" })] {
        assert_eq!(refused(&world, bad).await.0, 400);
    }
    let long = json!({ "user": "anna", "password": "x".repeat(100_000) });
    assert!([401, 413].contains(&refused(&world, long).await.0));
    let elsewhere = json!({ "user": "anna", "password": WORDS, "tenant": "zeta" });
    assert_eq!(refused(&world, elsewhere).await.0, 401);
}

#[tokio::test]
async fn a_user_changes_the_password_and_other_sessions_end() {
    let world = World::new().await;
    user(&world, "anna").await;
    bind(&world, "b", "viewer", &["anna"], json!("all")).await;
    let (mine, other) =
        (login(&world, anna()).await.ok().unwrap(), login(&world, anna()).await.ok().unwrap());
    let change = |password: &str, new: &str| json!({ "password": password, "newPassword": new });
    let path = "/api/v1/me/password";
    let fresh = "another good password";
    assert_eq!(mine.ask(&world, "POST", path, change("wrong one here", fresh)).await.0, 403);
    assert_eq!(mine.ask(&world, "POST", path, change(WORDS, "short")).await.0, 400);
    assert_eq!(mine.ask(&world, "POST", path, change(WORDS, fresh)).await.0, 204);
    assert_eq!(mine.ask(&world, "GET", "/api/v1/devices", Value::Null).await.0, 200);
    assert_eq!(other.ask(&world, "GET", "/api/v1/devices", Value::Null).await.0, 401);
    assert_eq!(refused(&world, anna()).await.0, 401);
    let again = login(&world, json!({ "user": "anna", "password": fresh })).await.ok().unwrap();
    assert_eq!(again.document.get("mustChange"), None, "it is the user's own now");
    // A password set by somebody else ends everything, and is to be changed.
    let (_, set) = world.request("POST", "/api/v1/users/anna/password", json!({})).await;
    let made = set["password"].as_str().unwrap();
    assert_eq!(again.ask(&world, "GET", "/api/v1/devices", Value::Null).await.0, 401);
    let open = login(&world, json!({ "user": "anna", "password": made })).await.ok().unwrap();
    assert_eq!(open.document["mustChange"], true);
    let token = world.request("POST", path, change("a", "b")).await;
    assert_eq!(token.0, 409, "an access token has no password: {token:?}");
}

/// Code of an authenticator program, at the test's time.
fn code(secret: &str) -> String {
    let mut bits = 0_u64;
    let mut count = 0;
    let mut bytes = Vec::new();
    for letter in secret.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            _ => letter - b'2' + 26,
        };
        bits = (bits << 5) | u64::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 255).unwrap());
        }
    }
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let tag = ring::hmac::sign(&key, &(now() / 30).to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let four = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", four % 1_000_000)
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_each_code_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("master.key"));
    let world = World::with_keyring(Arc::new(LocalKeyring::begin(place, 7).unwrap())).await;
    user(&world, "anna").await;
    bind(&world, "b", "viewer", &["anna"], json!("all")).await;
    let open = login(&world, anna()).await.ok().unwrap();
    let path = "/api/v1/me/second-factor";
    let proof = json!({ "password": WORDS });
    assert_eq!(open.ask(&world, "POST", path, json!({ "password": "no" })).await.0, 403);
    let (status, begun) = open.ask(&world, "POST", path, proof.clone()).await;
    assert_eq!(status, 200, "{begun}");
    let secret = begun["secret"].as_str().unwrap();
    assert!(begun["address"].as_str().unwrap().starts_with("otpauth://totp/"));
    assert!(login(&world, anna()).await.is_ok(), "it does not count before it is confirmed");
    let confirm = format!("{path}/confirm");
    let wrong = open.ask(&world, "POST", &confirm, json!({ "code": "000000" })).await;
    assert_eq!((wrong.0, &wrong.1["error"]["code"]), (401, &json!("second-factor")));
    let right = json!({ "code": code(secret) });
    assert_eq!(open.ask(&world, "POST", &confirm, right).await.0, 204);

    let (status, answer) = refused(&world, anna()).await;
    assert_eq!((status, &answer["error"]["code"]), (401, &json!("second-factor")));
    let with = |code: String| json!({ "user": "anna", "password": WORDS, "code": code });
    assert_eq!(refused(&world, with(code(secret))).await.0, 401, "it was used to confirm");
    advance(30);
    let once = code(secret);
    assert!(login(&world, with(once.clone())).await.is_ok());
    assert_eq!(refused(&world, with(once)).await.0, 401, "a code counts once");
    let stored = holdfast_control::ports::store::Store::read(&*world.store, "user/", 9).unwrap();
    let stored = String::from_utf8(stored[0].1.clone()).unwrap();
    assert!(!stored.contains(secret) && !stored.contains("horse"), "{stored}");
    // It is sealed again under a new data key.
    let rotated =
        world.request("POST", "/api/v1/master-key/rotate", json!({ "dataKeys": true })).await;
    assert_eq!(rotated.0, 200, "{rotated:?}");
    let again = holdfast_control::ports::store::Store::read(&*world.store, "user/", 9).unwrap();
    assert_ne!(stored.as_bytes(), again[0].1, "the row was written anew");
    advance(30);
    assert!(login(&world, with(code(secret))).await.is_ok(), "and still opens");
    // Who has lost the program is let in by an admin.
    let gone = world.request("DELETE", "/api/v1/users/anna/second-factor", Value::Null).await;
    assert_eq!(gone.0, 204);
    assert!(login(&world, anna()).await.is_ok());
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_admins() {
    let world = World::new().await;
    user(&world, "anna").await;
    bind(&world, "b", "viewer", &["anna"], json!("all")).await;
    let open = login(&world, anna()).await.ok().unwrap();
    assert_eq!(open.ask(&world, "GET", "/api/v1/sessions", Value::Null).await.0, 403);
    let (_, listed) = world.request("GET", "/api/v1/sessions", Value::Null).await;
    let item = &listed["items"][0];
    assert_eq!((&item["caller"], &item["agent"]), (&json!("user anna"), &json!("test browser")));
    let secret = open.cookie.split_once('=').unwrap().1;
    assert!(!listed.to_string().contains(secret), "an id opens nothing");
    let path = format!("/api/v1/sessions/{}", item["id"].as_str().unwrap());
    assert_eq!(world.request("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(world.request("DELETE", &path, Value::Null).await.0, 404);
    assert_eq!(open.ask(&world, "GET", "/api/v1/devices", Value::Null).await.0, 401);
    // A disabled user is out at once.
    let open = login(&world, anna()).await.ok().unwrap();
    let off = json!({ "disabled": true });
    assert_eq!(world.request("PATCH", "/api/v1/users/anna", off).await.0, 200);
    assert_eq!(open.ask(&world, "GET", "/api/v1/devices", Value::Null).await.0, 401);
    assert_eq!(refused(&world, anna()).await.0, 401);
}

#[tokio::test]
async fn the_last_admin_stays_whoever_it_is() {
    let world = World::new().await;
    let token = |method: &'static str| world.request(method, "/api/v1/access/admin", Value::Null);
    assert_eq!(token("DELETE").await.0, 409, "the token of the first start is the only one");
    user(&world, "anna").await;
    bind(&world, "admins", "admin", &["anna"], json!("all")).await;
    let open = login(&world, anna()).await.ok().unwrap();
    assert_eq!(token("DELETE").await.0, 204, "now anna can let others in");
    let binding = "/api/v1/policies/rolebindings/admins";
    let delete = |path: &'static str| open.ask(&world, "DELETE", path, Value::Null);
    assert_eq!(delete(binding).await.0, 409);
    assert_eq!(delete("/api/v1/users/anna").await.0, 409);
    let off = open.ask(&world, "PATCH", "/api/v1/users/anna", json!({ "disabled": true })).await;
    assert_eq!(off.0, 409, "{off:?}");
    let less = self::binding("admins", "viewer", &["anna"], json!("all"));
    let (status, answer) = open.ask(&world, "POST", "/api/v1/apply", less).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer.to_string().contains("somebody else the role admin"), "{answer}");
}

#[tokio::test]
async fn a_storm_of_logins_is_bounded_and_leaves_open_sessions_alone() {
    let world = World::new().await;
    user(&world, "anna").await;
    bind(&world, "b", "viewer", &["anna"], json!("all")).await;
    let open = login(&world, anna()).await.ok().unwrap();
    let mut refusals = (0, 0);
    for number in 0..300 {
        let body = json!({ "user": format!("u-{}", number % 20), "password": "guess guess guess" });
        match refused(&world, body).await.0 {
            401 => refusals.0 += 1,
            429 => refusals.1 += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(refusals, (200, 100), "ten guesses for each user from one address");
    assert_eq!(open.ask(&world, "GET", "/api/v1/devices", Value::Null).await.0, 200);
}
