//! Data in trouble: quotas, times to live and clocks, full disks, damaged files. Workloads run on,
//! nothing crashes repeatedly, and no record is lost without a report.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use fleet_tests::harness::publisher::Access;
use fleet_tests::harness::{DEADLINE, Device, Plane, SmallDisk, eventually, holds_for, processes};
use fleet_tests::telemetry::{self, Telemetry};

use crate::data::{await_ledger, http, ledger, missing, mqtt, noise, policy, post, records};
use crate::{await_copies, marker, sleeper};

/// Returns a device with a workload that must run on, whatever happens to data.
fn device(plane: &Plane) -> (Device, Access, String) {
    let device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let marker = marker();
    plane.cli().apply(&sleeper("steady", "a", &marker)).ok();
    device.await_phase("steady", "running");
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    (device, access, marker)
}

/// Asserts that every number is received or in the ledger with this reason, and that received
/// records are right. Returns the received numbers.
fn accounted(plane: &Plane, stream: &str, all: &[Vec<u8>], reason: &str) -> Vec<u64> {
    let count = all.len() as u64;
    let said = await_ledger(plane, "d-1", stream, "every number is answered", |it| {
        it["received"].as_u64().unwrap_or(0) + missing(it, reason) == count
    });
    let ranges = said["missing"].as_array().unwrap();
    assert!(ranges.iter().all(|range| range["reason"] == reason), "{said}");
    let found = records(plane, "d-1", stream);
    assert_eq!(found.len() as u64, said["received"].as_u64().unwrap(), "{stream}");
    for got in &found {
        let published = &all[usize::try_from(got.seq - 1).unwrap()];
        assert_eq!(got.value.as_bytes(), published.as_slice(), "{stream} {}", got.seq);
    }
    found.iter().map(|got| got.seq).collect()
}

#[test]
fn what_a_quota_drops_stands_in_the_ledger_and_the_policy_says_which() {
    let plane = Plane::start();
    let (device, access, steady) = device(&plane);
    let mut documents = Vec::new();
    for (name, overflow) in [
        ("oldest", "drop-oldest"),
        ("newest", "drop-newest"),
        ("thin", "{ thin: { keepEvery: 4 } }"),
    ] {
        documents
            .push(policy(name, &format!("streams: [{name}], quota: 512Ki, overflow: {overflow}")));
    }
    plane.cli().apply(&documents.join("---\n")).ok();
    plane.await_settled("d-1");
    device.link.cut();
    device.await_link("down");
    let all = Telemetry::new(5, 1_795_478_400_000, 1_000).records(30_000);
    for stream in ["oldest", "thin"] {
        post(&access, stream, &all);
    }
    // A 200 means that the record is on disk: records that the policy drops on arrival get none.
    let (mut stored, mut dropped) = (0, 0);
    let mut way = http(&access);
    for piece in all.chunks(500) {
        let answer = way.post_records("newest", piece).unwrap();
        match answer.status {
            200 => stored += piece.len(),
            507 => {
                let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(said["error"]["code"], "quota", "{said}");
                assert_eq!(said["error"]["dropped"], piece.len(), "{said}");
                dropped += piece.len();
            }
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert_eq!(stored + dropped, all.len());
    device.await_problem("intake-refused");
    assert_eq!(await_copies(&steady, 1).len(), 1);
    device.link.heal();
    let last = all.len() as u64;
    let oldest = accounted(&plane, "oldest", &all, "quota");
    assert!((500..29_000).contains(&oldest.len()), "{} are there", oldest.len());
    assert!(oldest.windows(2).all(|pair| pair[0] + 1 == pair[1]), "the newest, without a hole");
    assert_eq!(oldest.last(), Some(&last));
    let newest = accounted(&plane, "newest", &all, "quota");
    assert!((500..29_000).contains(&newest.len()), "{} are there", newest.len());
    assert_eq!(newest.first(), Some(&1), "the first ones stay");
    assert_eq!(newest.len(), stored, "what was acknowledged, and nothing else");
    // Thinned: all of the newest records, some of the oldest.
    let said = await_ledger(&plane, "d-1", "thin", "every number is answered", |it| {
        let gone = missing(it, "thinned") + missing(it, "quota");
        it["received"].as_u64().unwrap_or(0) + gone == last
    });
    assert!(missing(&said, "thinned") > 1_000, "{said}");
    let thin: Vec<u64> = records(&plane, "d-1", "thin").iter().map(|got| got.seq).collect();
    assert_eq!(thin.last(), Some(&last));
    assert!(thin.windows(2).any(|pair| pair[1] - pair[0] >= 4), "some are left out between");
    assert_eq!(await_copies(&steady, 1).len(), 1);
}

#[test]
fn nothing_expires_by_a_wrong_clock_and_what_expires_stands_in_the_ledger() {
    let plane = Plane::start();
    let (mut device, access, steady) = device(&plane);
    plane.cli().apply(&policy("short", "streams: [short], ttl: 1h")).ok();
    plane.await_settled("d-1");
    device.link.cut();
    device.await_link("down");
    let all = Telemetry::new(6, 1_795_478_400_000, 1_000).records(4_000);
    post(&access, "short", &all[..2_000]);
    // Power off, and on again with a clock at 1970: nothing expires by it.
    device.power_off();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), format!("-{now}"));
    device.up();
    await_copies(&steady, 1);
    drop(mqtt(&access, "second"));
    post(&access, "short", &all[2_000..3_000]);
    // The opposite: the battery is empty, the clock 40 years ahead, beyond the certificate.
    device.power_off();
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), (40 * 365 * 86_400_u64).to_string());
    device.up();
    await_copies(&steady, 1);
    drop(mqtt(&access, "third"));
    post(&access, "short", &all[3_000..]);
    std::thread::sleep(Duration::from_secs(2));
    device.power_off();
    device.env.remove("HOLDFAST_TEST_CLOCK_OFFSET");
    device.up();
    device.link.heal();
    let there = accounted(&plane, "short", &all, "expired");
    assert_eq!(there.len(), 4_000, "an hour has not passed for any of it");
    // Two hours off, by a correct clock: the records have expired.
    device.link.cut();
    device.await_link("down");
    let more = Telemetry::new(7, 1_795_478_400_000, 1_000).records(1_500);
    post(&access, "short", &more);
    device.power_off();
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), 7_200.to_string());
    device.up();
    await_waiting(&device, "short", 0);
    device.link.heal();
    let said = await_ledger(&plane, "d-1", "short", "every number is answered", |it| {
        it["received"].as_u64().unwrap_or(0) + missing(it, "expired") == 5_500
    });
    assert_eq!(missing(&said, "expired"), 1_500, "{said}");
    assert_eq!(await_copies(&steady, 1).len(), 1);
}

/// Waits until `records` records of a stream wait on the device.
fn await_waiting(device: &Device, stream: &str, records: u64) {
    device.await_status(&format!("{records} of {stream} wait"), |status| {
        status["data"]["streams"][stream]["waiting"] == records
    });
}

#[test]
fn what_was_published_before_the_clock_was_set_does_not_expire_when_it_is() {
    let plane = Plane::start();
    let (mut device, access, steady) = device(&plane);
    plane.cli().apply(&policy("short", "streams: [short], ttl: 1h")).ok();
    plane.await_settled("d-1");
    device.link.cut();
    device.await_link("down");
    let all = Telemetry::new(10, 1_795_478_400_000, 1_000).records(3_000);
    post(&access, "short", &all[..1_000]);
    // Off for three days; the clock begins in 1970, and the device at the time that it saw last.
    device.power_off();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let clock = plane.scratch.write("clock", format!("-{now}"));
    device.env.insert("HOLDFAST_TEST_CLOCK_OFFSET".into(), clock.display().to_string());
    device.up();
    await_copies(&steady, 1);
    device.await_problem("clock");
    drop(mqtt(&access, "second"));
    post(&access, "short", &all[1_000..2_000]);
    device.kill_agent();
    device.up();
    drop(mqtt(&access, "third"));
    post(&access, "short", &all[2_000..]);
    // The clock is set. Records three days old expire, those of the last minute do not.
    fs::write(&clock, (3 * 86_400).to_string()).unwrap();
    device.await_healed("clock");
    await_waiting(&device, "short", 2_000);
    device.kill_agent();
    device.up();
    device.link.heal();
    let there = accounted(&plane, "short", &all, "expired");
    assert!(there.iter().copied().eq(1_001..=3_000), "{} are there", there.len());
    assert_eq!(await_copies(&steady, 1).len(), 1);
}

#[test]
fn a_full_disk_refuses_records_stops_nothing_and_heals() {
    let plane = Plane::start();
    let disk = SmallDisk::mount(&plane.scratch.join("disk"), "48m");
    let mut device = plane.bare_device("d-1");
    device.set_data(plane.scratch.join("disk/d-1"));
    device.enrol(&plane.token(&[]), &["role=a"]).ok();
    device.up();
    device.await_link("up");
    let steady = marker();
    plane.cli().apply(&sleeper("steady", "a", &steady)).ok();
    await_copies(&steady, 1);
    let access = device.access("plc");
    drop(mqtt(&access, "first"));
    device.link.cut();
    device.await_link("down");
    let all = Telemetry::new(8, 1_795_478_400_000, 1_000).records(9_000);
    post(&access, "line", &all[..2_000]);
    disk.fill();
    // Refused with a reason, or accepted in place of older ones; never dropped silently.
    let mut acknowledged = 2_000;
    let mut refused = None;
    for piece in all[2_000..6_000].chunks(500) {
        let answer = http(&access).post_records("line", piece).unwrap();
        match answer.status {
            200 => acknowledged += piece.len() as u64,
            507 | 429 => refused = Some(answer),
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert_eq!(await_copies(&steady, 1).len(), 1, "the workload runs on");
    let pid = device.pid();
    device.restart();
    assert_ne!(device.pid(), pid);
    device.await_link("down");
    holds_for(Duration::from_secs(3), "no crash loop on a full disk", || {
        if device.status().is_ok() { Ok(()) } else { Err("the agent does not answer".into()) }
    });
    disk.free();
    eventually(DEADLINE, "records are taken again", || {
        let answer = http(&access).post_records("line", &all[6_000..7_000]).unwrap();
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    acknowledged += 1_000;
    device.link.heal();
    let said = await_ledger(&plane, "d-1", "line", "every acknowledged record is answered", |it| {
        let gone = missing(it, "disk-full") + missing(it, "quota") + missing(it, "damaged");
        missing(it, "unknown") == 0 && it["received"].as_u64().unwrap_or(0) + gone >= acknowledged
    });
    let numbers: BTreeSet<u64> = records(&plane, "d-1", "line")
        .iter()
        .filter_map(|got| telemetry::number(got.value.as_bytes()))
        .collect();
    let lost = (1..=2_000).chain(6_001..=7_000).filter(|n| !numbers.contains(n)).count() as u64;
    let told = missing(&said, "disk-full") + missing(&said, "quota") + missing(&said, "damaged");
    assert!(lost <= told, "{lost} are not there, {told} are told: {said}; refused: {refused:?}");
    assert_eq!(await_copies(&steady, 1).len(), 1);
}

/// Damages `data.redb` while the agent is off, and asserts that the agent goes on.
fn damaged(what: &str, harm: impl Fn(&std::path::Path)) {
    let plane = Plane::start();
    let (mut device, access, steady) = device(&plane);
    let pids = await_copies(&steady, 1);
    device.link.cut();
    device.await_link("down");
    let all = Telemetry::new(9, 1_795_478_400_000, 1_000).records(21_000);
    post(&access, "line", &all[..20_000]);
    device.kill_agent();
    harm(&device.data().join("data.redb"));
    device.up();
    drop(mqtt(&access, "second"));
    post(&access, "line", &all[20_000..]);
    device.link.heal();
    device.await_link("up");
    // New records come, with numbers that were never assigned before; each old one came or is in
    // the ledger as damaged.
    let said = await_ledger(&plane, "d-1", "line", "every number is answered", |it| {
        let answered = it["received"].as_u64().unwrap_or(0) + missing(it, "damaged");
        missing(it, "unknown") == 0 && answered >= 21_000
    });
    let found =
        eventually(DEADLINE, &format!("{what}: what was published afterwards arrives"), || {
            let found = records(&plane, "d-1", "line");
            let numbers: Vec<u64> =
                found.iter().filter_map(|got| telemetry::number(got.value.as_bytes())).collect();
            let new = numbers.iter().filter(|n| **n > 20_000).count();
            if new == 1_000 { Ok(found) } else { Err(format!("{new} of 1,000; {said}")) }
        });
    for got in &found {
        let number = telemetry::number(got.value.as_bytes()).unwrap();
        let published = &all[usize::try_from(number - 1).unwrap()];
        assert_eq!(got.value.as_bytes(), published.as_slice(), "{what}: {} is changed", got.seq);
        assert!(number > 20_000 || got.seq == number, "{what}: a number was given twice");
        assert!(number <= 20_000 || got.seq > 20_000, "{what}: a number was given twice");
    }
    let old = found.len() as u64 - 1_000;
    assert!(old == 20_000 || missing(&said, "damaged") >= 20_000 - old, "{what}: {old}; {said}");
    // Numbers that were never assigned are not reported as lost, except for those below the raised
    // ceiling.
    assert!(missing(&said, "damaged") <= 2 * 20_000 + 256, "{what}: {said}");
    assert_eq!(await_copies(&steady, 1), pids, "{what}: the workload was not touched");
    assert!(device.is_up(), "{what}: the agent runs");
}

#[test]
fn a_truncated_buffer_is_set_aside_and_its_loss_stands_in_the_ledger() {
    damaged("cut in the middle", |file| {
        let length = fs::metadata(file).unwrap().len();
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length / 2).unwrap();
    });
    damaged("empty", |file| fs::write(file, b"").unwrap());
}

#[test]
fn a_buffer_with_flipped_bits_loses_nothing_silently() {
    for seed in [1_u64, 2] {
        damaged("flipped bits", |file| {
            let length = fs::metadata(file).unwrap().len();
            let handle = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
            let mut chance = holdfast_agent::core::backoff::Entropy::new(seed);
            for _ in 0..20 {
                let at = chance.draw() % length;
                let mut byte = [0];
                handle.read_exact_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << (chance.draw() % 8);
                handle.write_all_at(&byte, at).unwrap();
            }
        });
    }
    damaged("a header of noise", |file| {
        let handle = fs::OpenOptions::new().write(true).open(file).unwrap();
        handle.write_all_at(&[0xa5; 512], 0).unwrap();
    });
}

/// Returns how long a log takes to arrive.
fn log_call(plane: &Plane) -> Duration {
    let began = std::time::Instant::now();
    plane.cli().run(&["logs", "d-1", "steady"]).ok();
    began.elapsed()
}

#[test]
fn a_backlog_on_a_slow_link_delays_no_change_by_more_than_a_batch() {
    let plane = Plane::start();
    let (device, access, steady) = device(&plane);
    let idle = (0..3).map(|_| log_call(&plane)).max().unwrap();
    device.link.cut();
    device.await_link("down");
    let all = noise(20_000);
    post(&access, "noise", &all);
    let rate = 8 * 1024;
    device.link.rate(Some(rate));
    device.link.heal();
    plane.await_connection("d-1", "online");
    let up = device.link.up();
    eventually(DEADLINE, "the backlog drains", || {
        let now = device.link.up() - up;
        if now > 48 * 1024 { Ok(()) } else { Err(format!("{now} bytes")) }
    });
    // The smallest batch takes two seconds here, so none is larger: 16 KiB, a quarter more at most,
    // and its headers.
    let batch = Duration::from_secs_f64(21.0 / 8.0);
    // A message to the control plane waits for the batch in flight: for a whole one at most; with
    // two in flight, for a whole one and part of another.
    let pause = |round: u64| std::thread::sleep(Duration::from_millis(150 * (round % 4)));
    let waits: Vec<Duration> = (0..12)
        .map(|round| {
            pause(round);
            log_call(&plane)
        })
        .collect();
    println!("a log's way up at 8 KiB/s, without data {idle:?}, behind a backlog {waits:?}");
    let bound = batch + idle + Duration::from_millis(500);
    assert!(waits.iter().all(|it| *it < bound), "more than a batch ({bound:?}): {waits:?}");
    let mut delays = Vec::new();
    for round in 0..3 {
        let marker = marker();
        let began = std::time::Instant::now();
        plane.cli().apply(&sleeper(&format!("w-{round}"), "a", &marker)).ok();
        await_copies(&marker, 1);
        let ran = began.elapsed();
        plane.await_phase("d-1", &format!("w-{round}"), "running");
        delays.push((ran, began.elapsed()));
    }
    println!("applied to running, to reported: {delays:?}");
    let still = ledger(&plane, "d-1", "noise");
    assert!(still["received"].as_u64().unwrap_or(0) < 20_000, "the backlog was there: {still}");
    for (ran, reported) in delays {
        assert!(ran < batch + Duration::from_secs(2), "a change waited {ran:?} behind data");
        // The start and the running are both reported: a batch goes before each.
        let most = batch * 2 + Duration::from_secs(4);
        assert!(reported < most, "reports waited {reported:?} behind data");
    }
    device.link.rate(None);
    await_ledger(&plane, "d-1", "noise", "all is there", |it| it["received"] == 20_000);
    assert_eq!(processes::with_argument(&steady).len(), 1);
}
