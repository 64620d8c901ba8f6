//! Tasks of one type. tokio compiles its handling of a task once for each type of future, some 2 KiB
//! each in the agent's program; a boxed future is always the same type.
//!
//! See decision 0143.

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinHandle;

/// Spawns a task. A task that exists once for each message or connection and is polled often is
/// better spawned without a box, by `tokio::spawn`.
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
    tokio::spawn(work)
}
