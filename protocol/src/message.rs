//! Messages that travel on the MQTT topics, one type for each [`crate::topic::Channel`] outside
//! `data`. Every message carries `v`, the wire version.
//!
//! See decision 0115.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::absent::is_default;
use crate::checkpoint::Checkpoint;
use crate::problem::Code;
use crate::sealing::Sealed;
use crate::volume::VolumeOrder;
use crate::workload::WorkloadSpec;
use holdfast_base::ids::{DeviceId, Name, StateVersion};
use holdfast_query::Question;
use holdfast_records::{DataPolicies, DataReport, StreamName};

/// Everything that a device should run. Control plane → device, signed, retained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// Device that the state is for; every other device refuses it.
    pub device: DeviceId,
    /// First half of the version, see [`StateVersion`].
    pub epoch: u64,
    /// Second half of the version, see [`StateVersion`].
    pub generation: u64,
    /// Workloads that should be on the device, by name; any other is stopped and removed.
    pub workloads: BTreeMap<Name, DesiredWorkload>,
    /// Policies for the device's streams and its link; absent: the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<DataPolicies>>,
    /// Newest checkpoint of the tenant's audit log, which the device keeps. It belongs to the
    /// message and not to the state: the same version may come with another one. Absent: there is
    /// none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Checkpoint>,
}

impl DesiredState {
    /// Returns the epoch and generation of the state.
    pub fn version(&self) -> StateVersion {
        StateVersion { epoch: self.epoch, generation: self.generation }
    }
}

/// A workload that a device should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredWorkload {
    /// Number of the revision, from 1; within an epoch no number is used twice for one name.
    pub revision: u64,
    /// True: the workload is stopped and not started until this is false; its folder, its record
    /// and its log stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Program, limits and policies of this revision.
    pub spec: WorkloadSpec,
    /// Secrets of the workload, sealed to the device; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Box<Sealed>>,
}

/// Stage that a workload has reached on its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Known to the agent; nothing has been done yet.
    Pending,
    /// The artifacts of the workload are being downloaded.
    Fetching,
    /// The workload is being started, or was started and is not yet known to work.
    Starting,
    /// The workload runs and its probe, if it has one, succeeds.
    Running,
    /// The workload runs and its probe fails.
    Unhealthy,
    /// The workload ended and waits for its back-off before the next start.
    Backoff,
    /// The workload is being stopped, or ended and its restart policy does not start it again.
    Stopped,
    /// The workload cannot run; `reason` in the report says why.
    Failed,
    /// The workload is stopped because its desired state says `paused`, and starts when that ends.
    Paused,
}

impl Phase {
    /// Returns the word for the phase on the wire, in the API and on the command line, such as
    /// `running`.
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

/// Reported state: what a device does run. Device → control plane; sent in full after every
/// connect, and on a change with the changed entries only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// True: the report replaces everything known of the device. False: it amends that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Epoch of the newest applied desired state; see `generation`.
    pub epoch: u64,
    /// Generation of the newest desired state that is stored on the device and carried out as far
    /// as possible: nothing is left to do but to wait (for a back-off, a probe or a download). 0:
    /// none.
    pub generation: u64,
    /// Workloads by name; `null` in an amending report: the workload is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workloads: BTreeMap<Name, Option<WorkloadReport>>,
    /// Complete list of the device's problems. Absent: as in the report before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<Problem>>,
    /// Facts about the agent and its machine; present in full reports only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentInfo>,
    /// Streams, buffer, link and horizon of the device, replacing the former ones. Absent: as in
    /// the report before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<DataReport>>,
    /// Random numbers that identify the history of the device's data, at most [`MAX_HISTORY`]. In a
    /// full report: one of them may be the number that the control plane knows; the last is new,
    /// and the control plane knows the device by it from then on. In an amending report: the number
    /// named in [`holdfast_records::Acknowledgement::diverged`], sent once the device numbers its data
    /// records above all the numbers told with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<u32>,
    /// Number that the acknowledgement of this report names (see [`ReportAck`]). Absent: none is
    /// asked for. The device never uses one twice in a row, nor again soon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
}

/// Most numbers in [`StateReport::history`].
pub const MAX_HISTORY: usize = 8;

/// Confirmation that a report is stored durably. Control plane → device, on `ack`. On the wire it is
/// an array (see `wire.rs`) of 3 to 7 bytes. Not signed: a forged one can do no more than a broker
/// that drops reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportAck {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// Number of the report, [`StateReport::id`].
    pub id: u32,
}

impl ReportAck {
    /// Returns true if a message on `ack` is about a report: then it is an array, and a map if it
    /// is about data.
    pub fn is_of(message: &[u8]) -> bool {
        // The high three bits are CBOR's major type; 4 is an array.
        message.first().is_some_and(|first| first >> 5 == 4)
    }
}

impl StateReport {
    /// Returns the version of the newest applied desired state.
    pub fn version(&self) -> StateVersion {
        StateVersion { epoch: self.epoch, generation: self.generation }
    }
}

/// Reported state of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadReport {
    /// Revision that runs, or that is being fetched or started.
    pub revision: u64,
    /// Stage that the workload has reached.
    pub phase: Phase,
    /// Number of starts of this revision after the first.
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    pub restarts: u32,
    /// Number of the run, chosen by the runtime; absent while there is no instance. Another number:
    /// it was started anew in between. The process runtime gives the process id of the main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// Facts of the instance that only its runtime knows; nothing is decided by them. Absent for a
    /// process of which `run` says all: 19 bytes less in each report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Detail>,
    /// Explanation of the phase for a person, where it is not plain; at most [`MAX_REASON`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Progress of the download of what the workload needs, while there is one that takes long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// Progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of bytes that are on the device.
    pub done: u64,
    /// Number of bytes in all.
    pub total: u64,
    /// Bytes a second since the last figure, or since the download went on.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub rate: u64,
    /// Place that the bytes come from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub from: Origin,
}

impl Progress {
    /// Returns the seconds that are left at this rate. None: nothing came lately.
    pub fn seconds_left(&self) -> Option<u64> {
        (self.rate > 0).then(|| self.total.saturating_sub(self.done).div_ceil(self.rate))
    }
}

/// Place that the bytes of a download come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The control plane, which sends all bytes.
    #[default]
    Whole,
    /// The control plane, which sends the difference from what the device has.
    Delta,
    /// Another device of the same site.
    Neighbour,
    /// A place that the reader does not know.
    #[serde(other)]
    Other,
}

impl Origin {
    /// Returns the word for the place on the wire, in the API and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Delta => "delta",
            Self::Neighbour => "neighbour",
            Self::Other => "other",
        }
    }
}

impl WorkloadReport {
    /// Process id of the main process, if the instance is a process of the device.
    pub fn pid(&self) -> Option<u32> {
        match &self.detail {
            Some(Detail::Process(pid)) => Some(*pid),
            Some(Detail::Container(_)) => None,
            None => self.run,
        }
    }
}

/// Detail of a running instance, by the runtime that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// Process of the device, with the process id of its main process.
    Process(u32),
    /// Container, or the containers of a group.
    Container(Box<ContainerDetail>),
}

/// What an engine says of a workload's containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDetail {
    /// Id of the container at its engine, the first 12 digits; of a group that of its first one.
    pub id: String,
    /// Ports of the device that were assigned, by the names of the document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<Name, u16>,
}

/// Longest [`WorkloadReport::reason`] in bytes: one line for a person, and small on a metered link.
pub use holdfast_base::codec::MAX_REASON;

/// Fault of a device that a person should know of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Stable word for scripts, such as `disk-full`; PROTOCOL.md lists those that are known.
    pub code: Code,
    /// Text for a person that says what is wrong and what to do.
    pub message: String,
}

/// Facts about the agent and its machine, in full reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Version of the agent program, such as `0.9.0`.
    pub version: String,
    /// Processor architecture, as Rust names it (`x86_64`).
    pub arch: String,
    /// Release of the Linux kernel, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// End of the device certificate's validity, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<u64>,
    /// Number of inputs refused since the agent's start (forged, foreign, stale or malformed).
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub refused: u64,
    /// True if the agent keeps checkpoints of the audit log and answers
    /// [`Method::AuditCheckpoint`]. One of an earlier version does not, and is not asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub witness: bool,
    /// Container engine of the device. Absent: the agent looks for none, or is of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineInfo>,
    /// Addresses with port at which the device serves its neighbours, at most
    /// [`crate::neighbours::MAX_ADDRESSES`]. Empty: it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<String>,
}

/// Container engine of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// Name of the engine, such as `docker` or `podman`. Empty: the device has none, or it never
    /// answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Version of the engine, such as `20.10.24`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Version of its API that is spoken, such as `1.41`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api: String,
    /// Reason why it cannot be used; empty: it can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// Presence of a device: connected or not. Device → control plane, retained; the offline form is the
/// connection's last will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// True while the device is connected; false in the last will.
    pub online: bool,
    /// Random number of this connection; 0 in the last will. A call is signed for it, so that a
    /// recorded call cannot be replayed in a later connection. No clock needs to be trusted.
    pub session: u64,
}

/// Order to do something now and to send the result on `reply`. Control plane → device, signed. On
/// the wire it is an array (see `wire.rs`). The device and the session that it is for do not
/// travel: the signature covers both (see [`crate::signing::open_call`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// Number chosen by the caller; every reply to the call carries it.
    pub id: u64,
    /// Operation that is asked for, with its arguments.
    pub method: Method,
}

/// Operation that a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Ends the call with this id early.
    Cancel,
    /// Sends the log of a workload.
    Logs {
        /// Workload that wrote the log.
        workload: Name,
        /// Part of the log to send.
        part: LogPart,
    },
    /// Answers a question from the data records of a stream that are on the device. The reply's
    /// body is a packed [`holdfast_query::Partial`].
    Query {
        /// Stream to read; one that does not exist on the device counts as empty.
        stream: StreamName,
        /// Question that is asked.
        question: Box<Question>,
        /// Time limit in milliseconds; after it the answer covers only the data records read so
        /// far.
        within_ms: u32,
    },
    /// Ships data records unchanged, including those that were reduced or withheld. The reply's
    /// body is a [`Fetched`].
    Fetch {
        /// Stream to ship from.
        stream: StreamName,
        /// Start of the time range (included), in milliseconds since 1970.
        since: u64,
        /// End of the time range (excluded), in milliseconds since 1970.
        until: u64,
        /// Most bytes to ship as they lie on disk, the oldest data records first; absent: all.
        bytes: Option<u64>,
    },
    /// Stops a workload, with its own signal and grace period, and starts the same revision again.
    /// The last reply comes when that is done; its error says why it failed.
    Restart {
        /// Name of the workload to restart.
        workload: Name,
    },
    /// Sends the checkpoints of the audit log that the device keeps. The reply's body is a
    /// [`crate::checkpoint::Testimony`].
    AuditCheckpoint,
    /// Does something with the volumes of the device's containers.
    Volume(VolumeOrder),
}

/// Part of a workload's log. A field that is 0 (or false) asks for nothing special.
///
/// An offset in a log counts all bytes ever written to it, including those since cut off its
/// beginning. Offsets are only comparable within a log of one number, which the device chooses at
/// random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogPart {
    /// Most lines to send, counted from the end of the log.
    pub tail: u32,
    /// Number of seconds for which new lines are sent as they come; a repeated call with the same
    /// id prolongs it. 0: one reply.
    pub follow_seconds: u32,
    /// Earliest time of the lines to send, in seconds since 1970. 0: from the beginning.
    pub since: u64,
    /// Latest time of the lines to send, in seconds since 1970. 0: to the end.
    pub until: u64,
    /// Run whose part of the log is sent, counted back from the present one: 1 is the run before.
    /// 0: all runs.
    pub back: u32,
    /// True: the reply tells when lines were written.
    pub times: bool,
    /// Number of the log in which `from` is an offset. 0: begin where `tail` says.
    pub log: u32,
    /// Offset from which to continue. Bytes cut off in between are left out; if the log is now
    /// another one, it is sent from its beginning.
    pub from: u64,
}

/// Time limit of a question whose call names none, in milliseconds.
pub const WITHIN_MS: u32 = 60_000;

/// Reply's body for [`Method::Fetch`]: the amount that is going to be shipped. Blocks are shipped
/// whole, so it may exceed what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Number of data records.
    pub records: u64,
    /// Bytes of those data records on the device's disk.
    pub bytes: u64,
}

/// Kind of a call's failure. The caller decides by it, for example whether it asks again; the text
/// beside it is for people alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyCode {
    /// The device works on other calls; the same call may succeed seconds later.
    Busy,
    /// The arguments exceed a bound of the device, or need an ability that its agent lacks.
    Unsupported,
    /// The budget of the device's link for replies is used up until its period ends.
    OverBudget,
    /// The workload or its log does not exist on the device.
    NotFound,
    /// Any other failure, and every code that the reader does not know. It does not travel: it is
    /// the code of an error without one.
    Failed,
}

impl ReplyCode {
    /// All codes, in the order of PROTOCOL.md.
    pub const ALL: [Self; 5] =
        [Self::Busy, Self::Unsupported, Self::OverBudget, Self::NotFound, Self::Failed];

    /// Returns the word for the code on the wire, such as `over-budget`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unsupported => "unsupported",
            Self::OverBudget => "over-budget",
            Self::NotFound => "not-found",
            Self::Failed => "failed",
        }
    }

    /// Returns the code with this word; [`Self::Failed`] for an unknown word, such as one of a newer
    /// agent.
    pub fn from_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|code| code.as_str() == word).unwrap_or(Self::Failed)
    }
}

/// Reason why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ReplyError {
    /// Kind of the failure.
    pub code: ReplyCode,
    /// Text for a person.
    pub text: String,
}

impl ReplyError {
    /// Makes an error with this code and text.
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Piece of the reply to a call. Device → control plane. On the wire it is an array (see
/// `wire.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Wire version, [`holdfast_base::WIRE_VERSION`].
    pub v: u8,
    /// Number of the call that this replies to.
    pub id: u64,
    /// Number of this piece, from 0.
    pub sequence: u32,
    /// Bytes of this piece; at most [`MAX_REPLY_BODY`].
    pub body: Vec<u8>,
    /// True for the last piece.
    pub end: bool,
    /// Reason why the call failed; absent: no fault.
    pub error: Option<ReplyError>,
    /// Numbers that place `body` within a log; empty for other calls. First, if they do not follow
    /// from the piece before, the log's number and the offset of the first byte of `body`. Then, if
    /// times were asked for, a pair for each part of `body`: its length in bytes, and when it was
    /// written in seconds since 1970 (0: not known).
    pub log: Vec<u64>,
}

impl Reply {
    /// Returns true for a reply that is sent at QoS 0: the last one, or one without a body. The
    /// caller notices when it is missing and asks again, so a PUBACK would only cost bytes. Any
    /// other piece is sent at QoS 1 and the next waits for its PUBACK, so that a long reply fills
    /// no queue.
    pub fn is_single(&self) -> bool {
        self.end || self.body.is_empty()
    }
}

/// Largest body of one reply in bytes: a page of log, well under the packet limit.
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

#[cfg(test)]
mod tests {
    use holdfast_base::codec;

    use super::*;

    #[test]
    fn a_place_of_bytes_that_is_not_known_is_passed_over() {
        #[derive(Serialize, Deserialize, Debug, PartialEq)]
        struct Message {
            v: u8,
            progress: Progress,
        }
        let said = |from| Message { v: 1, progress: Progress { done: 1, total: 9, rate: 2, from } };
        let bytes = codec::encode(&said(Origin::Delta)).unwrap();
        let at = bytes.windows(5).position(|it| it == b"delta").unwrap();
        let mut moon = bytes.clone();
        moon.splice(at..at + 5, *b"moons");
        assert_eq!(codec::decode::<Message>(&moon).unwrap(), said(Origin::Other));
        let progress = said(Origin::Whole).progress;
        assert_eq!(progress.seconds_left(), Some(4));
        assert_eq!(Progress { rate: 0, ..progress }.seconds_left(), None);
    }
}
