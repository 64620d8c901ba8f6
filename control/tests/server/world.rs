//! A service on a store that can be made to fail or wait, and devices that talk with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use holdfast_base::codec;
use holdfast_base::ids::DeviceId;
use holdfast_control::adapters::artifacts::Artifacts;
use holdfast_control::adapters::authority::{LocalAuthority, generate};
use holdfast_control::adapters::clock::uptime;
use holdfast_control::adapters::data_store::RedbDataStore;
use holdfast_control::adapters::gateway::{Gateway, Limits};
use holdfast_control::adapters::http::{App, File, Pages, Requests, openapi, router};
use holdfast_control::adapters::keyring::LocalKeyring;
use holdfast_control::adapters::notify::Receivers;
use holdfast_control::adapters::oidc::IdentityProviders;
use holdfast_control::adapters::passwords::Argon2id;
use holdfast_control::adapters::store::RedbStore;
use holdfast_control::api::Role;
use holdfast_control::core::rights::Actor;
use holdfast_control::ports::artifacts::ArtifactSizes;
use holdfast_control::ports::authority::Keys;
use holdfast_control::ports::bus::Line;
use holdfast_control::ports::bus::{Admission, Bus, Desired, Done, Inbox, Outcome};
use holdfast_control::ports::data_store::{
    Block, DataBatch, DataError, DataStore, Direction, Head, StreamRow,
};
use holdfast_control::ports::rows::Disk;
use holdfast_control::ports::rows::Segment;
use holdfast_control::ports::store::{
    Batch, Changes, Fence, LeaseError, Refused, Revision, Shard, Snapshot, Store, StoreError,
    Versioned,
};
use holdfast_control::service::{Failure, Ports, Service, Settings, Threads};
use holdfast_protocol::enrol::{
    EnrolAnswer, EnrolRequest, EnrolToken, Enrolment, NonceRequest, RenewRequest, enrol_proof,
    renew_proof, renew_proof_v0,
};
use holdfast_protocol::message::{DesiredState, Detail, Presence, StateReport, WorkloadReport};
use holdfast_protocol::signing;
use holdfast_protocol::topic::Channel;
use holdfast_records::Range;
use http_body_util::BodyExt as _;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Clock of the service in seconds since 1970, which tests move. Each test is a process of its own.
static CLOCK: AtomicU64 = AtomicU64::new(1_795_000_000);

pub fn clock() -> u64 {
    CLOCK.load(Ordering::Relaxed)
}

/// Advances the clock.
pub fn advance(seconds: u64) {
    CLOCK.fetch_add(seconds, Ordering::Relaxed);
}

/// Sets the clock back, as a person or a wrong time source does.
pub fn set_back(seconds: u64) {
    CLOCK.fetch_sub(seconds, Ordering::Relaxed);
}

/// Time by which the monotonic clock is ahead of the machine's, in milliseconds.
static AHEAD: AtomicU64 = AtomicU64::new(0);

fn monotonic() -> Duration {
    uptime() + Duration::from_millis(AHEAD.load(Ordering::Relaxed))
}

/// Advances the monotonic clock, as if the machine had been suspended.
pub fn suspend(time: Duration) {
    AHEAD.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
}

/// Number of renewals of the lease that a reading of the whole store takes.
pub static SLOWNESS: AtomicU64 = AtomicU64::new(0);

/// A connection whose device is silent for as long as a test says.
#[derive(Debug, Default)]
pub struct FakeLine {
    pub silent: AtomicU64,
}

impl Line for FakeLine {
    fn silent(&self) -> u64 {
        self.silent.load(Ordering::Relaxed)
    }

    fn keep_alive(&self) -> u16 {
        300
    }
}

/// A store that fails or waits on demand.
pub struct Moody {
    inner: Box<dyn Store>,
    pub fails: AtomicBool,
    /// Number of times that a renewal of the lease was asked for.
    pub renewals: AtomicU64,
    pub refuses_renewals: AtomicBool,
    gate: Gate,
}

/// Holds back whoever commits.
#[derive(Default)]
struct Gate {
    held: Mutex<bool>,
    freed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut held = self.held.lock().unwrap();
        while *held {
            held = self.freed.wait(held).unwrap();
        }
    }

    fn set(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.freed.notify_all();
    }
}

impl Moody {
    pub fn hold(&self) {
        self.gate.set(true);
    }

    pub fn free(&self) {
        self.gate.set(false);
    }
}

impl Store for Moody {
    fn commit(&self, batches: &[Batch]) -> Result<Vec<Result<Revision, Refused>>, StoreError> {
        self.gate.pass();
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError { what: "cannot write", cause: "no space left".into() });
        }
        self.inner.commit(batches)
    }

    fn changes(&self, since: Revision, most: usize) -> Result<Changes, StoreError> {
        self.inner.changes(since, most)
    }

    fn lease(&self, shard: Shard, holder: &str, ttl: Duration) -> Result<Fence, LeaseError> {
        self.inner.lease(shard, holder, ttl)
    }

    fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), LeaseError> {
        self.renewals.fetch_add(1, Ordering::Relaxed);
        if self.refuses_renewals.load(Ordering::Relaxed) {
            let error = StoreError { what: "cannot read", cause: "no connection".into() };
            return Err(error.into());
        }
        self.inner.renew(fence, ttl)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let wanted = self.renewals.load(Ordering::Relaxed) + SLOWNESS.load(Ordering::Relaxed);
        for _ in 0..2_000 {
            if self.renewals.load(Ordering::Relaxed) >= wanted {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.renewals.load(Ordering::Relaxed) < wanted {
            return Err(StoreError {
                what: "cannot read",
                cause: "nobody renews the lease".into(),
            });
        }
        self.inner.snapshot()
    }

    fn read(&self, prefix: &str, most: usize) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.inner.read(prefix, most)
    }

    fn pick(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, StoreError> {
        self.inner.pick(keys)
    }
}

/// A data store whose disk can be full or nearly full.
pub struct MoodyData {
    inner: RedbDataStore,
    pub full: AtomicBool,
    /// Free bytes of the disk.
    pub free: AtomicU64,
    /// First sequence numbers of blocks that count as damaged.
    pub harmed: Mutex<Vec<u64>>,
    gate: Gate,
}

impl MoodyData {
    pub fn hold(&self) {
        self.gate.set(true);
    }

    pub fn free(&self) {
        self.gate.set(false);
    }
}

impl DataStore for MoodyData {
    fn claim(&self, fence: Fence) -> Result<(), DataError> {
        self.inner.claim(fence)
    }

    fn commit(&self, batch: &DataBatch) -> Result<(), DataError> {
        self.gate.pass();
        if self.full.load(Ordering::Relaxed) {
            let error = StoreError { what: "cannot write", cause: "no space left".into() };
            return Err(error.into());
        }
        self.inner.commit(batch)
    }

    fn id(&self) -> Result<u64, StoreError> {
        self.inner.id()
    }

    fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
        self.inner.streams()
    }

    fn segments(&self, stream: u64, range: Range, most: usize) -> Result<Vec<Segment>, StoreError> {
        self.inner.segments(stream, range, most)
    }

    fn heads(
        &self,
        stream: u64,
        range: Range,
        most: usize,
        direction: Direction,
    ) -> Result<Vec<Head>, StoreError> {
        self.inner.heads(stream, range, most, direction)
    }

    fn block(&self, stream: u64, first: u64) -> Result<Option<Block>, StoreError> {
        let harmed = self.harmed.lock().unwrap().contains(&first);
        let block = self.inner.block(stream, first)?;
        Ok(block.map(|block| if harmed { Block::Damaged } else { block }))
    }

    fn disk(&self) -> Option<Disk> {
        Some(Disk { total: u64::MAX, free: self.free.load(Ordering::Relaxed) })
    }

    fn damaged(&self) -> Option<String> {
        self.inner.damaged()
    }
}

/// A bus that remembers the calls to it.
#[derive(Default)]
pub struct FakeBus {
    pub changed: Mutex<Vec<String>>,
    pub disconnected: Mutex<Vec<String>>,
    pub calls: Mutex<Vec<(DeviceId, Bytes)>>,
    pub acks: Mutex<Vec<(DeviceId, Bytes)>>,
}

impl Bus for FakeBus {
    fn desired_changed(&self, device: &DeviceId) {
        self.changed.lock().unwrap().push(device.to_string());
    }
    fn call(&self, device: &DeviceId, payload: Bytes) -> bool {
        self.calls.lock().unwrap().push((device.clone(), payload));
        true
    }
    fn ack(&self, device: &DeviceId, payload: Bytes) {
        self.acks.lock().unwrap().push((device.clone(), payload));
    }
    fn disconnect(&self, device: &DeviceId) {
        self.disconnected.lock().unwrap().push(device.to_string());
    }
}

pub struct World {
    folder: tempfile::TempDir,
    pub service: Arc<Service>,
    writing: Option<Threads>,
    pub bus: Arc<FakeBus>,
    pub store: Arc<Moody>,
    pub data: Arc<MoodyData>,
    pub keyring: Arc<LocalKeyring>,
    pub admin: String,
    app: App,
    _stop: tokio::sync::watch::Sender<bool>,
}

/// Private key of a device.
pub struct Key(KeyPair);

impl Key {
    pub fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }

    pub fn public(&self) -> String {
        STANDARD.encode(self.0.subject_public_key_info())
    }

    pub fn sign(&self, message: &[u8]) -> String {
        let random = SystemRandom::new();
        let document = self.0.serialize_der();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &document, &random).unwrap();
        STANDARD.encode(pair.sign(&random, message).unwrap())
    }
}

fn in_memory() -> Arc<LocalKeyring> {
    Arc::new(LocalKeyring::in_memory().unwrap())
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = generate(clock()).unwrap();
        let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
        Self::open(folder, Box::new(store), keys, None, in_memory()).await
    }

    /// Starts a service with this keyring.
    pub async fn with_keyring(keyring: Arc<LocalKeyring>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
        Self::open(folder, Box::new(store), generate(clock()).unwrap(), None, keyring).await
    }

    /// Starts a service on this store.
    pub async fn on(store: Box<dyn Store>) -> Self {
        let keys = generate(clock()).unwrap();
        Self::open(tempfile::tempdir().unwrap(), store, keys, None, in_memory()).await
    }

    async fn open(
        folder: tempfile::TempDir,
        inner: Box<dyn Store>,
        keys: Keys,
        admin: Option<String>,
        keyring: Arc<LocalKeyring>,
    ) -> Self {
        let store = Arc::new(Moody {
            inner,
            fails: AtomicBool::new(false),
            renewals: AtomicU64::new(0),
            refuses_renewals: AtomicBool::new(false),
            gate: Gate::default(),
        });
        let authority = Arc::new(LocalAuthority::new(keys, "holdfast").unwrap());
        let identity = authority.server_identity(clock()).unwrap();
        let gateway = Gateway::new(authority.ca_der(), identity, Limits::default()).unwrap();
        let bus = Arc::new(FakeBus::default());
        let settings = Settings {
            tenant: "default".parse().unwrap(),
            device_ttl: 3_600,
            mqtt: vec![":8883".into()],
            api: None,
            addresses: Vec::new(),
            reserve: None,
            clock,
            uptime: monotonic,
        };
        let inner = RedbDataStore::new(&folder.path().join("data.redb"));
        let data = Arc::new(MoodyData {
            inner,
            full: AtomicBool::new(false),
            free: AtomicU64::new(u64::MAX),
            harmed: Mutex::default(),
            gate: Gate::default(),
        });
        let artifacts = Artifacts::open(&folder.path().join("artifacts"), 1_000_000).unwrap();
        let artifacts = Arc::new(artifacts);
        let ports = Ports {
            store: Arc::clone(&store) as Arc<dyn Store>,
            data: Arc::clone(&data) as Arc<dyn DataStore>,
            bus: Arc::clone(&bus) as Arc<dyn Bus>,
            authority,
            passwords: Arc::new(Argon2id::of((8, 1, 1)).unwrap()),
            keyring: Arc::clone(&keyring) as _,
            artifacts: Arc::clone(&artifacts) as Arc<dyn ArtifactSizes>,
            notifier: Arc::new(Receivers),
            providers: Arc::new(IdentityProviders),
            sender: Arc::new(Receivers),
        };
        let (service, writing) = Service::start(ports, settings).unwrap();
        let first = service.access.first_start().await.unwrap();
        if first.is_some() {
            service.access.admin_token_was_shown().await.unwrap();
        }
        let (stop, stopping) = tokio::sync::watch::channel(false);
        let app = App {
            service: Arc::clone(&service),
            gateway,
            artifacts,
            requests: Arc::new(Requests::default()),
            description: Arc::new(openapi()),
            pages: Arc::new(Pages::new(Vec::new())),
            stop: stopping,
        };
        let admin = admin.or(first).unwrap();
        while !service.data.knows_streams() {
            tokio::task::yield_now().await;
        }
        let writing = Some(writing);
        Self { folder, service, writing, bus, store, data, keyring, admin, app, _stop: stop }
    }

    /// Content of a file of the data folder.
    pub fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }

    /// Names of the files in a folder of the data folder.
    pub fn files_of(&self, name: &str) -> Vec<String> {
        let all = std::fs::read_dir(self.folder.path().join(name)).unwrap();
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Writes a file of the data folder.
    pub fn write_file(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    /// Stops the service and starts it again on what is on disk.
    pub async fn restart(self) -> Self {
        self.tampered(|_| {}).await
    }

    /// Stops the service, lets somebody else at its store, and starts it again.
    pub async fn tampered(mut self, damage: impl FnOnce(&dyn Store)) -> Self {
        self.service.close();
        self.writing.take().unwrap().join().unwrap();
        // A disk that failed is well again, before anything that waits is written.
        self.store.fails.store(false, Ordering::Relaxed);
        let keyring = Arc::clone(&self.keyring);
        let (keys, admin) = (self.service.enrolment.authority().keys().clone(), self.admin.clone());
        let Self { folder, service, store, data, app, .. } = self;
        drop((service, app, store, data));
        let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
        damage(&store);
        Self::open(folder, Box::new(store), keys, Some(admin), keyring).await
    }

    pub async fn request(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let (status, bytes) = self.send(method, path, &[], body).await;
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> (u16, Bytes) {
        let answer = self.answer(method, path, headers, body).await;
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// Sends a request and returns the response, whose body may never end.
    pub async fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> axum::response::Response {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.admin));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        router(self.app.clone()).oneshot(request).await.unwrap()
    }

    /// Returns the routes, for a test that asks thousands of times: making them takes longer than
    /// most answers.
    pub fn routes(&self) -> axum::Router {
        router(self.app.clone())
    }

    /// Sends a request with these headers and no others, and returns the whole response.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> axum::http::Response<Bytes> {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = router(self.app.clone()).oneshot(request).await.unwrap().into_parts();
        axum::http::Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    /// Sends a GET with these headers and no others, and returns the response without reading its
    /// body.
    pub async fn streamed(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> axum::http::Response<Body> {
        let mut request = axum::http::Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        router(self.app.clone()).oneshot(request).await.unwrap()
    }

    /// Serves these files as the pages from now on.
    pub fn show(&mut self, files: Vec<File>) {
        self.app.pages = Arc::new(Pages::new(files));
    }

    /// Restarts the service, after adding these records to the store.
    pub async fn with_records(self, records: Vec<(String, Vec<u8>)>) -> Self {
        let mut batch = Batch::default();
        for (key, value) in records {
            batch.put(key, value);
        }
        self.store.commit(&[batch]).unwrap();
        self.restart().await
    }

    /// Creates an enrolment token. Devices may choose any labels unless `new` says which.
    pub async fn token(&self, mut new: Value) -> String {
        if new.get("allowLabels").is_none() {
            new["allowLabels"] = json!(["*"]);
        }
        let (status, answer) = self.request("POST", "/api/v1/tokens", new).await;
        assert_eq!(status, 201, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }

    pub async fn enrol(
        &self,
        key: &Key,
        token: &str,
        name: Option<&str>,
    ) -> Result<EnrolAnswer, Failure> {
        let id = token.parse::<EnrolToken>().unwrap().id;
        let public_key = key.public();
        self.service
            .enrolment
            .enrol(EnrolRequest {
                token: token.to_owned(),
                name: name.map(|name| name.parse().unwrap()),
                labels: [("role".to_owned(), "a".to_owned())].into(),
                proof: key.sign(&enrol_proof(&id, &public_key, None)),
                sealing_key: None,
                public_key,
            })
            .await
    }

    pub async fn renew(&self, key: &Key) -> Result<EnrolAnswer, Failure> {
        let public_key = key.public();
        let proof = key.sign(&renew_proof_v0(&public_key));
        let (nonce, sealing_key) = (None, None);
        let request = RenewRequest { public_key, nonce, sealing_key, proof };
        self.service.enrolment.renew(request).await
    }

    /// Enrols a key as an agent with this sealing key does.
    pub async fn enrol_sealing(
        &self,
        key: &Key,
        token: &str,
        sealing_key: Option<String>,
    ) -> Result<EnrolAnswer, Failure> {
        let id = token.parse::<EnrolToken>().unwrap().id;
        let public_key = key.public();
        let proof = key.sign(&enrol_proof(&id, &public_key, sealing_key.as_deref()));
        let (token, name, labels) = (token.to_owned(), None, [].into());
        let request = EnrolRequest { token, name, labels, public_key, sealing_key, proof };
        self.service.enrolment.enrol(request).await
    }

    /// Returns a renewal request of a key with a fresh nonce, which may bring a sealing key.
    pub fn renewal(&self, key: &Key, sealing_key: Option<&str>) -> RenewRequest {
        let public_key = key.public();
        let asked = NonceRequest { public_key: public_key.clone() };
        let nonce = self.service.enrolment.nonce(&asked).unwrap().nonce;
        let proof = key.sign(&renew_proof(&public_key, &nonce, sealing_key));
        let sealing_key = sealing_key.map(str::to_owned);
        RenewRequest { public_key, nonce: Some(nonce), sealing_key, proof }
    }

    /// Enrols a device with the label `role=a`.
    pub async fn device(&self, name: &str) -> (Key, Enrolment) {
        let (key, token) = (Key::new(), self.token(json!({})).await);
        let enrolment = approved(self.enrol(&key, &token, Some(name)).await.unwrap());
        (key, enrolment)
    }

    /// Returns an operator named `test` who may do everything in the world's tenant.
    pub fn actor(&self) -> Actor {
        Actor::token("default".parse().unwrap(), "test", Role::Admin)
    }

    pub async fn apply(&self, name: &str, argument: &str) -> Result<(), Failure> {
        let document = document(name, argument);
        self.service.workloads.apply(&self.actor(), &[document], false).await.map(|_| ())
    }

    /// Returns the device's desired state as it would be sent, after verifying it.
    pub fn desired(&self, name: &str) -> Option<DesiredState> {
        let bytes = self.service.directory.desired(&id(name))?;
        let key = self.service.enrolment.authority().signer().public_key();
        Some(signing::verify(&bytes, &key, &id(name)).unwrap())
    }

    /// Publishes a message as a device and returns whether it was stored.
    pub async fn publish(&self, name: &str, channel: Channel, payload: Vec<u8>) -> bool {
        self.outcome(name, channel, payload).await != Outcome::NotStored
    }

    /// Publishes a message as a device and returns what became of it.
    pub async fn outcome(&self, name: &str, channel: Channel, payload: Vec<u8>) -> Outcome {
        let (tell, told) = tokio::sync::oneshot::channel();
        let done = Done::new(move |outcome| tell.send(outcome).unwrap());
        self.service.directory.received(&id(name), channel, payload.into(), done);
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap()
    }

    pub fn connect(&self, name: &str, connection: u64) {
        let peer: SocketAddr = "192.0.2.1:99".parse().unwrap();
        self.service.directory.connected(&id(name), connection, peer, None);
    }

    /// Connects a device with a line that tells when it was last heard.
    pub fn connect_with(&self, name: &str, connection: u64) -> Arc<FakeLine> {
        let (peer, line): (SocketAddr, _) =
            ("192.0.2.1:99".parse().unwrap(), Arc::<FakeLine>::default());
        self.service.directory.connected(&id(name), connection, peer, Some(Arc::clone(&line) as _));
        line
    }

    pub fn disconnect(&self, name: &str, connection: u64, reason: &str) {
        self.service.directory.disconnected(&id(name), connection, reason);
    }

    /// Waits until everything that was noted so far is on disk. A device d-1 must exist.
    pub async fn settle(&self) {
        self.service.fleet.approve(&self.actor(), "d-1").await.unwrap();
    }

    /// Makes a change that has no effect.
    pub fn touch(&self) {
        self.connect("nobody", 1);
    }

    pub async fn present(&self, name: &str, session: u64) {
        let presence = Presence { v: holdfast_base::WIRE_VERSION, online: true, session };
        assert!(self.publish(name, Channel::Presence, codec::encode(&presence).unwrap()).await);
    }

    pub fn view(&self, name: &str) -> Value {
        serde_json::to_value(self.service.fleet.device(&self.actor(), name).unwrap()).unwrap()
    }
}

pub fn approved(answer: EnrolAnswer) -> Enrolment {
    match answer {
        EnrolAnswer::Approved(enrolment) => *enrolment,
        EnrolAnswer::Pending { device, .. } => panic!("{device} waits"),
    }
}

pub fn id(name: &str) -> DeviceId {
    format!("default_{name}").parse().unwrap()
}

pub fn document(name: &str, argument: &str) -> Value {
    json!({
        "apiVersion": "holdfast/v1", "kind": "Workload", "metadata": { "name": name },
        "spec": {
            "devices": { "matchLabels": { "role": "a" } },
            "run": { "process": { "path": "/bin/sleep", "args": [argument] } }
        }
    })
}

/// Returns a full report with this number that these workloads run in these revisions.
pub fn numbered(id: Option<u32>, runs: &[(&str, u64)]) -> Vec<u8> {
    let report: StateReport = codec::decode(&report(true, 1, 1, runs)).unwrap();
    codec::encode(&StateReport { id, ..report }).unwrap()
}

/// Returns a report that these workloads run in these revisions.
pub fn report(full: bool, epoch: u64, generation: u64, runs: &[(&str, u64)]) -> Vec<u8> {
    let workloads: BTreeMap<_, _> = runs
        .iter()
        .map(|(name, revision)| {
            let report = WorkloadReport {
                revision: *revision,
                phase: holdfast_protocol::message::Phase::Running,
                restarts: 0,
                run: Some(7),
                detail: Some(Detail::Process(7)),
                reason: String::new(),
                progress: None,
            };
            (name.parse().unwrap(), Some(report))
        })
        .collect();
    let v = holdfast_base::WIRE_VERSION;
    let report = StateReport {
        v,
        full,
        epoch,
        generation,
        workloads,
        problems: None,
        agent: None,
        data: None,
        history: Vec::new(),
        id: None,
    };
    codec::encode(&report).unwrap()
}
