//! Effects that the core asks for and observations that it takes in: plain data, carried out and
//! made by the driver.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::message::Progress;
use holdfast_protocol::workload::{Probe, WorkloadSpec};

use super::need::Need;
use super::runtime::{Found, Halt, Handle, NotPrepared, Reason, RuntimeKind};
use super::saved::{Exit, Revision, SavedWorkload};
use super::secrets::Secrets;

/// One effect for the driver to carry out. Its result returns as [`Observed`].
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Fetch what is needed, retrying for as long as it is wanted.
    Fetch(Need),
    /// Stop fetching a file or an image for now, and keep what has come: another [`Effect::Fetch`]
    /// goes on at the byte.
    Pause(Digest),
    /// Prepare an instance that can be identified and does not run before [`Effect::Start`].
    Prepare {
        /// Name of the workload.
        name: Name,
        /// Revision with the specification to run.
        revision: Revision,
        /// Random number that marks the instance.
        nonce: u64,
        /// Paths of configuration files that the former revision had and this one has not: removed.
        stale_config: Vec<String>,
    },
    /// Write the saved state of a workload to disk.
    Save {
        /// Workload that the state is of.
        name: Name,
        /// Saved state that is written.
        saved: Box<SavedWorkload>,
    },
    /// Let the prepared instance run.
    Start {
        /// Name of the workload to start.
        name: Name,
        /// Instance that was prepared.
        instance: Handle,
    },
    /// Watch an adopted instance for its end.
    Watch {
        /// Workload that the instance is of.
        name: Name,
        /// Instance to be watched.
        instance: Handle,
    },
    /// Replace the files of the secrets of a running instance by those of this revision, and then
    /// send a signal to its main process.
    Refresh {
        /// Workload whose secrets have another content.
        name: Name,
        /// Instance that runs.
        instance: Handle,
        /// Revision that runs, with the secrets that it is to have.
        revision: Revision,
        /// Number of the signal.
        signal: u8,
    },
    /// Run the health probe once.
    Probe {
        /// Name of the workload to probe.
        name: Name,
        /// Instance that is probed; the result is ignored once another one runs.
        instance: Handle,
        /// Probe with its parameters.
        probe: Probe,
        /// Specification of the running revision, for probes that are executed in its environment.
        spec: Arc<WorkloadSpec>,
        /// Secrets of the running revision, for the same.
        secrets: Option<Arc<Secrets>>,
        /// Timeout of the probe in milliseconds; exceeding it is a failure.
        timeout_ms: u64,
    },
    /// Stop the instance, with all that belongs to it where that can be told.
    Stop {
        /// Name of the workload to stop.
        name: Name,
        /// Instance to be stopped.
        instance: Handle,
        /// Way in which it is stopped.
        how: Halt,
    },
    /// Look for what is left of the workload, and end it if asked.
    Sweep {
        /// Name of the workload to sweep.
        name: Name,
        /// Runtimes that may have something of the workload. Empty: all.
        runtimes: BTreeSet<RuntimeKind>,
        /// Last instance of the workload: what it started is swept too.
        last: Option<Handle>,
        /// Instance that is left alone with what it started.
        spare: Option<Handle>,
        /// True: end what is found. False: only count it.
        kill: bool,
    },
    /// Remove the workload's folder, its log and its saved state.
    Remove {
        /// Name of the workload to remove.
        name: Name,
    },
    /// List every part of every workload that is on the machine.
    Census,
    /// Remove every artifact and image but these, and stop fetching others.
    Collect {
        /// Artifacts and images that are still referenced, and the files of such images.
        keep: BTreeSet<Digest>,
    },
}

/// Result of an effect, or an event that happened by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// An artifact is complete on disk and its digest was checked, or an image is at the engine.
    Fetched(Digest),
    /// An artifact or an image could not be fetched yet, with the reason; it is retried.
    FetchTrouble(Digest, String),
    /// Part of a file or an image that has come so far. Told for long downloads alone, and rarely.
    Progress(Digest, Progress),
    /// The instance can be started, or why there is none.
    Prepared(Name, Result<Handle, NotPrepared>),
    /// The saved state was written (true), or could not be.
    Saved(Name, bool),
    /// The instance runs, or why it could not be started.
    Started(Name, Handle, Result<(), Reason>),
    /// The instance ended, and how.
    Exited(Name, Handle, Exit),
    /// The files of the secrets are replaced and the signal was sent, or why not.
    Refreshed(Name, Handle, Result<(), Reason>),
    /// Result of a probe; the error is the reason of the failure.
    Probed(Name, Handle, Result<(), Reason>),
    /// Number of processes that a sweep found alive after the instance had ended, without those
    /// of probes. They were ended.
    LeftBehind(Name, usize),
    /// Number of parts of the workload that a sweep found alive; 0 ends the sweep.
    Swept(Name, usize),
    /// The census failed: it is to be tried again.
    Blind,
    /// Everything that a census found.
    Census(Vec<Found>),
    /// What runs containers is back, with everything that it has of this agent's workloads.
    Back(Vec<Found>),
    /// The workload's folder, log and saved state are removed, or why not.
    Removed(Name, Result<(), Reason>),
}
