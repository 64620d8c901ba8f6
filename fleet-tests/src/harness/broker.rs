//! Malicious MQTT broker: it holds the control plane's own CA (so TLS does not detect it) and sends
//! devices whatever a test wants. It shows the worst that a broker can do to a device. It acknowledges
//! every publish at once and passes nothing on.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{DEADLINE, eventually};
use crate::sim::packets::{self, Publish, kind};

/// Peculiarity of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The broker has none.
    None,
    /// The broker speaks MQTT 3.1.1 alone, and closes a connection of version 5 without a word.
    Only311,
    /// The broker refuses the subscription to this channel with a code.
    Refuses(&'static str),
    /// The broker closes the connection when asked for this channel.
    ClosesOn(&'static str),
}

/// Broker for one device at a time.
#[derive(Debug)]
pub struct EvilBroker {
    /// Address that the broker listens on.
    pub address: SocketAddr,
    to_device: Sender<Vec<u8>>,
    seen: Arc<Mutex<Vec<Publish>>>,
    acknowledged: Arc<Mutex<Vec<u16>>>,
    subscribed: Arc<AtomicBool>,
    connects: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
    next: u16,
}

impl EvilBroker {
    /// Listens on a free port, with a certificate signed by this CA.
    ///
    /// # Panics
    /// Panics if certificate and key are not those of a CA.
    pub fn start(at: Ipv4Addr, ca_pem: &str, ca_key_pem: &str) -> Self {
        Self::with(Flaw::None, at, ca_pem, ca_key_pem)
    }

    /// Starts like [`EvilBroker::start`], with this peculiarity.
    ///
    /// # Panics
    /// Panics if certificate and key are not those of a CA.
    pub fn with(flaw: Flaw, at: Ipv4Addr, ca_pem: &str, ca_key_pem: &str) -> Self {
        let config = Arc::new(server_config(ca_pem, ca_key_pem));
        let listener = TcpListener::bind((at, 0)).expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (to_device, from_test) = mpsc::channel();
        let broker = Self {
            address,
            to_device,
            seen: Arc::default(),
            acknowledged: Arc::default(),
            subscribed: Arc::default(),
            connects: Arc::default(),
            over: Arc::default(),
            next: 1000,
        };
        let session = Session {
            flaw,
            version: AtomicU8::new(5),
            connects: Arc::clone(&broker.connects),
            seen: Arc::clone(&broker.seen),
            acknowledged: Arc::clone(&broker.acknowledged),
            subscribed: Arc::clone(&broker.subscribed),
            over: Arc::clone(&broker.over),
        };
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if session.over.load(Ordering::Relaxed) {
                    return;
                }
                // After a connection ends, the device's next one is served.
                let _ended = session.serve(socket, Arc::clone(&config), &from_test);
            }
        });
        broker
    }

    /// Waits until a device has subscribed at this broker.
    pub fn await_subscriber(&self) {
        eventually(DEADLINE, "the device subscribes at the other broker", || {
            if self.subscribed.load(Ordering::Relaxed) { Ok(()) } else { Err("no".into()) }
        });
    }

    /// Publishes at QoS 1, retained, and returns the packet id. The device's acknowledgement does
    /// not mean that it believes the message.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> u16 {
        self.next += 1;
        let packet = packets::publish(topic, self.next, true, payload);
        self.to_device.send(packet).expect("the broker runs");
        self.next
    }

    /// Sends bytes unchanged.
    pub fn send_raw(&self, bytes: Vec<u8>) {
        self.to_device.send(bytes).expect("the broker runs");
    }

    /// Returns the number of CONNECTs so far.
    pub fn connects(&self) -> u32 {
        self.connects.load(Ordering::Relaxed)
    }

    /// Returns the messages that the device published here so far.
    pub fn seen(&self) -> Vec<Publish> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the packet ids that the device acknowledged.
    pub fn acknowledged(&self) -> Vec<u16> {
        self.acknowledged.lock().unwrap().clone()
    }
}

impl Drop for EvilBroker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

struct Session {
    flaw: Flaw,
    /// Version of MQTT of the present connection, as its CONNECT has it.
    version: AtomicU8,
    connects: Arc<AtomicU32>,
    seen: Arc<Mutex<Vec<Publish>>>,
    acknowledged: Arc<Mutex<Vec<u16>>>,
    subscribed: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Session {
    fn serve(
        &self,
        socket: TcpStream,
        config: Arc<ServerConfig>,
        from_test: &Receiver<Vec<u8>>,
    ) -> io::Result<()> {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, socket);
        let mut buffer = Vec::new();
        let mut piece = [0_u8; 8192];
        stream.conn.complete_io(&mut stream.sock)?;
        // From here on reads block for 20 ms only, so that packets of the test are sent soon.
        stream.sock.set_read_timeout(Some(Duration::from_millis(20)))?;
        while !self.over.load(Ordering::Relaxed) {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(size) => buffer.extend(&piece[..size]),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
            while let Some(packet) = packets::take(&mut buffer) {
                if let Some(answer) = self.answer(&packet)? {
                    stream.write_all(&answer)?;
                }
            }
            if self.subscribed.load(Ordering::Relaxed) {
                for bytes in from_test.try_iter() {
                    stream.write_all(&bytes)?;
                }
            }
            stream.flush()?;
        }
        Ok(())
    }

    /// Returns the answer to a packet, if it has one. An error closes the connection.
    fn answer(&self, packet: &packets::Packet) -> io::Result<Option<Vec<u8>>> {
        let version = self.version.load(Ordering::Relaxed);
        Ok(match packet.kind() {
            kind::CONNECT => {
                self.connects.fetch_add(1, Ordering::Relaxed);
                // Two bytes of length, "MQTT", then the level.
                let level = packet.body[6];
                self.version.store(level, Ordering::Relaxed);
                if level == 5 && self.flaw == Flaw::Only311 {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                let body: &[u8] = if level == 5 { &[0, 0, 0] } else { &[0, 0] };
                Some(packets::packet(kind::CONNACK, body))
            }
            kind::SUBSCRIBE => {
                let filters = packets::filters(packet, version);
                let named = |channel: &str| {
                    filters.iter().position(|filter| filter.ends_with(&format!("/{channel}")))
                };
                let mut codes = vec![1; filters.len()];
                match self.flaw {
                    Flaw::ClosesOn(channel) if named(channel).is_some() => {
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    Flaw::Refuses(channel) => {
                        named(channel).into_iter().for_each(|index| codes[index] = 0x87);
                    }
                    _ => {}
                }
                self.subscribed.store(true, Ordering::Relaxed);
                Some(packets::suback(packet.id(), version, &codes))
            }
            kind::PUBLISH => packet.publish(version).and_then(|publish| {
                let id = publish.id;
                self.seen.lock().unwrap().push(publish);
                (id != 0).then(|| packets::puback(id))
            }),
            kind::PUBACK => {
                self.acknowledged.lock().unwrap().push(packet.id());
                None
            }
            kind::PINGREQ => Some(packets::packet(kind::PINGRESP, &[])),
            _ => None,
        })
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn server_config(ca_pem: &str, ca_key_pem: &str) -> ServerConfig {
    let ca_key = KeyPair::from_pem(ca_key_pem).expect("the CA's key is PEM");
    let issuer = Issuer::from_ca_cert_pem(ca_pem, ca_key).expect("the CA is a certificate");
    let key = crate::sim::identity::new_key();
    let names = vec![holdfast_protocol::enrol::SERVER_NAME.to_owned()];
    let mut params = CertificateParams::new(names).expect("a good name");
    params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    let certificate = params.signed_by(&key, &issuer).expect("the CA signs");
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // No client certificate is asked for: the device's identity is of no interest here.
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("key and certificate belong together")
}
