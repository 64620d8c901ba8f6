//! Measurements of Holdfast's buffer, with the same data records from the same publishers.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::figures::{Buffered, DAY_OF_SECONDS, FROM, Sizes, WINDOW};
use crate::bench::machine;
use crate::harness::publisher::{Access, Http, Mqtt};
use crate::harness::{Device, Plane, eventually};
use crate::telemetry::Telemetry;

/// Number of data records per HTTP call.
const BATCH: usize = 1_000;
/// Agent configuration with room for everything that is published.
const CONFIG: &str = "[storage]\nquota_bytes = 4294967296\nreserve_bytes = 16777216\n";
/// Longest time for a drain.
const PATIENCE: Duration = Duration::from_secs(900);

/// Figures of Holdfast's buffer, including those that other buffers do not have.
#[derive(Debug, Clone, Default)]
pub struct Ours {
    /// Figures that every buffer has.
    pub buffered: Buffered,
    /// Data records stored per second over HTTP, a thousand per call.
    pub http_rate: f64,
    /// Bytes written for each payload byte over HTTP.
    pub http_amplification: f64,
    /// Number of data records that waited at the end.
    pub waiting: usize,
    /// Proportional memory in KiB with a tenth of the data records waiting, and with all.
    pub pss: (f64, f64),
    /// Proportional memory in KiB before anything was published.
    pub pss_idle: f64,
}

fn start(plane: &Plane, name: &str) -> (Device, Access) {
    let mut device = plane.bare_device(name);
    device.config = Some(CONFIG.into());
    device.enrol(&plane.token(&[]), &["role=bench"]).ok();
    device.up();
    device.await_link("up");
    let access = device.access("bench");
    eventually(Duration::from_secs(20), "the local bus listens", || {
        Mqtt::connect(&access, "first").map(drop).map_err(|error| error.to_string())
    });
    device.link.cut();
    device.await_link("down");
    (device, access)
}

/// Returns the number of data records of a stream that the control plane has received.
fn received(plane: &Plane, device: &str, stream: &str) -> u64 {
    let path = format!("/api/v1/devices/{device}/streams/{stream}/ledger");
    match plane.https().get(&path) {
        Ok(answer) if answer.status == 200 => answer.json()["received"].as_u64().unwrap_or(0),
        _ => 0,
    }
}

/// Heals the link and waits until all data records have arrived or no more come. Returns how many
/// came, how many per second from the first to the last, and the bytes on the wire per record, both
/// directions together.
fn drain(plane: &Plane, device: &Device, stream: &str, wanted: usize) -> (usize, f64, f64) {
    let bytes = || device.link.up() + device.link.down();
    let before = bytes();
    device.link.heal();
    let began = Instant::now();
    let (mut first, mut last, mut moved) = (None, 0, Instant::now());
    loop {
        let now = received(plane, &device.name, stream);
        if now != last {
            first.get_or_insert((Instant::now(), now));
            (last, moved) = (now, Instant::now());
        }
        let done = now >= wanted as u64;
        assert!(done || began.elapsed() < PATIENCE, "only {now} of {wanted} came");
        if done || (first.is_some() && moved.elapsed() > Duration::from_secs(30)) {
            let (since, had) = first.expect("something came");
            let taken = (moved - since).as_secs_f64();
            let rate = if taken > 0.0 { (last - had) as f64 / taken } else { 0.0 };
            let wire = (bytes() - before) as f64 / last.max(1) as f64;
            return (usize::try_from(last).unwrap_or(0), rate, wire);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Fills the buffer over MQTT, then over HTTP until all data records wait, kills the agent, starts
/// it again, and counts the records that arrive.
pub fn measure(sizes: Sizes) -> Ours {
    let plane = Plane::start();
    let (mut device, access) = start(&plane, "bench");
    let pid = device.pid().unwrap();
    let mut ours = Ours {
        buffered: Buffered::new("Holdfast", sizes.mqtt),
        pss_idle: machine::memory(pid).0,
        ..Ours::default()
    };
    let mut telemetry = Telemetry::new(1, FROM, 1_000);
    over_mqtt(&mut ours, &access, pid, &telemetry.records(sizes.mqtt));
    over_http(&mut ours, &access, pid, &mut telemetry, sizes);
    let buffered = &mut ours.buffered;
    device.kill_agent();
    device.up();
    device.await_link("down");
    let (arrived, rate, wire) = drain(&plane, &device, "http", ours.waiting);
    buffered.lost_on_kill = ours.waiting - arrived;
    (buffered.drain_rate, buffered.wire) = (rate, wire);
    // The records published over MQTT waited longer, and are drained together with the others.
    let rest = eventually(PATIENCE, "what was published over MQTT arrives", || {
        let now = received(&plane, "bench", "mqtt");
        if now >= buffered.acknowledged as u64 { Ok(now) } else { Err(now.to_string()) }
    });
    buffered.lost_on_kill += buffered.acknowledged.saturating_sub(rest as usize);
    ours
}

fn over_mqtt(ours: &mut Ours, access: &Access, pid: u32, records: &[Vec<u8>]) {
    let payload: usize = records.iter().map(Vec::len).sum();
    let written = machine::written(pid);
    let mut client = Mqtt::connect(access, "publisher").unwrap();
    let began = Instant::now();
    let outcome = client.publish("mqtt", records, WINDOW);
    let taken = began.elapsed().as_secs_f64();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    ours.buffered.acknowledged = outcome.count();
    ours.buffered.mqtt_rate = outcome.count() as f64 / taken;
    ours.buffered.mqtt_amplification = (machine::written(pid) - written) / payload as f64;
}

fn over_http(ours: &mut Ours, access: &Access, pid: u32, from: &mut Telemetry, sizes: Sizes) {
    let (mut taken, mut payload) = (0.0, 0);
    let written = machine::written(pid);
    let mut client = Http::connect(access).unwrap();
    let before = machine::memory(pid).1;
    // A tenth at a time: all at once would fill the memory of this process, not the agent's.
    for part in 0..10 {
        let records = from.records(sizes.http / 10);
        payload += records.iter().map(Vec::len).sum::<usize>();
        let began = Instant::now();
        let outcome = client.publish("http", &records, BATCH);
        taken += began.elapsed().as_secs_f64();
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        ours.waiting += outcome.count();
        let pss = machine::memory(pid).0;
        if part == 0 {
            ours.pss.0 = pss;
        }
        ours.pss.1 = pss;
    }
    ours.buffered.memory_kib = machine::memory(pid).1 - before;
    ours.http_rate = ours.waiting as f64 / taken;
    ours.http_amplification = (machine::written(pid) - written) / payload as f64;
}

/// Cost of a question over a day with one data record per second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Bytes that crossed the link for the answer.
    pub crossed: f64,
    /// Bytes that shipping the data records would have cost.
    pub shipping: f64,
    /// Bytes in the kernel's socket counters meanwhile, both directions, with TLS.
    pub wire: f64,
}

/// Asks a question over a day with one data record per second that was never shipped.
pub fn ask() -> Asked {
    let plane = Plane::start();
    plane
        .cli()
        .apply("apiVersion: holdfast/v1\nkind: Stream\nmetadata: { name: stays }\nspec: { devices: { matchLabels: { role: bench } }, streams: [day], ship: never }\n")
        .ok();
    let (device, access) = start(&plane, "asked");
    let records = Telemetry::new(2, FROM, 1_000).records(DAY_OF_SECONDS);
    let outcome = Http::connect(&access).unwrap().publish("day", &records, BATCH);
    assert_eq!(outcome.count(), records.len(), "{:?}", outcome.error);
    device.link.heal();
    device.await_link("up");
    plane.await_settled("asked");
    std::thread::sleep(Duration::from_secs(5));
    let bytes = || device.link.up() + device.link.down();
    let before = bytes();
    let answer: Value = plane
        .cli()
        .run(&[
            "query",
            "day",
            "--select",
            "count, mean(temp), max(temp), p95(temp)",
            "--since",
            "-24h",
            "-o",
            "json",
        ])
        .json();
    let figure = |key: &str| answer["bytes"][key].as_f64().unwrap_or(0.0);
    let count = &answer["rows"][0]["values"];
    assert!(
        count.to_string().contains(&DAY_OF_SECONDS.to_string()),
        "all records are counted: {answer}"
    );
    Asked {
        crossed: figure("crossed"),
        shipping: figure("shippingWouldHaveCost"),
        wire: (bytes() - before) as f64,
    }
}
