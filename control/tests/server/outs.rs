//! Tests of exports of data: latest values and horizons for Prometheus, and Parquet files.

use std::collections::BTreeMap;

use axum::body::Body;
use holdfast_base::codec;
use holdfast_protocol::message::StateReport;
use holdfast_protocol::topic::Channel;
use holdfast_records::{DataReport, Format, Horizon, HorizonCause, Record};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};

use crate::data::of;
use crate::world::{World, clock, report};

fn record(seq: u64, value: &str) -> Record {
    let time = clock() * 1_000 + seq;
    Record { seq, time, format: Format::Plain, value: value.as_bytes().to_vec() }
}

impl World {
    async fn ships(&self, device: &str, stream: &str, records: &[Record]) {
        let (first, last) = (records[0].seq, records[records.len() - 1].seq);
        assert!(self.ship(device, &of(stream, first, last, records)).await);
        assert!(self.acked(device).iter().all(|(.., refused)| refused.is_none()));
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let (status, body) = self.send("GET", path, &[], Body::empty()).await;
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn has_horizon(&self, device: &str, cause: HorizonCause, until: u64) {
        let mut said: StateReport = codec::decode(&report(true, 1, 0, &[])).unwrap();
        let horizon = Some(Horizon { until, cause, detail: String::new() });
        said.data = Some(Box::new(DataReport { horizon, ..DataReport::default() }));
        assert!(self.publish(device, Channel::State, codec::encode(&said).unwrap()).await);
    }
}

const METRICS: &str = "/api/v1/metrics/streams";

#[tokio::test]
async fn the_latest_values_of_streams_are_there_for_prometheus() {
    let world = World::new().await;
    world.device("d-1").await;
    world.device("d-2").await;
    let labels = json!({ "labels": { "site": "berlin" } });
    assert_eq!(world.request("PATCH", "/api/v1/devices/d-1", labels).await.0, 200);
    world.ships("d-1", "temp", &[record(1, "20"), record(2, "21.5")]).await;
    world.ships("d-1", "pump/state", &[record(1, r#"{"on":true,"flow":{"l":3}}"#)]).await;
    world.ships("d-2", "temp", &[record(9, "-4")]).await;
    world.ships("d-2", "log", &[record(1, "a line")]).await;

    let (status, text) = world.text(METRICS).await;
    assert_eq!(status, 200, "{text}");
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("holdfast_stream_value{"));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let berlin = [
        r#"holdfast_stream_value{device="d-1",stream="pump/state",site="berlin",field="flow.l",tenant="default"} 3"#,
        r#"holdfast_stream_value{device="d-1",stream="pump/state",site="berlin",field="on",tenant="default"} 1"#,
        r#"holdfast_stream_value{device="d-1",stream="temp",site="berlin",tenant="default"} 21.5"#,
    ];
    let other = r#"holdfast_stream_value{device="d-2",stream="temp",tenant="default"} -4"#;
    assert_eq!(samples(&text), [&berlin[..], &[other]].concat());
    assert!(text.contains(
        r#"holdfast_stream_last_time_seconds{device="d-2",stream="log",tenant="default"} "#
    ));

    let (_, text) = world.text(&format!("{METRICS}?labelSelector=site%3Dberlin")).await;
    assert_eq!(samples(&text), berlin);
    let (_, text) = world.text(&format!("{METRICS}?streams=temp,x/*")).await;
    assert_eq!(samples(&text), [berlin[2], other]);
    for (query, said) in [
        ("labelSelector=%3D", "labelSelector"),
        ("streams=a%23b", "streams"),
        ("maxAge=soon", "maxAge"),
        ("what=1", "what"),
    ] {
        let (status, text) = world.text(&format!("{METRICS}?{query}")).await;
        assert!(status == 400 && text.contains(said), "{query}: {status} {text}");
    }
    let answer = world.raw("GET", METRICS, &[], "").await;
    assert_eq!(answer.status(), 401, "it has names: a token is needed");
}

#[tokio::test]
async fn horizons_are_counted_by_cause_without_names() {
    let world = World::new().await;
    for (device, cause, left) in [
        ("d-1", HorizonCause::Buffer, 1_800),
        ("d-2", HorizonCause::Buffer, 5 * 86_400),
        ("d-3", HorizonCause::Certificate, 20 * 86_400),
        ("d-4", HorizonCause::Clock, 0),
    ] {
        world.device(device).await;
        world.has_horizon(device, cause, clock() + left).await;
    }
    world.device("d-5").await;
    let (_, text) = world.text("/metrics").await;
    assert!(!text.contains("d-1"), "{text}");
    for line in [
        r#"holdfast_devices_horizon_seconds{cause="buffer",tenant="default"} 1800"#,
        r#"holdfast_devices_horizon_seconds{cause="certificate",tenant="default"} 1728000"#,
        r#"holdfast_devices_horizon_seconds{cause="clock",tenant="default"} 0"#,
        r#"holdfast_devices_horizon_within{cause="buffer",within="0s",tenant="default"} 0"#,
        r#"holdfast_devices_horizon_within{cause="buffer",within="1h",tenant="default"} 1"#,
        r#"holdfast_devices_horizon_within{cause="buffer",within="7d",tenant="default"} 2"#,
        r#"holdfast_devices_horizon_within{cause="buffer",within="any",tenant="default"} 2"#,
        r#"holdfast_devices_horizon_within{cause="clock",within="0s",tenant="default"} 1"#,
    ] {
        assert!(text.lines().any(|known| known == line), "{line}:\n{text}");
    }
    // A revoked device must raise no alert.
    assert_eq!(world.request("POST", "/api/v1/devices/d-4/revoke", Value::Null).await.0, 200);
    assert!(!world.text("/metrics").await.1.contains("cause=\"clock\""));
}

/// Returns the columns of a Parquet file with their types, and its rows as JSON.
fn rows(file: bytes::Bytes) -> (Vec<String>, Vec<Value>) {
    let reader = SerializedFileReader::new(file).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let columns = schema.columns().iter();
    let columns = columns.map(|column| format!("{} {}", column.name(), column.physical_type()));
    let value = |field: &Field| match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Double(value) => json!(value),
        Field::Long(value) | Field::TimestampMillis(value) => json!(value),
        Field::ULong(value) => json!(value),
        Field::Str(value) => json!(value),
        other => panic!("{other:?}"),
    };
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
    });
    (columns.collect(), rows.collect())
}

#[tokio::test]
async fn a_stream_is_exported_as_parquet() {
    let world = World::new().await;
    world.device("d-1").await;
    let first = [
        record(1, r#"{"temp":21,"ok":true,"unit":"C","pos":{"x":1.5},"seq":7,"odd":1}"#),
        record(2, r#"{"temp":22.5,"ok":false,"odd":"two"}"#),
        record(5, "no object"),
        record(6, r#"{"temp":"broken"}"#),
    ];
    let mut batch = of("s", 1, 6, &first);
    batch.rest = Some(holdfast_records::GapReason::Thinned);
    assert!(world.ship("d-1", &batch).await);
    let path = "/api/v1/devices/d-1/streams/s/export.parquet";
    let answer = world.answer("GET", path, &[], Body::empty()).await;
    assert_eq!(answer.headers()["content-type"], "application/vnd.apache.parquet");
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"d-1-s.parquet\"");
    let (_, file) = world.send("GET", path, &[], Body::empty()).await;
    let (columns, rows_of) = rows(file);
    assert_eq!(
        columns,
        [
            "device BYTE_ARRAY",
            "stream BYTE_ARRAY",
            "seq INT64",
            "time INT64",
            "value BYTE_ARRAY",
            "odd INT64",
            "ok BOOLEAN",
            "pos.x DOUBLE",
            "value.seq INT64",
            "temp DOUBLE",
            "unit BYTE_ARRAY",
        ],
        "temp and odd are not always the same, and have a column all the same"
    );
    let temps: Vec<&Value> = rows_of.iter().map(|row| &row["temp"]).collect();
    assert_eq!(temps, [&json!(21.0), &json!(22.5), &Value::Null, &Value::Null]);
    assert_eq!((&rows_of[0]["odd"], &rows_of[1]["odd"]), (&json!(1), &Value::Null));
    assert_eq!(rows_of.len(), 4);
    let text = std::str::from_utf8(&first[0].value).unwrap();
    assert_eq!(rows_of[0]["value"], text);
    assert_eq!((&rows_of[0]["ok"], &rows_of[0]["pos.x"]), (&json!(true), &json!(1.5)));
    assert_eq!((&rows_of[1]["ok"], &rows_of[1]["unit"]), (&json!(false), &Value::Null));
    assert_eq!((&rows_of[2]["seq"], &rows_of[2]["value"]), (&json!(5), &json!("\"no object\"")));

    // One file of many devices, chosen by label and by time.
    world.device("d-2").await;
    let labels = json!({ "labels": { "site": "berlin" } });
    assert_eq!(world.request("PATCH", "/api/v1/devices/d-2", labels).await.0, 200);
    world.ships("d-2", "s", &[record(1, "1"), record(2, "2.5"), record(3, "3")]).await;
    let all = "/api/v1/streams/s/export.parquet";
    let (_, file) = world.send("GET", all, &[], Body::empty()).await;
    let devices = rows(file).1.into_iter().map(|row| row["device"].to_string());
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    devices.for_each(|device| *count.entry(device).or_default() += 1);
    assert_eq!(count, [("\"d-1\"".into(), 4), ("\"d-2\"".into(), 3)].into());
    let (_, file) =
        world.send("GET", &format!("{all}?labelSelector=site%3Dberlin"), &[], Body::empty()).await;
    let (columns, found) = rows(file);
    assert_eq!(columns.last().unwrap(), "number DOUBLE");
    assert_eq!(found.iter().map(|row| row["number"].clone()).collect::<Vec<_>>(), [1.0, 2.5, 3.0]);

    for (path, wanted) in [
        ("/api/v1/devices/d-1/streams/none/export.parquet", 404),
        ("/api/v1/devices/none/streams/s/export.parquet", 404),
        ("/api/v1/streams/none/export.parquet", 404),
        ("/api/v1/streams/s/export.parquet?labelSelector=site%3Dparis", 404),
        ("/api/v1/streams/s/export.parquet?since=soon", 400),
        ("/api/v1/streams/s/export.parquet?since=2h&until=3h", 400),
    ] {
        assert_eq!(world.send("GET", path, &[], Body::empty()).await.0, wanted, "{path}");
    }
}

#[tokio::test]
async fn a_long_export_is_written_in_groups() {
    let world = World::new().await;
    world.device("d-1").await;
    for part in 0..6_u64 {
        let all: Vec<Record> = (1..=10_000)
            .map(|n| part * 10_000 + n)
            .map(|seq| record(seq, &format!("{{\"n\":{seq}}}")))
            .collect();
        world.ships("d-1", "s", &all).await;
    }
    let path = "/api/v1/devices/d-1/streams/s/export.parquet";
    let (_, file) = world.send("GET", path, &[], Body::empty()).await;
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let groups: Vec<i64> =
        reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [50_000, 10_000]);
    let numbers = rows(file).1.into_iter().enumerate();
    for (at, row) in numbers {
        let seq = at as u64 + 1;
        assert_eq!((row["seq"].as_u64(), row["n"].as_f64()), (Some(seq), Some(seq as f64)));
    }
}
