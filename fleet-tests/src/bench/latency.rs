//! Time from an apply to "running and reported", by the control plane's events.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::agent::sleeper;
use super::table::Row;
use super::{median, percentile};
use crate::harness::Plane;

/// Follows the control plane's events: time of arrival and text of each.
pub fn events(plane: &Plane) -> mpsc::Receiver<(Instant, String)> {
    let https = plane.https();
    let (tell, events) = mpsc::channel();
    std::thread::spawn(move || {
        let _ended = https.lines("/api/v1/events", |line| {
            line.strip_prefix("data:")
                .is_none_or(|data| tell.send((Instant::now(), data.trim().to_owned())).is_ok())
        });
    });
    // The stream is certainly open once an event of our own has been seen.
    std::thread::sleep(Duration::from_millis(300));
    events
}

/// Waits for an event that contains all of these texts, and returns its time.
pub fn await_event(events: &mpsc::Receiver<(Instant, String)>, parts: &[&str]) -> Instant {
    loop {
        let (at, text) = events.recv_timeout(Duration::from_secs(30)).expect("an event in time");
        if parts.iter().all(|part| text.contains(part)) {
            return at;
        }
    }
}

/// Applies a workload repeatedly, with its artifact already on the device.
pub fn apply_to_running(plane: &Plane) -> Vec<Row> {
    let device = plane.device("latency", &["role=latency"]);
    device.await_link("up");
    let script = plane.scratch.write("program", "#!/bin/sh\nexec /bin/sleep \"$1\"\n");
    let digest = plane.cli().run(&["artifact", "push", script.to_str().unwrap()]).ok();
    let document = |name: &str, argument: usize| {
        sleeper(name, "latency", &format!("86400.{argument}"))
            .replace("path: /bin/sleep", &format!("artifact: \"{digest}\""))
    };
    plane.cli().apply(&document("first", 0)).ok();
    plane.await_phase("latency", "first", "running");
    let events = events(plane);
    let https = plane.https();
    let mut times = Vec::new();
    for number in 0..41 {
        let name = format!("w-{number}");
        let yaml = document(&name, number);
        let json = as_json(&yaml, &name, number, &digest);
        let began = Instant::now();
        let answer = https.send("POST", "/api/v1/apply", "application/json", &json).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = await_event(&events, &[&format!("{name}: running")]);
        times.push(seen.duration_since(began).as_secs_f64() * 1000.0);
        plane.cli().run(&["delete", "workload", &name]).ok();
        await_event(&events, &[&format!("{name}: gone")]);
    }
    let p90 = percentile(&mut times, 90);
    let how = format!(
        "41 applies, artifact on the device; from before the HTTPS request's TCP and TLS handshake to the event; 90 % within {p90:.1} ms; Ankaios 16–19 ms to a fake runtime"
    );
    vec![Row::at_most("apply → running and reported", 25.0, median(&mut times), "ms", &how)]
}

/// Returns the same document in the API's JSON.
fn as_json(_yaml: &str, name: &str, argument: usize, digest: &str) -> Vec<u8> {
    let document = serde_json::json!({"documents": [{
        "apiVersion": "holdfast/v1",
        "kind": "Workload",
        "metadata": {"name": name},
        "spec": {
            "devices": {"matchLabels": {"role": "latency"}},
            "run": {"process": {"artifact": digest, "args": [format!("86400.{argument}")]}},
            "stop": {"grace": "1s"},
        },
    }]});
    serde_json::to_vec(&document).unwrap()
}
