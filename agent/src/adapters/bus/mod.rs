//! The local bus: an MQTT server on a Unix socket and on 127.0.0.1, for the workloads of this
//! device and for programs with a local access. Publishes go into the buffer and to subscribers.
//!
//! It listens only once somebody may connect. A bus that cannot listen stops no workload: it tries
//! again, and reports the problem.
//!
//! See decision 0053.

mod connection;
mod exchange;
mod gate;
mod mailbox;
mod peer;
mod problem_log;
mod published;
mod retained;
mod shared;
mod slots;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_base::ids::Name;
use holdfast_mqtt::{Code, Fault, Limits};
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::workload::Bus as Permissions;
use holdfast_records::StreamName;
use holdfast_records::block::MAX_RECORD;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::AbortHandle;

use super::access::{Access, HOST};
use super::clock::uptime_ms;
use super::intake::Intake;
use super::tasks;
use crate::core::bus::Rights;
use crate::core::caller::Peer;
use connection::Connection;
use exchange::Exchange;
pub use problem_log::ProblemLog;
use shared::{Counters, Shared, Slot, Stream, add};
pub use slots::Unauthenticated;

/// Longest time that the agent's end waits for clients.
const STOP_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Reason for ending clients with the agent.
const STOPS: Fault = Fault::new(Code::ShuttingDown, "the agent stops");
/// Delay from a change of the retained messages until they are written.
const SAVE_AFTER: Duration = Duration::from_millis(500);
/// Longest time from accept to a complete CONNECT, in milliseconds.
const CONNECT_TIMEOUT: u64 = 3_000;
/// Largest packet in bytes: a record, and its topic, packet id and a few properties.
const PACKET: usize = MAX_RECORD + 1_024;

/// The local bus, with its listeners.
pub struct Bus {
    shared: Arc<Shared>,
    listening: Option<AbortHandle>,
    /// Task that writes the retained messages.
    saving: Option<AbortHandle>,
    on_socket: Option<AbortHandle>,
    /// Reason why it does not listen on its port.
    trouble: Option<String>,
    /// Reason why it does not listen on its Unix socket.
    socket_trouble: Option<String>,
}

/// Reason why the local bus does not listen on its port.
#[derive(Debug, thiserror::Error)]
enum NotListening {
    #[error("the local bus has no port ({0}): workloads cannot publish")]
    NoPort(std::io::Error),
    #[error(
        "the local bus cannot listen on {HOST}:{port} ({error}{who}): workloads can publish by HOLDFAST_MQTT_SOCKET alone until that port is given back; it stays the same, since workloads that run know it, and is tried again every few seconds"
    )]
    Taken { port: u16, error: std::io::Error, who: String },
}

impl Bus {
    /// Creates a bus that does not listen yet, and reads the retained messages.
    pub fn new(access: Arc<Access>, intake: Arc<dyn Intake>, problem_log: Arc<ProblemLog>) -> Self {
        let limits = Limits {
            max_packet: PACKET,
            inbound_in_flight: 128,
            inbound_bytes: 128 * 1024,
            outbound_in_flight: 64,
            outbound_queue: 64,
            topic_aliases: 0,
            connect_timeout: CONNECT_TIMEOUT,
            partial_timeout: 10_000,
            max_keep_alive: 3_600,
            lenient: true,
        };
        let retained_file = access.data().join("bus.retained");
        let shared = Shared {
            access,
            intake,
            problem_log,
            exchange: Exchange::default(),
            retained_file,
            limits: Arc::new(limits),
            workloads: Mutex::default(),
            sourced: Mutex::default(),
            next: AtomicU64::new(0),
            unauthenticated: Unauthenticated::default(),
            clients: AtomicUsize::new(0),
            counters: Counters::default(),
        };
        match retained::load(&shared.retained_file) {
            Ok(messages) => shared.exchange.restore(messages),
            Err(error) => {
                shared.report_retained_file("could not be read: it is begun anew", &error)
            }
        }
        Self {
            shared: Arc::new(shared),
            listening: None,
            saving: None,
            on_socket: None,
            trouble: None,
            socket_trouble: None,
        }
    }

    /// Admits a workload with these permissions. `nonce` is its instance's, where that is known.
    pub fn admit(&mut self, name: Name, bus: Permissions, nonce: Option<u64>) {
        let rights = Arc::new(Rights { name: name.clone(), bus });
        self.shared.workloads().insert(name, (rights, nonce));
        self.listen();
    }

    /// Sets the nonce of an instance that a former agent started.
    pub fn adopted(&mut self, name: &Name, nonce: u64) {
        if let Some((_, known)) = self.shared.workloads().get_mut(name) {
            *known = Some(nonce);
        }
    }

    /// Stops admitting a workload, and ends its clients.
    pub fn dismiss(&mut self, name: &Name) {
        self.shared.workloads().remove(name);
        self.shared.exchange.end_of(name);
    }

    /// Reserves these streams, and no others, for the agent's own sources.
    pub fn keep_for_sources(&mut self, streams: BTreeSet<StreamName>) {
        *self.shared.sourced() = streams;
    }

    /// Reads local accesses that changed, and tries again to listen where that failed.
    pub fn refresh(&mut self) {
        if self.shared.access.reload_locals() {
            self.shared
                .exchange
                .end_where(|name| self.shared.rights(name).is_none(), exchange::GONE);
        }
        if !self.is_idle() {
            self.listen();
        }
    }

    /// True while nobody may connect.
    pub fn is_idle(&self) -> bool {
        self.shared.workloads().is_empty() && self.shared.access.locals().is_empty()
    }

    /// Returns the authority by which the data socket identifies its callers.
    pub fn authority(&self) -> Authority {
        Authority(Arc::clone(&self.shared))
    }

    fn listen(&mut self) {
        if self.saving.is_none() {
            let saving = save_changes(Arc::clone(&self.shared));
            self.saving = Some(tasks::spawn(saving).abort_handle());
        }
        if self.on_socket.is_none() {
            let path = self.shared.access.bus_socket();
            match super::status::bind_for_all(&path) {
                Ok(listener) => {
                    let accept = accept_on_socket(listener, Arc::clone(&self.shared));
                    self.on_socket = Some(tasks::spawn(accept).abort_handle());
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
                self.listening = Some(tasks::spawn(accept).abort_handle());
                if self.trouble.take().is_some() {
                    tracing::info!("the local bus listens");
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.trouble.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                }
                self.trouble = Some(why);
            }
        }
    }

    fn bind(&self) -> Result<TcpListener, NotListening> {
        let port = self.shared.access.port().map_err(NotListening::NoPort)?;
        bind(port).map_err(|error| {
            let who = peer::listener(port).map(|user| format!("; user {user} listens there"));
            NotListening::Taken { port, error, who: who.unwrap_or_default() }
        })
    }

    /// Stops listening, and waits up to 1.5 s until all clients are answered and gone: what is
    /// stored is acknowledged before the agent ends.
    pub async fn stop(&mut self) {
        for listening in [self.listening.take(), self.on_socket.take()].into_iter().flatten() {
            listening.abort();
        }
        self.shared.unauthenticated.cut_all();
        self.shared.exchange.end_where(|_| true, STOPS);
        let gone = async {
            while self.shared.clients.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, gone).await.is_err() {
            tracing::debug!("clients of the local bus did not end in time");
        }
    }

    /// Problems for a person, by code; `None` where there is none.
    pub fn problems(&self) -> Vec<(ProblemCode, Option<String>)> {
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
            (ProblemCode::Bus, self.trouble.clone().or_else(|| self.socket_trouble.clone())),
            (ProblemCode::BusCredentials, self.shared.access.problem()),
            (ProblemCode::LocalAccess, twice),
        ]
    }

    /// Counters for `holdfast-agent status`.
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
        for task in [&self.listening, &self.saving, &self.on_socket].into_iter().flatten() {
            task.abort();
        }
        if let Some(bytes) = self.shared.exchange.take_changed(|_| false) {
            self.shared.save_retained(&bytes);
        }
        self.shared.exchange.end_where(|_| true, STOPS);
    }
}

/// Identification of callers, which the data socket shares with the bus.
#[derive(Clone)]
pub struct Authority(Arc<Shared>);

impl Authority {
    /// Identifies a caller by name and password.
    pub fn identify(&self, name: &str, password: &[u8], peer: &Peer) -> Option<Name> {
        self.0.identify(name, password, peer).map(|rights| rights.name.clone())
    }

    /// Workload whose container the caller is in, or that has its user to itself.
    pub fn workload_of(&self, peer: &Peer) -> Option<Name> {
        self.0.workload_of(peer).map(|rights| rights.name.clone())
    }

    /// Who is at the other end of a connection.
    pub fn peer(&self, stream: &UnixStream) -> Peer {
        self.0.access.peer(stream)
    }

    /// Everybody who may connect, each with zero connections.
    pub fn names(&self) -> BTreeMap<Name, usize> {
        let locals = self.0.access.locals().into_keys();
        self.0.workloads().keys().cloned().chain(locals).map(|name| (name, 0)).collect()
    }

    /// True when only the agent itself may fill this stream.
    pub fn is_sourced(&self, stream: &StreamName) -> bool {
        self.0.sourced().contains(stream)
    }
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    // Lingering connections of a former agent do not stand in the way then; a listener of another
    // program still does.
    socket.set_reuseaddr(true)?;
    socket.bind((std::net::Ipv4Addr::LOCALHOST, port).into())?;
    // In a flood, clients wait instead of being turned away by the kernel.
    socket.listen(1_024)
}

/// Writes the retained messages shortly after they have changed. Constant changes are written less
/// often the larger they are, at 1 KiB/s, which spares the flash: 256 KiB every four minutes.
async fn save_changes(shared: Arc<Shared>) {
    loop {
        shared.exchange.changes.notified().await;
        tokio::time::sleep(SAVE_AFTER).await;
        let gone = |name: &Name| shared.rights(name).is_none();
        let Some(bytes) = shared.exchange.take_changed(gone) else { continue };
        let pause = Duration::from_millis(u64::try_from(bytes.len()).unwrap_or(0));
        let writer = Arc::clone(&shared);
        let written = tokio::task::spawn_blocking(move || writer.save_retained(&bytes));
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
                // Small replies must not wait for each other; a socket that cannot do this is
                // slower.
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
                let peer = shared.access.peer(&stream);
                admit(Box::new(stream), peer, true, &shared);
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn pause(error: &std::io::Error) {
    // Out of descriptors, mostly; some will be free again.
    tracing::warn!(%error, "the local bus cannot let a client in");
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn admit(stream: Box<dyn Stream>, peer: Peer, on_socket: bool, shared: &Arc<Shared>) {
    let number = shared.next.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(user) = shared.unauthenticated.add(number, peer.user()) {
        let what = "a user keeps more connections to the local bus open than it may without saying who it is: the oldest was cut";
        let about = user.map_or("an unknown user".to_owned(), |user| format!("user {user}"));
        shared.problem_log.report_about(None, what, &about, uptime_ms());
        add(&shared.counters.refused, 1);
    }
    let slot = Slot { shared: Arc::clone(shared), number };
    shared.clients.fetch_add(1, Ordering::Relaxed);
    let gate = gate::Gate::new(Arc::clone(shared), number, peer, on_socket);
    let task = tokio::spawn(Connection::task(stream, number, slot, gate));
    shared.unauthenticated.set_task(number, task.abort_handle());
}
