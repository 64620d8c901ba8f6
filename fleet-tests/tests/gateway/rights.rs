//! Actions that a device has no right to, byte by byte, in both versions.

use holdfast_protocol::topic::Channel;

use crate::raw::{self, NOTHING, Raw};
use crate::world::{Seen, World, topic, value};

const DEV: &str = "acme_dev-1";

#[tokio::test]
async fn a_foreign_publish_is_refused() {
    let world = World::new().await;
    let topics = [
        topic("acme_dev-2", "state"),
        topic("other_dev-1", "state"),
        topic(DEV, "desired"),
        topic(DEV, "call"),
        topic(DEV, "other"),
        format!("hf/v1/8/{DEV}/state"),
        "state".to_owned(),
        "$SYS/x".to_owned(),
    ];
    let mut v5 = Raw::connected(&world, 5, DEV).await;
    for (id, foreign) in (1_u8..).zip(&topics) {
        v5.write(&raw::publish(5, u16::from(id), foreign, b"x")).await;
        assert_eq!(v5.packet().await.unwrap(), [0x40, 0, id, 0x87], "{foreign}");
    }
    v5.write(&raw::publish(5, 99, &topic(DEV, "state"), b"mine")).await;
    assert_eq!(v5.packet().await.unwrap(), [0x40, 0, 99], "it stays connected");
    for (times, foreign) in (2..).zip(&topics) {
        let mut v3 = Raw::connected(&world, 4, DEV).await;
        world.directory.connection(DEV, times).await;
        v3.write(&raw::publish(4, 1, foreign, b"x")).await;
        assert_eq!(v3.rest().await, NOTHING, "{foreign}: 3.1.1 can only end it");
    }
    assert_eq!(world.directory.payload(DEV, Channel::State).await, "mine");
    let seen = world.directory.seen();
    let received = seen.iter().filter(|seen| matches!(seen, Seen::Received(..))).count();
    assert_eq!(received, 1, "nothing foreign got through");
    let expected = 2 * u64::try_from(topics.len()).unwrap();
    world
        .until("all are counted", |world| {
            value(&world.gateway.counters().refused_topic) == expected
        })
        .await;
}

#[tokio::test]
async fn a_foreign_subscription_is_refused() {
    let world = World::new().await;
    world.directory.set_desired("acme_dev-2", "not yours");
    for (version, code) in [(5, 0x87), (4, 0x80)] {
        let mut device = Raw::connected(&world, version, DEV).await;
        for filter in [
            &topic("acme_dev-2", "desired"),
            "#",
            "+/#",
            "hf/#",
            "hf/v1/7/+/desired",
            "hf/v1/+/acme_dev-1/desired",
            "$SYS/#",
        ] {
            device.write(&raw::subscribe(version, 5, filter, 1)).await;
            let suback = device.packet().await.unwrap();
            assert_eq!((suback[0], suback.last()), (0x90, Some(&code)), "{filter}");
        }
        world.directory.set_desired(DEV, "yours");
        device.write(&raw::subscribe(version, 6, &topic(DEV, "#"), 1)).await;
        assert_eq!(*device.packet().await.unwrap().last().unwrap(), 1);
        let publish = device.packet().await.unwrap();
        assert!(publish.ends_with(b"yours"), "{publish:?}");
    }
}

/// A granted filter is served, although another in the same SUBSCRIBE was refused.
#[tokio::test]
async fn a_mixed_subscription_gets_what_it_may() {
    let world = World::new().await;
    world.directory.set_desired(DEV, "yours");
    let mut device = Raw::connected(&world, 5, DEV).await;
    let mut body = vec![0, 9, 0];
    for filter in [&topic(DEV, "desired"), &topic("acme_dev-2", "desired"), &topic(DEV, "call")] {
        body.extend(raw::text(filter));
        body.push(1);
    }
    device.write(&raw::packet(0x82, &body)).await;
    assert_eq!(device.packet().await.unwrap(), [0x90, 0, 9, 0, 1, 0x87, 1]);
    assert!(device.packet().await.unwrap().ends_with(b"yours"));
    use holdfast_control::ports::bus::Bus as _;
    let call = |payload: &'static [u8]| {
        world.gateway.call(&crate::world::id(DEV), bytes::Bytes::from_static(payload))
    };
    assert!(call(b"do it"), "it has subscribed to its calls");
    assert!(device.packet().await.unwrap().ends_with(b"do it"));

    let mut body = vec![0, 10, 0];
    body.extend(raw::text(&topic(DEV, "call")));
    device.write(&raw::packet(0xa2, &body)).await;
    assert_eq!(device.packet().await.unwrap(), [0xb0, 0, 10, 0, 0]);
    assert!(!call(b"nobody listens"));
}

#[tokio::test]
async fn the_client_id_must_be_the_certificate_s_name() {
    let world = World::new().await;
    let mut victim = Raw::connected(&world, 5, "acme_dev-2").await;
    for (version, code) in [(5, 0x85), (4, 2)] {
        for id in ["acme_dev-2", "", "acme", "acme_dev-1_x", "acme.dev-1"] {
            let mut thief = Raw::new(&world, DEV).await;
            thief.write(&raw::connect(version, id, 60)).await;
            let answer = thief.rest().await;
            assert_eq!((answer[0], answer[3]), (0x20, code), "{id:?} in version {version}");
        }
    }
    victim.write(&[0xc0, 0]).await;
    assert_eq!(victim.packet().await.unwrap(), [0xd0], "its session was not taken");
    assert_eq!(value(&world.gateway.counters().refused_connect), 10);
}

#[tokio::test]
async fn a_foreign_last_will_is_refused() {
    let world = World::new().await;
    for (version, code) in [(5, 0x87), (4, 5)] {
        let will = topic("acme_dev-2", "presence");
        let mut device = Raw::new(&world, DEV).await;
        device.write(&crate::wire::Connect::will(version, DEV, &will, b"x").bytes()).await;
        let answer = device.rest().await;
        assert_eq!((answer[0], answer[3]), (0x20, code));
    }
    assert_eq!(world.directory.seen(), []);
}
