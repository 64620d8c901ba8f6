//! Tests of the overview of the fleet and of a device's history.

use holdfast_base::codec;
use holdfast_protocol::message::{AgentInfo, Phase, Problem, StateReport, WorkloadReport};
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use crate::world::{World, advance, clock, document};

async fn get(world: &World, path: &str) -> Value {
    let (status, answer) = world.request("GET", path, json!(null)).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// Reports the phase of one workload, some problems, and the end of the certificate.
async fn says(world: &World, device: &str, phase: Phase, problems: &[&str], certificate: u64) {
    let desired = world.desired(device).unwrap();
    let said = WorkloadReport {
        revision: 1,
        phase,
        restarts: 0,
        run: None,
        detail: None,
        reason: "it <b>fell</b>".into(),
        progress: None,
    };
    let problem = |code: &&str| Problem { code: (*code).into(), message: format!("{code} here") };
    let report = StateReport {
        v: holdfast_base::WIRE_VERSION,
        full: true,
        epoch: desired.epoch,
        generation: desired.generation,
        workloads: [("w".parse().unwrap(), Some(said))].into(),
        problems: Some(problems.iter().map(problem).collect()),
        agent: Some(AgentInfo {
            version: "1".into(),
            arch: "x".into(),
            kernel: String::new(),
            certificate_not_after: Some(certificate),
            refused: 0,
            witness: false,
            engine: None,
            neighbours: Vec::new(),
        }),
        data: None,
        history: Vec::new(),
        id: None,
    };
    assert!(world.publish(device, Channel::State, codec::encode(&report).unwrap()).await);
}

const LONG: u64 = 30 * 86_400;

/// Makes five devices: one healthy, one failing with problems, one whose certificate ends soon, one
/// never seen, and one that waits for approval.
async fn fleet() -> World {
    let world = World::new().await;
    world.apply("w", "1").await.unwrap();
    let mut nowhere = document("nowhere", "1");
    nowhere["spec"]["devices"] = json!({ "matchLabels": { "role": "none" } });
    world.request("POST", "/api/v1/apply", json!({ "documents": [nowhere] })).await;
    for (number, name) in ["d-1", "d-2", "d-3", "d-4"].into_iter().enumerate() {
        world.device(name).await;
        if name < "d-4" {
            world.connect(name, 1 + number as u64);
        }
    }
    for name in ["d-2", "d-3"] {
        let path = format!("/api/v1/devices/{name}");
        world.request("PATCH", &path, json!({ "labels": { "site": "north" } })).await;
    }
    let token = world.token(json!({ "approve": "manual" })).await;
    world.enrol(&crate::world::Key::new(), &token, Some("d-5")).await.unwrap();
    says(&world, "d-1", Phase::Running, &[], clock() + LONG).await;
    says(&world, "d-2", Phase::Failed, &["disk-full", "clock", "clock"], clock() + LONG).await;
    says(&world, "d-3", Phase::Running, &["clock"], clock() + 100).await;
    world
}

#[tokio::test]
async fn the_fleet_at_a_glance() {
    let world = fleet().await;
    let fleet = get(&world, "/api/v1/fleet").await;
    assert_eq!(
        fleet["devices"],
        json!({ "total": 5, "online": 3, "offline": 0, "pending": 1, "revoked": 0, "neverSeen": 1, "unhealthy": 2, "expectedAway": 0, "ignored": 0, "overdue": 0 })
    );
    assert_eq!(
        fleet["workloads"],
        json!({ "total": 2, "running": 0, "done": 0, "progressing": 0, "failing": 1, "unknown": 0, "paused": 0, "unplaced": 1 })
    );
    assert_eq!(fleet["settled"], false);
    assert_eq!(
        fleet["summary"],
        "2 devices are unhealthy, 1 device has never connected, 1 device waits for approval, 1 workload fails"
    );
    let told: Vec<Value> = fleet["attention"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            json!([item["kind"], item["code"], item["severity"], item["count"], item["devices"]])
        })
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["failing", "w", "critical", 1, ["d-2"]],
            ["problem", "clock", "warning", 2, ["d-2", "d-3"]],
            ["certificate", null, "warning", 1, ["d-3"]],
            ["problem", "disk-full", "warning", 1, ["d-2"]],
            ["waiting", null, "info", 1, ["d-5"]],
        ]),
        "{fleet:#}"
    );
    for item in fleet["attention"].as_array().unwrap() {
        let query: Vec<String> = item["query"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
            .collect();
        let list = get(&world, &format!("/api/v1/devices?{}", query.join("&"))).await;
        assert_eq!(list["metadata"]["total"], item["count"], "{item} leads to its devices");
        assert_eq!(list["items"][0]["metadata"]["name"], item["devices"][0]);
        assert!(!item["message"].as_str().unwrap().is_empty());
        assert!(item["since"].is_string(), "{item}");
    }
    let site = |name: &str, counts: [u64; 5]| {
        json!({
            "site": name, "total": counts[0], "online": counts[1], "offline": counts[2],
            "unhealthy": counts[3], "failing": counts[4], "expectedAway": 0, "ignored": 0, "overdue": 0,
        })
    };
    let sites = json!([site("north", [2, 2, 0, 2, 1]), site("", [3, 1, 1, 0, 0])]);
    assert_eq!((&fleet["sites"], &fleet["moreSites"]), (&sites, &json!(0)));
    // The overview is computed again when something has changed.
    world.disconnect("d-1", 1, "went away");
    world.service.fleet.revoke(&world.actor(), "d-3").await.unwrap();
    let fleet = get(&world, "/api/v1/fleet").await;
    assert_eq!(
        fleet["devices"],
        json!({ "total": 5, "online": 1, "offline": 1, "pending": 1, "revoked": 1, "neverSeen": 1, "unhealthy": 1, "expectedAway": 0, "ignored": 0, "overdue": 0 })
    );
    assert_eq!(fleet, get(&world, "/api/v1/fleet").await);
}

#[tokio::test]
async fn an_empty_fleet_is_one_too() {
    let world = World::new().await;
    let fleet = get(&world, "/api/v1/fleet").await;
    assert_eq!(fleet["devices"]["total"], 0);
    assert_eq!((&fleet["attention"], &fleet["sites"]), (&json!([]), &json!([])));
    assert_eq!(get(&world, "/api/v1/labels").await, json!({ "items": [] }));
}

#[tokio::test]
async fn labels_are_suggested_by_use() {
    let world = fleet().await;
    for (site, name) in [("b", "d-1"), ("a", "d-4")] {
        let path = format!("/api/v1/devices/{name}");
        world.request("PATCH", &path, json!({ "labels": { "site": site } })).await;
    }
    let labels = get(&world, "/api/v1/labels").await;
    let value = |value: &str, devices: u64| json!({ "value": value, "devices": devices });
    assert_eq!(
        labels["items"],
        json!([
            { "key": "role", "devices": 5, "values": [value("a", 5)], "moreValues": 0 },
            {
                "key": "site", "devices": 4, "moreValues": 0,
                "values": [value("north", 2), value("a", 1), value("b", 1)],
            },
        ])
    );
}

#[tokio::test]
async fn differences_stand_side_by_side_with_their_reasons() {
    let world = fleet().await;
    let of = |path: &'static str| get(&world, path);
    let well = of("/api/v1/devices/d-1/differences").await;
    assert_eq!(
        (&well["items"][0]["asDesired"], &well["items"][0]["phase"]),
        (&json!(true), &json!("running"))
    );
    let failing = &of("/api/v1/devices/d-2/differences").await["items"][0];
    assert_eq!(failing["asDesired"], false);
    assert_eq!((&failing["desiredRevision"], &failing["reportedRevision"]), (&json!(1), &json!(1)));
    assert!(failing["reason"].as_str().unwrap().contains("it <b>fell</b>"), "{failing}");
    let silent = &of("/api/v1/devices/d-4/differences").await["items"][0];
    assert_eq!((&silent["reportedRevision"], &silent["asDesired"]), (&Value::Null, &json!(false)));
    world.service.workloads.delete_workload(&world.actor(), "w", None).await.unwrap();
    let left = &of("/api/v1/devices/d-1/differences").await["items"][0];
    assert_eq!((&left["desiredRevision"], &left["asDesired"]), (&Value::Null, &json!(false)));
    let none = world.request("GET", "/api/v1/devices/x/differences", json!(null)).await;
    assert_eq!(none.0, 404);
}

async fn history(world: &World, device: &str) -> Vec<Value> {
    get(world, &format!("/api/v1/devices/{device}/history?kind=connection")).await["items"]
        .as_array()
        .unwrap()
        .clone()
}

#[tokio::test]
async fn comings_and_goings_are_kept_and_bounded() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    assert!(history(&world, "d-1").await.is_empty());
    world.connect("d-1", 1);
    says(&world, "d-1", Phase::Running, &[], clock() + LONG).await;
    says(&world, "d-1", Phase::Running, &[], clock() + LONG).await;
    let came = history(&world, "d-1").await;
    assert_eq!(came.len(), 1, "once: {came:?}");
    assert_eq!(
        (&came[0]["event"], &came[0]["address"]),
        (&json!("connected"), &json!("192.0.2.1"))
    );
    assert!(came[0]["at"].as_str().unwrap().ends_with('Z'));
    world.disconnect("d-1", 1, "the link fell");
    world.settle().await;
    let went = history(&world, "d-1").await;
    assert_eq!(went.len(), 2);
    assert_eq!(
        (&went[0]["event"], &went[0]["reason"]),
        (&json!("disconnected"), &json!("the link fell"))
    );
    assert_eq!(went[1], came[0], "the newest first");
    // A connection without a report is written when it ends, or when the next one takes over.
    world.connect("d-1", 2);
    world.connect("d-1", 3);
    world.disconnect("d-1", 2, "late");
    world.disconnect("d-1", 3, "gone");
    world.settle().await;
    let words = |items: &[Value]| -> Vec<String> {
        items.iter().map(|item| item["event"].as_str().unwrap().to_owned()).collect()
    };
    let all = history(&world, "d-1").await;
    let (up, down) = ("connected", "disconnected");
    assert_eq!(words(&all), [down, up, up, down, up]);

    let world = world.restart().await;
    assert_eq!(history(&world, "d-1").await, all, "it is all on disk");
    // The clock is advanced so that the events of an hour stay few and are kept one by one.
    for round in 0..120 {
        if round % 5 == 0 {
            advance(4_000);
        }
        world.connect("d-1", 10 + round);
        world.disconnect("d-1", 10 + round, &format!("round {round} {}", "x".repeat(1_000)));
    }
    world.settle().await;
    let last = history(&world, "d-1").await;
    assert_eq!(last.len(), 100);
    assert!(last[0]["reason"].as_str().unwrap().starts_with("round 119 "), "{}", last[0]);
    assert!(last[98]["reason"].as_str().unwrap().starts_with("round 70 "), "{}", last[98]);
    assert_eq!(last[0]["reason"].as_str().unwrap().len(), 200);

    world.service.fleet.delete_device(&world.actor(), "d-1").await.unwrap();
    world.device("d-1").await;
    assert!(history(&world, "d-1").await.is_empty(), "it is another one's");
    assert_eq!(world.request("GET", "/api/v1/devices/x/history", json!(null)).await.0, 404);
}

#[tokio::test]
async fn the_history_costs_no_transaction_of_its_own() {
    use std::sync::atomic::Ordering;
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    let count = |world: &World| {
        let counters = world.service.documents.counters();
        (counters.commits.load(Ordering::Relaxed), counters.writes.load(Ordering::Relaxed))
    };
    let (commits, writes) = count(&world);
    world.connect("d-1", 1);
    world.settle().await;
    assert_eq!(count(&world), (commits, writes), "a connection alone writes nothing");
    says(&world, "d-1", Phase::Running, &[], clock() + LONG).await;
    let kept = "report and counters; in the timeline connection, revision, phase and generation; in the fleet's list connection and phase";
    assert_eq!(count(&world), (commits + 1, writes + 8), "{kept}");
}
