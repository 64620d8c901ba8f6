//! The documents of the HTTPS API, as the server writes and the command line reads them.
//! Their shapes are a promise to scripts: fields may be added, none changes its meaning.
//!
//! Times are RFC 3339 in UTC with seconds (`2026-11-23T21:00:00Z`); digests `sha256:<64 hex>`.

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
pub mod count;
mod data;
mod fleet;
mod groups;
mod jobs;
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

/// `apiVersion` of every document.
pub const API_VERSION: &str = "holdfast/v1";

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The items, by name.
    pub items: Vec<T>,
    /// Where the page stands.
    #[serde(default)]
    pub metadata: ListMeta,
}

/// Where a page stands in its list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// Pass it as `continue` for the next page; absent on the last.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Revision of the store that the page shows.
    #[serde(default)]
    pub resource_version: u64,
    /// How many there are on all pages together; of devices only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// What every resource carries.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name; of a revision `<workload>.<number>`, of a token its id.
    pub name: String,
    /// Its labels.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Changes with every change of the resource (not of its status).
    #[serde(default)]
    pub resource_version: u64,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// A device: what is desired of it and what it reports, side by side.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// [`API_VERSION`].
    pub api_version: String,
    /// `Device`.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// What it should run: workload to revision.
    #[serde(default)]
    pub desired: BTreeMap<String, DesiredRevision>,
    /// What it does run, as far as is known.
    pub status: DeviceStatus,
}

/// One workload that a device should run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DesiredRevision {
    /// The revision's number.
    pub revision: u64,
    /// It is paused there: by whom and since when. Absent: it should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
}

/// Whether a device can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// Connected now.
    Online,
    /// Not connected, and was before; `connectionSince` says since when.
    Offline,
    /// Enrolled, and was never connected.
    NeverSeen,
    /// Waits for a person's approval.
    Pending,
    /// May not connect any more.
    Revoked,
}

impl Connection {
    /// Its word.
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

/// The state of a device as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// Connected, everything runs or is done, and it reports no problem.
    Healthy,
    /// A workload fails on it.
    Failing,
    /// It reports a problem, and no workload fails.
    Problem,
    /// A workload is not there yet.
    Progressing,
    /// It is offline: what it was doing when last heard is not what it is doing.
    #[default]
    Unknown,
    /// Enrolled, and was never connected.
    NeverSeen,
    /// Waits for a person's approval.
    Pending,
    /// May not connect any more.
    Revoked,
}

impl HealthState {
    /// All of them.
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

    /// Its word.
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

/// Whether a device is as it should be, computed in one place for all that show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// The state.
    pub state: HealthState,
    /// When it began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Names of the workloads that fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// Number of problems that it reports, or reported when last heard.
    #[serde(default)]
    #[schema(required)]
    pub problems: u64,
}

/// The state of a workload on a device that should run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs, in the desired revision.
    Running,
    /// It fails, or failed and has not run for a minute since.
    Failing,
    /// It is not there yet.
    Progressing,
    /// A job that has run to its good end.
    Done,
    /// A person has paused it.
    Paused,
    /// The device is offline.
    Unknown,
}

impl State {
    /// Its word.
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

/// What is known of a device.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceStatus {
    /// Whether it can be reached.
    pub connection: Connection,
    /// When that began: the connection, its end, the enrolment. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_since: Option<String>,
    /// When the last packet of any kind came from it. Null: never.
    #[serde(default)]
    pub heard_at: Option<String>,
    /// Until when its next packet is due, by the keep-alive of its connection. Absent: none is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_by: Option<String>,
    /// Whether that is over: it is connected, and may hang, or its link is dead and nobody has noticed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// What holds when it is offline. Absent: it is not approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<AbsenceStatus>,
    /// The one answer to whether it is as it should be.
    #[serde(default)]
    #[schema(required)]
    pub health: Health,
    /// Its address at the last connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Part of its topics.
    pub shard: u8,
    /// Epoch of the state it has applied; 0: none yet.
    pub epoch: u64,
    /// Desired and applied.
    pub generation: Generations,
    /// Reported workloads, by name.
    pub workloads: BTreeMap<String, WorkloadStatus>,
    /// What is wrong with the device, by its own report.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Version of its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Processor architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Kernel release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Inputs that the device refused since its agent's start.
    #[serde(default)]
    pub refused: u64,
    /// When its certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
    /// What it says of its buffer (`storage`), its link (`link`) and its `horizon`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Whether a device answers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ping {
    /// Whether it is connected.
    pub connection: Connection,
    /// True: it said something since it was asked, or within 10 s before. False: it has not for 15 s.
    /// Null: it is not connected, cannot be asked, or has not answered yet.
    pub answers: Option<bool>,
    /// Since when it does not answer: its first unanswered question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<String>,
    /// How long its sign of life took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

/// A device's generations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Generations {
    /// Newest that the control plane wants. 0: nothing was ever wanted.
    pub desired: u64,
    /// Newest that the device has applied, in `status.epoch`.
    pub applied: u64,
}

/// One workload on one device, as reported.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Its revision.
    pub revision: u64,
    /// `pending|fetching|starting|running|unhealthy|backoff|stopped|failed|paused`.
    #[schema(value_type = String)]
    pub phase: Phase,
    /// Restarts of this revision.
    pub restarts: u32,
    /// Process id of the main process; null: none.
    pub pid: Option<u32>,
    /// Why, in words; may be empty.
    pub reason: String,
    /// The state by what is known now. Absent: it is not desired any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// When the state began. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When the phase was first reported. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<String>,
    /// Of an unknown state: the state when the device was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_state: Option<State>,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable word.
    pub code: String,
    /// In words.
    pub message: String,
    /// When it was first reported. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What follows from it, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<String>,
}

/// A workload: its document and how it fares.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// [`API_VERSION`].
    pub api_version: String,
    /// `Workload`.
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// As it was written.
    pub spec: Value,
    /// How it fares.
    pub status: WorkloadSummary,
    /// Where it is paused. Absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<WorkloadPauses>,
}

/// How a workload fares over all its devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSummary {
    /// Its newest revision.
    pub revision: u64,
    /// Devices that should run it.
    pub desired: u64,
    /// Of those: run this revision.
    pub running: u64,
    /// Of those: reachable, not there yet.
    pub progressing: u64,
    /// Of those: fail, or failed and have not run well for a minute since.
    pub failing: u64,
    /// Of those: have run it to its good end (a job).
    #[serde(default)]
    #[schema(required)]
    pub done: u64,
    /// Of those: a person has paused it.
    #[serde(default)]
    #[schema(required)]
    pub paused: u64,
    /// Of those: are offline; they catch up when they are back.
    #[serde(default)]
    #[schema(required)]
    pub unknown: u64,
    /// Of the unknown: ran this revision, or were done with it, when last heard.
    #[serde(default)]
    #[schema(required)]
    pub last_running: u64,
    /// Of the unknown: on devices that are away as a `DevicePolicy` expects, or ignored.
    #[serde(default)]
    #[schema(required)]
    pub away: u64,
    /// The state as a whole: the worst of those that it has on its devices.
    #[serde(default)]
    #[schema(required)]
    pub state: WorkloadState,
}

/// The state of a workload over all its devices, the worst first: it is in the first that is so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadState {
    /// No device is to run it.
    #[default]
    Unplaced,
    /// It fails on some device.
    Failing,
    /// It is not there yet on some device.
    Progressing,
    /// Some device is offline.
    Unknown,
    /// It is paused on some device.
    Paused,
    /// It runs, or is done, on all its devices.
    Running,
    /// A job that has run to its good end on all its devices.
    Done,
}

/// One immutable revision of a workload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// [`API_VERSION`].
    pub api_version: String,
    /// `Revision`.
    pub kind: String,
    /// `<workload>.<number>`, and when it was made.
    pub metadata: Metadata,
    /// Whose.
    pub workload: String,
    /// Its number, from 1.
    pub revision: u64,
    /// Who applied it: the access token's id.
    pub created_by: String,
    /// It is the workload's present one.
    #[serde(default)]
    pub current: bool,
    /// How many devices report it.
    #[serde(default)]
    pub devices: u64,
    /// Paths in `spec` that differ from the revision before it, at most 20; empty for the first one
    /// that is kept.
    #[serde(default)]
    pub changed: Vec<String>,
    /// As it was written.
    pub spec: Value,
}

/// An enrolment token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// [`API_VERSION`].
    pub api_version: String,
    /// `Token`.
    pub kind: String,
    /// Its id; labels are those it gives.
    pub metadata: Metadata,
    /// When it ends.
    pub expires_at: String,
    /// How often it may be used.
    pub uses: u32,
    /// How often it was.
    pub used: u32,
    /// Keys of labels that devices may give themselves when they enrol; `*`: every key.
    #[serde(default)]
    pub allow_labels: Vec<String>,
    /// Whether devices wait for a person.
    pub approve: Approve,
    /// `active`, `expired`, `used` or `revoked`.
    pub state: String,
}

/// Whether devices that enrol wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approve {
    /// They are accepted at once.
    Auto,
    /// They wait.
    Manual,
}

/// `POST /api/v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// How long it holds, in seconds; default a day.
    #[serde(default = "a_day")]
    pub ttl_seconds: u64,
    /// How often it may be used; default once.
    #[serde(default = "once")]
    pub uses: u32,
    /// Labels that it gives.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Keys of labels that devices may give themselves when they enrol; `*`: every key; default
    /// none.
    #[serde(default)]
    pub allow_labels: Vec<String>,
    /// Whether devices wait for a person; default no.
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

/// The answer to [`NewToken`]: the only time that the secret is shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// `hf1.<id>.<secret>.<ca sha256>`.
    pub token: String,
    /// Its id.
    pub id: String,
}

/// An enrolment token with what came of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// Devices that enrolled with it and are still known, the newest first, at most 100.
    pub devices: Vec<TokenDevice>,
}

/// A device that enrolled with a token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenDevice {
    /// Its name.
    pub name: String,
    /// When it enrolled.
    pub enrolled_at: String,
    /// Keys of labels that it claimed and that do not count: the token does not allow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncounted_labels: Vec<String>,
}

/// The first file of a backup.
pub const BACKUP_MANIFEST: &str = "manifest.json";

/// Bytes of a backup that tell it from other files: a tar's first header.
pub const BACKUP_HEAD: usize = 512;

/// Does a file that begins like this look like a backup: a tar whose first file is its manifest?
pub fn begins_like_a_backup(head: &[u8]) -> bool {
    head.len() == BACKUP_HEAD
        && head.strip_prefix(BACKUP_MANIFEST.as_bytes()).is_some_and(|rest| rest.starts_with(b"\0"))
        && head.get(257..262) == Some(b"ustar".as_slice())
}

/// `POST /api/v1/apply`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// Documents of any kind that can be applied; all or none of them.
    #[serde(deserialize_with = "crate::strict::strict_values")]
    pub documents: Vec<Value>,
}

/// The answer to [`Apply`], document by document.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// In the order of the documents.
    pub results: Vec<AppliedDocument>,
}

/// What became (or, in a dry run, would become) of one document.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedDocument {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `created`, `changed` or `unchanged`.
    pub action: String,
    /// The workload's revision afterwards; 0 of what has none.
    pub revision: u64,
    /// How many devices should run it, or are chosen by a document about data.
    pub device_count: u64,
    /// The first of them.
    pub devices: Vec<String>,
    /// The document as it stands before, for a diff; absent when it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The document as it stands afterwards.
    pub after: Value,
    /// What is worth knowing, such as "no device matches".
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The devices for which something changes.
    #[serde(default)]
    pub changed_devices: ChangedDevices,
    /// Of a `Stream`: streams on devices whose policy becomes another.
    #[serde(default)]
    pub changed_streams: u64,
    /// What it does on devices, in words, such as `applies to 4 devices; 2 streams change policy`.
    #[serde(default)]
    pub effect: String,
}

/// For which devices a document changes something; the first hundred of each are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedDevices {
    /// Those that begin to run the workload, or on which a document about data holds from then on.
    pub gain: Vec<String>,
    /// How many those are.
    pub gain_count: u64,
    /// Those that stop it, or on which it holds no more.
    pub lose: Vec<String>,
    /// How many those are.
    pub lose_count: u64,
    /// Those that go to another revision of it, or on which what it says changes.
    pub update: Vec<String>,
    /// How many those are.
    pub update_count: u64,
}

/// `PATCH /api/v1/devices/{name}`: null removes a label.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelPatch {
    /// Labels to set, or with null to remove.
    pub labels: BTreeMap<String, Option<String>>,
    /// When given and not the device's present one: refused as a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<u64>,
}

/// `GET /api/v1/explain/{kind}/{name}`: why something is not as desired, in words.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// `device`, `workload`, `stream`, `linkbudget`, `notification` or `devicepolicy`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// True when all is as desired.
    pub settled: bool,
    /// One line that says how it stands.
    pub summary: String,
    /// What is not as desired, and why, most important first.
    pub reasons: Vec<String>,
    /// What helps on the command line, such as `holdfast device approve gw-7`; pages have buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// The answer to `PUT /api/v1/artifacts`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StoredArtifact {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// One event of `GET /api/v1/events` (SSE `data:`; SSE `event:` is `type`, SSE `id:` the
/// resource version).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `device`, `workload`, `stream`, `linkbudget`, `notification`, `devicepolicy`, `alarm`, `token`, `access` or `reset` (events were missed: read everything
    /// anew).
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose; empty for `reset`.
    pub name: String,
    /// `changed` or `deleted`.
    pub action: String,
    /// When.
    pub at: String,
    /// What, in words, such as `hello: running`.
    pub message: String,
    /// Which parts of a device changed: `connection`, `problems`, `applied` and `workloads/NAME`.
    /// Absent: any, also its labels and standing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// The answer to `POST /api/v1/restore`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// The epoch from now on.
    pub epoch: u64,
    /// Devices in the backup.
    pub devices: u64,
    /// Workloads in the backup.
    pub workloads: u64,
    /// What to do next, in words (a restart, another login).
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A refusal's body, see [`holdfast_protocol::enrol::ApiErrorBody`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErrorDocument {
    /// Stable word for programs.
    pub code: String,
    /// In words, with what to do.
    pub message: String,
    /// Each fault with its path.
    #[serde(default)]
    #[schema(value_type = Vec<Value>)]
    pub faults: Vec<Fault>,
}
