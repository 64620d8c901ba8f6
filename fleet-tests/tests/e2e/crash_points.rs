//! The agent killed at every persisted step of an apply: it converges, never runs two copies, never
//! loses the last good revision. And at every step of a data record's way to the control plane:
//! acknowledged records arrive once, others at most once.

use std::process::Stdio;
use std::time::Duration;

use fleet_tests::harness::publisher::{Access, Http, Mqtt};
use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, processes};
use holdfast_agent::adapters::crash::DATA_POINTS;

use crate::data::{await_ledger, ledger, mqtt};
use crate::data_chaos::{Published, check};
use crate::{await_copies, marker, sleeper};

/// Returns the name of every point at which the agent can be made to crash.
fn points(plane: &Plane) -> Vec<String> {
    let output = std::process::Command::new(&plane.binaries().agent)
        .arg("crash-points")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

fn copies(markers: &[&str]) -> usize {
    markers.iter().map(|marker| processes::with_argument(marker).len()).sum()
}

/// One apply that makes the agent do everything it can do: a revision replaced (with a new artifact
/// to fetch), a workload added, one deleted.
struct Round {
    role: String,
    old: String,
    new: String,
    added: String,
    deleted: String,
}

impl Round {
    fn new(role: &str) -> Self {
        let role = role.to_owned();
        Self { role, old: marker(), new: marker(), added: marker(), deleted: marker() }
    }

    fn before(&self, plane: &Plane, device: &Device) {
        let role = &self.role;
        plane.cli().apply(&from_artifact(plane, role, &self.old)).ok();
        plane.cli().apply(&sleeper(&format!("deleted-{role}"), role, &self.deleted)).ok();
        plane.cli().run_with(&["delete", "workload", &format!("added-{role}")], "");
        device.await_phase(&format!("replaced-{role}"), "running");
        await_copies(&self.old, 1);
        await_copies(&self.deleted, 1);
        plane.await_settled(&device.name);
    }

    fn change(&self, plane: &Plane) {
        let role = &self.role;
        plane.cli().apply(&from_artifact(plane, role, &self.new)).ok();
        plane.cli().apply(&sleeper(&format!("added-{role}"), role, &self.added)).ok();
        plane.cli().run(&["delete", "workload", &format!("deleted-{role}")]).ok();
    }

    fn never_two(&self, point: &str) {
        let running = copies(&[&self.old, &self.new]);
        assert!(running <= 1, "{point}: {running} copies at once");
        for marker in [&self.added, &self.deleted] {
            let running = copies(&[marker]);
            assert!(running <= 1, "{point}: {running} copies at once");
        }
    }

    fn await_converged(&self, point: &str) {
        let what = format!("{point}: exactly the new state runs");
        eventually(Duration::from_secs(60), &what, || {
            self.never_two(point);
            let seen = [&self.old, &self.new, &self.added, &self.deleted]
                .map(|marker| processes::with_argument(marker).len());
            if seen == [0, 1, 1, 0] { Ok(()) } else { Err(format!("copies {seen:?}")) }
        });
    }
}

/// Returns a workload whose program is an artifact of this test alone: a script, since `exec` gives
/// the process its argument.
fn from_artifact(plane: &Plane, role: &str, marker: &str) -> String {
    let body = format!("#!/bin/sh\n# {marker}\nexec /bin/sleep {marker}\n");
    let file = plane.scratch.write(&format!("program-{role}"), body);
    let digest = plane.cli().run(&["artifact", "push", file.to_str().unwrap()]).ok();
    format!(
        "apiVersion: holdfast/v1\n\
         kind: Workload\n\
         metadata: {{ name: replaced-{role} }}\n\
         spec:\n\
         \x20 devices: {{ matchLabels: {{ role: {role} }} }}\n\
         \x20 run: {{ process: {{ artifact: \"{digest}\" }} }}\n\
         \x20 config: {{ \"etc/settings.conf\": \"{marker}\" }}\n\
         \x20 stop: {{ grace: 1s }}\n"
    )
}

#[test]
fn killed_at_every_persisted_step_it_converges_to_exactly_one_copy() {
    let plane = Plane::start();
    let points = points(&plane);
    assert!(points.len() >= 4, "an apply has more persisted steps than {points:?}");
    // A few devices share the points; each kills one agent after another.
    let lanes = 4;
    let reached: Vec<(String, bool)> = std::thread::scope(|scope| {
        let lane = |lane: usize| {
            let mine: Vec<String> = points.iter().skip(lane).step_by(lanes).cloned().collect();
            let plane = &plane;
            scope.spawn(move || crash_at_each(plane, &format!("r{lane}"), &mine))
        };
        let threads: Vec<_> = (0..lanes).map(lane).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let missed: Vec<_> = reached.iter().filter(|(_, hit)| !hit).map(|(point, _)| point).collect();
    assert!(missed.is_empty(), "never reached by an apply that does everything: {missed:?}");
}

fn crash_at_each(plane: &Plane, role: &str, points: &[String]) -> Vec<(String, bool)> {
    let mut device = plane.device(&format!("d-{role}"), &[&format!("role={role}")]);
    let bystander = marker();
    let name = format!("bystander-{role}");
    plane.cli().apply(&sleeper(&name, role, &bystander)).ok();
    let pid = device.await_phase(&name, "running");
    let mut reached = Vec::new();
    for point in points {
        let round = Round::new(role);
        round.before(plane, &device);
        device.kill_agent();
        device.env.insert("HOLDFAST_CRASH_AT".into(), point.clone());
        device.up();
        round.change(plane);
        let what = format!("{point}: the agent crashes, or has done everything");
        let hit = eventually(Duration::from_secs(60), &what, || {
            round.never_two(point);
            if !device.is_up() {
                return Ok(true);
            }
            let seen = copies(&[&round.new, &round.added]);
            if seen == 2 && copies(&[&round.deleted]) == 0 && settled(plane, &device) {
                return Ok(false);
            }
            Err(format!("{seen} of 2 new ones run"))
        });
        round.never_two(point);
        device.env.remove("HOLDFAST_CRASH_AT");
        device.restart();
        round.await_converged(point);
        plane.await_settled(&device.name);
        assert_eq!(processes::with_argument(&bystander), [pid], "{point}: the bystander's pid");
        reached.push((point.clone(), hit));
    }
    reached
}

fn settled(plane: &Plane, device: &Device) -> bool {
    let generation = &plane.view(&device.name)["status"]["generation"];
    generation["desired"] == generation["applied"]
}

/// Number of data records that a workload publishes at a time.
const BURST: usize = 500;

/// Publishes a burst, many in flight; the connection may end before all are acknowledged, and
/// nothing is tried again.
fn burst(access: &Access, stream: &str, by_http: bool, published: &mut Published) {
    let first = published.len();
    let values: Vec<String> = (first..first + BURST)
        .map(|n| format!("{{\"stream\":\"{stream}\",\"n\":{n},\"pad\":\"{}\"}}", "-".repeat(80)))
        .collect();
    let bytes: Vec<Vec<u8>> = values.iter().map(|value| value.clone().into_bytes()).collect();
    let outcome = if by_http {
        Http::connect(access).map(|mut http| http.publish(stream, &bytes, 25))
    } else {
        Mqtt::connect(access, stream).map(|mut mqtt| mqtt.publish(stream, &bytes, 100))
    };
    // The agent is down: nothing was sent.
    let acknowledged = outcome.map_or_else(|_| vec![false; BURST], |outcome| outcome.acknowledged);
    published.extend(values.into_iter().zip(acknowledged));
}

/// Records that two workloads published, over MQTT and over HTTP.
struct Streams([(&'static str, bool, Published); 2]);

impl Streams {
    /// Publishes on both streams at once. Returns true if all was acknowledged.
    fn publish(&mut self, access: &Access) -> bool {
        std::thread::scope(|scope| {
            for (stream, by_http, published) in &mut self.0 {
                scope.spawn(move || burst(access, stream, *by_http, published));
            }
        });
        let last = |it: &Published| it.iter().rev().take(BURST).all(|(_, told)| *told);
        self.0.iter().all(|(_, _, published)| last(published))
    }

    fn acknowledged(&self, of: usize) -> u64 {
        self.0[of].2.iter().filter(|(_, told)| *told).count() as u64
    }
}

/// Makes the agent die at this point repeatedly, while two workloads publish.
fn die_on_the_way(plane: &Plane, point: &str, times: usize) {
    let name = format!("d-{point}");
    let mut device = plane.device(&name, &["role=a"]);
    device.await_link("up");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    let mut streams =
        Streams([("by-mqtt", false, Published::new()), ("by-http", true, Published::new())]);
    for _ in 0..times {
        device.kill_agent();
        device.env.insert("HOLDFAST_CRASH_AT".into(), point.to_owned());
        device.up();
        drop(mqtt(&access, "next"));
        let all = streams.publish(&access);
        // The agent dies of storing, of sending, or half a minute later of noting acknowledgements.
        eventually(DEADLINE, &format!("{point}: the agent dies there"), || {
            if device.is_up() { Err("it lives".into()) } else { Ok(()) }
        });
        assert!(!all || point != "records-stored", "it died before it could acknowledge");
        device.env.remove("HOLDFAST_CRASH_AT");
        device.restart();
        drop(mqtt(&access, "again"));
        assert!(streams.publish(&access), "{point}: an agent that lives acknowledges all");
        // The next crash must come from the next records, not from the rest of these.
        for of in 0..2 {
            let enough = streams.acknowledged(of);
            await_ledger(plane, &name, streams.0[of].0, "all acknowledged came", |it| {
                it["received"].as_u64() >= Some(enough)
            });
        }
    }
    for (of, (stream, _, published)) in streams.0.iter().enumerate() {
        check(plane, &name, stream, published);
        let said = ledger(plane, &name, stream);
        let acknowledged = streams.acknowledged(of);
        println!("{point}: {acknowledged} of {} acknowledged; {said}", published.len());
        assert_eq!(said["missing"], serde_json::json!([]), "{point}: nothing was lost");
    }
}

#[test]
fn killed_at_every_step_of_a_records_way_it_arrives_once() {
    let plane = Plane::start();
    std::thread::scope(|scope| {
        for point in DATA_POINTS {
            // Acknowledgements are noted on disk within half a minute.
            let times = if *point == "shipped-stored" { 1 } else { 3 };
            let plane = &plane;
            scope.spawn(move || die_on_the_way(plane, point, times));
        }
    });
}
