//! What the control plane keeps, as values. Their JSON is the store's content and a backup's:
//! fields may be added with a default, none changes its meaning.

use std::collections::BTreeMap;

use holdfast_base::ids::{Labels, Name, StateVersion};
use holdfast_protocol::message::{AgentInfo, Problem, StateReport, WorkloadReport};
use holdfast_protocol::workload::WorkloadSpec;
use holdfast_records::report::MAX_REPORTED_STREAMS;
use holdfast_records::{DataReport, LinkBudget, StreamName, StreamPolicy};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::absence::{MAX_DEVICE_POLICIES, WhenOffline};
use super::ingest::Retention;
use super::lineage::Lineage;
use super::notification::{MAX_NOTIFICATIONS, Notification};
use super::pause::{Pauses, Stamp};
use super::state::Mark;
use super::timeline::Counts;
use holdfast_api::Approve;
use holdfast_api::Scope;
use holdfast_api::selector::Selector;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// The control plane as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Raised by every restore.
    pub epoch: u64,
    /// The newest resource version given.
    pub version: u64,
    /// At least the generation of every device that was ever deleted: a device that enrols
    /// anew under an old name, with an old state on its disk, must see a newer one.
    #[serde(default)]
    pub generation_floor: u64,
    /// When the control plane last wrote that it lives, in seconds since 1970.
    #[serde(default)]
    pub alive: u64,
    /// Number of the next audit entry.
    #[serde(default)]
    pub next_audit: u64,
    /// How many events of devices the fleet's rings were ever given.
    #[serde(default, skip_serializing_if = "Counts::is_zero")]
    pub events: Counts,
}

/// In a token's list of labels that devices may claim: every key.
pub const ANY_LABEL: &str = "*";

/// Whether a device may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Waits for a person.
    Pending,
    /// May connect.
    Approved,
    /// May not connect any more.
    Revoked,
}

/// Who a device is. Changes rarely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRecord {
    /// Its name.
    pub name: Name,
    /// Part of its topics.
    pub shard: u8,
    /// SubjectPublicKeyInfo, base64.
    pub public_key: Box<str>,
    /// Its labels.
    #[serde(default)]
    pub labels: Labels,
    /// Whether it may connect.
    pub standing: Standing,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970.
    pub updated_at: u64,
    /// Resource version of its last change.
    pub version: u64,
    /// Id of the token that it enrolled with.
    pub token: Box<str>,
    /// Keys of labels that it claimed then and that did not count, for the token does not allow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uncounted: Vec<Box<str>>,
    /// Its newest certificate.
    #[serde(default)]
    pub certificate: Option<Issued>,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// Hexadecimal.
    pub serial: Box<str>,
    /// Seconds since 1970.
    pub not_after: u64,
}

/// What a device should run. Changes with every apply that concerns it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredRecord {
    /// Generation within the epoch. 0: nothing was ever wanted.
    pub generation: u64,
    /// Workload and revision, by name.
    #[serde(default)]
    pub workloads: Vec<(Name, u64)>,
    /// What it should do with data: documents and their revisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<(PolicyKey, u64)>,
    /// Workloads that are paused there, with who paused them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<Name, Stamp>,
}

/// What a device said last. Changes with every report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportRecord {
    /// Seconds since 1970; 0: never.
    pub last_seen: u64,
    /// It was connected when this was stored: if the control plane ended then without a word, the
    /// device was there for as long as the control plane was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connected: bool,
    /// The keep-alive of its connection in seconds; 0: not known. What is silent for longer than one
    /// and a half of it is not connected any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keep_alive: u16,
    /// Its address then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// Version of the applied state.
    #[serde(default)]
    pub applied: StateVersion,
    /// By name.
    #[serde(default)]
    pub workloads: Vec<(Name, WorkloadReport)>,
    /// What is wrong with the device.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Facts about its agent.
    #[serde(default)]
    pub agent: Option<Box<AgentInfo>>,
    /// Its streams, its buffer, its link and its horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<DataReport>>,
    /// Times about `workloads`, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// When each of `problems` was first reported, in their order, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems_since: Vec<u64>,
    /// When a stream's problem was first reported, by the stream's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams_since: Vec<(StreamName, u64)>,
    /// When its connection ended, in seconds since 1970. 0: it did not, or that is not known.
    #[serde(default)]
    pub gone: u64,
    /// The last version that it said it had applied. An agent that begins says none until it has
    /// looked at what is on its disk.
    #[serde(default)]
    pub last_applied: StateVersion,
    /// How many events its timeline was ever given.
    #[serde(default, skip_serializing_if = "Counts::is_zero")]
    pub events: Counts,
    /// Whether it is the device that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Box<Lineage>>,
}

/// Most workloads that a report is believed: far above what a device can run, and low enough
/// that a hostile device with a good certificate cannot fill the store by reports.
pub const MAX_REPORTED: usize = 1_000;

/// Most problems of a device that are kept.
pub const MAX_PROBLEMS: usize = 50;

/// Code of the problem that a policy does not do on a stream what it says.
const STREAM_PROBLEM: &str = "stream-policy";

/// Longest text of a problem or an agent's fact that is kept, in bytes.
const MAX_TEXT: usize = 1_000;

impl ReportRecord {
    /// Takes a report in, at this time: a full one replaces, another amends. What exceeds its
    /// bounds is cut.
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

    /// A problem is the same as before when it has the same code and is as many-th of that code.
    fn take_problems(&mut self, mut problems: Vec<Problem>, now: u64) {
        problems.truncate(MAX_PROBLEMS);
        for problem in &mut problems {
            cut(&mut problem.code, 64);
            cut(&mut problem.message, MAX_TEXT);
        }
        let mut known: Vec<(String, u64)> = std::mem::take(&mut self.problems)
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

    /// When its connection ended, in seconds since 1970; after a crash of the control plane: when
    /// it was last known to stand. 0: never connected.
    pub fn gone_at(&self) -> u64 {
        if self.gone > 0 { self.gone } else { self.last_seen }
    }

    /// What is wrong with it, by its own word: also of its streams.
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
            // The device says it too, without the addresses.
            all.retain(|said| said.code != problem.code);
            all.push(KnownProblem { code: problem.code, message: problem.message, since });
        }
        let streams = self.data.as_deref().into_iter().flat_map(|data| &data.streams);
        let wrong = streams.filter(|(_, said)| !said.problem.is_empty());
        all.extend(wrong.take(MAX_PROBLEMS).map(|(stream, said)| {
            KnownProblem {
                code: STREAM_PROBLEM.into(),
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

    /// Whether anything is wrong with it.
    pub fn has_problems(&self) -> bool {
        let streams = || self.data.as_deref().into_iter().flat_map(|data| data.streams.values());
        !self.problems.is_empty()
            || self.lineage.as_ref().is_some_and(|lineage| lineage.problem().is_some())
            || streams().any(|said| !said.problem.is_empty())
    }

    /// Takes in which history of itself a device reports, in this epoch. Some: another one than was
    /// known.
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

    /// When it was last heard at the least, in seconds since 1970, of one that was connected at
    /// `alive` and of which nothing newer is known: longer silent it would have been cut.
    pub fn heard_before(&self, alive: u64) -> u64 {
        match u64::from(self.keep_alive) {
            0 => self.last_seen,
            promised => self.last_seen.max(alive.saturating_sub(promised + promised / 2)),
        }
    }

    /// What it says of a workload.
    pub fn workload(&self, name: &Name) -> Option<&WorkloadReport> {
        let at = self.workloads.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
        self.workloads.get(at).map(|(_, report)| report)
    }

    /// False: no workload fails on it, whatever is desired of it. Cheaper than to look at each.
    pub fn may_fail(&self) -> bool {
        self.marks.iter().any(|mark| mark.failing > 0)
            || self.workloads.iter().any(|(_, said)| super::state::is_failure(said.phase))
    }

    /// What it says of a workload, with the times about it.
    pub fn reported(&self, name: &Name) -> Option<(&WorkloadReport, Mark)> {
        let at = self.workloads.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
        let (_, report) = self.workloads.get(at)?;
        Some((report, self.marks.get(at).copied().unwrap_or_default()))
    }
}

/// A problem of a device, and when it was first reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProblem {
    /// Stable word.
    pub code: String,
    /// In words.
    pub message: String,
    /// In seconds since 1970. 0: not known.
    pub since: u64,
}

fn bounded(mut report: WorkloadReport) -> WorkloadReport {
    cut(&mut report.reason, holdfast_protocol::message::MAX_REASON);
    report
}

/// At most so many bytes, on a character's border.
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
    /// Its name.
    pub name: Name,
    /// Its labels.
    #[serde(default)]
    pub labels: Labels,
    /// Which devices run it.
    pub devices: Selector,
    /// What they run.
    pub spec: WorkloadSpec,
    /// `spec` as it was written.
    pub written: Value,
    /// Newest revision.
    pub revision: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970.
    pub updated_at: u64,
    /// Resource version of its last change; a pause is none.
    pub version: u64,
    /// Where it is paused.
    #[serde(default, skip_serializing_if = "Pauses::is_empty")]
    pub paused: Pauses,
}

/// The kinds of documents about data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyKind {
    /// What becomes of streams.
    Stream,
    /// What a link may carry.
    LinkBudget,
    /// Who is told of alarms.
    Notification,
    /// Whether devices may be away.
    DevicePolicy,
}

impl PolicyKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::Stream, Self::LinkBudget, Self::Notification, Self::DevicePolicy];

    /// Whether devices get it. The others are carried out by the control plane alone.
    pub fn on_devices(self) -> bool {
        matches!(self, Self::Stream | Self::LinkBudget)
    }

    /// Most documents of it.
    pub fn most(self) -> usize {
        match self {
            Self::Stream | Self::LinkBudget => MAX_POLICIES,
            Self::Notification => MAX_NOTIFICATIONS,
            Self::DevicePolicy => MAX_DEVICE_POLICIES,
        }
    }

    /// As people say it of one, and as keys of the store begin.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::LinkBudget => "linkbudget",
            Self::Notification => "notification",
            Self::DevicePolicy => "devicepolicy",
        }
    }

    /// As paths of the API say it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Stream => "streams",
            Self::LinkBudget => "linkbudgets",
            Self::Notification => "notifications",
            Self::DevicePolicy => "devicepolicies",
        }
    }

    /// `kind` of its documents.
    pub fn document(self) -> &'static str {
        match self {
            Self::Stream => "Stream",
            Self::LinkBudget => "LinkBudget",
            Self::Notification => "Notification",
            Self::DevicePolicy => "DevicePolicy",
        }
    }

    /// From either word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word || kind.plural() == word)
    }
}

/// Which document about data.
pub type PolicyKey = (PolicyKind, Name);

/// What a document about data says, every unit resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// What becomes of streams.
    Stream {
        /// On devices.
        policy: StreamPolicy,
        /// Here.
        #[serde(default)]
        retention: Retention,
    },
    /// What a link may carry.
    LinkBudget {
        /// In a day or a month.
        budget: LinkBudget,
    },
    /// Who is told of alarms.
    Notification {
        /// Of which, and how.
        notification: Box<Notification>,
    },
    /// Whether devices may be away.
    DevicePolicy {
        /// What it means that one is offline.
        when_offline: WhenOffline,
    },
}

impl Policy {
    /// Its kind.
    pub fn kind(&self) -> PolicyKind {
        match self {
            Self::Stream { .. } => PolicyKind::Stream,
            Self::LinkBudget { .. } => PolicyKind::LinkBudget,
            Self::Notification { .. } => PolicyKind::Notification,
            Self::DevicePolicy { .. } => PolicyKind::DevicePolicy,
        }
    }
}

/// A document about data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRecord {
    /// Its name.
    pub name: Name,
    /// Its labels.
    #[serde(default)]
    pub labels: Labels,
    /// Which devices it holds on.
    pub devices: Selector,
    /// What it says.
    pub policy: Policy,
    /// `spec` as it was written.
    pub written: Value,
    /// Resource version of the last change of what devices get: never that of another content.
    pub revision: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970.
    pub updated_at: u64,
    /// Resource version of its last change.
    pub version: u64,
}

impl PolicyRecord {
    /// Which one it is.
    pub fn key(&self) -> PolicyKey {
        (self.policy.kind(), self.name.clone())
    }
}

/// Most documents of a kind that says nothing else.
pub const MAX_POLICIES: usize = 1_000;

/// One immutable revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// Whose.
    pub workload: Name,
    /// From 1.
    pub revision: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Id of an access token.
    pub created_by: Box<str>,
    /// Resource version when it was made.
    pub version: u64,
    /// The labels of the document.
    #[serde(default)]
    pub labels: Labels,
    /// `spec` as it was written.
    pub written: Value,
}

/// An enrolment token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// Its public part.
    pub id: Box<str>,
    /// sha256 of the secret, hexadecimal.
    pub secret_sha256: Box<str>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970.
    pub expires_at: u64,
    /// How often it may be used.
    pub uses: u32,
    /// How often it was.
    pub used: u32,
    /// Labels that it gives.
    #[serde(default)]
    pub labels: Labels,
    /// Keys of labels that its devices may give themselves; `*`: every key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_labels: Vec<Box<str>>,
    /// Whether devices wait for a person.
    pub approve: Approve,
    /// A person ended it.
    #[serde(default)]
    pub revoked: bool,
    /// Resource version of its last change.
    pub version: u64,
}

impl TokenRecord {
    /// Whether a device may say which value this label of its has: who holds the token could
    /// otherwise give itself whatever a workload with secrets selects. A label that the token gives
    /// is the token's anyway, and a person who approves sees what is claimed.
    pub fn lets_claim(&self, key: &str) -> bool {
        self.approve == Approve::Manual
            || self.labels.contains_key(key)
            || self.allow_labels.iter().any(|allowed| **allowed == *key || **allowed == *ANY_LABEL)
    }

    /// `active`, `expired`, `used` or `revoked`.
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

/// Id of the first access token.
pub const ADMIN: &str = "admin";

/// An access token of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessRecord {
    /// Its public part.
    pub id: Box<str>,
    /// sha256 of the secret, hexadecimal.
    pub secret_sha256: Box<str>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Made, and not known to have been shown to anybody: the next start makes another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unshown: bool,
    /// What it may do. Tokens from before there were scopes may do everything.
    #[serde(default = "Scope::of_old")]
    pub scope: Scope,
    /// When it ends, in seconds since 1970; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// What it is for, in words.
    #[serde(default)]
    pub comment: Box<str>,
    /// Seconds since 1970, a few minutes behind at most; 0: never.
    #[serde(default)]
    pub last_used: u64,
}

impl AccessRecord {
    /// Whether it has not ended.
    pub fn counts(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// What people call it by. None: by its id.
    pub fn title(&self) -> Option<&str> {
        let made_here = &*self.id == ADMIN || self.comment.is_empty();
        (!made_here).then_some(&*self.comment)
    }

    /// Whether it can do everything, for ever: without one such nobody could make another.
    pub fn keeps_the_door(&self) -> bool {
        self.scope == Scope::Admin && self.expires_at.is_none()
    }
}

/// A person's session in the pages: it stands for an access token. Its key in the store is the
/// digest of its secret; it is in no backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// Id of the access token that it was begun with.
    pub access: Box<str>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970.
    pub expires_at: u64,
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Counts up from 0.
    pub number: u64,
    /// Seconds since 1970.
    pub at: u64,
    /// Id of the access token, `token ID` (an enrolment token), `device NAME`, or `holdfast`.
    pub by: String,
    /// What the access token was for when this was written, as people call who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<Box<str>>,
    /// What was done, such as `device.revoke`.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// Where the subject is an access token: what it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_name: Option<Box<str>>,
    /// Of a workload: the revision that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// In words.
    #[serde(default)]
    pub message: String,
}

/// How many audit entries are kept.
pub const MAX_AUDIT: u64 = 10_000;

/// How many revisions of a workload are kept.
pub const MAX_REVISIONS: usize = 50;
