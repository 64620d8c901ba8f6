//! The data socket, `data.sock` in the data folder: HTTP for whoever would rather send many records
//! in one call than speak MQTT. Anybody on the device may connect; who may store is told by
//! credentials or by the user that the kernel names.

mod peer;
mod service;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_protocol::ids::Name;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::bus::{Authority, Said};
use super::clock::uptime_ms;
use super::intake::Intake;
use peer::Peers;

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
    peers: Peers,
    bodies: Arc<Semaphore>,
    /// Room for bodies of each caller that has some.
    bodies_of: Mutex<BTreeMap<Name, Arc<Semaphore>>>,
    /// Connections by caller.
    open: Mutex<BTreeMap<Caller, usize>>,
}

/// Whose a connection is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    /// Of a user who has not said for whom it calls, or not yet.
    User(u32),
    /// A workload's, or a local access'.
    Known(Name),
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Caller, usize>> {
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
    /// Listens to nobody yet. `workloads`: the folder of the workloads, whose owners tell whose a
    /// user is.
    pub fn new(
        authority: Authority,
        intake: Arc<dyn Intake>,
        said: Arc<Said>,
        workloads: &Path,
    ) -> Self {
        let shared = Shared {
            authority,
            intake,
            said,
            peers: Peers::new(workloads),
            bodies: Arc::new(Semaphore::new(MAX_BODIES)),
            bodies_of: Mutex::default(),
            open: Mutex::default(),
        };
        Self { shared: Arc::new(shared), listening: None, trouble: None }
    }

    /// Listens, if it does not yet.
    pub fn listen(&mut self, path: &Path) {
        if self.listening.is_some() {
            return;
        }
        match bind(path) {
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

/// A socket that an agent that died left there is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = super::status::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
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
    let Some(seat) = Seat::take(shared, Caller::User(user.unwrap_or(u32::MAX))) else {
        let what = "the data socket has as many connections as it serves: others are turned away";
        shared.said.note(None, what, uptime_ms());
        tokio::spawn(turn_away(stream));
        return;
    };
    tokio::spawn(async move {
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
}

async fn turn_away(mut stream: UnixStream) {
    const BUSY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 103\r\n\r\n{\"error\":{\"code\":\"busy\",\"message\":\"too many connections at a time: close some, or try again shortly\"}}\n";
    let told = tokio::time::timeout(Duration::from_secs(1), stream.write_all(BUSY));
    if !matches!(told.await, Ok(Ok(()))) {
        tracing::debug!("a client of the data socket went away");
    }
}

/// One of the places of connections; given back when it is dropped.
struct Seat {
    shared: Arc<Shared>,
    caller: Mutex<Caller>,
}

impl Seat {
    fn take(shared: &Arc<Shared>, caller: Caller) -> Option<Self> {
        let mut open = shared.open();
        if open.values().sum::<usize>() >= MAX_CONNECTIONS || !enter(&mut open, &caller) {
            return None;
        }
        Some(Self { shared: Arc::clone(shared), caller: Mutex::new(caller) })
    }

    /// The connection is this caller's from now on. False: that one has as many as it may have.
    fn pass_to(&self, name: &Name) -> bool {
        let mut caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Caller::Known(name.clone());
        if *caller == next {
            return true;
        }
        let mut open = self.shared.open();
        if !enter(&mut open, &next) {
            return false;
        }
        leave(&mut open, &caller);
        *caller = next;
        true
    }
}

/// Counts a connection, unless its caller has as many as it may have.
fn enter(open: &mut BTreeMap<Caller, usize>, caller: &Caller) -> bool {
    let known = open.get(caller).copied().unwrap_or_default();
    if known >= MAX_OF_ONE {
        return false;
    }
    open.insert(caller.clone(), known + 1);
    true
}

fn leave(open: &mut BTreeMap<Caller, usize>, caller: &Caller) {
    if let Some(known) = open.get_mut(caller) {
        *known = known.saturating_sub(1);
        if *known == 0 {
            open.remove(caller);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        leave(&mut self.shared.open(), &caller);
    }
}
