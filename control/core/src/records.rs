//! Values that the control plane stores. Their JSON is the content of the store and of a backup:
//! fields may be added with a default, and none may change its meaning.
//!
//! See decisions 0026, 0027, 0109, 0131 and 0133.

use std::collections::BTreeMap;

use holdfast_base::ids::{Labels, Name, StateVersion};
use holdfast_protocol::message::{AgentInfo, Problem, StateReport, WorkloadReport};
use holdfast_protocol::problem::{Code, ProblemCode};
use holdfast_protocol::workload::WorkloadSpec;
use holdfast_records::report::MAX_REPORTED_STREAMS;
use holdfast_records::{DataReport, StreamName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lineage::Lineage;
use super::mark::{self, Mark};
use super::pause::{Pauses, Stamp};
use super::quota::DayUse;
use super::rights::{Actor, Grant, Who};
use super::secrets::place::Place;
use super::secrets::references::References;
use super::timeline::Counts;
use holdfast_api::Approve;
use holdfast_api::Role;
use holdfast_api::selector::Selector;

pub use holdfast_api::AuditRecord;

pub use super::kinds::{MAX_POLICIES, Policy, PolicyKind};

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// Epoch and counters of the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Epoch of desired states, raised by every restore.
    pub epoch: u64,
    /// Newest resource version that was given to a document.
    pub version: u64,
    /// Lower bound of new generations: at least that of every device that was ever deleted. A
    /// device that enrols again under an old name, with an old state on its disk, must see a newer
    /// generation.
    #[serde(default)]
    pub generation_floor: u64,
    /// Time at which the control plane last wrote that it runs, in seconds since 1970.
    #[serde(default)]
    pub alive: u64,
    /// Number that the next audit entry gets.
    #[serde(default)]
    pub next_audit: u64,
    /// Numbers of events that were ever put into the fleet's rings.
    #[serde(default, skip_serializing_if = "Counts::is_zero")]
    pub events: Counts,
    /// Bytes of records that were taken on the last day with any. Written now and then.
    #[serde(default, skip_serializing_if = "DayUse::is_zero")]
    pub data: DayUse,
    /// True if artifacts belong to the tenants that pushed them. Before that version all belonged to
    /// the first tenant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub artifacts_owned: bool,
}

/// Artifact that a tenant has pushed. Its bytes are stored once for all tenants that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactRecord {
    /// Size in bytes, which counts for the tenant's quota.
    pub size: u64,
    /// Time of the first push by this tenant, in seconds since 1970.
    pub created_at: u64,
}

/// Entry of [`TokenRecord::allow_labels`] that allows every key.
pub const ANY_LABEL: &str = "*";

/// Admission of a device: only approved ones may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Enrolled, and waits for a person's approval.
    Pending,
    /// Approved: the device may connect.
    Approved,
    /// Revoked: the device may not connect any more.
    Revoked,
}

/// Identity of a device. It changes rarely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRecord {
    /// Name of the device.
    pub name: Name,
    /// Shard of the device, a level of its topics; see [`super::placement::shard`].
    pub shard: u8,
    /// Public key as a SubjectPublicKeyInfo, in base64.
    pub public_key: Box<str>,
    /// Labels of the device.
    #[serde(default)]
    pub labels: Labels,
    /// Admission of the device.
    pub standing: Standing,
    /// Time of the enrolment, in seconds since 1970.
    pub created_at: u64,
    /// Time of the last change, in seconds since 1970.
    pub updated_at: u64,
    /// Resource version of the last change.
    pub version: u64,
    /// Id of the enrolment token that the device used.
    pub token: Box<str>,
    /// Keys of labels that the device claimed at its enrolment and did not get, because the token
    /// does not allow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncounted: Vec<Box<str>>,
    /// Newest certificate that was issued to the device.
    #[serde(default)]
    pub certificate: Option<Issued>,
    /// X25519 public key that the device's secrets are sealed to, in base64. None: an agent that
    /// can open none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<Box<str>>,
}

/// Certificate that was issued to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// Serial number of the certificate, hexadecimal.
    pub serial: Box<str>,
    /// End of its validity, in seconds since 1970.
    pub not_after: u64,
}

/// Desired state of a device, without the content of its workloads. It changes with every apply
/// that concerns the device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredRecord {
    /// Generation within the epoch; 0: the device never had a desired state.
    pub generation: u64,
    /// Workloads with their revisions, sorted by name.
    #[serde(default)]
    pub workloads: Vec<(Name, u64)>,
    /// Policy documents with their revisions, sorted by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<(PolicyKey, u64)>,
    /// Workloads that are paused on the device, with who paused them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<Name, Stamp>,
    /// Workloads that get sealed content, with what it is made of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sealed: BTreeMap<Name, Given>,
}

/// Sealed content of a workload on a device: which, and since when. The content itself is made when
/// the desired state is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    /// Number that changes when the content does, below 2^53. It follows from the content alone.
    pub version: u64,
    /// Generation of the desired state from which the content is this.
    pub since: u64,
    /// Values of documents in the content.
    pub uses: Vec<Use>,
    /// Content before this one. None: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<GivenBefore>>,
}

/// Former sealed content of a workload on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBefore {
    /// Generation of the desired state from which the content was this.
    pub since: u64,
    /// Values of documents in the content.
    pub uses: Vec<Use>,
}

/// Value of a document in sealed content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Document and key.
    #[serde(flatten)]
    pub place: Place,
    /// First eight digits of the value's digest.
    pub digest: Box<str>,
}

/// Reported state of a device, with the times at which its parts changed. It changes with every
/// report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportRecord {
    /// Time of the last packet as of the last write, in seconds since 1970; 0: never.
    pub last_seen: u64,
    /// True if the device was connected when this was written. If the control plane crashed after
    /// that, the device counts as connected for as long as the control plane ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connected: bool,
    /// Keep-alive of the last connection in seconds; 0: not known. The gateway cuts a connection
    /// that is silent for one and a half of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keep_alive: u16,
    /// Address of the device at its last connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// Version of the desired state that the device has applied; generation 0 while its agent
    /// starts.
    #[serde(default)]
    pub applied: StateVersion,
    /// Reported states of workloads, sorted by name.
    #[serde(default)]
    pub workloads: Vec<(Name, WorkloadReport)>,
    /// Problems that the device reports, apart from those of its streams.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Version and machine of the agent.
    #[serde(default)]
    pub agent: Option<Box<AgentInfo>>,
    /// Reported state of the streams, the buffer, the link and the horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<DataReport>>,
    /// Times about each of `workloads`, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// Times at which each of `problems` was first reported, in their order, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems_since: Vec<u64>,
    /// Times at which the problem of each stream was first reported, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams_since: Vec<(StreamName, u64)>,
    /// Time at which the connection ended, in seconds since 1970; 0: it did not, or not known.
    #[serde(default)]
    pub gone: u64,
    /// Last version with a generation above 0 that was reported as applied. A starting agent
    /// reports generation 0 until it has read its disk.
    #[serde(default)]
    pub last_applied: StateVersion,
    /// Numbers of events that were ever put into the device's timeline.
    #[serde(default, skip_serializing_if = "Counts::is_zero")]
    pub events: Counts,
    /// Evidence on whether the device is the one that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Box<Lineage>>,
}

/// Most workloads of a report that are stored: far above what a device can run, and low enough that
/// a hostile device with a valid certificate cannot fill the store.
pub const MAX_REPORTED: usize = 1_000;

/// Most problems of a device that are stored.
pub const MAX_PROBLEMS: usize = 50;

/// Longest text of a problem or a fact about the agent that is stored, in bytes.
const MAX_TEXT: usize = 1_000;

impl ReportRecord {
    /// Takes a report in at the time `now`, in seconds since 1970: a full one replaces the state,
    /// any other amends it. What exceeds a bound is cut.
    pub fn take(&mut self, report: StateReport, now: u64) {
        self.applied = report.version();
        if self.applied.generation > 0 {
            self.last_applied = self.applied;
        }
        self.take_workloads(report.full, report.workloads, now);
        let problems = match report.problems {
            None if report.full => Some(Vec::new()),
            given => given,
        };
        if let Some(problems) = problems {
            self.take_problems(problems, now);
        }
        if let Some(mut agent) = report.agent {
            cut(&mut agent.version, 64);
            cut(&mut agent.arch, 64);
            cut(&mut agent.kernel, 128);
            if let Some(engine) = &mut agent.engine {
                cut(&mut engine.name, 64);
                cut(&mut engine.version, 64);
                cut(&mut engine.api, 64);
                cut(&mut engine.problem, MAX_TEXT);
            }
            self.agent = Some(Box::new(agent));
        }
        if let Some(mut data) = report.data {
            while data.streams.len() > MAX_REPORTED_STREAMS {
                data.streams.pop_last();
            }
            for stream in data.streams.values_mut() {
                cut(&mut stream.problem, MAX_TEXT);
            }
            if let Some(horizon) = &mut data.horizon {
                cut(&mut horizon.detail, MAX_TEXT);
            }
            self.take_stream_problems(&data, now);
            self.data = Some(data);
        }
    }

    fn take_workloads(
        &mut self,
        full: bool,
        said: BTreeMap<Name, Option<WorkloadReport>>,
        now: u64,
    ) {
        self.marks.resize(self.workloads.len(), Mark::default());
        let before: Vec<((Name, WorkloadReport), Mark)> =
            self.workloads.drain(..).zip(self.marks.drain(..)).collect();
        let mut all: BTreeMap<Name, (WorkloadReport, Mark)> = BTreeMap::new();
        let mut former: BTreeMap<Name, (WorkloadReport, Mark)> = BTreeMap::new();
        for ((name, report), mark) in before {
            let to = if full { &mut former } else { &mut all };
            to.insert(name, (report, mark));
        }
        for (name, said) in said {
            let was = if full { former.remove(&name) } else { all.remove(&name) };
            let Some(said) = said.map(bounded) else { continue };
            if all.len() < MAX_REPORTED {
                let mark = Mark::after(was.as_ref().map(|(was, mark)| (was, *mark)), &said, now);
                all.insert(name, (said, mark));
            }
        }
        for (name, (said, mark)) in all {
            self.workloads.push((name, said));
            self.marks.push(mark);
        }
        self.workloads.shrink_to_fit();
        self.marks.shrink_to_fit();
    }

    /// Replaces the problems. A problem keeps its time if one of the same code was there before:
    /// the first of a code takes the time of the first, the second that of the second.
    fn take_problems(&mut self, mut problems: Vec<Problem>, now: u64) {
        problems.truncate(MAX_PROBLEMS);
        for problem in &mut problems {
            if let Code::Other(word) = &mut problem.code {
                cut(word, 64);
            }
            cut(&mut problem.message, MAX_TEXT);
        }
        let mut known: Vec<(Code, u64)> = std::mem::take(&mut self.problems)
            .into_iter()
            .map(|problem| problem.code)
            .zip(std::mem::take(&mut self.problems_since))
            .collect();
        self.problems_since = problems
            .iter()
            .map(|problem| match known.iter().position(|(code, _)| *code == problem.code) {
                Some(at) => known.remove(at).1,
                None => now,
            })
            .collect();
        self.problems = problems;
    }

    fn take_stream_problems(&mut self, data: &DataReport, now: u64) {
        let known = std::mem::take(&mut self.streams_since);
        let wrong = data.streams.iter().filter(|(_, said)| !said.problem.is_empty());
        self.streams_since = wrong
            .take(MAX_PROBLEMS)
            .map(|(stream, _)| {
                let since = known.iter().find(|(name, _)| name == stream).map(|(_, since)| *since);
                (stream.clone(), since.unwrap_or(now))
            })
            .collect();
    }

    /// Returns the time at which the connection ended, in seconds since 1970; after a crash of the
    /// control plane, the time until which it was known to stand. 0: the device was never
    /// connected.
    pub fn gone_at(&self) -> u64 {
        if self.gone > 0 { self.gone } else { self.last_seen }
    }

    /// Returns the problems of the device: those that it reports, those of its streams, and a
    /// diverged history.
    pub fn all_problems(&self) -> Vec<KnownProblem> {
        let since = self.problems_since.iter().copied().chain(std::iter::repeat(0));
        let known = |(problem, since): (&Problem, u64)| KnownProblem {
            code: problem.code.clone(),
            message: problem.message.clone(),
            since,
        };
        let mut all: Vec<KnownProblem> = self.problems.iter().zip(since).map(known).collect();
        if let Some(lineage) = self.lineage.as_deref()
            && let Some(problem) = lineage.problem()
        {
            let since = lineage.since();
            // The device may report the same problem, without the addresses that only the control
            // plane knows.
            all.retain(|said| said.code != problem.code);
            all.push(KnownProblem { code: problem.code, message: problem.message, since });
        }
        let streams = self.data.as_deref().into_iter().flat_map(|data| &data.streams);
        let wrong = streams.filter(|(_, said)| !said.problem.is_empty());
        all.extend(wrong.take(MAX_PROBLEMS).map(|(stream, said)| {
            KnownProblem {
                code: ProblemCode::StreamPolicy.into(),
                message: format!("{stream}: {}", said.problem),
                since: self
                    .streams_since
                    .iter()
                    .find(|(name, _)| name == stream)
                    .map_or(0, |(_, since)| *since),
            }
        }));
        all
    }

    /// True if there is any problem; cheaper than [`ReportRecord::all_problems`].
    pub fn has_problems(&self) -> bool {
        let streams = || self.data.as_deref().into_iter().flat_map(|data| data.streams.values());
        !self.problems.is_empty()
            || self.lineage.as_ref().is_some_and(|lineage| lineage.problem().is_some())
            || streams().any(|said| !said.problem.is_empty())
    }

    /// Takes in the connection history of a report; `epoch` is the control plane's. A full report
    /// has all recent numbers, an amending one only the number that the device confirms.
    /// Some(number): the history diverged, see [`Lineage::told`].
    pub fn take_history(
        &mut self,
        full: bool,
        history: &[u32],
        epoch: u64,
        now: u64,
    ) -> Option<u32> {
        let last = history.last()?;
        let address = self.address;
        let lineage = self.lineage.get_or_insert_default();
        lineage.settle(now);
        if full {
            return lineage.told(history, epoch, (address, now));
        }
        lineage.confirmed(*last, epoch, address);
        None
    }

    /// Returns the earliest possible time of the last packet, in seconds since 1970, of a device
    /// that was connected at the time `alive`: after a longer silence it would have been cut.
    /// Example: 1,000 - 450 = 550 for `alive` 1,000 and a keep-alive of 300.
    pub fn heard_before(&self, alive: u64) -> u64 {
        match u64::from(self.keep_alive) {
            0 => self.last_seen,
            promised => self.last_seen.max(alive.saturating_sub(promised + promised / 2)),
        }
    }

    /// Returns the reported state of a workload.
    pub fn workload(&self, name: &Name) -> Option<&WorkloadReport> {
        let at = self.workloads.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
        self.workloads.get(at).map(|(_, report)| report)
    }

    /// False if no reported workload can be failing, whatever is desired. Cheaper than examining
    /// each.
    pub fn may_fail(&self) -> bool {
        self.marks.iter().any(|mark| mark.failing > 0)
            || self.workloads.iter().any(|(_, said)| mark::is_failure(said.phase))
    }

    /// Returns the reported state of a workload with the times about it.
    pub fn reported(&self, name: &Name) -> Option<(&WorkloadReport, Mark)> {
        let at = self.workloads.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
        let (_, report) = self.workloads.get(at)?;
        Some((report, self.marks.get(at).copied().unwrap_or_default()))
    }
}

/// Problem of a device with the time of its first report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProblem {
    /// Stable code, such as `not-answering`.
    pub code: Code,
    /// Description of the problem, for people.
    pub message: String,
    /// Time of the first report, in seconds since 1970; 0: not known.
    pub since: u64,
}

fn bounded(mut report: WorkloadReport) -> WorkloadReport {
    cut(&mut report.reason, holdfast_protocol::message::MAX_REASON);
    report
}

/// Shortens a text to at most `most` bytes, at a character boundary.
pub fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    text.shrink_to_fit();
}

/// A workload at its newest revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRecord {
    /// Name of the workload.
    pub name: Name,
    /// Labels of the document.
    #[serde(default)]
    pub labels: Labels,
    /// Selector of the devices that run the workload.
    pub devices: Selector,
    /// Specification that devices get, every unit resolved.
    pub spec: WorkloadSpec,
    /// Secrets, configurations and labels that devices get with it.
    #[serde(default, skip_serializing_if = "References::is_empty")]
    pub references: References,
    /// `spec` of the document as it was written.
    pub written: Value,
    /// Number of the newest revision, from 1.
    pub revision: u64,
    /// Time of the first apply, in seconds since 1970.
    pub created_at: u64,
    /// Time of the last change, in seconds since 1970.
    pub updated_at: u64,
    /// Resource version of the last change. A pause does not change it.
    pub version: u64,
    /// Devices on which the workload is paused.
    #[serde(default, skip_serializing_if = "Pauses::is_empty")]
    pub paused: Pauses,
}

/// Kind and name of a policy document.
pub type PolicyKey = (PolicyKind, Name);

/// A policy document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRecord {
    /// Name of the document.
    pub name: Name,
    /// Labels of the document.
    #[serde(default)]
    pub labels: Labels,
    /// Selector of the devices that the document applies to.
    pub devices: Selector,
    /// Content with every unit resolved.
    pub policy: Policy,
    /// `spec` as it was written, without secrets.
    pub written: Value,
    /// Resource version of the last change of what devices get: two contents never share a
    /// revision.
    pub revision: u64,
    /// Time of the first apply, in seconds since 1970.
    pub created_at: u64,
    /// Time of the last change, in seconds since 1970.
    pub updated_at: u64,
    /// Resource version of the last change.
    pub version: u64,
}

impl PolicyRecord {
    /// Returns kind and name of the document.
    pub fn key(&self) -> PolicyKey {
        (self.policy.kind(), self.name.clone())
    }
}

/// An immutable revision of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// Name of the workload.
    pub workload: Name,
    /// Number of the revision, from 1.
    pub revision: u64,
    /// Time at which the revision was made, in seconds since 1970.
    pub created_at: u64,
    /// Id of the access token that made it.
    pub created_by: Box<str>,
    /// Comment of the access token at that time, by which its holder is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by_name: Option<Box<str>>,
    /// Resource version that the document got with it.
    pub version: u64,
    /// Labels of the document.
    #[serde(default)]
    pub labels: Labels,
    /// `spec` as it was written.
    pub written: Value,
}

/// Enrolment token, with its bounds and the use made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// Public part of the token.
    pub id: Box<str>,
    /// sha256 of the secret part, hexadecimal.
    pub secret_sha256: Box<str>,
    /// Time of creation, in seconds since 1970.
    pub created_at: u64,
    /// End of validity, in seconds since 1970.
    pub expires_at: u64,
    /// Largest number of devices that may enrol with it.
    pub uses: u32,
    /// Number of devices that have enrolled with it.
    pub used: u32,
    /// Labels that every device gets that enrols with it.
    #[serde(default)]
    pub labels: Labels,
    /// Keys of labels that its devices may claim for themselves; `*` allows every key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_labels: Vec<Box<str>>,
    /// Approval of the devices that use it: automatic, or by a person.
    pub approve: Approve,
    /// True if a person revoked the token.
    #[serde(default)]
    pub revoked: bool,
    /// Resource version of the last change.
    pub version: u64,
}

impl TokenRecord {
    /// True if a device may choose the value of this label. Otherwise whoever holds the token could
    /// claim what a workload with secrets selects. A label that the token sets has the token's
    /// value anyway, and a person who approves sees the claims.
    pub fn lets_claim(&self, key: &str) -> bool {
        self.approve == Approve::Manual
            || self.labels.contains_key(key)
            || self.allow_labels.iter().any(|allowed| **allowed == *key || **allowed == *ANY_LABEL)
    }

    /// Returns `active`, `expired`, `used` or `revoked`.
    pub fn state(&self, now: u64) -> &'static str {
        if self.revoked {
            "revoked"
        } else if self.used >= self.uses {
            "used"
        } else if now >= self.expires_at {
            "expired"
        } else {
            "active"
        }
    }
}

/// Id of the access token that the control plane makes at its first start.
pub const ADMIN: &str = "admin";

/// An access token of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessRecord {
    /// Public part of the token.
    pub id: Box<str>,
    /// sha256 of the secret part, hexadecimal.
    pub secret_sha256: Box<str>,
    /// Time of creation, in seconds since 1970.
    pub created_at: u64,
    /// True if the token was made but possibly never shown: the next start replaces it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unshown: bool,
    /// Role of the token. Tokens stored without one have every right; before there were roles this
    /// was a scope, `read`, `operate` or `admin`.
    #[serde(default = "Role::of_old", alias = "scope")]
    pub role: Role,
    /// Devices that the token reaches. None: all of its tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// End of validity, in seconds since 1970; None: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Name of the token, by which people know it; empty for some made before names were asked for.
    #[serde(default, alias = "comment")]
    pub name: Box<str>,
    /// Time of the last use, in seconds since 1970, up to a few minutes old; 0: never.
    #[serde(default)]
    pub last_used: u64,
    /// Secret before the last rotation, which still counts for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<FormerSecret>,
}

/// Secret of an access token that was rotated: programs that have not got the new one yet go on
/// until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerSecret {
    /// sha256 of the former secret part, hexadecimal.
    pub secret_sha256: Box<str>,
    /// Time at which it ends, in seconds since 1970.
    pub until: u64,
}

impl AccessRecord {
    /// True if the token has not expired at the time `now`, in seconds since 1970.
    pub fn counts(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Returns the name by which people know the token. None: it is known by its id.
    pub fn title(&self) -> Option<&str> {
        let made_here = &*self.id == ADMIN || self.name.is_empty();
        (!made_here).then_some(&*self.name)
    }

    /// True if this is the digest (hexadecimal) of the token's secret, or of its former one while
    /// that counts, at the time `now` in seconds since 1970.
    pub fn has_secret(&self, digest: &str, now: u64) -> bool {
        // Comparing digests instead of secrets needs no constant time: how far two digests agree
        // tells nothing about the secret.
        *self.secret_sha256 == *digest
            || self.former.as_ref().is_some_and(|it| *it.secret_sha256 == *digest && now < it.until)
    }

    /// Role that the token gives whoever has it.
    pub fn grant(&self) -> Grant {
        let by = match self.title() {
            Some(name) => format!("access token {} ({name})", self.id),
            None => format!("access token {}", self.id),
        };
        Grant { role: self.role, selector: self.selector.clone(), by: by.into() }
    }

    /// Actor that whoever has the token is.
    pub fn actor(&self, tenant: &Name) -> Actor {
        Actor::new(Who::Token(self.id.clone()), tenant.clone(), vec![self.grant()])
    }

    /// True if the token has every right and never expires. The last such token cannot be deleted,
    /// since nobody could make another.
    pub fn keeps_the_door(&self) -> bool {
        self.role == Role::Admin && self.selector.is_none() && self.expires_at.is_none()
    }
}

/// Login, made with an access token or by a person. Its key in the store is the sha256 of its
/// secret; backups do not contain it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// Id of the access token that was used to log in. Empty: a person has logged in.
    pub access: Box<str>,
    /// Person who has logged in: the name of a local user, or `NAME@PROVIDER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Box<str>>,
    /// Roles that the identity provider's claims gave at the login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Grant>,
    /// Issuer of the identity provider by which the person has logged in. The login ends when the
    /// provider's document names another one, or is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Box<str>>,
    /// Address that the login came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<std::net::IpAddr>,
    /// Program that logged in, as it names itself.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub agent: Box<str>,
    /// Time of the login, in seconds since 1970.
    pub created_at: u64,
    /// End of validity, in seconds since 1970.
    pub expires_at: u64,
}

/// Most revisions of a workload that are kept.
pub const MAX_REVISIONS: usize = 50;
