//! Measurements with many devices: real agents on this machine, and simulated ones for the control
//! plane's memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::agent::sleeper;
use super::latency::events;
use super::table::Row;
use super::{machine, median};
use crate::harness::{Device, Plane, eventually};
use crate::sim::{Fleet, enrolling};

/// Measures a change to `count` real agents, each with a process of its own.
pub fn real(plane: &Plane, count: usize) -> Vec<Row> {
    let token = plane.token(&["--uses", &count.to_string(), "--label", "role=fleet"]);
    let mut devices: Vec<Device> = (0..count)
        .map(|number| {
            let mut device = plane.bare_device(&format!("f-{number}"));
            device.direct(plane);
            device.enrol(&token, &[]).ok();
            device
        })
        .collect();
    devices.iter_mut().for_each(Device::up);
    let connected = || plane.metric("holdfast_devices{connection=\"online\"");
    eventually(Duration::from_secs(120), "all are online", || {
        let online = connected();
        if online >= count as f64 { Ok(()) } else { Err(format!("{online} online")) }
    });
    std::thread::sleep(Duration::from_secs(5));
    let events = events(plane);
    let (mut acknowledged, mut running) = (Vec::new(), Vec::new());
    for round in 0..5 {
        // The first change starts nothing (the same process under another revision is not
        // restarted), and so measures the path of a change alone. The second starts a process on
        // each device.
        running.push(change(plane, &events, "fleet", &format!("86400.7{round}"), "", count));
        acknowledged.push(change(plane, &events, "fleet", &format!("86400.7{round}"), "x", count));
    }
    let processes = median(&mut running);
    vec![Row::at_most(
        &format!("a change to all of {count} real agents, acknowledged"),
        0.5,
        median(&mut acknowledged),
        "s",
        &format!(
            "stored and applied on each device, reported and stored in the control plane; nothing to start. With a process replaced on each of them (all on these cores): {processes:.2} s; Ankaios 0.9–1.8 s with a fake runtime"
        ),
    )]
}

/// Returns the seconds until every device has reported that it applied the change.
fn change(
    plane: &Plane,
    events: &std::sync::mpsc::Receiver<(Instant, String)>,
    name: &str,
    argument: &str,
    label: &str,
    count: usize,
) -> f64 {
    while events.try_recv().is_ok() {}
    let mut document = sleeper(name, "fleet", argument);
    if !label.is_empty() {
        // Another selector for the same devices gives another revision of the same process.
        document = document.replace(
            "matchLabels: { role: fleet }",
            "matchLabels: { role: fleet }, matchExpressions: [ { key: role, operator: Exists } ]",
        );
    }
    let mut waiting: BTreeSet<String> = (0..count).map(|number| format!("f-{number}")).collect();
    let began = Instant::now();
    plane.cli().apply(&document).ok();
    let mut last = began;
    while !waiting.is_empty() {
        let (at, text) = events.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
            panic!("{} devices never said so, such as {:?}", waiting.len(), waiting.first())
        });
        let event: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        assert_ne!(event["type"], "reset", "events were missed");
        let mut parts = event["parts"].as_array().into_iter().flatten();
        let applied = parts.any(|part| part == "applied");
        if applied && waiting.remove(event["name"].as_str().unwrap_or_default()) {
            last = at;
        }
    }
    last.duration_since(began).as_secs_f64()
}

/// Measures the control plane's memory per device with `count` devices over mutual TLS.
pub fn memory(plane: &Plane, count: usize) -> Vec<Row> {
    let pid = plane.pid().unwrap();
    let token = plane.token(&["--uses", &count.to_string(), "--label", "role=sim"]);
    plane.cli().apply(&sleeper("sim", "sim", "86400")).ok();
    let settled = |pid: u32| {
        std::thread::sleep(Duration::from_secs(3));
        machine::memory(pid)
    };
    let (before, _) = settled(pid);
    let identities = enrolling::enrol(plane.api, &token, "sim", count).expect("they enrol");
    let (enrolled, _) = settled(pid);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let after = runtime.block_on(async {
        let fleet = Fleet::start(identities, plane.mqtt, 300);
        let began = Instant::now();
        while fleet.stats().connected.load(std::sync::atomic::Ordering::Relaxed) < count as u64 {
            assert!(began.elapsed() < Duration::from_secs(120), "{}", fleet.stats().line());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(8)).await;
        let after = machine::memory(pid).0;
        fleet.stop().await;
        after
    });
    let each = |more: f64| more / count as f64;
    vec![Row::at_most(
        "control plane's memory a device",
        20.0,
        each(after - before),
        "KiB",
        &format!(
            "PSS before and with {count} simulated devices enrolled, connected over mutual TLS and reporting; {:.1} KiB of it when enrolled and away; Ankaios 46 kB, mosquitto alone 20.8",
            each(enrolled - before)
        ),
    )]
}
