//! Tests that every parameter of every route is checked before its handler runs. The routes are
//! those of the API's own description, so that one added later is covered.

use axum::body::Body;
use serde_json::{Value, json};

use crate::world::World;

struct Route {
    method: String,
    path: String,
    operation: Value,
}

impl Route {
    fn text(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        let given = self.operation["parameters"].as_array().into_iter().flatten();
        given.filter(|parameter| parameter["in"] == "query")
    }
}

/// Returns every route below `/api/`, with names in place of the parameters of its path.
fn routes() -> Vec<Route> {
    let described = serde_json::to_value(holdfast_control::adapters::http::openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| match part {
            "{kind}" => "streams",
            "{digest}" => "sha256:0000",
            part if part.starts_with('{') => "nobody",
            part => part,
        });
        let filled = parts.collect::<Vec<_>>().join("/");
        for (method, operation) in item.as_object().unwrap() {
            let (method, operation) = (method.to_uppercase(), operation.clone());
            routes.push(Route { method, path: filled.clone(), operation });
        }
    }
    // The routes of a session need its cookie; `session.rs` tests them.
    let is_sessions = |it: &Route| it.path == "/api/v1/session" && it.method != "POST";
    // A provider may add parameters to the way back of a login, such as `iss` and `session_state`.
    let is_login = |it: &Route| it.path.starts_with("/api/v1/login/");
    routes
        .retain(|route| route.path.starts_with("/api/") && !is_sessions(route) && !is_login(route));
    assert!(routes.len() > 40, "{}", routes.len());
    routes
}

/// Sends a request and returns the status and the message of a refusal. Other bodies are not read,
/// because they may never end.
async fn ask(world: &World, method: &str, path: &str, query: &str) -> (u16, String) {
    let answer = world.answer(method, &format!("{path}?{query}"), &[], Body::empty()).await;
    let status = answer.status().as_u16();
    if status < 400 {
        return (status, String::new());
    }
    let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    (status, body["error"]["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_by_every_route() {
    let world = World::new().await;
    for route in routes() {
        for wrong in ["bogus=1", "rv", "ressourceVersion=1&limit=1", "%62ogus"] {
            let (status, said) = ask(&world, &route.method, &route.path, wrong).await;
            assert_eq!(status, 400, "{} ?{wrong}: {said}", route.text());
            assert!(said.contains("parameter"), "{} ?{wrong}: {said}", route.text());
        }
        if route.method == "GET" {
            let (status, _) = ask(&world, "HEAD", &route.path, "bogus=1").await;
            assert_eq!(status, 400, "HEAD {}", route.path);
        }
    }
    for probe in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(&world, "GET", probe, "bogus=1").await.0, 200, "{probe} is lenient");
    }
}

#[tokio::test]
async fn every_declared_parameter_is_taken_and_one_that_is_misspelt_or_doubled_is_not() {
    let world = World::new().await;
    let mut count = 0;
    for route in routes() {
        for parameter in route.parameters() {
            count += 1;
            let name = parameter["name"].as_str().unwrap();
            let kind = &parameter["schema"]["type"];
            let is = |word: &str| {
                kind == word || kind.as_array().is_some_and(|of| of.contains(&json!(word)))
            };
            let value = if is("integer") {
                "1"
            } else if is("boolean") {
                "true"
            } else {
                "a"
            };
            let good = format!("{name}={value}");
            let (status, said) = ask(&world, &route.method, &route.path, &good).await;
            let judged =
                ["unknown parameter", "stands twice", "unknown field", "a whole number is"];
            assert!(
                !judged.iter().any(|word| said.contains(word)),
                "{} ?{good}: {said}",
                route.text()
            );
            assert_ne!(status, 500, "{} ?{good}", route.text());
            for (wrong, needed) in [
                (format!("{good}&{good}"), format!("{name:?} stands twice")),
                (format!("{}={value}", name.to_uppercase()), format!("did you mean {name:?}")),
                (format!("{name}x={value}"), format!("did you mean {name:?}")),
            ] {
                // No other parameter is as near to `Q` and `qx`.
                let (status, said) = ask(&world, &route.method, &route.path, &wrong).await;
                assert_eq!(status, 400, "{} ?{wrong}: {said}", route.text());
                assert!(said.contains(&needed), "{} ?{wrong}: {said}", route.text());
            }
            if value != "a" {
                let wrong = format!("{name}=x");
                let (status, said) = ask(&world, &route.method, &route.path, &wrong).await;
                assert_eq!(status, 400, "{} ?{wrong}: {said}", route.text());
                assert!(said.starts_with(&wrong), "{} ?{wrong}: {said}", route.text());
            }
        }
    }
    assert!(count > 30, "{count} parameters");
}

#[tokio::test]
async fn a_misspelt_guard_deletes_nothing() {
    let world = World::new().await;
    world.apply("w", "1").await.unwrap();
    for (wrong, meant) in [
        ("resourceversion", "did you mean \"resourceVersion\"?"),
        ("resource_version", "did you mean \"resourceVersion\"?"),
        ("rv", "known here: resourceVersion"),
    ] {
        let (status, said) =
            ask(&world, "DELETE", "/api/v1/workloads/w", &format!("{wrong}=1")).await;
        assert_eq!(status, 400, "{wrong}");
        assert!(said.contains(meant), "{said}");
        assert!(world.service.workloads.workload(&world.actor(), "w").is_ok(), "{wrong}");
    }
    let path = "/api/v1/devices/nobody/streams/x/fetch";
    let (status, said) = ask(&world, "POST", path, "since=1h").await;
    assert_eq!(status, 400);
    assert!(said.contains("\"since\"") && said.contains("in its body"), "{said}");
}

#[tokio::test]
async fn a_body_that_no_handler_reads_is_refused_and_every_other_is_held_to_its_fields() {
    let world = World::new().await;
    for route in routes() {
        let body = json!({ "bogus": 1 });
        let described = &route.operation["requestBody"];
        let (status, answer) = world.request(&route.method, &route.path, body.clone()).await;
        let said = answer["error"]["message"].as_str().unwrap_or_default();
        if described.is_null() {
            assert_eq!(status, 400, "{}: {said}", route.text());
            assert!(said.contains("takes no body"), "{}: {said}", route.text());
            continue;
        }
        if described["content"]["application/json"].is_null() {
            continue; // Bytes.
        }
        assert!((400..500).contains(&status), "{}: {status} {said}", route.text());
        for text in
            ["", "{", "[]", "null", "7", "{\"bogus\":1}", "{\"a\":1,\"a\":2}", "\u{0}", "{} {}"]
        {
            let json = [("content-type", "application/json")];
            let (status, bytes) =
                world.send(&route.method, &route.path, &json, Body::from(text)).await;
            let said = String::from_utf8(bytes.to_vec()).unwrap();
            assert!((400..500).contains(&status), "{} {text:?}: {status} {said}", route.text());
            for word in ["invalid type", "expected struct", "EOF", "serde", "expected value"] {
                assert!(!said.contains(word), "{} {text:?}: {said}", route.text());
            }
        }
    }
}
