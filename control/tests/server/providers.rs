//! Tests of logins by an identity provider, against one that says whatever a test wants: code flow,
//! device flow, keys that change, a provider that is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, advance, clock as now};

const SECRET: &str = "client-s3cret-of-the-tests";

/// What the provider answers, and what it was asked.
#[derive(Default)]
struct State {
    claims: Value,
    kid: String,
    key: Vec<u8>,
    /// Answer of the token's address instead of tokens.
    error: Option<&'static str>,
    asked: Vec<(String, String, String)>,
}

/// An identity provider on a loopback port.
struct Corp {
    port: u16,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

fn fresh_key() -> Vec<u8> {
    Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref().to_vec()
}

impl Corp {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { kid: "a".into(), key: fresh_key(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, port, Arc::clone(&shared)));
            }
        });
        Self { port, state, task }
    }

    fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes the next ID token of this person, who is in these groups; `more` replaces claims.
    fn next(&self, name: &str, groups: &[&str], more: Value) {
        let mut claims = json!({
            "iss": self.issuer(), "aud": "holdfast", "sub": name, "login": name,
            "groups": groups, "iat": now(), "exp": now() + 60,
        });
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        self.state.lock().unwrap().claims = claims;
    }

    fn change_key(&self, kid: &str) {
        let mut state = self.state.lock().unwrap();
        state.kid = kid.into();
        state.key = fresh_key();
    }

    /// Times that an address was asked.
    fn count(&self, path: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|(asked, ..)| asked == path).count()
    }

    fn document(&self, more: Value) -> Value {
        let mut spec = json!({
            "issuer": self.issuer(), "clientId": "holdfast", "clientSecret": SECRET,
            "nameClaim": "login",
            "rules": [{ "claim": "groups", "value": "ops", "role": "operator", "devices": "all" }],
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "documents": [{
            "apiVersion": "holdfast/v1", "kind": "IdentityProvider",
            "metadata": { "name": "corp" }, "spec": spec,
        }] })
    }
}

async fn serve(mut stream: TcpStream, port: u16, state: Arc<Mutex<State>>) {
    let mut text = String::new();
    let mut piece = [0; 4_096];
    let (head, body) = loop {
        let read = stream.read(&mut piece).await.unwrap_or(0);
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
            });
            if body.len() >= length.unwrap_or(0usize) {
                break (head.to_owned(), body.to_owned());
            }
        }
        if read == 0 {
            return;
        }
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let authorization = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let (status, answer) = {
        let mut state = state.lock().unwrap();
        state.asked.push((path.clone(), body, authorization.unwrap_or_default()));
        answer(&path, port, &state)
    };
    let answer = answer.to_string();
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}",
        answer.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn answer(path: &str, port: u16, state: &State) -> (u16, Value) {
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let pair = Ed25519KeyPair::from_pkcs8(&state.key).unwrap();
    match path {
        "/.well-known/openid-configuration" => (
            200,
            json!({
                "issuer": at(""), "authorization_endpoint": at("/auth"),
                "token_endpoint": at("/token"), "jwks_uri": at("/keys"),
                "device_authorization_endpoint": at("/device"),
            }),
        ),
        "/keys" => {
            let x = URL_SAFE_NO_PAD.encode(pair.public_key());
            (200, json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": state.kid, "x": x }] }))
        }
        "/device" => (
            200,
            json!({
                "device_code": "d", "user_code": "AB-CD", "verification_uri": at("/go"),
                "expires_in": 300, "interval": 5,
            }),
        ),
        "/token" => match state.error {
            Some(error) => (400, json!({ "error": error })),
            None => {
                let header = json!({ "alg": "EdDSA", "kid": state.kid }).to_string();
                let part = |text: String| URL_SAFE_NO_PAD.encode(text);
                let signed = format!("{}.{}", part(header), part(state.claims.to_string()));
                let signature = URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes()));
                (200, json!({ "id_token": format!("{signed}.{signature}") }))
            }
        },
        _ => (404, json!({})),
    }
}

async fn apply(world: &World, corp: &Corp, more: Value) -> (u16, Value) {
    world.request("POST", "/api/v1/apply", corp.document(more)).await
}

/// A login that a browser has begun: its cookie, and what the provider was sent.
struct Begun {
    cookie: String,
    sent: BTreeMap<String, String>,
}

/// Text that the login page is told, if a response leads there.
fn said(response: &axum::http::Response<bytes::Bytes>) -> Option<String> {
    let cookies = response.headers().get_all("set-cookie").iter();
    let value = cookies
        .filter_map(|value| value.to_str().unwrap().strip_prefix("__Host-holdfast-said="))
        .next()?;
    let value = value.split(';').next().unwrap();
    Some(String::from_utf8(URL_SAFE_NO_PAD.decode(value).unwrap()).unwrap())
}

async fn begin(world: &World) -> Result<Begun, String> {
    let path = "/api/v1/login/corp?back=%2Fdevices";
    let answer = world.raw("GET", path, &[("host", "plane.example:8443")], "").await;
    assert_eq!(answer.status().as_u16(), 303);
    if let Some(said) = said(&answer) {
        return Err(said);
    }
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly; Secure; SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let address = reqwest::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    assert_eq!(address.path(), "/auth");
    let sent = address.query_pairs().into_owned().collect();
    Ok(Begun { cookie, sent })
}

async fn finish(world: &World, begun: &Begun, query: &str) -> Result<String, String> {
    let path = format!("/api/v1/login/corp/callback?{query}");
    let head = [("host", "plane.example:8443"), ("cookie", begun.cookie.as_str())];
    let answer = world.raw("GET", &path, &head, "").await;
    assert_eq!(answer.status().as_u16(), 303);
    if let Some(said) = said(&answer) {
        assert_eq!(answer.headers()["location"], "/");
        return Err(said);
    }
    assert_eq!(answer.headers()["location"], "/devices");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-holdfast=") && cookie.contains("SameSite=Strict"));
    Ok(cookie.split(';').next().unwrap().to_owned())
}

/// A whole login. `more`: claims that replace the usual ones.
async fn login(
    world: &World,
    corp: &Corp,
    (name, groups): (&str, &[&str]),
    more: Value,
) -> Result<String, String> {
    let begun = begin(world).await?;
    let mut claims = json!({ "nonce": begun.sent["nonce"] });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    corp.next(name, groups, claims);
    finish(world, &begun, &format!("code=c0de&state={}&session_state=x", begun.sent["state"])).await
}

async fn get(world: &World, cookie: &str, path: &str) -> (u16, Value) {
    let answer = world.raw("GET", path, &[("cookie", cookie)], "").await;
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
}

#[tokio::test]
async fn a_person_logs_in_by_a_provider_with_the_roles_of_the_claims() {
    let (world, corp) = (World::new().await, Corp::start().await);
    let (status, answer) = apply(&world, &corp, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let (_, list) = get(&world, "", "/api/v1/providers").await;
    assert_eq!(list, json!({ "items": [{ "name": "corp" }] }));
    let (_, other) = get(&world, "", "/api/v1/providers?tenant=other").await;
    assert_eq!(other, json!({ "items": [] }));

    let begun = begin(&world).await.unwrap();
    assert_eq!(begun.sent["redirect_uri"], "https://plane.example:8443/api/v1/login/corp/callback");
    assert_eq!(begun.sent["code_challenge_method"], "S256");
    assert_eq!(begun.sent["scope"], "openid profile email");
    let cookie = login(&world, &corp, ("anna", &["dev", "ops"]), json!({})).await.unwrap();
    let (_, session) = get(&world, &cookie, "/api/v1/session").await;
    assert_eq!(
        (&session["operator"], &session["roles"]),
        (&json!("user anna@corp"), &json!(["operator"]))
    );
    let (_, who) = get(&world, &cookie, "/api/v1/whoami").await;
    assert_eq!(who["grants"][0]["by"], "provider corp: groups=ops");
    let (path, body, authorization) = {
        let state = corp.state.lock().unwrap();
        state.asked.iter().rev().find(|(path, ..)| path == "/token").cloned().unwrap()
    };
    assert!(path == "/token" && body.contains("code_verifier=") && !body.contains(SECRET));
    assert_eq!(authorization, format!("Basic {}", STANDARD.encode(format!("holdfast:{SECRET}"))));
    // Eight hours, and not a second longer.
    advance(8 * 3_600 - 1);
    assert_eq!(get(&world, &cookie, "/api/v1/devices").await.0, 200);
    advance(1);
    assert_eq!(get(&world, &cookie, "/api/v1/devices").await.0, 401);
}

#[tokio::test]
async fn what_a_provider_says_is_held_to_this_very_login() {
    let (world, corp) = (World::new().await, Corp::start().await);
    apply(&world, &corp, json!({})).await;
    let anna = ("anna", &["ops"][..]);
    for (more, why) in [
        (json!({ "nonce": "other" }), "another login (nonce)"),
        (json!({ "aud": "other" }), "is for other, not for this client"),
        (json!({ "iss": "https://evil.example" }), "of the issuer \"https://evil.example\""),
        (json!({ "exp": now() - 301 }), "expired 301 s ago"),
        (json!({ "groups": ["guests"] }), "anna@corp has no role"),
        (json!({ "groups": ["guests"] }), "groups = guests"),
        (json!({ "login": "a b" }), "no usable claim \"login\""),
    ] {
        let refused = login(&world, &corp, anna, more.clone()).await.unwrap_err();
        assert!(refused.starts_with("identity provider corp: "), "{refused}");
        assert!(refused.contains(why), "{more}: {refused}");
    }
    // Answers to no login, to another one, and errors.
    let begun = begin(&world).await.unwrap();
    let other = begin(&world).await.unwrap();
    corp.next("anna", &["ops"], json!({ "nonce": begun.sent["nonce"] }));
    let state = &begun.sent["state"];
    for (begun, query, why) in [
        (&other, format!("code=c&state={state}"), "another login (state)"),
        (&begun, "code=c".into(), "another login (state)"),
        (&begun, format!("state={state}"), "has no code"),
        (&begun, format!("code=c&state={state}&iss=https://evil"), "another issuer"),
        (
            &begun,
            format!("error=access_denied&error_description=no&state={state}"),
            "access_denied: no",
        ),
    ] {
        let refused = finish(&world, begun, &query).await.unwrap_err();
        assert!(refused.contains(why), "{query}: {refused}");
    }
    let nobody = Begun { cookie: String::new(), sent: BTreeMap::new() };
    let refused = finish(&world, &nobody, &format!("code=c&state={state}")).await.unwrap_err();
    assert!(refused.contains("begun no login here"), "{refused}");
    let (_, audit) = world.request("GET", "/api/v1/audit?limit=100", Value::Null).await;
    let refusals = audit["items"].as_array().unwrap().iter();
    let refusals = refusals.filter(|entry| entry["action"] == "session.refused");
    assert!(refusals.clone().any(|entry| entry["by"] == "user anna@corp"), "{audit}");
    // They are of one caller, as far as it is known: the first one, and the number of the others.
    assert!(refusals.count() >= 2);
    advance(301);
    world.service.audit().tick();
    let (_, audit) = world.request("GET", "/api/v1/audit?limit=100", Value::Null).await;
    let refusals = audit["items"].as_array().unwrap().iter();
    let refusals = refusals.filter(|entry| entry["action"] == "session.refused");
    let many: u64 = refusals.map(|entry| entry["count"].as_u64().unwrap_or(1)).sum();
    assert!(many >= 7, "{many} {audit}");
    // A role binding lets a person in too, with what it says.
    let binding = json!({ "documents": [{
        "apiVersion": "holdfast/v1", "kind": "RoleBinding", "metadata": { "name": "b" },
        "spec": { "role": "viewer", "subjects": ["carla@corp"], "devices": "all" },
    }] });
    world.request("POST", "/api/v1/apply", binding).await;
    advance(120);
    let cookie = login(&world, &corp, ("carla", &[]), json!({})).await.unwrap();
    let (_, who) = get(&world, &cookie, "/api/v1/whoami").await;
    assert_eq!(who["grants"][0]["by"], "role binding b");
}

#[tokio::test]
async fn new_keys_are_fetched_once_a_minute_and_a_provider_that_is_gone_ends_nothing() {
    let (world, corp) = (World::new().await, Corp::start().await);
    apply(&world, &corp, json!({})).await;
    let anna = ("anna", &["ops"][..]);
    let cookie = login(&world, &corp, anna, json!({})).await.unwrap();
    corp.change_key("b");
    let refused = login(&world, &corp, anna, json!({})).await.unwrap_err();
    assert!(refused.contains("signed by the key \"b\""), "{refused}");
    assert_eq!(corp.count("/keys"), 1, "within a minute they are not fetched again");
    advance(60);
    login(&world, &corp, anna, json!({})).await.unwrap();
    assert_eq!(corp.count("/keys"), 2);
    assert_eq!(get(&world, &cookie, "/api/v1/devices").await.0, 200, "no session has ended");
    // The same id for another key: its signature is wrong, whatever it is called.
    corp.change_key("b");
    let refused = login(&world, &corp, anna, json!({})).await.unwrap_err();
    assert!(refused.contains("signature is wrong"), "{refused}");

    corp.task.abort();
    while !corp.task.is_finished() {
        tokio::task::yield_now().await;
    }
    advance(11);
    let refused = begin(&world).await.err().unwrap();
    assert!(refused.contains("identity provider corp cannot be asked"), "{refused}");
    assert!(refused.contains("nothing listens there"), "{refused}");
    assert_eq!(get(&world, &cookie, "/api/v1/devices").await.0, 200);
}

#[tokio::test]
async fn the_command_line_logs_in_with_a_code() {
    let (world, corp) = (World::new().await, Corp::start().await);
    apply(&world, &corp, json!({})).await;
    let post = async |path: &str, body: Value| {
        let head = [("content-type", "application/json")];
        let answer = world.raw("POST", path, &head, &body.to_string()).await;
        let document: Value = serde_json::from_slice(answer.body()).unwrap();
        (answer.status().as_u16(), document)
    };
    let (status, begun) = post("/api/v1/login/corp/device", json!({})).await;
    assert_eq!((status, &begun["userCode"]), (201, &json!("AB-CD")));
    let ask = json!({ "handle": begun["handle"] });
    let path = "/api/v1/login/corp/device/ask";
    corp.state.lock().unwrap().error = Some("authorization_pending");
    assert_eq!(post(path, ask.clone()).await, (200, json!({ "wait": 5 })));
    let (_, soon) = post(path, ask.clone()).await;
    assert_eq!(soon, json!({ "wait": 5 }));
    assert_eq!(corp.count("/token"), 1, "whoever asks too soon makes no request");
    advance(5);
    corp.state.lock().unwrap().error = Some("slow_down");
    assert_eq!(post(path, ask.clone()).await.1, json!({ "wait": 10 }));
    advance(10);
    corp.state.lock().unwrap().error = None;
    corp.next("anna", &["ops"], json!({}));
    let (status, done) = post(path, ask.clone()).await;
    assert_eq!((status, &done["caller"]), (200, &json!("user anna@corp")), "{done}");
    let token = done["token"].as_str().unwrap();
    assert!(token.starts_with("hfs1."));
    let bearer = format!("Bearer {token}");
    let head = [("authorization", bearer.as_str())];
    let answer = world.raw("GET", "/api/v1/devices", &head, "").await;
    assert_eq!(answer.status().as_u16(), 200);
    let answer = world.raw("POST", "/api/v1/users", &head, r#"{"name":"x"}"#).await;
    assert_eq!(answer.status().as_u16(), 403, "an operator makes no users");
    assert_eq!(post(path, ask).await.0, 401, "the handle counts once");
    assert_eq!(post(path, json!({ "handle": "00" })).await.0, 401);
    // An admin ends it at once.
    let (_, sessions) = world.request("GET", "/api/v1/sessions", Value::Null).await;
    let id = sessions["items"][0]["id"].as_str().unwrap();
    let (status, _) = world.request("DELETE", &format!("/api/v1/sessions/{id}"), Value::Null).await;
    assert_eq!(status, 204);
    let answer = world.raw("GET", "/api/v1/devices", &head, "").await;
    assert_eq!(answer.status().as_u16(), 401);
    // Who begins many is held up.
    let mut held = 0;
    for _ in 0..20 {
        held += usize::from(post("/api/v1/login/corp/device", json!({})).await.0 == 429);
    }
    assert!(held >= 9, "{held}");
}

#[tokio::test]
async fn the_client_secret_lies_nowhere_in_the_clear() {
    let (world, corp) = (World::new().await, Corp::start().await);
    apply(&world, &corp, json!({})).await;
    let path = "/api/v1/policies/identityproviders/corp";
    let (_, document) = world.request("GET", path, Value::Null).await;
    assert_eq!(document["spec"]["clientSecret"], "(hidden)");
    let store = world.file("store.redb");
    let lies = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|at| at == SECRET.as_bytes());
    assert!(!lies(&store));
    // Applied again, hidden or as it is, nothing changes; for another issuer it must be written.
    for again in [json!({ "clientSecret": "(hidden)" }), json!({})] {
        let (status, answer) = apply(&world, &corp, again).await;
        assert_eq!(
            (status, &answer["results"][0]["action"]),
            (200, &json!("unchanged")),
            "{answer}"
        );
    }
    let elsewhere = json!({ "issuer": "https://evil.example", "clientSecret": "(hidden)" });
    let (status, answer) = apply(&world, &corp, elsewhere).await;
    assert_eq!(status, 422, "{answer}");
    login(&world, &corp, ("anna", &["ops"]), json!({})).await.unwrap();
}

#[tokio::test]
async fn another_issuer_or_none_ends_the_sessions_of_a_provider() {
    let (world, corp) = (World::new().await, Corp::start().await);
    apply(&world, &corp, json!({})).await;
    let cookie = login(&world, &corp, ("anna", &["ops"]), json!({})).await.unwrap();
    apply(&world, &corp, json!({ "scopes": ["groups"] })).await;
    assert_eq!(get(&world, &cookie, "/api/v1/devices").await.0, 200);
    apply(&world, &corp, json!({ "issuer": "https://other.example" })).await;
    assert_eq!(get(&world, &cookie, "/api/v1/devices").await.0, 401);
    // Only admins say where people log in.
    let (_, made) = world.request("POST", "/api/v1/access", json!({ "role": "operator" })).await;
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let head = [("authorization", bearer.as_str())];
    let body = corp.document(json!({})).to_string();
    let answer = world.raw("POST", "/api/v1/apply", &head, &body).await;
    assert_eq!(answer.status().as_u16(), 403);
}
