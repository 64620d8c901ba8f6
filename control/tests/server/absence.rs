//! Tests of the absence of devices, expected or not, and of when a device was last heard.

use std::sync::atomic::Ordering;

use axum::body::Body;
use holdfast_base::codec;
use holdfast_control::api::time::rfc3339;
use holdfast_protocol::message::{Phase, Problem, StateReport, WorkloadReport};
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use crate::world::{World, advance, clock, document, set_back};

fn policy(name: &str, labels: Value, when: Value) -> Value {
    json!({
        "apiVersion": "holdfast/v1", "kind": "DevicePolicy", "metadata": { "name": name },
        "spec": { "devices": { "matchLabels": labels }, "whenOffline": when },
    })
}

impl World {
    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.request("GET", path, json!(null)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub async fn puts(&self, documents: &[Value]) -> Value {
        let body = json!({ "documents": documents });
        let (status, answer) = self.request("POST", "/api/v1/apply", body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn names(&self, query: &str) -> Vec<String> {
        let list = self.get(&format!("/api/v1/devices?{query}")).await;
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(name).collect()
    }

    async fn absence(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/devices/{name}")).await["status"]["absence"].clone()
    }

    /// Returns the counts of the fleet (offline, never seen, expected away, ignored) and whether
    /// all is settled.
    async fn counts(&self) -> ([u64; 4], bool) {
        let fleet = self.get("/api/v1/fleet").await;
        let count = |word: &str| fleet["devices"][word].as_u64().unwrap();
        let all = ["offline", "neverSeen", "expectedAway", "ignored"].map(count);
        (all, fleet["settled"].as_bool().unwrap())
    }

    async fn attention(&self) -> Vec<String> {
        let fleet = self.get("/api/v1/fleet").await;
        let kind = |item: &Value| item["kind"].as_str().unwrap().to_owned();
        fleet["attention"].as_array().unwrap().iter().map(kind).collect()
    }

    async fn says(&self, name: &str, phase: Phase, problems: &[&str]) {
        let desired = self.desired(name).unwrap();
        let said = WorkloadReport {
            revision: 1,
            phase,
            restarts: 0,
            run: Some(7),
            detail: None,
            reason: String::new(),
            progress: None,
        };
        let problem = |code: &&str| Problem { code: (*code).into(), message: "x".into() };
        let report = StateReport {
            v: holdfast_base::WIRE_VERSION,
            full: true,
            epoch: desired.epoch,
            generation: desired.generation,
            workloads: [("w".parse().unwrap(), Some(said))].into(),
            problems: Some(problems.iter().map(problem).collect()),
            agent: None,
            data: None,
            history: Vec::new(),
            id: None,
        };
        assert!(self.publish(name, Channel::State, codec::encode(&report).unwrap()).await);
    }

    /// Returns the id of the newest event that was announced.
    fn told(&self) -> u64 {
        *self.service.documents.events(&self.actor()).unwrap().watch().borrow()
    }
}

/// Makes two devices: d-1 runs w; d-2 fails on w, has a problem, and then goes offline.
async fn two() -> World {
    let world = World::new().await;
    world.puts(&[document("w", "1")]).await;
    for (number, name) in ["d-1", "d-2"].into_iter().enumerate() {
        world.device(name).await;
        world.connect(name, 1 + number as u64);
    }
    world.says("d-1", Phase::Running, &[]).await;
    world.says("d-2", Phase::Failed, &["disk-full"]).await;
    world.disconnect("d-2", 2, "keep-alive timeout");
    world.settle().await;
    world
}

#[tokio::test]
async fn who_is_expected_to_be_away_is_counted_apart_and_raises_no_alarm() {
    let world = two().await;
    advance(301);
    assert_eq!(world.counts().await, ([1, 0, 0, 0], false));
    assert_eq!(world.attention().await, ["lost", "failing", "problem"]);
    assert_eq!(world.names("absence=unexpected").await, ["d-2"]);
    let path = "/api/v1/devices/d-2";
    world.request("PATCH", path, json!({ "labels": { "kind": "ship" } })).await;
    let documents = [policy("ships", json!({ "kind": "ship" }), json!("expected"))];
    let applied = world.puts(&documents).await;
    assert_eq!(applied["results"][0]["changedDevices"]["gain"], json!(["d-2"]), "{applied}");
    assert_eq!(world.counts().await, ([0, 0, 1, 0], true));
    assert_eq!(world.attention().await, [""; 0]);
    assert_eq!(world.names("absence=unexpected").await, [""; 0]);
    assert_eq!(world.names("absence=expected,ignored").await, ["d-2"]);
    let said = world.absence("d-2").await;
    assert_eq!(
        said,
        json!({ "policy": "ships", "rule": "expected", "state": "expected", "expected": true })
    );
    let fleet = world.get("/api/v1/fleet").await;
    assert_eq!(fleet["summary"], "1 device is online and healthy, 1 is away as expected");
    assert_eq!(fleet["workloads"]["running"], 1, "{fleet}");
    assert_eq!(fleet["sites"][0]["expectedAway"], 1);
    let workload = world.get("/api/v1/workloads/w").await;
    assert_eq!(
        (&workload["status"]["unknown"], &workload["status"]["away"]),
        (&json!(1), &json!(1))
    );
    let explained = world.get("/api/v1/explain/device/d-2").await;
    assert_eq!(explained["settled"], true);
    assert!(
        explained["reasons"].to_string().contains("expected to be away, by device policy ships")
    );
    assert_eq!(world.get("/api/v1/explain/workload/w").await["settled"], true);
    let (_, text) = world.send("GET", "/metrics", &[], Body::empty()).await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(
        text.contains("holdfast_devices_absent{absence=\"expected\",tenant=\"default\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("holdfast_devices_lost{tenant=\"default\"} 0\n"));
    let document = world.get("/api/v1/policies/devicepolicies/ships").await;
    assert_eq!(document["status"]["absence"]["expectedNames"], json!(["d-2"]));

    // While a device is connected, policies for its absence have no effect.
    world.connect("d-2", 3);
    assert_eq!(world.counts().await, ([0, 0, 0, 0], false), "what fails there is known again");
    assert_eq!(world.attention().await, ["failing", "problem"]);
    world.disconnect("d-2", 3, "gone");
    world.request("DELETE", "/api/v1/policies/devicepolicies/ships", json!(null)).await;
    assert_eq!(world.counts().await.0, [1, 0, 0, 0], "without the document");
    assert_eq!(world.absence("d-2").await["rule"], "alarm after 5 min");
}

#[tokio::test]
async fn an_absence_becomes_an_alarm_when_its_time_is_over_and_watchers_are_told() {
    let world = two().await;
    world.puts(&[policy("all", json!({ "role": "a" }), json!({ "alarmAfter": "2h" }))]).await;
    advance(7_000);
    assert_eq!(world.counts().await.0, [0, 0, 1, 0]);
    let said = world.absence("d-2").await;
    assert_eq!((&said["state"], &said["rule"]), (&json!("expected"), &json!("alarm after 2 h")));
    let alarm_at = rfc3339(clock() + 200);
    assert_eq!(said["alarmAt"], alarm_at);
    world.settle().await;
    world.service.documents.tell_due();
    world.settle().await;
    let quiet = world.told();
    // A restart of the control plane begins no absence anew, and announces those that it finds.
    let world = world.restart().await;
    let began = world.told();
    assert!(began > quiet);
    assert_eq!(world.absence("d-2").await["alarmAt"], rfc3339(clock() + 300), "5 min to come back");
    advance(299);
    world.service.documents.tell_due();
    world.settle().await;
    assert_eq!(world.told(), began, "nothing has changed");
    advance(1);
    assert!(world.attention().await.contains(&"lost".to_owned()));
    world.service.documents.tell_due();
    world.settle().await;
    assert!(world.told() > began, "whoever watches is told");
    assert_eq!(world.names("attention=lost").await, ["d-2"], "d-1 was there until the restart");
    let said = world.absence("d-2").await;
    assert_eq!((&said["state"], &said["expected"]), (&json!("unexpected"), &json!(false)));
    let fleet = world.get("/api/v1/fleet").await;
    let items = fleet["attention"].as_array().unwrap();
    let item = items.iter().find(|item| item["kind"] == "lost").unwrap();
    assert!(item["message"].as_str().unwrap().ends_with("offline for over 2 h"), "{item}");
}

#[tokio::test]
async fn a_device_that_never_came_follows_its_document_too() {
    let world = World::new().await;
    for (name, stage) in [("d-1", "none"), ("d-2", "early"), ("d-3", "shelf"), ("d-4", "test")] {
        world.device(name).await;
        let path = format!("/api/v1/devices/{name}");
        world.request("PATCH", &path, json!({ "labels": { "stage": stage } })).await;
    }
    let of = |name: &str, when: Value| policy(name, json!({ "stage": name }), when);
    world
        .puts(&[
            of("early", json!({ "alarmAfter": "1h" })),
            of("shelf", json!("expected")),
            of("test", json!("ignore")),
        ])
        .await;
    assert_eq!(world.counts().await, ([0, 1, 2, 1], false));
    advance(15 * 60);
    assert_eq!(world.names("attention=never-seen").await, ["d-1"]);
    advance(45 * 60);
    assert_eq!(world.names("attention=never-seen").await, ["d-1", "d-2"]);
    assert_eq!(world.counts().await.0, [0, 2, 1, 1]);
    // Certificates live an hour here, so that all have expired. An ignored device raises no alarm
    // for that either.
    assert_eq!(world.names("attention=certificate").await, ["d-1", "d-2", "d-3"]);
    assert_eq!(world.names("absence=ignored").await, ["d-4"]);
}

#[tokio::test]
async fn the_narrowest_document_holds_after_every_change_and_a_restore() {
    let world = two().await;
    let narrow = json!({
        "apiVersion": "holdfast/v1", "kind": "DevicePolicy", "metadata": { "name": "narrow" },
        "spec": { "devices": { "matchLabels": { "role": "a", "kind": "ship" } }, "whenOffline": "ignore" },
    });
    let first = policy("b-first", json!({ "role": "a" }), json!("expected"));
    let second = policy("c-second", json!({ "role": "a" }), json!({ "alarmAfter": "1h" }));
    world.puts(&[first, narrow]).await;
    let applied = world.puts(&[second]).await;
    let warnings = applied["results"][0]["warnings"].to_string();
    assert!(warnings.contains("on 2 of its devices another device policy holds"), "{applied}");
    let said = world.absence("d-2").await;
    assert_eq!((&said["policy"], &said["conflicts"]), (&json!("b-first"), &json!(["c-second"])));
    let explained = world.get("/api/v1/explain/devicepolicy/c-second").await;
    assert_eq!(explained["settled"], false, "{explained}");
    let explained = world.get("/api/v1/explain/device/d-2").await;
    assert!(explained["reasons"].to_string().contains("says something else"), "{explained}");

    let (status, tar) = world.send("POST", "/api/v1/backup/unencrypted", &[], Body::empty()).await;
    assert_eq!(status, 200);
    let path = "/api/v1/devices/d-2";
    world.request("PATCH", path, json!({ "labels": { "kind": "ship" } })).await;
    assert_eq!(world.absence("d-2").await["state"], "ignored");
    let world = world.restart().await;
    assert_eq!(world.absence("d-2").await["policy"], "narrow", "after a start");
    world.request("DELETE", "/api/v1/policies/devicepolicies/b-first", json!(null)).await;
    let (status, _) = world.send("POST", "/api/v1/restore", &[], Body::from(tar)).await;
    assert_eq!(status, 200);
    let said = world.absence("d-2").await;
    assert_eq!((&said["policy"], &said["state"]), (&json!("b-first"), &json!("expected")));
    // A device that enrols later gets its rule at once.
    world.device("d-3").await;
    assert_eq!(world.absence("d-3").await["policy"], "b-first");
    let (status, answer) = world.request("GET", "/api/v1/devices?absence=away", json!(null)).await;
    assert_eq!(status, 400, "{answer}");
}

#[tokio::test]
async fn heard_is_the_last_packet_and_not_the_disconnect() {
    let world = World::new().await;
    world.puts(&[document("w", "1")]).await;
    world.device("d-1").await;
    let line = world.connect_with("d-1", 1);
    world.says("d-1", Phase::Running, &[]).await;
    advance(1_000);
    line.silent.store(40, Ordering::Relaxed);
    let status = || world.view("d-1")["status"].clone();
    assert_eq!(status()["heardAt"], rfc3339(clock() - 40), "no report was needed");
    assert_eq!(status()["heardBy"], rfc3339(clock() + 270));
    line.silent.store(360, Ordering::Relaxed);
    let explained = world.get("/api/v1/explain/device/d-1").await;
    assert!(
        explained["reasons"]
            .to_string()
            .contains("connected, but not heard for 6 min (due 50 s ago)"),
        "{explained}"
    );
    assert_eq!(world.get("/api/v1/fleet").await["devices"]["overdue"], 1);
    // `heardAt` moves with a clock that is set back, because it is computed from the connection.
    set_back(500);
    assert_eq!(status()["heardAt"], rfc3339(clock() - 360));
    advance(500);
    line.silent.store(450, Ordering::Relaxed);
    let heard = rfc3339(clock() - 450);
    world.disconnect("d-1", 1, "keep-alive timeout");
    let (heard, since) = (json!(heard), json!(rfc3339(clock())));
    assert_eq!((&status()["heardAt"], &status()["connectionSince"]), (&heard, &since));
    assert_eq!(status()["heardBy"], Value::Null);
    world.settle().await;
    advance(77);
    let world = world.restart().await;
    let status = world.view("d-1")["status"].clone();
    assert_eq!((&status["heardAt"], &status["connectionSince"]), (&heard, &since), "it is stored");
}

#[tokio::test]
async fn what_a_device_does_whose_packet_is_overdue_is_not_known() {
    let world = World::new().await;
    world.puts(&[document("w", "1")]).await;
    world.device("d-1").await;
    let line = world.connect_with("d-1", 1);
    world.says("d-1", Phase::Running, &[]).await;
    advance(1_000);
    line.silent.store(360, Ordering::Relaxed);
    let status = || world.view("d-1")["status"].clone();
    // It promised a packet that did not come: what it does is no more known than if it were offline.
    let fleet = world.get("/api/v1/fleet").await;
    assert_eq!((&fleet["devices"]["overdue"], &fleet["settled"]), (&json!(1), &json!(false)));
    assert_eq!(fleet["summary"], "1 device was not heard in time");
    assert_eq!(fleet["workloads"]["unknown"], 1, "{fleet}");
    assert_eq!(
        (&fleet["sites"][0]["online"], &fleet["sites"][0]["overdue"]),
        (&json!(1), &json!(1))
    );
    let late = status();
    let workload = &late["workloads"]["w"];
    assert_eq!(
        (&workload["state"], &workload["lastState"]),
        (&json!("unknown"), &json!("running"))
    );
    assert_eq!(workload["since"], late["heardBy"]);
    assert_eq!(
        (&late["health"]["state"], &late["health"]["since"]),
        (&json!("unknown"), &late["heardBy"])
    );
    let list = world.get("/api/v1/devices?connection=online&health=unknown").await;
    assert_eq!(list["metadata"]["total"], 1, "the count leads to it");
    let explained = world.get("/api/v1/explain/workload/w").await;
    assert_eq!(
        explained["summary"],
        "revision 1 on 1 device: 1 unknown (silent; running when last heard)"
    );
    assert!(
        explained["reasons"][0].as_str().unwrap().ends_with("when last heard, 6 min ago"),
        "{explained}"
    );
    line.silent.store(40, Ordering::Relaxed);
    assert_eq!(status()["workloads"]["w"]["state"], "running", "any packet is enough");
    // The overview is kept for five seconds.
    advance(5);
    let fleet = world.get("/api/v1/fleet").await;
    assert_eq!(fleet["settled"], true, "{fleet}");
}

#[tokio::test]
async fn what_a_silent_device_did_is_told_as_of_its_last_packet() {
    let world = World::new().await;
    world.puts(&[document("w", "1")]).await;
    world.device("d-1").await;
    let line = world.connect_with("d-1", 1);
    world.says("d-1", Phase::Backoff, &[]).await;
    advance(10);
    world.says("d-1", Phase::Running, &[]).await;
    // Nothing changes, so nothing is reported: it runs well, and its packets say that it is there.
    advance(1_000);
    line.silent.store(360, Ordering::Relaxed);
    let workload = || world.view("d-1")["status"]["workloads"]["w"].clone();
    assert_eq!(
        (&workload()["state"], &workload()["lastState"]),
        (&json!("unknown"), &json!("running"))
    );
    // Heard last a moment after its crash, it was failing.
    line.silent.store(980, Ordering::Relaxed);
    assert_eq!(
        (&workload()["state"], &workload()["lastState"]),
        (&json!("unknown"), &json!("failing"))
    );
    let alarms = world.get("/api/v1/fleet").await["attention"].clone();
    assert_eq!(alarms[0]["message"], "w was failing on its only device when last heard");
}

#[tokio::test]
async fn after_a_crash_it_was_not_heard_later_than_is_known() {
    let world = World::new().await;
    world.puts(&[document("w", "1")]).await;
    world.device("d-1").await;
    let line = world.connect_with("d-1", 1);
    world.says("d-1", Phase::Running, &[]).await;
    advance(10_000);
    line.silent.store(200, Ordering::Relaxed);
    let heard = clock() - 200;
    world.service.fleet.live();
    world.settle().await;
    let alive = clock();
    // A restart ends the connection without a report of its end.
    let world = world.restart().await;
    advance(50);
    let status = world.view("d-1")["status"].clone();
    assert_eq!(status["connection"], "offline");
    assert_eq!(status["heardAt"], rfc3339(alive - 450), "silent for longer it would have been cut");
    assert!(alive - 450 <= heard);
    assert_eq!(status["connectionSince"], rfc3339(alive));
}

#[tokio::test]
async fn since_when_survives_restarts_reconnections_and_a_clock_that_is_set_back() {
    let world = two().await;
    let since = |world: &World, name: &str| {
        let status = world.view(name)["status"].clone();
        let problem = status["problems"][0]["since"].clone();
        (status["workloads"]["w"]["phaseSince"].clone(), problem)
    };
    world.connect("d-2", 3);
    world.says("d-2", Phase::Failed, &["disk-full"]).await;
    let failing = since(&world, "d-2");
    assert!(failing.0.is_string() && failing.1.is_string(), "{failing:?}");
    advance(5_000);
    world.disconnect("d-2", 3, "gone");
    world.connect("d-2", 4);
    world.says("d-2", Phase::Failed, &["disk-full"]).await;
    assert_eq!(since(&world, "d-2"), failing, "a reconnection begins nothing anew");
    let world = world.restart().await;
    assert_eq!(since(&world, "d-2"), failing, "a restart neither");
    world.connect("d-2", 1);
    set_back(3_000);
    world.says("d-2", Phase::Failed, &["disk-full"]).await;
    assert_eq!(since(&world, "d-2"), failing);
    // The workload runs again while the clock is wrong; the failure ends after a minute all the
    // same.
    world.says("d-2", Phase::Running, &[]).await;
    advance(61);
    world.says("d-2", Phase::Running, &[]).await;
    assert_eq!(world.view("d-2")["status"]["health"]["state"], "healthy");
    // An absence that began ahead of the clock, which was set back, delays no alarm.
    world.disconnect("d-2", 1, "gone");
    world.settle().await;
    set_back(100_000);
    assert_eq!(world.names("attention=lost").await, ["d-1", "d-2"]);
}
