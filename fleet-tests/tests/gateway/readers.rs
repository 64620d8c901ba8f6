//! Readers: tools that follow streams with an access token and no certificate.

use std::process::Command;
use std::time::{Duration, Instant};

use holdfast_control::adapters::gateway::Limits;
use tokio::io::AsyncReadExt as _;

use crate::others::{Files, run};
use crate::raw::{self, NOTHING, Raw, packet, text};
use crate::world::{PATIENCE, World, record, value};

const TOKEN: &str = "hfa1.reader.00";
const DEV: &str = "acme_dev-1";

/// Returns a CONNECT with this password and a user name that does not matter.
fn connect(version: u8, password: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', version, 0xc2, 0, 60];
    if version == 5 {
        body.push(0);
    }
    for field in ["", "whoever", password] {
        body.extend_from_slice(&text(field));
    }
    packet(0x10, &body)
}

impl Raw {
    async fn reader(world: &World, version: u8) -> Self {
        world.directory.token(TOKEN, true);
        let mut raw = Self::tls(world, world.pki.client(None)).await.unwrap();
        raw.write(&connect(version, TOKEN)).await;
        let connack = raw.packet().await.unwrap();
        assert_eq!((connack[0], connack[2]), (0x20, 0), "{connack:02x?}");
        raw
    }

    /// Subscribes and returns the code of the SUBACK.
    async fn follow(&mut self, version: u8, filter: &str, qos: u8) -> u8 {
        self.write(&raw::subscribe(version, 1, filter, qos)).await;
        *self.packet().await.unwrap().last().unwrap()
    }
}

fn mosquitto_sub(files: &Files, version: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", "localhost", "-p", &files.port.to_string(), "-V", version]);
    command.arg("--cafile").arg(files.path("ca.pem"));
    command.args(["-u", "me", "-P", TOKEN, "-W", "15"]).args(arguments);
    command
}

#[tokio::test]
async fn mosquitto_sub_follows_streams_with_a_token() {
    for version in ["mqttv311", "mqttv5"] {
        let world = World::new().await;
        let files = Files::of(&world, DEV);
        world.directory.token(TOKEN, true);
        let following = ["-t", "data/+/temp", "-t", "data/dev-2/#", "-C", "4", "-q", "1"];
        let following =
            mosquitto_sub(&files, version, &[&following[..], &["-F", "%t %p"]].concat());
        let followed = tokio::spawn(run(following));
        world.until("a subscription", |world| world.directory.readers() == 1).await;
        // The time of a subscription cannot be seen from outside: records are stored until one has
        // come.
        let deadline = Instant::now() + PATIENCE;
        while value(&world.gateway.counters().reader_records) == 0 {
            assert!(Instant::now() < deadline);
            world.directory.stored("dev-0", "temp", vec![record(1, "0")]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = value(&world.gateway.counters().reader_records);
        world.directory.stored("dev-1", "hum", vec![record(1, "1")]);
        world.directory.stored("dev-1", "temp", vec![record(8, "{\"t\":21.50}"), record(9, "x")]);
        world.directory.stored("dev-2", "pump/flow", vec![record(7, "[1]")]);
        let said = followed.await.unwrap();
        assert_eq!(said.code, Some(0), "{version}: {said:?}");
        let mut lines: Vec<&str> = said.out.lines().collect();
        let again = lines.iter().take_while(|line| line.starts_with("data/dev-0/temp ")).count();
        assert!(again >= 1 && again as u64 >= before.min(4), "{lines:?}");
        lines.drain(..again);
        let wanted = [
            r#"data/dev-1/temp {"seq":8,"time":"2026-11-18T11:06:40.008Z","value":{"t":21.50}}"#,
            r#"data/dev-1/temp {"seq":9,"time":"2026-11-18T11:06:40.009Z","value":"x"}"#,
            r#"data/dev-2/pump/flow {"seq":7,"time":"2026-11-18T11:06:40.007Z","value":[1]}"#,
        ];
        assert_eq!(lines, wanted[..4 - again]);
    }
}

#[tokio::test]
async fn a_reader_gets_each_record_in_the_form_it_asked_for() {
    for version in [4, 5] {
        let world = World::new().await;
        let mut reader = Raw::reader(&world, version).await;
        assert_eq!(reader.follow(version, "data/dev-1/temp", 1).await, 1);
        assert_eq!(reader.follow(version, "data-cbor/+/temp", 0).await, 0);
        world.directory.stored("dev-1", "hum", vec![record(1, "1")]);
        world.directory.stored("dev-1", "temp", vec![record(2, "21.5")]);
        let json = reader.packet().await.unwrap();
        assert_eq!(json[0], 0x32, "QoS 1, not retained");
        let payload = br#"{"seq":2,"time":"2026-11-18T11:06:40.002Z","value":21.5}"#;
        assert!(json.ends_with(payload), "{}", String::from_utf8_lossy(&json));
        let cbor = reader.packet().await.unwrap();
        assert_eq!(cbor[0], 0x30);
        let start = cbor.windows(5).position(|part| part == b"\xa3cseq").unwrap();
        let item: serde_json::Value = serde_cbor::from_slice(&cbor[start..]).unwrap();
        assert_eq!(item, serde_json::from_slice::<serde_json::Value>(payload).unwrap());
        // After UNSUBSCRIBE no more records come.
        let mut body = vec![0, 2];
        body.extend((version == 5).then_some(0));
        body.extend_from_slice(&text("data/dev-1/temp"));
        reader.write(&packet(0xa2, &body)).await;
        assert_eq!(reader.packet().await.unwrap()[0], 0xb0);
        world.directory.stored("dev-1", "temp", vec![record(3, "1")]);
        assert_eq!(reader.packet().await.unwrap()[0], 0x30, "CBOR alone");
    }
}

#[tokio::test]
async fn readers_publish_nothing_and_see_streams_alone() {
    let world = World::new().await;
    world.directory.set_desired(DEV, "not yours");
    let mut reader = Raw::reader(&world, 5).await;
    for filter in ["#", "+/dev-1/temp", "hf/v1/7/acme_dev-1/desired", "hf/#", "$SYS/#", "datas/#"] {
        assert_eq!(reader.follow(5, filter, 1).await, 0x87, "{filter}");
    }
    assert_eq!(reader.follow(5, "$share/g/data/#", 1).await, 0x9e);
    for topic in ["data/dev-1/temp", "hf/v1/7/acme_dev-1/state"] {
        reader.write(&raw::publish(5, 9, topic, b"x")).await;
        assert_eq!(reader.packet().await.unwrap(), [0x40, 0, 9, 0x87], "{topic}");
    }
    let mut v3 = Raw::reader(&world, 4).await;
    v3.write(&raw::publish(4, 9, "data/dev-1/temp", b"x")).await;
    assert_eq!(v3.rest().await, NOTHING, "3.1.1 has no word for it");
    assert_eq!(world.directory.seen(), []);
    assert!(value(&world.gateway.counters().refused_topic) >= 9);
}

#[tokio::test]
async fn a_reader_is_cut_when_its_token_ends() {
    let world = World::new().await;
    let mut idle = Raw::reader(&world, 5).await;
    idle.follow(5, "data/#", 0).await;
    world.directory.token(TOKEN, false);
    let began = Instant::now();
    let last = idle.rest().await;
    assert_eq!((last[0], last[2]), (0xe0, 0x98), "{last:02x?}");
    assert!(began.elapsed() < Duration::from_secs(4));
    // Records stored after the end are not sent, however soon they are stored.
    let mut busy = Raw::reader(&world, 5).await;
    busy.follow(5, "data/#", 0).await;
    world.directory.token(TOKEN, false);
    world.directory.stored("dev-1", "temp", vec![record(1, "1")]);
    assert_eq!(busy.rest().await.first(), Some(&0xe0));
    world.until("gone", |world| world.directory.readers() == 0).await;
    assert_eq!(value(&world.gateway.counters().cut_readers), 2);
    let mut again = Raw::tls(&world, world.pki.client(None)).await.unwrap();
    again.write(&connect(5, TOKEN)).await;
    assert_eq!(again.rest().await.get(3), Some(&0x86));
}

#[tokio::test]
async fn who_does_not_read_loses_the_oldest_is_counted_and_cut() {
    let stall_timeout = Duration::from_millis(700);
    let world = World::with(Limits { stall_timeout, ..Limits::default() }).await;
    let mut slow = Raw::reader(&world, 5).await;
    slow.follow(5, "data/dev-1/#", 0).await;
    let mut fast = Raw::reader(&world, 5).await;
    fast.follow(5, "data/dev-1/small", 0).await;
    let mut device = Raw::connected(&world, 5, DEV).await;
    // Far more than the buffers of kernel, TLS and queue hold, and no time to send it in.
    let filler = format!("\"{}\"", "x".repeat(10_000));
    for part in 0..30 {
        let records = (1..=100).map(|n| record(100 * part + n, &filler)).collect();
        world.directory.stored("dev-1", "big", records);
    }
    // A reader that reads receives everything, in order, beside one that does not.
    for seq in 1..=50_u64 {
        world.directory.stored("dev-1", "small", vec![record(seq, "1")]);
        let got = fast.packet().await.unwrap();
        let wanted = format!("{{\"seq\":{seq},");
        assert!(got.windows(wanted.len()).any(|part| part == wanted.as_bytes()), "{seq}");
    }
    let counters = world.gateway.counters();
    world.until("cut", |_| value(&counters.cut_readers) == 1).await;
    assert!(value(&counters.reader_dropped) > 0, "{counters:?}");
    world.until("gone", |world| world.directory.readers() == 1).await;
    // The publishing device was not disturbed.
    device.write(&[0xc0, 0]).await;
    assert_eq!(device.packet().await.unwrap(), [0xd0]);
    // The slow reader finally gets whole packets of the oldest records, then the cut.
    let mut left = Vec::new();
    drop(slow.stream.read_to_end(&mut left).await);
    assert!(!left.is_empty() && left.len() < 10_000_000, "{}", left.len());
}

#[tokio::test]
async fn readers_are_bounded_in_number_and_devices_do_not_count() {
    let world = World::with(Limits { readers: 2, ..Limits::default() }).await;
    let (_device, one) = (Raw::connected(&world, 5, DEV).await, Raw::reader(&world, 5).await);
    let _other = Raw::reader(&world, 4).await;
    for (version, code) in [(5, 0x97), (4, 3)] {
        let mut third = Raw::tls(&world, world.pki.client(None)).await.unwrap();
        third.write(&connect(version, TOKEN)).await;
        assert_eq!(third.rest().await.get(3), Some(&code));
    }
    let _device = Raw::connected(&world, 5, "acme_dev-2").await;
    drop(one);
    world.until("gone", |world| value(&world.gateway.counters().readers) == 1).await;
    let again = Raw::reader(&world, 5).await;
    let gateway = world.gateway.clone();
    let stopping = tokio::spawn(async move { gateway.shutdown().await });
    let mut again = again;
    assert_eq!(again.rest().await.get(2), Some(&0x8b), "told that the gateway stops");
    drop(stopping);
}

#[tokio::test]
async fn a_window_that_is_not_acknowledged_costs_no_work() {
    let world = World::new().await;
    let mut reader = Raw::reader(&world, 5).await;
    reader.follow(5, "data/#", 1).await;
    let records = (1..=1_000).map(|seq| record(seq, "1")).collect();
    world.directory.stored("dev-1", "temp", records);
    for _ in 0..256 {
        assert_eq!(reader.packet().await.unwrap()[0], 0x32);
    }
    reader.silent(Duration::from_millis(200)).await;
    assert_eq!(value(&world.gateway.counters().reader_records), 256);
    reader.write(&[0x40, 2, 0, 1]).await;
    assert_eq!(reader.packet().await.unwrap()[0], 0x32);
    reader.silent(Duration::from_millis(100)).await;
}
