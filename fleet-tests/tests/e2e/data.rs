//! Data streams through both programs: records published by ordinary clients come back byte for
//! byte, and records that cannot be accepted are refused and reported.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use fleet_tests::harness::publisher::{Access, Http, Mqtt};
use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, holds_for};
use fleet_tests::telemetry::Telemetry;
use serde_json::Value;

use crate::{marker, sleeper};

/// Data record as `holdfast data get -o ndjson` writes it, its value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) seq: u64,
    pub(crate) value: String,
}

/// Returns every data record of a stream at the control plane, the oldest first.
pub(crate) fn records(plane: &Plane, device: &str, stream: &str) -> Vec<Got> {
    let outcome = plane.cli().run(&["data", "get", device, stream, "-o", "ndjson"]);
    if outcome.code != 0 {
        return Vec::new();
    }
    outcome.out.lines().map(got).collect()
}

fn got(line: &str) -> Got {
    let parsed: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(parsed["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    // The value as it stands in the line, without parsing it.
    let at = line.find("\"value\":").expect("a record has a value") + "\"value\":".len();
    let value = line[at..].strip_suffix('}').expect("the value is last").to_owned();
    Got { seq: parsed["seq"].as_u64().expect("a number"), value }
}

/// Returns `holdfast data ledger -o json`; null while there is none.
pub(crate) fn ledger(plane: &Plane, device: &str, stream: &str) -> Value {
    let outcome = plane.cli().run(&["data", "ledger", device, stream, "-o", "json"]);
    if outcome.code == 0 { outcome.json() } else { Value::Null }
}

/// Returns how many sequence numbers the ledger lists with this reason, as missing or left on the
/// device by a policy.
pub(crate) fn missing(ledger: &Value, reason: &str) -> u64 {
    let lists = [&ledger["missing"], &ledger["byPolicy"]];
    let ranges = lists.into_iter().filter_map(Value::as_array).flatten();
    ranges
        .filter(|range| range["reason"] == reason)
        .map(|range| range["to"].as_u64().unwrap() - range["from"].as_u64().unwrap() + 1)
        .sum()
}

/// Waits until the ledger is as wanted, and returns it.
pub(crate) fn await_ledger(
    plane: &Plane,
    device: &str,
    stream: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let what = format!("the ledger of {stream} on {device}: {what}");
    eventually(DEADLINE, &what, || {
        let ledger = ledger(plane, device, stream);
        if wanted(&ledger) { Ok(ledger) } else { Err(ledger.to_string()) }
    })
}

/// Returns a stream's policy; `spec` stands in the middle of a flow mapping.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: Stream\nmetadata: {{ name: {name} }}\nspec: {{ devices: {{ matchLabels: {{ role: a }} }}, {spec} }}\n"
    )
}

/// Publishes data records by HTTP and asserts that all are acknowledged.
pub(crate) fn post(access: &Access, stream: &str, all: &[Vec<u8>]) {
    let outcome = http(access).publish(stream, all, 500);
    assert_eq!(outcome.count(), all.len(), "{stream}: {:?}", outcome.error);
}

/// Returns data records of some 200 bytes that do not compress.
pub(crate) fn noise(count: usize) -> Vec<Vec<u8>> {
    let mut chance = holdfast_agent::core::backoff::Entropy::new(4);
    let mut record = || {
        let words: String = (0..12).map(|_| format!("{:016x}", chance.draw())).collect();
        format!("{{\"noise\":\"{words}\"}}").into_bytes()
    };
    (0..count).map(|_| record()).collect()
}

/// Connects over MQTT, as soon as the agent listens.
pub(crate) fn mqtt(access: &Access, client: &str) -> Mqtt {
    eventually(DEADLINE, "the local bus lets a client in", || {
        Mqtt::connect(access, client).map_err(|error| error.to_string())
    })
}

/// Connects to the data socket, as soon as the agent listens.
pub(crate) fn http(access: &Access) -> Http {
    eventually(DEADLINE, "the data socket lets a client in", || {
        Http::connect(access).map_err(|error| error.to_string())
    })
}

/// Runs `mosquitto_pub` at QoS 1 with one record per line of input.
fn mosquitto_pub(access: &Access, topic: &str, version: &str, lines: &str) {
    let mut child = Command::new("mosquitto_pub")
        .args(["-h", &access.mqtt.ip().to_string(), "-p", &access.mqtt.port().to_string()])
        .args(["-u", &access.user, "-P", &access.password, "-q", "1", "-V", version])
        .args(["-t", topic, "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mosquitto_pub: apt-get install mosquitto-clients");
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "mosquitto_pub -V {version} -t {topic}: {status}");
}

fn device(plane: &Plane) -> (Device, Access) {
    let device = plane.device("d-1", &["role=a", "site=berlin"]);
    device.await_link("up");
    let access = device.access("plc");
    (device, access)
}

/// Returns how many data records of a stream of d-1 are at the control plane.
pub(crate) fn received(plane: &Plane, stream: &str) -> u64 {
    ledger(plane, "d-1", stream)["received"].as_u64().unwrap_or(0)
}

/// Returns the bytes that the device counted for a traffic class, both directions together.
pub(crate) fn carried(device: &Device, class: &str) -> u64 {
    let it = &device.status().unwrap()["data"]["link"]["classes"][class];
    it["sent"].as_u64().unwrap_or(0) + it["received"].as_u64().unwrap_or(0)
}

#[test]
fn what_mosquitto_pub_and_http_publish_comes_back_byte_for_byte() {
    let plane = Plane::start();
    let (_device, access) = device(&plane);
    drop(mqtt(&access, "first"));
    let lines = [
        "{\"temp\": 21.50,  \"ok\":true}",
        "1e3",
        "[1,2, 3]",
        "{\"b\":1,\"a\":2,\"a\":3}",
        "\"\\u00fc\"",
        "12345678901234567890.10",
    ];
    let all = lines.join("\n") + "\n";
    mosquitto_pub(&access, "press/temp", "mqttv311", &all);
    mosquitto_pub(&access, "streams/press/temp", "mqttv5", &all);
    let answer =
        http(&access).post("press%2Ftemp", "application/x-ndjson", all.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&said["stored"], &said["first"], &said["last"]),
        (&6.into(), &13.into(), &18.into())
    );
    let wanted: Vec<Got> = (1..)
        .zip(lines.iter().cycle().take(18))
        .map(|(seq, line)| Got { seq, value: (*line).to_owned() })
        .collect();
    let found = eventually(DEADLINE, "all records arrive", || {
        let found = records(&plane, "d-1", "press/temp");
        if found.len() == 18 { Ok(found) } else { Err(format!("{found:?}")) }
    });
    assert_eq!(found, wanted);
    let ledger = ledger(&plane, "d-1", "press/temp");
    assert_eq!((&ledger["received"], &ledger["duplicates"]), (&18.into(), &0.into()));
    assert_eq!(ledger["missing"], serde_json::json!([]));
    // Text that is no JSON becomes a JSON text in the output; nothing else changes it.
    mosquitto_pub(&access, "notes", "mqttv5", "pump 3 is \"loud\"\n");
    eventually(DEADLINE, "text arrives", || {
        let found = records(&plane, "d-1", "notes");
        let text = found.first().map(|got| serde_json::from_str::<Value>(&got.value).unwrap());
        if text == Some("pump 3 is \"loud\"".into()) { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn records_wait_on_the_device_for_a_link_and_survive_both_programs() {
    let mut plane = Plane::start();
    let (mut device, access) = device(&plane);
    drop(mqtt(&access, "first"));
    device.link.cut();
    device.await_link("down");
    let all = Telemetry::new(3, 1_795_478_400_000, 1_000).records(5_000);
    let outcome = mqtt(&access, "one").publish("line", &all[..2_500], 100);
    assert_eq!(outcome.count(), 2_500, "{:?}", outcome.error);
    let outcome = http(&access).publish("line", &all[2_500..], 500);
    assert_eq!(outcome.count(), 2_500, "{:?}", outcome.error);
    // An acknowledged record is on disk, whatever process ends.
    device.power_off();
    plane.kill();
    plane.up();
    device.up();
    device.link.heal();
    await_ledger(&plane, "d-1", "line", "5,000 received", |it| it["received"] == 5_000);
    let found = records(&plane, "d-1", "line");
    let values: Vec<&[u8]> = found.iter().map(|got| got.value.as_bytes()).collect();
    assert!(values == all.iter().map(Vec::as_slice).collect::<Vec<_>>(), "not as published");
    assert!(found.iter().zip(1..).all(|(got, seq)| got.seq == seq), "numbers without a hole");
}

#[test]
fn what_cannot_be_taken_is_refused_bounded_and_said() {
    let plane = Plane::start();
    let (device, access) = device(&plane);
    drop(mqtt(&access, "first"));
    plane.cli().apply(&sleeper("steady", "a", &marker())).ok();
    let steady = device.await_phase("steady", "running");
    let mut http = http(&access);
    let post = |http: &mut Http, stream: &str, content: &str, body: &[u8]| {
        let answer = http.post(stream, content, body).unwrap();
        (answer.status, answer.body)
    };
    let ndjson = "application/x-ndjson";
    // An error names its line, and nothing of the call is stored.
    let (status, body) = post(&mut http, "a", ndjson, b"1\n2\n{oops\n4\n");
    assert_eq!(status, 400, "{body}");
    assert!(body.contains('3'), "the line is named: {body}");
    let (status, body) = post(&mut http, "a%2Ab", ndjson, b"1\n");
    assert!([400, 404].contains(&status), "{status} {body}");
    let big = format!("\"{}\"\n", "x".repeat(65 * 1024));
    let (status, body) = post(&mut http, "a", ndjson, big.as_bytes());
    assert!([400, 413].contains(&status), "{status} {body}");
    let mut wrong = Http::connect_to(&access.socket, &access.user, "wrong").unwrap();
    assert_eq!(wrong.post("a", ndjson, b"1\n").unwrap().status, 401);
    let foreign = Access { password: "wrong".into(), ..access.clone() };
    assert!(Mqtt::connect(&foreign, "foreign").is_err(), "a wrong password is refused");
    // Records that are too large over MQTT are not acknowledged as stored.
    let outcome = mqtt(&access, "large").publish("a", &[vec![b'x'; 65 * 1024]], 1);
    assert_eq!(outcome.count(), 0);
    // Ten thousand topics: one publisher may create two hundred streams, the rest is refused.
    let mut client = mqtt(&access, "many");
    let mut taken = 0;
    for number in 0..10_000 {
        let outcome = client.publish(&format!("topic/{number}"), &[b"1".to_vec()], 1);
        taken += outcome.count();
        if outcome.error.is_some() {
            client = mqtt(&access, "many");
        }
    }
    assert_eq!(taken, 200, "of 10,000 topics");
    // The bound leaves room for other publishers.
    let neighbour = device.access("neighbour");
    let outcome = mqtt(&neighbour, "other").publish("other/topic", &[b"1".to_vec()], 1);
    assert_eq!(outcome.count(), 1, "{:?}", outcome.error);
    // A client that never reads delays nobody.
    let mut deaf = mqtt(&access, "deaf");
    deaf.send(&fleet_tests::sim::packets::subscribe(1, "#")).unwrap();
    let payload = vec![vec![b'7'; 10_000]; 2_000];
    let outcome = mqtt(&access, "loud").publish("topic/1", &payload, 50);
    assert_eq!(outcome.count(), 2_000, "{:?}", outcome.error);
    holds_for(Duration::from_secs(1), "the workload runs on", || {
        let now = device.await_phase("steady", "running");
        if now == steady { Ok(()) } else { Err(format!("{now} instead of {steady}")) }
    });
    let (pss, _) = fleet_tests::bench::machine::memory(device.pid().unwrap());
    assert!(pss < 64.0 * 1024.0, "the agent grew to {pss} KiB");
}

/// A device is deleted while it has records: the next device of that name begins anew, and its
/// records are not taken for those of the former one.
#[test]
fn a_device_that_was_deleted_and_enrolled_anew_loses_no_record() {
    let plane = Plane::start();
    let (mut device, access) = device(&plane);
    drop(mqtt(&access, "first"));
    let all = Telemetry::new(13, 1_795_478_400_000, 1_000).records(4_000);
    let post = |access: &Access, part: &[Vec<u8>]| {
        let outcome = http(access).publish("line", part, 500);
        assert_eq!(outcome.count(), part.len(), "{:?}", outcome.error);
    };
    let arrived = |first: u64, part: &[Vec<u8>]| {
        let found = eventually(DEADLINE, "what was published arrives", || {
            let found = records(&plane, "d-1", "line");
            if found.len() == part.len() { Ok(found) } else { Err(format!("{}", found.len())) }
        });
        let values: Vec<&[u8]> = found.iter().map(|got| got.value.as_bytes()).collect();
        assert!(values == part.iter().map(Vec::as_slice).collect::<Vec<_>>(), "not as published");
        assert!(found.iter().zip(first..).all(|(got, seq)| got.seq == seq), "its own numbers");
    };
    post(&access, &all[..1_000]);
    arrived(1, &all[..1_000]);

    // The same machine enrols again: its numbers continue. Records published meanwhile wait.
    plane.cli().run(&["delete", "device", "d-1"]).ok();
    device.await_link("down");
    post(&access, &all[1_000..2_000]);
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.await_link("up");
    arrived(1_001, &all[1_000..2_000]);
    let said = ledger(&plane, "d-1", "line");
    assert_eq!(said["duplicates"], 0, "{said}");
    assert_eq!(said["missing"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(missing(&said, "unknown"), 1_000, "what went with the former device is said");
    assert_eq!(said["missing"][0]["to"], 1_000, "{said}");

    // Another machine of that name: it assigns the numbers that the former one used.
    plane.cli().run(&["delete", "device", "d-1"]).ok();
    device.kill_agent();
    std::fs::remove_dir_all(device.data()).unwrap();
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.up();
    device.await_link("up");
    let access = device.access("plc");
    drop(mqtt(&access, "anew"));
    post(&access, &all[2_000..]);
    arrived(1, &all[2_000..]);
    let said = ledger(&plane, "d-1", "line");
    assert_eq!((&said["received"], &said["duplicates"]), (&2_000.into(), &0.into()), "{said}");
    assert_eq!(said["missing"], serde_json::json!([]), "{said}");
}
