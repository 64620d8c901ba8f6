//! Control plane killed -9 while data records come in, and its data store damaged: every
//! acknowledged record is there, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleet_tests::harness::{DEADLINE, Plane, eventually};
use fleet_tests::sim::packets::{self, kind};
use fleet_tests::sim::{Identity, Raw, enrolling, identity};
use holdfast_base::codec;
use holdfast_records::block::pack;
use holdfast_records::{Acknowledgement, Batch, Format, GapReason, Layout, Record};

/// Sequence numbers of one batch; every fifth is in a gap.
const SIZE: u64 = 20;

/// Number of batches in flight.
const IN_FLIGHT: usize = 6;

fn batch(stream: &str, from: u64) -> Batch {
    let to = from + SIZE - 1;
    let records: Vec<Record> = (from..=to)
        .filter(|seq| seq % 5 != 0)
        .map(|seq| {
            let value = format!("{{\"n\":{seq}}}").into();
            Record { seq, time: 1_795_000_000_000 + seq, format: Format::Plain, value }
        })
        .collect();
    Batch {
        v: holdfast_base::WIRE_VERSION,
        stream: stream.parse().unwrap(),
        from,
        to,
        rest: Some(GapReason::Thinned),
        gaps: Vec::new(),
        fetched: false,
        doubt: false,
        block: pack(&records, Layout::Rows, true),
    }
}

/// Device that ships data and does nothing else.
struct Shipper<'a> {
    identity: &'a Identity,
    broker: SocketAddr,
    /// Acknowledged batches: stream and first number.
    acked: &'a Mutex<BTreeSet<(String, u64)>>,
}

impl Shipper<'_> {
    /// Sends the waiting batches until all are acknowledged or the link breaks.
    fn ship(&self, waiting: &mut VecDeque<(String, u64)>) -> io::Result<()> {
        let (mut raw, reason) = Raw::connect(self.broker, self.identity)?;
        if reason != 0 {
            return Err(io::Error::other(format!("refused with {reason:#04x}")));
        }
        raw.send(&packets::subscribe(1, &self.identity.topic("ack")))?;
        raw.await_kind(kind::SUBACK)?;
        let topic = self.identity.topic("data");
        let (mut sent, mut id) = (0, 1_u16);
        while !waiting.is_empty() {
            while sent < IN_FLIGHT.min(waiting.len()) {
                let (stream, from) = &waiting[sent];
                id = id % 60_000 + 1;
                let payload = codec::encode(&batch(stream, *from)).unwrap();
                raw.send(&packets::publish(&topic, id, false, &payload))?;
                sent += 1;
            }
            let packet = raw.await_kind(kind::PUBLISH)?;
            let Some(publish) = packet.publish(5) else { continue };
            if publish.id != 0 {
                raw.send(&packets::puback(publish.id))?;
            }
            let said: Acknowledgement =
                codec::decode(&publish.payload).map_err(io::Error::other)?;
            for acked in said.acked {
                assert_eq!(acked.refused, None);
                let key = (acked.stream.to_string(), acked.from);
                if let Some(at) = waiting.iter().position(|waits| *waits == key) {
                    waiting.remove(at);
                    sent -= usize::from(at < sent);
                }
                self.acked.lock().unwrap().insert(key);
            }
            if said.hold_ms > 0 {
                // A batch that did not fit is sent again over the next connection.
                return Err(io::Error::other("asked to hold back"));
            }
        }
        Ok(())
    }

    /// Publishes two streams until `over`; the second one backwards in bursts.
    fn run(&self, over: &AtomicBool) -> BTreeMap<String, u64> {
        let mut next = BTreeMap::from([("a".to_owned(), 1), ("b/c".to_owned(), 1)]);
        let mut waiting: VecDeque<(String, u64)> = VecDeque::new();
        loop {
            let stop = over.load(Ordering::Relaxed);
            if waiting.is_empty() && !stop {
                for (stream, next) in &mut next {
                    let mut burst: Vec<_> =
                        (0..8).map(|at| (stream.clone(), *next + at * SIZE)).collect();
                    *next += 8 * SIZE;
                    if stream != "a" {
                        burst.reverse();
                    }
                    waiting.extend(burst);
                }
            }
            if waiting.is_empty() {
                return next;
            }
            if self.ship(&mut waiting).is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn numbers(plane: &Plane, device: &str, stream: &str) -> Vec<u64> {
    let text = plane.cli().run(&["data", "get", device, stream, "-o", "ndjson"]).ok();
    text.lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["value"]["n"], record["seq"], "{line}");
            record["seq"].as_u64().unwrap()
        })
        .collect()
}

#[test]
fn records_that_were_acknowledged_survive_kill_9_again_and_again_once_each() {
    let mut plane = Plane::start();
    let token = plane.token(&["--uses", "1"]);
    let identity =
        Identity::enrol(&plane.https(), identity::new_key(), &token, Some("d-1")).unwrap();
    let api = enrolling::address(&plane.cli().url).unwrap();
    let broker = enrolling::broker(api, &identity).unwrap();
    let (over, acked) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let shipper = Shipper { identity: &identity, broker, acked: &acked };
    let sent = std::thread::scope(|scope| {
        let shipping = scope.spawn(|| shipper.run(&over));
        for round in 1..=6 {
            // Kills in the middle of it, not before it has begun.
            eventually(DEADLINE, "batches are acknowledged", || {
                let count = acked.lock().unwrap().len();
                if count > round * 40 { Ok(()) } else { Err(format!("{count} batches")) }
            });
            std::thread::sleep(Duration::from_millis(31 * u64::try_from(round).unwrap()));
            plane.kill();
            plane.up();
        }
        over.store(true, Ordering::Relaxed);
        shipping.join().unwrap()
    });
    for (stream, next) in sent {
        let expected: Vec<u64> = (1..next).filter(|seq| seq % 5 != 0).collect();
        let acked = acked.lock().unwrap();
        let all = acked.iter().filter(|(of, _)| *of == stream).count();
        assert_eq!(u64::try_from(all).unwrap() * SIZE, next - 1, "all were acknowledged");
        assert_eq!(numbers(&plane, "d-1", &stream), expected, "once each");
        let ledger = plane.cli().run(&["data", "ledger", "d-1", &stream, "-o", "json"]).json();
        assert_eq!(ledger["received"], expected.len(), "{ledger}");
        let missing: u64 = ledger["missing"]
            .as_array()
            .unwrap()
            .iter()
            .map(|gap| {
                assert_eq!(gap["reason"], "thinned");
                gap["to"].as_u64().unwrap() - gap["from"].as_u64().unwrap() + 1
            })
            .sum();
        assert_eq!(missing, (next - 1) / 5, "{ledger}");
    }
}

#[test]
fn a_damaged_data_store_is_set_aside_said_and_streams_go_on() {
    let mut plane = Plane::start();
    let token = plane.token(&["--uses", "1"]);
    let identity =
        Identity::enrol(&plane.https(), identity::new_key(), &token, Some("d-1")).unwrap();
    let api = enrolling::address(&plane.cli().url).unwrap();
    let broker = enrolling::broker(api, &identity).unwrap();
    let acked = Mutex::new(BTreeSet::new());
    let shipper = Shipper { identity: &identity, broker, acked: &acked };
    shipper.ship(&mut VecDeque::from([("a".to_owned(), 1)])).unwrap();
    assert_eq!(numbers(&plane, "d-1", "a").len(), 16);
    plane.stop();
    let path = plane.data().join("data.redb");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 3).unwrap();
    drop(file);
    plane.up();
    eventually(DEADLINE, "it is said", || {
        let ready = plane.get("/readyz");
        let said = ready.text();
        let good =
            ready.status == 200 && said.starts_with("ready\n") && said.contains("data.damaged");
        if good { Ok(()) } else { Err(format!("{} {said}", ready.status)) }
    });
    assert!(plane.metric("holdfast_data_store_trouble ") > 0.0);
    assert!(plane.data().join("data.damaged").exists());
    eventually(DEADLINE, "data comes in", || {
        let mut waiting = VecDeque::from([("a".to_owned(), 21)]);
        shipper.ship(&mut waiting).map_err(|error| error.to_string())
    });
    assert_eq!(
        numbers(&plane, "d-1", "a"),
        [21, 22, 23, 24, 26, 27, 28, 29, 31, 32, 33, 34, 36, 37, 38, 39]
    );
    let ledger = plane.cli().run(&["data", "ledger", "d-1", "a", "-o", "json"]).json();
    let gap = &ledger["missing"][0];
    assert_eq!((gap["from"].as_u64(), gap["to"].as_u64()), (Some(1), Some(20)), "{ledger}");
    assert_eq!(gap["reason"], "unknown");
    std::fs::remove_file(plane.data().join("data.damaged")).unwrap();
    assert_eq!(plane.get("/readyz").text(), "ready\n");
}
