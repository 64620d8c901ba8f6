//! Records taken in: once each, acknowledged when they are on disk, whatever devices send.

use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_protocol::codec;
use holdfast_protocol::data::block::pack;
use holdfast_protocol::data::{
    Acknowledgement, Batch, Format, Gap, GapReason, Layout, Record, StreamName,
};
use holdfast_protocol::topic::Channel;

use crate::world::World;

pub fn record(seq: u64) -> Record {
    let value = format!("{{\"n\":{seq}}}").into();
    Record { seq, time: 1_795_000_000_000 + seq * 1_000, format: Format::Plain, value }
}

pub fn of(stream: &str, from: u64, to: u64, records: &[Record]) -> Batch {
    Batch {
        v: holdfast_protocol::WIRE_VERSION,
        stream: stream.parse().unwrap(),
        from,
        to,
        rest: None,
        gaps: Vec::new(),
        block: pack(records, Layout::Rows, true),
    }
}

pub fn batch(stream: &str, from: u64, to: u64) -> Batch {
    let records: Vec<Record> = (from..=to).map(record).collect();
    of(stream, from, to, &records)
}

impl World {
    /// Sends a batch and says whether it was acknowledged on MQTT.
    pub async fn ship(&self, device: &str, batch: &Batch) -> bool {
        self.publish(device, Channel::Data, codec::encode(batch).unwrap()).await
    }

    /// What was acknowledged since this was last asked: (stream, from, to, refused).
    pub fn acked(&self, device: &str) -> Vec<(String, u64, u64, Option<String>)> {
        let acks = std::mem::take(&mut *self.bus.acks.lock().unwrap());
        acks.into_iter()
            .filter(|(id, _)| id.device.as_str() == device)
            .flat_map(|(_, bytes)| codec::decode::<Acknowledgement>(&bytes).unwrap().acked)
            .map(|acked| (acked.stream.to_string(), acked.from, acked.to, acked.refused))
            .collect()
    }

    pub fn tally(&self, device: &str, stream: &str) -> holdfast_control::core::ingest::Tally {
        let stream: StreamName = stream.parse().unwrap();
        let mut found = None;
        self.service.each_stream(|row| {
            if row.device.as_str() == device && row.stream == stream {
                found = Some(row.tally.clone());
            }
        });
        found.unwrap()
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_a_restart() {
    let world = World::new().await;
    world.device("d-1").await;
    assert!(world.ship("d-1", &batch("s", 1, 100)).await);
    assert_eq!(world.acked("d-1"), [("s".into(), 1, 100, None)]);
    assert!(world.ship("d-1", &batch("s", 51, 150)).await);
    assert!(world.ship("d-1", &batch("s", 1, 100)).await);
    assert_eq!(world.acked("d-1").len(), 2);
    let world = world.restart().await;
    assert!(world.ship("d-1", &batch("s", 100, 151)).await);
    let tally = world.tally("d-1", "s");
    assert_eq!((tally.received, tally.kept, tally.highest), (151, 151, 151));
    assert_eq!((tally.duplicates, tally.late, tally.missing()), (50 + 100 + 51, 0, 0));
}

#[tokio::test]
async fn batches_that_can_never_be_stored_are_refused_and_change_nothing() {
    let world = World::new().await;
    world.device("d-1").await;
    let gap = |from, to| Gap { from, to, reason: GapReason::Quota };
    for (batch, said) in [
        (Batch { to: u64::MAX, ..batch("s", 1, 3) }, "numbers 1 to 18446744073709551615"),
        (Batch { from: 9, ..batch("s", 1, 3) }, "numbers 9 to 3"),
        (Batch { from: 2, ..batch("s", 1, 3) }, "record 1 is not within 2 to 3"),
        (Batch { to: 4, ..batch("s", 1, 3) }, "numbers 4 to 4 have neither a record nor a reason"),
        (Batch { gaps: vec![gap(5, 4)], ..batch("s", 1, 3) }, "a gap from 5 to 4"),
        (Batch { gaps: vec![gap(1, u64::MAX)], ..batch("s", 1, 3) }, "no such numbers"),
        (Batch { block: vec![9; 90], ..batch("s", 1, 3) }, "unknown kind"),
    ] {
        assert!(world.ship("d-1", &batch).await, "it is dealt with");
        let acked = world.acked("d-1");
        let [(_, from, to, Some(why))] = acked.as_slice() else { panic!("{acked:?}") };
        assert_eq!((*from, *to), (batch.from, batch.to));
        assert!(why.contains(said), "{said}: {why}");
    }
    let mut streams = 0;
    world.service.each_stream(|_| streams += 1);
    assert_eq!(streams, 0);
    let counters = world.service.counters();
    assert_eq!(counters.batches_refused.load(Ordering::Relaxed), 7);
    assert!(!world.publish("d-1", Channel::Data, vec![0xff; 9]).await);
    assert_eq!(counters.malformed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_device_has_a_thousand_streams_at_most() {
    let world = World::new().await;
    world.device("d-1").await;
    for number in 0..1_000 {
        assert!(world.ship("d-1", &batch(&format!("s/{number}"), 1, 1)).await);
    }
    assert!(world.acked("d-1").iter().all(|(.., refused)| refused.is_none()));
    assert!(world.ship("d-1", &batch("more", 1, 1)).await);
    assert!(world.ship("d-1", &batch("s/7", 2, 2)).await);
    let acked = world.acked("d-1");
    assert!(acked[0].3.as_ref().unwrap().contains("1000 streams"), "{acked:?}");
    assert_eq!(acked[1].3, None);
}

/// The same order each time: a small generator of its own.
fn shuffled<T>(mut items: Vec<T>, mut seed: u64) -> Vec<T> {
    for at in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(at, usize::try_from(seed >> 33).unwrap() % (at + 1));
    }
    items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_batches_repeated_and_reordered_count_once_each() {
    let world = std::sync::Arc::new(World::new().await);
    world.device("d-1").await;
    // 10,000 batches of three numbers of which one stands in a gap; each is sent once, twice or
    // three times, and all in disorder.
    let mut batches = Vec::new();
    for number in 0..10_000_u64 {
        let from = number * 3 + 1;
        let mut one = of("s", from, from + 2, &[record(from), record(from + 2)]);
        one.rest = Some(GapReason::Thinned);
        for _ in 0..=number % 3 {
            batches.push(one.clone());
        }
    }
    let sent = batches.len() as u64;
    let batches = shuffled(batches, 7);
    let lanes: Vec<Vec<Batch>> = batches.chunks(500).map(<[Batch]>::to_vec).collect();
    let mut feed = world.service.read_along(|_, _| true);
    let told = tokio::spawn(async move {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 20_000 {
            for record in &feed.next().await.records {
                assert!(seen.insert(record.seq), "{} is told twice", record.seq);
            }
        }
        feed.missed()
    });
    let mut sending = Vec::new();
    for lane in lanes {
        let world = std::sync::Arc::clone(&world);
        sending.push(tokio::spawn(async move {
            for batch in lane {
                while !world.ship("d-1", &batch).await {}
            }
        }));
    }
    for lane in sending {
        lane.await.unwrap();
    }
    let tally = world.tally("d-1", "s");
    assert_eq!((tally.received, tally.kept), (20_000, 20_000));
    assert_eq!(tally.duplicates, 2 * (sent - 10_000));
    assert_eq!((tally.missing(), tally.unknown()), (10_000, 0));
    let told = tokio::time::timeout(Duration::from_secs(30), told).await.unwrap().unwrap();
    assert_eq!(told, 0);
}

#[tokio::test]
async fn the_data_of_a_deleted_device_goes_and_its_name_begins_anew() {
    let world = World::new().await;
    world.device("d-1").await;
    world.device("d-2").await;
    assert!(world.ship("d-1", &batch("s", 1, 9)).await);
    assert!(world.ship("d-2", &batch("s", 1, 9)).await);
    world.service.delete_device("d-1", "test").await.unwrap();
    assert!(!world.ship("d-1", &batch("s", 10, 19)).await, "nobody knows it any more");
    world.device("d-1").await;
    assert!(world.ship("d-1", &batch("s", 1, 2)).await);
    assert_eq!(world.tally("d-1", "s").received, 2);
    assert_eq!(world.tally("d-2", "s").received, 9);
    let world = world.restart().await;
    assert_eq!(world.tally("d-1", "s").received, 2);
}
