//! Tests of sessions of the pages and of their access tokens.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use holdfast_control::core::model::key;
use holdfast_control::core::records::SessionRecord;
use holdfast_control::core::session::{MAX_SESSIONS, Secret};
use serde_json::{Value, json};

use crate::world::{World, clock};

const SESSION: &str = "/api/v1/session";
const JSON: (&str, &str) = ("content-type", "application/json");

fn body(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap_or(Value::Null)
}

fn code(answer: &Response<Bytes>) -> (u16, String) {
    let code = body(answer)["error"]["code"].as_str().unwrap_or_default().to_owned();
    (answer.status().as_u16(), code)
}

fn refused(status: u16, word: &str) -> (u16, String) {
    (status, word.to_owned())
}

async fn log_in(world: &World, token: &str) -> Response<Bytes> {
    world.raw("POST", SESSION, &[JSON], &json!({ "token": token }).to_string()).await
}

/// Begins a session and returns its cookie and CSRF token.
async fn session(world: &World, token: &str) -> (String, String) {
    let answer = log_in(world, token).await;
    assert_eq!(answer.status(), 201, "{answer:?}");
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    let csrf = body(&answer)["csrf"].as_str().unwrap().to_owned();
    (set.split(';').next().unwrap().to_owned(), csrf)
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_scripts_cannot_read() {
    let world = World::new().await;
    let answer = log_in(&world, &world.admin).await;
    assert_eq!(answer.status(), 201);
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=43200");
    let (name, value) = cookie.split_once('=').unwrap();
    assert_eq!((name, value.len()), ("__Host-holdfast", 64));
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let begun = body(&answer);
    assert_eq!(begun["operator"], "admin");
    assert!(!begun.to_string().contains(value), "the secret is in the cookie alone");
    let again = world.raw("GET", SESSION, &[("cookie", cookie)], "").await;
    assert_eq!((again.status().as_u16(), body(&again)), (200, begun));
    for method in ["GET", "DELETE"] {
        let path = format!("{SESSION}?bogus=1");
        let wrong = world.raw(method, &path, &[("cookie", cookie)], "").await;
        assert_eq!(code(&wrong), refused(400, "invalid"), "{method}: {:?}", body(&wrong));
    }
    let (_, page) = world.request("GET", "/api/v1/audit?order=newest&limit=1", json!(null)).await;
    assert_eq!(page["items"][0]["action"], "session.begin", "{page}");
    for path in ["/api/v1/devices", "/api/v1/fleet", "/api/v1/access"] {
        assert_eq!(world.raw("GET", path, &[("cookie", cookie)], "").await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_login_is_refused() {
    let world = World::new().await;
    let good = json!({ "token": world.admin }).to_string();
    for (headers, body, expected) in [
        (&[JSON][..], "", refused(400, "invalid")),
        (&[JSON][..], "{\"token\":1}", refused(400, "invalid")),
        (&[JSON][..], "{\"token\":\"x\"}", refused(401, "unauthorized")),
        (&[JSON][..], "{\"token\":\"hfa1.admin.00\"}", refused(401, "unauthorized")),
        // A form of a foreign page can send these content types.
        (&[][..], &good, refused(400, "invalid")),
        (&[("content-type", "text/plain")][..], &good, refused(400, "invalid")),
        (&[("content-type", "text/plain; a=application/json")][..], &good, refused(400, "invalid")),
    ] {
        let answer = world.raw("POST", SESSION, headers, body).await;
        assert_eq!(code(&answer), expected, "{headers:?} {body}");
        assert!(!answer.headers().contains_key("set-cookie"));
    }
    for cookie in ["", "__Host-holdfast=", "a=b", &format!("__Host-holdfast={}", "0".repeat(64))] {
        for (method, path) in [("GET", SESSION), ("DELETE", SESSION), ("GET", "/api/v1/devices")] {
            let answer = world.raw(method, path, &[("cookie", cookie)], "").await;
            assert_eq!(code(&answer), refused(401, "unauthorized"), "{method} {path} {cookie}");
            // Authentication comes before the check of parameters.
            let path = format!("{path}?token=x");
            let answer = world.raw(method, &path, &[("cookie", cookie)], "").await;
            assert_eq!(code(&answer), refused(401, "unauthorized"), "{method} {path} {cookie}");
        }
    }
}

#[tokio::test]
async fn a_change_in_a_session_must_be_meant() {
    let world = World::new().await;
    let (cookie, csrf) = session(&world, &world.admin).await;
    let (_, foreign) = session(&world, &world.admin).await;
    let cookie = ("cookie", cookie.as_str());
    let tokens = || world.request("GET", "/api/v1/tokens", json!(null));
    for headers in [
        vec![cookie],
        vec![cookie, ("x-csrf-token", "")],
        vec![cookie, ("x-csrf-token", "x")],
        vec![cookie, ("x-csrf-token", &foreign)],
    ] {
        for (method, path) in [
            ("POST", "/api/v1/tokens"),
            ("DELETE", "/api/v1/workloads/w"),
            ("PATCH", "/api/v1/devices/d"),
            ("PUT", "/api/v1/artifacts"),
            ("POST", "/api/v1/restore"),
            ("DELETE", SESSION),
        ] {
            let answer =
                world.raw(method, path, &headers, if method == "DELETE" { "" } else { "{}" }).await;
            assert_eq!(code(&answer), refused(403, "csrf"), "{method} {path} {headers:?}");
        }
    }
    assert_eq!(tokens().await.1["items"], json!([]), "nothing was done");
    let meant = [cookie, ("x-csrf-token", csrf.as_str())];
    assert_eq!(world.raw("POST", "/api/v1/tokens", &meant, "{}").await.status(), 201);
    assert_eq!(tokens().await.1["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.raw("HEAD", "/api/v1/tokens", &[cookie], "").await.status(), 200);
    // A request with a token needs no CSRF proof, and a valid cookie does not help a wrong token.
    let bearer = format!("Bearer {}", world.admin);
    let given = [("authorization", bearer.as_str())];
    assert_eq!(world.raw("POST", "/api/v1/tokens", &given, "{}").await.status(), 201);
    let wrong = [cookie, meant[1], ("authorization", "Bearer hfa1.admin.00")];
    for (method, path) in [("GET", "/api/v1/devices"), ("POST", "/api/v1/tokens"), ("GET", SESSION)]
    {
        let answer = world.raw(method, path, &wrong, if method == "GET" { "" } else { "{}" }).await;
        assert_eq!(code(&answer), refused(401, "unauthorized"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_logout_ends_the_session_at_the_server() {
    let world = World::new().await;
    let (cookie, csrf) = session(&world, &world.admin).await;
    let (other, _) = session(&world, &world.admin).await;
    let meant = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    let answer = world.raw("DELETE", SESSION, &meant, "").await;
    assert_eq!(answer.status(), 204);
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    assert_eq!(set, "__Host-holdfast=; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=0");
    let get = |cookie: String| {
        let world = &world;
        async move { world.raw("GET", SESSION, &[("cookie", &cookie)], "").await.status() }
    };
    assert_eq!(get(cookie.clone()).await, 401, "the cookie may have been copied");
    assert_eq!(get(other).await, 200, "another session is another one");
    let world = world.restart().await;
    assert_eq!(world.raw("GET", SESSION, &[("cookie", &cookie)], "").await.status(), 401);
}

#[tokio::test]
async fn sessions_survive_a_restart_and_end_in_time() {
    let world = World::new().await;
    let (cookie, csrf) = session(&world, &world.admin).await;
    let of = |byte: u8, expires_at: u64| {
        let record = SessionRecord {
            access: "admin".into(),
            created_at: 1,
            expires_at,
            ..SessionRecord::default()
        };
        let secret = Secret::new([byte; 32]);
        let record = serde_json::to_vec(&record).unwrap();
        (
            secret.cookie(),
            (key::of(&"default".parse().unwrap(), &key::session(&secret.digest())), record),
        )
    };
    let (over, over_record) = of(1, clock());
    let (short, short_record) = of(2, clock() + 1_000);
    let world = world.with_records(vec![over_record, short_record]).await;
    let get = |cookie: String| {
        let world = &world;
        async move {
            let cookie = cookie.split(';').next().unwrap();
            world.raw("GET", SESSION, &[("cookie", cookie)], "").await
        }
    };
    assert_eq!(body(&get(cookie).await)["csrf"], csrf);
    assert_eq!(get(short).await.status(), 200);
    assert_eq!(get(over).await.status(), 401);
}

#[tokio::test]
async fn there_is_an_end_to_the_number_of_sessions() {
    let world = World::new().await;
    let mut records = Vec::new();
    for number in 0..MAX_SESSIONS as u64 {
        let mut random = [0; 32];
        random[..8].copy_from_slice(&number.to_le_bytes());
        let (created_at, expires_at) = (1 + number, clock() + 1_000);
        let record = SessionRecord {
            access: "admin".into(),
            created_at,
            expires_at,
            ..SessionRecord::default()
        };
        let digest = Secret::new(random).digest();
        records.push((
            key::of(&"default".parse().unwrap(), &key::session(&digest)),
            serde_json::to_vec(&record).unwrap(),
        ));
    }
    let world = world.with_records(records).await;
    let of = |number: u64| {
        let mut random = [0; 32];
        random[..8].copy_from_slice(&number.to_le_bytes());
        Secret::new(random)
    };
    assert!(world.service.access.session(&of(0)).is_ok());
    let (cookie, _) = session(&world, &world.admin).await;
    assert!(world.service.access.session(&of(0)).is_err(), "the oldest goes");
    assert!(world.service.access.session(&of(1)).is_ok());
    let world = world.restart().await;
    assert!(world.service.access.session(&of(0)).is_err(), "for ever");
    assert_eq!(world.raw("GET", SESSION, &[("cookie", &cookie)], "").await.status(), 200);
}

#[tokio::test]
async fn whoever_guesses_must_wait() {
    let world = World::new().await;
    for _ in 0..10 {
        assert_eq!(log_in(&world, "hfa1.admin.00").await.status(), 401);
    }
    let answer = log_in(&world, "hfa1.admin.00").await;
    assert_eq!(code(&answer), refused(429, "too-many"));
    assert_eq!(answer.headers()["retry-after"], "6");
    assert_eq!(world.service.access.logins_refused().load(Ordering::Relaxed), 11);
    // Another person at the same address with a valid token is let in all the same.
    for _ in 0..3 {
        session(&world, &world.admin).await;
    }
    assert_eq!(code(&log_in(&world, "hfa1.admin.00").await), refused(429, "too-many"));
    assert_eq!(world.request("GET", "/api/v1/devices", json!(null)).await.0, 200, "only logins");
}

#[tokio::test]
async fn a_backup_holds_no_session_and_a_restore_ends_them() {
    let world = World::new().await;
    let (cookie, _) = session(&world, &world.admin).await;
    world.device("d-1").await;
    world.connect("d-1", 1);
    world.disconnect("d-1", 1, "gone");
    let (_, tar) = world.send("POST", "/api/v1/backup/unencrypted", &[], Body::empty()).await;
    let text = String::from_utf8_lossy(&tar);
    assert!(text.contains("access/default/admin") && text.contains("device/default/d-1"));
    assert!(!text.contains("session/"), "a stolen backup opens no session");
    assert!(!text.contains("history/"));
    // A backup into which somebody wrote a session opens none either.
    let secret = Secret::new([7; 32]);
    let record = json!({ "access": "admin", "createdAt": 1, "expiresAt": clock() + 1_000 });
    let line = json!({ "key": key::of(&"default".parse().unwrap(), &key::session(&secret.digest())), "value": record }).to_string();
    let forged = with_line(&tar, &line);
    for tar in [tar.to_vec(), forged] {
        let (status, answer) = world.send("POST", "/api/v1/restore", &[], Body::from(tar)).await;
        assert_eq!(status, 200, "{answer:?}");
        assert_eq!(world.raw("GET", SESSION, &[("cookie", &cookie)], "").await.status(), 401);
        assert!(world.service.access.session(&secret).is_err());
    }
    let world = world.restart().await;
    assert!(world.service.access.session(&secret).is_err());
    assert_eq!(world.raw("GET", SESSION, &[("cookie", &cookie)], "").await.status(), 401);
}

/// Returns a backup with one more line in its store.
fn with_line(tar: &[u8], line: &str) -> Vec<u8> {
    use std::io::Read as _;
    let mut out = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if path.ends_with("store.ndjson") {
            bytes.extend_from_slice(format!("{line}\n").as_bytes());
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        out.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    out.into_inner().unwrap()
}

#[tokio::test]
async fn access_tokens_come_and_go_and_take_their_sessions_along() {
    let mut world = World::new().await;
    let (status, made) =
        world.request("POST", "/api/v1/access", json!({ "name": " night shift " })).await;
    assert_eq!(status, 201, "{made}");
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(token.starts_with(&format!("hfa1.{id}.")));
    let list = || world.request("GET", "/api/v1/access", json!(null));
    let item = |page: Value, name: &str| {
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["metadata"]["name"] == *name)
    };
    let unused = item(list().await.1, id).unwrap();
    assert_eq!((&unused["name"], &unused["lastUsedAt"]), (&json!("night shift"), &Value::Null));
    assert!(unused["metadata"]["createdAt"].is_string());
    assert!(!unused.to_string().contains(token.rsplit('.').next().unwrap()));
    let (cookie, _) = session(&world, token).await;
    let (mine, _) = session(&world, &world.admin).await;
    assert!(item(list().await.1, id).unwrap()["lastUsedAt"].is_string());

    let path = format!("/api/v1/access/{id}");
    assert_eq!(world.request("DELETE", &path, json!(null)).await.0, 204);
    assert_eq!(world.request("DELETE", &path, json!(null)).await.0, 404);
    let get = |cookie: String| {
        let world = &world;
        async move { world.raw("GET", SESSION, &[("cookie", &cookie)], "").await.status() }
    };
    assert_eq!(get(cookie.clone()).await, 401, "its session went with it");
    assert_eq!(get(mine).await, 200);
    let bearer = format!("Bearer {token}");
    let answer = world.raw("GET", "/api/v1/devices", &[("authorization", &bearer)], "").await;
    assert_eq!(answer.status(), 401);
    let (status, last) = world.request("DELETE", "/api/v1/access/admin", json!(null)).await;
    assert_eq!((status, &last["error"]["code"]), (409, &json!("conflict")), "{last}");

    world = world.restart().await;
    assert_eq!(world.raw("GET", SESSION, &[("cookie", &cookie)], "").await.status(), 401);
    let admin = &world.request("GET", "/api/v1/access", json!(null)).await.1["items"];
    assert_eq!(admin.as_array().unwrap().len(), 1, "{admin}");
    assert!(admin[0]["lastUsedAt"].is_string(), "{admin}");
    for bad in
        [json!({ "comment": "a\nb" }), json!({ "comment": "x".repeat(201) }), json!({ "x": 1 })]
    {
        assert_eq!(world.request("POST", "/api/v1/access", bad.clone()).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn events_end_with_the_session_that_reads_them() {
    use futures_util::StreamExt as _;
    let world = World::new().await;
    let (cookie, csrf) = session(&world, &world.admin).await;
    let cookie = ("cookie", cookie.as_str());
    let answer = world.streamed("/api/v1/events", &[cookie]).await;
    assert_eq!(answer.status(), 200);
    let mut pieces = answer.into_body().into_data_stream();
    world.token(json!({})).await;
    let first = pieces.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"id:") || first.starts_with(b"event:"), "{first:?}");
    let meant = [cookie, ("x-csrf-token", csrf.as_str())];
    assert_eq!(world.raw("DELETE", SESSION, &meant, "").await.status(), 204);
    world.token(json!({})).await;
    let next = tokio::time::timeout(std::time::Duration::from_secs(10), pieces.next()).await;
    assert!(next.unwrap().is_none(), "what changes is no longer told");
}

#[tokio::test]
async fn about_says_which_control_plane_it_is() {
    let world = World::new().await;
    let (status, about) = world.request("GET", "/api/v1/about", json!(null)).await;
    assert_eq!(status, 200, "{about}");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&about["tenant"], &about["trustDomain"]), (&json!("default"), &json!("holdfast")));
    assert!(about["ca"]["pem"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(!about.to_string().contains("PRIVATE KEY"));
    let sha256 = holdfast_base::ids::hex(&world.service.enrolment.authority().ca_sha256());
    assert_eq!(about["ca"]["sha256"], sha256);
    for moment in ["startedAt", "serverCertificateNotAfter"] {
        assert!(about[moment].as_str().unwrap().ends_with('Z'), "{moment}: {about}");
    }
    let (_, licences) = world.request("GET", "/api/v1/licences", json!(null)).await;
    let tokio = licences["items"].as_array().unwrap().iter().find(|one| one["name"] == "tokio");
    assert_eq!(tokio.unwrap()["licence"], "MIT");
}

#[tokio::test]
async fn the_audit_log_reads_from_either_end() {
    let world = World::new().await;
    for _ in 0..4 {
        world.token(json!({})).await;
    }
    // Reading it is an entry too, and further readings are counted for five minutes.
    world.request("GET", "/api/v1/audit?limit=1", json!(null)).await;
    for (order, expected) in [("oldest", [0, 1, 2, 3, 4, 5]), ("newest", [5, 4, 3, 2, 1, 0])] {
        let (mut numbers, mut next) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/audit?order={order}&limit=2{next}");
            let (_, page) = world.request("GET", &path, json!(null)).await;
            let items = page["items"].as_array().unwrap();
            numbers.extend(items.iter().map(|item| item["number"].as_u64().unwrap()));
            match page["metadata"]["continue"].as_str() {
                Some(after) => next = format!("&continue={after}"),
                None => break,
            }
        }
        assert_eq!(numbers, expected, "{order}");
    }
    assert_eq!(world.request("GET", "/api/v1/audit?order=x", json!(null)).await.0, 400);
}
