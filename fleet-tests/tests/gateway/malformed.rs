//! Each malformed packet of the session's table, sent over TLS: the right answer, the end of that
//! connection, and no effect on another device.

use holdfast_control::adapters::gateway::Limits;
use holdfast_protocol::topic::Channel;

use crate::raw::{self, Raw};
use crate::table::{MAX_PACKET, cases, read};
use crate::wire::NAME;
use crate::world::{Seen, World, topic, value};

#[tokio::test]
async fn every_malformed_packet_is_answered_and_ends_its_connection_alone() {
    let world = World::with(Limits { max_packet: MAX_PACKET, ..Limits::default() }).await;
    let mut bystander = Raw::connected(&world, 5, "acme_bystander").await;
    let config = world.pki.client(Some(&world.pki.device(NAME)));
    for (number, case) in cases().into_iter().enumerate() {
        let what = &case.what;
        let mut client = Raw::tls(&world, config.clone()).await.unwrap();
        if let Some(version) = case.connected {
            client.write(&raw::connect(version, NAME, 60)).await;
            let connack = client.packet().await.expect("a CONNACK");
            assert_eq!((connack[0], connack[2]), (0x20, 0), "{what}");
        }
        // The server may close while the rest of a hostile packet is still on its way.
        drop(client.try_write(&case.bytes).await);
        assert_eq!(read(&client.rest().await), case.gets, "{what}");

        bystander.write(&[0xc0, 0]).await;
        assert_eq!(bystander.packet().await.unwrap(), [0xd0], "{what}");
        if number % 50 == 0 {
            bystander.write(&raw::publish(5, 1, &topic("acme_bystander", "state"), b"x")).await;
            assert_eq!(bystander.packet().await.unwrap(), [0x40, 0, 1], "{what}");
        }
    }
    assert_eq!(world.directory.payload("acme_bystander", Channel::State).await, "x");
    let ends = |seen: &Seen| matches!(seen, Seen::Disconnected(who, ..) if who == "acme_bystander");
    assert!(!world.directory.seen().iter().any(ends));
    world.until("one is left", |world| value(&world.gateway.counters().connections) == 1).await;
    assert_eq!(value(&world.gateway.counters().handshakes), 0);
    assert!(value(&world.gateway.counters().protocol_errors) > 100);
    assert!(value(&world.gateway.counters().refused_connect) > 100);
}
