//! Clients that stall, send incomplete packets or never read: they are bounded, and disturb nobody
//! else.

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_control::adapters::gateway::Limits;
use holdfast_control::ports::bus::Bus as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::raw::{self, NOTHING, Raw};
use crate::world::{PATIENCE, World, id, topic, value};

const DEV: &str = "acme_dev-1";

/// Beginning of a TLS hello that claims more bytes than follow.
const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

async fn stalled(world: &World, count: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for number in 0..count {
        let mut tcp = TcpStream::connect(world.address).await.unwrap();
        if number % 2 == 1 {
            tcp.write_all(HALF_A_HELLO).await.unwrap();
        }
        all.push(tcp);
    }
    all
}

#[tokio::test]
async fn stalled_handshakes_do_not_block_a_device() {
    let world = World::new().await;
    let held = stalled(&world, 900).await;
    let began = Instant::now();
    let mut device = Raw::connected(&world, 5, DEV).await;
    device.write(&[0xc0, 0]).await;
    assert_eq!(device.packet().await.unwrap(), [0xd0]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(held);
    world.until("they are gone", |world| value(&world.gateway.counters().handshakes) == 0).await;
}

#[tokio::test]
async fn more_stalled_handshakes_than_there_is_room_for_make_room() {
    let limits =
        Limits { handshakes: 40, stalled_after: Duration::from_millis(200), ..Limits::default() };
    let world = World::with(limits).await;
    let held = stalled(&world, 200).await;
    let began = Instant::now();
    let mut device = Raw::connected(&world, 5, DEV).await;
    device.write(&[0xc0, 0]).await;
    assert_eq!(device.packet().await.unwrap(), [0xd0]);
    // There are 200 connections before it, 40 at a time, 200 ms each; slow machines get more time.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(value(&world.gateway.counters().refused_slow) >= 150);
    assert!(value(&world.gateway.counters().handshakes) <= 41);
    drop(held);
}

#[tokio::test]
async fn a_handshake_and_a_connect_have_their_time() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let held = stalled(&world, 10).await;
    world.until("they are cut", |world| value(&world.gateway.counters().refused_slow) == 10).await;
    drop(held);
    for begun in [&b""[..], &raw::connect(5, DEV, 60)[..10]] {
        let mut device = Raw::new(&world, DEV).await;
        device.write(begun).await;
        assert_eq!(device.rest().await, NOTHING, "closed without a word");
    }
    world.until("counted", |world| value(&world.gateway.counters().refused_connect) == 2).await;
    assert_eq!(world.directory.seen(), []);
}

#[tokio::test]
async fn half_sent_packets_end_their_connection_alone() {
    let limits = Limits { partial_packet_timeout: Duration::from_millis(400), ..Limits::default() };
    let world = World::with(limits).await;
    let mut good = Raw::connected(&world, 5, "acme_good").await;
    let halves: [&[u8]; 4] = [&[0x32], &[0x32, 0x80], &[0x32, 100, 0, 26, b'h'], &[0x82, 40, 0]];
    let mut halting = Vec::new();
    for (number, half) in halves.into_iter().enumerate() {
        let version = if number % 2 == 0 { 5 } else { 4 };
        let mut device = Raw::connected(&world, version, &format!("acme_half-{number}")).await;
        device.write(half).await;
        halting.push((version, device));
    }
    for (version, mut device) in halting {
        let last = device.rest().await;
        let said = (version == 5).then_some((0xe0, 0x8d));
        assert_eq!(last.first().map(|&first| (first, last[2])), said);
    }
    good.write(&raw::publish(5, 1, &topic("acme_good", "state"), b"x")).await;
    assert_eq!(good.packet().await.unwrap(), [0x40, 0, 1]);
    assert_eq!(value(&world.gateway.counters().cut_silent), 4);
}

/// A packet that arrives byte by byte is accepted.
#[tokio::test]
async fn a_slow_packet_is_taken() {
    let world = World::new().await;
    let mut device = Raw::connected(&world, 4, DEV).await;
    for byte in raw::publish(4, 1, &topic(DEV, "state"), b"slowly") {
        device.write(&[byte]).await;
    }
    assert_eq!(device.packet().await.unwrap(), [0x40, 0, 1]);
}

/// Opens TLS to the gateway over a socket with the smallest receive buffer that the kernel allows.
async fn narrow(world: &World, device: &str) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let tcp = socket.connect(world.address).await.unwrap();
    let config = world.pki.client(Some(&world.pki.device(device)));
    let mut raw = Raw::over(tcp, config).await.unwrap();
    raw.write(&raw::connect(5, device, 60)).await;
    assert_eq!(raw.packet().await.unwrap()[0], 0x20);
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_is_cut_and_nobody_else_disturbed() {
    // The first stalls while the last still connects: the time must suffice for all of that.
    let limits = Limits { stall_timeout: Duration::from_secs(3), ..Limits::default() };
    let world = World::with(limits).await;
    let mut good = Raw::connected(&world, 5, "acme_good").await;
    good.write(&raw::subscribe(5, 1, &topic("acme_good", "#"), 1)).await;
    good.packet().await.unwrap();

    let mut deaf = Vec::new();
    for number in 0..20 {
        let name = format!("acme_deaf-{number}");
        world.directory.set_desired(&name, vec![7; 900_000]);
        let mut raw = narrow(&world, &name).await;
        raw.write(&raw::subscribe(5, 1, &topic(&name, "#"), 1)).await;
        deaf.push((name, raw));
    }
    let mut waits = Vec::new();
    let mut number = 0_u32;
    world.directory.forget_payloads();
    let deadline = Instant::now() + PATIENCE;
    while value(&world.gateway.counters().cut_silent) < 20 {
        assert!(Instant::now() < deadline, "cut: {:?}", world.gateway);
        for (name, _) in &deaf {
            world.gateway.desired_changed(&id(name));
        }
        number += 1;
        let began = Instant::now();
        let call = Bytes::from(number.to_be_bytes().to_vec());
        assert!(world.gateway.call(&id("acme_good"), call.clone()));
        let got = good.packet().await.expect("it stays connected");
        assert!(got.ends_with(&call), "in order, none lost");
        let packet_id = [got[got.len() - 7], got[got.len() - 6]];
        good.write(&raw::packet(0x40, &packet_id)).await;
        waits.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A pause of the machine delays one or two calls; a client that is disturbed waits in all of
    // them.
    waits.sort();
    let most = waits[waits.len() * 9 / 10];
    assert!(waits.len() >= 10, "only {} calls before all were cut", waits.len());
    assert!(most < Duration::from_millis(500), "the good one waited {most:?}: {waits:?}");
    for (name, _) in &deaf {
        assert_eq!(world.directory.end_of(name).await, "it does not read: cut after a stall");
    }
    assert_eq!(value(&world.gateway.counters().connections), 1);
}

/// A client that asks without end and never reads the answers: the gateway stops reading, then
/// cuts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_never_reads_is_cut() {
    let limits = Limits { stall_timeout: Duration::from_secs(1), ..Limits::default() };
    let world = World::with(limits).await;
    let mut asker = narrow(&world, DEV).await;
    let asking = tokio::spawn(async move {
        let pings = [0xc0, 0].repeat(4_000);
        while asker.try_write(&pings).await.is_ok() {}
    });
    assert_eq!(world.directory.end_of(DEV).await, "it does not read: cut after a stall");
    tokio::time::timeout(PATIENCE, asking).await.expect("its connection is closed").unwrap();
}

#[tokio::test]
async fn too_many_connections_are_closed_at_once() {
    let world = World::with(Limits { connections: 3, ..Limits::default() }).await;
    let mut held = Vec::new();
    for number in 0..3 {
        held.push(Raw::connected(&world, 5, &format!("acme_dev-{number}")).await);
    }
    let config = world.pki.client(Some(&world.pki.device("acme_dev-9")));
    assert!(Raw::tls(&world, config.clone()).await.is_err());
    assert_eq!(value(&world.gateway.counters().refused_full), 1);
    drop(held.pop());
    world.until("there is room", |world| value(&world.gateway.counters().connections) == 2).await;
    Raw::connected(&world, 5, "acme_dev-9").await;
}
