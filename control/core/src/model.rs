//! Everything the control plane knows, in memory, and how it is written to the store: what is
//! read never waits for a disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use holdfast_base::ids::{DeviceId, Digest, Labels, Name, unhex};
use holdfast_protocol::enrol::Fault;
use holdfast_protocol::message::{DesiredState, DesiredWorkload};
use holdfast_records::{DataPolicies, Pattern, StreamName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::absence::{Made, Rule};
use super::alarms::Silence;
use super::ingest::Retention;
use super::liveness::Live;
use super::pause::Stamp;
use super::placement::{self, Wanted};
use super::records::{
    AccessRecord, AuditRecord, DesiredRecord, DeviceRecord, KnownProblem, Meta, Policy, PolicyKey,
    PolicyRecord, ReportRecord, RevisionRecord, SessionRecord, Standing, TokenRecord,
    WorkloadRecord,
};
use super::timeline::Recent;

/// A device, whole.
#[derive(Debug, Clone)]
pub struct Device {
    /// Who it is.
    pub record: DeviceRecord,
    /// What it should run.
    pub desired: DesiredRecord,
    /// Number of the batch that stores `desired`: until that is safe nobody may see it, for a
    /// generation that a crash takes back would be given again with other content.
    pub desired_in: u64,
    /// What it said last.
    pub report: ReportRecord,
    /// Its connection.
    pub live: Live,
    /// What holds for its absence. None: not decided yet.
    pub rule: Option<Arc<Rule>>,
    /// What happened to it in the last hour; nothing of it outlives the process.
    pub recent: Option<Box<Recent>>,
}

impl Device {
    /// A device of which nothing is known but who it is.
    pub fn new(record: DeviceRecord) -> Self {
        Self {
            record,
            desired: DesiredRecord::default(),
            desired_in: 0,
            report: ReportRecord::default(),
            live: Live::default(),
            rule: None,
            recent: None,
        }
    }

    /// What is wrong with it: by its own word, and that it does not answer.
    pub fn problems(&self) -> Vec<KnownProblem> {
        let mut all = self.report.all_problems();
        all.extend(self.live.problem());
        all
    }

    /// Whether anything is wrong with it.
    pub fn has_problems(&self) -> bool {
        self.live.silent > 0 || self.report.has_problems()
    }
}

impl Device {
    /// When its last packet of any kind came, in seconds since 1970. 0: never.
    pub fn heard_at(&self, now: u64) -> u64 {
        self.live.heard_at(now).unwrap_or(self.report.last_seen)
    }
}

/// A workload, whole.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its newest revision.
    pub record: WorkloadRecord,
    /// Bytes of it in a desired state.
    pub encoded: usize,
    /// The newest revisions, oldest first.
    pub revisions: VecDeque<RevisionRecord>,
}

impl Workload {
    /// A workload without revisions yet.
    pub fn new(record: WorkloadRecord) -> Self {
        let encoded = encoded_size(&record);
        Self { record, encoded, revisions: VecDeque::new() }
    }
}

/// A document about data, whole.
#[derive(Debug, Clone)]
pub struct KnownPolicy {
    /// The document.
    pub record: PolicyRecord,
    /// Bytes of it in a desired state.
    pub encoded: usize,
}

impl KnownPolicy {
    /// One that is known from now on.
    pub fn new(record: PolicyRecord) -> Self {
        let encoded = policy_size(&record);
        Self { record, encoded }
    }
}

/// Whether this text is somewhere in a written document.
fn holds(written: &Value, text: &str) -> bool {
    match written {
        Value::String(found) => found == text,
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Object(object) => object.values().any(|item| holds(item, text)),
        _ => false,
    }
}

/// Bytes of a document about data in a desired state.
pub fn policy_size(record: &PolicyRecord) -> usize {
    let body = match &record.policy {
        Policy::Stream { policy, .. } => serde_cbor_len(policy),
        Policy::LinkBudget { budget } => serde_cbor_len(budget),
        Policy::Notification { .. } => return 0,
        Policy::DevicePolicy { .. } => return 0,
    };
    body + record.name.as_str().len() + 4
}

/// Bytes of a workload in a desired state.
pub fn encoded_size(record: &WorkloadRecord) -> usize {
    // Paused, it is a little larger.
    let (revision, spec) = (record.revision, record.spec.clone());
    let desired = DesiredWorkload { revision, paused: true, spec };
    let body = serde_cbor_len(&desired);
    body + record.name.as_str().len() + 4
}

fn serde_cbor_len<T: Serialize>(value: &T) -> usize {
    holdfast_base::codec::encode(value).map_or(usize::MAX / 2, |bytes| bytes.len())
}

/// A line of the store that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// Unknown kind of key, or a name that is none.
    #[error("the store has a key that this version does not know: {0:?}")]
    Key(String),
    /// Not the JSON of its kind.
    #[error("the store's value of {key:?} cannot be read")]
    Value {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Everything.
#[derive(Debug)]
pub struct Model {
    /// The tenant.
    pub tenant: Name,
    /// Counters.
    pub meta: Meta,
    /// By name.
    pub devices: BTreeMap<Name, Device>,
    /// Devices by the sha256 of their public key.
    pub keys: BTreeMap<[u8; 32], Name>,
    /// By name.
    pub workloads: BTreeMap<Name, Workload>,
    /// Documents about data.
    pub policies: BTreeMap<PolicyKey, KnownPolicy>,
    /// Acknowledgements and silences of alarms, by id.
    pub silences: BTreeMap<Box<str>, Silence>,
    /// What notifications have told and have still to tell, as it was when the store was read: key
    /// and value. Whoever keeps the alarms takes it.
    pub told: Vec<(String, Vec<u8>)>,
    /// Deleted workloads and their last revision: a number is never used twice for a name.
    pub gone: BTreeMap<Name, u64>,
    /// Enrolment tokens by id.
    pub tokens: BTreeMap<Box<str>, TokenRecord>,
    /// Access tokens by id.
    pub access: BTreeMap<Box<str>, AccessRecord>,
    /// Sessions by the sha256 of their secrets.
    pub sessions: BTreeMap<[u8; 32], SessionRecord>,
    /// Newest last.
    pub audit: VecDeque<AuditRecord>,
    /// Number of the last batch given to the store.
    pub batches: u64,
    /// When this control plane began to serve, in seconds since 1970. 0: not yet.
    pub started: u64,
    /// What holds for the absence of devices, which share it.
    pub rules: Made,
}

/// Where the authority's keys stand in the store.
pub const AUTHORITY: &str = "authority";

/// Keys of the store.
pub mod key {
    use holdfast_base::ids::{Name, hex};

    use crate::records::PolicyKey;
    use crate::timeline::Ring;

    /// What keys of timelines begin with: they are read one device at a time, never all.
    pub const HISTORIES: &str = "history/";
    /// What keys of sessions begin with.
    pub const SESSIONS: &str = "session/";

    /// What keys begin with of what notifications have told and have still to tell; see
    /// `core/alarms/outbox.rs`.
    pub const TOLD: [&str; 3] = ["told/", "outbox/", "notified/"];

    /// Counters.
    pub const META: &str = "meta";

    /// Who a device is.
    pub fn device(name: &Name) -> String {
        format!("device/{name}")
    }
    /// What it should run.
    pub fn desired(name: &Name) -> String {
        format!("desired/{name}")
    }
    /// What it said.
    pub fn report(name: &Name) -> String {
        format!("report/{name}")
    }
    /// What the keys of its timeline begin with.
    pub fn history_of(name: &Name) -> String {
        format!("{HISTORIES}{name}/")
    }
    /// An event of its timeline; the oldest one's place is taken.
    pub fn history(name: &Name, ring: Ring, number: u32) -> String {
        format!("{HISTORIES}{name}/{}{:03}", ring.letter(), number % ring.size())
    }
    /// An event of the fleet's rings, likewise. No device has such a name.
    pub fn fleet_event(ring: Ring, number: u32) -> String {
        format!("{HISTORIES}*/{}{:04}", ring.letter(), number % ring.fleet_size())
    }
    /// A workload.
    pub fn workload(name: &Name) -> String {
        format!("workload/{name}")
    }
    /// A document about data.
    pub fn policy((kind, name): &PolicyKey) -> String {
        format!("{}/{name}", kind.word())
    }
    /// A revision; sorted by number.
    pub fn revision(name: &Name, number: u64) -> String {
        format!("revision/{name}/{number:020}")
    }
    /// The last revision of a deleted workload.
    pub fn gone(name: &Name) -> String {
        format!("gone/{name}")
    }
    /// An enrolment token.
    pub fn token(id: &str) -> String {
        format!("token/{id}")
    }
    /// An access token.
    pub fn access(id: &str) -> String {
        format!("access/{id}")
    }
    /// A session, by the digest of its secret.
    pub fn session(digest: &[u8; 32]) -> String {
        format!("{SESSIONS}{}", hex(digest))
    }
    /// An acknowledgement or a silence.
    pub fn silence(id: &str) -> String {
        format!("silence/{id}")
    }
    /// An audit entry; sorted by number.
    pub fn audit(number: u64) -> String {
        format!("audit/{number:020}")
    }
}

impl Model {
    /// One that knows nothing.
    pub fn empty(tenant: Name) -> Self {
        Self {
            tenant,
            meta: Meta::default(),
            devices: BTreeMap::new(),
            keys: BTreeMap::new(),
            workloads: BTreeMap::new(),
            policies: BTreeMap::new(),
            silences: BTreeMap::new(),
            told: Vec::new(),
            gone: BTreeMap::new(),
            tokens: BTreeMap::new(),
            access: BTreeMap::new(),
            sessions: BTreeMap::new(),
            audit: VecDeque::new(),
            batches: 0,
            started: 0,
            rules: Made::new(),
        }
    }

    /// Takes in one record of the store. They come in the order of their keys, so that a
    /// device's other records find it there (`desired` sorts before `device`: see `late`).
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn take(&mut self, late: &mut Late, key: &str, value: &[u8]) -> Result<(), BadRecord> {
        let unknown = || BadRecord::Key(key.chars().take(200).collect());
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        let name = || rest.parse::<Name>().map_err(|_| unknown());
        match kind {
            "meta" => self.meta = read(key, value)?,
            AUTHORITY => {}
            "device" => {
                let record: DeviceRecord = read(key, value)?;
                self.keys.insert(sha256(record.public_key.as_bytes()), record.name.clone());
                self.devices.insert(record.name.clone(), Device::new(record));
            }
            "desired" => late.desired.push((name()?, read(key, value)?)),
            "report" => late.reports.push((name()?, read(key, value)?)),
            "workload" => {
                let record: WorkloadRecord = read(key, value)?;
                self.workloads.insert(record.name.clone(), Workload::new(record));
            }
            "stream" | "linkbudget" | "notification" | "devicepolicy" => {
                let record: PolicyRecord = read(key, value)?;
                self.policies.insert(record.key(), KnownPolicy::new(record));
            }
            "revision" => late.revisions.push(read(key, value)?),
            "gone" => drop(self.gone.insert(name()?, read(key, value)?)),
            "token" => {
                let record: TokenRecord = read(key, value)?;
                self.tokens.insert(record.id.clone(), record);
            }
            "access" => {
                let record: AccessRecord = read(key, value)?;
                self.access.insert(record.id.clone(), record);
            }
            "session" => {
                let digest = unhex::<32>(rest).ok_or_else(unknown)?;
                self.sessions.insert(digest, read(key, value)?);
            }
            "silence" => {
                let silence: Silence = read(key, value)?;
                self.silences.insert(silence.id.clone(), silence);
            }
            // Read when the alarms begin to be kept: what cannot be read there is told again.
            "told" | "outbox" | "notified" => self.told.push((key.to_owned(), value.to_owned())),
            // Stays where it is.
            "history" => {}
            "audit" => self.audit.push_back(read(key, value)?),
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Takes in what had to wait for its owner.
    pub fn settle(&mut self, late: Late) {
        for (name, desired) in late.desired {
            if let Some(device) = self.devices.get_mut(&name) {
                device.desired = desired;
            }
        }
        for (name, mut report) in late.reports {
            if let Some(device) = self.devices.get_mut(&name) {
                if std::mem::take(&mut report.connected) {
                    report.last_seen = report.heard_before(self.meta.alive);
                    report.gone = report.last_seen.max(self.meta.alive);
                }
                device.report = report;
            }
        }
        for revision in late.revisions {
            if let Some(workload) = self.workloads.get_mut(&revision.workload) {
                workload.revisions.push_back(revision);
            }
        }
        self.settle_rules();
    }

    /// A device's id.
    pub fn id(&self, name: &Name) -> DeviceId {
        DeviceId { tenant: self.tenant.clone(), device: name.clone() }
    }

    /// The device that holds this public key.
    pub fn by_key(&self, public_key: &str) -> Option<&Device> {
        self.keys.get(&sha256(public_key.as_bytes())).and_then(|name| self.devices.get(name))
    }

    /// Everything that a device with these labels should run now.
    pub fn place(&self, labels: &Labels) -> Wanted {
        let policies = self.policies.values().map(|known| &known.record);
        Wanted {
            workloads: placement::place(
                labels,
                self.workloads.values().map(|workload| &workload.record),
            ),
            data: placement::policies(labels, policies),
        }
    }

    /// Which of these workloads are paused on a device, and by whom.
    pub fn paused(&self, device: &Name, set: &[(Name, u64)]) -> BTreeMap<Name, Stamp> {
        let known = set.iter().filter_map(|(name, _)| Some((name, self.workloads.get(name)?)));
        known
            .filter_map(|(name, known)| {
                Some((name.clone(), known.record.paused.on(device)?.clone()))
            })
            .collect()
    }

    /// What is kept of a stream of a device with these labels: the narrowest `Stream` says it.
    pub fn retention(&self, labels: &Labels, stream: &StreamName) -> Retention {
        let mut best: Option<(usize, Retention)> = None;
        for known in self.policies.values() {
            let Policy::Stream { policy, retention } = &known.record.policy else { continue };
            if !known.record.devices.matches(labels) {
                continue;
            }
            let fitting = policy.streams.iter().filter(|pattern| pattern.matches(stream));
            if let Some(weight) = fitting.map(Pattern::weight).max()
                && best.is_none_or(|(most, _)| weight > most)
            {
                best = Some((weight, *retention));
            }
        }
        best.map(|(_, retention)| retention).unwrap_or_default()
    }

    /// What is wrong with giving this set to a device: it does not fit into one message.
    pub fn too_large(&self, device: &Name, wanted: &Wanted) -> Option<Fault> {
        let size = |name: &Name| self.workloads.get(name).map_or(0, |known| known.encoded);
        let policy = |key: &PolicyKey| self.policies.get(key).map_or(0, |known| known.encoded);
        placement::too_large(device, wanted, size, policy)
    }

    /// A device's desired state as it is signed. None: nothing was ever wanted, or the device is
    /// not there.
    pub fn desired_state(&self, name: &Name) -> Option<DesiredState> {
        let device = self.devices.get(name)?;
        if device.desired.generation == 0 || device.record.standing != Standing::Approved {
            return None;
        }
        let workloads = device
            .desired
            .workloads
            .iter()
            .filter_map(|(name, revision)| {
                let spec = self.workloads.get(name)?.record.spec.clone();
                let (revision, paused) = (*revision, device.desired.paused.contains_key(name));
                Some((name.clone(), DesiredWorkload { revision, paused, spec }))
            })
            .collect();
        Some(DesiredState {
            v: holdfast_base::WIRE_VERSION,
            device: self.id(name),
            epoch: self.meta.epoch,
            generation: device.desired.generation,
            workloads,
            data: self.data_policies(&device.desired.data),
        })
    }

    /// Whether an artifact is of a workload that a device should run, in any revision that is
    /// known: a device may go back to the one that worked.
    pub fn names_artifact(&self, device: &Name, digest: &Digest) -> bool {
        let Some(device) = self.devices.get(device) else { return false };
        let text = digest.to_string();
        let wanted = device.desired.workloads.iter();
        wanted.filter_map(|(name, _)| self.workloads.get(name)).any(|known| {
            known.record.spec.run.artifacts().any(|artifact| artifact.digest == *digest)
                || known.revisions.iter().any(|revision| holds(&revision.written, &text))
        })
    }

    fn data_policies(&self, wanted: &[(PolicyKey, u64)]) -> Option<Box<DataPolicies>> {
        let mut policies = DataPolicies::default();
        for known in wanted.iter().filter_map(|(key, _)| self.policies.get(key)) {
            match &known.record.policy {
                Policy::Stream { policy, .. } => {
                    policies.streams.insert(known.record.name.clone(), policy.clone());
                }
                Policy::LinkBudget { budget } => {
                    policies.link = Some(budget.clone());
                    policies.link_name = Some(known.record.name.clone());
                }
                Policy::Notification { .. } => {}
                Policy::DevicePolicy { .. } => {}
            }
        }
        (policies != DataPolicies::default()).then(|| Box::new(policies))
    }
}

/// Records that wait for their owner while the store is read.
#[derive(Debug, Default)]
pub struct Late {
    desired: Vec<(Name, DesiredRecord)>,
    reports: Vec<(Name, ReportRecord)>,
    revisions: Vec<RevisionRecord>,
}

fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, BadRecord> {
    serde_json::from_slice(value).map_err(|source| BadRecord::Value { key: key.into(), source })
}

/// sha256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}
