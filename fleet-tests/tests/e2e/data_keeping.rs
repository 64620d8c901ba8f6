//! Storage of records on a real agent: gathered into few durable steps where that is allowed, with
//! the flash's wear counted, and with a horizon that a person is told in time.

use std::process::Command;
use std::time::{Duration, Instant};

use fleet_tests::harness::publisher::{Access, Mqtt};
use fleet_tests::harness::{DEADLINE, Device, Plane, eventually};
use serde_json::{Value, json};

use crate::data::{await_ledger, missing, mqtt, noise, policy, post, records};

/// Number of publishers with one record each; one user may have 32 connections.
const PUBLISHERS: u32 = 25;
/// Time from one publisher to the next.
const APART: Duration = Duration::from_millis(30);

/// Returns the bytes written to flash once a stream has this many records.
fn written(device: &Device, stream: &str, records: u32) -> u64 {
    let status = device.await_status(&format!("{records} of {stream} are stored"), |status| {
        status["data"]["streams"][stream]["last"] == records
    });
    status["data"]["storage"]["written"]["total"].as_u64().unwrap()
}

/// Publishes one record from each publisher, none waiting for another. Returns in order when each
/// was acknowledged, counted from the first publish.
fn publish_apart(access: &Access, stream: &str) -> Vec<Duration> {
    let clients: Vec<Mqtt> =
        (0..PUBLISHERS).map(|number| mqtt(access, &format!("{stream}-{number}"))).collect();
    let began = Instant::now();
    let mut acknowledged: Vec<Duration> = std::thread::scope(|scope| {
        let publishing: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, mut client)| {
                scope.spawn(move || {
                    std::thread::sleep(APART * number);
                    let record = format!("{{\"publisher\":{number}}}").into_bytes();
                    let outcome = client.publish(stream, &[record], 1);
                    assert_eq!(outcome.count(), 1, "{:?}", outcome.error);
                    began.elapsed()
                })
            })
            .collect();
        publishing.into_iter().map(|it| it.join().unwrap()).collect()
    });
    acknowledged.sort_unstable();
    acknowledged
}

/// Returns the number of groups of acknowledgements with this much time between them.
fn bursts(times: &[Duration], apart: Duration) -> usize {
    1 + times.windows(2).filter(|pair| pair[1] - pair[0] > apart).count()
}

#[test]
fn what_may_be_gathered_is_stored_in_few_steps_and_an_acknowledgement_still_means_on_disk() {
    let plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    let gathered = policy("gathered", "streams: [\"gathered/*\"], durability: 1500ms");
    plane.cli().apply(&gathered).ok();
    plane.await_settled("d-1");
    device.link.cut();
    device.await_link("down");
    post(&access, "before", &noise(1));

    let before = written(&device, "before", 1);
    let each = publish_apart(&access, "each");
    let for_each = written(&device, "each", PUBLISHERS) - before;
    let together = publish_apart(&access, "gathered/one");
    let for_all = written(&device, "gathered/one", PUBLISHERS) - before - for_each;
    // Acknowledged records must survive, whatever process ends now.
    publish_apart(&access, "gathered/two");
    device.kill_agent();
    println!("acknowledged each {each:?}\ngathered {together:?}");

    device.up();
    device.await_status("all that was acknowledged is there", |status| {
        status["data"]["streams"]["gathered/two"]["waiting"] == PUBLISHERS
    });
    device.link.heal();
    for stream in ["each", "gathered/one", "gathered/two"] {
        await_ledger(&plane, "d-1", stream, "all came", |it| {
            it["received"] == PUBLISHERS && it["missing"] == json!([])
        });
        let mut publishers: Vec<u64> = records(&plane, "d-1", stream)
            .iter()
            .map(|got| serde_json::from_str::<Value>(&got.value).unwrap()["publisher"].as_u64())
            .map(Option::unwrap)
            .collect();
        publishers.sort_unstable();
        assert!(publishers.into_iter().eq(0..PUBLISHERS.into()), "{stream}: each once");
    }

    println!("{for_each} bytes written for each, {for_all} together");
    assert!(for_all < for_each, "{for_all} bytes written together, {for_each} one by one");

    let last = APART * (PUBLISHERS - 1);
    assert!(each[0] < last, "at once: the first is answered before the last is published");
    let steps = bursts(&each, APART / 4);
    assert!(steps > 4, "stored as they came: {steps}");
    // 720 ms of publishing, and 1.5 s to gather.
    assert!(together[0] > last, "the first waits for others: {:?}", together[0]);
    let steps = bursts(&together, Duration::from_millis(300));
    assert!(steps <= 2, "answered in {steps} steps");
}

/// Returns a device whose clock the test moves, in seconds, by writing into the file.
fn device_with_clock(plane: &Plane, config: &str) -> (Device, Access, std::path::PathBuf) {
    let mut device = plane.bare_device("d-1");
    let clock = plane.scratch.write("clock", "0");
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), clock.display().to_string());
    device.config = Some(config.to_owned());
    device.enrol(&plane.token(&["--uses", "1"]), &["role=a"]).ok();
    device.up();
    device.await_link("up");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    (device, access, clock)
}

/// Reconnects the device, which then sends a full report.
fn reconnect(device: &Device) {
    device.link.cut();
    device.await_link("down");
    device.link.heal();
    device.await_link("up");
}

/// Waits until the control plane's view of a device's data is as wanted, and returns it.
fn await_report(plane: &Plane, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(DEADLINE, &format!("the control plane is told: {what}"), || {
        let shown = plane.cli().run(&["get", "device", "d-1", "-o", "json"]).json();
        let data = &shown["status"]["data"];
        if wanted(data) { Ok(data.clone()) } else { Err(shown["status"].to_string()) }
    })
}

#[test]
fn what_is_written_to_flash_is_counted_by_cause_and_shown_with_the_life_that_is_left() {
    const ENDURANCE: u64 = 100_000_000_000;
    const DAY: u64 = 86_400;
    let plane = Plane::start();
    let config = format!("[storage]\nendurance_bytes = {ENDURANCE}\n");
    let (device, access, clock) = device_with_clock(&plane, &config);
    plane.cli().apply(&policy("short", "streams: [short], ttl: 1h")).ok();
    plane.await_settled("d-1");
    let all = noise(2_000);
    let payload: usize = all.iter().map(Vec::len).sum();
    post(&access, "short", &all);
    await_ledger(&plane, "d-1", "short", "all came", |it| it["received"] == 2_000);
    let cause =
        |status: &Value, cause: &str| status["data"]["storage"]["written"][cause].as_u64().unwrap();
    let first = device.await_status("what was taken in is counted", |status| {
        status["data"]["storage"]["written"]["payload"] == payload
    });
    assert!(cause(&first, "records") > payload as u64 / 4, "compressed, and more: {first}");
    assert!(first["data"]["storage"]["lifeYears"].is_null(), "too soon to tell: {first}");

    // A day later no record is to be kept any more, and dropping them is written to flash too.
    std::fs::write(&clock, DAY.to_string()).unwrap();
    let later = device.await_status_within(Duration::from_secs(90), "it was dropped", |status| {
        status["data"]["streams"]["short"]["bytes"].as_u64().is_none_or(|bytes| bytes == 0)
            && status["data"]["storage"]["lifeYears"].is_f64()
    });
    assert!(cause(&later, "retention") > cause(&first, "retention"), "{first}\n{later}");
    let causes = ["records", "retention", "bookkeeping"].map(|it| cause(&later, it));
    let total = cause(&later, "total");
    assert_eq!(causes.iter().sum::<u64>(), total, "every byte has its cause: {later}");
    // At a day's rate, the endurance lasts this many years.
    let years = |written: u64| (ENDURANCE - written) as f64 / written as f64 / 365.0;
    let said = later["data"]["storage"]["lifeYears"].as_f64().unwrap();
    let expected = years(total);
    assert!((said / expected - 1.0).abs() < 0.05, "{said} years, {expected} by what is written");
    let shown = device.command(&["status"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    crate::assert_says(&shown, &["written", "retention", "bookkeeping", "years"]);

    reconnect(&device);
    let told = await_report(&plane, "the wear and the life", |data| {
        data["storage"]["life_years_hundredths"].as_u64().is_some()
    });
    let written = told["storage"]["written"].as_u64().unwrap();
    assert!(written >= total, "{told}");
    let told = told["storage"]["life_years_hundredths"].as_u64().unwrap() as f64 / 100.0;
    let expected = years(written);
    assert!((told / expected - 1.0).abs() < 0.05, "{told} years, {expected} by what is written");
}

/// Asserts which alert fires for these horizons, by cause, if they stay so for ten minutes.
fn alerts(plane: &Plane, firing: &str) {
    let metrics = plane.get("/metrics").text();
    let horizons: Vec<String> = metrics
        .lines()
        .filter(|line| line.starts_with("holdfast_devices_horizon"))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, value)| format!("      - {{ series: '{series}', values: '{value}x10' }}\n"))
        .collect();
    assert!(!horizons.is_empty(), "{metrics}");
    let rules = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../images/prometheus/holdfast.rules.yml");
    let test = format!(
        "rule_files: [{rules:?}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
{}    promql_expr_test:
      - expr: 'count by (alertname, alertstate, cause) (ALERTS{{alertstate=\"firing\"}})'
        eval_time: 9m
        exp_samples: [{firing}]
",
        horizons.concat()
    );
    let test = plane.scratch.write("alerts.yml", test);
    let output = Command::new("promtool").args(["test", "rules"]).arg(&test).output();
    let output = output.expect("promtool; `make test` installs what is missing");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", horizons.concat());
}

#[test]
fn a_horizon_is_reported_with_its_cause_and_the_alert_fires_when_it_is_near() {
    let plane = Plane::start();
    let (device, access, _) = device_with_clock(&plane, "");
    let small = policy("small", "streams: [press], quota: 128Ki");
    plane.cli().apply(&small).ok();
    plane.await_settled("d-1");
    post(&access, "press", &noise(1));
    let began = Instant::now();
    // Nothing fills yet: the certificate ends first, in a month, which causes no alert.
    let status = device.await_status("the horizon", |it| it["data"]["horizon"]["until"].is_u64());
    assert_eq!(status["data"]["horizon"]["cause"], "certificate", "{status}");
    reconnect(&device);
    await_report(&plane, "the certificate", |data| data["horizon"]["cause"] == "certificate");
    let wide = plane.cli().run(&["get", "devices", "-o", "wide"]).ok();
    crate::assert_says(&wide, &["HORIZON", "(certificate)"]);
    let left = plane.metric("holdfast_devices_horizon_seconds{cause=\"certificate\"");
    assert!(left > 20.0 * 86_400.0, "{left} s");
    alerts(&plane, "");

    // A rate is known once as much data came as there is room for.
    let mut published = 1;
    let status = eventually(DEADLINE, "the buffer is what ends it", || {
        post(&access, "press", &noise(20));
        published += 20;
        let status = device.status()?;
        let horizon = &status["data"]["horizon"];
        if horizon["cause"] == "buffer" { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(status["data"]["horizon"]["detail"], "press", "{status}");
    let until = status["data"]["horizon"]["until"].as_u64().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    // The buffer's bytes at this rate; only roughly, since a record is not stored in exactly its
    // length.
    let rate = f64::from(published) * 200.0 / began.elapsed().as_secs_f64();
    let expected = 128.0 * 1024.0 / rate;
    let left = until.saturating_sub(now) as f64;
    println!("{left} s left, {expected} s by what was published");
    assert!((expected / 4.0..expected * 4.0).contains(&left), "{left} s, {expected} s expected");
    reconnect(&device);
    await_report(&plane, "the buffer", |data| data["horizon"]["cause"] == "buffer");
    let wide = plane.cli().run(&["get", "devices", "-o", "wide"]).ok();
    crate::assert_says(&wide, &["HORIZON", "(buffer)"]);
    let metric = plane.metric("holdfast_devices_horizon_seconds{cause=\"buffer\"");
    assert!(metric > 0.0 && metric <= left + 5.0, "{metric} s, {left} s by the device");
    assert_eq!(plane.metric("holdfast_devices_horizon_within{cause=\"buffer\",within=\"1d\""), 1.0);
    let firing = "{ labels: '{alertname=\"HoldfastHorizonNear\",alertstate=\"firing\",cause=\"buffer\"}', value: 1 }";
    alerts(&plane, firing);
    // The horizon was near, but no record was lost.
    let said = await_ledger(&plane, "d-1", "press", "all came", |it| it["received"] == published);
    assert_eq!(missing(&said, "quota"), 0, "{said}");
}
