//! Time at which a device was last heard: any packet counts, and nothing else does.

use std::time::Duration;

use holdfast_control::ports::bus::Bus as _;

use crate::raw::{self, Raw};
use crate::world::{World, id, topic};

const DEV: &str = "acme_dev-1";

/// Longer than the resolution of that time, which is whole seconds.
const SECONDS: Duration = Duration::from_millis(2_100);

#[tokio::test]
async fn any_packet_of_the_device_is_a_sign_of_life_and_none_of_ours() {
    let world = World::new().await;
    let mut device = Raw::connected(&world, 5, DEV).await;
    device.write(&raw::subscribe(5, 1, &topic(DEV, "call"), 0)).await;
    device.packet().await.unwrap();
    let line = world.directory.line(DEV);
    assert_eq!(line.keep_alive(), 60, "what it promised in CONNECT");
    assert!(line.silent() <= 1);
    tokio::time::sleep(SECONDS).await;
    assert!(line.silent() >= 2, "nothing came");
    assert!(world.gateway.call(&id(DEV), "hello".into()));
    device.packet().await.unwrap();
    assert!(line.silent() >= 2, "what goes to it is no sign of life, and neither is TCP's answer");
    device.write(&[0xc0, 0]).await;
    device.packet().await.unwrap();
    assert!(line.silent() <= 1, "a PINGREQ is one");
}
