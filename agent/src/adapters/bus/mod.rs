//! The local bus: an MQTT listener on a Unix socket and on 127.0.0.1 for the workloads of this device, and for programs
//! that were given a local access. Publishes go into the buffer, and to whoever has subscribed.
//!
//! It listens only once somebody may come. A bus that cannot listen stops no workload: it is tried
//! again, and said.

mod connection;
mod exchange;
mod gate;
mod kept;
mod mailbox;
mod peer;
mod said;
mod seats;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_base::ids::Name;
use holdfast_mqtt::{Code, Fault, Limits};
use holdfast_protocol::workload::Bus as Permissions;
use holdfast_records::StreamName;
use holdfast_records::block::MAX_RECORD;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;

use super::access::{Access, HOST};
use super::clock::uptime_ms;
use super::intake::Intake;
use super::users;
use crate::core::bus::Rights;
use connection::Connection;
use exchange::Exchange;
use peer::Peer;
pub use said::Said;
pub use seats::{Strangers, has_place};

/// Clients at a time. A device has a few workloads; each client may hold 128 KiB on its way in and
/// 256 KiB on its way out.
const MAX_CLIENTS: usize = 64;
/// Clients of one workload or local access at a time, so that one that forgets to close leaves
/// room for others.
const MAX_OF_ONE: usize = 32;
/// How long the end of the agent waits for clients.
const FAREWELL: Duration = Duration::from_millis(1_500);
/// Why clients end with the agent.
const STOPS: Fault = Fault::new(Code::ShuttingDown, "the agent stops");
/// From a change of what is retained until it is written.
const KEEP_AFTER: Duration = Duration::from_millis(500);
/// From accept to a whole CONNECT, in milliseconds.
const CONNECT_TIMEOUT: u64 = 3_000;
/// A client that takes nothing of what waits for it is cut after so many milliseconds.
const STALL: u64 = if cfg!(test) { 500 } else { 5_000 };
/// A packet of a record beside its value: topic, packet id, a few properties.
const PACKET: usize = MAX_RECORD + 1_024;

/// What each workload may do, and the nonce of its instance, of which its password is derived.
type Workloads = BTreeMap<Name, (Arc<Rights>, Option<u64>)>;

/// What all of the bus' tasks share.
struct Shared {
    access: Arc<Access>,
    intake: Arc<dyn Intake>,
    said: Arc<Said>,
    exchange: Exchange,
    /// The file of what is retained.
    kept: PathBuf,
    limits: Arc<Limits>,
    /// Who may come, beside local accesses.
    workloads: Mutex<Workloads>,
    /// Streams that the agent itself fills: nobody else may.
    sourced: Mutex<BTreeSet<StreamName>>,
    next: AtomicU64,
    strangers: Strangers,
    /// Connections that have not ended.
    clients: AtomicUsize,
    counters: Counters,
}

/// What the bus counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records that were published and are on disk.
    stored: AtomicU64,
    /// Publishes of QoS 0 that found no room.
    dropped: AtomicU64,
    /// Publishes and subscriptions that were refused.
    refused: AtomicU64,
    /// Messages that reached no subscriber's queue for want of room.
    overrun: AtomicU64,
    /// Clients that were cut: they read nothing.
    stalled: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Shared {
    fn workloads(&self) -> MutexGuard<'_, Workloads> {
        self.workloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sourced(&self) -> MutexGuard<'_, BTreeSet<StreamName>> {
        self.sourced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is retained; what cannot be written is tried again with the next change.
    fn keep(&self, messages: &[u8]) {
        if let Err(error) = kept::save(&self.kept, messages) {
            self.exchange.not_kept();
            self.say_of_kept("could not be written: they are lost when the agent restarts", &error);
        }
    }

    fn say_of_kept(&self, what: &'static str, error: &std::io::Error) {
        let about = format!("{}: {error}", self.kept.display());
        self.said.note_on(None, "the file of retained messages", what, &about, uptime_ms());
    }

    /// What a client of this name may do now; None: nobody of this name may come.
    fn rights(&self, name: &Name) -> Option<Arc<Rights>> {
        if let Some((rights, _)) = self.workloads().get(name) {
            return Some(Arc::clone(rights));
        }
        let bus = self.access.local_bus(name)?;
        Some(Arc::new(Rights { name: name.clone(), bus }))
    }

    /// Who this is by name and password. A workload's password serves its own user alone (and
    /// root): whoever has listened on the bus' port while the agent was away cannot use it.
    fn who(&self, user: &str, password: &[u8], peer: Peer) -> Option<Arc<Rights>> {
        let name: Name = user.parse().ok()?;
        let workload = self.workloads().get(&name).cloned();
        if let Some((rights, nonce)) = workload {
            // A workload's name is its own, whatever a local access of that name says.
            let known = self.access.is_workloads(&name, nonce?, password);
            let owner = users::owner(&self.access.workloads(), &name);
            return (known && owner.is_none_or(|owner| peer.may_be(owner))).then_some(rights);
        }
        let local = self.access.local(&name, password);
        let local = local.or_else(|| {
            // It may have been made a moment ago.
            self.access.look().then(|| self.access.local(&name, password)).flatten()
        })?;
        Some(Arc::new(Rights { name, bus: local.bus }))
    }

    /// The workload that has this user to itself.
    fn sole(&self, user: u32) -> Option<Arc<Rights>> {
        if user == 0 || user == rustix::process::geteuid().as_raw() {
            return None;
        }
        let owners = users::owners(&self.access.workloads()).ok()?;
        let mut mine = owners.into_iter().filter(|(_, owner)| *owner == user);
        let ((name, _), None) = (mine.next()?, mine.next()) else { return None };
        self.workloads().get(&name).map(|(rights, _)| Arc::clone(rights))
    }

    /// Whether one more client of this name leaves the others their share.
    fn has_place(&self, name: &Name) -> bool {
        let mut known: BTreeMap<Name, usize> =
            self.workloads().keys().cloned().map(|name| (name, 0)).collect();
        known.extend(self.access.locals().into_keys().map(|name| (name, 0)));
        self.exchange.count(&mut known);
        has_place(&known, name, MAX_CLIENTS, MAX_OF_ONE)
    }
}

/// The bus.
pub struct Bus {
    shared: Arc<Shared>,
    listening: Option<AbortHandle>,
    /// The task that writes what is retained.
    keeping: Option<AbortHandle>,
    on_socket: Option<AbortHandle>,
    /// Why it does not listen.
    trouble: Option<String>,
    /// Why it does not on its Unix socket.
    socket_trouble: Option<String>,
}

impl Bus {
    /// Listens to nobody yet.
    pub fn new(access: Arc<Access>, intake: Arc<dyn Intake>, said: Arc<Said>) -> Self {
        let limits = Limits {
            max_packet: PACKET,
            inbound_in_flight: 128,
            inbound_bytes: 128 * 1024,
            outbound_in_flight: 64,
            outbound_queue: 64,
            connect_timeout: CONNECT_TIMEOUT,
            partial_timeout: 10_000,
            max_keep_alive: 3_600,
            lenient: true,
        };
        let kept = access.data().join("bus.retained");
        let shared = Shared {
            access,
            intake,
            said,
            exchange: Exchange::default(),
            kept,
            limits: Arc::new(limits),
            workloads: Mutex::default(),
            sourced: Mutex::default(),
            next: AtomicU64::new(0),
            strangers: Strangers::default(),
            clients: AtomicUsize::new(0),
            counters: Counters::default(),
        };
        match kept::load(&shared.kept) {
            Ok(messages) => shared.exchange.restore(messages),
            Err(error) => shared.say_of_kept("could not be read: it is begun anew", &error),
        }
        Self {
            shared: Arc::new(shared),
            listening: None,
            keeping: None,
            on_socket: None,
            trouble: None,
            socket_trouble: None,
        }
    }

    /// This workload may come from now on, with these permissions. `nonce`: of its instance, where
    /// that is known.
    pub fn admit(&mut self, name: Name, bus: Permissions, nonce: Option<u64>) {
        let rights = Arc::new(Rights { name: name.clone(), bus });
        self.shared.workloads().insert(name, (rights, nonce));
        self.listen();
    }

    /// This instance of a workload runs already.
    pub fn adopted(&mut self, name: &Name, nonce: u64) {
        if let Some((_, known)) = self.shared.workloads().get_mut(name) {
            *known = Some(nonce);
        }
    }

    /// It may not come any more.
    pub fn dismiss(&mut self, name: &Name) {
        self.shared.workloads().remove(name);
        self.shared.exchange.end_of(name);
    }

    /// The agent itself fills these streams from now on, and no others.
    pub fn keep_for_sources(&mut self, streams: BTreeSet<StreamName>) {
        *self.shared.sourced() = streams;
    }

    /// Looks whether local accesses changed, and tries again to listen where that failed.
    pub fn look(&mut self) {
        if self.shared.access.look() {
            self.shared
                .exchange
                .end_where(|name| self.shared.rights(name).is_none(), exchange::GONE);
        }
        if !self.is_idle() {
            self.listen();
        }
    }

    /// True while nobody may come.
    pub fn is_idle(&self) -> bool {
        self.shared.workloads().is_empty() && self.shared.access.locals().is_empty()
    }

    /// Who somebody is by name and password.
    pub fn authority(&self) -> Authority {
        Authority(Arc::clone(&self.shared))
    }

    fn listen(&mut self) {
        if self.keeping.is_none() {
            let keeping = keep(Arc::clone(&self.shared));
            self.keeping = Some(tokio::spawn(keeping).abort_handle());
        }
        if self.on_socket.is_none() {
            let path = self.shared.access.bus_socket();
            match super::status::bind_for_all(&path) {
                Ok(listener) => {
                    let accept = accept_on_socket(listener, Arc::clone(&self.shared));
                    self.on_socket = Some(tokio::spawn(accept).abort_handle());
                    self.socket_trouble = None;
                }
                Err(error) => {
                    let why = format!(
                        "the local bus cannot listen on {} ({error}): it is served on {HOST} alone",
                        path.display()
                    );
                    if self.socket_trouble.as_ref() != Some(&why) {
                        tracing::error!("{why}");
                    }
                    self.socket_trouble = Some(why);
                }
            }
        }
        if self.listening.is_some() {
            return;
        }
        match self.bind() {
            Ok(listener) => {
                let accept = accept(listener, Arc::clone(&self.shared));
                self.listening = Some(tokio::spawn(accept).abort_handle());
                if self.trouble.take().is_some() {
                    tracing::info!("the local bus listens");
                }
            }
            Err(why) => {
                if self.trouble.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                }
                self.trouble = Some(why);
            }
        }
    }

    fn bind(&self) -> Result<TcpListener, String> {
        let port = self.shared.access.port().map_err(|error| {
            format!("the local bus has no port ({error}): workloads cannot publish")
        })?;
        bind(port).map_err(|error| {
            let who = peer::listener(port).map(|user| format!("; user {user} listens there"));
            format!(
                "the local bus cannot listen on {HOST}:{port} ({error}{}): workloads can publish by HOLDFAST_MQTT_SOCKET alone until that port is given back; it stays the same, since workloads that run know it, and is tried again every few seconds",
                who.unwrap_or_default()
            )
        })
    }

    /// Lets nobody in any more, and waits a little until everybody who is there is answered and
    /// gone: what is stored is acknowledged before the agent ends.
    pub async fn stop(&mut self) {
        for listening in [self.listening.take(), self.on_socket.take()].into_iter().flatten() {
            listening.abort();
        }
        self.shared.strangers.cut_all();
        self.shared.exchange.end_where(|_| true, STOPS);
        let gone = async {
            while self.shared.clients.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(FAREWELL, gone).await.is_err() {
            tracing::debug!("clients of the local bus did not end in time");
        }
    }

    /// What a person should know, by code.
    pub fn problems(&self) -> Vec<(&'static str, Option<String>)> {
        let locals = self.shared.access.locals();
        let workloads = self.shared.workloads();
        let twice: Vec<&str> =
            locals.keys().filter(|name| workloads.contains_key(*name)).map(Name::as_str).collect();
        let twice = (!twice.is_empty()).then(|| {
            format!(
                "{} is the name of a workload and of a local access: the workload's credentials hold, the local access has none; remove it on the device, and make it anew under another name",
                twice.join(", ")
            )
        });
        vec![
            ("bus", self.trouble.clone().or_else(|| self.socket_trouble.clone())),
            ("bus-credentials", self.shared.access.problem()),
            ("local-access", twice),
        ]
    }

    /// What it counts, for `holdfast-agent status`.
    pub fn counts(&self) -> serde_json::Value {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        serde_json::json!({
            "clients": self.shared.exchange.len(),
            "stored": get(&counters.stored),
            "dropped": get(&counters.dropped),
            "refused": get(&counters.refused),
            "notDelivered": get(&counters.overrun),
            "cut": get(&counters.stalled),
        })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        for task in [&self.listening, &self.keeping, &self.on_socket].into_iter().flatten() {
            task.abort();
        }
        if let Some(bytes) = self.shared.exchange.take_changed(|_| false) {
            self.shared.keep(&bytes);
        }
        self.shared.exchange.end_where(|_| true, STOPS);
    }
}

/// Tells who somebody is: what the data socket shares with the bus.
#[derive(Clone)]
pub struct Authority(Arc<Shared>);

impl Authority {
    /// By name and password, of a caller of this user (None: the kernel does not say).
    pub fn who(&self, name: &str, password: &[u8], user: Option<u32>) -> Option<Name> {
        let peer = user.map_or(Peer::Unknown, Peer::User);
        self.0.who(name, password, peer).map(|rights| rights.name.clone())
    }

    /// The workload that has this user to itself.
    pub fn sole(&self, user: u32) -> Option<Name> {
        self.0.sole(user).map(|rights| rights.name.clone())
    }

    /// Everybody who may come, with no connection yet.
    pub fn known(&self) -> BTreeMap<Name, usize> {
        let locals = self.0.access.locals().into_keys();
        self.0.workloads().keys().cloned().chain(locals).map(|name| (name, 0)).collect()
    }

    /// Whether the agent itself fills this stream, and nobody else may.
    pub fn is_sourced(&self, stream: &StreamName) -> bool {
        self.0.sourced().contains(stream)
    }
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    // Connections of the agent before this one may linger; a listener of somebody else still
    // stands in the way.
    socket.set_reuseaddr(true)?;
    socket.bind((std::net::Ipv4Addr::LOCALHOST, port).into())?;
    // Who comes in a flood of others waits, and is not turned away by the kernel.
    socket.listen(1_024)
}

/// Writes what is retained a moment after it has changed. What changes all the time is written
/// less often the more it is: a KiB a second, so that it wears out no disk.
async fn keep(shared: Arc<Shared>) {
    loop {
        shared.exchange.changes.notified().await;
        tokio::time::sleep(KEEP_AFTER).await;
        let gone = |name: &Name| shared.rights(name).is_none();
        let Some(bytes) = shared.exchange.take_changed(gone) else { continue };
        let pause = Duration::from_millis(u64::try_from(bytes.len()).unwrap_or(0));
        let writer = Arc::clone(&shared);
        let written = tokio::task::spawn_blocking(move || writer.keep(&bytes));
        if let Err(error) = written.await {
            tracing::warn!(%error, "retained messages were not written");
        }
        tokio::time::sleep(pause).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Small answers must not wait for each other; a socket that cannot is slower.
                let _slower = stream.set_nodelay(true);
                let peer = stream.local_addr().map_or(Peer::Unknown, |to| peer::of(from, to));
                admit(Box::new(stream), peer, false, &shared);
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn accept_on_socket(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = stream.peer_cred().map_or(Peer::Unknown, |it| Peer::User(it.uid()));
                admit(Box::new(stream), peer, true, &shared);
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &std::io::Error) {
    // No descriptors, mostly: there will be some again.
    tracing::warn!(%error, "the local bus cannot let a client in");
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// A client's stream.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

fn admit(stream: Box<dyn Stream>, peer: Peer, on_socket: bool, shared: &Arc<Shared>) {
    let number = shared.next.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(user) = shared.strangers.enter(number, peer.user()) {
        let what = "a user keeps more connections to the local bus open than it may without saying who it is: the oldest was cut";
        let about = user.map_or("an unknown user".to_owned(), |user| format!("user {user}"));
        shared.said.note_about(None, what, &about, uptime_ms());
        add(&shared.counters.refused, 1);
    }
    let seat = Seat { shared: Arc::clone(shared), number };
    shared.clients.fetch_add(1, Ordering::Relaxed);
    let gate = gate::Gate::new(Arc::clone(shared), number, peer, on_socket);
    let task = tokio::spawn(Connection::new(stream, number, seat, gate));
    shared.strangers.began(number, task.abort_handle());
}

/// The place of a client. The part that strangers share is given back when it has said who it is.
struct Seat {
    shared: Arc<Shared>,
    number: u64,
}

impl Seat {
    /// The client has said who it is, or is gone.
    fn known(&self) {
        self.shared.strangers.leave(self.number);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.known();
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
