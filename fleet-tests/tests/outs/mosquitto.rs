//! `mosquitto_sub` follows streams of a real control plane with an API token.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use fleet_tests::harness::{DEADLINE, Plane, Scratch, eventually};

use crate::Publisher;

#[test]
fn mosquitto_sub_follows_with_an_api_token_and_is_cut_when_it_ends() {
    let plane = Plane::start();
    let mut device = Publisher::new(&plane, "pump-1", &["site=berlin"]);
    let scratch = Scratch::new();
    let ca = scratch.write("ca.pem", &device.identity.enrolment.ca);
    let made =
        plane.https().send("POST", "/api/v1/access", "application/json", br#"{"name":"tool"}"#);
    let made = made.unwrap().json();
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let port = device.broker().port().to_string();
    let host = device.broker().ip().to_string();
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", &host, "-p", &port, "-u", "tool", "-P", token, "-q", "1", "-v"]);
    // The server's certificate does not name an address of this test's own.
    command.arg("--cafile").arg(&ca).arg("--insecure");
    command.args(["-t", "data/+/temp", "-t", "data/pump-1/state/#"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("mosquitto_sub; `make test` installs what is missing");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    eventually(DEADLINE, "the reader is connected", || {
        let readers = plane.metric("holdfast_gateway_readers");
        if readers == 1.0 { Ok(()) } else { Err(format!("{readers} readers")) }
    });
    // Another filter asks for too much: mosquitto_sub shows only "denied", the log says why.
    let mut greedy = Command::new("mosquitto_sub");
    greedy.args(["-h", &host, "-p", &port, "-u", "tool", "-P", token, "-t", "everything/#", "-E"]);
    greedy.arg("--cafile").arg(&ca).arg("--insecure");
    greedy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    eventually(DEADLINE, "the refused filter stands in the log", || {
        let log = plane.log();
        if log.contains("everything/#") { Ok(()) } else { Err(log) }
    });
    // Records from before a subscription do not come, and its time cannot be seen from here:
    // records are sent until the first has come, and then exactly the following ones must come.
    let mut seq = 0;
    eventually(DEADLINE, "the first record comes", || {
        seq += 1;
        device.ship("temp", seq, &["0"]);
        let sent = plane.metric("holdfast_gateway_reader_records_total");
        if sent > 0.0 { Ok(()) } else { Err("none yet".into()) }
    });
    let first = lines.next().unwrap().unwrap();
    let begun: serde_json::Value =
        serde_json::from_str(first.strip_prefix("data/pump-1/temp ").unwrap()).unwrap();
    for _ in begun["seq"].as_u64().unwrap()..seq {
        lines.next().unwrap().unwrap();
    }
    device.ship("other", 1, &["1"]);
    device.ship("temp", seq + 1, &["21.50", r#"{"t": 22}"#, "a line"]);
    device.ship("temp", seq + 1, &["21.50", r#"{"t": 22}"#, "a line"]);
    device.ship("state/valve", 1, &["true"]);
    let got: Vec<String> = lines.by_ref().take(4).map(Result::unwrap).collect();
    let value = |line: &str, topic: &str, number: u64| {
        let json = line.strip_prefix(topic).unwrap_or_else(|| panic!("{line}"));
        let head = format!(" {{\"seq\":{number},\"time\":\"");
        assert!(json.starts_with(&head), "{line}");
        json.split_once("Z\",\"value\":").unwrap().1.trim_end_matches('}').to_owned()
    };
    assert_eq!(value(&got[0], "data/pump-1/temp", seq + 1), "21.50");
    assert_eq!(value(&got[1], "data/pump-1/temp", seq + 2), r#"{"t": 22"#);
    assert_eq!(value(&got[2], "data/pump-1/temp", seq + 3), "\"a line\"");
    assert_eq!(value(&got[3], "data/pump-1/state/valve", 1), "true");

    let ended = plane.https().send("DELETE", &format!("/api/v1/access/{id}"), "", b"").unwrap();
    assert_eq!(ended.status, 204);
    eventually(DEADLINE, "the reader is cut", || {
        let cut = plane.metric("holdfast_gateway_cut_readers_total");
        if cut >= 1.0 { Ok(()) } else { Err(format!("{cut} cut")) }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // The publishing device goes on undisturbed.
    device.ship("temp", seq + 4, &["1"]);
}
