//! The data socket, `data.sock` in the data folder: HTTP, for programs that would rather send many
//! records in one call than speak MQTT. Anybody on the device may connect; credentials, or the user
//! that the kernel names, decide who may store.
//!
//! See decision 0078.

mod code;
mod peer;
mod service;
mod slot;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

use super::bus::{Authority, ProblemLog};
use super::clock::uptime_ms;
use super::intake::Intake;
use slot::{MAX_BODIES, Shared, Slot};

/// Time after which a connection without a request is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Longest time that the agent's end waits for calls under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read at a time: at least a record.
const READ: usize = 64 * 1024;

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
        let shared = Shared::new(authority, intake, problem_log);
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
    let caller = shared.authority.peer(&stream);
    let number = shared.next.fetch_add(1, Ordering::Relaxed);
    if let Some(user) = shared.unauthenticated.add(number, caller.user()) {
        let what = "a user keeps more connections to the data socket open than it may without a call: the oldest was cut";
        let about = user.map_or("an unknown user".to_owned(), |user| format!("user {user}"));
        shared.problem_log.report_about(None, what, &about, uptime_ms());
    }
    let slot = Slot::new(Arc::clone(shared), number);
    let task = tokio::spawn(async move {
        let (slot, caller) = (&slot, &caller);
        let service = service_fn(|request| {
            Box::pin(async move {
                Ok::<_, std::convert::Infallible>(service::answer(slot, caller, request).await)
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
