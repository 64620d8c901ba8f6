//! JSON documents of the HTTPS API, as the server writes them and the command line reads them.
//! Their shapes are a promise to scripts: fields may be added, but no field changes its meaning.
//!
//! Times are RFC 3339 in UTC with seconds (`2026-11-23T21:00:00Z`). Digests are `sha256:` and 64
//! hexadecimal digits.
//!
//! See decision 0134.

use std::collections::BTreeMap;

use holdfast_base::ids::Labels;
use holdfast_protocol::enrol::Fault;
use holdfast_protocol::message::Phase;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

mod absence;
mod access;
mod alarms;
mod code;
pub mod count;
mod data;
mod fleet;
mod groups;
mod jobs;
pub mod kinds;
pub mod link;
pub mod log;
pub mod path;
mod query;
mod scope;
pub mod selector;
pub mod strict;
pub mod time;
mod timeline;
pub mod units;
pub mod words;

pub use absence::{Absence, AbsenceStatus, PolicyAbsence};
pub use access::{
    About, Access, AccessMetadata, Authority, CreatedAccess, Licence, Licences, Login, NewAccess,
    Session,
};
pub use alarms::{Alarm, AlarmState, Delivery, Muting, NewSilence, Silence, Tested};
pub use code::ApiCode;
pub use data::{
    DataMeta, DataRecord, DataRecords, DeviceStreams, Fits, Ledger, Link, LinkClass, LinkWait,
    MissingRange, Point, Policy, PolicyDevice, PolicyStatus, PolicyStream, Series, Sparkline,
    Sparklines, StreamItem, StreamLast,
};
pub use fleet::{
    AttentionItem, DeviceCounts, Difference, Differences, Fleet, LabelKey, LabelValue,
    Labels as LabelsInUse, Severity, Site, WorkloadCounts,
};

pub use groups::{DeviceGroup, DeviceGroups, Trend, TrendPoint};
pub use jobs::{
    NotRestarted, OnDevices, PauseResult, Paused, PausedOn, RestartLine, RestartProgress,
    RestartResult, Rollback, RolledBack, WorkloadPauses,
};
pub use query::{
    FETCH_BYTES, FetchStarted, NewFetch, NewQuery, QueryBytes, QueryLine, QueryProgress,
    QueryRecords, QueryResult, QueryRow,
};
pub use scope::Scope;
pub use timeline::{Activity, ActivityObject, Category, EventKind, TimelineEvent};

/// Value of `apiVersion` in every document.
pub const API_VERSION: &str = "holdfast/v1";

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// Items of this page, ordered by name unless the request asks for another order.
    pub items: Vec<T>,
    /// Position of the page in its list.
    #[serde(default)]
    pub metadata: ListMeta,
}

/// Position of a page in its list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// Token of the next page, to be passed as the query parameter `continue`. Absent on the last
    /// page.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Revision of the store that the page shows.
    #[serde(default)]
    pub resource_version: u64,
    /// Number of items on all pages together. Given for lists of devices only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// Name, labels and versions of a resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name of the resource. A revision is named `<workload>.<number>`, a token by its id.
    pub name: String,
    /// Labels of the resource.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Number that changes with every change of the resource, but not with changes of its status.
    #[serde(default)]
    pub resource_version: u64,
    /// Time at which the resource was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Time at which the resource was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// A device: its desired state beside the state that it reports.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Always `Device`.
    pub kind: String,
    /// Name and labels of the device.
    pub metadata: Metadata,
    /// Revision that the device should run of each workload, by the workload's name.
    #[serde(default)]
    pub desired: BTreeMap<String, DesiredRevision>,
    /// Reported state of the device, as far as the control plane knows it.
    pub status: DeviceStatus,
}

/// One workload that a device should run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DesiredRevision {
    /// Number of the desired revision, from 1.
    pub revision: u64,
    /// Pause of the workload on this device: who paused it, and when. Absent: it should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
}

/// Connection state of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// The device is connected now.
    Online,
    /// The device was connected before and is not now; `connectionSince` tells since when.
    Offline,
    /// The device has enrolled and was never connected.
    NeverSeen,
    /// The device waits for an operator's approval.
    Pending,
    /// The device is revoked: it may not connect any more.
    Revoked,
}

impl Connection {
    /// Returns the state's word in the API, such as `never-seen`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::NeverSeen => "never-seen",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        }
    }
}

/// Overall state of a device. While it is connected: `failing` (a workload fails), else `problem`
/// (it reports a problem), else `progressing` (a workload is not in its desired revision yet), else
/// `healthy`. While it is offline: `unknown`. Before and after that: `pending`, `never-seen`,
/// `revoked`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// Connected; every workload runs, is done or is paused, and the device reports no problem.
    Healthy,
    /// At least one workload fails on the device.
    Failing,
    /// The device reports a problem, and no workload fails.
    Problem,
    /// At least one workload has not reached its desired revision yet.
    Progressing,
    /// The device is offline: what it reported last need not hold any more.
    #[default]
    Unknown,
    /// The device has enrolled and was never connected.
    NeverSeen,
    /// The device waits for an operator's approval.
    Pending,
    /// The device is revoked: it may not connect any more.
    Revoked,
}

impl HealthState {
    /// Every state, each once.
    pub const ALL: [Self; 8] = [
        Self::Healthy,
        Self::Failing,
        Self::Problem,
        Self::Progressing,
        Self::Unknown,
        Self::NeverSeen,
        Self::Pending,
        Self::Revoked,
    ];

    /// Returns the state's word in the API, such as `never-seen`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Problem => "problem",
            Self::Progressing => "progressing",
            Self::Unknown => "unknown",
            Self::NeverSeen => "never-seen",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        }
    }
}

/// Health of a device, computed by the control plane so that lists, pages and commands agree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Overall state of the device.
    pub state: HealthState,
    /// Time at which the state began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Names of the workloads that fail on the device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// Number of problems that the device reports, or reported when it was last heard.
    #[serde(default)]
    #[schema(required)]
    pub problems: u64,
}

/// State of one workload on one device that should run it. `done` is a job that ended successfully;
/// `unknown` means that the device is offline or does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The workload runs in the desired revision.
    Running,
    /// The workload fails, or failed and has not run well for a minute since.
    Failing,
    /// The desired revision does not run yet.
    Progressing,
    /// The workload is a job that ended successfully.
    Done,
    /// An operator has paused the workload.
    Paused,
    /// The device is offline or does not answer, so the present state is not known.
    Unknown,
}

impl State {
    /// Returns the state's word in the API, such as `running`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Progressing => "progressing",
            Self::Done => "done",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }
}

/// Reported state of a device, and what the control plane derives from it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Connection state of the device.
    pub connection: Connection,
    /// Time at which the present connection state began: the connect, the disconnect, the enrolment
    /// or the revocation. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_since: Option<String>,
    /// Time of the last packet of any kind from the device. Null: no packet ever came.
    #[serde(default)]
    pub heard_at: Option<String>,
    /// Time by which the device's next packet is due, from the keep-alive of its connection.
    /// Absent: no packet is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_by: Option<String>,
    /// True when `heardBy` has passed while the device is still connected: it hangs, or its link is
    /// broken and the connection has not ended yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// Rule for the device's absence and its present effect. Absent: the device is not approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<AbsenceStatus>,
    /// Health of the device: whether it is as it should be.
    #[serde(default)]
    #[schema(required)]
    pub health: Health,
    /// IP address from which the device last connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Shard of the device, a part of its MQTT topics: a hash of its identity that never changes.
    pub shard: u8,
    /// Epoch of the desired state that the device has applied. 0: none yet.
    pub epoch: u64,
    /// Desired and applied generation of the device's desired state.
    pub generation: Generations,
    /// Workloads that the device reports, by name.
    pub workloads: BTreeMap<String, WorkloadStatus>,
    /// Problems that the device reports, and those that the control plane finds with it.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Version of the device's agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Processor architecture of the device, such as `x86_64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Kernel release of the device, such as `6.1.0-28-arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Number of inputs (messages and documents) that the agent has refused since it started.
    #[serde(default)]
    pub refused: u64,
    /// Time at which the device's certificate expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
    /// Report of the device about its data: `storage` (its buffer), `link` (its traffic) and
    /// `horizon` (how long the buffer lasts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Result of asking a device for a sign of life.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ping {
    /// Connection state of the device.
    pub connection: Connection,
    /// True: the device sent something after it was asked, or within 10 s before. False: it has
    /// sent nothing for 15 s after it was asked. Null: it is not connected, cannot be asked, or has
    /// not replied yet.
    pub answers: Option<bool>,
    /// Time of the first question that the device has not answered. Absent: none is unanswered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<String>,
    /// Milliseconds until the sign of life came. Absent: none came, or none was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

/// Generations of a device's desired state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Generations {
    /// Newest generation that the control plane wants. 0: nothing was ever desired of the device.
    pub desired: u64,
    /// Newest generation that the device has applied, within `status.epoch`.
    pub applied: u64,
}

/// One workload on one device, as the device reports it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Number of the revision that the device reports.
    pub revision: u64,
    /// Phase that the device reports: `pending`, `fetching`, `starting`, `running`, `unhealthy`,
    /// `backoff`, `stopped`, `failed` or `paused`.
    #[schema(value_type = String)]
    pub phase: Phase,
    /// Number of restarts of this revision on the device.
    pub restarts: u32,
    /// Process id of the workload's main process. Null: no process runs, or the workload is not run
    /// as a process.
    pub pid: Option<u32>,
    /// Reason for the phase in words, as the device reports it; may be empty.
    pub reason: String,
    /// State as far as it is known now. Absent: the workload is not desired any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Time at which the state began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Time at which the phase was first reported. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<String>,
    /// State when the device was last heard, given while `state` is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_state: Option<State>,
}

/// A problem of a device that an operator should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable word for programs, such as `link-budget`.
    pub code: String,
    /// Description of the problem, in words.
    pub message: String,
    /// Time at which the problem was first reported. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Consequences of the problem, in words, one for each item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<String>,
    /// Text that says what a person can do about the problem. Absent: the control plane does not
    /// know the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// Part of the device that the problem is about. Absent: the control plane does not know the
    /// code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<ProblemArea>,
}

/// Part of a device that a problem is about: where more is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemArea {
    /// The agent, its disk, its clock or its identity.
    Device,
    /// The link and its budget.
    Link,
    /// Data streams: their ways in, the buffer, their policies.
    Streams,
}

/// A workload: its document and its state over all devices.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Always `Workload`.
    pub kind: String,
    /// Name and labels of the workload.
    pub metadata: Metadata,
    /// Specification of the workload, as it was applied.
    pub spec: Value,
    /// Counts of devices by the workload's state on them.
    pub status: WorkloadSummary,
    /// Devices on which the workload is paused. Absent: it is paused nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<WorkloadPauses>,
}

/// Counts of a workload's devices by its state on them. The counts from `running` to `unknown` add
/// up to `desired`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSummary {
    /// Number of the workload's newest revision.
    pub revision: u64,
    /// Number of devices that should run the workload.
    pub desired: u64,
    /// Devices on which this revision runs.
    pub running: u64,
    /// Devices that can be reached and do not run this revision yet.
    pub progressing: u64,
    /// Devices on which it fails, or failed and has not run well for a minute since.
    pub failing: u64,
    /// Devices on which it is a job that ended successfully.
    #[serde(default)]
    #[schema(required)]
    pub done: u64,
    /// Devices on which an operator has paused it.
    #[serde(default)]
    #[schema(required)]
    pub paused: u64,
    /// Devices that are offline or do not answer; they catch up when they are back.
    #[serde(default)]
    #[schema(required)]
    pub unknown: u64,
    /// Devices among the `unknown` on which this revision ran, or was done, when they were last
    /// heard.
    #[serde(default)]
    #[schema(required)]
    pub last_running: u64,
    /// Devices among the `unknown` that are away as a `DevicePolicy` expects, or ignored.
    #[serde(default)]
    #[schema(required)]
    pub away: u64,
    /// State of the workload as a whole: the first of `WorkloadState` that applies.
    #[serde(default)]
    #[schema(required)]
    pub state: WorkloadState,
}

/// State of a workload over all its devices. The first of these that applies is taken, so that one
/// failing device makes the whole workload `failing`: `unplaced` (no device should run it),
/// `failing`, `progressing`, `unknown` (a device is offline), `paused`, `done` (a job that ended
/// successfully), `running`. Devices that are away as expected do not count while others run it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadState {
    /// No device should run the workload.
    #[default]
    Unplaced,
    /// The workload fails on at least one device.
    Failing,
    /// At least one device does not run the desired revision yet.
    Progressing,
    /// At least one device is offline that no `DevicePolicy` expects to be, or all are away.
    Unknown,
    /// The workload is paused on at least one device.
    Paused,
    /// The workload runs, or is done, on all its devices that are not away as expected.
    Running,
    /// The workload is a job that ended successfully on all its devices that are not away as
    /// expected.
    Done,
}

/// One immutable revision of a workload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Always `Revision`.
    pub kind: String,
    /// Name of the revision, `<workload>.<number>`, and the time at which it was created.
    pub metadata: Metadata,
    /// Name of the workload.
    pub workload: String,
    /// Number of the revision within its workload, from 1.
    pub revision: u64,
    /// Id of the access token that applied the revision.
    pub created_by: String,
    /// True for the workload's present revision.
    #[serde(default)]
    pub current: bool,
    /// Number of devices that report this revision.
    #[serde(default)]
    pub devices: u64,
    /// Paths in `spec` that differ from the revision before, at most 20. Empty for the oldest
    /// revision that is kept.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Specification of the workload, as it was applied.
    pub spec: Value,
}

/// An enrolment token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Always `holdfast/v1`.
    pub api_version: String,
    /// Always `Token`.
    pub kind: String,
    /// Id of the token as name; the labels are those that devices get when they enrol with it.
    pub metadata: Metadata,
    /// Time at which the token expires.
    pub expires_at: String,
    /// Number of devices that may enrol with the token.
    pub uses: u32,
    /// Number of devices that have enrolled with the token.
    pub used: u32,
    /// Keys of labels that devices may choose themselves when they enrol; `*` stands for every key.
    #[serde(default)]
    pub allow_labels: Vec<String>,
    /// Approval of devices that enrol with the token: at once, or by an operator.
    pub approve: Approve,
    /// State of the token: `active`, `expired`, `used` or `revoked`.
    pub state: String,
}

/// Approval of devices that enrol: accepted at once (`auto`) or by an operator (`manual`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approve {
    /// The device is accepted at once.
    Auto,
    /// The device waits for an operator's approval.
    Manual,
}

/// Request of `POST /api/v1/tokens`: a new enrolment token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// Life of the token in seconds, from 1 second to ten years. Default: 86400, a day.
    #[serde(default = "a_day")]
    pub ttl_seconds: u64,
    /// Number of devices that may enrol with the token, at least 1. Default: 1.
    #[serde(default = "once")]
    pub uses: u32,
    /// Labels that devices get when they enrol with the token.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Keys of labels that devices may choose themselves when they enrol, at most 64; `*` stands
    /// for every key. Default: none.
    #[serde(default)]
    pub allow_labels: Vec<String>,
    /// Approval of devices that enrol with the token: `auto` accepts them at once, `manual` lets
    /// them wait for an operator. Default: `auto`.
    #[serde(default = "auto")]
    pub approve: Approve,
}

fn a_day() -> u64 {
    86_400
}

fn once() -> u32 {
    1
}

fn auto() -> Approve {
    Approve::Auto
}

/// Response to `POST /api/v1/tokens`: the only time that the secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token with its secret: `hf1.<id>.<secret>.<sha256 of the CA>`.
    pub token: String,
    /// Id of the token, by which it is listed and revoked.
    pub id: String,
}

/// An enrolment token with the devices that used it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// The token, without its secret.
    #[serde(flatten)]
    pub token: Token,
    /// Devices that enrolled with the token and are still known, the newest first, at most 100.
    pub devices: Vec<TokenDevice>,
}

/// A device that enrolled with a token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenDevice {
    /// Name of the device.
    pub name: String,
    /// Time at which the device enrolled.
    pub enrolled_at: String,
    /// Keys of labels that the device claimed and did not get, because the token does not allow
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncounted_labels: Vec<String>,
}

/// Name of the first file in a backup.
pub const BACKUP_MANIFEST: &str = "manifest.json";

/// Bytes at the beginning of a file that tell a backup from other files: the first header of a tar.
pub const BACKUP_HEAD: usize = 512;

/// Returns whether a file that begins with `head` looks like a backup: a tar whose first file is
/// [`BACKUP_MANIFEST`].
pub fn begins_like_a_backup(head: &[u8]) -> bool {
    head.len() == BACKUP_HEAD
        && head.strip_prefix(BACKUP_MANIFEST.as_bytes()).is_some_and(|rest| rest.starts_with(b"\0"))
        && head.get(257..262) == Some(b"ustar".as_slice())
}

/// Request of `POST /api/v1/apply`: documents to apply. Read by [`strict::apply`].
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Apply {
    /// Documents of any kind that can be applied. Either all of them are applied or none.
    pub documents: Vec<Value>,
}

/// Effect of applying a document on its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AppliedAction {
    /// The resource is new.
    Created,
    /// The resource was there and is another one now.
    Changed,
    /// The resource was there already, as the document says.
    Unchanged,
}

impl AppliedAction {
    /// Returns the word of the effect in responses and texts, such as `created`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Response to `POST /api/v1/apply`, document by document.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// Results, in the order of the documents.
    pub results: Vec<AppliedDocument>,
}

/// Result of applying one document, or in a dry run the result that it would have.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedDocument {
    /// Kind of the document, such as `Workload`.
    pub kind: String,
    /// Name of the resource.
    pub name: String,
    /// Effect on the resource.
    pub action: AppliedAction,
    /// Revision of the workload afterwards. 0 for kinds that have no revisions.
    pub revision: u64,
    /// Number of devices that should run the workload, or that the document chooses.
    pub device_count: u64,
    /// Names of the first of these devices, at most 20.
    pub devices: Vec<String>,
    /// Document before the change, for a diff. Absent: the resource is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Document after the change.
    pub after: Value,
    /// Warnings, in words, such as `no enrolled and approved device matches spec.devices`.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Devices for which something changes.
    #[serde(default)]
    pub changed_devices: ChangedDevices,
    /// For a `Stream`: number of streams on devices whose policy changes.
    #[serde(default)]
    pub changed_streams: u64,
    /// Effect on devices in words, such as `applies to 4 devices; 2 streams change policy`.
    #[serde(default)]
    pub effect: String,
}

/// Devices for which a document changes something. At most 100 of each list are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedDevices {
    /// Devices that begin to run the workload, or to which the document begins to apply.
    pub gain: Vec<String>,
    /// Number of devices in `gain`, also those that are not named.
    pub gain_count: u64,
    /// Devices that stop running the workload, or to which the document no longer applies.
    pub lose: Vec<String>,
    /// Number of devices in `lose`, also those that are not named.
    pub lose_count: u64,
    /// Devices that go to another revision of the workload, or on which the document's effect
    /// changes.
    pub update: Vec<String>,
    /// Number of devices in `update`, also those that are not named.
    pub update_count: u64,
}

/// Request of `PATCH /api/v1/devices/{name}`: labels to set or remove.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelPatch {
    /// Labels to set, by key. A null value removes the label.
    pub labels: BTreeMap<String, Option<String>>,
    /// Resource version of the device that the change is based on. When it is not the present one,
    /// the request is refused as a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<u64>,
}

/// Response to `GET /api/v1/explain/{kind}/{name}`: why a resource is not as desired, in words.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Kind of the resource: `device`, `workload`, `stream`, `linkbudget`, `notification` or
    /// `devicepolicy`.
    pub kind: String,
    /// Name of the resource.
    pub name: String,
    /// True when the resource is as desired.
    pub settled: bool,
    /// State of the resource in one line.
    pub summary: String,
    /// Reasons why the resource is not as desired, the most important first.
    pub reasons: Vec<String>,
    /// Commands that help, such as `holdfast device approve gw-7`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// Response to `PUT /api/v1/artifacts`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StoredArtifact {
    /// Digest of the stored file: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Size of the stored file in bytes.
    pub size: u64,
}

/// One event of `GET /api/v1/events`. As a server-sent event, `data:` holds this document, `event:`
/// its `type`, and `id:` the resource version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Kind of the object: `device`, `workload`, `stream`, `linkbudget`, `notification`,
    /// `devicepolicy`, `alarm`, `token` or `access`. `reset` means that events were missed: read
    /// everything again.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the object. Empty for `reset`.
    pub name: String,
    /// Kind of the change: `changed` or `deleted`.
    pub action: String,
    /// Time of the event.
    pub at: String,
    /// Description of the change in words, such as `hello: running`.
    pub message: String,
    /// Parts of a device that changed: `connection`, `problems`, `applied` and `workloads/NAME`.
    /// Absent: any part may have changed, also labels and approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// Response to `POST /api/v1/restore`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// Epoch of the desired state after the restore.
    pub epoch: u64,
    /// Number of devices in the backup.
    pub devices: u64,
    /// Number of workloads in the backup.
    pub workloads: u64,
    /// Next steps in words, such as a restart or another login.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Body of every refusal: what was refused and what to do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorDocument {
    /// Stable word for programs, such as `not-found`.
    pub code: ApiCode,
    /// Description of the refusal and of what to do, in words.
    pub message: String,
    /// Faults in the request, each with its path.
    #[serde(default)]
    #[schema(value_type = Vec<Value>)]
    pub faults: Vec<Fault>,
}
