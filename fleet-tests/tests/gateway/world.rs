//! Gateway for tests, with a fake directory behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_base::ids::DeviceId;
use holdfast_control::adapters::gateway::{Gateway, Limits};
use holdfast_control::ports::bus::Line;
use holdfast_control::ports::bus::{
    Access, Admission, Desired, Done, Feed, Inbox, Ports, Readers, Refusal, Stored, Wanted,
};
use holdfast_control::service::Feeds;
use holdfast_protocol::topic::Channel;
use holdfast_records::{Format, Record};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::pki::Pki;

/// Shard of every device in these tests.
pub const SHARD: u8 = 7;

/// Longest wait for anything before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a topic of a device.
pub fn topic(device: &str, channel: &str) -> String {
    format!("hf/v1/{SHARD}/{device}/{channel}")
}

/// Event that the directory was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Connected(String, u64),
    Disconnected(String, u64, String),
    Received(String, Channel, Bytes),
}

/// Behaviour of the store towards publishes of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// Publishes are stored at once.
    #[default]
    Works,
    /// Publishes are stored at once, and acknowledged on `ack` as the report number 300.
    Acknowledges,
    /// Publishes cannot be stored.
    Fails,
    /// Publishes are neither stored nor refused until [`FakeDirectory::release`].
    Hangs,
}

#[derive(Default)]
struct State {
    refusals: BTreeMap<String, Refusal>,
    revoked_serials: BTreeSet<Vec<u8>>,
    admitted: Vec<(String, Vec<u8>)>,
    desired: BTreeMap<String, Bytes>,
    seen: Vec<Seen>,
    storage: Storage,
    held: Vec<Done>,
    /// True: received payloads are counted, not kept.
    forget: bool,
    received: u64,
    tokens: BTreeSet<String>,
    lines: BTreeMap<String, Arc<dyn Line>>,
}

/// Control plane that admits every device unless told otherwise, and remembers what it was told.
#[derive(Default)]
pub struct FakeDirectory {
    state: Mutex<State>,
    changed: Notify,
    feeds: Feeds,
}

/// Returns a data record with a JSON value.
pub fn record(seq: u64, value: &str) -> Record {
    let value = value.as_bytes().to_vec();
    Record { seq, time: 1_795_000_000_000 + seq, format: Format::Plain, value }
}

impl FakeDirectory {
    /// Makes an API token known or unknown.
    pub fn token(&self, token: &str, known: bool) {
        self.with(|state| {
            if known { state.tokens.insert(token.into()) } else { state.tokens.remove(token) }
        });
    }

    /// Announces that records of a device were stored.
    pub fn stored(&self, device: &str, stream: &str, records: Vec<Record>) {
        let (device, stream) = (device.parse().unwrap(), stream.parse().unwrap());
        let tenant = "acme".parse().unwrap();
        self.feeds.publish(Stored { tenant, device, stream, records });
    }

    /// Returns the number of connected readers.
    pub fn readers(&self) -> usize {
        self.feeds.readers()
    }

    /// Returns the newest connection of a device.
    pub fn line(&self, device: &str) -> Arc<dyn Line> {
        self.with(|state| Arc::clone(&state.lines[device]))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let out = act(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
        out
    }

    pub fn refuse(&self, device: &str, refusal: Refusal) {
        self.with(|state| state.refusals.insert(device.into(), refusal));
    }

    pub fn revoke_serial(&self, serial: &[u8]) {
        self.with(|state| state.revoked_serials.insert(serial.to_vec()));
    }

    pub fn set_desired(&self, device: &str, payload: impl Into<Bytes>) {
        let payload = payload.into();
        self.with(|state| state.desired.insert(device.into(), payload));
    }

    pub fn storage(&self, storage: Storage) {
        self.with(|state| state.storage = storage);
    }

    pub fn forget_payloads(&self) {
        self.with(|state| state.forget = true);
    }

    pub fn received(&self) -> u64 {
        self.with(|state| state.received)
    }

    /// Stores the publishes that hang, and returns how many there were.
    pub fn release(&self) -> usize {
        let held = self.with(|state| std::mem::take(&mut state.held));
        let count = held.len();
        held.into_iter().for_each(Done::stored);
        count
    }

    pub fn held(&self) -> usize {
        self.with(|state| state.held.len())
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.with(|state| state.seen.clone())
    }

    pub fn admitted(&self) -> Vec<(String, Vec<u8>)> {
        self.with(|state| state.admitted.clone())
    }

    /// Waits until `find` returns a value for the events seen so far.
    pub async fn wait<T>(&self, what: &str, mut find: impl FnMut(&[Seen]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = find(&self.state.lock().unwrap().seen) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, changed).await.is_err() {
                panic!("waited in vain for {what}; seen: {:?}", self.state.lock().unwrap().seen);
            }
        }
    }

    /// Waits for a publish of a device and returns its payload.
    pub async fn payload(&self, device: &str, channel: Channel) -> Bytes {
        self.wait(&format!("{channel:?} of {device}"), |seen| {
            seen.iter().find_map(|seen| match seen {
                Seen::Received(who, on, payload) if who == device && *on == channel => {
                    Some(payload.clone())
                }
                _ => None,
            })
        })
        .await
    }

    /// Waits for the end of a device's newest connection and returns the reason.
    pub async fn end_of(&self, device: &str) -> String {
        self.wait(&format!("end of {device}"), |seen| {
            let newest = seen.iter().rev().find_map(|seen| match seen {
                Seen::Connected(who, number) if who == device => Some(*number),
                _ => None,
            })?;
            seen.iter().find_map(|seen| match seen {
                Seen::Disconnected(who, number, reason) if who == device && *number == newest => {
                    Some(reason.clone())
                }
                _ => None,
            })
        })
        .await
    }

    /// Waits until a device has connected `times` times and returns the connection's number.
    pub async fn connection(&self, device: &str, times: usize) -> u64 {
        self.wait(&format!("connection {times} of {device}"), |seen| {
            seen.iter()
                .filter_map(|seen| match seen {
                    Seen::Connected(who, number) if who == device => Some(*number),
                    _ => None,
                })
                .nth(times - 1)
        })
        .await
    }
}

impl Admission for FakeDirectory {
    fn admit(&self, device: &DeviceId, serial: &[u8]) -> Result<u8, Refusal> {
        self.with(|state| {
            let name = device.to_string();
            state.admitted.push((name.clone(), serial.to_vec()));
            if state.revoked_serials.contains(serial) {
                return Err(Refusal::Revoked);
            }
            state.refusals.get(&name).map_or(Ok(SHARD), |refusal| Err(*refusal))
        })
    }

    fn connected(
        &self,
        device: &DeviceId,
        connection: u64,
        _peer: SocketAddr,
        line: Option<Arc<dyn Line>>,
    ) {
        self.with(|state| state.lines.extend(line.map(|line| (device.to_string(), line))));
        self.with(|state| state.seen.push(Seen::Connected(device.to_string(), connection)));
    }

    fn disconnected(&self, device: &DeviceId, connection: u64, reason: &str) {
        self.with(|state| {
            state.seen.push(Seen::Disconnected(device.to_string(), connection, reason.into()));
        });
    }
}

impl Desired for FakeDirectory {
    fn desired(&self, device: &DeviceId) -> Option<Bytes> {
        self.with(|state| state.desired.get(&device.to_string()).cloned())
    }
}

impl Inbox for FakeDirectory {
    fn received(&self, device: &DeviceId, channel: Channel, payload: Bytes, done: Done) {
        let answer = self.with(|state| {
            state.received += 1;
            if !state.forget {
                state.seen.push(Seen::Received(device.to_string(), channel, payload));
            }
            match state.storage {
                Storage::Works | Storage::Acknowledges => Some((done, state.storage)),
                Storage::Fails => None,
                Storage::Hangs => {
                    state.held.push(done);
                    None
                }
            }
        });
        match answer {
            Some((done, Storage::Acknowledges)) => {
                done.acknowledged(Bytes::from_static(&[0x82, 1, 0x19, 1, 44]));
            }
            Some((done, _)) => done.stored(),
            None => {}
        }
    }
}

impl Readers for FakeDirectory {
    fn reader(&self, token: &str) -> Option<Access> {
        let known = self.with(|state| state.tokens.contains(token));
        known.then(|| Access {
            tenant: "acme".parse().unwrap(),
            id: token.into(),
            secret_sha256: [0; 32],
        })
    }

    fn may_read(&self, access: &Access) -> bool {
        self.with(|state| state.tokens.contains(&*access.id))
    }

    fn read_along(&self, access: &Access, wanted: Wanted) -> Box<dyn Feed> {
        Box::new(self.feeds.subscribe(access.tenant.clone(), wanted))
    }
}

/// Gateway that listens, with its directory and CA.
pub struct World {
    pub pki: Pki,
    pub gateway: Gateway,
    pub directory: Arc<FakeDirectory>,
    pub address: SocketAddr,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let pki = Pki::new();
        let gateway = Gateway::new(&pki.ca_der, pki.server(), limits).unwrap();
        let directory = Arc::new(FakeDirectory::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = gateway.listen(listener, Ports::of(Arc::clone(&directory))).unwrap();
        Self { pki, gateway, directory, address }
    }

    /// Waits until the condition holds; a failure names `what` it waited for.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}; {:?}", self.gateway);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Returns a counter's value.
pub fn value(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(std::sync::atomic::Ordering::Relaxed)
}

/// Parses a device id.
pub fn id(name: &str) -> DeviceId {
    name.parse().unwrap()
}
