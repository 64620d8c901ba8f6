//! Tests of secrets and configurations: they go in and are nowhere to be read, they reach exactly the
//! devices that use them, sealed, and what refers to nothing is refused.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::Name;
use holdfast_control::adapters::keyring::{LocalKeyring, Place};
use holdfast_control::ports::store::Store as _;
use holdfast_protocol::sealing::{Bound, OnChange, SealedContent, SealingKey};
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use crate::world::{Key, World, advance, id, report};

/// A device with a key that content is sealed to.
struct Device {
    name: &'static str,
    sealing: SealingKey,
}

impl World {
    async fn sealing_device(&self, name: &'static str, byte: u8) -> Device {
        let (key, _) = self.device(name).await;
        let device = Device { name, sealing: SealingKey::new([byte; 32]).unwrap() };
        self.tell_key(&key, &device.sealing).await;
        device
    }

    async fn tell_key(&self, key: &Key, sealing: &SealingKey) {
        let public = STANDARD.encode(sealing.public());
        let renewal = self.renewal(key, Some(&public));
        self.service.enrolment.renew(renewal).await.unwrap();
    }

    async fn put(&self, documents: &[Value]) -> (u16, Value) {
        self.request("POST", "/api/v1/apply", json!({ "documents": documents })).await
    }

    /// Applies documents that are admitted.
    /// Applies documents that are refused, and returns the faults as `PATH: MESSAGE`.
    async fn refuses(&self, documents: &[Value]) -> Vec<String> {
        let (status, answer) = self.put(documents).await;
        assert_eq!(status, 422, "{answer}");
        let faults = answer["error"]["faults"].as_array().unwrap();
        let text = |fault: &Value, field: &str| fault[field].as_str().unwrap().to_owned();
        faults.iter().map(|it| format!("{}: {}", text(it, "path"), text(it, "message"))).collect()
    }

    async fn read(&self, path: &str) -> Value {
        let (status, answer) = self.request("GET", path, json!(null)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn generation(&self, name: &str) -> u64 {
        self.desired(name).map_or(0, |state| state.generation)
    }

    /// Opens what a device is sent for a workload: version, reaction and content.
    fn opened(&self, device: &Device, workload: &str) -> (u64, OnChange, SealedContent) {
        let state = self.desired(device.name).unwrap();
        let workload = workload.parse().unwrap();
        let sent = &state.workloads[&workload];
        let sealed = sent.sealed.as_ref().unwrap();
        let bound = Bound {
            device: &id(device.name),
            workload: &workload,
            revision: sent.revision,
            epoch: state.epoch,
            version: sealed.version,
        };
        let content = device.sealing.open(&sealed.bytes, &bound).unwrap();
        (sealed.version, sealed.on_change, content)
    }
}

fn document(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "holdfast/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

fn secret(name: &str, data: Value) -> Value {
    document("Secret", name, json!({ "data": data }))
}

fn config(name: &str, data: Value) -> Value {
    document("Config", name, json!({ "data": data }))
}

/// A workload on the devices with the label `role=a`, with these variables and files.
fn workload(name: &str, env: Value, files: Value) -> Value {
    document(
        "Workload",
        name,
        json!({
            "devices": { "matchLabels": { "role": "a" } },
            "run": { "process": { "path": "/bin/sleep", "args": ["9"], "env": env } },
            "files": files,
        }),
    )
}

/// Log of the service, in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Forms in which bytes could lie somewhere: as they are, as JSON escapes them, in hexadecimal, and
/// in base64 at each of the three places of its groups.
fn forms(text: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![text.to_vec()];
    forms.push(text.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes());
    for skipped in 0..3 {
        let whole = &text[skipped..];
        let whole = &whole[..whole.len() - whole.len() % 3];
        forms.push(STANDARD.encode(whole).into_bytes());
    }
    forms
}

/// Returns where these bytes are, in any form.
fn found<'a>(places: &'a BTreeMap<String, Vec<u8>>, text: &[u8]) -> Vec<&'a str> {
    let forms = forms(text);
    let has = |content: &[u8]| {
        forms.iter().any(|form| content.windows(form.len()).any(|window| window == form))
    };
    places.iter().filter(|(_, content)| has(content)).map(|(place, _)| place.as_str()).collect()
}

/// Everything that the control plane answers, stores and logs.
async fn everything(world: &World, log: &Log) -> BTreeMap<String, Vec<u8>> {
    let mut places = BTreeMap::new();
    for path in [
        "policies/secrets",
        "policies/secrets/db",
        "policies/secrets/db/devices",
        "policies/configs",
        "policies/configs/app",
        "policies/notifications",
        "policies/notifications/night",
        "explain/secrets/db",
        "explain/workloads/pump",
        "workloads",
        "workloads/pump",
        "revisions",
        "devices",
        "devices/d-1",
        "devices/d-1/differences",
        "devices/d-1/history",
        "audit",
        "activity",
        "fleet",
        "alarms",
        "tokens",
        "access",
        "labels",
        "about",
        "schema.json",
    ] {
        let (status, bytes) =
            world.send("GET", &format!("/api/v1/{path}"), &[], Body::empty()).await;
        assert_eq!(status, 200, "{path}");
        places.insert(path.to_owned(), bytes.to_vec());
    }
    let (_, bytes) = world.send("GET", "/metrics", &[], Body::empty()).await;
    places.insert("metrics".into(), bytes.to_vec());
    let (status, bytes) =
        world.send("POST", "/api/v1/backup/unencrypted", &[], Body::empty()).await;
    assert_eq!(status, 200);
    places.insert("backup".into(), bytes.to_vec());
    for (key, value) in world.store.read("", 100_000).unwrap() {
        places.insert(format!("row {key}"), value);
    }
    places.insert("store".into(), world.file("store.redb"));
    let state = world.desired("d-1").unwrap();
    places.insert("desired".into(), holdfast_base::codec::encode(&state).unwrap());
    places.insert("log".into(), log.0.lock().unwrap().clone());
    places
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one run, and everything that is left of it")]
async fn secrets_are_searched_for_everywhere_and_not_found() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let world = World::new().await;
    let device = world.sealing_device("d-1", 1).await;
    let answers = Mutex::new(Vec::new());
    let say = |answer: (u16, Value)| answers.lock().unwrap().extend(answer.1.to_string().bytes());

    let texts: [&[u8]; 7] = [
        b"first-password-Xq7Lw2",
        b"second-password-Zr9Kt4",
        b"binary-\xfe\xff-Vb3Nm5Qd8",
        b"signing-key-Hj6Pf1Sc",
        b"Bearer token-Yt8Mw3Rk",
        b"faulty-value-Uk5Jd7Bn",
        b"hook-path-Gs2Wc9Ex",
    ];
    let text = |at: usize| std::str::from_utf8(texts[at]).unwrap();
    let db = |password: &str| {
        secret(
            "db",
            json!({
                "password": password, "key": { "base64": STANDARD.encode(texts[2]) },
                "made": { "generate": { "length": 40 } },
            }),
        )
    };
    let pump = workload(
        "pump",
        json!({ "PASSWORD": { "secret": "db", "key": "password" }, "MADE": { "secret": "db", "key": "made" } }),
        json!({
            "db.key": { "secret": "db", "key": "key" },
            "app.conf": { "template": "user=app\npassword=${secret.db.password}\n" },
        }),
    );
    let night = document(
        "Notification",
        "night",
        json!({
            "devices": "all",
            "to": { "webhook": {
                "secretUrl": format!("https://hooks.example/{}", text(6)), "secret": text(3),
                "headers": { "Authorization": text(4) },
            } },
        }),
    );
    let all = [db(text(0)), config("app", json!({ "level": "info" })), pump, night];
    let dry = json!({ "documents": all });
    say(world.request("POST", "/api/v1/apply?dryRun=true", dry).await);
    say((200, world.puts(&all).await));
    // Documents with faults, which have secrets in them.
    for faulty in [
        secret("db", json!({ "password": text(5), "other key": text(5) })),
        secret("db", json!({ "password": { "base64": text(5) } })),
        secret(
            "db",
            json!({ "password": { "base64": "AA==", "generate": {}, "sha256": text(5) } }),
        ),
        secret("db", json!([text(5)])),
        secret("db", json!(text(5))),
        document("Secret", "db", json!(text(5))),
        workload("pump", json!({ "P": { "secret": "nothing", "key": "password" } }), json!({})),
        document(
            "Notification",
            "night",
            json!({
                "devices": "all", "to": { "webhook": { "url": "https://a", "secret": [text(5)] } },
            }),
        ),
    ] {
        let (status, answer) = world.put(&[faulty, db(text(5)), db(text(5))]).await;
        assert_eq!(status, 422);
        say((status, answer));
    }
    let rotate = "/api/v1/secrets/db/rotate";
    say(world.request("POST", rotate, json!({ "values": { "password": text(1) } })).await);
    say(world.request("POST", rotate, json!({})).await);
    say(world.request("POST", rotate, json!({ "values": { "nothing": text(5) } })).await);

    let (_, _, content) = world.opened(&device, "pump");
    assert_eq!(content.env["PASSWORD"].as_bytes(), texts[1], "the device has it");
    assert_eq!(content.files["db.key"].as_slice(), texts[2]);
    let conf = String::from_utf8(content.files["app.conf"].to_vec()).unwrap();
    assert_eq!(conf, format!("user=app\npassword={}\n", text(1)));
    let made = content.env["MADE"].clone().into_bytes();
    assert_eq!(made.len(), 40);

    let mut places = everything(&world, &log).await;
    places.insert("answers".into(), answers.lock().unwrap().clone());
    let texts: Vec<&[u8]> = texts.into_iter().chain([made.as_slice()]).collect();
    for secret in &texts {
        let nowhere: [&str; 0] = [];
        assert_eq!(found(&places, secret), nowhere, "{}", String::from_utf8_lossy(secret));
    }
    let world = world.restart().await;
    let (_, _, content) = world.opened(&device, "pump");
    assert_eq!(content.env["PASSWORD"].as_bytes(), texts[1], "after a restart too");

    // The search finds what is planted: in the store, the backup, answers, the audit log, the log.
    let planted = "planted-value-Dk4Xn6Tz";
    world.puts(&[config("app", json!({ "level": planted }))]).await;
    world.puts(&[workload("plain", json!({ "P": planted }), json!({}))]).await;
    tracing::info!("said {planted}");
    let places = everything(&world, &log).await;
    let planted = found(&places, planted.as_bytes());
    for place in [
        "backup",
        "desired",
        "log",
        "policies/configs/app",
        "revisions",
        "row config/default/app",
        "store",
        "workloads",
    ] {
        assert!(planted.contains(&place), "not found in {place}: {planted:?}");
    }
}

#[tokio::test]
async fn a_document_that_was_read_keeps_the_stored_values() {
    let world = World::new().await;
    let made = secret("db", json!({ "password": "one", "made": { "generate": {} } }));
    world.puts(std::slice::from_ref(&made)).await;
    let read = |world: &World| {
        let answer = world.service.workloads.policy(
            &world.actor(),
            holdfast_control::core::records::PolicyKind::Secret,
            "db",
        );
        serde_json::to_value(answer.unwrap()).unwrap()
    };
    let first = read(&world);
    let data = &first["spec"]["data"];
    assert_eq!((&data["password"]["length"], &data["made"]["length"]), (&json!(3), &json!(32)));
    assert_eq!(data["password"]["sha256"].as_str().unwrap().len(), 8);
    assert!(data["made"]["generate"].is_object() && data["password"]["changedAt"].is_string());
    advance(60);
    // As it was read, as it was written, and with a key more.
    let mut again = json!({
        "apiVersion": first["apiVersion"], "kind": first["kind"],
        "metadata": { "name": "db", "resourceVersion": first["metadata"]["resourceVersion"] },
        "spec": first["spec"],
    });
    for same in [&again, &made] {
        assert_eq!(
            world.puts(std::slice::from_ref(same)).await["results"][0]["action"],
            "unchanged"
        );
    }
    assert_eq!(read(&world)["spec"], first["spec"]);
    again["spec"]["data"]["more"] = json!("two");
    world.puts(&[again]).await;
    let second = read(&world);
    assert_eq!(second["spec"]["data"]["password"], first["spec"]["data"]["password"]);
    assert_eq!(second["status"]["values"]["keys"], 3);
    // A value that is typed anew is another one, and no digest is shared by equal values.
    world.puts(&[secret("db", json!({ "password": "new", "more": "new" }))]).await;
    let third = read(&world);
    let data = &third["spec"]["data"];
    assert_ne!(data["password"]["sha256"], first["spec"]["data"]["password"]["sha256"]);
    assert_ne!(data["password"]["sha256"], data["more"]["sha256"]);
    assert!(data["made"].is_null(), "a key that is left out is gone");
    // What is hidden and not stored is a fault.
    let hidden = json!({ "other": data["more"] });
    let faults = world.refuses(&[secret("db", hidden)]).await;
    assert!(faults[0].starts_with("spec.data.other: sha256, length and changedAt"), "{faults:?}");
}

#[tokio::test]
async fn generated_values_are_made_once_and_rotated() {
    let world = World::new().await;
    let device = world.sealing_device("d-1", 1).await;
    let db = |length: u64| {
        let rule = json!({ "generate": { "length": length, "alphabet": "hex" } });
        secret("db", json!({ "a": rule, "b": rule, "given": "x" }))
    };
    let env = json!({ "A": { "secret": "db", "key": "a" }, "B": { "secret": "db", "key": "b" } });
    world.puts(&[db(16), workload("w", env, json!({}))]).await;
    let values = |world: &World| {
        let (version, _, content) = world.opened(&device, "w");
        (version, content.env["A"].clone(), content.env["B"].clone())
    };
    let first = values(&world);
    assert_eq!(first.1.len(), 16);
    assert!(first.1.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(first.1, first.2);
    world.puts(&[db(16)]).await;
    assert_eq!(values(&world), first, "applied again it is kept");
    let rotate = "/api/v1/secrets/db/rotate";
    let (status, answer) = world.request("POST", rotate, json!({ "keys": ["a"] })).await;
    assert_eq!((status, &answer["results"][0]["action"]), (200, &json!("changed")), "{answer}");
    let effect = answer["results"][0]["effect"].as_str().unwrap();
    assert_eq!(effect, "1 device gets other values");
    let second = values(&world);
    assert!(second.0 != first.0 && second.1 != first.1 && second.2 == first.2);
    assert_eq!(world.request("POST", rotate, json!({})).await.0, 200);
    let third = values(&world);
    assert!(third.1 != second.1 && third.2 != second.2, "without a key it is every generated one");
    world.puts(&[db(20)]).await;
    assert_eq!(values(&world).1.len(), 20, "another rule makes another value");
    for (body, said) in [
        (json!({ "keys": ["given"] }), "was not generated: give the new value"),
        (json!({ "keys": ["c"] }), "there is no such key; it has a, b, given"),
        (json!({ "values": { "a": { "base64": "?" } } }), "not base64"),
    ] {
        let (status, answer) = world.request("POST", rotate, body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(answer.to_string().contains(said), "{answer}");
    }
    assert_eq!(world.request("POST", "/api/v1/secrets/no/rotate", json!({})).await.0, 404);
    let audit = world.read("/api/v1/audit").await;
    let of = |action: &str| {
        let items = audit["items"].as_array().unwrap();
        items.iter().filter(|it| it["action"] == action).map(|it| it["message"].clone()).collect()
    };
    let rotated: Vec<Value> = of("secret.rotate");
    assert!(rotated.contains(&json!("a")) && rotated.contains(&json!("a, b")), "{rotated:?}");
}

#[tokio::test]
async fn what_is_referred_to_must_be_there() {
    let world = World::new().await;
    world.sealing_device("d-1", 1).await;
    let one = |env: Value| workload("w", env, json!({}));
    let from = |kind: &str, name: &str, key: &str| json!({ "X": { kind: name, "key": key } });
    let faults = world.refuses(&[one(from("secret", "db", "password"))]).await;
    assert_eq!(
        faults,
        ["spec.run.process.env.X: there is no secret db: apply it first, or in the same apply"]
    );
    let db = secret("db", json!({ "password": "p", "blob": { "base64": "/wA=" } }));
    let faults = world.refuses(&[db.clone(), one(from("secret", "db", "pasword"))]).await;
    let at = "documents[1] (Workload/w): spec.run.process.env.X";
    assert_eq!(faults, [format!("{at}: secret db has no key pasword; it has blob, password")]);
    world.puts(std::slice::from_ref(&db)).await;
    let files =
        |template: &str| workload("w", json!({}), json!({ "a.conf": { "template": template } }));
    for (document, said) in [
        (one(from("config", "app", "port")), "spec.run.process.env.X: there is no config app"),
        (one(from("secret", "db", "blob")), "X: key blob of secret db is no text"),
        (files("${secret.db.blob}"), "spec.files[\"a.conf\"]: key blob of secret db is no text"),
        (files("${secret.db.none}"), "spec.files[\"a.conf\"]: secret db has no key none"),
        (files("${HOME}"), "template: line 1: ${HOME} is not a reference"),
        (files("a\n${label.site"), "template: line 2: \"${\" without \"}\""),
        (files("${label.site}"), "spec.files[\"a.conf\"]: device d-1: no label site"),
        (one(json!({ "X": { "secret": "db" } })), "X.key: is missing: which value of the secret"),
        (
            one(json!({ "X": { "secret": "db", "config": "a", "key": "b" } })),
            "both secret and config",
        ),
        (
            workload("w", json!({}), json!({ "../a": { "secret": "db", "key": "blob" } })),
            "would leave",
        ),
    ] {
        let faults = world.refuses(&[document]).await;
        assert!(faults.iter().any(|fault| fault.contains(said)), "{said}: {faults:?}");
    }
    world
        .puts(&[files("${label.site:-none} ${label.role} ${device.name} ${tenant.name} $${x}")])
        .await;

    // A key that is used cannot go, and neither can the document.
    world.puts(&[one(from("secret", "db", "password"))]).await;
    let faults = world.refuses(&[secret("db", json!({ "blob": "b" }))]).await;
    let said = "spec.data.password: workload w refers to it (spec.run.process.env.X): secret db has no key password";
    assert!(faults[0].starts_with(said), "{faults:?}");
    let delete = || world.request("DELETE", "/api/v1/policies/secrets/db", json!(null));
    let (status, answer) = delete().await;
    assert_eq!(status, 409, "{answer}");
    assert!(answer.to_string().contains("secret db is used by workload w: change them first"));
    world.puts(&[one(json!({}))]).await;
    assert_eq!(delete().await.0, 204);
}

#[tokio::test]
async fn agents_that_take_no_sealed_content_are_named() {
    let world = World::new().await;
    world.sealing_device("d-1", 1).await;
    let (old, _) = world.device("d-2").await;
    let app = config("app", json!({ "port": "80" }));
    let uses = workload("w", json!({ "PORT": { "config": "app", "key": "port" } }), json!({}));
    let faults = world.refuses(&[app.clone(), uses.clone()]).await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    let said = "documents[1] (Workload/w): spec.devices: device d-2: secrets and files are sealed";
    assert!(faults[0].starts_with(said), "{faults:?}");
    world.tell_key(&old, &SealingKey::new([2; 32]).unwrap()).await;
    world.puts(&[app, uses]).await;
    // A device with an old agent is not let in where it would have to get the workload.
    let (key, token) = (Key::new(), world.token(json!({})).await);
    let refused = world.enrol(&key, &token, Some("d-3")).await.unwrap_err().to_string();
    assert!(refused.contains("workload w has secrets or files that are sealed"), "{refused}");
}

#[tokio::test]
async fn exactly_the_devices_that_are_concerned_get_another_version() {
    let world = World::new().await;
    let (one, two) = (world.sealing_device("d-1", 1).await, world.sealing_device("d-2", 2).await);
    let patch = |name: &str, labels: Value| {
        let path = format!("/api/v1/devices/{name}");
        let world = &world;
        async move {
            let (status, answer) = world.request("PATCH", &path, json!({ "labels": labels })).await;
            (status, answer)
        }
    };
    for name in ["d-1", "d-2"] {
        assert_eq!(patch(name, json!({ "site": "kiel", "role": "a" })).await.0, 200);
    }
    assert_eq!(patch("d-2", json!({ "role": "b" })).await.0, 200);
    let mut document = workload(
        "w",
        json!({ "LEVEL": { "config": "app", "key": "level" } }),
        json!({ "a.conf": { "template": "${label.site}: ${secret.db.password}" } }),
    );
    document["spec"]["onSecretChange"] = json!({ "signal": "SIGHUP" });
    let db = |password: &str| secret("db", json!({ "password": password, "unused": password }));
    world
        .puts(&[db("p1"), config("app", json!({ "level": "info", "other": "1" })), document])
        .await;
    let (version, on_change, content) = world.opened(&one, "w");
    assert_eq!((on_change, content.env["LEVEL"].as_str()), (OnChange::Signal(1), "info"));
    assert_eq!(content.files["a.conf"].as_slice(), b"kiel: p1");
    let before = (world.generation("d-1"), world.generation("d-2"));

    world.puts(&[db("p2")]).await;
    let (second, _, content) = world.opened(&one, "w");
    assert_eq!(content.files["a.conf"].as_slice(), b"kiel: p2");
    assert_ne!(second, version);
    let state = world.desired("d-1").unwrap();
    assert_eq!(
        state.workloads[&"w".parse::<Name>().unwrap()].revision,
        1,
        "the revision is the same"
    );
    assert_eq!((world.generation("d-1"), world.generation("d-2")), (before.0 + 1, before.1));

    // What the workload does not use changes nothing.
    world.puts(&[config("app", json!({ "level": "info", "other": "2" }))]).await;
    assert_eq!(world.generation("d-1"), before.0 + 1);
    world.puts(&[config("app", json!({ "level": "debug", "other": "2" }))]).await;
    assert_eq!(world.opened(&one, "w").2.env["LEVEL"], "debug");
    assert_eq!((world.generation("d-1"), world.generation("d-2")), (before.0 + 2, before.1));

    // A label that it uses counts, another does not, and it cannot be taken away.
    assert_eq!(patch("d-1", json!({ "floor": "2" })).await.0, 200);
    assert_eq!(world.generation("d-1"), before.0 + 2);
    assert_eq!(patch("d-1", json!({ "site": "oslo" })).await.0, 200);
    assert_eq!(world.opened(&one, "w").2.files["a.conf"].as_slice(), b"oslo: p2");
    let (status, answer) = patch("d-1", json!({ "site": null })).await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(answer["error"]["faults"][0]["path"], "labels.site");
    assert_eq!(patch("d-2", json!({ "role": "a" })).await.0, 200);
    assert_eq!(world.opened(&two, "w").2.files["a.conf"].as_slice(), b"kiel: p2");

    // Sealed for one device, it is opened by no other.
    let state = world.desired("d-1").unwrap();
    let name = "w".parse().unwrap();
    let sealed = state.workloads[&name].sealed.clone().unwrap();
    let bound = Bound {
        device: &id("d-1"),
        workload: &name,
        revision: 1,
        epoch: state.epoch,
        version: sealed.version,
    };
    assert!(one.sealing.open(&sealed.bytes, &bound).is_ok());
    assert!(two.sealing.open(&sealed.bytes, &bound).is_err());
}

#[tokio::test]
async fn it_is_told_who_uses_a_secret_and_which_devices_have_which_value() {
    let world = World::new().await;
    for (name, byte) in [("d-1", 1), ("d-2", 2)] {
        world.sealing_device(name, byte).await;
    }
    let db = |password: &str| secret("db", json!({ "password": password }));
    let env = json!({ "P": { "secret": "db", "key": "password" } });
    world.puts(&[db("one"), workload("w", env, json!({}))]).await;
    let shown = |world: &World| {
        let actor = world.actor();
        let kind = holdfast_control::core::records::PolicyKind::Secret;
        let answer = world.service.workloads.policy(&actor, kind, "db").unwrap();
        serde_json::to_value(answer).unwrap()
    };
    let digest = |world: &World| {
        shown(world)["spec"]["data"]["password"]["sha256"].as_str().unwrap().to_owned()
    };
    let first = digest(&world);
    for name in ["d-1", "d-2"] {
        let state = world.desired(name).unwrap();
        let said = report(true, state.epoch, state.generation, &[("w", 1)]);
        assert!(world.publish(name, Channel::State, said).await);
    }
    let status = shown(&world)["status"].clone();
    assert_eq!(status["values"]["usedBy"], json!(["workload w"]));
    assert_eq!((&status["devices"], &status["applied"]), (&json!(2), &json!(2)), "{status}");

    world.puts(&[db("two")]).await;
    let second = digest(&world);
    let state = world.desired("d-1").unwrap();
    let said = report(true, state.epoch, state.generation, &[("w", 1)]);
    assert!(world.publish("d-1", Channel::State, said).await);
    let devices = world.read("/api/v1/policies/secrets/db/devices").await;
    let row = |at: usize| {
        let item = &devices["items"][at];
        let value = &item["values"][0];
        (item["applied"].as_bool().unwrap(), value["sha256"].clone(), value["has"].clone())
    };
    assert_eq!(row(0), (true, json!(second), json!(second)));
    assert_eq!(row(1), (false, json!(second), json!(first)), "it has the former one");
    let explained = world.read("/api/v1/explain/secrets/db").await;
    assert_eq!(explained["summary"], "1 of 2 devices have the newest values", "{explained}");
    assert_eq!(explained["settled"], false);
}

#[tokio::test]
async fn secrets_are_bounded_and_their_faults_have_paths() {
    let world = World::new().await;
    let long = "x".repeat(40_000);
    for (data, said) in [
        (json!({ "a": long, "b": long }), "spec.data: 80000 bytes in all, at most 65536"),
        (json!({}), "spec.data: no key; give at least one"),
        (json!({ "a b": "x" }), "spec.data[\"a b\"]: not a key"),
        (json!({ "a": 7 }), "spec.data.a: expected text in quotes"),
        (json!({ "a": { "base64": "?" } }), "spec.data.a.base64: not base64"),
        (json!({ "a": {} }), "spec.data.a: a value is missing"),
        (
            json!({ "a": { "generate": { "length": 7 } } }),
            "spec.data.a.generate.length: 7: expected",
        ),
        (json!({ "a": { "generate": { "alphabet": "runes" } } }), "unknown alphabet"),
        (json!({ "a": { "literal": "x" } }), "spec.data.a.literal: unknown field"),
    ] {
        let faults = world.refuses(&[secret("db", data)]).await;
        assert!(faults.iter().any(|fault| fault.contains(said)), "{said}: {faults:?}");
    }
    let many: serde_json::Map<String, Value> =
        (0..257).map(|number| (format!("k{number}"), json!("x"))).collect();
    let faults = world.refuses(&[config("app", json!(many))]).await;
    assert!(faults[0].contains("257 keys, at most 256"), "{faults:?}");
    let generated = config("app", json!({ "a": { "generate": {} } }));
    assert!(world.refuses(&[generated]).await[0].contains("unknown field"));
}

#[tokio::test]
async fn stored_secrets_are_sealed_again_under_a_new_data_key() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("master.key"));
    let world = World::with_keyring(Arc::new(LocalKeyring::begin(place, 7).unwrap())).await;
    let device = world.sealing_device("d-1", 1).await;
    let db = secret("db", json!({ "password": "one" }));
    let env = json!({ "P": { "secret": "db", "key": "password" } });
    let to = json!({ "webhook": { "url": "https://hooks.example/a", "secret": "signing-key" } });
    let night = document("Notification", "night", json!({ "devices": "all", "to": to }));
    world.puts(&[db.clone(), workload("w", env, json!({})), night.clone()]).await;
    let rows = |world: &World| {
        let read = |prefix: &str| world.store.read(prefix, 10).unwrap().remove(0).1;
        [read("secret/"), read("notification/default/")]
    };
    let (before, version) = (rows(&world), world.opened(&device, "w").0);
    let body = json!({ "dataKeys": true });
    let (status, answer) = world.request("POST", "/api/v1/master-key/rotate", body).await;
    assert_eq!(status, 200, "{answer}");
    let after = rows(&world);
    assert!(before[0] != after[0] && before[1] != after[1]);
    let (same, _, content) = world.opened(&device, "w");
    assert_eq!((same, content.env["P"].as_str()), (version, "one"), "nothing restarts");
    let world = world.restart().await;
    assert_eq!(world.opened(&device, "w").2.env["P"], "one");
    let again = world.puts(&[db, night]).await;
    for at in 0..2 {
        assert_eq!(again["results"][at]["action"], "unchanged", "{again}");
    }
}

#[tokio::test]
async fn a_role_with_a_selector_refers_to_what_its_devices_were_given() {
    let world = World::new().await;
    world.sealing_device("d-1", 1).await;
    let refers = |name: &str, key: &str| {
        workload(name, json!({ "V": { "secret": "db", "key": key } }), json!({}))
    };
    let plain = workload("former", json!({}), json!({}));
    let (status, answer) = world
        .put(&[
            secret("db", json!({ "k1": "v1", "k2": "v2" })),
            refers("given", "k1"),
            refers("former", "k2"),
        ])
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(world.put(&[plain]).await.0, 200);
    let new = json!({ "role": "operator", "selector": "role=a" });
    let token = world.request("POST", "/api/v1/access", new).await.1["token"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let ask = async |path: &str, body: Value| {
        let head = [("authorization", &*bearer), ("content-type", "application/json")];
        let answer = world.raw("POST", path, &head, &body.to_string()).await;
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    };
    for path in ["/api/v1/apply?dryRun=true", "/api/v1/apply"] {
        for (document, refused) in [
            (refers("new", "k1"), None),
            (refers("new", "k2"), Some("refers to key k2 of secret db")),
            (refers("given", "k2"), Some("refers to key k2 of secret db")),
            (refers("new", "k3"), Some("refers to key k3 of secret db")),
        ] {
            let (status, text) = ask(path, json!({ "documents": [document] })).await;
            let right = match refused {
                None => status == 200,
                Some(said) => status == 403 && text.contains(said),
            };
            assert!(right, "{path} {document}: {status} {text}");
        }
    }
    let (status, text) = ask("/api/v1/workloads/former/rollback", json!({ "to": 1 })).await;
    assert!(status == 403 && text.contains("refers to key k2 of secret db"), "{status} {text}");
    let (status, text) = ask("/api/v1/workloads/new/restart", json!({})).await;
    assert_eq!(status, 200, "its own workload is its own: {text}");
}
