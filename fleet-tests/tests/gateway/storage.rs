//! A PUBACK means that a publish is stored: it never comes before, and not if storing fails.

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
