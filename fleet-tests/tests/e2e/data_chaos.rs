//! Random `kill -9` of either program or both under load, links cut and restored: every
//! acknowledged data record arrives once or stands in the gap ledger, checked one by one.
//!
//! `HOLDFAST_CHAOS_SECONDS` sets the length, `HOLDFAST_SEED` the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::data::{await_ledger, ledger, missing, mqtt, records};
use fleet_tests::harness::publisher::{Access, Http, Mqtt};
use fleet_tests::harness::{Plane, eventually};
use holdfast_agent::core::backoff::Entropy;

/// Values that a publisher published, and whether each was acknowledged.
pub(crate) type Published = Vec<(String, bool)>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Publishes until `over`, each value once: one that was not acknowledged is not tried again.
fn publish(access: &Access, stream: &str, over: &AtomicBool, by_http: bool) -> Published {
    let mut published = Published::new();
    let mut next = 0;
    while !over.load(Ordering::Relaxed) {
        let values: Vec<String> = (0..200)
            .map(|_| {
                next += 1;
                format!("{{\"stream\":\"{stream}\",\"n\":{next},\"pad\":\"{}\"}}", "-".repeat(120))
            })
            .collect();
        let bytes: Vec<Vec<u8>> = values.iter().map(|value| value.clone().into_bytes()).collect();
        let acknowledged = if by_http {
            Http::connect(access).map(|mut http| http.publish(stream, &bytes, 50).acknowledged)
        } else {
            Mqtt::connect(access, stream)
                .map(|mut mqtt| mqtt.publish(stream, &bytes, 100).acknowledged)
        };
        match acknowledged {
            Ok(acknowledged) => published.extend(values.into_iter().zip(acknowledged)),
            // The agent is down just now: nothing was sent.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        // A load, not a flood: tens of thousands of records in a minute.
        std::thread::sleep(Duration::from_millis(150));
    }
    published
}

#[test]
fn whatever_is_killed_every_acknowledged_record_arrives_once_or_stands_in_the_ledger() {
    let seconds = number("HOLDFAST_CHAOS_SECONDS", 60);
    let seed = number("HOLDFAST_SEED", u64::from(std::process::id()));
    let mut chance = Entropy::new(seed);
    let mut below = |end: u64| chance.draw() % end;
    let mut plane = Plane::start();
    let mut device = plane.device("d-1", &["role=a"]);
    device.await_link("up");
    let access = device.access("chaos");
    drop(mqtt(&access, "first"));
    let over = AtomicBool::new(false);
    let streams = [("chaos/one", false), ("chaos/two", false), ("chaos.http", true)];
    let mut faults = BTreeMap::<&str, u32>::new();
    let published: Vec<Published> = std::thread::scope(|scope| {
        let publishers: Vec<_> = streams
            .iter()
            .map(|(stream, by_http)| {
                let (access, over) = (&access, &over);
                scope.spawn(move || publish(access, stream, over, *by_http))
            })
            .collect();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(200 + below(1_800)));
            let fault = match below(6) {
                0 | 1 => {
                    device.kill_agent();
                    "agent"
                }
                2 => {
                    plane.kill();
                    "control plane"
                }
                3 => {
                    device.kill_agent();
                    plane.kill();
                    "both"
                }
                4 => {
                    device.link.cut();
                    "link"
                }
                _ => {
                    device.link.stall();
                    "stall"
                }
            };
            *faults.entry(fault).or_default() += 1;
            std::thread::sleep(Duration::from_millis(below(1_200)));
            if plane.pid().is_none() {
                plane.up();
            }
            if device.pid().is_none() {
                device.up();
            }
            device.link.heal();
        }
        over.store(true, Ordering::Relaxed);
        publishers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    println!("seed {seed}: {faults:?}");
    assert!(faults.len() >= 4 || seconds < 60, "few faults: {faults:?}");
    let mut checked = 0;
    for ((stream, _), published) in streams.iter().zip(&published) {
        checked += check(&plane, "d-1", stream, published);
    }
    assert!(
        checked >= 10_000 || seconds < 60,
        "only {checked} acknowledged records in {seconds} s"
    );
    println!("{checked} acknowledged records checked");
}

/// Asserts that every acknowledged record arrived as it was published, and none twice. Returns how
/// many were acknowledged.
pub(crate) fn check(
    plane: &Plane,
    device: &str,
    stream: &str,
    published: &[(String, bool)],
) -> usize {
    let acknowledged = published.iter().filter(|(_, it)| *it).count();
    // After `kill -9` no written record is lost: numbers in a gap were never acknowledged.
    let what = format!("every acknowledged record of {stream} arrives");
    let found = eventually(Duration::from_secs(120), &what, || {
        let found = records(plane, device, stream);
        let values: BTreeSet<&str> = found.iter().map(|got| got.value.as_str()).collect();
        let lost: Vec<&str> = published
            .iter()
            .filter(|(value, acknowledged)| *acknowledged && !values.contains(value.as_str()))
            .map(|(value, _)| &value[..60])
            .collect();
        if lost.is_empty() {
            return Ok(found);
        }
        let said = ledger(plane, device, stream);
        let (first, last) = (lost.first(), lost.last());
        Err(format!("{} of {acknowledged} not there, {first:?} to {last:?}; {said}", lost.len()))
    });
    let said = await_ledger(plane, device, stream, "all is answered", |it| {
        missing(it, "unknown") == 0 && it["received"].as_u64() >= Some(acknowledged as u64)
    });
    let found =
        if said["received"] == found.len() as u64 { found } else { records(plane, device, stream) };
    assert_eq!(said["received"], found.len() as u64, "{stream}: the ledger counts what is there");
    assert!(found.is_sorted_by(|one, other| one.seq < other.seq), "{stream}: numbers rise");
    let mut values = BTreeSet::new();
    for got in &found {
        assert!(values.insert(got.value.as_str()), "{stream}: twice: {got:?}");
    }
    let known: BTreeSet<&str> = published.iter().map(|(value, _)| value.as_str()).collect();
    assert!(values.is_subset(&known), "{stream}: a record that nobody published");
    acknowledged
}
