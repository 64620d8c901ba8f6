//! Tests of the history of devices and the activity in the fleet: kept with the reports, bounded,
//! filtered, and there after a restart.

use std::sync::atomic::Ordering;

use holdfast_base::codec;
use holdfast_control::api::Role;
use holdfast_control::core::rights::Actor;
use holdfast_protocol::message::{Phase, Problem, StateReport, WorkloadReport};
use holdfast_protocol::topic::Channel;
use serde_json::{Value, json};

use crate::world::{World, advance};

/// Reports workloads (name, revision, phase, restarts) and problems.
async fn says(
    world: &World,
    device: &str,
    full: bool,
    workloads: &[(&str, u64, Phase, u32)],
    problems: &[&str],
) {
    let desired = world.desired(device);
    let workloads = workloads.iter().map(|(name, revision, phase, restarts)| {
        let report = WorkloadReport {
            revision: *revision,
            phase: *phase,
            restarts: *restarts,
            run: None,
            detail: None,
            reason: if *phase == Phase::Backoff { "exit code 3".into() } else { String::new() },
            progress: None,
        };
        (name.parse().unwrap(), Some(report))
    });
    let problem = |code: &&str| Problem { code: (*code).into(), message: "it is".into() };
    let report = StateReport {
        v: holdfast_base::WIRE_VERSION,
        full,
        epoch: desired.as_ref().map_or(0, |desired| desired.epoch),
        generation: desired.as_ref().map_or(0, |desired| desired.generation),
        workloads: workloads.collect(),
        problems: Some(problems.iter().map(problem).collect()),
        agent: full.then(|| holdfast_protocol::message::AgentInfo {
            version: "0".into(),
            arch: "x86_64".into(),
            kernel: String::new(),
            certificate_not_after: None,
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

async fn get(world: &World, path: &str) -> Value {
    let (status, answer) = world.request("GET", path, json!(null)).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn words(world: &World, path: &str) -> Vec<String> {
    let page = get(world, path).await;
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["message"].as_str().unwrap().into())
        .collect()
}

/// Returns all items of a list, read page by page.
async fn pages(world: &World, path: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = get(world, &format!("{path}limit={limit}{next}")).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        all.extend(items.iter().cloned());
        match page["metadata"]["continue"].as_str() {
            Some(after) => next = format!("&continue={after}"),
            None => return all,
        }
    }
}

const D1: &str = "/api/v1/devices/d-1/history";

#[tokio::test]
async fn a_night_of_a_device_is_told_newest_first_and_survives_a_restart() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    world.connect("d-1", 1);
    says(&world, "d-1", true, &[("w", 1, Phase::Running, 0)], &[]).await;
    advance(60);
    says(&world, "d-1", false, &[("w", 1, Phase::Backoff, 0)], &["disk-full"]).await;
    advance(5);
    says(&world, "d-1", false, &[("w", 1, Phase::Running, 1)], &["disk-full"]).await;
    world.disconnect("d-1", 1, "the link fell");
    advance(600);
    world.apply("w", "2").await.unwrap();
    world.connect("d-1", 2);
    says(&world, "d-1", true, &[("w", 2, Phase::Running, 0)], &[]).await;
    let expected = [
        "problem disk-full ended (while the device was away)",
        "applied desired state 2, 1 before (while the device was away)",
        "w: revision 1 → 2, running (while the device was away)",
        "connected from 192.0.2.1",
        "disconnected: the link fell",
        "w: restarted, running",
        "problem disk-full began: it is",
        "w: running → waiting to restart: exit code 3",
        "applied desired state 1",
        "w: running",
        "w: revision 1, running",
        "connected from 192.0.2.1",
    ];
    assert_eq!(words(&world, D1).await, expected);
    for (query, expected) in [
        ("kind=connection", 3),
        ("kind=phase,restart", 3),
        ("workload=w", 5),
        ("workload=other", 0),
        ("kind=problem&since=5m", 1),
        ("until=5m&kind=problem", 1),
        ("since=5m", 4),
    ] {
        assert_eq!(words(&world, &format!("{D1}?{query}")).await.len(), expected, "{query}");
    }
    for query in ["kind=phases", "since=yesterday", "continue=x", "limit=0", "bogus=1"] {
        let answer = world.request("GET", &format!("{D1}?{query}"), json!(null)).await;
        assert_eq!(answer.0, 400, "{query}: {}", answer.1);
    }
    let item = &get(&world, &format!("{D1}?kind=revision")).await["items"][0];
    assert_eq!(
        (&item["from"], &item["to"], &item["workload"], &item["whileAway"]),
        (&json!("1"), &json!("2"), &json!("w"), &json!(true))
    );
    let world = world.restart().await;
    assert_eq!(words(&world, D1).await, expected, "it is all on disk");
    let all = pages(&world, &format!("{D1}?"), 5).await;
    assert_eq!(all.len(), expected.len(), "by pages nothing is lost or told twice");
    world.service.fleet.delete_device(&world.actor(), "d-1").await.unwrap();
    world.device("d-1").await;
    assert!(words(&world, D1).await.is_empty(), "it is another one's");
}

#[tokio::test]
async fn ten_thousand_events_of_a_hostile_device_push_nothing_out_and_fill_nothing() {
    let world = World::new().await;
    world.device("d-1").await;
    world.device("d-2").await;
    world.apply("w", "1").await.unwrap();
    for name in ["d-1", "d-2"] {
        world.connect(name, 1);
        says(&world, name, true, &[("w", 1, Phase::Running, 0)], &[]).await;
    }
    says(&world, "d-2", false, &[("w", 1, Phase::Failed, 0)], &["disk-full"]).await;
    let commits = || world.service.documents.counters().commits.load(Ordering::Relaxed);
    let before = commits();
    // d-1 misbehaves: a workload in a loop, another workload's name in each report, and problems
    // that come and go.
    for chunk in 0..5_u32 {
        let reports = (chunk * 500..(chunk + 1) * 500).map(|round| {
            let world = &world;
            async move {
                let name = format!("x-{}", round % 250);
                let phase = if round % 2 == 0 { Phase::Backoff } else { Phase::Running };
                let problem = format!("p-{}", round % 500);
                let workloads = [("w", 1, phase, round), (name.as_str(), 1, phase, round)];
                says(world, "d-1", false, &workloads, &[&problem]).await;
            }
        });
        futures_util::future::join_all(reports).await;
    }
    assert!(commits() - before <= 2_500, "a report is one transaction, as before");
    let all = pages(&world, &format!("{D1}?"), 100).await;
    assert!(all.len() <= 500, "{}", all.len());
    assert_eq!(words(&world, &format!("{D1}?kind=connection")).await.len(), 1);
    let more = words(&world, &format!("{D1}?kind=more")).await;
    assert!(more[0].ends_with("more events"), "{more:?}");
    // The events of d-2 are still in the fleet's list.
    let other = words(&world, "/api/v1/activity?category=device&who=d-2").await;
    assert_eq!(
        other,
        [
            "problem disk-full began: it is",
            "w: running → failed",
            "w: running",
            "connected from 192.0.2.1"
        ]
    );
    let of_one = pages(&world, "/api/v1/activity?who=d-1&category=device&", 50).await;
    assert!(of_one.len() <= 64, "{}", of_one.len());
    let world = world.restart().await;
    let again = pages(&world, &format!("{D1}?"), 500).await;
    assert_eq!(again, all, "the restart loses nothing");
    advance(10);
    says(&world, "d-1", false, &[("w", 1, Phase::Failed, 9)], &[]).await;
    let last = words(&world, &format!("{D1}?kind=phase&workload=w")).await;
    assert!(last[0].ends_with("→ failed"), "and it goes on: {}", last[0]);
}

#[tokio::test]
async fn a_store_that_refuses_leaves_no_event_behind() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    world.connect("d-1", 1);
    says(&world, "d-1", true, &[("w", 1, Phase::Running, 0)], &[]).await;
    let before = words(&world, D1).await;
    world.store.fails.store(true, Ordering::Relaxed);
    let report = crate::world::report(false, 1, 9, &[("w", 9)]);
    assert!(!world.publish("d-1", Channel::State, report).await, "no PUBACK");
    world.store.fails.store(false, Ordering::Relaxed);
    assert_eq!(words(&world, D1).await, before);
    says(&world, "d-1", false, &[("w", 1, Phase::Failed, 0)], &[]).await;
    assert_eq!(words(&world, D1).await.len(), before.len() + 1);
    let fleet = words(&world, "/api/v1/activity?category=device").await;
    assert_eq!(fleet[0], "w: running → failed");
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one story")]
async fn activity_is_what_people_did_beside_what_devices_did() {
    let world = World::new().await;
    world.device("d-1").await;
    let (status, made) = world
        .request("POST", "/api/v1/access", json!({ "name": "night duty", "role": "operator" }))
        .await;
    assert_eq!(status, 201, "{made}");
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let login = json!({ "token": token }).to_string();
    let json_type = ("content-type", "application/json");
    let session = world.raw("POST", "/api/v1/session", &[json_type], &login).await;
    let session: Value = serde_json::from_slice(session.body()).unwrap();
    assert_eq!(session["operatorName"], "night duty");
    for argument in ["1", "2"] {
        advance(60);
        let document = crate::world::document("w", argument);
        let night = Actor::token(world.actor().tenant, id, Role::Operator);
        world.service.workloads.apply(&night, &[document], false).await.unwrap();
        let revision = argument.parse().unwrap();
        if revision == 1 {
            world.connect("d-1", 1);
        }
        says(&world, "d-1", revision == 1, &[("w", revision, Phase::Running, 0)], &[]).await;
    }
    advance(60);
    says(&world, "d-1", false, &[("w", 2, Phase::Backoff, 0)], &[]).await;
    advance(1);
    assert_eq!(world.request("DELETE", &format!("/api/v1/access/{id}"), json!(null)).await.0, 204);
    let found = get(&world, "/api/v1/activity?since=10m&category=change,device").await;
    let told: Vec<(String, String, String)> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let who = if it["byName"].is_null() { &it["by"] } else { &it["byName"] };
            (text(who), text(&it["action"]), text(&it["object"]["name"]))
        })
        .filter(|(_, action, _)| action != "access.create" && !action.starts_with("token"))
        .collect();
    let told: Vec<(&str, &str, &str)> =
        told.iter().map(|(who, what, object)| (&**who, &**what, &**object)).collect();
    assert_eq!(
        told,
        [
            ("admin", "access.delete", id),
            ("d-1", "device.phase", "w"),
            ("night duty", "workload.apply", "w"),
            ("d-1", "device.phase", "w"),
            ("d-1", "device.connected", "d-1"),
            ("night duty", "workload.apply", "w"),
            (told.last().unwrap().0, "device.enrol", "d-1"),
        ],
        "each cause stands below what came of it, and a token that is gone has its name"
    );
    let deleted = &get(&world, "/api/v1/activity?action=access.delete").await["items"][0];
    assert_eq!(deleted["object"]["title"], "night duty");
    let applied = get(&world, "/api/v1/audit?order=newest&who=NIGHT&action=workload").await;
    let revisions: Vec<&Value> =
        applied["items"].as_array().unwrap().iter().map(|it| &it["revision"]).collect();
    assert_eq!(revisions, [&json!(2), &json!(1)], "each with the revision that it made");
    assert_eq!(applied["items"][0]["byName"], "night duty");
    assert!(
        words(&world, "/api/v1/activity?category=change")
            .await
            .iter()
            .all(|it| !it.starts_with("from "))
    );
    assert_eq!(words(&world, "/api/v1/activity?category=login").await.len(), 1);
}

#[tokio::test]
async fn activity_reads_by_pages_and_goes_out_as_a_file() {
    let world = World::new().await;
    world.device("d-1").await;
    world.connect("d-1", 1);
    for round in 0..40_u32 {
        advance(if round % 3 == 0 { 0 } else { 400 });
        let phase = if round % 2 == 0 { Phase::Backoff } else { Phase::Running };
        says(
            &world,
            "d-1",
            round == 0,
            &[("w", 1, phase, 0)],
            ["a", "b"][..(round % 3).min(2) as usize].as_ref(),
        )
        .await;
        if round % 4 == 0 {
            world.apply("w", &round.to_string()).await.unwrap();
        }
    }
    let path = "/api/v1/activity?";
    let whole = get(&world, path).await["items"].as_array().unwrap().clone();
    assert!(whole.len() > 60, "{}", whole.len());
    let times: Vec<&str> = whole.iter().map(|it| it["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|one, two| one >= two), "{times:?}");
    for limit in [1, 7, 50] {
        assert_eq!(pages(&world, path, limit).await, whole, "limit {limit}");
    }
    for filter in
        ["category=device&", "category=change&", "q=waiting%20to%20restart&", "object=workload/w&"]
    {
        let path = format!("{path}{filter}");
        let all =
            get(&world, path.trim_end_matches('&')).await["items"].as_array().unwrap().clone();
        assert!(!all.is_empty() && all.len() < whole.len(), "{filter}");
        assert_eq!(pages(&world, &path, 3).await, all, "{filter}");
    }
    let auth = ("authorization", format!("Bearer {}", world.admin));
    let auth = [(auth.0, auth.1.as_str())];
    let csv = world.raw("GET", "/api/v1/activity?format=csv&category=change", &auth, "").await;
    assert_eq!(csv.status(), 200);
    assert!(csv.headers()["content-disposition"].to_str().unwrap().contains("activity.csv"));
    let text = String::from_utf8(csv.body().to_vec()).unwrap();
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    let changes = get(&world, "/api/v1/activity?category=change").await;
    assert_eq!(lines.len(), 1 + changes["items"].as_array().unwrap().len());
    assert!(lines[0].starts_with("time,until,count,category,who,"));
    assert!(lines[1].contains(",change,test,,workload.apply,workload,w,"), "{}", lines[1]);
    let ndjson = world.raw("GET", "/api/v1/activity?format=ndjson", &auth, "").await;
    let text = String::from_utf8(ndjson.body().to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // The file before it is an entry by now.
    let is_file = |it: &Value| it["action"] == "activity.list";
    assert_eq!(lines.iter().filter(|it| is_file(it)).count(), 1);
    assert_eq!(lines.into_iter().filter(|it| !is_file(it)).collect::<Vec<_>>(), whole);
    for query in [
        "format=xml",
        "continue=1-2",
        "continue=1-2-3-4-5-6",
        "category=all",
        "format=csv&continue=1-2-3-4-5",
    ] {
        let answer = world.request("GET", &format!("{path}{query}"), json!(null)).await;
        assert_eq!(answer.0, 400, "{query}: {}", answer.1);
    }
}
