//! Tests of two tenants in one control plane: what one of them has is not there for the other, in
//! lists, counts, events, data and metrics.

use axum::body::Body;
use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, hex};
use holdfast_control::adapters::http::openapi;
use holdfast_control::api::Role;
use holdfast_control::core::model::{key, sha256};
use holdfast_control::core::rights::{Action, Actor, Need};
use holdfast_control::ports::bus::{Admission as _, Done, Inbox as _, Outcome};
use holdfast_control::ports::store::{Batch, Store as _};
use holdfast_control::service::{Failure, Page};
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use crate::data::batch;
use crate::world::{World, advance};

/// Token of the other tenant's admin.
const OTHER: &str = "hfa1.0123456789abcdef.secret";

/// Makes a control plane with the tenant `default` (device d-1, workload w) and the tenant `zeta`
/// (devices d-1 and pump-2, both of the site `harbour`).
async fn two() -> World {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    let zeta = "zeta".parse().unwrap();
    let access = json!({
        "id": "0123456789abcdef", "secretSha256": hex(&sha256(b"secret")), "createdAt": 1,
        "role": "admin",
    });
    let mut rows = vec![(key::access("0123456789abcdef"), access)];
    for name in ["d-1", "pump-2"] {
        let device = json!({
            "name": name, "shard": 0, "publicKey": format!("zeta {name}"), "standing": "approved",
            "createdAt": 1, "updatedAt": 1, "version": 1, "token": "",
            "labels": { "site": "harbour" },
        });
        rows.push((key::device(&name.parse().unwrap()), device));
    }
    let rows = rows
        .into_iter()
        .map(|(local, value)| (key::of(&zeta, &local), serde_json::to_vec(&value).unwrap()));
    world.with_records(rows.collect()).await
}

fn zeta() -> Actor {
    Actor::token("zeta".parse().unwrap(), "test", Role::Admin)
}

async fn ask(world: &World, method: &str, path: &str, token: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let head = [("authorization", &*bearer), ("content-type", "application/json")];
    let answer = match method {
        "GET" | "DELETE" => world.raw(method, path, &head[..1], "").await,
        _ => world.raw(method, path, &head, "{}").await,
    };
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or(Value::Null))
}

/// Names of a list's items, by the token of each tenant: of `default`, of `zeta`.
async fn names(world: &World, path: &str, at: &str) -> [Vec<String>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for (token, found) in [world.admin.as_str(), OTHER].into_iter().zip(&mut found) {
        let (status, list) = ask(world, "GET", path, token).await;
        assert_eq!(status, 200, "{path}: {list}");
        for item in list["items"].as_array().unwrap() {
            found.push(item.pointer(at).unwrap().as_str().unwrap().to_owned());
        }
    }
    found
}

#[tokio::test]
async fn lists_and_counts_have_what_is_of_the_own_tenant() {
    for again in [false, true] {
        let mut world = two().await;
        if again {
            world = world.restart().await;
        }
        assert_eq!(
            names(&world, "/api/v1/devices", "/metadata/name").await,
            [vec!["d-1".to_owned()], vec!["d-1".to_owned(), "pump-2".to_owned()]]
        );
        let [own, other] = names(&world, "/api/v1/workloads", "/metadata/name").await;
        assert_eq!((own, other), (vec!["w".to_owned()], vec![]));
        let [own, other] = names(&world, "/api/v1/access", "/metadata/name").await;
        assert_eq!((own, other), (vec!["admin".to_owned()], vec!["0123456789abcdef".to_owned()]));
        let [own, other] = names(&world, "/api/v1/audit", "/action").await;
        // Of the other tenant nothing was done but this reading, in the second round.
        let is_reading = |all: &[String]| all.iter().all(|action| action == "audit.list");
        assert!(own.contains(&"workload.apply".to_owned()) && is_reading(&other), "{other:?}");
        let [_, other] = names(&world, "/api/v1/activity", "/action").await;
        assert!(is_reading(&other), "{other:?}");
        for (token, count, site) in [(world.admin.as_str(), 1, false), (OTHER, 2, true)] {
            let fleet = ask(&world, "GET", "/api/v1/fleet", token).await.1;
            assert_eq!(fleet["devices"]["total"], count, "{fleet}");
            let labels = ask(&world, "GET", "/api/v1/labels", token).await.1.to_string();
            assert_eq!(labels.contains("harbour"), site, "{labels}");
            let device = ask(&world, "GET", "/api/v1/devices/d-1", token).await.1.to_string();
            assert_eq!(device.contains("harbour"), site, "{device}");
        }
    }
}

#[tokio::test]
async fn what_another_tenant_has_is_not_there_whatever_is_asked() {
    let world = two().await;
    let api: Value = serde_json::to_value(openapi()).unwrap();
    let mut asked = 0;
    for action in Action::ALL {
        let (method, route) = action.route();
        let operation = &api["paths"][route][method.to_lowercase()];
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let required = parameters.iter().any(|it| it["in"] == "query" && it["required"] == true);
        if action.need() == Need::Own || !route.contains('{') || required {
            continue;
        }
        let whole = |kind: &str, name: &str| {
            let route = route.replace("{kind}", kind).replace("{name}", name);
            let route = route.replace("{stream}", "s").replace("{workload}", "w");
            route.replace("{id}", "0123456789abcdef")
        };
        if route.contains("{digest}")
            || route.ends_with("/policies/{kind}")
            || route.starts_with("/api/v1/streams/")
        {
            continue; // Artifacts have no names; the streams of many devices are asked below.
        }
        let path = match route {
            _ if route.starts_with("/api/v1/workloads/") => continue,
            _ => whole(if route.contains("explain") { "device" } else { "streams" }, "pump-2"),
        };
        let (status, answer) = ask(&world, method, &path, &world.admin).await;
        // A body that lacks something is refused before anything is looked up.
        let looked = status != 400;
        assert!(!looked || status == 404, "{method} {path}: {status} {answer}");
        asked += usize::from(looked);
    }
    assert!(asked > 15, "{asked}");
    for (method, path) in [
        ("GET", "/api/v1/workloads/w"),
        ("DELETE", "/api/v1/workloads/w"),
        ("POST", "/api/v1/workloads/w/pause"),
        ("POST", "/api/v1/workloads/w/restart"),
        ("POST", "/api/v1/workloads/w/rollback"),
        ("DELETE", "/api/v1/access/admin"),
    ] {
        let (status, answer) = ask(&world, method, path, OTHER).await;
        assert_eq!(status, 404, "{method} {path}: {answer}");
    }
    assert_eq!(ask(&world, "GET", "/api/v1/devices/pump-2", OTHER).await.0, 200, "all is there");
    assert_eq!(ask(&world, "GET", "/api/v1/workloads/w", &world.admin).await.0, 200);
}

#[tokio::test]
async fn events_data_and_metrics_are_of_one_tenant() {
    let world = two().await;
    let newest = |actor: &Actor| *world.service.documents.events(actor).unwrap().watch().borrow();
    let (own, other) = (newest(&world.actor()), newest(&zeta()));
    let device: DeviceId = "zeta_d-1".parse().unwrap();
    let mut feed = world.service.data.read_along(world.actor().tenant, |_, _| true);
    let mut theirs = world.service.data.read_along(zeta().tenant, |_, _| true);
    world.service.directory.connected(&device, 1, "192.0.2.1:99".parse().unwrap(), None);
    let (tell, told) = tokio::sync::oneshot::channel();
    let done = Done::new(move |stored| tell.send(stored).unwrap());
    let payload = codec::encode(&batch("s", 1, 3)).unwrap();
    world.service.directory.received(&device, Channel::Data, payload.into(), done);
    assert_eq!(told.await.unwrap(), Outcome::Stored);
    world.settle().await;
    // The event is told once the change before it is durable.
    assert!(newest(&zeta()) > other && newest(&world.actor()) == own);
    let Page::Events(told) = world.service.documents.events(&world.actor()).unwrap().after(own)
    else {
        panic!("nothing was missed")
    };
    assert!(told.is_empty(), "{told:?}");
    assert!(feed.try_next().is_none() && theirs.try_next().is_some());
    for (token, streams, connection) in
        [(world.admin.as_str(), 0, "never-seen"), (OTHER, 1, "online")]
    {
        let list = ask(&world, "GET", "/api/v1/streams", token).await.1;
        assert_eq!(list["items"].as_array().unwrap().len(), streams, "{list}");
        let device = ask(&world, "GET", "/api/v1/devices/d-1", token).await.1;
        assert_eq!(device["status"]["connection"], connection, "{device}");
        let records = "/api/v1/devices/d-1/streams/s/records";
        let (status, answer) = ask(&world, "GET", records, token).await;
        assert_eq!(status, if streams == 0 { 404 } else { 200 }, "{answer}");
        let export = "/api/v1/streams/s/export.parquet";
        assert_eq!(ask(&world, "GET", export, token).await.0, if streams == 0 { 404 } else { 200 });
    }
    for (token, tenant, other, online, kept) in
        [(world.admin.as_str(), "default", "zeta", 0, 0), (OTHER, "zeta", "default", 1, 3)]
    {
        let bearer = format!("Bearer {token}");
        let text = world.raw("GET", "/metrics", &[("authorization", &bearer)], "").await;
        let text = String::from_utf8(text.body().to_vec()).unwrap();
        for line in [
            format!("holdfast_devices{{connection=\"online\",tenant=\"{tenant}\"}} {online}\n"),
            format!("holdfast_data_records_kept{{tenant=\"{tenant}\"}} {kept}\n"),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert!(!text.contains(other), "{text}");
        // Sums over all tenants are for the first one alone.
        let whole = ["holdfast_gateway_connections", "holdfast_data_records_total"];
        assert!(whole.iter().all(|name| text.contains(name) == (tenant == "default")), "{text}");
    }
    assert_eq!(world.raw("GET", "/metrics", &[], "").await.status(), 401);
    let values = |actor: &Actor| {
        let all = Default::default();
        world.service.data.latest_values(actor, &all, &[], u64::MAX).unwrap()
    };
    assert!(
        values(&zeta()).contains("tenant=\"zeta\"") && !values(&world.actor()).contains("zeta")
    );
}

#[tokio::test]
async fn a_backup_holds_all_tenants_and_is_of_the_first_one() {
    let world = two().await;
    let (status, tar) = world.send("POST", "/api/v1/backup/unencrypted", &[], Body::empty()).await;
    assert_eq!(status, 200);
    world.service.fleet.delete_device(&zeta(), "pump-2").await.unwrap();
    assert!(matches!(world.service.fleet.device(&zeta(), "pump-2"), Err(Failure::NotFound(_))));
    let (status, answer) = world.send("POST", "/api/v1/restore", &[], Body::from(tar)).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["devices"]), (200, &json!(3)), "{answer}");
    assert!(world.service.fleet.device(&zeta(), "pump-2").is_ok());
    let world = world.restart().await;
    assert!(world.service.fleet.device(&zeta(), "pump-2").is_ok());
    assert!(world.service.fleet.device(&world.actor(), "d-1").is_ok());
}

#[tokio::test]
async fn the_chain_over_all_tenants_is_checked_for_whoever_may_see_all() {
    let world = two().await;
    for round in 0..3 {
        world.apply("w", &format!("{round}")).await.unwrap();
        let made = ask(&world, "POST", "/api/v1/tokens", OTHER).await;
        assert_eq!(made.0, 201, "{made:?}");
    }
    advance(61);
    world.service.audit().tick();
    world.settle().await;
    let path = "/api/v1/audit/verification";
    let (_, all) = ask(&world, "GET", path, &world.admin).await;
    assert_eq!((&all["intact"], &all["whole"]["tenants"]), (&json!(true), &json!(2)), "{all}");
    assert!(all["whole"]["entries"].as_u64() > all["entries"].as_u64(), "{all}");
    let (_, own) = ask(&world, "GET", path, OTHER).await;
    assert_eq!((&own["intact"], own.get("whole")), (&json!(true), None), "{own}");
    world.settle().await;

    // The whole log of the other tenant is cut out, with all that says that there was one.
    let of = |prefix: &str| world.store.read(prefix, 10_000).unwrap();
    let rows = [of("audit/zeta/"), of("checkpoint/zeta/")].concat();
    assert!(rows.len() > 3, "{rows:?}");
    let mut writes: Vec<_> = rows.iter().map(|(key, _)| (key.clone(), None)).collect();
    let mut meta: Value = serde_json::from_slice(&of("meta/zeta")[0].1).unwrap();
    meta["nextAudit"] = 0.into();
    writes.push(("meta/zeta".into(), Some(meta.to_string().into_bytes())));
    let cut = Batch { writes, ..Batch::default() };
    let world = world.tampered(|store| drop(store.commit(&[cut]).unwrap())).await;
    let (_, own) = ask(&world, "GET", path, OTHER).await;
    assert_eq!(own["intact"], true, "its own chain tells nothing: {own}");
    let (_, all) = ask(&world, "GET", path, &world.admin).await;
    assert_eq!((&all["intact"], &all["faults"][0]["chain"]), (&json!(false), &json!("whole")));
    assert!(all.to_string().contains("cut out of the log of some tenant"), "{all}");
}
