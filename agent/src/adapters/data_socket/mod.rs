//! The data socket, `data.sock` in the data folder: HTTP, for programs that would rather send many
//! records in one call than speak MQTT. Anybody on the device may connect; credentials, or the user
//! that the kernel names, decide who may store.
//!
//! See decision 0078.

mod code;
mod peer;
mod service;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_base::ids::Name;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::bus::{Authority, ProblemLog, Unauthenticated};
use super::clock::uptime_ms;
use super::intake::Intake;
use crate::core::caller;

/// Most connections.
const MAX_CONNECTIONS: usize = 32;
/// Most connections of one caller, so that one that keeps them open leaves room for others.
const MAX_OF_ONE: usize = 8;
/// Most bytes of request bodies in memory: one of the largest, and smaller ones.
const MAX_BODIES: usize = 12 * 1024 * 1024;
/// Most bytes of request bodies of one caller: one of the largest.
const MAX_BODIES_OF_ONE: usize = 8 * 1024 * 1024;
/// Time after which a connection without a request is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Longest time that the agent's end waits for calls under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read at a time: at least a record.
const READ: usize = 64 * 1024;

/// State that all connections share.
struct Shared {
    authority: Authority,
    intake: Arc<dyn Intake>,
    problem_log: Arc<ProblemLog>,
    bodies: Arc<Semaphore>,
    /// Room for request bodies, for each caller that has some.
    bodies_of: Mutex<BTreeMap<Name, Arc<Semaphore>>>,
    next: AtomicU64,
    unauthenticated: Unauthenticated,
    /// Number of connections of each known caller.
    open: Mutex<BTreeMap<Name, usize>>,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Name, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for request bodies of this caller.
    fn bodies_of(&self, name: &Name) -> Arc<Semaphore> {
        let mut of = self.bodies_of.lock().unwrap_or_else(PoisonError::into_inner);
        of.retain(|_, room| Arc::strong_count(room) > 1);
        let room = of.entry(name.clone());
        Arc::clone(room.or_insert_with(|| Arc::new(Semaphore::new(MAX_BODIES_OF_ONE))))
    }
}

/// The data socket, with its listener.
pub struct DataSocket {
    shared: Arc<Shared>,
    listening: Option<AbortHandle>,
    trouble: Option<String>,
}

impl DataSocket {
    /// Creates a socket that does not listen yet.
    pub fn new(
        authority: Authority,
        intake: Arc<dyn Intake>,
        problem_log: Arc<ProblemLog>,
    ) -> Self {
        let shared = Shared {
            authority,
            intake,
            problem_log,
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
            bodies_of: Mutex::default(),
            next: AtomicU64::new(0),
            unauthenticated: Unauthenticated::default(),
            open: Mutex::default(),
        };
        Self { shared: Arc::new(shared), listening: None, trouble: None }
    }

    /// Listens, unless it does already.
    pub fn listen(&mut self, path: &Path) {
        if self.listening.is_some() {
            return;
        }
        match super::status::bind_for_all(path) {
            Ok(listener) => {
                let shared = Arc::clone(&self.shared);
                self.listening = Some(super::tasks::spawn(accept(listener, shared)).abort_handle());
                self.trouble = None;
            }
            Err(error) => {
                let why = format!(
                    "records cannot be posted: {}: {error}; the local bus takes them still",
                    path.display()
                );
                if self.trouble.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                }
                self.trouble = Some(why);
            }
        }
    }

    /// Stops listening, and waits up to 1 s for the responses to calls under way.
    pub async fn stop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        let answered = async {
            while self.shared.bodies.available_permits() < MAX_BODIES {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // A call gives its room back just before its response is written.
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, answered).await.is_err() {
            tracing::debug!("calls to the data socket did not end in time");
        }
    }

    /// Reason why it does not listen; `None` when it does.
    pub fn problem(&self) -> Option<String> {
        self.trouble.clone()
    }
}

impl Drop for DataSocket {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(stream, &shared),
            Err(error) => {
                tracing::warn!(%error, "the data socket cannot let a client in");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn admit(stream: UnixStream, shared: &Arc<Shared>) {
    let user = stream.peer_cred().ok().map(|peer| peer.uid());
    let number = shared.next.fetch_add(1, Ordering::Relaxed);
    if let Some(user) = shared.unauthenticated.add(number, user) {
        let what = "a user keeps more connections to the data socket open than it may without a call: the oldest was cut";
        let about = user.map_or("an unknown user".to_owned(), |user| format!("user {user}"));
        shared.problem_log.report_about(None, what, &about, uptime_ms());
    }
    let slot = Slot { shared: Arc::clone(shared), number, caller: Mutex::default() };
    let task = tokio::spawn(async move {
        let slot = &slot;
        let service = service_fn(|request| {
            Box::pin(async move {
                Ok::<_, std::convert::Infallible>(service::answer(slot, user, request).await)
            })
        });
        let mut served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(READ)
            .serve_connection(TokioIo::new(stream), service);
        match poll_fn(|cx| served.poll_without_shutdown(cx)).await {
            Ok(()) => service::linger(served.into_parts().io.into_inner()).await,
            Err(error) => tracing::debug!(%error, "a connection of the data socket ended"),
        }
    });
    shared.unauthenticated.set_task(number, task.abort_handle());
}

/// Slot of one connection, given back when dropped.
struct Slot {
    shared: Arc<Shared>,
    number: u64,
    /// Caller of the connection; `None` until it has identified itself.
    caller: Mutex<Option<Name>>,
}

impl Slot {
    /// Assigns the connection to this caller. False when the caller has as many as it may have.
    fn pass_to(&self, name: &Name) -> bool {
        let mut caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        if caller.as_ref() == Some(name) {
            return true;
        }
        let mut open = self.shared.open();
        let mut known = self.shared.authority.names();
        known.extend(open.iter().map(|(name, count)| (name.clone(), *count)));
        if !caller::has_slot(&known, name, MAX_CONNECTIONS, MAX_OF_ONE) {
            return false;
        }
        leave(&mut open, caller.as_ref());
        *open.entry(name.clone()).or_default() += 1;
        *caller = Some(name.clone());
        self.shared.unauthenticated.remove(self.number);
        true
    }
}

fn leave(open: &mut BTreeMap<Name, usize>, name: Option<&Name>) {
    if let Some(name) = name
        && let Some(count) = open.get_mut(name)
    {
        *count = count.saturating_sub(1);
        if *count == 0 {
            open.remove(name);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.unauthenticated.remove(self.number);
        let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        leave(&mut self.shared.open(), caller.as_ref());
    }
}
