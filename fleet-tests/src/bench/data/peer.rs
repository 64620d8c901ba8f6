//! Measurements of mosquitto as the buffer of a bridge whose upstream is down.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::figures::{Buffered, FROM, WINDOW};
use super::sink::Sink;
use crate::bench::machine;
use crate::harness::publisher::{Access, Mqtt};
use crate::harness::{Link, Scratch, loopback};
use crate::telemetry::Telemetry;

/// Configuration of mosquitto: a file of `fleet-tests/bench`.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Name in the table.
    pub name: &'static str,
    config: &'static str,
}

/// Configuration that saves everything at each change.
pub const DURABLE: Setup = Setup {
    name: "mosquitto, saved on every change",
    config: include_str!("../../../bench/mosquitto-durable.conf"),
};

/// Configuration that keeps everything in memory.
pub const UNLIMITED: Setup = Setup {
    name: "mosquitto, unlimited, not saved",
    config: include_str!("../../../bench/mosquitto-unlimited.conf"),
};

/// Configuration with mosquitto's default bounds.
pub const DEFAULT: Setup = Setup {
    name: "mosquitto, default bounds",
    config: include_str!("../../../bench/mosquitto-default.conf"),
};

struct Mosquitto {
    scratch: Scratch,
    setup: Setup,
    access: Access,
    upstream: SocketAddr,
    link: Link,
    child: Option<Child>,
}

impl Mosquitto {
    fn start(setup: Setup) -> Self {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.join("state")).unwrap();
        let upstream = SocketAddr::from((loopback(), free_port()));
        let mqtt = SocketAddr::from((loopback(), free_port()));
        let access =
            Access { mqtt, user: String::new(), password: String::new(), socket: PathBuf::new() };
        let link = Link::new(loopback(), &[upstream]);
        link.cut();
        let mut peer = Self { scratch, setup, access, upstream, link, child: None };
        peer.up();
        peer
    }

    fn up(&mut self) {
        let SocketAddr::V4(listen) = self.access.mqtt else { unreachable!("loopback is IPv4") };
        let config = self
            .setup
            .config
            .replace("{PORT}", &listen.port().to_string())
            .replace("{BIND}", &listen.ip().to_string())
            .replace("{STATE}", self.scratch.join("state").to_str().unwrap())
            .replace("{UPSTREAM}", &format!("{}:{}", self.link.address(), self.upstream.port()));
        let file = self.scratch.write("mosquitto.conf", config);
        let child = Command::new("mosquitto").arg("-c").arg(file).spawn();
        self.child = Some(child.expect("mosquitto is the peer: apt-get install mosquitto"));
        let began = Instant::now();
        while TcpStream::connect(self.access.mqtt).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).unwrap_or_default()
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _code = child.wait();
        }
    }

    /// Heals the link and waits until no more records come. Returns how many came, and how many per
    /// second.
    fn drain(&self, wanted: usize) -> (usize, f64) {
        let sink = Sink::listen(self.upstream);
        self.link.heal();
        let mut first = None;
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let now = sink.publishes();
            if now != last {
                first.get_or_insert_with(Instant::now);
                (last, moved) = (now, Instant::now());
            }
            let done = sink.publishes() >= wanted as u64 && sink.records() >= wanted;
            // A bridge whose upstream was away tries again within half a minute.
            let patience = Duration::from_secs(if first.is_none() { 40 } else { 8 });
            if done || moved.elapsed() > patience {
                let taken = first.map_or(0.0, |first| (moved - first).as_secs_f64());
                let records = sink.records();
                return (records, if taken > 0.0 { records as f64 / taken } else { 0.0 });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Fills the buffer, kills mosquitto, starts it again, and counts the records that arrive; a second
/// instance is drained without being killed.
pub fn measure(setup: Setup, records: usize) -> Buffered {
    let all = Telemetry::new(1, FROM, 1_000).records(records);
    let payload: usize = all.iter().map(Vec::len).sum();
    let mut figures = Buffered::new(setup.name, records);
    let mut peer = Mosquitto::start(setup);
    let (memory, written) = (machine::memory(peer.pid()).1, machine::written(peer.pid()));
    let began = Instant::now();
    let mut client = Mqtt::connect(&peer.access, "publisher").unwrap();
    let outcome = client.publish("telemetry", &all, WINDOW);
    let taken = began.elapsed().as_secs_f64();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    figures.acknowledged = outcome.count();
    figures.mqtt_rate = outcome.count() as f64 / taken;
    figures.mqtt_amplification = (machine::written(peer.pid()) - written) / payload as f64;
    figures.memory_kib = machine::memory(peer.pid()).1 - memory;
    peer.kill();
    peer.up();
    figures.lost_on_kill = figures.acknowledged - peer.drain(figures.acknowledged).0;
    drop(peer);
    let peer = Mosquitto::start(setup);
    let mut client = Mqtt::connect(&peer.access, "publisher").unwrap();
    let acknowledged = client.publish("telemetry", &all, WINDOW).count();
    let before = peer.link.up() + peer.link.down();
    let (arrived, rate) = peer.drain(acknowledged);
    figures.lost = acknowledged - arrived;
    figures.drain_rate = rate;
    figures.wire = (peer.link.up() + peer.link.down() - before) as f64 / arrived.max(1) as f64;
    figures
}
