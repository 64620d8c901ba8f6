//! Cost of a real link and capacity of a real control plane: metered interfaces, urgent streams
//! that borrow, a control plane that asks to hold back, a device that was away for a month.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use fleet_tests::harness::publisher::Access;
use fleet_tests::harness::{
    DEADLINE, Device, Options, Plane, Scratch, SmallDisk, eventually, holds_for,
};
use serde_json::json;

use crate::data::{await_ledger, carried, missing, mqtt, noise, policy, post, received, records};

/// Returns the seconds to ten minutes past midnight UTC in `days` days: little more than a quarter
/// of a day's budget is due then, whenever the test runs.
fn after_midnight(days: u64) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    (days * 86_400 - now % 86_400 + 600).to_string()
}

/// Returns a device whose day has just begun.
fn device(plane: &Plane) -> (Device, Access) {
    let mut device = plane.bare_device("d-1");
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), after_midnight(1));
    device.env.insert("HOLDFAST_LOG".into(), "debug".into());
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.up();
    device.await_link("up");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    (device, access)
}

/// Returns a link budget for devices with this label.
fn budget(label: &str, spec: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: LinkBudget\nmetadata: {{ name: modem }}\nspec: {{ devices: {{ matchLabels: {{ {label} }} }}, {spec} }}\n"
    )
}

/// Runs this test again in a network namespace of its own, in which it may change interfaces and
/// routes. Returns false in that run.
fn runs_in_a_network_of_its_own(test: &str) -> bool {
    const MARK: &str = "HOLDFAST_TEST_OWN_NETWORK";
    if std::env::var_os(MARK).is_some() {
        ip("link set lo up");
        return false;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .status();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{status:?}: it failed above, or may not make a network of its own: run the suite as root"
    );
    true
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("ip of iproute2; `make test` installs what is missing");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

#[test]
fn a_budget_holds_on_the_metered_interface_alone_and_a_byte_counts_what_it_costs() {
    let here =
        "data_link::a_budget_holds_on_the_metered_interface_alone_and_a_byte_counts_what_it_costs";
    if runs_in_a_network_of_its_own(here) {
        return;
    }
    for name in ["lan0", "wwan0"] {
        ip(&format!("link add {name} type veth peer name {name}-far"));
        ip(&format!("link set {name} up"));
    }
    ip("route replace default dev lan0");
    let plane = Plane::start();
    let (device, access) = device(&plane);
    // The default route is on the metered interface, and the link to the control plane uses it.
    let goes_by = |name: &str| {
        device.link.cut();
        device.await_link("down");
        ip(&format!("route replace default dev {name}"));
        device.link.heal();
        device.await_link("up");
    };
    let share = 200 * 1024;
    let interfaces = "interfaces: [{ name: \"wwan*\", metered: true, cost: \"10\" }]";
    let spec = format!("per: day, bytes: 1000Ki, shares: {{ data: 20% }}, {interfaces}");
    plane.cli().apply(&budget("role: a", &spec)).ok();
    plane.await_settled("d-1");
    // Twice the budget of a whole day, on the interface that is not metered.
    let all = noise(6_000);
    post(&access, "line", &all);
    await_ledger(&plane, "d-1", "line", "all came", |it| it["received"] == 6_000);
    let before = carried(&device, "data");
    assert!(before > 2 * share, "{before} bytes, of a budget of {share}");

    goes_by("wwan0");
    post(&access, "line", &all);
    let said = device.await_problem("link-budget");
    assert!(said.contains("data"), "{said}");
    await_ledger(&plane, "d-1", "line", "some came", |it| it["received"].as_u64() > Some(6_000));
    // Free bytes used none of the budget. A quarter of the share is due, and each byte counts for
    // ten: 5 KiB, and its headers.
    holds_for(Duration::from_secs(1), "little is carried on the metered interface", || {
        let metered = carried(&device, "data") - before;
        if metered < 8 * 1024 { Ok(()) } else { Err(format!("{metered} bytes")) }
    });
    let came = received(&plane, "line");
    assert!(came < 6_500, "most waits: {came}");

    goes_by("lan0");
    device.await_healed("link-budget");
    await_ledger(&plane, "d-1", "line", "all came", |it| {
        it["received"] == 12_000 && it["missing"] == json!([])
    });
}

#[test]
fn what_is_urgent_borrows_where_its_class_is_used_up_and_other_data_does_not() {
    let plane = Plane::start();
    let (device, access) = device(&plane);
    let documents = [
        policy("alarm", "streams: [alarm], priority: 8"),
        policy("plain", "streams: [plain], priority: 7"),
        // A quarter of 4 KiB is due for events and for data each, which is less than any batch.
        budget(
            "role: a",
            "per: day, bytes: 400Ki, shares: { events: 1%, data: 1%, logs: 40%, artifacts: 40% }",
        ),
    ];
    plane.cli().apply(&documents.join("---\n")).ok();
    plane.await_settled("d-1");
    post(&access, "plain", &noise(500));
    let said = device.await_problem("link-budget");
    assert!(said.contains("data"), "{said}");
    let all = noise(200);
    post(&access, "alarm", &all);
    await_ledger(&plane, "d-1", "alarm", "all came", |it| it["received"] == 200);
    let status = device.status().unwrap();
    let own = &status["data"]["link"]["classes"]["events"]["budget"];
    assert_eq!(own, 4 * 1024, "{status}");
    let events = carried(&device, "events");
    assert!(events > 3 * 4 * 1024, "{events} bytes, of which 4 KiB are their own");
    assert_eq!(received(&plane, "plain"), 0, "data has nobody to borrow from");
    // Borrowing is bounded: the due parts of logs and artifacts, a quarter of 160 KiB each.
    post(&access, "alarm", &noise(5_000));
    let said = device.await_status("all that was lent is used up", |status| {
        status["problems"].to_string().contains("events")
    });
    let events = carried(&device, "events");
    assert!((60 * 1024..90 * 1024).contains(&events), "{events} bytes: {said}");
    let came = received(&plane, "alarm");
    assert!((201..3_000).contains(&came), "{came}");
}

/// Returns, from an agent's log, the seconds between two batches with the same first number.
fn tried_again(log: &str) -> Option<f64> {
    let batches: Vec<(f64, &str)> = log
        .lines()
        .filter_map(|line| {
            let from = line.split(" from=").nth(1)?.split(' ').next()?;
            // `2026-11-27T14:26:27.116356Z DEBUG shipping stream=line from=1001 to=...`
            let time = line.contains(" shipping ").then(|| line.get(11..26))??;
            let seconds = time.split(':').map(|part| part.parse::<f64>().unwrap());
            Some((seconds.fold(0.0, |sum, part| sum * 60.0 + part), from))
        })
        .collect();
    let again = batches.windows(2).find(|pair| pair[0].1 == pair[1].1)?;
    Some((again[1].0 - again[0].0).rem_euclid(86_400.0))
}

#[test]
fn a_control_plane_that_asks_to_hold_back_is_obeyed_and_nothing_is_lost_or_doubled() {
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(&scratch.join("disk"), "32m");
    let data = scratch.join("disk/plane");
    // Without a reserve the disk is full before it is low, and the control plane asks for five
    // seconds.
    let arguments = vec!["--reserve".to_owned(), "0".to_owned()];
    let plane = Plane::start_in(scratch, data, Options { arguments, ..Options::default() });
    let (device, access) = device(&plane);
    let all = noise(10_000);
    post(&access, "line", &all[..1_000]);
    await_ledger(&plane, "d-1", "line", "the first came", |it| it["received"] == 1_000);
    disk.fill();
    post(&access, "line", &all[1_000..]);
    // The agent alone would try again after one second; it is asked for five, and may take a
    // quarter more.
    let waited = eventually(DEADLINE, "a batch that was not stored is sent again", || {
        tried_again(&device.log()).ok_or_else(|| device.log())
    });
    assert!((4.9..10.0).contains(&waited), "it held back for {waited} s, of 5 that were asked");
    assert!(device.status().is_ok_and(|it| it["link"] == "up"), "the link is up all the while");
    disk.free();
    await_ledger(&plane, "d-1", "line", "all came", |it| {
        it["received"] == 10_000 && it["missing"] == json!([])
    });
    let found = records(&plane, "d-1", "line");
    assert!(found.iter().zip(1..).all(|(got, seq)| got.seq == seq), "each once");
    let values = found.iter().map(|got| got.value.as_bytes());
    assert!(values.eq(all.iter().map(Vec::as_slice)), "not as published");
}

/// Returns how long a data record takes from its publisher to the control plane's store.
fn takes(plane: &Plane, device: &str, access: &Access, stream: &str, count: u64) -> Duration {
    let began = Instant::now();
    post(access, stream, &noise(1));
    await_ledger(plane, device, stream, "it came", |it| it["received"] == count);
    began.elapsed()
}

#[test]
fn a_device_that_was_away_for_a_month_starves_neither_itself_nor_others() {
    // The certificate outlasts the absence, or the clock would not be believed.
    let config = Some("[certificates]\ndevice_ttl = \"80d\"\n".to_owned());
    let plane = Plane::start_with(Options { config, ..Options::default() });
    let mut device = plane.device("d-1", &["role=a", "away=yes"]);
    device.await_link("up");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    let other = plane.device("d-2", &["role=a"]);
    other.await_link("up");
    let others = other.access("plc");
    drop(mqtt(&others, "first"));
    let documents = [
        policy("bulk", "streams: [bulk], priority: 1"),
        policy("alarm", "streams: [alarm], priority: 9"),
        policy("short", "streams: [short], ttl: 7d"),
        budget("away: \"yes\"", "per: day, bytes: 3Mi, shares: { data: 50%, control: 10% }"),
    ];
    plane.cli().apply(&documents.join("---\n")).ok();
    plane.await_settled("d-1");
    device.link.cut();
    device.await_link("down");
    post(&access, "short", &noise(1_000));
    let bulk = noise(12_000);
    post(&access, "bulk", &bulk);
    device.power_off();
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), after_midnight(30));
    device.link.rate(Some(48 * 1024));
    device.up();
    drop(mqtt(&access, "second"));
    device.await_status("what is older than its ttl is gone", |status| {
        status["data"]["streams"]["short"]["waiting"] == 0
    });
    device.link.heal();
    await_ledger(&plane, "d-1", "bulk", "the backlog comes", |it| {
        it["received"].as_u64() > Some(0)
    });
    // New urgent records overtake the backlog, long before the budget would make room.
    let took = takes(&plane, "d-1", &access, "alarm", 1);
    assert!(took < Duration::from_secs(8), "an alarm waited {took:?} behind the backlog");
    let status = device.status().unwrap();
    let problems = status["problems"].to_string();
    assert!(!problems.contains("link-budget"), "the backlog has its budget still: {problems}");
    assert!(status["data"]["streams"]["bulk"]["waiting"].as_u64() > Some(6_000), "{status}");
    let said = await_ledger(&plane, "d-1", "short", "what expired is told", |it| {
        missing(it, "expired") == 1_000
    });
    let gap = json!([{ "from": 1, "to": 1_000, "reason": "expired" }]);
    assert_eq!((&said["received"], &said["missing"]), (&json!(0), &gap));

    // The budget ends the backlog for the day, but not urgent records.
    device.link.rate(None);
    device.await_problem("link-budget");
    takes(&plane, "d-1", &access, "alarm", 2);
    let came = received(&plane, "bulk");
    assert!((1..8_000).contains(&came), "{came} of the backlog");
    let used = carried(&device, "data");
    assert!(used < 512 * 1024, "{used} bytes, of which 384 KiB and a little were due");

    // Without a budget the backlog takes the whole link. Another device's data comes as before.
    device.link.rate(Some(128 * 1024));
    plane.cli().run(&["delete", "linkbudget", "modem"]).ok();
    device.await_healed("link-budget");
    let waits: Vec<Duration> =
        (1..=4).map(|count| takes(&plane, "d-2", &others, "alarm", count)).collect();
    println!("another device's alarms took {waits:?}");
    assert!(waits.iter().all(|it| *it < Duration::from_secs(4)), "it was starved: {waits:?}");
    let came = received(&plane, "bulk");
    assert!(came < 12_000, "the backlog was on its way still");
    device.link.rate(None);
    await_ledger(&plane, "d-1", "bulk", "all came", |it| {
        it["received"] == 12_000 && it["missing"] == json!([])
    });
    let found = records(&plane, "d-1", "bulk");
    let values = found.iter().map(|got| got.value.as_bytes());
    assert!(values.eq(bulk.iter().map(Vec::as_slice)), "not as published");
}
