//! Tests of alarms: secrets that are never shown again, acknowledgements and silences, and a
//! receiver that fails across a restart of the control plane.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use holdfast_base::codec;
use holdfast_control::core::records::PolicyKind;
use holdfast_control::ports::store::Store as _;
use holdfast_control::service::run_alarms;
use holdfast_protocol::message::{Phase, StateReport, WorkloadReport};
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use crate::world::{World, advance};

async fn get(world: &World, path: &str) -> Value {
    let (status, answer) = world.request("GET", path, json!(null)).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn apply(world: &World, document: &Value) -> (u16, Value) {
    world.request("POST", "/api/v1/apply", json!({ "documents": [document] })).await
}

fn notification(name: &str, to: Value) -> Value {
    json!({
        "apiVersion": "holdfast/v1", "kind": "Notification", "metadata": { "name": name },
        "spec": { "devices": "all", "delay": "0s", "groupWait": "0s", "to": to },
    })
}

/// A receiver of webhooks that can be made to fail.
#[derive(Default)]
struct Receiver {
    fails: AtomicBool,
    got: Mutex<Vec<(HeaderMap, Value)>>,
    asked: Mutex<u32>,
}

async fn take(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    *receiver.asked.lock().unwrap() += 1;
    if receiver.fails.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "come back later");
    }
    receiver.got.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
    (StatusCode::OK, "thanks")
}

impl Receiver {
    async fn new() -> (Arc<Self>, String) {
        let receiver = Arc::new(Self::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/hook", axum::routing::post(take))
            .with_state(Arc::clone(&receiver));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (receiver, url)
    }

    fn statuses(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, body)| body["status"].as_str().unwrap().to_owned()).collect()
    }
}

async fn until(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..600 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain until {what}");
}

/// Reports the phase of a device's only workload.
async fn says(world: &World, device: &str, phase: Phase) {
    let desired = world.desired(device).unwrap();
    let said = WorkloadReport {
        revision: 1,
        phase,
        restarts: 0,
        run: None,
        detail: None,
        reason: "exit code 1".into(),
        progress: None,
    };
    let report = StateReport {
        v: holdfast_base::WIRE_VERSION,
        full: true,
        epoch: desired.epoch,
        generation: desired.generation,
        workloads: [("w".parse().unwrap(), Some(said))].into(),
        problems: Some(Vec::new()),
        agent: None,
        data: None,
        history: Vec::new(),
        id: None,
    };
    assert!(world.publish(device, Channel::State, codec::encode(&report).unwrap()).await);
}

async fn failing() -> World {
    let world = World::new().await;
    world.apply("w", "1").await.unwrap();
    for (number, name) in ["d-1", "d-2"].into_iter().enumerate() {
        world.device(name).await;
        world.connect(name, 1 + number as u64);
        world.present(name, 1 + number as u64).await;
        says(&world, name, Phase::Failed).await;
    }
    world
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let world = World::new().await;
    let to = json!({ "webhook": {
        "url": "https://hooks.example/a", "secret": "s3cret-key", "headers": { "Authorization": "Bearer s3cret" },
    } });
    let (status, answer) = apply(&world, &notification("night", to)).await;
    assert_eq!(status, 200, "{answer}");
    let places = ["/api/v1/policies/notifications", "/api/v1/policies/notifications/night"];
    let mut seen = answer.to_string();
    for place in places {
        seen.push_str(&get(&world, place).await.to_string());
    }
    seen.push_str(&get(&world, "/api/v1/audit").await.to_string());
    assert!(!seen.contains("s3cret") && seen.contains("(hidden)"), "{seen}");

    // A document as it is read can be applied again and changes nothing.
    let read = get(&world, "/api/v1/policies/notifications/night").await;
    let mut document = notification("night", read["spec"]["to"].clone());
    let (_, answer) = apply(&world, &document).await;
    assert_eq!(answer["results"][0]["action"], "unchanged", "{answer}");
    // With another path of the same server the hidden secret is kept. It must never be sent to
    // another server.
    document["spec"]["to"]["webhook"]["url"] = json!("https://hooks.example/b");
    let (_, answer) = apply(&world, &document).await;
    assert_eq!(answer["results"][0]["action"], "changed", "{answer}");
    document["spec"]["to"]["webhook"]["url"] = json!("https://evil.example/b");
    let (status, answer) = apply(&world, &document).await;
    let faults = answer["error"]["faults"].as_array().unwrap();
    assert_eq!((status, faults.len()), (422, 2), "{answer}");
    assert_eq!(faults[1]["path"], "spec.to.webhook.secret");
    // It is in the store and in the backup, sealed.
    let (_, backup) =
        world.send("POST", "/api/v1/backup/unencrypted", &[], axum::body::Body::empty()).await;
    for bytes in [backup.to_vec(), world.file("store.redb")] {
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cret"));
    }
}

#[tokio::test]
async fn a_receiver_gets_the_secrets_that_are_sealed_or_stand_in_a_secret() {
    let world = World::new().await;
    let (receiver, url) = Receiver::new().await;
    let secret = json!({
        "apiVersion": "holdfast/v1", "kind": "Secret", "metadata": { "name": "hooks" },
        "spec": { "data": { "url": url, "bearer": "Bearer from-the-secret", "bad": "no address" } },
    });
    assert_eq!(apply(&world, &secret).await.0, 200);
    let of = |key: &str| json!({ "secret": "hooks", "key": key });
    let to = json!({ "webhook": {
        "secretUrl": of("url"), "secret": "signing-key-1", "headers": { "Authorization": of("bearer") },
    } });
    let (status, answer) = apply(&world, &notification("night", to.clone())).await;
    assert_eq!(status, 200, "{answer}");
    let after = &answer["results"][0]["after"]["spec"]["to"]["webhook"];
    assert_eq!((&after["secretUrl"], &after["secret"]), (&of("url"), &json!("(hidden)")));
    let test = "/api/v1/notifications/night/test";
    let (status, answer) = world.request("POST", test, json!(null)).await;
    assert_eq!((status, &answer["delivered"]), (200, &json!(true)), "{answer}");
    {
        let got = receiver.got.lock().unwrap();
        assert_eq!(got[0].0["authorization"], "Bearer from-the-secret");
        assert!(got[0].0.contains_key("x-holdfast-signature"));
    }
    // What it refers to must be there, and stays there.
    for (key, said) in [("gone", "secret hooks has no key gone"), ("", "not a key")] {
        let (status, answer) =
            apply(&world, &notification("day", json!({ "webhook": { "secretUrl": of(key) } })))
                .await;
        assert_eq!(status, 422, "{answer}");
        let fault = &answer["error"]["faults"][0];
        assert!(
            fault["path"].as_str().unwrap().starts_with("spec.to.webhook.secretUrl"),
            "{fault}"
        );
        assert!(fault["message"].as_str().unwrap().contains(said), "{fault}");
    }
    let (status, answer) =
        world.request("DELETE", "/api/v1/policies/secrets/hooks", json!(null)).await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer.to_string().contains("notification night"), "{answer}");
    // A value that is no address reaches no log and no answer.
    let to = json!({ "webhook": { "secretUrl": of("bad") } });
    assert_eq!(apply(&world, &notification("night", to)).await.0, 200);
    let (_, answer) = world.request("POST", test, json!(null)).await;
    assert!(answer.to_string().contains("no address over HTTP"), "{answer}");
}

#[tokio::test]
async fn secrets_that_an_older_version_stored_plainly_are_sealed_at_the_next_start() {
    let world = World::new().await;
    let (receiver, url) = Receiver::new().await;
    let to = json!({ "webhook": {
        "url": url, "secret": "plain-key-1", "headers": { "Authorization": "Bearer plain-text" },
    } });
    let spec = json!({ "devices": "all", "delay": "0s", "groupWait": "0s", "to": to });
    let record = json!({
        "name": "night", "labels": {}, "devices": {}, "written": spec, "revision": 3,
        "createdAt": 1, "updatedAt": 1, "version": 3,
        "policy": { "notification": { "notification": {
            "severity": "warning", "groupBy": ["site", "kind"], "delay": 0, "groupWait": 0,
            "groupInterval": 300, "repeat": 14_400, "sendResolved": true,
            "to": { "webhook": {
                "url": url, "secret": "plain-key-1",
                "headers": { "Authorization": "Bearer plain-text" },
            } },
        } } },
    });
    let row = ("notification/default/night".to_owned(), record.to_string().into_bytes());
    let world = world.with_records(vec![row]).await;
    let test = "/api/v1/notifications/night/test";
    let (status, answer) = world.request("POST", test, json!(null)).await;
    assert_eq!((status, &answer["delivered"]), (200, &json!(true)), "{answer}");
    assert_eq!(receiver.got.lock().unwrap()[0].0["authorization"], "Bearer plain-text");
    let rows = world.store.read("notification/", 10).unwrap();
    let stored = String::from_utf8(rows[0].1.clone()).unwrap();
    assert!(stored.contains("sealed") && !stored.contains("plain-"), "{stored}");
    let read = get(&world, "/api/v1/policies/notifications/night").await;
    assert_eq!(read["metadata"]["resourceVersion"], 3, "nobody's document has changed");
    // It can be applied as it is read, also after another start.
    let world = world.restart().await;
    let (_, answer) = apply(&world, &notification("night", read["spec"]["to"].clone())).await;
    assert_eq!(answer["results"][0]["action"], "unchanged", "{answer}");
}

#[tokio::test]
async fn every_fault_of_a_document_is_said_at_once() {
    let world = World::new().await;
    let mut document = notification(
        "night",
        json!({ "email": { "smtp": "mail.example", "from": "nobody", "to": [], "username": "a" } }),
    );
    document["spec"]["severity"] = json!("urgent");
    document["spec"]["kinds"] = json!(["losst"]);
    document["spec"]["delay"] = json!("9d");
    let (status, answer) = apply(&world, &document).await;
    let faults = answer["error"]["faults"].as_array().unwrap();
    let paths: Vec<&str> = faults.iter().map(|fault| fault["path"].as_str().unwrap()).collect();
    assert_eq!(status, 422);
    assert_eq!(
        paths,
        [
            "spec.severity",
            "spec.kinds[0]",
            "spec.delay",
            "spec.to.email.smtp",
            "spec.to.email.from",
            "spec.to.email.to",
        ],
        "{answer}"
    );
    assert!(faults[1]["message"].as_str().unwrap().contains("did you mean \"lost\"?"), "{answer}");
    for (to, wrong) in [
        (json!({ "webhook": { "url": "https://a:b@c/" } }), "spec.to.webhook.url"),
        (json!({ "webhook": { "url": "ftp://c/" } }), "spec.to.webhook.url"),
        (json!({ "webhook": {} }), "spec.to.webhook"),
        (
            json!({ "alertmanager": { "url": "http://c/", "labels": { "a-b": "x" } } }),
            "spec.to.alertmanager.labels.a-b",
        ),
        (json!({ "webhook": { "url": "http://c/", "ca": "no" } }), "spec.to.webhook.ca"),
        (json!({}), "spec.to"),
    ] {
        let (status, answer) = apply(&world, &notification("night", to)).await;
        assert_eq!(
            (status, &answer["error"]["faults"][0]["path"]),
            (422, &json!(wrong)),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_receiver_is_told_after_a_restart_and_nothing_is_doubled() {
    let mut world = failing().await;
    let (receiver, url) = Receiver::new().await;
    receiver.fails.store(true, Ordering::Relaxed);
    let to = json!({ "webhook": { "url": url, "secret": "0123456789" } });
    let mut document = notification("night", to);
    // Without this the loss of both devices would be notified as well.
    document["spec"]["kinds"] = json!(["failing"]);
    let (status, answer) = apply(&world, &document).await;
    assert_eq!(status, 200, "{answer}");
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(run_alarms(Arc::clone(&world.service.alarms), stopping));
    until("it was asked", || *receiver.asked.lock().unwrap() > 0).await;
    until("the failure is seen", || {
        let read = world
            .service
            .workloads
            .policy(&world.actor(), PolicyKind::Notification, "night")
            .unwrap();
        let delivery = json!(read)["status"]["delivery"].clone();
        delivery["lastError"] == "503 Service Unavailable: come back later"
            && delivery["queued"] == 1
    })
    .await;
    let fleet = |world: &World| {
        serde_json::to_value(&*world.service.fleet.summary(&world.actor()).unwrap()).unwrap()
    };
    assert!(!fleet(&world).to_string().contains("night"), "one failure is no alarm");
    advance(6 * 60);
    until("the fleet's summary says it", || {
        fleet(&world).to_string().contains("notification night has not reached its receiver")
    })
    .await;
    stop.send(true).unwrap();
    running.await.unwrap();

    world = world.restart().await;
    receiver.fails.store(false, Ordering::Relaxed);
    advance(400);
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(run_alarms(Arc::clone(&world.service.alarms), stopping));
    until("it was told", || !receiver.got.lock().unwrap().is_empty()).await;
    // The devices have not reconnected, so that their alarms are neither resolved nor notified
    // again.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(receiver.statuses(), ["firing"]);
    let (headers, body) = receiver.got.lock().unwrap()[0].clone();
    assert_eq!(body["count"], 2, "{body}");
    assert_eq!(body["group"]["kind"], "failing");
    assert_eq!(headers["x-holdfast-id"], body["id"].as_str().unwrap());
    assert!(headers["x-holdfast-signature"].to_str().unwrap().contains(",v1="));
    // The devices reconnect and run, which resolves the alarm.
    for (number, name) in ["d-1", "d-2"].into_iter().enumerate() {
        world.connect(name, 5 + number as u64);
        world.present(name, 5 + number as u64).await;
        says(&world, name, Phase::Running).await;
    }
    advance(3_600);
    until("it is resolved", || receiver.statuses().last().unwrap() == "resolved").await;
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_are_acknowledged_and_silenced_with_a_note_and_audited() {
    let world = failing().await;
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(run_alarms(Arc::clone(&world.service.alarms), stopping));
    let query = holdfast_control::service::AlarmsQuery::default();
    until("there are alarms", || {
        world.service.alarms.list(&world.actor(), &query).unwrap().items.len() == 2
    })
    .await;
    let mine = json!({ "kind": "failing", "code": "w", "device": "d-1", "note": "Kim looks" });
    let (status, made) = world.request("POST", "/api/v1/alarms/acknowledge", mine.clone()).await;
    assert_eq!((status, &made["alarms"]), (201, &json!(1)), "{made}");
    let all = get(&world, "/api/v1/alarms").await;
    let states: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["acknowledged", "firing"]);
    assert_eq!(all["items"][0]["silence"]["note"], "Kim looks");
    let (status, _) = world
        .request("POST", "/api/v1/alarms/silence", json!({ "kind": "failing", "forSeconds": 600 }))
        .await;
    assert_eq!(status, 201);
    for (path, count) in [
        ("/api/v1/alarms?state=acknowledged", 1),
        ("/api/v1/alarms?state=silenced", 1),
        ("/api/v1/alarms?state=firing", 0),
        ("/api/v1/alarms?device=d-2", 1),
        ("/api/v1/alarms?severity=critical&kind=failing&code=w", 2),
        ("/api/v1/alarms?limit=1", 1),
        ("/api/v1/silences", 2),
    ] {
        let found = get(&world, path).await;
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{path}: {found}");
    }
    // Both the acknowledgement and the silence outlive a restart, and end by deletion or with time.
    let id = made["id"].as_str().unwrap().to_owned();
    let (status, _) = world.request("DELETE", &format!("/api/v1/silences/{id}"), json!(null)).await;
    assert_eq!(status, 204);
    advance(700);
    until("the silence has ended", || {
        world.service.alarms.silences(&world.actor()).unwrap().items.is_empty()
    })
    .await;
    let audit = get(&world, "/api/v1/audit").await.to_string();
    for said in ["alarm.acknowledge", "Kim looks", "alarm.silence", "alarm.unmute"] {
        assert!(audit.contains(said), "{said}: {audit}");
    }
    for (wrong, status) in [
        (json!({}), 400),
        (json!({ "kind": "losst" }), 400),
        (json!({ "device": "no such" }), 400),
        (json!({ "device": "d-9" }), 404),
        (json!({ "device": "d-1", "until": "yesterday" }), 400),
    ] {
        let (answered, said) =
            world.request("POST", "/api/v1/alarms/acknowledge", wrong.clone()).await;
        assert_eq!(answered, status, "{wrong}: {said}");
    }
    let endless = json!({ "device": "d-1" });
    let (status, said) = world.request("POST", "/api/v1/alarms/silence", endless).await;
    assert_eq!(status, 400, "a silence has an end: {said}");
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_test_says_what_the_receiver_answered() {
    let world = World::new().await;
    let (receiver, url) = Receiver::new().await;
    let to = json!({ "webhook": { "url": url } });
    assert_eq!(apply(&world, &notification("night", to)).await.0, 200);
    let test = "/api/v1/notifications/night/test";
    let (status, answer) = world.request("POST", test, json!(null)).await;
    assert_eq!((status, &answer["answer"]), (200, &json!("200 OK: thanks")), "{answer}");
    assert_eq!(receiver.statuses(), ["test"]);
    receiver.fails.store(true, Ordering::Relaxed);
    let (_, answer) = world.request("POST", test, json!(null)).await;
    assert_eq!(answer["delivered"], false);
    assert_eq!(answer["answer"], "503 Service Unavailable: come back later");
    let nowhere = json!({ "webhook": { "url": "http://127.0.0.1:1/" } });
    assert_eq!(apply(&world, &notification("night", nowhere)).await.0, 200);
    let (_, answer) = world.request("POST", test, json!(null)).await;
    let said = answer["answer"].as_str().unwrap();
    assert!(said.contains("connection refused"), "{said}");
}
