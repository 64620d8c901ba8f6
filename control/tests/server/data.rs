//! Tests of receiving records: each is stored once, and acknowledged when it is on disk, whatever
//! devices send.

use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_base::codec;
use holdfast_control::api::time::rfc3339_millis;
use holdfast_control::core::ingest;
use holdfast_control::core::ledger::LoadedLedger;
use holdfast_control::ports::data_store::{DataBatch, DataStore as _};
use holdfast_protocol::topic::Channel;
use holdfast_records::block::pack;
use holdfast_records::{
    Acknowledgement, Batch, Format, Gap, GapReason, Layout, Range, Record, StreamName,
};
use serde_json::{Value, json};

use crate::world::World;

pub fn record(seq: u64) -> Record {
    let value = format!("{{\"n\":{seq}}}").into();
    Record { seq, time: 1_795_000_000_000 + seq * 1_000, format: Format::Plain, value }
}

pub fn of(stream: &str, from: u64, to: u64, records: &[Record]) -> Batch {
    Batch {
        v: holdfast_base::WIRE_VERSION,
        stream: stream.parse().unwrap(),
        from,
        to,
        rest: None,
        gaps: Vec::new(),
        fetched: false,
        doubt: false,
        block: pack(records, Layout::Rows, true),
    }
}

pub fn batch(stream: &str, from: u64, to: u64) -> Batch {
    let records: Vec<Record> = (from..=to).map(record).collect();
    of(stream, from, to, &records)
}

impl World {
    /// Sends a batch and returns whether it was acknowledged by MQTT (PUBACK).
    pub async fn ship(&self, device: &str, batch: &Batch) -> bool {
        self.publish(device, Channel::Data, codec::encode(batch).unwrap()).await
    }

    /// Returns the acknowledgements since the last call: (stream, from, to, refused).
    pub fn acked(&self, device: &str) -> Vec<(String, u64, u64, Option<String>)> {
        let acks = std::mem::take(&mut *self.bus.acks.lock().unwrap());
        acks.into_iter()
            .filter(|(id, _)| id.device.as_str() == device)
            .flat_map(|(_, bytes)| codec::decode::<Acknowledgement>(&bytes).unwrap().acked)
            .map(|acked| (acked.stream.to_string(), acked.from, acked.to, acked.refused))
            .collect()
    }

    pub fn tally(&self, device: &str, stream: &str) -> ingest::Tally {
        let stream: StreamName = stream.parse().unwrap();
        let mut found = None;
        self.service.data.each_stream(|row| {
            if row.device.as_str() == device && row.stream == stream {
                found = Some(row.tally.clone());
            }
        });
        found.unwrap()
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_a_restart() {
    let world = World::new().await;
    world.device("d-1").await;
    assert!(world.ship("d-1", &batch("s", 1, 100)).await);
    assert_eq!(world.acked("d-1"), [("s".into(), 1, 100, None)]);
    assert!(world.ship("d-1", &batch("s", 51, 150)).await);
    assert!(world.ship("d-1", &batch("s", 1, 100)).await);
    assert_eq!(world.acked("d-1").len(), 2);
    let world = world.restart().await;
    assert!(world.ship("d-1", &batch("s", 100, 151)).await);
    let tally = world.tally("d-1", "s");
    assert_eq!((tally.received, tally.kept, tally.highest), (151, 151, 151));
    assert_eq!((tally.duplicates, tally.late, tally.missing()), (50 + 100 + 51, 0, 0));
}

#[tokio::test]
async fn batches_that_can_never_be_stored_are_refused_and_change_nothing() {
    let world = World::new().await;
    world.device("d-1").await;
    let gap = |from, to| Gap { from, to, reason: GapReason::Quota };
    for (batch, said) in [
        (Batch { to: u64::MAX, ..batch("s", 1, 3) }, "numbers 1 to 18446744073709551615"),
        (Batch { from: 9, ..batch("s", 1, 3) }, "numbers 9 to 3"),
        (Batch { from: 2, ..batch("s", 1, 3) }, "record 1 is not within 2 to 3"),
        (Batch { to: 4, ..batch("s", 1, 3) }, "numbers 4 to 4 have neither a record nor a reason"),
        (Batch { gaps: vec![gap(5, 4)], ..batch("s", 1, 3) }, "a gap from 5 to 4"),
        (Batch { gaps: vec![gap(1, u64::MAX)], ..batch("s", 1, 3) }, "no such numbers"),
        (Batch { block: vec![9; 90], ..batch("s", 1, 3) }, "unknown kind"),
    ] {
        assert!(world.ship("d-1", &batch).await, "it is dealt with");
        let acked = world.acked("d-1");
        let [(_, from, to, Some(why))] = acked.as_slice() else { panic!("{acked:?}") };
        assert_eq!((*from, *to), (batch.from, batch.to));
        assert!(why.contains(said), "{said}: {why}");
    }
    let mut streams = 0;
    world.service.data.each_stream(|_| streams += 1);
    assert_eq!(streams, 0);
    let counters = world.service.data.counters();
    assert_eq!(counters.batches_refused.load(Ordering::Relaxed), 7);
    assert!(!world.publish("d-1", Channel::Data, vec![0xff; 9]).await);
    assert_eq!(counters.malformed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_device_has_a_thousand_streams_at_most() {
    let world = World::new().await;
    world.device("d-1").await;
    let batches: Vec<Batch> =
        (0..1_000).map(|number| batch(&format!("s/{number}"), 1, 1)).collect();
    for some in batches.chunks(200) {
        let stored = some.iter().map(|batch| world.ship("d-1", batch));
        assert!(futures_util::future::join_all(stored).await.into_iter().all(|stored| stored));
    }
    assert!(world.acked("d-1").iter().all(|(.., refused)| refused.is_none()));
    assert!(world.ship("d-1", &batch("more", 1, 1)).await);
    assert!(world.ship("d-1", &batch("s/7", 2, 2)).await);
    let acked = world.acked("d-1");
    assert!(acked[0].3.as_ref().unwrap().contains("1000 streams"), "{acked:?}");
    assert_eq!(acked[1].3, None);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_holds_devices_back_and_heals() {
    let world = World::new().await;
    world.device("d-1").await;
    assert!(world.ship("d-1", &batch("s", 1, 10)).await);
    world.acked("d-1");
    world.data.full.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(!world.ship("d-1", &batch("s", 11, 20)).await, "the device must send again");
    }
    let held: Vec<Acknowledgement> = std::mem::take(&mut *world.bus.acks.lock().unwrap())
        .into_iter()
        .map(|(_, bytes)| codec::decode(&bytes).unwrap())
        .collect();
    assert!(held.iter().all(|ack| ack.hold_ms > 0 && ack.acked.is_empty()), "{held:?}");
    assert_eq!(held.len(), 3);
    assert_eq!(world.tally("d-1", "s").received, 10);
    let ready = || world.raw("GET", "/readyz", &[], "");
    let said = ready().await;
    assert_eq!(said.status(), 200, "everything else works");
    assert!(said.body().starts_with(b"ready\nbut the data store cannot be written"), "{said:?}");
    assert!(world.publish("d-1", Channel::State, crate::world::report(true, 1, 1, &[])).await);
    let path = "/api/v1/devices/d-1/streams/s/records";
    assert_eq!(
        lines(&world, path, "application/x-ndjson").await.len(),
        10,
        "what is there is read"
    );
    world.data.full.store(false, Ordering::Relaxed);
    assert!(world.ship("d-1", &batch("s", 11, 20)).await);
    let tally = world.tally("d-1", "s");
    assert_eq!((tally.received, tally.duplicates, tally.kept), (20, 0, 20));
    assert_eq!(ready().await.body(), "ready\n");
    assert_eq!(world.acked("d-1"), [("s".into(), 11, 20, None)]);
}

/// Shuffles items with a small generator of its own, so that a seed always gives the same order.
fn shuffled<T>(mut items: Vec<T>, mut seed: u64) -> Vec<T> {
    for at in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(at, usize::try_from(seed >> 33).unwrap() % (at + 1));
    }
    items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_batches_repeated_and_reordered_count_once_each() {
    let world = std::sync::Arc::new(World::new().await);
    world.device("d-1").await;
    // 10,000 batches of three numbers, of which one stands in a gap. Each is sent once, twice or
    // three times, and all are shuffled.
    let mut batches = Vec::new();
    for number in 0..10_000_u64 {
        let from = number * 3 + 1;
        let mut one = of("s", from, from + 2, &[record(from), record(from + 2)]);
        one.rest = Some(GapReason::Thinned);
        for _ in 0..=number % 3 {
            batches.push(one.clone());
        }
    }
    let sent = batches.len() as u64;
    let batches = shuffled(batches, 7);
    let lanes: Vec<Vec<Batch>> = batches.chunks(80).map(<[Batch]>::to_vec).collect();
    let mut feed = world.service.data.read_along(world.actor().tenant, |_, _| true);
    let told = tokio::spawn(async move {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 20_000 {
            for record in &feed.next().await.records {
                assert!(seen.insert(record.seq), "{} is told twice", record.seq);
            }
        }
        feed.missed()
    });
    let mut sending = Vec::new();
    for lane in lanes {
        let world = std::sync::Arc::clone(&world);
        sending.push(tokio::spawn(async move {
            for batch in lane {
                while !world.ship("d-1", &batch).await {}
            }
        }));
    }
    for lane in sending {
        lane.await.unwrap();
    }
    let tally = world.tally("d-1", "s");
    assert_eq!((tally.received, tally.kept), (20_000, 20_000));
    assert_eq!(tally.duplicates, 2 * (sent - 10_000));
    assert_eq!((tally.missing(), tally.unknown()), (10_000, 0));
    let told = tokio::time::timeout(Duration::from_secs(30), told).await.unwrap().unwrap();
    assert_eq!(told, 0);
}

#[tokio::test]
async fn the_data_of_a_deleted_device_goes_and_its_name_begins_anew() {
    let world = World::new().await;
    world.device("d-1").await;
    world.device("d-2").await;
    assert!(world.ship("d-1", &batch("s", 1, 9)).await);
    assert!(world.ship("d-2", &batch("s", 1, 9)).await);
    world.service.fleet.delete_device(&world.actor(), "d-1").await.unwrap();
    assert!(!world.ship("d-1", &batch("s", 10, 19)).await, "nobody knows it any more");
    world.device("d-1").await;
    assert!(world.ship("d-1", &batch("s", 1, 2)).await);
    assert_eq!(world.tally("d-1", "s").received, 2);
    assert_eq!(world.tally("d-2", "s").received, 9);
    let world = world.restart().await;
    assert_eq!(world.tally("d-1", "s").received, 2);
}

async fn lines(world: &World, path: &str, accept: &str) -> Vec<String> {
    let (status, bytes) =
        world.send("GET", path, &[("accept", accept)], axum::body::Body::empty()).await;
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&bytes));
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn records_are_read_by_number_and_time_in_both_orders() {
    let world = World::new().await;
    world.device("d-1").await;
    // Interleaved blocks: odd numbers first, even ones later, and the last numbers alone.
    let odd: Vec<Record> = (1..=400).step_by(2).map(record).collect();
    let mut first = of("a/b", 1, 400, &odd);
    first.rest = Some(GapReason::Reduced);
    assert!(world.ship("d-1", &first).await);
    let even: Vec<Record> = (2..=300).step_by(2).map(record).collect();
    let mut second = of("a/b", 2, 300, &even);
    second.rest = Some(GapReason::Reduced);
    assert!(world.ship("d-1", &second).await);
    for seq in 401..=420 {
        assert!(world.ship("d-1", &batch("a/b", seq, seq)).await);
    }
    let expected: Vec<u64> = (1..=420).filter(|n| *n <= 300 || n % 2 == 1 || *n > 400).collect();
    let path = "/api/v1/devices/d-1/streams/a%2Fb/records";
    for order in ["asc", "desc"] {
        let mut found: Vec<u64> = Vec::new();
        let mut next = String::new();
        loop {
            let (status, page) = world
                .request("GET", &format!("{path}?limit=37&order={order}{next}"), json!(null))
                .await;
            assert_eq!(status, 200, "{page}");
            let items = page["items"].as_array().unwrap();
            found.extend(items.iter().map(|item| item["seq"].as_u64().unwrap()));
            assert!(items.iter().all(|item| item["value"]["n"] == item["seq"]), "{page}");
            match page["metadata"]["continue"].as_str() {
                Some(at) => next = format!("&continue={at}"),
                None => break,
            }
        }
        if order == "desc" {
            found.reverse();
        }
        assert_eq!(found, expected, "{order}");
    }
    let ndjson = lines(&world, path, "application/x-ndjson").await;
    assert_eq!(ndjson.len(), expected.len());
    assert_eq!(ndjson[0], r#"{"seq":1,"time":"2026-11-18T11:06:41.000Z","value":{"n":1}}"#);
    let csv = lines(&world, &format!("{path}?limit=2&order=desc"), "text/csv").await;
    let row = "420,2026-11-18T11:13:40.000Z,\"{\"\"n\"\":420}\"";
    assert_eq!((csv.len(), csv[0].as_str(), csv[1].as_str()), (3, "seq,time,value", row));
    let window = "since=2026-11-18T11:06:50Z&until=2026-11-18T11:06:55Z";
    let some = lines(&world, &format!("{path}?{window}"), "application/x-ndjson").await;
    assert_eq!(some.len(), 5, "{some:?}");
    assert!(some[0].starts_with("{\"seq\":10,"), "{some:?}");
    for (bad, said) in [
        ("since=yesterday", "since: RFC 3339"),
        ("since=2h&until=3h", "since is not before until"),
        ("order=up", "asc or desc"),
        ("limit=0", "from 1 to 5000"),
        ("colour=1", "unknown parameter"),
    ] {
        let (status, answer) = world.request("GET", &format!("{path}?{bad}"), json!(null)).await;
        assert_eq!(status, 400, "{bad}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(said), "{answer}");
    }
    for none in ["/api/v1/devices/d-1/streams/x/records", "/api/v1/devices/x/streams/a/records"] {
        assert_eq!(world.request("GET", none, json!(null)).await.0, 404);
    }
    let series = "/api/v1/devices/d-1/streams/a%2Fb/series?field=n&points=10&since=2026-11-18T11:06:40Z&until=2026-11-18T11:08:20Z";
    let (_, series) = world.request("GET", series, json!(null)).await;
    let points = series["points"].as_array().unwrap();
    assert_eq!(points.len(), 10, "{series}");
    let second = json!({ "time": "2026-11-18T11:06:50.000Z", "min": 10, "max": 19, "mean": 14.5, "count": 10 });
    assert_eq!(points[1], second);
}

#[tokio::test]
async fn values_of_every_kind_are_shown_as_they_were_published() {
    let world = World::new().await;
    world.device("d-1").await;
    let values: [(Format, &[u8], Value); 5] = [
        (Format::Plain, b"21.50", json!(21.5)),
        (Format::Plain, b"{\"a\": [1, null]}", json!({ "a": [1, null] })),
        (Format::Plain, b"plain \"text\"", json!("plain \"text\"")),
        (Format::Plain, &[0xff, 0x00], json!({ "base64": "/wA=" })),
        (Format::Cbor, &[0xa1, 0x61, b'x', 0x01], json!({ "x": 1 })),
    ];
    let records: Vec<Record> = (1..)
        .zip(&values)
        .map(|(seq, (format, value, _))| Record {
            seq,
            time: 5,
            format: *format,
            value: value.to_vec(),
        })
        .collect();
    assert!(world.ship("d-1", &of("s", 1, 5, &records)).await);
    let path = "/api/v1/devices/d-1/streams/s/records";
    let found = lines(&world, path, "application/x-ndjson").await;
    for (line, (_, _, shown)) in found.iter().zip(&values) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["value"], *shown);
    }
    assert!(found[0].ends_with("\"value\":21.50}"), "number for number: {}", found[0]);
    let (_, page) = world.request("GET", "/api/v1/devices/d-1/streams", json!(null)).await;
    assert_eq!(page["items"][0]["latest"], json!({ "x": 1 }), "{page}");
}

/// Returns ranges of a ledger without their times.
fn undated(ranges: &Value) -> Value {
    let mut ranges = ranges.clone();
    for range in ranges.as_array_mut().unwrap() {
        range.as_object_mut().unwrap().retain(|key, _| key != "since" && key != "until");
    }
    ranges
}

#[tokio::test]
async fn the_ledger_lists_what_is_missing_with_its_reason() {
    let world = World::new().await;
    world.device("d-1").await;
    let gap = |from, to, reason| Gap { from, to, reason };
    assert!(world.ship("d-1", &batch("s", 1, 10)).await);
    let mut with_gaps = batch("s", 21, 30);
    with_gaps.gaps = vec![gap(5, 12, GapReason::Damaged), gap(41, 50, GapReason::Withheld)];
    assert!(world.ship("d-1", &with_gaps).await);
    assert!(world.ship("d-1", &batch("s", 1, 3)).await);
    let path = "/api/v1/devices/d-1/streams/s/ledger";
    let (status, ledger) = world.request("GET", path, json!(null)).await;
    assert_eq!(status, 200, "{ledger}");
    assert_eq!(ledger["received"], 20);
    assert_eq!((&ledger["duplicates"], &ledger["late"]), (&json!(3), &json!(0)));
    let missing = json!([
        { "from": 11, "to": 12, "reason": "damaged" },
        { "from": 13, "to": 20, "reason": "unknown" },
    ]);
    assert_eq!(undated(&ledger["missing"]), missing);
    // Records that a policy left on the device do not count as lost, here and in the list of
    // streams.
    let asked = json!([{ "from": 41, "to": 50, "reason": "withheld" }]);
    assert_eq!(undated(&ledger["byPolicy"]), asked);
    assert_eq!(ledger["byPolicyCount"], json!({ "withheld": 10 }));
    assert_eq!(ledger["missingCount"], json!({ "damaged": 2, "unknown": 8 }));
    let (_, listed) = world.request("GET", "/api/v1/streams", json!(null)).await;
    let item = &listed["items"][0];
    assert_eq!((&item["missing"], &item["byPolicy"]), (&json!(10), &json!(10)));
    let (mut found, mut next) = (Vec::new(), String::new());
    loop {
        let (_, page) = world.request("GET", &format!("{path}?limit=1{next}"), json!(null)).await;
        found.extend(page["missing"].as_array().unwrap().clone());
        match page["metadata"]["continue"].as_str() {
            Some(at) => next = format!("&continue={at}"),
            None => break,
        }
    }
    assert_eq!(undated(&json!(found)), missing);
    // Records that arrive after all are no longer missing, and count as late.
    assert!(world.ship("d-1", &batch("s", 11, 20)).await);
    let (_, ledger) = world.request("GET", path, json!(null)).await;
    assert_eq!((&ledger["received"], &ledger["late"]), (&json!(30), &json!(10)));
    assert_eq!((&ledger["missing"], undated(&ledger["byPolicy"])), (&json!([]), asked));
}

#[tokio::test]
async fn streams_are_listed_with_what_their_devices_say_of_them() {
    let world = World::new().await;
    for device in ["d-1", "d-2", "d-3"] {
        world.device(device).await;
        for stream in ["a", "b/c"] {
            assert!(world.ship(device, &batch(stream, 1, 4)).await);
        }
    }
    let mut report: holdfast_protocol::message::StateReport =
        codec::decode(&crate::world::report(false, 1, 1, &[])).unwrap();
    let said = holdfast_records::StreamReport { last: 9, waiting: 5, ..Default::default() };
    let streams = [("a", said.clone()), ("z", said)];
    report.data = Some(Box::new(holdfast_records::DataReport {
        streams: streams.map(|(name, said)| (name.parse().unwrap(), said)).into(),
        horizon: Some(holdfast_records::Horizon {
            until: 1_800_000_000,
            cause: holdfast_records::HorizonCause::Buffer,
            detail: "stream a".into(),
        }),
        ..Default::default()
    }));
    assert!(world.publish("d-2", Channel::State, codec::encode(&report).unwrap()).await);
    let (_, page) = world.request("GET", "/api/v1/devices/d-2/streams", json!(null)).await;
    let names: Vec<&Value> =
        page["items"].as_array().unwrap().iter().map(|i| &i["stream"]).collect();
    assert_eq!(names, ["a", "b/c", "z"]);
    assert_eq!(page["items"][0]["reported"]["waiting"], 5, "{page}");
    assert_eq!(page["items"][0]["last"], json!({ "seq": 4, "time": "2026-11-18T11:06:44.000Z" }));
    assert_eq!(page["items"][2]["received"], 0);
    assert_eq!(page["data"]["horizon"]["cause"], "buffer");
    assert_eq!(world.view("d-2")["status"]["data"]["horizon"]["until"], 1_800_000_000);
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let (status, page) =
            world.request("GET", &format!("/api/v1/streams?limit=2{next}"), json!(null)).await;
        assert_eq!(status, 200, "{page}");
        for item in page["items"].as_array().unwrap() {
            found.push(format!("{}/{}", item["device"], item["stream"]).replace('"', ""));
        }
        match page["metadata"]["continue"].as_str() {
            Some(at) => next = format!("&continue={}", at.replace('/', "%2F")),
            None => break,
        }
    }
    assert_eq!(found, ["d-1/a", "d-1/b/c", "d-2/a", "d-2/b/c", "d-2/z", "d-3/a", "d-3/b/c"]);
    for (query, count) in [
        ("device=d-1", 2),
        ("q=B%2FC", 3),
        ("q=d-3", 2),
        ("labelSelector=role%3Da", 7),
        ("labelSelector=role%3Db", 0),
    ] {
        let (_, page) =
            world.request("GET", &format!("/api/v1/streams?{query}"), json!(null)).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}: {page}");
    }
    let world = world.restart().await;
    assert_eq!(world.view("d-2")["status"]["data"]["horizon"]["until"], 1_800_000_000);
}

#[tokio::test]
async fn what_is_fetched_of_a_summed_up_part_is_stored_and_nothing_twice() {
    let world = World::new().await;
    world.device("d-1").await;
    let odd: Vec<Record> = (1..=400).step_by(2).map(record).collect();
    let mut first = of("s", 1, 400, &odd);
    first.rest = Some(GapReason::Reduced);
    assert!(world.ship("d-1", &first).await);
    assert!(world.ship("d-1", &batch("s", 401, 410)).await);
    // The ledger is summed up by hand, as maintenance does when it has very many segments.
    let mut row = world.data.streams().unwrap().remove(0);
    let all = Range { from: 0, to: 1_000 };
    let mut ledger = LoadedLedger::new();
    ledger.load(all, world.data.segments(row.id, all, 10_000).unwrap());
    ingest::sum_up(&mut ledger, &mut row.tally);
    row.tally.summed_below = 411;
    let (streams, segments) = (vec![row.clone()], vec![(row.id, ledger.rows())]);
    world.data.commit(&DataBatch { streams, segments, ..DataBatch::default() }).unwrap();
    let world = world.restart().await;
    for duplicates in [10, 30] {
        assert!(world.ship("d-1", &batch("s", 1, 20)).await);
        let tally = world.tally("d-1", "s");
        assert_eq!((tally.received, tally.kept), (220, 220));
        assert_eq!((tally.duplicates, tally.missing(), tally.unknown()), (duplicates, 190, 0));
    }
    let path = "/api/v1/devices/d-1/streams/s/records";
    let found = lines(&world, path, "application/x-ndjson").await;
    assert_eq!(found.len(), 220);
    assert!(found[1].starts_with("{\"seq\":2,"), "{}", found[1]);
    let path = "/api/v1/devices/d-1/streams/s/ledger";
    let (_, ledger) = world.request("GET", path, json!(null)).await;
    assert_eq!((&ledger["missing"], &ledger["summedBelow"]), (&json!([]), &json!(411)));
    assert_eq!(ledger["missingCount"], json!({}));
    assert_eq!(ledger["byPolicyCount"], json!({ "reduced": 190 }));
    assert_eq!(ledger["summed"], json!({ "reduced": 190 }));
}

#[tokio::test]
async fn a_damaged_block_is_left_out_said_and_missing_until_it_comes_again() {
    let world = World::new().await;
    world.device("d-1").await;
    for from in [101, 111, 121] {
        assert!(world.ship("d-1", &batch("s", from, from + 9)).await);
    }
    world.data.harmed.lock().unwrap().push(111);
    let path = "/api/v1/devices/d-1/streams/s";
    let (status, page) = world.request("GET", &format!("{path}/records"), json!(null)).await;
    assert_eq!(status, 200, "{page}");
    let numbers: Vec<u64> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (101..=110).chain(121..=130).collect::<Vec<_>>());
    let told = json!([{ "from": 111, "to": 120, "reason": "damaged" }]);
    assert_eq!(page["damaged"], told);
    let received = || world.tally("d-1", "s").received;
    let waiting = async {
        while received() != 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    let (_, ledger) = world.request("GET", &format!("{path}/ledger"), json!(null)).await;
    let missing: Vec<Value> = ledger["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| json!([gap["from"], gap["to"], gap["reason"]]))
        .collect();
    assert_eq!(json!(missing), json!([[1, 100, "unknown"], [111, 120, "damaged"]]));
    let until = ledger["missing"][1]["until"].as_str().unwrap();
    assert!(ledger["missing"][1]["since"].as_str().unwrap() < until, "{ledger}");
    assert_eq!((&ledger["received"], &ledger["records"]), (&json!(20), &json!(20)));
    assert_eq!(world.service.data.counters().blocks_damaged.load(Ordering::Relaxed), 1);
    for (what, accept) in [("records", "application/x-ndjson"), ("records", "text/csv")] {
        let found = lines(&world, &format!("{path}/{what}"), accept).await;
        assert_eq!(found.len(), 20 + usize::from(accept == "text/csv"));
    }
    let window = "since=2026-11-18T11:00:00Z&until=2026-11-18T12:00:00Z&field=n&points=1";
    let (_, series) = world.request("GET", &format!("{path}/series?{window}"), json!(null)).await;
    assert_eq!(series["points"][0]["count"], 20, "{series}");
    // The device still has the records and ships them again.
    world.data.harmed.lock().unwrap().clear();
    assert!(world.ship("d-1", &batch("s", 111, 120)).await);
    let tally = world.tally("d-1", "s");
    assert_eq!((tally.received, tally.kept, tally.duplicates, tally.missing()), (30, 30, 0, 100));
    let world = world.restart().await;
    let (_, page) = world.request("GET", &format!("{path}/records"), json!(null)).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 30);
    assert_eq!(page["damaged"], json!(null));
}

#[tokio::test]
async fn of_blocks_that_interleave_only_what_the_damaged_one_had_is_missing() {
    let world = World::new().await;
    world.device("d-1").await;
    for (from, to, reason) in [(1, 399, GapReason::Reduced), (2, 300, GapReason::Quota)] {
        let records: Vec<Record> = (from..=to).step_by(2).map(record).collect();
        let mut part = of("s", from, to, &records);
        part.rest = Some(reason);
        assert!(world.ship("d-1", &part).await);
    }
    world.data.harmed.lock().unwrap().push(1);
    let path = "/api/v1/devices/d-1/streams/s/records";
    let found = lines(&world, path, "application/x-ndjson").await;
    assert_eq!(found.len(), 150, "the even ones");
    assert!(world.ship("d-1", &batch("t", 1, 1)).await);
    assert!(world.ship("d-1", &batch("t", 2, 2)).await);
    let tally = world.tally("d-1", "s");
    assert_eq!((tally.received, tally.kept, tally.unknown()), (150, 150, 0));
    let gaps = [(GapReason::Reduced, 49), (GapReason::Damaged, 200)];
    assert_eq!(tally.gaps, gaps.into());
}

#[tokio::test]
async fn gaps_have_their_times_and_the_newest_come_first_when_asked() {
    let world = World::new().await;
    world.device("d-1").await;
    let gap = |from, to, reason| Gap { from, to, reason };
    let gaps = vec![gap(11, 20, GapReason::Quota), gap(31, 40, GapReason::Reduced)];
    let records: Vec<Record> =
        (1..=10).chain(21..=30).chain(41..=45).chain(51..=60).map(record).collect();
    let gaps = [gaps, vec![gap(46, 50, GapReason::Expired)]].concat();
    assert!(world.ship("d-1", &Batch { gaps, ..of("s", 1, 60, &records) }).await);
    let ledger = async |query: &str| {
        let path = format!("/api/v1/devices/d-1/streams/s/ledger{query}");
        world.request("GET", &path, json!(null)).await.1
    };
    let at = |seq: u64| rfc3339_millis(record(seq).time);
    let quota =
        json!({ "from": 11, "to": 20, "reason": "quota", "since": at(10), "until": at(21) });
    let expired =
        json!({ "from": 46, "to": 50, "reason": "expired", "since": at(45), "until": at(51) });
    let all = ledger("").await;
    assert_eq!(all["missing"], json!([quota, expired]), "{all}");
    assert_eq!(all["byPolicy"][0]["since"], json!(at(30)));
    let newest = ledger("?order=desc&only=missing&limit=1").await;
    assert_eq!((&newest["missing"], &newest["byPolicy"]), (&json!([expired]), &json!([])));
    assert_eq!(newest["missingCount"], json!({ "expired": 5, "quota": 10 }), "sums are of all");
    let next = newest["metadata"]["continue"].as_str().unwrap();
    let rest = ledger(&format!("?order=desc&only=missing&continue={next}")).await;
    assert_eq!((&rest["missing"], &rest["metadata"]), (&json!([quota]), &json!({})));
    let asked = ledger("?only=by-policy").await;
    assert_eq!((&asked["missing"], &asked["byPolicy"][0]["from"]), (&json!([]), &json!(31)));
}

#[tokio::test]
async fn records_are_searched_and_say_as_what_they_were_published() {
    let world = World::new().await;
    world.device("d-1").await;
    let plain = |seq: u64, text: &str| Record { value: text.into(), ..record(seq) };
    let records = [
        plain(1, "{\"state\":\"Stopped\"}"),
        plain(2, "pump stopped by hand"),
        plain(3, "pump runs"),
        Record { format: Format::Cbor, value: b"\xa1at\x01".to_vec(), ..record(4) },
        Record { value: b"\xff\x00".to_vec(), ..record(5) },
    ];
    assert!(world.ship("d-1", &of("log", 1, 5, &records)).await);
    let read = async |query: &str| {
        let path = format!("/api/v1/devices/d-1/streams/log/records{query}");
        world.request("GET", &path, json!(null)).await.1
    };
    let forms = read("").await;
    let forms: Vec<_> = forms["items"].as_array().unwrap().iter().map(|it| &it["form"]).collect();
    assert_eq!(forms, ["json", "text", "text", "cbor", "bytes"]);
    let found = read("?q=STOPPED&order=desc").await;
    let numbers: Vec<_> = found["items"].as_array().unwrap().iter().map(|it| &it["seq"]).collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(found["metadata"]["searched"], json!(rfc3339_millis(record(1).time)), "{found}");
    assert_eq!(read("?q=nowhere").await["items"], json!([]));
    let page = read("?q=stopped&limit=1").await;
    assert_eq!(page["metadata"]["continue"], "1", "{page}");
}
