//! Fan-out at QoS 1 over mutual TLS to many devices, each with its own topic: the gateway and
//! mosquitto, one after the other, with the same clients and the same certificates.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_base::ids::DeviceId;
use holdfast_control::adapters::gateway::{Gateway, Limits, ServerIdentity};
use holdfast_control::ports::bus::Line;
use holdfast_control::ports::bus::{
    Access, Admission, Bus as _, Desired, Done, Feed, Inbox, Ports, Readers, Refusal, Wanted,
};
use holdfast_control::service::Feeds;
use holdfast_protocol::enrol::SERVER_NAME;
use holdfast_protocol::topic::Channel;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::table::Row;
use super::{machine, median};
use crate::harness::{Scratch, loopback};
use crate::sim::packets::{self, kind};

/// Bytes of a message, as of a small signed desired state.
const PAYLOAD: usize = 256;
/// Number of rounds for each of the two servers, alternating.
const ROUNDS: usize = 5;

/// Certificates of the servers and all clients.
struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    ca_pem: String,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Benchmark CA");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (ca, ca_pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(params, key), ca, ca_pem }
    }

    fn server(&self) -> (String, String) {
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn client(&self, name: &str) -> Arc<ClientConfig> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("spiffe://bench/{}", name.replace('_', "/"));
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }
}

fn topic(name: &str) -> String {
    format!("hf/v1/7/{name}/call")
}

/// Control plane behind the gateway that admits every device and stores nothing.
struct Open;

impl Admission for Open {
    fn admit(&self, _device: &DeviceId, _serial: &[u8]) -> Result<u8, Refusal> {
        Ok(7)
    }
    fn connected(
        &self,
        _device: &DeviceId,
        _connection: u64,
        _peer: SocketAddr,
        _line: Option<Arc<dyn Line>>,
    ) {
    }
    fn disconnected(&self, _device: &DeviceId, _connection: u64, _reason: &str) {}
}

impl Desired for Open {
    fn desired(&self, _device: &DeviceId) -> Option<Bytes> {
        None
    }
}

impl Inbox for Open {
    fn received(&self, _device: &DeviceId, _channel: Channel, _payload: Bytes, done: Done) {
        done.stored();
    }
}

impl Readers for Open {
    fn reader(&self, _token: &str) -> Option<Access> {
        None
    }
    fn may_read(&self, _access: &Access) -> bool {
        false
    }
    fn read_along(&self, access: &Access, wanted: Wanted) -> Box<dyn Feed> {
        Box::new(Feeds::default().subscribe(access.tenant.clone(), wanted))
    }
}

/// Runs the gateway in a process of its own: prints its address, then sends for each line of its
/// input that many messages to each device.
pub fn gateway_process(folder: &std::path::Path, devices: usize) {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let ca = CertificateDer::from_pem_slice(&read("ca.pem")).unwrap();
    let identity = ServerIdentity {
        chain: vec![CertificateDer::from_pem_slice(&read("server.pem")).unwrap()],
        key: PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let gateway = Gateway::new(&ca, identity, Limits::default()).unwrap();
        let listener = TcpListener::bind((loopback(), 0)).await.unwrap();
        println!("{}", gateway.listen(listener, Ports::of(Arc::new(Open))).unwrap());
        let (tell, mut rounds) = tokio::sync::mpsc::channel::<usize>(1);
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if tell.blocking_send(line.trim().parse().unwrap()).is_err() {
                    return;
                }
            }
        });
        let ids: Vec<DeviceId> =
            (0..devices).map(|number| format!("bench_d-{number}").parse().unwrap()).collect();
        let payload = Bytes::from(vec![7; PAYLOAD]);
        while let Some(messages) = rounds.recv().await {
            for _ in 0..messages {
                for id in &ids {
                    // A full queue is waited for, so that every message is delivered.
                    while !gateway.call(id, payload.clone()) {
                        tokio::task::yield_now().await;
                    }
                }
                tokio::task::yield_now().await;
            }
        }
    });
}

struct Wire {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    async fn connect(to: SocketAddr, name: &str, tls: Arc<ClientConfig>) -> Self {
        let tcp = TcpStream::connect(to).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let server = SERVER_NAME.try_into().unwrap();
        let stream = TlsConnector::from(tls).connect(server, tcp).await.unwrap();
        let mut wire = Self { stream, buffer: Vec::new() };
        wire.send(&packets::connect(name, 600, None)).await;
        let answer = wire.next().await;
        assert_eq!((answer.kind(), answer.reason(1)), (kind::CONNACK, 0), "{name} is refused");
        wire
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn next(&mut self) -> packets::Packet {
        loop {
            if let Some(packet) = packets::take(&mut self.buffer) {
                return packet;
            }
            let mut piece = [0; 4096];
            let length = self.stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "the connection ended");
            self.buffer.extend(&piece[..length]);
        }
    }
}

/// Connects all clients, counts the messages that they receive, and acknowledges them.
async fn swarm(
    to: SocketAddr,
    clients: &[(String, Arc<ClientConfig>)],
    got: &Arc<AtomicU64>,
) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for (name, tls) in clients {
        let mut wire = Wire::connect(to, name, Arc::clone(tls)).await;
        wire.send(&packets::subscribe(1, &topic(name))).await;
        assert_eq!(wire.next().await.kind(), kind::SUBACK);
        let got = Arc::clone(got);
        tasks.spawn(async move {
            loop {
                let packet = wire.next().await;
                let Some(publish) = packet.publish(5) else { continue };
                got.fetch_add(1, Ordering::Relaxed);
                wire.send(&packets::puback(publish.id)).await;
            }
        });
    }
    tasks
}

async fn until(got: &AtomicU64, wanted: u64) {
    let began = Instant::now();
    while got.load(Ordering::Relaxed) < wanted {
        assert!(began.elapsed() < Duration::from_secs(120), "only {got:?} of {wanted} came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _code = self.child.wait();
    }
}

fn start_gateway(folder: &std::path::Path, devices: usize) -> Peer {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["gateway", folder.to_str().unwrap(), &devices.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    Peer { child, address: line.trim().parse().unwrap() }
}

fn start_mosquitto(folder: &std::path::Path) -> Peer {
    let address = SocketAddr::from((loopback(), 18_883));
    let shown = folder.display();
    let config = format!(
        "listener {} {}\nsocket_domain ipv4\ncafile {shown}/ca.pem\ncertfile {shown}/server.pem\nkeyfile {shown}/server.key\nrequire_certificate true\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type error\nuser root\n",
        address.port(),
        address.ip(),
    );
    let file = folder.join("mosquitto.conf");
    std::fs::write(&file, config).unwrap();
    let child = Command::new("mosquitto").arg("-c").arg(&file).spawn();
    let child = child.expect("mosquitto is the peer: apt-get install mosquitto");
    let peer = Peer { child, address };
    let began = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "mosquitto does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    peer
}

/// Publishes `messages` to each topic, with as many in flight as mosquitto accepts.
async fn publish(wire: &mut Wire, clients: &[(String, Arc<ClientConfig>)], messages: usize) {
    let payload = vec![7; PAYLOAD];
    let (mut id, mut in_flight) = (0_u16, 0);
    for _ in 0..messages {
        for batch in clients.chunks(100) {
            let mut bytes = Vec::new();
            for (name, _) in batch {
                id = id.checked_add(1).unwrap_or(1);
                bytes.extend(packets::publish(&topic(name), id, false, &payload));
                in_flight += 1;
            }
            wire.send(&bytes).await;
            while in_flight > 100 {
                if wire.next().await.kind() == kind::PUBACK {
                    in_flight -= 1;
                }
            }
        }
    }
    while in_flight > 0 {
        if wire.next().await.kind() == kind::PUBACK {
            in_flight -= 1;
        }
    }
}

/// Measures messages per second of the gateway and mosquitto in turn.
pub fn compare(devices: usize, messages: usize) -> Vec<Row> {
    let scratch = Scratch::new();
    let pki = Pki::new();
    let (certificate, key) = pki.server();
    scratch.write("ca.pem", &pki.ca_pem);
    scratch.write("server.pem", certificate);
    scratch.write("server.key", key);
    let clients: Vec<(String, Arc<ClientConfig>)> = (0..devices)
        .map(|number| format!("bench_d-{number}"))
        .map(|name| (name.clone(), pki.client(&name)))
        .collect();
    let total = (devices * messages) as u64;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let mut gateway = start_gateway(scratch.path(), devices);
        let mosquitto = start_mosquitto(scratch.path());
        let (got_ours, got_theirs) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let swarm_ours = swarm(gateway.address, &clients, &got_ours).await;
        let swarm_theirs = swarm(mosquitto.address, &clients, &got_theirs).await;
        let mut publisher =
            Wire::connect(mosquitto.address, "bench_publisher", pki.client("bench_publisher"))
                .await;
        for round in 1..=ROUNDS as u64 {
            let began = Instant::now();
            writeln!(gateway.child.stdin.as_mut().unwrap(), "{messages}").unwrap();
            until(&got_ours, total * round).await;
            ours.push(total as f64 / began.elapsed().as_secs_f64());
            let began = Instant::now();
            publish(&mut publisher, &clients, messages).await;
            until(&got_theirs, total * round).await;
            theirs.push(total as f64 / began.elapsed().as_secs_f64());
        }
        drop((swarm_ours, swarm_theirs));
    });
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let version = machine::output("mosquitto", &["-h"]);
    vec![Row::at_least(
        &format!("fan-out to {devices} devices, QoS 1 over TLS, against mosquitto's"),
        1.5,
        ours / theirs,
        "times",
        &format!(
            "{ours:.0} and {theirs:.0} messages of {PAYLOAD} bytes a second, medians of {ROUNDS} turns in the same run, clients on the same cores; {version}"
        ),
    )]
}
