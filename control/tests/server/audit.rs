//! Tests of the audit log as a chain: whatever is done to its rows is found, with the first wrong
//! entry; what devices saw outlives a rewritten history; refusals are counted.

use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::codec;
use holdfast_base::ids::{Name, hex};
use holdfast_control::api::chain::{START, hash_of, link_own, link_whole};
use holdfast_control::api::{AuditRecord, Role, Verification};
use holdfast_control::core::rights::Actor;
use holdfast_control::ports::store::{Batch, Store};
use holdfast_control::service::run_sinks;
use holdfast_protocol::checkpoint::{Checkpoint, Testimony, Witnessed};
use holdfast_protocol::message::{AgentInfo, Method, Reply, StateReport};
use holdfast_protocol::signing::{self, Signer};
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{World, advance};

fn key(number: u64) -> String {
    format!("audit/default/{number:020}")
}

/// Returns the stored entries of the audit log.
fn rows(world: &World) -> Vec<AuditRecord> {
    entries(&*world.store)
}

fn entries(store: &dyn Store) -> Vec<AuditRecord> {
    let stored = store.read("audit/default/", 100_000).unwrap();
    stored.iter().map(|(_, value)| serde_json::from_slice(value).unwrap()).collect()
}

/// Writes rows behind the control plane's back, as whoever owns its disk can.
fn put(store: &dyn Store, rows: Vec<(String, Option<Vec<u8>>)>) {
    let batch = Batch { writes: rows, ..Batch::default() };
    store.commit(&[batch]).unwrap();
}

fn bytes(entry: &AuditRecord) -> Option<Vec<u8>> {
    Some(serde_json::to_vec(entry).unwrap())
}

async fn get(world: &World, path: &str) -> Value {
    let (status, answer) = world.request("GET", path, json!(null)).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn verify(world: &World, witness: bool) -> Verification {
    let path = format!("/api/v1/audit/verification?witness={witness}");
    serde_json::from_value(get(world, &path).await).unwrap()
}

/// Lets time pass until a checkpoint is due, and makes it.
async fn checkpoint(world: &World) {
    advance(61);
    world.service.audit().tick();
    world.settle().await;
}

/// Returns a world with some entries and a checkpoint over them.
async fn busy() -> World {
    let world = World::new().await;
    world.device("d-1").await;
    for argument in 0..12 {
        world.apply("w", &argument.to_string()).await.unwrap();
    }
    checkpoint(&world).await;
    world
}

/// Recomputes the chain of all entries from a number on, and signs every stored checkpoint anew:
/// what whoever has the store and the signing key can do.
fn rewrite(store: &dyn Store, signer: &Signer, from: u64, change: impl Fn(&mut AuditRecord)) {
    let mut all = entries(store);
    let mut own = START;
    let mut whole = START;
    let mut writes = Vec::new();
    for entry in &mut all {
        if entry.number >= from {
            change(entry);
            whole = link_whole(&whole, entry, "default");
            entry.whole = Some(hex(&whole).into());
            own = link_own(&own, entry, "default");
            entry.hash = Some(hex(&own).into());
            writes.push((key(entry.number), bytes(entry)));
        }
        own = hash_of(entry.hash.as_deref()).unwrap();
        whole = hash_of(entry.whole.as_deref()).unwrap();
    }
    for (key, value) in store.read("checkpoint/default/", 1_000).unwrap() {
        let mut record: Value = serde_json::from_slice(&value).unwrap();
        let number = record["number"].as_u64().unwrap();
        let hash = hash_of(all[usize::try_from(number).unwrap()].hash.as_deref()).unwrap();
        let made = Checkpoint { number, hash, at: record["at"].as_u64().unwrap() };
        record["hash"] = hex(&hash).into();
        let signed = signer.sign_checkpoint(&made, Some("default")).unwrap();
        record["signed"] = STANDARD.encode(signed).into();
        writes.push((key, Some(record.to_string().into_bytes())));
    }
    let point = store.pick(&["checkpoint".into()]).unwrap().remove(0).unwrap().value;
    let mut point: Value = serde_json::from_slice(&point).unwrap();
    let place = point["number"].as_u64();
    let entry = all.iter().find(|entry| entry.whole_number == place).unwrap();
    let hash = hash_of(entry.whole.as_deref()).unwrap();
    let made = Checkpoint { number: place.unwrap(), hash, at: point["at"].as_u64().unwrap() };
    let signed = signer.sign_checkpoint(&made, None).unwrap();
    (point["hash"], point["signed"]) = (hex(&hash).into(), STANDARD.encode(signed).into());
    writes.push(("checkpoint".into(), Some(point.to_string().into_bytes())));
    put(store, writes);
}

/// Returns the control plane's signing key, as whoever steals it has it.
fn stolen(world: &World) -> Signer {
    let keys = world.service.enrolment.authority().keys().clone();
    Signer::from_pkcs8(&STANDARD.decode(keys.signing_key).unwrap()).unwrap()
}

/// Verifies with witnesses, while every device that is asked answers with what it keeps.
async fn witnessed(world: &World, kept: &[Witnessed]) -> Verification {
    let asks = verify(world, true);
    let answers = async {
        let key = world.service.enrolment.authority().signer().public_key();
        for _ in 0..2_000 {
            let call = world.bus.calls.lock().unwrap().pop();
            if let Some((device, bytes)) = call {
                let call = signing::open_call(&bytes, &key, &device, 77).unwrap();
                assert_eq!(call.method, Method::AuditCheckpoint);
                let body = codec::encode(&Testimony(kept.to_vec())).unwrap();
                let (v, id, log) = (holdfast_base::WIRE_VERSION, call.id, Vec::new());
                let reply = Reply { v, id, sequence: 0, end: true, body, error: None, log };
                let name = device.device.to_string();
                world.publish(&name, Channel::Reply, codec::encode(&reply).unwrap()).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no device was asked");
    };
    tokio::join!(asks, answers).0
}

/// Lets the device say that it is here, and that it keeps checkpoints.
async fn arrives(world: &World) {
    world.present("d-1", 77).await;
    reports(world, true).await;
}

/// Lets the device report in full. `witness`: true if its agent keeps checkpoints.
async fn reports(world: &World, witness: bool) {
    let agent = AgentInfo {
        version: "1".into(),
        arch: "x".into(),
        kernel: String::new(),
        certificate_not_after: None,
        refused: 0,
        witness,
        engine: None,
        neighbours: Vec::new(),
    };
    let report = StateReport {
        v: holdfast_base::WIRE_VERSION,
        full: true,
        epoch: 0,
        generation: 0,
        workloads: Default::default(),
        problems: Some(Vec::new()),
        agent: Some(agent),
        data: None,
        history: Vec::new(),
        id: None,
    };
    assert!(world.publish("d-1", Channel::State, codec::encode(&report).unwrap()).await);
}

/// Connects the device, and returns what it keeps: the checkpoint of its desired state.
async fn seen(world: &World) -> Witnessed {
    world.connect("d-1", 1);
    arrives(world).await;
    let state = world.desired("d-1").unwrap();
    Witnessed { epoch: state.epoch, checkpoint: state.audit.expect("it carries a checkpoint") }
}

/// Applies a document, and returns the whole response.
async fn applied(world: &World, document: &Value) -> axum::response::Response {
    let body = Body::from(json!({ "documents": [document] }).to_string());
    world.answer("POST", "/api/v1/apply", &[("content-type", "application/json")], body).await
}

#[tokio::test]
async fn an_entry_says_who_what_before_and_after_and_which_request() {
    let world = World::new().await;
    let document = crate::world::document("w", "1");
    let first = applied(&world, &document).await;
    assert_eq!(first.status(), 200);
    let request = first.headers()["x-request-id"].to_str().unwrap().to_owned();
    applied(&world, &crate::world::document("w", "2")).await;
    let found = get(&world, "/api/v1/audit?action=workload").await;
    let [one, two] = [0, 1].map(|at| found["items"][at].clone());
    assert_eq!((&one["by"], &one["request"]), (&json!("admin"), &json!(request)), "{one}");
    assert_eq!((&one["before"], &two["before"]), (&Value::Null, &one["after"]), "{one} {two}");
    assert_ne!(two["after"], one["after"]);
    assert!(one["hash"].is_string() && one["whole"].is_string(), "{one}");
    assert_eq!(one.get("wholeNumber"), None, "it counts the entries of other tenants");
}

#[tokio::test]
#[allow(clippy::type_complexity, reason = "a table")]
async fn whatever_is_done_to_the_rows_the_first_wrong_entry_is_named() {
    let world = busy().await;
    let intact = verify(&world, false).await;
    assert!(intact.intact && intact.entries >= 13, "{intact:?}");
    assert!(intact.checkpoints >= 1 && intact.witnesses.is_none(), "{intact:?}");
    world.settle().await;
    let all = rows(&world);
    let last = all.last().unwrap().number;
    let swapped = |number: u64, like: usize| {
        let other = AuditRecord { number, ..all[like].clone() };
        (key(number), bytes(&other))
    };
    let edited = AuditRecord { message: "nothing".into(), ..all[5].clone() };
    let anew = |entry: &AuditRecord| {
        let before = hash_of(all[4].hash.as_deref()).unwrap();
        let hash = Some(hex(&link_own(&before, entry, "default")).into());
        AuditRecord { hash, ..entry.clone() }
    };
    let table: &[(&str, Vec<(String, Option<Vec<u8>>)>, (u64, Option<u64>))] = &[
        ("cut out", vec![(key(5), None)], (5, None)),
        ("cut out, several", vec![(key(5), None), (key(6), None)], (5, Some(6))),
        ("cut from the beginning", vec![(key(0), None)], (0, None)),
        ("cut off the end", vec![(key(last), None)], (last, None)),
        (
            "cut off the end, several",
            vec![(key(last - 1), None), (key(last), None)],
            (last - 1, Some(last)),
        ),
        ("reordered", vec![swapped(5, 6), swapped(6, 5)], (5, None)),
        ("edited", vec![(key(5), bytes(&edited))], (5, None)),
        ("edited, with its hash", vec![(key(5), bytes(&anew(&edited)))], (6, None)),
    ];
    for (what, damage, (number, to)) in table {
        put(&*world.store, damage.clone());
        let found = verify(&world, false).await;
        let fault = found.faults.first().unwrap_or_else(|| panic!("{what} is not found"));
        assert_eq!((fault.number, fault.to), (*number, *to), "{what}: {fault:?}");
        assert!(!found.intact && fault.message.contains(&format!("{number}")), "{fault:?}");
        put(&*world.store, all.iter().map(|entry| (key(entry.number), bytes(entry))).collect());
        let whole = verify(&world, false).await;
        assert!(whole.intact, "{what} is healed: {whole:?}");
    }
    // Rewritten with all hashes after it, and without the signing key.
    let key = stolen(&world);
    let damage = |store: &dyn Store| {
        rewrite(store, &key, 5, |entry| entry.message.push_str(" by another"));
        let (key, value) = store.read("checkpoint/default/", 10).unwrap().pop().unwrap();
        let mut forged: Value = serde_json::from_slice(&value).unwrap();
        forged["signed"] = STANDARD.encode([0; 100]).into();
        put(store, vec![(key, Some(forged.to_string().into_bytes()))]);
    };
    let world = world.tampered(damage).await;
    let found = verify(&world, false).await;
    assert!(found.faults[0].message.contains("is not signed by"), "{found:?}");
}

#[tokio::test]
async fn a_history_rewritten_with_a_stolen_key_is_told_by_the_fleet() {
    let world = busy().await;
    let early = seen(&world).await;
    assert!(witnessed(&world, &[early]).await.intact);
    for argument in 20..30 {
        world.apply("w", &argument.to_string()).await.unwrap();
    }
    checkpoint(&world).await;
    let late = seen(&world).await;
    assert!(late.checkpoint.number > early.checkpoint.number);
    let agrees = witnessed(&world, &[early, late]).await;
    let counts = agrees.witnesses.unwrap();
    assert_eq!((counts.of, counts.agree, agrees.intact), (1, 1, true), "{agrees:?}");

    let wrong = early.checkpoint.number + 3;
    let key = stolen(&world);
    let hide = |entry: &mut AuditRecord| {
        if entry.number == wrong {
            entry.message = "nothing to see".into();
        }
    };
    let world = world.tampered(|store| rewrite(store, &key, wrong, hide)).await;
    let alone = verify(&world, false).await;
    assert!(alone.intact, "the chain and its signatures hold: {alone:?}");
    world.connect("d-1", 1);
    arrives(&world).await;
    let told = witnessed(&world, &[early, late]).await;
    let fault = &told.faults[0];
    let between = (early.checkpoint.number + 1, Some(late.checkpoint.number));
    assert_eq!((fault.number, fault.to), between, "{fault:?}");
    assert!(fault.message.contains("device d-1"), "{fault:?}");
    assert_eq!(told.witnesses.unwrap().disagree, 1);
    assert_eq!(told.devices[0].device, "d-1");
}

#[tokio::test]
async fn an_older_copy_of_the_store_is_told_from_an_announced_restore() {
    let world = busy().await;
    let (_, tar) = world.send("POST", "/api/v1/backup/unencrypted", &[], Body::empty()).await;
    let copy = world.store.read("", 100_000).unwrap();
    for argument in 20..30 {
        world.apply("w", &argument.to_string()).await.unwrap();
    }
    checkpoint(&world).await;
    let late = seen(&world).await;

    // The older copy of the whole store is put back: nothing in it says so.
    let writes = copy.into_iter().map(|(key, value)| (key, Some(value))).collect();
    let batch = Batch { clear: true, writes, ..Batch::default() };
    let world = world.tampered(|store| drop(store.commit(&[batch]).unwrap())).await;
    assert!(verify(&world, false).await.intact);
    world.connect("d-1", 1);
    arrives(&world).await;
    let told = witnessed(&world, &[late]).await;
    assert!(told.faults[0].message.contains("older copy"), "{told:?}");
    assert_eq!(told.faults[0].to, Some(late.checkpoint.number));

    // A restore from a backup announces itself, with its epoch.
    let (status, answer) = world.send("POST", "/api/v1/restore", &[], Body::from(tar)).await;
    assert_eq!(status, 200, "{answer:?}");
    for argument in 40..60 {
        world.apply("w", &argument.to_string()).await.unwrap();
    }
    world.connect("d-1", 2);
    arrives(&world).await;
    let told = witnessed(&world, &[late]).await;
    assert!(told.intact, "{told:?}");
    assert!(told.notes[0].contains("announces a restore"), "{told:?}");
    let audit = get(&world, "/api/v1/audit?action=restore").await;
    let entry = &audit["items"][0];
    assert!(entry["before"].is_string(), "{entry}");
    assert!(entry["message"].as_str().unwrap().contains("epoch"), "{entry}");
}

#[tokio::test]
async fn a_tail_that_was_cut_with_its_number_is_missed_by_the_signed_checkpoints() {
    let world = busy().await;
    let all = rows(&world);
    let last = all.last().unwrap().number;
    let mut meta: Value =
        serde_json::from_slice(&world.store.read("meta/default", 1).unwrap()[0].1).unwrap();
    meta["nextAudit"] = (last - 2).into();
    let mut writes: Vec<_> = (last - 2..=last).map(|number| (key(number), None)).collect();
    writes.push(("meta/default".into(), Some(meta.to_string().into_bytes())));
    let world = world.tampered(|store| put(store, writes)).await;
    let found = verify(&world, false).await;
    let fault = &found.faults[0];
    assert_eq!((fault.number, fault.to), (last - 2, Some(last)), "{found:?}");
    assert!(fault.message.contains("a signed checkpoint saw"), "{fault:?}");
    assert_eq!(found.faults[1].chain, "whole", "and by the one over all tenants: {found:?}");
    // What comes later takes the numbers again, and is no excuse.
    for argument in 50..60 {
        world.apply("w", &argument.to_string()).await.unwrap();
    }
    let found = verify(&world, false).await;
    assert!(found.faults[0].message.contains("rewritten"), "{found:?}");
}

#[tokio::test]
async fn the_log_of_a_deleted_tenant_is_no_fault_and_nothing_else_may_be_missing_with_it() {
    let world = busy().await;
    let new = serde_json::from_value(json!({ "name": "acme" })).unwrap();
    world.service.tenancy.create(&world.actor(), &new).await.unwrap();
    let acme: Name = "acme".parse().unwrap();
    let theirs = Actor::token(acme.clone(), "0123456789abcdef", Role::Admin);
    // Their entries stand between those of the first tenant.
    for argument in 50..54 {
        let new = serde_json::from_value(json!({ "name": format!("n-{argument}") })).unwrap();
        world.service.access.create_access(&theirs, new).await.unwrap();
        world.apply("w", &argument.to_string()).await.unwrap();
    }
    checkpoint(&world).await;
    assert!(verify(&world, false).await.intact, "while it is there");
    world.service.tenancy.delete(&world.actor(), "acme", true, false).await.unwrap();
    checkpoint(&world).await;
    let world = world.restart().await;
    let left = world.store.read("audit/acme", 10).unwrap();
    assert_eq!(left, vec![], "its rows are gone");
    let found = verify(&world, false).await;
    assert!(found.intact, "{found:?}");
    // The entry that says how many went stands for no more than that: without it they are missing.
    let all = rows(&world);
    let said = all.iter().find(|entry| entry.action == "tenant.delete").unwrap();
    assert!(said.cut >= Some(4) && said.message.contains("its audit log"), "{said:?}");
    let edited = AuditRecord { cut: None, ..said.clone() };
    let row = serde_json::to_vec(&edited).unwrap();
    let number = edited.number;
    let world = world.tampered(|store| put(store, vec![(key(number), Some(row))])).await;
    let found = verify(&world, false).await;
    let chains: Vec<&str> = found.faults.iter().map(|fault| fault.chain.as_str()).collect();
    assert!(!found.intact && chains.contains(&"whole"), "{found:?}");
}

#[tokio::test]
async fn a_crash_between_entry_and_checkpoint_loses_nothing() {
    let world = busy().await;
    let before = seen(&world).await;
    for argument in 20..24 {
        world.apply("w", &argument.to_string()).await.unwrap();
    }
    world.settle().await;
    let last = rows(&world).last().unwrap().number;
    // The checkpoint cannot be written: nothing shows one that is not on disk.
    world.store.fails.store(true, std::sync::atomic::Ordering::Relaxed);
    advance(61);
    world.service.audit().tick();
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    let shown = world.desired("d-1").unwrap().audit;
    assert_eq!(shown, Some(before.checkpoint), "no other one than that on disk");
    // The process ends there, before the write is tried again, and begins again on what is on disk.
    let world = world.restart().await;
    let found = verify(&world, false).await;
    assert!(found.intact && found.last >= Some(last), "{found:?}");
    assert_eq!(seen(&world).await.checkpoint, before.checkpoint, "the last one that is on disk");
    checkpoint(&world).await;
    let after = seen(&world).await.checkpoint;
    assert!(after.number >= last, "the entries are covered: {after:?}");
    assert!(verify(&world, false).await.intact);
}

#[tokio::test]
async fn an_agent_of_an_earlier_version_is_not_asked() {
    let world = busy().await;
    world.connect("d-1", 1);
    world.present("d-1", 77).await;
    for said in [false, true] {
        if said {
            reports(&world, false).await;
        }
        let found = verify(&world, true).await;
        assert!(world.bus.calls.lock().unwrap().is_empty(), "it would be refused, and a problem");
        let counts = found.witnesses.unwrap();
        assert_eq!((counts.of, counts.away, counts.agree), (1, 1, 0), "{found:?}");
        assert!(found.devices[0].message.contains("version that keeps no checkpoints"));
    }
}

#[tokio::test]
async fn logins_and_their_refusals_and_readings_of_secrets_are_entries() {
    let world = World::new().await;
    world.device("d-1").await;
    let secret = json!({
        "apiVersion": "holdfast/v1", "kind": "Secret", "metadata": { "name": "db" },
        "spec": { "data": { "password": "correct-horse" } },
    });
    apply(&world, secret.clone()).await;
    get(&world, "/api/v1/policies/secrets/db").await;
    get(&world, "/api/v1/policies/configs").await;
    let user = json!({ "name": "anna", "password": "six words that a dice chose" });
    assert_eq!(world.request("POST", "/api/v1/users", user).await.0, 201);
    let login = |password: &str| json!({ "user": "anna", "password": password }).to_string();
    let head = [("content-type", "application/json")];
    for _ in 0..3 {
        let wrong = login("something else entirely");
        assert_eq!(world.raw("POST", "/api/v1/session", &head, &wrong).await.status(), 401);
    }
    let right = login("six words that a dice chose");
    assert!(world.raw("POST", "/api/v1/session", &head, &right).await.status().is_success());
    let change = json!({ "fullName": "Anna of the night" });
    assert_eq!(world.request("PATCH", "/api/v1/users/anna", change).await.0, 200);
    advance(301);
    world.service.audit().tick();
    world.settle().await;
    let all = rows(&world);
    let of = |action: &str| -> Vec<&AuditRecord> {
        all.iter().filter(|entry| entry.action == action).collect()
    };
    let [read] = of("policy.get")[..] else { panic!("{all:?}") };
    assert_eq!((read.subject.as_str(), read.by.as_str()), ("secrets/db", "admin"));
    assert!(of("policy.list").is_empty(), "configurations are no secrets");
    let refused = of("session.refused");
    let counts: Vec<u64> = refused.iter().map(|entry| entry.count).collect();
    assert_eq!(counts, [1, 2], "{refused:?}");
    assert!(refused.iter().all(|entry| entry.by == "user anna" && !entry.result.is_done()));
    assert_eq!(of("session.begin").len(), 1);
    let [made, changed] = [of("user.create")[0], of("user.change")[0]];
    assert_eq!((made.before.is_none(), made.after.is_some()), (true, true), "{made:?}");
    assert!(changed.before.is_some() && changed.after.is_some(), "{changed:?}");
    assert_ne!(changed.before, changed.after);
    // A secret's digest changes with its value, and does not tell it.
    let mut other = secret;
    other["spec"]["data"]["password"] = "battery-staple".into();
    apply(&world, other).await;
    world.settle().await;
    let all = rows(&world);
    let applied: Vec<_> = all.iter().filter(|entry| entry.action == "secret.apply").collect();
    assert_eq!(applied[0].after, applied[1].before);
    assert_ne!(applied[1].before, applied[1].after);
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("correct-horse") && !text.contains("battery-staple"));
    assert!(verify(&world, false).await.intact);
}

#[tokio::test]
async fn a_checkpoint_costs_no_generation_and_no_message() {
    let world = busy().await;
    let before = seen(&world).await;
    let generation = world.desired("d-1").unwrap().generation;
    std::mem::take(&mut *world.bus.changed.lock().unwrap());
    world.token(json!({})).await;
    checkpoint(&world).await;
    let after = seen(&world).await;
    assert!(after.checkpoint.number > before.checkpoint.number);
    assert_eq!(world.desired("d-1").unwrap().generation, generation);
    assert!(world.bus.changed.lock().unwrap().is_empty(), "it waits for the next desired state");
    world.service.audit().tick();
    world.settle().await;
    assert_eq!(seen(&world).await, after, "none without entries, and none within a minute");
}

#[tokio::test]
async fn a_flood_of_refusals_becomes_counted_entries() {
    let world = World::new().await;
    world.device("d-1").await;
    let before = rows(&world).len();
    let wrong = [("authorization", "Bearer hfa1.0011223344556677.00")];
    for _ in 0..500 {
        assert_eq!(world.raw("GET", "/api/v1/devices", &wrong, "").await.status(), 401);
    }
    let viewer = json!({ "name": "screen", "role": "viewer" });
    let (_, made) = world.request("POST", "/api/v1/access", viewer).await;
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    for _ in 0..200 {
        let viewer = [("authorization", bearer.as_str())];
        assert_eq!(world.raw("POST", "/api/v1/backup", &viewer, "").await.status(), 403);
    }
    world.settle().await;
    assert!(rows(&world).len() - before <= 4, "{:?}", rows(&world));
    advance(301);
    world.service.audit().tick();
    world.settle().await;
    let all = rows(&world);
    let refused: Vec<(&str, &str, u64)> = all
        .iter()
        .filter(|entry| !entry.result.is_done())
        .map(|entry| (entry.action.as_str(), entry.by.as_str(), entry.count))
        .collect();
    let id = made["id"].as_str().unwrap();
    let expected = [
        ("device.list", "unknown", 1),
        ("backup.read", id, 1),
        ("backup.read", id, 199),
        ("device.list", "unknown", 499),
    ];
    assert_eq!(refused.len(), 4, "{refused:?}");
    for one in expected {
        assert!(refused.contains(&one), "{one:?} {refused:?}");
    }
    let first = all.iter().find(|entry| entry.by == id).unwrap();
    assert!(first.message.contains("role"), "what was missing: {first:?}");
    assert!(verify(&world, false).await.intact);
}

#[tokio::test]
async fn reading_the_log_is_an_entry_and_many_readings_are_counted() {
    let world = World::new().await;
    world.device("d-1").await;
    for _ in 0..50 {
        get(&world, "/api/v1/audit").await;
    }
    world.settle().await;
    let read = || rows(&world).iter().filter(|entry| entry.action == "audit.list").count();
    assert_eq!(read(), 1);
    advance(301);
    world.service.audit().tick();
    world.settle().await;
    assert_eq!(read(), 2);
    let found = get(&world, "/api/v1/audit?category=read").await;
    assert_eq!(found["items"][1]["count"], 49, "{found}");
}

#[tokio::test]
async fn a_log_of_an_earlier_version_gets_a_chain_that_covers_it() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    world.settle().await;
    // As a control plane before the chain left it: no hashes, and the first entries gone.
    let mut former: Vec<AuditRecord> = (500..2_600)
        .map(|number| AuditRecord {
            number,
            at: 1_700_000_000 + number,
            count: 1,
            by: "admin".into(),
            action: "workload.apply".into(),
            subject: "w".into(),
            message: format!("changed, revision {number}"),
            ..AuditRecord::default()
        })
        .collect();
    let mut meta: Value =
        serde_json::from_slice(&world.store.read("meta/default", 1).unwrap()[0].1).unwrap();
    meta["nextAudit"] = 2_600.into();
    let mut writes: Vec<_> = rows(&world).iter().map(|entry| (key(entry.number), None)).collect();
    writes.extend(former.iter().map(|entry| (key(entry.number), bytes(entry))));
    writes.push(("meta/default".into(), Some(meta.to_string().into_bytes())));
    let world = world.tampered(|store| put(store, writes)).await;
    // Nothing has to happen for it: the start is enough.
    world.service.audit().tick();
    world.apply("w", "2").await.unwrap();
    let begin = &get(&world, "/api/v1/audit?action=audit.begin").await["items"][0];
    assert_eq!((&begin["number"], &begin["count"]), (&json!(2_600), &json!(2_100)), "{begin}");
    let found = verify(&world, false).await;
    assert!(found.intact && found.former == 2_100 && found.first == Some(500), "{found:?}");
    // All of it is listed, from memory and from the disk.
    let listed = get(&world, "/api/v1/audit?limit=5000&action=workload.apply").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2_101);
    let newest = get(&world, "/api/v1/audit?limit=5000&order=newest&q=revision%20700").await;
    assert_eq!(newest["items"][0]["number"], 700, "{newest}");

    former[40].message = "edited".into();
    put(&*world.store, vec![(key(540), bytes(&former[40]))]);
    let found = verify(&world, false).await;
    assert_eq!((found.faults[0].number, found.faults[0].to), (500, Some(2_599)), "{found:?}");
}

#[tokio::test]
async fn retention_cuts_only_behind_a_checkpoint_that_stays() {
    let world = busy().await;
    let first = rows(&world).last().unwrap().number;
    for argument in 20..40 {
        world.apply("w", &argument.to_string()).await.unwrap();
    }
    // The checkpoint before stays: it is the first one.
    checkpoint(&world).await;
    let all = rows(&world).len() as u64;
    world.service.audit().retain(all, u64::MAX);
    world.settle().await;
    assert_eq!(rows(&world).len() as u64, all, "nothing is too much");
    world.service.audit().retain(10, u64::MAX);
    world.settle().await;
    let kept = rows(&world);
    assert_eq!(kept[0].number, first + 1, "cut behind the checkpoint");
    assert_eq!(kept.last().unwrap().action, "audit.cut");
    let found = verify(&world, false).await;
    assert!(found.intact && found.first == Some(first + 1), "{found:?}");
    let world = world.restart().await;
    assert!(verify(&world, false).await.intact);
    put(&*world.store, vec![(key(first + 1), None)]);
    assert_eq!(verify(&world, false).await.faults[0].number, first + 1);
}

#[tokio::test]
async fn an_export_is_checked_line_by_line() {
    let world = busy().await;
    let (status, text) = world.send("GET", "/api/v1/audit/export", &[], Body::empty()).await;
    assert_eq!(status, 200);
    let text = String::from_utf8(text.to_vec()).unwrap();
    let mut lines = text.lines();
    let head: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!((&head["format"], &head["tenant"]), (&json!("holdfast audit 1"), &json!("default")));
    let mut checker = holdfast_control::api::chain::Checker::new("default", None, []);
    for line in lines {
        checker.take(&serde_json::from_str(line).unwrap()).unwrap();
    }
    checker.end(head["next"].as_u64()).unwrap();
    world.settle().await;
    assert_eq!(rows(&world).last().unwrap().action, "audit.export");
}

#[tokio::test]
async fn the_chain_survives_restarts_and_failed_writes() {
    let world = busy().await;
    world.store.fails.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(world.apply("w", "lost").await.is_err());
    world.store.fails.store(false, std::sync::atomic::Ordering::Relaxed);
    world.apply("w", "kept").await.unwrap();
    assert!(verify(&world, false).await.intact);
    let world = world.restart().await;
    world.apply("w", "after").await.unwrap();
    let found = verify(&world, false).await;
    assert!(found.intact, "{found:?}");
}

/// Reads one HTTP request, and answers it with this status. Returns its head and body.
async fn answer(listener: &TcpListener, status: &str) -> (String, Value) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    let head = loop {
        let mut part = [0; 4_096];
        let read = stream.read(&mut part).await.unwrap();
        bytes.extend_from_slice(&part[..read]);
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
        if let Some(end) = end {
            break end + 4;
        }
        assert!(read > 0, "the request ends early");
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap().to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let length: usize = length.trim().parse().unwrap();
    while bytes.len() < head + length {
        let mut part = [0; 4_096];
        let read = stream.read(&mut part).await.unwrap();
        bytes.extend_from_slice(&part[..read]);
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    (text, serde_json::from_slice(&bytes[head..]).unwrap())
}

fn sink(to: &Value) -> Value {
    json!({
        "apiVersion": "holdfast/v1", "kind": "AuditSink", "metadata": { "name": "siem" },
        "spec": { "fromBeginning": true, "to": to },
    })
}

async fn apply(world: &World, document: Value) {
    let body = json!({ "documents": [document] });
    let (status, answer) = world.request("POST", "/api/v1/apply", body).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_webhook_gets_every_entry_in_order_and_once_more_after_a_failure() {
    let world = busy().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    apply(&world, sink(&json!({ "webhook": { "url": url, "secret": "whsec-example" } }))).await;
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(run_sinks(std::sync::Arc::clone(world.service.audit()), stopping));

    let (head, refused) = answer(&listener, "500 Internal Server Error").await;
    assert!(head.contains("x-holdfast-signature: t="), "{head}");
    let state = eventually(&world, |state| state["failingSince"].is_string()).await;
    assert!(state["queued"].as_u64().unwrap() > 0, "{state}");
    advance(10);
    let (again, taken) = answer(&listener, "200 OK").await;
    let id = |head: &str| {
        head.lines().find(|line| line.starts_with("x-holdfast-id")).map(ToOwned::to_owned)
    };
    assert_eq!((id(&head), &refused["entries"][0]), (id(&again), &taken["entries"][0]));
    let state = eventually(&world, |state| state["lastSuccess"].is_string()).await;
    assert!(state["failingSince"].is_null(), "{state}");

    // What comes later follows, and nothing is sent twice.
    world.apply("w", "later").await.unwrap();
    let mut numbers: Vec<u64> = Vec::new();
    let mut take = |batch: &Value| {
        let entries = batch["entries"].as_array().unwrap().iter();
        numbers.extend(entries.map(|entry| entry["number"].as_u64().unwrap()));
        assert_eq!(batch.get("missing"), None);
        *numbers.last().unwrap()
    };
    let mut last = take(&taken);
    let wanted = rows(&world).last().unwrap().number;
    while last < wanted {
        last = take(&answer(&listener, "200 OK").await.1);
    }
    assert_eq!(numbers, (0..=last).collect::<Vec<_>>());
    stop.send_replace(true);
    running.await.unwrap();
}

/// Waits until the sink's state of delivery is as wanted.
async fn eventually(world: &World, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1_000 {
        let shown = get(world, "/api/v1/policies/auditsinks/siem").await;
        let state = shown["status"]["delivery"].clone();
        if wanted(&state) {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the sink is never as wanted");
}

#[tokio::test]
async fn a_syslog_server_gets_every_entry_over_tls() {
    let world = busy().await;
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&authority).unwrap();
    let issuer = rcgen::Issuer::new(params, authority);
    let key = rcgen::KeyPair::generate().unwrap();
    let named = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = named.signed_by(&key, &issuer).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let to = json!({ "syslog": { "address": address, "ca": ca.pem() } });
    apply(&world, sink(&to)).await;
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    tokio::spawn(run_sinks(std::sync::Arc::clone(world.service.audit()), stopping));
    let (tcp, _) = listener.accept().await.unwrap();
    let mut tls = acceptor.accept(tcp).await.unwrap();
    let mut bytes = Vec::new();
    tls.read_to_end(&mut bytes).await.unwrap();
    drop(tls);
    let mut rest = bytes.as_slice();
    for number in 0..5 {
        let space = rest.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&rest[..space]).unwrap().parse().unwrap();
        let message = std::str::from_utf8(&rest[space + 1..space + 1 + length]).unwrap();
        assert!(message.starts_with("<109>1 "), "{message}");
        assert!(message.contains(&format!(" number=\"{number}\" ")), "{message}");
        rest = &rest[space + 1 + length..];
    }
    eventually(&world, |state| state["lastSuccess"].is_string()).await;
}

#[tokio::test]
async fn the_secrets_of_a_sink_are_sealed_and_may_be_those_of_a_secret_document() {
    let world = busy().await;
    let secret = json!({
        "apiVersion": "holdfast/v1", "kind": "Secret", "metadata": { "name": "siem" },
        "spec": { "data": { "key": "key-of-the-signature" } },
    });
    apply(&world, secret).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let hook = json!({ "webhook": {
        "url": url, "secret": { "secret": "siem", "key": "key" },
        "headers": { "Authorization": "Bearer of-the-siem" },
    } });
    apply(&world, sink(&hook)).await;
    world.settle().await;
    for (key, value) in world.store.read("", 100_000).unwrap() {
        let text = String::from_utf8_lossy(&value);
        assert!(!text.contains("of-the-siem") && !text.contains("key-of-the-signature"), "{key}");
    }
    let gone = world.request("DELETE", "/api/v1/policies/secrets/siem", json!(null)).await;
    assert!(gone.1.to_string().contains("auditsink siem"), "it is in use: {gone:?}");
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(run_sinks(std::sync::Arc::clone(world.service.audit()), stopping));
    let (head, _) = answer(&listener, "200 OK").await;
    assert!(head.contains("authorization: bearer of-the-siem"), "{head}");
    assert!(head.contains("x-holdfast-signature: t="), "{head}");
    stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn who_may_not_read_the_log_may_not_forward_it() {
    let world = World::new().await;
    let operator = json!({ "name": "night", "role": "operator" });
    let (_, made) = world.request("POST", "/api/v1/access", operator).await;
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let document = sink(&json!({ "webhook": { "url": "https://example.com/in" } }));
    let body = json!({ "documents": [document] }).to_string();
    let answer = world.raw("POST", "/api/v1/apply", &headers, &body).await;
    assert_eq!(answer.status(), 403);
    apply(&world, document).await;
    let answer = world.raw("DELETE", "/api/v1/policies/auditsinks/siem", &headers, "").await;
    assert_eq!(answer.status(), 403);
}
