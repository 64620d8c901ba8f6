//! Policies about data on a real agent: reduction before shipping, order and times of shipping, and
//! the share of a link budget.

use std::time::Duration;

use fleet_tests::harness::publisher::Access;
use fleet_tests::harness::{DEADLINE, Device, Plane, eventually, holds_for};
use serde_json::{Value, json};

use crate::data::{await_ledger, carried, missing, mqtt, noise, policy, post, received, records};
use crate::{await_copies, marker, sleeper};

fn device(plane: &Plane) -> (Device, Access) {
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    (device, access)
}

#[test]
fn what_is_reduced_ships_little_and_a_policy_that_does_not_fit_is_said() {
    let plane = Plane::start();
    let (device, access) = device(&plane);
    let all = [
        policy("door", "streams: [door], ship: { onChange: { field: open } }"),
        policy(
            "press",
            "streams: [press], ship: { window: { every: 1s, fields: [temp], aggregates: [count, max, mean] } }",
        ),
        policy("odd", "streams: [odd], ship: { onChange: { field: speed } }"),
    ];
    plane.cli().apply(&all.join("---\n")).ok();
    plane.await_settled("d-1");
    let open = |value: u8| format!("{{\"open\":{value}}}").into_bytes();
    post(&access, "door", &[0, 0, 0, 1, 1, 0, 0].map(open));
    let temps: Vec<Vec<u8>> = (0..100).map(|at| format!("{{\"temp\":{at}}}").into()).collect();
    post(&access, "press", &temps);
    let words: Vec<Vec<u8>> = (0..20).map(|at| format!("\"word {at}\"").into()).collect();
    post(&access, "odd", &words);

    await_ledger(&plane, "d-1", "door", "its changes came", |it| {
        it["received"] == 3 && missing(it, "reduced") >= 2
    });
    let values: Vec<String> =
        records(&plane, "d-1", "door").into_iter().map(|it| it.value).collect();
    assert_eq!(values, ["{\"open\":0}", "{\"open\":1}", "{\"open\":0}"]);

    let windows = eventually(DEADLINE, "all of press is in its windows", || {
        let windows: Vec<Value> = records(&plane, "d-1", "press")
            .iter()
            .map(|it| serde_json::from_str(&it.value).unwrap())
            .collect();
        let counted: u64 = windows.iter().filter_map(|it| it["count"].as_u64()).sum();
        if counted == 100 { Ok(windows) } else { Err(format!("{windows:?}")) }
    });
    assert!(windows.len() < 10, "windows, not records: {windows:?}");
    let most = windows.iter().filter_map(|it| it["fields"]["temp"]["max"].as_f64());
    assert_eq!(most.fold(0.0, f64::max), 99.0, "{windows:?}");

    let said = device.await_status("the misfit is said", |status| {
        status["data"]["streams"]["odd"]["problem"].as_str().is_some_and(|it| !it.is_empty())
    });
    assert!(
        said["data"]["streams"]["odd"]["problem"].as_str().unwrap().contains("speed"),
        "{said}"
    );
    await_ledger(&plane, "d-1", "odd", "it is kept raw", |it| it["received"] == 20);
}

#[test]
fn what_is_urgent_overtakes_a_backlog() {
    let plane = Plane::start();
    let (device, access) = device(&plane);
    let bulk = policy("bulk", "streams: [bulk], priority: 1");
    let alarm = policy("alarm", "streams: [alarm], priority: 9");
    plane.cli().apply(&[bulk, alarm].join("---\n")).ok();
    plane.await_settled("d-1");
    device.link.cut();
    device.await_link("down");
    post(&access, "bulk", &noise(2_000));
    post(&access, "alarm", &noise(5));
    device.link.rate(Some(32 * 1024));
    device.link.heal();
    await_ledger(&plane, "d-1", "alarm", "all came", |it| it["received"] == 5);
    let bulk = received(&plane, "bulk");
    assert!(bulk < 1_000, "most of the backlog waits still: {bulk}");
    device.link.rate(None);
    await_ledger(&plane, "d-1", "bulk", "all came", |it| it["received"] == 2_000);
}

#[test]
fn a_used_up_link_budget_holds_data_back_and_nothing_that_devices_should_run() {
    let plane = Plane::start();
    let (device, access) = device(&plane);
    let budget = "apiVersion: holdfast/v1\nkind: LinkBudget\nmetadata: { name: satellite }\nspec: { devices: { matchLabels: { role: a } }, per: month, bytes: 200Ki, shares: { data: 20% } }\n";
    plane.cli().apply(budget).ok();
    plane.await_settled("d-1");
    let all = noise(2_000);
    post(&access, "noise", &all);
    let said = device.await_problem("link-budget");
    assert!(said.contains("link budget satellite (200Ki a month): data"), "{said}");
    // A quarter of 40 KiB at once, all of it at the end of a month; and one batch beyond it.
    let said =
        await_ledger(&plane, "d-1", "noise", "some came", |it| it["received"].as_u64() > Some(0));
    assert!(said["received"].as_u64().unwrap() < 1_000, "{said}");
    let data = carried(&device, "data");
    assert!(data > 0 && data < (40 + 20) * 1024, "{data} bytes for data");
    assert!(carried(&device, "control") > 0, "the ledger counts control too");
    let marker = marker();
    plane.cli().apply(&sleeper("steady", "a", &marker)).ok();
    await_copies(&marker, 1);
    device.await_phase("steady", "running");
    assert!(received(&plane, "noise") < 1_000, "it is held back still");
    plane.cli().run(&["delete", "linkbudget", "satellite"]).ok();
    device.await_healed("link-budget");
    await_ledger(&plane, "d-1", "noise", "all came", |it| it["received"] == 2_000);
}

/// Returns an hour of the day, UTC, that is far from now.
fn another_hour() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 3_600 % 24;
    let (from, to) = ((now + 11) % 24, (now + 12) % 24);
    format!("{from:02}:00-{to:02}:00")
}

#[test]
fn what_has_a_window_waits_for_it_and_the_newest_goes_first_where_that_is_said() {
    let plane = Plane::start();
    let (device, access) = device(&plane);
    let windows = format!("windows: [\"{}\"]", another_hour());
    let policy =
        |more: &str| policy("nightly", &format!("streams: [nightly], {more} order: newest-first"));
    plane.cli().apply(&policy(&format!("{windows},"))).ok();
    plane.await_settled("d-1");
    post(&access, "nightly", &noise(2_000));
    device.await_status("all of it waits", |status| {
        status["data"]["streams"]["nightly"]["waiting"] == 2_000
    });
    holds_for(Duration::from_secs(3), "nothing is shipped", || match received(&plane, "nightly") {
        0 => Ok(()),
        some => Err(format!("{some} came")),
    });
    device.link.rate(Some(32 * 1024));
    plane.cli().apply(&policy("")).ok();
    await_ledger(&plane, "d-1", "nightly", "some came", |it| it["received"].as_u64() > Some(0));
    let found = records(&plane, "d-1", "nightly");
    assert_eq!(found.last().map(|it| it.seq), Some(2_000), "the newest is there");
    assert!(found.first().is_some_and(|it| it.seq > 1_000), "and no old one: {}", found[0].seq);
    device.link.rate(None);
    await_ledger(&plane, "d-1", "nightly", "all came", |it| {
        it["received"] == 2_000 && it["missing"] == json!([])
    });
}
