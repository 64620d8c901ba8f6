//! After an outage every device comes back at the same moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_control::ports::bus::Bus as _;
use tokio::task::JoinSet;

use crate::raw::{self, Raw};
use crate::wire;
use crate::world::{World, id, topic, value};

const DEVICES: usize = 1_000;

/// All of them, on a machine of two cores that runs other tests too, in an unoptimised build.
const BOUND: Duration = Duration::from_secs(60);

fn name(number: usize) -> String {
    format!("acme_dev-{number}")
}

/// Connects all at once; each subscribes, gets its desired state and reports.
async fn all_at_once(world: &Arc<World>, configs: &[Arc<rustls::ClientConfig>]) -> Vec<Raw> {
    let mut rush = JoinSet::new();
    for (number, config) in configs.iter().cloned().enumerate() {
        let world = Arc::clone(world);
        rush.spawn(async move {
            let name = name(number);
            let mut device = Raw::tls(&world, config).await.unwrap();
            device.write(&raw::connect(5, &name, 300)).await;
            assert_eq!(device.packet().await.unwrap()[..3], [0x20, 0, 0]);
            device.write(&raw::subscribe(5, 1, &topic(&name, "desired"), 1)).await;
            assert_eq!(device.packet().await.unwrap()[0], 0x90);
            assert!(device.packet().await.unwrap().ends_with(name.as_bytes()));
            device.write(&wire::puback(1)).await;
            device.write(&raw::publish(5, 2, &topic(&name, "state"), b"here")).await;
            assert_eq!(device.packet().await.unwrap(), [0x40, 0, 2]);
            (number, device)
        });
    }
    let mut devices = rush.join_all().await;
    devices.sort_by_key(|(number, _)| *number);
    devices.into_iter().map(|(_, device)| device).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_devices_come_back_at_once() {
    let world = Arc::new(World::new().await);
    let mut configs = Vec::new();
    for number in 0..DEVICES {
        world.directory.set_desired(&name(number), name(number));
        configs.push(world.pki.client(Some(&world.pki.device(&name(number)))));
    }
    let began = Instant::now();
    let first = all_at_once(&world, &configs).await;
    let full = began.elapsed();
    assert_eq!(value(&world.gateway.counters().connections), 1_000);
    drop(first); // the link is cut: no goodbye
    world.until("all are gone", |world| value(&world.gateway.counters().connections) == 0).await;

    let began = Instant::now();
    let mut devices = all_at_once(&world, &configs).await;
    let again = began.elapsed();
    println!("{DEVICES} devices: {full:?} with full handshakes, {again:?} with resumed ones");
    assert!(full < BOUND && again < BOUND, "{full:?}, {again:?}");
    assert_eq!(value(&world.gateway.counters().connections), 1_000);
    assert_eq!(value(&world.gateway.counters().refused_slow), 0, "honest ones wait their turn");
    assert_eq!(world.directory.received(), 2_000);

    for number in 0..DEVICES {
        world.directory.set_desired(&name(number), format!("changed {number}"));
        world.gateway.desired_changed(&id(&name(number)));
    }
    for (number, device) in devices.iter_mut().enumerate() {
        let got = device.packet().await.unwrap();
        assert!(got.ends_with(format!("changed {number}").as_bytes()), "{number}");
    }
}
