//! The data socket, `data.sock` in the data folder: HTTP for whoever would rather send many records
//! in one call than speak MQTT. Anybody on the device may connect; who may store is told by
//! credentials or by the user that the kernel names.

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

use super::bus::{Authority, Said, Strangers, has_place};
use super::clock::uptime_ms;
use super::intake::Intake;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 32;
/// Connections of one caller at a time, so that one that keeps them open leaves room for others.
const MAX_OF_ONE: usize = 8;
/// Bodies of calls in memory at a time, in bytes: one of the largest, and smaller ones.
const MAX_BODIES: usize = 12 * 1024 * 1024;
/// Of these, of one caller: one of the largest.
const MAX_BODIES_OF_ONE: usize = 8 * 1024 * 1024;
/// A connection that sends no request for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// How long the end of the agent waits for calls under way.
const FAREWELL: Duration = Duration::from_secs(1);
/// Read at once, in bytes: a record at least.
const READ: usize = 64 * 1024;

/// What answers need.
struct Shared {
    authority: Authority,
    intake: Arc<dyn Intake>,
    said: Arc<Said>,
    bodies: Arc<Semaphore>,
    /// Room for bodies of each caller that has some.
    bodies_of: Mutex<BTreeMap<Name, Arc<Semaphore>>>,
    next: AtomicU64,
    strangers: Strangers,
    /// Connections of each that is known.
    open: Mutex<BTreeMap<Name, usize>>,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Name, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for bodies of this caller.
    fn bodies_of(&self, name: &Name) -> Arc<Semaphore> {
        let mut of = self.bodies_of.lock().unwrap_or_else(PoisonError::into_inner);
        of.retain(|_, room| Arc::strong_count(room) > 1);
        let room = of.entry(name.clone());
        Arc::clone(room.or_insert_with(|| Arc::new(Semaphore::new(MAX_BODIES_OF_ONE))))
    }
}

/// The socket.
pub struct DataSocket {
    shared: Arc<Shared>,
    listening: Option<AbortHandle>,
    trouble: Option<String>,
}

impl DataSocket {
    /// Listens to nobody yet.
    pub fn new(authority: Authority, intake: Arc<dyn Intake>, said: Arc<Said>) -> Self {
        let shared = Shared {
            authority,
            intake,
            said,
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
            bodies_of: Mutex::default(),
            next: AtomicU64::new(0),
            strangers: Strangers::default(),
            open: Mutex::default(),
        };
        Self { shared: Arc::new(shared), listening: None, trouble: None }
    }

    /// Listens, if it does not yet.
    pub fn listen(&mut self, path: &Path) {
        if self.listening.is_some() {
            return;
        }
        match super::status::bind_for_all(path) {
            Ok(listener) => {
                let shared = Arc::clone(&self.shared);
                self.listening = Some(tokio::spawn(accept(listener, shared)).abort_handle());
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

    /// Lets nobody in any more, and waits a little for the answers to calls under way.
    pub async fn stop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        let answered = async {
            while self.shared.bodies.available_permits() < MAX_BODIES {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // A call gives its room back just before its answer is written.
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        if tokio::time::timeout(FAREWELL, answered).await.is_err() {
            tracing::debug!("calls to the data socket did not end in time");
        }
    }

    /// Why it does not listen.
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
    if let Some(user) = shared.strangers.enter(number, user) {
        let what = "a user keeps more connections to the data socket open than it may without a call: the oldest was cut";
        let about = user.map_or("an unknown user".to_owned(), |user| format!("user {user}"));
        shared.said.note_about(None, what, &about, uptime_ms());
    }
    let seat = Seat { shared: Arc::clone(shared), number, of: Mutex::default() };
    let task = tokio::spawn(async move {
        let seat = &seat;
        let service = service_fn(|request| {
            Box::pin(async move {
                Ok::<_, std::convert::Infallible>(service::answer(seat, user, request).await)
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
    shared.strangers.began(number, task.abort_handle());
}

/// One of the places of connections; given back when it is dropped.
struct Seat {
    shared: Arc<Shared>,
    number: u64,
    /// Whose it is. None: of a user who has not said for whom it calls.
    of: Mutex<Option<Name>>,
}

impl Seat {
    /// The connection is this caller's from now on. False: that one has as many as it may have.
    fn pass_to(&self, name: &Name) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.as_ref() == Some(name) {
            return true;
        }
        let mut open = self.shared.open();
        let mut known = self.shared.authority.known();
        known.extend(open.iter().map(|(name, count)| (name.clone(), *count)));
        if !has_place(&known, name, MAX_CONNECTIONS, MAX_OF_ONE) {
            return false;
        }
        leave(&mut open, of.as_ref());
        *open.entry(name.clone()).or_default() += 1;
        *of = Some(name.clone());
        self.shared.strangers.leave(self.number);
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

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.strangers.leave(self.number);
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        leave(&mut self.shared.open(), of.as_ref());
    }
}
