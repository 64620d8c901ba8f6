//! Tests of queries and fetches, with devices that answer, refuse, come late or never answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use holdfast_base::codec;
use holdfast_protocol::message::{Call, Fetched, Method, Reply, ReplyCode, ReplyError};
use holdfast_protocol::signing;
use holdfast_protocol::topic::Channel;
use holdfast_query::{AT_THE_EDGE, Partial, Run};
use holdfast_records::{Format, Record};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::world::World;

/// Behaviour of a device that is asked.
#[derive(Clone)]
enum Manner {
    /// Answers over these records, in pieces of this many bytes.
    Holds(Vec<&'static str>, usize),
    /// Refuses with this reason.
    Refuses(&'static str),
    /// Never sends an answer.
    Silent,
    /// Loses its first call, and afterwards answers over these records.
    Loses(Vec<&'static str>),
}

/// Devices with their behaviour, and the calls that they received.
struct Fleet {
    world: Arc<World>,
    seen: Arc<Mutex<Vec<(String, Call)>>>,
    answering: JoinHandle<()>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

fn pieces(manner: &Manner, call: &Call) -> Vec<Reply> {
    let v = holdfast_base::WIRE_VERSION;
    let reply = |sequence, body, end, error| Reply {
        v,
        id: call.id,
        sequence,
        body,
        end,
        error,
        log: vec![],
    };
    let body = match (manner, &call.method) {
        (Manner::Silent | Manner::Loses(_), _)
        | (
            _,
            Method::Cancel
            | Method::Logs { .. }
            | Method::Restart { .. }
            | Method::AuditCheckpoint
            | Method::Volume(_),
        ) => {
            return Vec::new();
        }
        (Manner::Refuses(why), _) => {
            return vec![reply(
                0,
                Vec::new(),
                true,
                Some(ReplyError::new(ReplyCode::Failed, *why)),
            )];
        }
        (Manner::Holds(records, _), Method::Query { question, .. }) => {
            let mut run = Run::new(question, AT_THE_EDGE).unwrap();
            for (seq, value) in (1..).zip(records) {
                let value = value.as_bytes().to_vec();
                run.feed(&Record { seq, time: question.since + seq, format: Format::Plain, value });
            }
            Partial { shipping: 1_000, ..run.finish() }.pack(question).unwrap()
        }
        (Manner::Holds(records, _), Method::Fetch { .. }) => {
            let records = u64::try_from(records.len()).unwrap();
            serde_cbor::to_vec(&Fetched { records, bytes: 77 }).unwrap()
        }
    };
    let Manner::Holds(_, size) = manner else { return Vec::new() };
    // A sign of life comes first, then the answer.
    let mut all = vec![reply(0, Vec::new(), false, None)];
    let count = body.chunks(*size).count();
    for (sequence, piece) in (1..).zip(body.chunks(*size)) {
        let end = usize::try_from(sequence).unwrap() == count;
        all.push(reply(sequence, piece.to_vec(), end, None));
    }
    all
}

impl Fleet {
    async fn new(devices: &[(&str, Manner)]) -> Self {
        let world = Arc::new(World::new().await);
        let manners: BTreeMap<String, Manner> =
            devices.iter().map(|(name, manner)| ((*name).to_owned(), manner.clone())).collect();
        for name in manners.keys() {
            world.device(name).await;
        }
        let seen = Arc::<Mutex<_>>::default();
        let answering = tokio::spawn({
            let (world, seen) = (Arc::clone(&world), Arc::clone(&seen));
            async move { Self::answer(&world, &manners, &seen).await }
        });
        Self { world, seen, answering }
    }

    async fn answer(
        world: &World,
        manners: &BTreeMap<String, Manner>,
        seen: &Mutex<Vec<(String, Call)>>,
    ) {
        let key = world.service.enrolment.authority().signer().public_key();
        loop {
            let calls = std::mem::take(&mut *world.bus.calls.lock().unwrap());
            for (device, bytes) in calls {
                let call = signing::open_call(&bytes, &key, &device, 77).unwrap();
                let name = device.device.to_string();
                let first = seen.lock().unwrap().iter().all(|(known, _)| *known != name);
                let manner = match manners[&name].clone() {
                    Manner::Loses(_) if first => Manner::Silent,
                    Manner::Loses(records) => Manner::Holds(records, 16 * 1024),
                    other => other,
                };
                let replies = pieces(&manner, &call);
                seen.lock().unwrap().push((name.clone(), call));
                for reply in replies {
                    let reply = codec::encode(&reply).unwrap();
                    assert!(world.publish(&name, Channel::Reply, reply).await);
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn online(&self, name: &str) {
        self.world.connect(name, 1);
        self.world.present(name, 77).await;
    }

    async fn query(&self, body: Value) -> (u16, Value) {
        let headers = [("accept", "application/json")];
        let body = Body::from(body.to_string());
        let (status, bytes) = self.world.send("POST", "/api/v1/query", &headers, body).await;
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

fn holds(records: &[&'static str]) -> Manner {
    Manner::Holds(records.to_vec(), 16 * 1024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_merged_and_who_is_missing_is_named() {
    let fleet = Fleet::new(&[
        ("d-1", holds(&[r#"{"t":10,"m":"a"}"#, r#"{"t":30,"m":"b"}"#])),
        ("d-2", Manner::Holds(vec![r#"{"t":20,"m":"a"}"#], 7)),
        ("d-3", holds(&[])),
        ("d-4", holds(&[])),
        ("d-5", Manner::Refuses("a method that it does not know")),
    ])
    .await;
    for name in ["d-1", "d-2", "d-3", "d-5"] {
        fleet.online(name).await;
    }
    let question = json!({ "stream": "press/temp", "select": "count, max(t), p50(t)",
        "by": "m", "where": "t > 5", "since": "1h", "labelSelector": "role=a" });
    let (status, said) = fleet.query(question).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(said["rows"][0]["group"], json!({ "m": "a" }));
    assert_eq!(said["rows"][0]["window"], Value::Null);
    let values = &said["rows"][0]["values"];
    assert_eq!((&values["count"], &values["max(t)"]), (&json!(2), &json!(20)));
    assert_eq!(said["rows"].as_array().unwrap().len(), 2);
    assert_eq!((&said["answered"], &said["missing"]), (&json!(3), &json!(["d-4", "d-5"])));
    assert_eq!(said["reasons"]["d-4"], "is offline");
    assert_eq!(said["reasons"]["d-5"], "a method that it does not know");
    assert_eq!(said["records"], json!({ "scanned": 3, "matched": 3 }));
    assert_eq!(said["bytes"]["shippingWouldHaveCost"], 3_000);
    // Lower bound of the bytes: four calls, a sign of life and an answer from each of three
    // devices, and a refusal.
    let crossed = said["bytes"]["crossed"].as_u64().unwrap();
    assert!(crossed > 4 * (2 * 52 + 22 + 74) + 7 * (2 * 52 + 22), "{said}");
    assert_eq!(said["quantileError"], 0.01);

    let seen = fleet.seen.lock().unwrap();
    let Method::Query { stream, question, .. } = &seen[0].1.method else { panic!("{seen:?}") };
    assert_eq!((stream.as_str(), question.by.len()), ("press/temp", 1));
    assert_eq!(question.until - question.since, 3_600_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_and_names_group_at_the_centre() {
    let fleet = Fleet::new(&[("d-1", holds(&["1", "2"])), ("d-2", holds(&["3"]))]).await;
    for name in ["d-1", "d-2"] {
        fleet.online(name).await;
    }
    let question = |by| json!({ "stream": "x", "select": "sum(.)", "by": by, "every": "1h" });
    let (_, said) = fleet.query(question("device")).await;
    let groups: Vec<&Value> =
        said["rows"].as_array().unwrap().iter().map(|row| &row["group"]).collect();
    assert_eq!(groups, [&json!({ "device": "d-1" }), &json!({ "device": "d-2" })], "{said}");
    assert!(said["rows"][0]["window"].as_str().unwrap().ends_with("Z"), "{said}");
    let (_, said) = fleet.query(question("role")).await;
    assert_eq!(said["rows"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(said["rows"][0]["group"], json!({ "role": "a" }));
    assert_eq!(said["rows"][0]["values"], json!({ "sum(.)": 6 }));
    // `record:role` is a field of the records, which they do not have.
    let (_, said) = fleet.query(question("record:role")).await;
    assert_eq!(said["rows"][0]["group"], json!({ "record:role": null }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_say_their_place() {
    let fleet = Fleet::new(&[]).await;
    for (field, text, path) in [
        ("stream", "a#b", "stream"),
        ("select", "mean", "select"),
        ("where", "t > > 3", "where"),
        ("by", "a b", "by"),
        ("every", "5", "every"),
        ("since", "yesterday", "since"),
        ("since", "2090-01-01T00:00:00Z", "since"),
        ("labelSelector", "a==,", "labelSelector"),
        ("wait", "for ever", "wait"),
    ] {
        let mut question = json!({ "stream": "x", "select": "count" });
        question[field] = json!(text);
        let (status, said) = fleet.query(question).await;
        assert_eq!((status, &said["error"]["faults"][0]["path"]), (422, &json!(path)), "{said}");
    }
    let (status, _) = fleet.query(json!({ "stream": "x", "selected": "count" })).await;
    assert_eq!(status, 400);
    let (_, said) = fleet.query(json!({ "stream": "x", "select": "count" })).await;
    assert_eq!((&said["answered"], &said["rows"]), (&json!(0), &json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_is_waited_for_and_progress_is_told() {
    let fleet = Fleet::new(&[("d-1", holds(&["1"])), ("d-2", holds(&["2"]))]).await;
    fleet.online("d-1").await;
    let question = json!({ "stream": "x", "select": "count, sum(.)", "wait": "10m" });
    let answer =
        fleet.world.answer("POST", "/api/v1/query", &[], Body::from(question.to_string())).await;
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let mut body = answer.into_body();
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        if text.ends_with("\"answered\":1,\"of\":2,\"missing\":[\"d-2\"]}}\n") {
            fleet.online("d-2").await;
        }
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &lines[0]["progress"];
    assert_eq!((&first["answered"], &first["of"]), (&json!(0), &json!(2)));
    assert_eq!(first["missing"], json!(["d-1", "d-2"]), "who is waited for is named");
    let result = &lines.last().unwrap()["result"];
    assert_eq!((&result["answered"], &result["missing"]), (&json!(2), &json!([])), "{text}");
    assert_eq!(result["rows"][0]["values"], json!({ "count": 2, "sum(.)": 3 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_ended_with_what_has_come() {
    let fleet = Fleet::new(&[
        ("d-1", holds(&["1"])),
        ("d-2", holds(&["2"])),
        ("d-3", Manner::Silent),
        ("d-4", holds(&[])),
        ("d-5", holds(&[])),
    ])
    .await;
    fleet.online("d-1").await;
    fleet.online("d-3").await;
    let question = json!({ "stream": "x", "select": "count", "wait": "7d" });
    let answer =
        fleet.world.answer("POST", "/api/v1/query", &[], Body::from(question.to_string())).await;
    let mut body = answer.into_body();
    let (mut text, mut end) = (String::new(), String::new());
    while let Some(frame) = body.frame().await {
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        let last = text.lines().last().unwrap_or_default();
        let Ok(line) = serde_json::from_str::<Value>(last) else { continue };
        let progress = &line["progress"];
        assert!(progress["missing"].as_array().is_none_or(|named| named.len() <= 3), "{text}");
        if progress["answered"] == 1 {
            end = format!("/api/v1/query/{}/end", progress["id"].as_str().unwrap());
            assert_eq!(fleet.world.request("POST", &end, Value::Null).await.0, 204);
        }
    }
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let result = &last["result"];
    assert_eq!(result["answered"], 1, "{text}");
    assert_eq!(result["missing"], json!(["d-2", "d-3", "d-4", "d-5"]), "{text}");
    assert_eq!(result["reasons"]["d-2"], "is offline");
    assert!(result["reasons"]["d-3"].as_str().unwrap().contains("had not answered"), "{text}");
    assert_eq!(result["rows"][0]["values"]["count"], 1);
    assert_eq!(fleet.world.request("POST", &end, Value::Null).await.0, 404, "it is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_has_the_devices_stop() {
    let fleet = Fleet::new(&[("d-1", Manner::Silent)]).await;
    fleet.online("d-1").await;
    let question = json!({ "stream": "x", "select": "count" });
    let answer =
        fleet.world.answer("POST", "/api/v1/query", &[], Body::from(question.to_string())).await;
    let calls =
        || fleet.seen.lock().unwrap().iter().map(|(_, call)| call.clone()).collect::<Vec<_>>();
    while calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(answer);
    let waited = tokio::time::timeout(Duration::from_secs(15), async {
        while calls().len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("a cancellation");
    let calls = calls();
    assert_eq!((&calls[1].method, calls[1].id), (&Method::Cancel, calls[0].id));
}

/// Calls and short answers are not acknowledged, so a lost one is asked for again by a call of its
/// own, even when the query does not wait for devices that are away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_call_is_made_again() {
    let fleet = Fleet::new(&[("d-1", Manner::Loses(vec!["1", "2"]))]).await;
    fleet.online("d-1").await;
    let began = std::time::Instant::now();
    let (_, said) = fleet.query(json!({ "stream": "x", "select": "count" })).await;
    assert_eq!((&said["answered"], &said["rows"][0]["values"]["count"]), (&json!(1), &json!(2)));
    assert!(began.elapsed() >= Duration::from_secs(20), "the device has its time");
    let seen = fleet.seen.lock().unwrap();
    let [(_, first), (_, end), (_, again)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&end.method, end.id), (&Method::Cancel, first.id));
    assert!(first.id != again.id && first.method == again.method, "{seen:?}");
    // Three calls, a sign of life and the answer, each with the acknowledgement of TCP.
    let crossed = said["bytes"]["crossed"].as_u64().unwrap();
    assert!(crossed > 5 * (2 * 52 + 22), "{crossed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_fetched() {
    let fleet = Fleet::new(&[("d-1", holds(&["1", "2", "3"]))]).await;
    let path = "/api/v1/devices/d-1/streams/press%2Ftemp/fetch";
    let body = json!({ "since": "2h", "until": "1h", "bytes": 5000 });
    let (status, said) = fleet.world.request("POST", path, body.clone()).await;
    assert_eq!(status, 503, "{said}");
    fleet.online("d-1").await;
    let (status, said) = fleet.world.request("POST", path, body).await;
    assert_eq!((status, &said["records"], &said["bytes"]), (200, &json!(3), &json!(77)), "{said}");
    assert!(!said["id"].as_str().unwrap().is_empty());
    let asked = fleet.seen.lock().unwrap()[0].1.method.clone();
    let Method::Fetch { stream, since, until, bytes } = &asked else { panic!() };
    assert_eq!((stream.as_str(), until - since, *bytes), ("press/temp", 3_600_000, Some(5_000)));
    // The default bound is 10 MiB.
    assert_eq!(fleet.world.request("POST", path, json!({})).await.0, 200);
    let asked = fleet.seen.lock().unwrap().last().unwrap().1.method.clone();
    let Method::Fetch { bytes, .. } = &asked else { panic!() };
    assert_eq!(*bytes, Some(10 << 20));
    let none = "/api/v1/devices/d-9/streams/x/fetch";
    assert_eq!(fleet.world.request("POST", none, json!({})).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_of_a_misspelt_stream_is_an_error() {
    let fleet = Fleet::new(&[("d-1", holds(&[]))]).await;
    fleet.online("d-1").await;
    let path = "/api/v1/devices/d-1/streams/tmep/fetch";
    let (status, said) = fleet.world.request("POST", path, json!({})).await;
    assert_eq!(status, 404, "{said}");
    assert!(said["error"]["message"].as_str().unwrap().contains("no stream \"tmep\""), "{said}");
    // A stream that exists without records in that time is no error.
    let batch = crate::data::batch("temp", 1, 3);
    assert!(fleet.world.ship("d-1", &batch).await);
    let path = "/api/v1/devices/d-1/streams/temp/fetch";
    let (status, said) = fleet.world.request("POST", path, json!({})).await;
    assert_eq!(
        (status, &said["records"], &said["waits"]),
        (200, &json!(0), &Value::Null),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_says_that_it_waits_for_a_window() {
    let fleet = Fleet::new(&[("d-1", holds(&["1"]))]).await;
    fleet.online("d-1").await;
    let hour = crate::world::clock() / 3_600 % 24;
    let (from, to) = ((hour + 5) % 24, (hour + 6) % 24);
    let policy = json!({
        "apiVersion": "holdfast/v1", "kind": "Stream", "metadata": { "name": "night" },
        "spec": {
            "devices": { "matchLabels": { "role": "a" } }, "streams": ["x"],
            "windows": [format!("{from:02}:00-{to:02}:00")],
        },
    });
    let (status, said) =
        fleet.world.request("POST", "/api/v1/apply", json!({ "documents": [policy] })).await;
    assert_eq!(status, 200, "{said}");
    let fetch = |stream: &str| format!("/api/v1/devices/d-1/streams/{stream}/fetch");
    let (_, said) = fleet.world.request("POST", &fetch("x"), json!({})).await;
    let waits = format!("policy night: shipped from {from:02}:00 UTC");
    assert_eq!(said["waits"], waits, "{said}");
    let (_, said) = fleet.world.request("POST", &fetch("y"), json!({})).await;
    assert_eq!(said["waits"], Value::Null, "{said}");
}
