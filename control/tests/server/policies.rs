//! Tests of documents about data: applying, placing, deleting, and their retention.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use holdfast_base::codec;
use holdfast_base::ids::Name;
use holdfast_control::service::Failure;
use holdfast_protocol::message;
use holdfast_protocol::topic::Channel;
use holdfast_records::{
    Acknowledgement, ClassUse, DataPolicies, DataReport, LinkUse, StreamReport, TrafficClass,
};
use serde_json::{Value, json};

use crate::data::batch;
use crate::world::{World, advance, report};

fn stream(name: &str, role: &str, more: Value) -> Value {
    let mut spec = json!({ "devices": { "matchLabels": { "role": role } }, "streams": ["*"] });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "apiVersion": "holdfast/v1", "kind": "Stream", "metadata": { "name": name }, "spec": spec })
}

fn budget(name: &str, bytes: &str) -> Value {
    json!({
        "apiVersion": "holdfast/v1", "kind": "LinkBudget", "metadata": { "name": name },
        "spec": { "devices": { "matchLabels": { "role": "a" } }, "per": "day", "bytes": bytes },
    })
}

impl World {
    async fn post(&self, documents: &[Value], query: &str) -> (u16, Value) {
        let body = json!({ "documents": documents });
        self.request("POST", &format!("/api/v1/apply{query}"), body).await
    }

    fn data_of(&self, device: &str) -> (u64, DataPolicies) {
        let state = self.desired(device).unwrap();
        (state.generation, state.data.map(|data| *data).unwrap_or_default())
    }
}

#[tokio::test]
async fn documents_about_data_reach_the_devices_that_match_and_restart_nothing() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    let before = world.desired("d-1").unwrap();
    assert_eq!(before.data, None);

    let documents = [stream("slow", "a", json!({ "priority": 2 })), budget("day", "10Mi")];
    let (status, dry) = world.post(&documents, "?dryRun=true").await;
    assert_eq!((status, &dry["results"][0]["action"]), (200, &json!("created")), "{dry}");
    assert_eq!(dry["results"][0]["changedDevices"]["gain"], json!(["d-1"]));
    assert_eq!(world.desired("d-1").unwrap(), before, "a dry run changes nothing");
    let (status, applied) = world.post(&documents, "").await;
    assert_eq!(status, 200, "{applied}");
    let after = world.desired("d-1").unwrap();
    assert_eq!(after.generation, before.generation + 1, "one message for both documents");
    assert_eq!(after.workloads, before.workloads);
    let (_, data) = world.data_of("d-1");
    assert_eq!(data.streams[&"slow".parse::<Name>().unwrap()].priority, 2);
    assert_eq!(data.link.unwrap().bytes, 10 << 20);
    assert_eq!(world.bus.changed.lock().unwrap().last().unwrap(), "default_d-1");

    let (_, again) = world.post(&documents, "").await;
    assert_eq!(again["results"][1]["action"], "unchanged");
    assert_eq!(world.desired("d-1").unwrap(), after);
    let changed = stream("slow", "a", json!({ "priority": 3 }));
    let (_, applied) = world.post(&[changed], "").await;
    assert_eq!(applied["results"][0]["changedDevices"]["update"], json!(["d-1"]));
    assert_eq!(world.data_of("d-1").1.streams[&"slow".parse::<Name>().unwrap()].priority, 3);

    // Documents follow labels: one is taken away, and a new device gets it at once.
    let (_, answer) =
        world.request("PATCH", "/api/v1/devices/d-1", json!({ "labels": { "role": "b" } })).await;
    assert_eq!(answer["metadata"]["labels"]["role"], "b", "{answer}");
    assert_eq!(world.data_of("d-1").1, DataPolicies::default());
    world.device("d-2").await;
    assert_eq!(world.data_of("d-2").1.streams.len(), 1);
    let world = world.restart().await;
    assert_eq!(world.data_of("d-2").1.streams.len(), 1);

    let (status, _) = world.request("DELETE", "/api/v1/policies/streams/slow", json!(null)).await;
    assert_eq!(status, 204);
    let (generation, data) = world.data_of("d-2");
    assert!(data.streams.is_empty() && data.link.is_some());
    let (status, _) = world.request("DELETE", "/api/v1/policies/streams/slow", json!(null)).await;
    assert_eq!(status, 404);
    assert_eq!(world.data_of("d-2").0, generation);
    let (_, audit) = world.request("GET", "/api/v1/audit?order=newest&limit=1", json!(null)).await;
    assert_eq!(audit["items"][0]["action"], "stream.delete", "{audit}");
}

#[tokio::test]
async fn documents_about_data_are_read_back_guarded_and_explained() {
    let world = World::new().await;
    world.device("d-1").await;
    let first = stream("pumps", "a", json!({ "ttl": "30d", "ship": "never" }));
    assert_eq!(world.post(std::slice::from_ref(&first), "").await.0, 200);
    assert_eq!(world.post(&[budget("b", "1Mi"), budget("c", "2Mi")], "").await.0, 200);
    let (status, read) = world.request("GET", "/api/v1/policies/streams/pumps", json!(null)).await;
    assert_eq!((status, &read["spec"]), (200, &first["spec"]));
    assert_eq!(
        read["status"],
        json!({ "devices": 1, "names": ["d-1"], "applied": 0, "problems": 0, "streams": 0, "misfits": [] })
    );
    let (_, all) = world.request("GET", "/api/v1/policies/linkbudgets?limit=1", json!(null)).await;
    assert_eq!(
        (&all["items"][0]["metadata"]["name"], &all["metadata"]["continue"]),
        (&json!("b"), &json!("b"))
    );
    assert_eq!(world.data_of("d-1").1.link.unwrap().bytes, 1 << 20, "the first by name");
    let (_, second) = world.post(&[budget("c", "3Mi")], "?dryRun=true").await;
    let warning = second["results"][0]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("another budget holds, the first by name: b"), "{warning}");
    for path in
        ["/api/v1/policies/x", "/api/v1/policies/streams/x", "/api/v1/policies/stream/pumps"]
    {
        assert_eq!(world.request("GET", path, json!(null)).await.0, 404, "{path}");
    }

    let mut stale = stream("pumps", "a", json!({}));
    stale["metadata"]["resourceVersion"] = json!(1);
    let (status, answer) = world.post(&[stale], "").await;
    assert_eq!(status, 409, "{answer}");
    let said = answer["error"]["message"].as_str().unwrap();
    assert!(said.starts_with("stream pumps was changed by somebody else"), "{said}");

    let explain = || world.request("GET", "/api/v1/explain/stream/pumps", json!(null));
    let (_, said) = explain().await;
    assert_eq!(said["settled"], false);
    assert_eq!(said["reasons"], json!(["d-1: offline, has not applied it yet"]), "{said}");
    let state = world.desired("d-1").unwrap();
    world.connect("d-1", 1);
    assert!(
        world
            .publish("d-1", Channel::State, report(true, state.epoch, state.generation, &[]))
            .await
    );
    let (_, said) = explain().await;
    assert_eq!((&said["settled"], &said["reasons"]), (&json!(true), &json!([])), "{said}");
    let mut trouble: message::StateReport =
        codec::decode(&report(false, state.epoch, state.generation, &[])).unwrap();
    let problem = StreamReport {
        policy: Some("pumps".parse().unwrap()),
        problem: "records have no field temp".into(),
        ..StreamReport::default()
    };
    let streams = [("pump/1".parse().unwrap(), problem)].into();
    trouble.data = Some(Box::new(DataReport { streams, ..DataReport::default() }));
    assert!(world.publish("d-1", Channel::State, codec::encode(&trouble).unwrap()).await);
    let (_, said) = explain().await;
    assert_eq!(said["reasons"], json!(["d-1: pump/1: records have no field temp"]), "{said}");
    let (_, fleet) = world.request("GET", "/api/v1/fleet", json!(null)).await;
    let item = &fleet["attention"][0];
    assert_eq!(
        (&item["kind"], &item["code"]),
        (&json!("problem"), &json!("stream-policy")),
        "{fleet}"
    );
    let (_, listed) = world.request("GET", "/api/v1/devices?attention=problem", json!(null)).await;
    assert_eq!(listed["items"][0]["status"]["problems"][0]["code"], "stream-policy", "{listed}");
}

#[tokio::test]
async fn what_one_message_cannot_hold_is_refused() {
    let world = World::new().await;
    world.device("d-1").await;
    let patterns: Vec<String> = (0..64).map(|n| format!("{n}/{}*", "x".repeat(110))).collect();
    let documents: Vec<Value> =
        (0..200).map(|n| stream(&format!("s-{n}"), "a", json!({ "streams": patterns }))).collect();
    let (status, answer) = world.post(&documents, "").await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(answer["error"]["faults"][0]["path"], "devices.d-1");
    let (_, all) = world.request("GET", "/api/v1/policies/streams", json!(null)).await;
    assert_eq!(all["items"], json!([]));
    let documents = [stream("a", "a", json!({})), stream("a", "a", json!({}))];
    let twice = world.service.workloads.apply(&world.actor(), &documents, false).await;
    assert!(matches!(twice, Err(Failure::Invalid { .. })), "{twice:?}");
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "{what}");
}

/// Makes a record with a value of 60,000 bytes that does not compress.
fn noise(seq: u64) -> holdfast_records::Record {
    let mut value = Vec::new();
    let mut state = seq | 1;
    while value.len() < 60_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
        value.extend_from_slice(&state.to_le_bytes()[2..]);
    }
    holdfast_records::Record { value, ..crate::data::record(seq) }
}

#[tokio::test]
async fn retention_removes_what_is_old_or_too_much_and_the_ledger_stays() {
    let world = World::new().await;
    world.device("d-1").await;
    world.device("d-2").await;
    let documents = [
        stream("old", "a", json!({ "streams": ["old"], "retention": { "age": "1h" } })),
        stream("much", "a", json!({ "streams": ["much"], "retention": { "bytes": "128Ki" } })),
        stream("rest", "a", json!({ "streams": ["*"] })),
    ];
    assert_eq!(world.post(&documents, "").await.0, 200);
    for stream in ["old", "kept"] {
        assert!(world.ship("d-1", &batch(stream, 1, 50)).await);
    }
    for seq in 1..=6 {
        assert!(world.ship("d-2", &crate::data::of("much", seq, seq, &[noise(seq)])).await);
    }
    advance(2 * 3_600);
    assert!(world.ship("d-1", &batch("old", 51, 60)).await);
    until("what is old goes", || world.tally("d-1", "old").kept == 10).await;
    until("what is too much goes", || world.tally("d-2", "much").kept == 2).await;
    let old = world.tally("d-1", "old");
    assert_eq!((old.received, old.missing()), (60, 0), "it was received");
    assert_eq!(world.tally("d-1", "kept").kept, 50);
    let path = "/api/v1/devices/d-1/streams/old/records";
    let (_, page) = world.request("GET", path, json!(null)).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 10);
    assert!(world.ship("d-1", &batch("old", 1, 60)).await);
    assert_eq!(world.tally("d-1", "old").kept, 10, "what went does not come again");
    let path = "/api/v1/devices/d-2/streams/much/records";
    let (_, page) = world.request("GET", path, json!(null)).await;
    let numbers: Vec<&Value> =
        page["items"].as_array().unwrap().iter().map(|i| &i["seq"]).collect();
    assert_eq!(numbers, [5, 6]);
}

#[tokio::test]
async fn with_the_reserve_alone_left_no_data_is_taken_and_all_else_goes_on() {
    let world = World::new().await;
    world.device("d-1").await;
    assert!(world.ship("d-1", &crate::data::of("old", 1, 1, &[noise(1)])).await);
    assert!(world.ship("d-1", &batch("s", 1, 10)).await);
    world.bus.acks.lock().unwrap().clear();
    let mib = 1024 * 1024;
    for free in [0, 1_023 * mib] {
        world.data.free.store(free, Ordering::Relaxed);
        assert!(!world.ship("d-1", &batch("s", 11, 20)).await, "the device must send again");
    }
    let acks = std::mem::take(&mut *world.bus.acks.lock().unwrap());
    let held = acks.iter().map(|(_, bytes)| codec::decode::<Acknowledgement>(bytes).unwrap());
    assert!(held.clone().count() == 2 && held.clone().all(|ack| ack.hold_ms >= 10_000));
    let ready = || world.raw("GET", "/readyz", &[], "");
    let said = ready().await;
    assert_eq!(said.status(), 200, "everything else works");
    let text = String::from_utf8(said.body().to_vec()).unwrap();
    assert!(text.starts_with("ready\nbut 1023 MiB are free on the disk"), "{text}");
    let metrics = world.send("GET", "/metrics", &[], Body::empty()).await.1;
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    assert!(metrics.contains("\nholdfast_data_store_trouble 1\n"), "{metrics}");
    assert!(metrics.contains("\nholdfast_disk_reserve_bytes 1073741824\n"), "{metrics}");
    assert_eq!(world.tally("d-1", "s").received, 10);
    world.apply("w", "1").await.unwrap();
    assert!(world.desired("d-1").unwrap().workloads.len() == 1);
    // Retention continues without room, and the room that it frees may be used again.
    let old = json!({ "streams": ["old"], "retention": { "age": "1h" } });
    assert_eq!(world.post(&[stream("old", "a", old)], "").await.0, 200);
    advance(2 * 3_600);
    until("what is old goes", || world.tally("d-1", "old").kept == 0).await;
    assert!(world.ship("d-1", &batch("s", 11, 20)).await);
    assert!(!world.ship("d-1", &crate::data::of("old", 2, 2, &[noise(2)])).await, "too much");
    world.data.free.store(u64::MAX, Ordering::Relaxed);
    assert!(world.ship("d-1", &crate::data::of("old", 2, 2, &[noise(2)])).await);
    assert_eq!(ready().await.body(), "ready\n");
}

#[tokio::test]
async fn a_stream_of_which_nothing_was_shipped_says_why() {
    let world = World::new().await;
    world.device("d-1").await;
    let never = stream("raw", "a", json!({ "streams": ["camera/*"], "ship": "never" }));
    assert_eq!(world.post(&[never], "").await.0, 200);
    world.connect("d-1", 1);
    let state = world.desired("d-1").unwrap();
    let mut said: message::StateReport =
        codec::decode(&report(true, state.epoch, state.generation, &[])).unwrap();
    let held = StreamReport { last: 1_000, bytes: 4_096, ..StreamReport::default() };
    let streams = [("camera/1".parse().unwrap(), held.clone()), ("temp".parse().unwrap(), held)];
    said.data = Some(Box::new(DataReport { streams: streams.into(), ..DataReport::default() }));
    assert!(world.publish("d-1", Channel::State, codec::encode(&said).unwrap()).await);
    for (stream, parts) in [
        ("camera%2F1", &["4096 bytes", "record 1000", "policy raw: ship never", "a fetch"][..]),
        ("temp", &["4096 bytes", "nothing of it has arrived yet"]),
        ("tmep", &["has no stream \"tmep\""]),
    ] {
        for what in ["records", "ledger", "series", "export.parquet"] {
            let path = format!("/api/v1/devices/d-1/streams/{stream}/{what}");
            let (status, answer) = world.request("GET", &path, json!(null)).await;
            // The ledger of a stream that the device has exists, and is empty.
            let noted = what == "ledger" && stream != "tmep";
            let said = if noted { &answer["note"] } else { &answer["error"]["message"] };
            let text = said.as_str().unwrap();
            assert!(!noted || (&answer["received"], &answer["missing"]) == (&json!(0), &json!([])));
            assert!(
                status == if noted { 200 } else { 404 }
                    && parts.iter().all(|part| text.contains(part)),
                "{what}: {text}"
            );
        }
    }
}

/// Reports the streams of a device and the use of its link.
async fn says(world: &World, device: &str, streams: &[&str], link: LinkUse) {
    let state = world.desired(device).unwrap();
    let mut said: message::StateReport =
        codec::decode(&report(true, state.epoch, state.generation, &[])).unwrap();
    let streams = streams.iter().map(|name| (name.parse().unwrap(), StreamReport::default()));
    let data = DataReport { streams: streams.collect(), link, ..DataReport::default() };
    said.data = Some(Box::new(data));
    assert!(world.publish(device, Channel::State, codec::encode(&said).unwrap()).await);
}

#[tokio::test]
async fn where_a_document_holds_and_where_it_does_not_fit_is_told() {
    let world = World::new().await;
    for (connection, device) in ["d-1", "d-2"].into_iter().enumerate() {
        world.device(device).await;
        world.connect(device, connection as u64 + 1);
    }
    let wide = stream("wide", "a", json!({ "streams": ["pump/*", "valve/*"] }));
    let (_, applied) = world.post(std::slice::from_ref(&wide), "").await;
    assert_eq!(applied["results"][0]["effect"], "applies to 2 devices; no stream changes policy");
    says(&world, "d-1", &["pump/a", "pump/b", "temp"], LinkUse::default()).await;
    says(&world, "d-2", &["pump/a"], LinkUse::default()).await;

    // A dry run tells the effect in the words of the document's kind.
    let narrow = stream("narrow", "a", json!({ "streams": ["pump/a"], "priority": 8 }));
    let (_, dry) = world.post(std::slice::from_ref(&narrow), "?dryRun=true").await;
    let result = &dry["results"][0];
    assert_eq!(result["effect"], "applies to 2 devices; 2 streams change policy", "{dry}");
    assert_eq!(result["changedStreams"], 2);
    assert_eq!(world.post(&[narrow], "").await.0, 200);

    let (_, read) = world.request("GET", "/api/v1/policies/streams/wide", json!(null)).await;
    let status = &read["status"];
    assert_eq!((&status["streams"], &status["names"]), (&json!(1), &json!(["d-1", "d-2"])));
    assert_eq!(
        status["misfits"],
        json!([
            "valve/* matches no stream of its devices",
            "2 streams that it matches follow narrow instead, whose pattern is narrower or whose name comes first",
        ])
    );
    let path = "/api/v1/policies/streams/wide/devices?limit=1";
    let (_, page) = world.request("GET", path, json!(null)).await;
    let item = &page["items"][0];
    assert_eq!((&item["device"], &item["streamCount"]), (&json!("d-1"), &json!(2)), "{page}");
    assert_eq!(
        item["streams"],
        json!([{ "stream": "pump/a", "overriddenBy": "narrow" }, { "stream": "pump/b" }])
    );
    assert_eq!(page["metadata"]["continue"], "d-1");
    let (_, said) = world.request("GET", "/api/v1/explain/stream/wide", json!(null)).await;
    assert_eq!(said["reasons"][0], "valve/* matches no stream of its devices", "{said}");
    // Applying the same document again changes no stream.
    let (_, again) = world.post(&[wide], "?dryRun=true").await;
    assert_eq!(again["results"][0]["effect"], "applies to 2 devices; no stream changes policy");
}

#[tokio::test]
async fn a_link_is_told_against_its_budget_the_same_everywhere() {
    let world = World::new().await;
    world.device("d-1").await;
    world.connect("d-1", 1);
    let (_, applied) = world.post(&[budget("day", "100Ki"), budget("other", "1Mi")], "").await;
    assert_eq!(applied["results"][0]["effect"], "applies to 1 device; 1 link gets another bound");
    let used = |sent, waits| ClassUse { sent, budget: Some(20_480), waits, ..ClassUse::default() };
    let classes =
        [(TrafficClass::Control, used(90_000, None)), (TrafficClass::Data, used(0, Some(0)))];
    let link = LinkUse { budget: Some(102_400), classes: classes.into(), ..LinkUse::default() };
    says(&world, "d-1", &["temp"], link).await;
    let (_, streams) = world.request("GET", "/api/v1/devices/d-1/streams", json!(null)).await;
    let link = &streams["link"];
    assert_eq!((&link["budget"], &link["fits"]), (&json!("day"), &json!("waits")), "{streams}");
    let fits: Vec<&Value> =
        link["classes"].as_array().unwrap().iter().map(|it| &it["fits"]).collect();
    assert_eq!(fits, ["used-up", "waits"]);
    assert_eq!(link.get("forecast"), None, "nothing is known of the last hour");
    let path = "/api/v1/policies/linkbudgets/day/devices";
    let (_, page) = world.request("GET", path, json!(null)).await;
    assert_eq!(&page["items"][0]["link"], link);
    let (_, read) = world.request("GET", "/api/v1/policies/linkbudgets/day", json!(null)).await;
    let misfit = read["status"]["misfits"][0].as_str().unwrap();
    assert!(misfit.starts_with("d-1: data: records are not shipped at once"), "{misfit}");
    let (_, other) = world.request("GET", "/api/v1/policies/linkbudgets/other", json!(null)).await;
    let misfit = other["status"]["misfits"][0].as_str().unwrap();
    assert_eq!(misfit, "on 1 device that it chooses day holds, the first by name");
}
