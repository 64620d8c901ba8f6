//! Effects that the core asks for and observations that it takes in: plain data, carried out and
//! made by the driver.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::workload::{Artifact, Probe, WorkloadSpec};

use super::saved::{Exit, Found, Instance, Revision, SavedWorkload};

/// One effect for the driver to carry out. Its result returns as [`Observed`].
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Fetch an artifact, retrying for as long as it is wanted.
    Fetch(Artifact),
    /// Lay out the workload's folder and start its launcher, which waits at the gate until
    /// [`Effect::Open`].
    Launch {
        /// Name of the workload to launch.
        name: Name,
        /// Revision with the specification to launch.
        revision: Revision,
        /// Random number that marks the process in its environment.
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
    /// Open the gate: the launcher executes the workload's program.
    Open {
        /// Name of the workload to open.
        name: Name,
        /// Launcher that waits at the gate.
        instance: Instance,
    },
    /// Watch an adopted process for its end.
    Watch {
        /// Workload that the process is of.
        name: Name,
        /// Main process to be watched.
        instance: Instance,
    },
    /// Run the health probe once.
    Probe {
        /// Name of the workload to probe.
        name: Name,
        /// Main process that is probed; the result is ignored once another one runs.
        instance: Instance,
        /// Probe with its parameters.
        probe: Probe,
        /// Specification of the running revision, for probes that are executed in its environment.
        spec: Arc<WorkloadSpec>,
        /// Timeout of the probe in milliseconds; exceeding it is a failure.
        timeout_ms: u64,
    },
    /// Send a signal to the workload's process group.
    Signal {
        /// Name of the workload to signal.
        name: Name,
        /// Main process, whose id is that of the group.
        instance: Instance,
        /// Signal number, as Linux has it (15 is SIGTERM).
        signal: u8,
    },
    /// Look for remaining processes of the workload, and kill them if asked.
    Sweep {
        /// Name of the workload to sweep.
        name: Name,
        /// Last main process of the workload: its session is swept too.
        last: Option<Instance>,
        /// Process that is left alone with its session.
        spare: Option<Instance>,
        /// True: kill the processes that are found. False: only count them.
        kill: bool,
    },
    /// Remove the workload's folder, its log and its saved state.
    Remove {
        /// Name of the workload to remove.
        name: Name,
    },
    /// List every process of every workload.
    Census,
    /// Remove every artifact but these, and stop fetching others.
    Collect {
        /// Artifacts that are still referenced.
        keep: BTreeSet<Digest>,
    },
}

/// Result of an effect, or an event that happened by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// An artifact is complete on disk, and its digest was checked.
    Fetched(Digest),
    /// An artifact could not be fetched yet, with the reason; it is retried.
    FetchTrouble(Digest, String),
    /// The launcher waits at the gate, or could not be started for a reason that lies with the
    /// machine and not with the revision (no space, no permission).
    Launched(Name, Result<Instance, String>),
    /// The revision can never start as it is written, with the reason (such as an unknown user).
    Unfit(Name, String),
    /// An artifact that the workload needs was taken to be on disk, and is not any more.
    Missing(Name, Digest),
    /// The saved state was written (true), or could not be.
    Saved(Name, bool),
    /// The program executes, or why it could not be executed.
    Opened(Name, Instance, Result<(), String>),
    /// The main process ended, and how.
    Exited(Name, Instance, Exit),
    /// Result of a probe; the error is the reason of the failure.
    Probed(Name, Instance, Result<(), String>),
    /// Number of processes that a sweep found alive after the main process had ended, without those
    /// of probes. They were ended.
    LeftBehind(Name, usize),
    /// Number of processes that a sweep found alive; 0 ends the sweep.
    Swept(Name, usize),
    /// The census failed: it is to be tried again.
    Blind,
    /// All processes that a census found.
    Census(Vec<Found>),
    /// The workload's folder, log and saved state are removed, or why not.
    Removed(Name, Result<(), String>),
}
