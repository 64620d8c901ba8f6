//! State that all tasks of the local bus share: who may connect, counters, and the slot of one
//! client.
//!
//! See decisions 0053 and 0078.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_base::ids::Name;
use holdfast_mqtt::Limits;
use holdfast_mqtt_host::Transport;
use holdfast_records::StreamName;
use tokio::net::{TcpStream, UnixStream};

use super::exchange::Exchange;
use super::problem_log::ProblemLog;
use super::retained;
use super::slots::Unauthenticated;
use crate::adapters::access::Access;
use crate::adapters::clock::uptime_ms;
use crate::adapters::intake::Intake;
use crate::core::bus::Rights;
use crate::core::caller::{self, Peer};
use crate::runtimes::common::users;

/// Most clients. A device has a few workloads; each client may hold 128 KiB of input and 256 KiB of
/// output.
pub(super) const MAX_CLIENTS: usize = 64;
/// Most clients of one workload or local access, so that one that never closes leaves room for
/// others.
pub(super) const MAX_OF_ONE: usize = 32;
/// Time in milliseconds after which a client that accepts no output is disconnected.
pub(super) const STALL: u64 = if cfg!(test) { 500 } else { 5_000 };

/// Rights of each workload, with the nonce of its instance, from which its password is derived.
pub(super) type Workloads = BTreeMap<Name, (Arc<Rights>, Option<u64>)>;

/// State that all tasks of the bus share.
pub(super) struct Shared {
    pub(super) access: Arc<Access>,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) problem_log: Arc<ProblemLog>,
    pub(super) exchange: Exchange,
    /// File of the retained messages.
    pub(super) retained_file: PathBuf,
    pub(super) limits: Arc<Limits>,
    /// Workloads that may connect; local accesses are in `access`.
    pub(super) workloads: Mutex<Workloads>,
    /// Streams that only the agent itself may fill.
    pub(super) sourced: Mutex<BTreeSet<StreamName>>,
    pub(super) next: AtomicU64,
    pub(super) unauthenticated: Unauthenticated,
    /// Connections that have not ended.
    pub(super) clients: AtomicUsize,
    pub(super) counters: Counters,
}

/// Counters of the bus since the agent started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Records that were published and are on disk.
    pub(super) stored: AtomicU64,
    /// Publishes of QoS 0 that were dropped because the buffer was full.
    pub(super) dropped: AtomicU64,
    /// Publishes, subscriptions and connections that were refused.
    pub(super) refused: AtomicU64,
    /// Messages that were dropped because a subscriber's mailbox was full.
    pub(super) overrun: AtomicU64,
    /// Clients that were disconnected because they accepted no output.
    pub(super) stalled: AtomicU64,
}

/// Adds to a counter of the bus.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Shared {
    pub(super) fn workloads(&self) -> MutexGuard<'_, Workloads> {
        self.workloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sourced(&self) -> MutexGuard<'_, BTreeSet<StreamName>> {
        self.sourced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the retained messages; a failure is tried again with the next change.
    pub(super) fn save_retained(&self, messages: &[u8]) {
        if let Err(error) = retained::save(&self.retained_file, messages) {
            self.exchange.save_failed();
            self.report_retained_file(
                "could not be written: they are lost when the agent restarts",
                &error,
            );
        }
    }

    pub(super) fn report_retained_file(&self, what: &'static str, error: &std::io::Error) {
        let about = format!("{}: {error}", self.retained_file.display());
        self.problem_log.report_on_stream(
            None,
            "the file of retained messages",
            what,
            &about,
            uptime_ms(),
        );
    }

    /// Current rights of a client of this name. `None` when nobody of this name may connect.
    pub(super) fn rights(&self, name: &Name) -> Option<Arc<Rights>> {
        if let Some((rights, _)) = self.workloads().get(name) {
            return Some(Arc::clone(rights));
        }
        let bus = self.access.local_bus(name)?;
        Some(Arc::new(Rights { name: name.clone(), bus }))
    }

    /// Identifies a client by name and password. A workload's password serves only its own user
    /// (and root): a program that listened on the bus's port while the agent was away may have
    /// caught it, and cannot use it.
    pub(super) fn identify(&self, user: &str, password: &[u8], peer: &Peer) -> Option<Arc<Rights>> {
        let name: Name = user.parse().ok()?;
        let workload = self.workloads().get(&name).cloned();
        if let Some((rights, nonce)) = workload {
            // A workload's name is its own, even if a local access has it, too.
            let known = self.access.is_workloads(&name, nonce?, password);
            let may = match peer.inside() {
                Some(workload) => *workload == name,
                None => {
                    let owner = users::owner(&self.access.workloads(), &name);
                    peer.may_be(owner, agent_user())
                }
            };
            return (known && may).then_some(rights);
        }
        let local = self.access.local(&name, password);
        let local = local.or_else(|| {
            // The local access may have been made a moment ago.
            self.access.reload_locals().then(|| self.access.local(&name, password)).flatten()
        })?;
        Some(Arc::new(Rights { name, bus: local.bus }))
    }

    /// Workload whose container the caller is in, or that has its user to itself. A user of a
    /// container is no workload's own: a login of the device may have the same number.
    pub(super) fn workload_of(&self, peer: &Peer) -> Option<Arc<Rights>> {
        let name = match peer {
            Peer::Inside(_, workload) => workload.clone()?,
            Peer::User(user) => {
                let mut owners = users::owners(&self.access.workloads()).ok()?;
                let contained = self.access.contained();
                owners.retain(|name, _| !contained.contains(name));
                caller::sole_workload(*user, agent_user(), &owners)?.clone()
            }
            Peer::Gone | Peer::Unknown => return None,
        };
        self.workloads().get(&name).map(|(rights, _)| Arc::clone(rights))
    }

    /// True when one more client of this name leaves the others their share.
    pub(super) fn has_slot(&self, name: &Name) -> bool {
        let mut known: BTreeMap<Name, usize> =
            self.workloads().keys().cloned().map(|name| (name, 0)).collect();
        known.extend(self.access.locals().into_keys().map(|name| (name, 0)));
        self.exchange.count(&mut known);
        caller::has_slot(&known, name, MAX_CLIENTS, MAX_OF_ONE)
    }
}

/// Connection of a client, by TCP or Unix socket.
pub(super) trait Stream:
    tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin
{
}
impl Stream for TcpStream {}
impl Stream for UnixStream {}
impl Transport for Box<dyn Stream> {}

/// Slot of one client's connection. It counts as unauthenticated until the client has identified
/// itself.
pub(super) struct Slot {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u64,
}

impl Slot {
    /// Removes the connection from the unauthenticated ones: it has identified itself, or is gone.
    pub(super) fn authenticated(&self) {
        self.shared.unauthenticated.remove(self.number);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.authenticated();
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// User that the agent runs as.
fn agent_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
