//! rumqttc, version 5: the client that the agent uses.

use bytes::Bytes;
use holdfast_control::ports::bus::Bus;
use holdfast_protocol::topic::Channel;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{ConnectReturnCode, LastWill, Packet, Publish};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, PublishOptions, TlsConfiguration,
    Transport,
};
use tokio::sync::mpsc;

use crate::pki::Credentials;
use crate::world::{PATIENCE, World, id, topic};

fn options(world: &World, device: &Credentials) -> MqttOptions {
    let mut options = MqttOptions::new(&device.name, ("localhost", world.address.port()));
    let tls = TlsConfiguration::Rustls(world.pki.client(Some(device)));
    options.set_transport(Transport::tls_with_config(tls));
    options.set_keep_alive(60);
    options.set_clean_start(true);
    options
}

/// Drives the event loop, and hands on what is published.
fn drive(mut events: EventLoop) -> mpsc::UnboundedReceiver<Result<Publish, String>> {
    let (out, incoming) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let item = match events.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => Ok(publish),
                Ok(_) => continue,
                Err(error) => Err(format!("{error:?}")),
            };
            let over = item.is_err();
            if out.send(item).is_err() || over {
                break;
            }
        }
    });
    incoming
}

async fn next(incoming: &mut mpsc::UnboundedReceiver<Result<Publish, String>>) -> Publish {
    let next = tokio::time::timeout(PATIENCE, incoming.recv()).await;
    next.expect("a message in time").expect("the event loop runs").expect("no error")
}

#[tokio::test]
async fn subscribes_to_desired_and_publishes_state() {
    let world = World::new().await;
    world.directory.set_desired("acme_dev-1", "first");
    let device = world.pki.device("acme_dev-1");
    let (client, events) = AsyncClient::builder(options(&world, &device)).capacity(10).build();
    let mut incoming = drive(events);
    client.subscribe(topic("acme_dev-1", "desired"), QoS::AtLeastOnce).await.unwrap();

    let first = next(&mut incoming).await;
    assert_eq!((&first.payload[..], first.retain), (&b"first"[..], true));
    assert_eq!(first.topic, topic("acme_dev-1", "desired"));
    assert_eq!(first.qos, QoS::AtLeastOnce);

    world.directory.set_desired("acme_dev-1", "second");
    world.gateway.desired_changed(&id("acme_dev-1"));
    let second = next(&mut incoming).await;
    assert_eq!((&second.payload[..], second.retain), (&b"second"[..], false));

    let notice = client
        .publish_tracked(
            topic("acme_dev-1", "state"),
            "running",
            PublishOptions::new(QoS::AtLeastOnce),
        )
        .await
        .unwrap();
    let acked =
        tokio::time::timeout(PATIENCE, notice.wait_async()).await.expect("a PUBACK in time");
    assert!(acked.is_ok(), "{acked:?}");
    assert_eq!(world.directory.payload("acme_dev-1", Channel::State).await, "running");

    client.subscribe(topic("acme_dev-1", "call"), QoS::AtLeastOnce).await.unwrap();
    world
        .until("the call is taken", |world| {
            world.gateway.call(&id("acme_dev-1"), Bytes::from_static(b"do it"))
        })
        .await;
    let call = next(&mut incoming).await;
    assert_eq!((&call.payload[..], call.retain), (&b"do it"[..], false));
    client.disconnect().await.unwrap();
    assert_eq!(world.directory.end_of("acme_dev-1").await, "disconnected by the device");
}

#[tokio::test]
async fn leaves_a_last_will_and_may_not_be_another() {
    let world = World::new().await;
    let device = world.pki.device("acme_dev-1");
    let mut willing = options(&world, &device);
    let presence = topic("acme_dev-1", "presence");
    willing.set_last_will(LastWill::new(presence, "gone", QoS::AtLeastOnce, true, None));
    let (_client, mut events) = AsyncClient::builder(willing).capacity(10).build();
    events.poll().await.expect("a CONNACK");
    world.directory.connection("acme_dev-1", 1).await;
    drop(events);
    assert_eq!(world.directory.payload("acme_dev-1", Channel::Presence).await, "gone");

    let thief = Credentials { name: "acme_dev-2".into(), ..device };
    let (_client, mut events) = AsyncClient::builder(options(&world, &thief)).capacity(10).build();
    match events.poll().await {
        Err(ConnectionError::ConnectionRefused(ConnectReturnCode::ClientIdentifierNotValid)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_foreign_publish_gets_its_reason() {
    let world = World::new().await;
    let device = world.pki.device("acme_dev-1");
    let (client, events) = AsyncClient::builder(options(&world, &device)).capacity(10).build();
    let _incoming = drive(events);
    let publish =
        |topic: String| client.publish_tracked(topic, "x", PublishOptions::new(QoS::AtLeastOnce));
    let refused = publish(topic("acme_dev-2", "state")).await.unwrap().wait_async().await;
    assert!(format!("{refused:?}").contains("NotAuthorized"), "{refused:?}");
    let taken = publish(topic("acme_dev-1", "state")).await.unwrap().wait_async().await;
    assert!(taken.is_ok(), "{taken:?}");
}
