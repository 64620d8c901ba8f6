//! Many simulated devices in one process: each enrolled, connected by mutual TLS and MQTT 5,
//! subscribed, and answering every desired state as an agent does, with an amending report. They
//! run nothing: a workload counts as running as soon as it is desired.
//!
//! Each device takes one task and some kilobytes; signatures are checked, since an agent does.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::codec;
use holdfast_base::ids::{DeviceId, Name, StateVersion};
use holdfast_protocol::enrol::SERVER_NAME;
use holdfast_protocol::message::{
    AgentInfo, DesiredState, Detail, Phase, Presence, StateReport, WorkloadReport,
};
use holdfast_protocol::signing::verify;
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Identity;
use super::packets::{self, Packet, kind};

/// Longest wait before another connection, multiplied by a random fraction.
const BACKOFF: Duration = Duration::from_secs(5);

/// Counters over all devices; only `connected` also falls.
#[derive(Debug, Default)]
pub struct Stats {
    /// Number of devices connected, subscribed and reported in full.
    pub connected: AtomicU64,
    /// Number of desired states accepted.
    pub desired: AtomicU64,
    /// Number of state reports that the control plane acknowledged.
    pub reported: AtomicU64,
    /// Number of connections that ended, or could not be opened.
    pub lost: AtomicU64,
    /// Number of messages that did not verify, or were older than the present version.
    pub refused: AtomicU64,
}

impl Stats {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counters in one line.
    pub fn line(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "connected {} desired {} reported {} lost {} refused {}",
            read(&self.connected),
            read(&self.desired),
            read(&self.reported),
            read(&self.lost),
            read(&self.refused)
        )
    }
}

/// Running fleet. When dropped, all its connections are cut.
#[derive(Debug)]
pub struct Fleet {
    stats: Arc<Stats>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Fleet {
    /// Connects all devices to `broker`, on the present runtime. `keep_alive` is in seconds.
    pub fn start(identities: Vec<Identity>, broker: SocketAddr, keep_alive: u16) -> Self {
        let stats = Arc::new(Stats::default());
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for (number, identity) in (0_u64..).zip(identities) {
            let device = Device::new(&identity, broker, keep_alive, number, Arc::clone(&stats));
            let mut stopped = stop.subscribe();
            tasks.spawn(async move {
                tokio::select! {
                    () = device.run() => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
        }
        Self { stats, stop, tasks }
    }

    /// Returns the counters of the fleet.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Cuts all connections and waits until they are gone.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// State of one device between its connections.
struct Device {
    id: DeviceId,
    prefix: String,
    tls: Arc<ClientConfig>,
    signing_key: Vec<u8>,
    broker: SocketAddr,
    keep_alive: u16,
    /// State of a small random generator.
    random: u64,
    held: StateVersion,
    /// Revision of each workload.
    runs: BTreeMap<Name, u64>,
    stats: Arc<Stats>,
}

/// Counts a device as connected while it lives.
struct Connected(Arc<Stats>);

impl Connected {
    fn new(stats: &Arc<Stats>) -> Self {
        Stats::add(&stats.connected);
        Self(Arc::clone(stats))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Device {
    fn new(
        identity: &Identity,
        broker: SocketAddr,
        keep_alive: u16,
        number: u64,
        stats: Arc<Stats>,
    ) -> Self {
        let mut tls = Arc::unwrap_or_clone(identity.tls());
        tls.resumption = Resumption::disabled(); // its store is most of a connection's memory
        Self {
            id: identity.id().parse().expect("the control plane gives good names"),
            prefix: identity.enrolment.topic_prefix.clone(),
            tls: Arc::new(tls),
            signing_key: STANDARD.decode(&identity.enrolment.signing_key).expect("base64"),
            broker,
            keep_alive,
            random: 0x9e37_79b9_7f4a_7c15 ^ (number + 1).wrapping_mul(0xd1b5_4a32_d192_ed03),
            held: StateVersion::default(),
            runs: BTreeMap::new(),
            stats,
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn topic(&self, channel: &str) -> String {
        format!("{}{channel}", self.prefix)
    }

    async fn run(mut self) {
        loop {
            let Err(_ended) = self.connection().await;
            Stats::add(&self.stats.lost);
            let wait = self.random() % u64::try_from(BACKOFF.as_millis()).unwrap_or(1);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }

    /// Runs one connection until it ends, which is always an error.
    async fn connection(&mut self) -> io::Result<std::convert::Infallible> {
        let tcp = TcpStream::connect(self.broker).await?;
        tcp.set_nodelay(true)?;
        let name = SERVER_NAME.try_into().map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await?;
        let mut wire = Wire { stream, buffer: Vec::new() };

        let presence = self.topic("presence");
        let will = encode(&Presence { v: 1, online: false, session: 0 });
        let connect =
            packets::connect(&self.id.to_string(), self.keep_alive, Some((&presence, &will)));
        wire.send(&connect).await?;
        let connack = wire.packet().await?;
        if connack.kind() != kind::CONNACK || connack.reason(1) != 0 {
            return Err(io::Error::other(format!("refused with {:#04x}", connack.reason(1))));
        }
        let session = self.random() | 1;
        let online = encode(&Presence { v: 1, online: true, session });
        let mut greeting = packets::subscribe(1, &self.topic("desired"));
        greeting.extend(packets::subscribe(2, &self.topic("call")));
        greeting.extend(packets::publish(&presence, 3, true, &online));
        greeting.extend(packets::publish(&self.topic("state"), 4, false, &encode(&self.full())));
        wire.send(&greeting).await?;
        let _connected = Connected::new(&self.stats);
        self.serve(&mut wire).await
    }

    async fn serve(&mut self, wire: &mut Wire) -> io::Result<std::convert::Infallible> {
        let silence = Duration::from_secs(u64::from(self.keep_alive.max(2)) - 1);
        let mut id = 4_u16;
        loop {
            let Ok(packet) = tokio::time::timeout(silence, wire.packet()).await else {
                wire.send(&packets::packet(kind::PINGREQ, &[])).await?;
                continue;
            };
            let packet = packet?;
            match packet.kind() {
                kind::PUBLISH => {
                    let Some(publish) = packet.publish(5) else { continue };
                    let mut answer = packets::puback(publish.id);
                    if publish.topic.ends_with("/desired")
                        && let Some(report) = self.desired(&publish.payload)
                    {
                        id = if id >= 60_000 { 5 } else { id + 1 };
                        let state = self.topic("state");
                        answer.extend(packets::publish(&state, id, false, &encode(&report)));
                    }
                    wire.send(&answer).await?;
                }
                kind::PUBACK if packet.id() > 3 => Stats::add(&self.stats.reported),
                kind::DISCONNECT => {
                    return Err(io::Error::other(format!("ended: {:#04x}", packet.reason(0))));
                }
                _ => {}
            }
        }
    }

    /// Handles a desired state and returns the amending report, if it is new.
    fn desired(&mut self, payload: &[u8]) -> Option<StateReport> {
        let Ok(desired) = verify::<DesiredState>(payload, &self.signing_key, &self.id) else {
            Stats::add(&self.stats.refused);
            return None;
        };
        if desired.version() <= self.held {
            if desired.version() < self.held {
                Stats::add(&self.stats.refused);
            }
            return None;
        }
        Stats::add(&self.stats.desired);
        self.held = desired.version();
        let wanted: BTreeMap<Name, u64> =
            desired.workloads.into_iter().map(|(name, it)| (name, it.revision)).collect();
        let mut report = self.report();
        for (name, revision) in &wanted {
            if self.runs.get(name) != Some(revision) {
                report.workloads.insert(name.clone(), Some(running(*revision)));
            }
        }
        for name in self.runs.keys().filter(|name| !wanted.contains_key(*name)) {
            report.workloads.insert(name.clone(), None);
        }
        self.runs = wanted;
        Some(report)
    }

    fn report(&self) -> StateReport {
        StateReport {
            v: 1,
            full: false,
            epoch: self.held.epoch,
            generation: self.held.generation,
            workloads: BTreeMap::new(),
            problems: None,
            agent: None,
            data: None,
            history: Vec::new(),
            id: None,
        }
    }

    fn full(&self) -> StateReport {
        let runs =
            self.runs.iter().map(|(name, revision)| (name.clone(), Some(running(*revision))));
        let agent = AgentInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            arch: std::env::consts::ARCH.into(),
            kernel: "simulated".into(),
            certificate_not_after: None,
            refused: 0,
            witness: false,
            engine: None,
            neighbours: Vec::new(),
        };
        StateReport {
            full: true,
            workloads: runs.collect(),
            problems: Some(Vec::new()),
            agent: Some(agent),
            ..self.report()
        }
    }
}

fn running(revision: u64) -> WorkloadReport {
    WorkloadReport {
        revision,
        phase: Phase::Running,
        restarts: 0,
        run: Some(4_711),
        detail: Some(Detail::Process(4_711)),
        reason: String::new(),
        progress: None,
    }
}

fn encode<T: serde::Serialize>(message: &T) -> Vec<u8> {
    codec::encode(message).expect("a small message")
}

/// MQTT packets over TLS. The buffer is freed whenever it is empty, which is most of the time.
struct Wire {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Returns the next packet. Cancelled, it loses nothing.
    async fn packet(&mut self) -> io::Result<Packet> {
        loop {
            if let Some(packet) = packets::take(&mut self.buffer) {
                if self.buffer.is_empty() {
                    self.buffer = Vec::new();
                }
                return Ok(packet);
            }
            self.buffer.reserve(512);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
