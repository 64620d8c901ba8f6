//! What the core wants done, and what it is told of the world: data, carried out and observed by
//! the driver.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::ids::{Digest, Name};
use holdfast_protocol::workload::{Artifact, Probe, WorkloadSpec};

use super::record::{Exit, Found, Instance, Record, Revision};

/// Something to be done; what comes of it returns as [`Observed`].
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Fetch an artifact, trying for as long as it is wanted.
    Fetch(Artifact),
    /// Lay out the workload's folder and start its launcher, which waits at the gate.
    Launch {
        /// Whose.
        name: Name,
        /// What.
        revision: Revision,
        /// Marks the process.
        nonce: u64,
        /// Configuration files of the revision before that this one does not have.
        stale_config: Vec<String>,
    },
    /// Store the record.
    Record {
        /// Whose.
        name: Name,
        /// What.
        record: Box<Record>,
    },
    /// Let the launcher become the workload.
    Open {
        /// Whose.
        name: Name,
        /// Which.
        instance: Instance,
    },
    /// Watch an adopted process.
    Watch {
        /// Whose.
        name: Name,
        /// Which.
        instance: Instance,
    },
    /// Try its health.
    Probe {
        /// Whose.
        name: Name,
        /// Which.
        instance: Instance,
        /// How.
        probe: Probe,
        /// What it runs, for probes that run in its place.
        spec: Arc<WorkloadSpec>,
        /// Longer is a failure, in milliseconds.
        timeout_ms: u64,
    },
    /// Send a signal to its process group.
    Signal {
        /// Whose.
        name: Name,
        /// Which.
        instance: Instance,
        /// Linux number.
        signal: u8,
    },
    /// Look for what is left of the workload, and kill it if asked.
    Sweep {
        /// Whose.
        name: Name,
        /// Its last main process: its session is swept too.
        last: Option<Instance>,
        /// Spare this one and its session.
        spare: Option<Instance>,
        /// Kill what is found.
        kill: bool,
    },
    /// Remove its folder, its log and its record.
    Remove {
        /// Whose.
        name: Name,
    },
    /// Look for every process of every workload.
    Census,
    /// Remove every artifact but these, and stop fetching others.
    Collect {
        /// What is referenced.
        keep: BTreeSet<Digest>,
    },
}

/// What came of an effect, or happened by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// An artifact is on the device, checked.
    Fetched(Digest),
    /// It is not yet, for this reason; trying goes on.
    FetchTrouble(Digest, String),
    /// The launcher waits at the gate, or why not: the machine's fault, not the revision's.
    Launched(Name, Result<Instance, String>),
    /// It can never start as it is written (no such user), for this reason.
    Unfit(Name, String),
    /// An artifact that it needs was thought to be on the device, and is not any more.
    Missing(Name, Digest),
    /// The record is stored, or not.
    Recorded(Name, bool),
    /// It executes, or why not.
    Opened(Name, Instance, Result<(), String>),
    /// The main process ended.
    Exited(Name, Instance, Exit),
    /// A probe's result.
    Probed(Name, Instance, Result<(), String>),
    /// How many processes a sweep found alive that no probe had started, and ended.
    LeftBehind(Name, usize),
    /// How many processes a sweep found alive.
    Swept(Name, usize),
    /// The processes could not be looked at: a census is wanted still.
    Blind,
    /// What a census found.
    Census(Vec<Found>),
    /// It is gone, or not.
    Removed(Name, Result<(), String>),
}
