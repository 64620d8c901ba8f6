//! A second connection of the same device: the first ends, and has no further effect.

use std::time::Duration;

use holdfast_control::ports::bus::Bus as _;
use holdfast_protocol::topic::Channel;

use crate::raw::{self, Raw};
use crate::wire::Connect;
use crate::world::{PATIENCE, Seen, Storage, World, id, topic, value};

const DEV: &str = "acme_dev-1";

#[tokio::test]
async fn the_newer_connection_takes_over() {
    let world = World::new().await;
    world.directory.set_desired(DEV, "first");
    for (old, new) in [(5, 5), (4, 5), (5, 4), (4, 4)] {
        let mut older = Raw::new(&world, DEV).await;
        let will = Connect::will(old, DEV, &topic(DEV, "presence"), b"gone").bytes();
        older.write(&will).await;
        older.packet().await.expect("a CONNACK");
        let mut newer = Raw::connected(&world, new, DEV).await;
        let last = older.rest().await;
        let said = (old == 5).then_some((0xe0, 0x8e));
        assert_eq!(last.first().map(|&first| (first, last[2])), said, "from {old} to {new}");
        newer.write(&raw::subscribe(new, 1, &topic(DEV, "desired"), 1)).await;
        assert_eq!(newer.packet().await.unwrap()[0], 0x90);
        assert!(newer.packet().await.unwrap().ends_with(b"first"));
        newer.write(&[0xe0, 0]).await;
        newer.rest().await;
    }
    world.until("all have gone", |world| value(&world.gateway.counters().connections) == 0).await;
    assert_eq!(value(&world.gateway.counters().taken_over), 4);
    let seen = world.directory.seen();
    let wills = seen.iter().filter(|seen| matches!(seen, Seen::Received(..))).count();
    assert_eq!(wills, 0, "who is superseded leaves no testament: the device is there");
}

/// A message for the device goes to its newest connection, and publishes of the older one that are
/// stored late are acknowledged to nobody.
#[tokio::test]
async fn what_was_under_way_disturbs_nobody() {
    let world = World::new().await;
    world.directory.storage(Storage::Hangs);
    let mut older = Raw::connected(&world, 5, DEV).await;
    older.write(&raw::publish(5, 7, &topic(DEV, "state"), b"old")).await;
    assert_eq!(world.directory.payload(DEV, Channel::State).await, "old");
    let mut newer = Raw::connected(&world, 5, DEV).await;
    older.rest().await;
    newer.write(&raw::publish(5, 8, &topic(DEV, "state"), b"new")).await;
    world.until("both hang", |world| world.directory.held() == 2).await;
    assert_eq!(world.directory.release(), 2);
    assert_eq!(newer.packet().await.unwrap(), [0x40, 0, 8]);
    newer.write(&raw::subscribe(5, 1, &topic(DEV, "call"), 1)).await;
    newer.packet().await.unwrap();
    assert!(world.gateway.call(&id(DEV), "you".into()));
    assert!(newer.packet().await.unwrap().ends_with(b"you"));
    newer.silent(Duration::from_millis(100)).await;
}

/// However many connections of one device race, one is left, and the directory knows which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_leaves_one() {
    let world = World::new().await;
    let config = world.pki.client(Some(&world.pki.device(DEV)));
    let mut racers = Vec::new();
    for _ in 0..30 {
        let mut racer = Raw::tls(&world, config.clone()).await.unwrap();
        racers.push(tokio::spawn(async move {
            racer.write(&raw::connect(5, DEV, 60)).await;
            racer.packet().await.expect("a CONNACK");
            // A PINGRESP shows that this connection is the one left; a DISCONNECT that it is not.
            if racer.try_write(&[0xc0, 0]).await.is_err() {
                return None;
            }
            loop {
                let wait = tokio::time::timeout(Duration::from_secs(2), racer.any_packet());
                match wait.await {
                    Ok(None) => return None,
                    Ok(Some(packet)) if packet[0] == 0xe0 => return None,
                    Ok(Some(_)) => {}
                    Err(_) => return Some(racer),
                }
            }
        }));
    }
    let mut left = Vec::new();
    for racer in racers {
        left.extend(tokio::time::timeout(PATIENCE, racer).await.unwrap().unwrap());
    }
    assert_eq!(left.len(), 1);
    assert_eq!(value(&world.gateway.counters().connections), 1);
    let seen = world.directory.seen();
    let newest = seen.iter().filter_map(|seen| match seen {
        Seen::Connected(_, number) => Some(*number),
        _ => None,
    });
    let newest = newest.max().unwrap();
    let ended = |seen: &Seen| matches!(seen, Seen::Disconnected(_, number, _) if *number == newest);
    assert!(!seen.iter().any(ended), "the newest is the one that is left");
    world.gateway.disconnect(&id(DEV));
    assert_eq!(left[0].rest().await.get(2), Some(&0x98));
}
