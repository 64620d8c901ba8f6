//! The messages: what travels on each topic. Every one carries `v`, the wire version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::workload::WorkloadSpec;
use holdfast_base::ids::{DeviceId, Name, StateVersion};
use holdfast_query::Question;
use holdfast_records::{DataPolicies, DataReport, StreamName};

/// Control plane → device, signed, retained: everything the device should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Wire version.
    pub v: u8,
    /// For whom; a device refuses another's.
    pub device: DeviceId,
    /// See [`StateVersion`].
    pub epoch: u64,
    /// See [`StateVersion`].
    pub generation: u64,
    /// By name.
    pub workloads: BTreeMap<Name, DesiredWorkload>,
    /// What it should do with its streams and its link; absent: the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<DataPolicies>>,
}

impl DesiredState {
    /// Its version.
    pub fn version(&self) -> StateVersion {
        StateVersion { epoch: self.epoch, generation: self.generation }
    }
}

/// One workload that a device should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredWorkload {
    /// Number of the revision: from 1, never used twice for one name within an epoch.
    pub revision: u64,
    /// It is stopped and not started again until this is false; its folder, record and log stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// What to run.
    pub spec: WorkloadSpec,
}

/// Where a workload stands on its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Known, nothing done yet.
    Pending,
    /// Its artifacts are on their way.
    Fetching,
    /// Being started, or started and not yet known to work.
    Starting,
    /// It runs (and its probe, if it has one, answers).
    Running,
    /// It runs, its probe fails.
    Unhealthy,
    /// It ended; waiting before the next start.
    Backoff,
    /// It ended and its policy does not start it again, or it is being stopped.
    Stopped,
    /// It cannot run: the reason says why.
    Failed,
    /// It is stopped because its desired state says `paused`, and starts when that ends.
    Paused,
}

impl Phase {
    /// The word used everywhere: wire, API, command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fetching => "fetching",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Unhealthy => "unhealthy",
            Self::Backoff => "backoff",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Paused => "paused",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Device → control plane: what it does run. Sent on change (only what changed) and in full
/// after every connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// Wire version.
    pub v: u8,
    /// True: replaces everything known of the device. False: amends it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Epoch of the applied desired state; see `generation`.
    pub epoch: u64,
    /// The newest desired state that is stored on the device and carried out as far as it can
    /// be: nothing is left to do but to wait (for a back-off, a probe, a download). 0: none.
    pub generation: u64,
    /// By name; `null` in an amending report: it is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workloads: BTreeMap<Name, Option<WorkloadReport>>,
    /// What is wrong with the device, whole. Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<Problem>>,
    /// In full reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentInfo>,
    /// Its streams, its buffer, its link and its horizon, whole. Absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<DataReport>>,
    /// Which history of the device this is. In full reports: random numbers, of which one may be
    /// the last that the control plane knows; the last one is new, and is what it knows from then
    /// on. In an amending report: the one that was said to have diverged, once the device numbers
    /// its records above all that were told with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<u32>,
}

/// Longest history of a report, in numbers.
pub const MAX_HISTORY: usize = 8;

impl StateReport {
    /// The applied version.
    pub fn version(&self) -> StateVersion {
        StateVersion { epoch: self.epoch, generation: self.generation }
    }
}

/// One workload as it is on its device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadReport {
    /// The revision that runs, or that is on its way.
    pub revision: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Starts after the first, of this revision.
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    pub restarts: u32,
    /// Process id of the main process while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Why it stands there, in words, when that is not plain; at most [`MAX_REASON`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

pub use holdfast_base::codec::MAX_REASON;

/// Something that a person should know of a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Stable word for scripts, such as `disk-full`; PROTOCOL.md lists them.
    pub code: String,
    /// What is wrong and what to do, in words.
    pub message: String,
}

/// Facts about the agent and its machine, in full reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// The agent's version.
    pub version: String,
    /// Processor architecture, as Rust names it (`x86_64`).
    pub arch: String,
    /// Kernel release, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// Seconds since the epoch, when the device's certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<u64>,
    /// Inputs refused since the agent's start (forged, foreign, stale, malformed).
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub refused: u64,
}

/// Device → control plane, retained; the offline form is the last will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Wire version.
    pub v: u8,
    /// True while connected.
    pub online: bool,
    /// Random number of this connection. Calls carry it, so that a recorded call cannot be
    /// played again, without trusting any clock. 0 in the last will.
    pub session: u64,
}

/// Control plane → device, signed: do something now and answer on `reply`. On the wire it is an
/// array (see `wire.rs`). For whom and for which session it is does not travel: the signature
/// is over both (see [`crate::signing::open_call`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Wire version.
    pub v: u8,
    /// Chosen by the caller; replies carry it.
    pub id: u64,
    /// What to do.
    pub method: Method,
}

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// End the call with this id early.
    Cancel,
    /// Send the log of a workload.
    Logs {
        /// The workload that wrote it.
        workload: Name,
        /// The part that is asked for.
        part: LogPart,
    },
    /// Answer a question from the records of a stream that are on the device. The body is a
    /// packed [`holdfast_query::Partial`].
    Query {
        /// Which stream; one that is not there has no records.
        stream: StreamName,
        /// What is asked.
        question: Box<Question>,
        /// Answer from what was looked at by then, in milliseconds.
        within_ms: u32,
    },
    /// Ship records as they are, though they were reduced or withheld. The body is a [`Fetched`].
    Fetch {
        /// Which stream.
        stream: StreamName,
        /// Not before this time, in milliseconds since 1970.
        since: u64,
        /// Before this time.
        until: u64,
        /// At most so many bytes on disk, the oldest records first; absent: all.
        bytes: Option<u64>,
    },
    /// Stop a workload, with its own signal and grace, and start the same revision again. The last
    /// reply comes when that is done; its error says why it could not be.
    Restart {
        /// Which one.
        workload: Name,
    },
}

/// Part of a workload's log. Numbers that are 0 ask for nothing special.
///
/// An offset in a log counts the bytes ever written to it, also those that were cut off its
/// beginning since. Offsets hold within a log of one number, which a device chooses at random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogPart {
    /// At most this many lines from the end.
    pub tail: u32,
    /// Keep sending what comes for this many seconds; a repeated call with the same id
    /// prolongs it. 0: answer once.
    pub follow_seconds: u32,
    /// Lines written at this time or later, in seconds since 1970. 0: from the beginning.
    pub since: u64,
    /// Lines written at this time or before, in seconds since 1970. 0: to the end.
    pub until: u64,
    /// The part written during a run before the present one: 1 is the run before. 0: all runs.
    pub back: u32,
    /// Say when lines were written.
    pub times: bool,
    /// Number of the log in which `from` is an offset. 0: begin where `tail` says.
    pub log: u32,
    /// Offset from which to go on. What was cut in between is left out; another log is sent from
    /// its beginning.
    pub from: u64,
}

/// How long a question may take where the call does not say, in milliseconds.
pub const WITHIN_MS: u32 = 60_000;

/// The answer to [`Method::Fetch`]: what is going to be shipped. Blocks are shipped whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Records.
    pub records: u64,
    /// Their bytes on the device's disk.
    pub bytes: u64,
}

/// Device → control plane: a piece of the answer to a call. On the wire it is an array (see
/// `wire.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Wire version.
    pub v: u8,
    /// The call's.
    pub id: u64,
    /// Number of this piece, from 0.
    pub sequence: u32,
    /// Bytes of the answer; at most [`MAX_REPLY_BODY`].
    pub body: Vec<u8>,
    /// No piece follows.
    pub end: bool,
    /// Why the call could not be answered.
    pub error: Option<String>,
    /// Of a log, where `body` stands: the log's number and the offset of the first byte, where
    /// they do not follow from the piece before; behind them, if times were asked for, for each
    /// part of `body` its length in bytes and when it was written, in seconds since 1970 (0: not
    /// known). Otherwise empty.
    pub log: Vec<u64>,
}

impl Reply {
    /// True: it goes at QoS 0. Nothing waits behind it, and whoever asked finds out when it is
    /// missing, and asks again; a PUBACK would only cost. What others follow waits for its PUBACK
    /// at QoS 1, so that a long answer fills no queue.
    pub fn is_single(&self) -> bool {
        self.end || self.body.is_empty()
    }
}

/// Largest body of one reply: a page of log, well under the packet limit.
pub const MAX_REPLY_BODY: usize = 16 * 1024;

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero_u32(value: &u32) -> bool {
    *value == 0
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}
