//! Measurements of one agent: its size, its use of resources while idle, and how soon it starts
//! workloads after its own start.

use std::time::{Duration, Instant};

use super::table::Row;
use super::{machine, median, wire};
use crate::harness::{Plane, eventually};

/// Returns the document of a workload that sleeps, on devices with this role.
pub fn sleeper(name: &str, role: &str, argument: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n  devices: {{ matchLabels: {{ role: {role} }} }}\n  run: {{ process: {{ path: /bin/sleep, args: [\"{argument}\"] }} }}\n  stop: {{ grace: 1s }}\n"
    )
}

/// Measures size, memory, processor time and bytes on the wire of an idle agent.
pub fn idle(plane: &Plane, seconds: u64) -> Vec<Row> {
    let mut device = plane.bare_device("idle");
    device.enrol(&plane.token(&[]), &["role=idle"]).ok();
    // A keep-alive of 10 s, so that several are counted.
    device.config = Some("[link]\nkeep_alive_seconds = 10\n".into());
    device.direct(plane);
    device.up();
    plane.cli().apply(&sleeper("idle", "idle", "86400.1")).ok();
    plane.await_phase("idle", "idle", "running");
    plane.await_settled("idle");
    let pid = device.pid().unwrap();
    let word = word(plane, 8);
    let config = device.config.take();
    assert!(config.is_some());
    device.stop_agent();
    device.up();
    device.await_link("up");
    plane.await_settled("idle");
    let pid = device.pid().unwrap_or(pid);
    // The first half minute belongs to the start.
    std::thread::sleep(Duration::from_secs(30));
    let before = machine::cpu_ms(pid);
    std::thread::sleep(Duration::from_secs(seconds));
    let cpu = (machine::cpu_ms(pid) - before) * 60.0 / seconds as f64;
    let (pss, anonymous) = machine::memory(pid);
    // A keep-alive each 299 s: a second before the MQTT client's own ping.
    let hour = word * 3_600.0 / 299.0 / 1024.0;
    vec![
        Row::at_most(
            "agent's program",
            4.5,
            machine::file_kib(&plane.binaries().agent) / 1024.0,
            "MiB",
            "x86_64, static, stripped; Ankaios' agent 8.9 MB",
        ),
        Row::at_most(
            "idle agent, PSS",
            4.5,
            pss / 1024.0,
            "MiB",
            "connected, one workload; Ankaios 7.6 MB, thin-edge.io 28 MB",
        ),
        Row::at_most(
            "idle agent, anonymous",
            1.0,
            anonymous / 1024.0,
            "MiB",
            "the same; Ankaios 0.86 MB",
        ),
        Row::at_most("idle agent, processor", 10.0, cpu, "ms/min", &format!("over {seconds} s")),
        Row::at_most("idle agent, threads", 1.0, machine::threads(pid) as f64, "", "the same"),
        Row::at_most(
            "idle hour on the wire",
            2.2,
            hour,
            "KiB",
            &format!(
                "{word:.0} bytes a word (eight counted: three beats and a ping, twice; TLS and TCP/IP headers), every 299 s; Ankaios 250 kB, thin-edge.io 10 kB"
            ),
        ),
    ]
}

/// Returns the average bytes of a keep-alive on an idle link, with its answer.
fn word(plane: &Plane, words: u32) -> f64 {
    let next = |last: wire::Bytes| {
        eventually(Duration::from_secs(40), "a word", || {
            let now = wire::settle(plane.mqtt, Duration::from_millis(300));
            if now == last { Err("none yet".into()) } else { Ok(now) }
        })
    };
    let first = next(wire::settle(plane.mqtt, Duration::from_secs(1)));
    let mut last = first;
    for _ in 0..words {
        last = next(last);
    }
    last.since(first).sum() as f64 / f64::from(words)
}

/// Measures the bytes of a change of one workload, down and up.
pub fn change(plane: &Plane) -> Vec<Row> {
    let mut device = plane.bare_device("change");
    device.enrol(&plane.token(&[]), &["role=change"]).ok();
    device.direct(plane);
    device.up();
    plane.cli().apply(&sleeper("w", "change", "86400.1")).ok();
    plane.await_phase("change", "w", "running");
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for round in 0..7 {
        let before = wire::settle(plane.mqtt, Duration::from_secs(1));
        plane.cli().apply(&sleeper("w", "change", &format!("86400.2{round}"))).ok();
        plane.await_settled("change");
        let bytes = wire::settle(plane.mqtt, Duration::from_secs(1)).since(before);
        down.push(bytes.down as f64);
        up.push(bytes.up as f64);
    }
    vec![
        Row::at_most(
            "a change of one workload, down",
            1024.0,
            median(&mut down),
            "bytes",
            "7 changes, TLS and TCP/IP headers and acknowledgements counted; the same for any size of the fleet: a device gets its own state alone",
        ),
        Row::at_most("a change of one workload, up", 400.0, median(&mut up), "bytes", "the same"),
    ]
}

/// Measures the time from the agent's start to its workloads' start, without a link.
pub fn boot(plane: &Plane) -> Vec<Row> {
    let mut device = plane.device("boot", &["role=boot"]);
    for number in 0..5 {
        let marker = format!("8640{number}.5");
        plane.cli().apply(&sleeper(&format!("boot-{number}"), "boot", &marker)).ok();
    }
    for number in 0..5 {
        plane.await_phase("boot", &format!("boot-{number}"), "running");
    }
    plane.await_settled("boot");
    device.link.cut();
    let mut times = Vec::new();
    for _ in 0..11 {
        device.power_off();
        let began = Instant::now();
        device.up();
        let agent = device.pid().unwrap();
        while sleeping_children(agent) < 5 {
            assert!(began.elapsed() < Duration::from_secs(10), "they do not start");
            std::thread::sleep(Duration::from_micros(300));
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    vec![Row::at_most(
        "agent start → 5 workloads run, no link",
        50.0,
        median(&mut times),
        "ms",
        "11 power cycles: from the agent's exec to the fifth workload's",
    )]
}

/// Returns the number of children that have become `/bin/sleep`.
fn sleeping_children(parent: u32) -> usize {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children
        .split_whitespace()
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|it| it.trim() == "sleep")
        })
        .count()
}
