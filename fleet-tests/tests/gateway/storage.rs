//! The gateway's PUBACK comes when a publish is stored, never before, and not if storing fails; the
//! acknowledgement of a report goes out with it.

use std::time::Duration;

use holdfast_protocol::topic::Channel;

use crate::raw::{self, NOTHING, Raw};
use crate::world::{Storage, World, topic, value};

const DEV: &str = "acme_dev-1";

#[tokio::test]
async fn what_is_not_stored_is_not_acknowledged() {
    let world = World::new().await;
    for version in [5, 4] {
        world.directory.storage(Storage::Hangs);
        let mut device = Raw::connected(&world, version, DEV).await;
        device.write(&raw::publish(version, 1, &topic(DEV, "state"), b"x")).await;
        world.until("it hangs", |world| world.directory.held() == 1).await;
        device.silent(Duration::from_millis(100)).await;
        world.directory.release();
        assert_eq!(device.packet().await.unwrap(), [0x40, 0, 1]);

        world.directory.storage(Storage::Fails);
        device.write(&raw::publish(version, 2, &topic(DEV, "state"), b"y")).await;
        if version == 5 {
            assert_eq!(device.packet().await.unwrap(), [0x40, 0, 2, 0x80]);
        } else {
            assert_eq!(device.rest().await, NOTHING, "3.1.1 has no word for it");
        }
    }
    assert_eq!(value(&world.gateway.counters().not_stored), 2);
}

/// Returns a CONNECT of version 5 that accepts 3 topic aliases.
fn connect_with_aliases() -> Vec<u8> {
    let mut body = raw::text("MQTT");
    body.extend([5, 2, 0, 60, 3, 0x22, 0, 3]);
    body.extend(raw::text(DEV));
    raw::packet(0x10, &body)
}

/// A report's acknowledgement and the PUBACK come in one TLS record, and cost 17 bytes together.
#[tokio::test]
async fn the_acknowledgement_of_a_report_comes_with_its_puback_and_costs_13_bytes() {
    let world = World::new().await;
    world.directory.storage(Storage::Acknowledges);
    let mut device = Raw::new(&world, DEV).await;
    device.write(&connect_with_aliases()).await;
    assert_eq!(device.packet().await.unwrap()[..3], [0x20, 0, 0]);
    device.write(&raw::subscribe(5, 1, &topic(DEV, "ack"), 0)).await;
    assert_eq!(device.packet().await.unwrap()[0], 0x90);
    let payload = [0x82, 1, 0x19, 1, 44];
    for number in 1..=3 {
        device.write(&raw::publish(5, number, &topic(DEV, "state"), b"x")).await;
        // One read of the TLS stream returns one record.
        let mut record = [0; 256];
        let size = device.read_some(&mut record).await;
        let puback = [0x40, 2, 0, u8::try_from(number).unwrap()];
        let mut named = raw::text(&topic(DEV, "ack"));
        if number > 1 {
            named = vec![0, 0];
        }
        let ack = raw::packet(0x30, &[&named[..], &[3, 0x23, 0, 1], &payload].concat());
        assert_eq!(record[..size], [&puback[..], &ack].concat(), "{number}");
        assert!(number == 1 || ack.len() == 13, "{}", ack.len());
    }
}

/// A device that publishes more than is stored is not read from; another device is.
#[tokio::test]
async fn a_full_window_holds_back_its_device_alone() {
    let world = World::new().await;
    world.directory.storage(Storage::Hangs);
    let mut eager = Raw::connected(&world, 4, "acme_eager").await;
    for id in 1..=100 {
        eager.write(&raw::publish(4, id, &topic("acme_eager", "state"), b"x")).await;
    }
    world.until("its window is full", |world| world.directory.held() == 16).await;
    let mut other = Raw::connected(&world, 5, DEV).await;
    other.write(&raw::publish(5, 1, &topic(DEV, "state"), b"mine")).await;
    assert_eq!(world.directory.payload(DEV, Channel::State).await, "mine");
    assert_eq!(world.directory.held(), 17);
    world.directory.storage(Storage::Works);
    world.directory.release();
    assert_eq!(other.packet().await.unwrap(), [0x40, 0, 1]);
    for _ in 1..=100 {
        assert_eq!(eager.packet().await.unwrap()[..2], [0x40, 0]);
    }
}
