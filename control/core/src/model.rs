//! State of the control plane in memory, and its form in the store. Everything that is read comes
//! from memory, so that no reader waits for a disk.
//!
//! See decision 0124.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use holdfast_base::ids::{DeviceId, Digest, Labels, Name};
use holdfast_protocol::message::{DesiredState, DesiredWorkload};
use holdfast_records::{DataPolicies, Pattern, StreamName};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::absence::{Made, Rule};
use super::alarms::Silence;
use super::audit::{Chain, RECENT};
use super::audit_sink::Sunk;
use super::images::Images;
use super::ingest::Retention;
use super::kinds::cbor_len;
use super::liveness::Live;
use super::people::UserRecord;
use super::quota::Quotas;
use super::records::{
    AccessRecord, ArtifactRecord, AuditRecord, DesiredRecord, DeviceRecord, KnownProblem, Meta,
    Policy, PolicyKey, PolicyRecord, ReportRecord, RevisionRecord, SessionRecord, Standing,
    TokenRecord, WorkloadRecord,
};
use super::timeline::Recent;

/// A device with its records and its connection.
#[derive(Debug, Clone)]
pub struct Device {
    /// Identity, labels and standing of the device.
    pub record: DeviceRecord,
    /// Workloads and policies that the device should follow.
    pub desired: DesiredRecord,
    /// Number of the batch that stores `desired`. The desired state is published only when that
    /// batch is on disk: after a crash a lost generation would be given again with other content.
    pub desired_in: u64,
    /// Last reported state of the device.
    pub report: ReportRecord,
    /// State of the device's connection.
    pub live: Live,
    /// Rule for the device's absence, from `DevicePolicy` documents. None: not decided yet.
    pub rule: Option<Arc<Rule>>,
    /// Timeline events of the last hour, for conflating repeated ones; not stored.
    pub recent: Option<Box<Recent>>,
}

impl Device {
    /// Creates a device that has no desired state and has reported nothing.
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

    /// Returns the problems of the device: those that it reports, and `not-answering`.
    pub fn problems(&self) -> Vec<KnownProblem> {
        let mut all = self.report.all_problems();
        all.extend(self.live.problem());
        all
    }

    /// True if the device has a problem; cheaper than [`Device::problems`].
    pub fn has_problems(&self) -> bool {
        self.live.silent > 0 || self.report.has_problems()
    }
}

impl Device {
    /// Returns the time of the last packet of any kind, in seconds since 1970; 0: never.
    pub fn heard_at(&self, now: u64) -> u64 {
        self.live.heard_at(now).unwrap_or(self.report.last_seen)
    }
}

/// A workload with its revisions.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The document at its newest revision.
    pub record: WorkloadRecord,
    /// Size of the workload in a desired state, in bytes.
    pub encoded: usize,
    /// Newest revisions, oldest first, at most [`super::records::MAX_REVISIONS`].
    pub revisions: VecDeque<RevisionRecord>,
}

impl Workload {
    /// Creates a workload without revisions.
    pub fn new(record: WorkloadRecord) -> Self {
        let encoded = encoded_size(&record);
        Self { record, encoded, revisions: VecDeque::new() }
    }
}

/// A policy document with its size.
#[derive(Debug, Clone)]
pub struct KnownPolicy {
    /// The document as stored.
    pub record: PolicyRecord,
    /// Size of the policy in a desired state, in bytes; 0 for kinds that devices do not get.
    pub encoded: usize,
}

impl KnownPolicy {
    /// Computes the size of a document and wraps it.
    pub fn new(record: PolicyRecord) -> Self {
        let encoded = policy_size(&record);
        Self { record, encoded }
    }
}

/// True if a string anywhere in a written document is one of the digests, or a reference that ends
/// with one, such as `shop/till@sha256:…`.
fn holds(written: &Value, digests: &BTreeSet<String>) -> bool {
    match written {
        Value::String(found) => {
            digests.contains(found)
                || found.rsplit_once('@').is_some_and(|(_, digest)| digests.contains(digest))
        }
        Value::Array(items) => items.iter().any(|item| holds(item, digests)),
        Value::Object(object) => object.values().any(|item| holds(item, digests)),
        _ => false,
    }
}

/// Adds every digest that a string of a written document is or ends with.
fn digests_in(written: &Value, found: &mut BTreeSet<String>) {
    match written {
        Value::String(text) => {
            let last = text.rsplit('@').next().unwrap_or_default();
            if last.parse::<Digest>().is_ok() {
                found.insert(last.to_owned());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| digests_in(item, found)),
        Value::Object(object) => object.values().for_each(|item| digests_in(item, found)),
        _ => {}
    }
}

impl Workload {
    /// True if a stored revision names one of these files or images. `digests` are their texts in
    /// documents, `files` those that the newest revision may have.
    fn names(&self, digests: &BTreeSet<String>, files: &BTreeSet<Digest>) -> bool {
        self.record.spec.run.artifacts().any(|artifact| files.contains(&artifact.digest))
            || self.revisions.iter().any(|revision| holds(&revision.written, digests))
    }
}

/// Returns the size of a policy in a desired state, in bytes; 0 for kinds that devices do not get.
pub fn policy_size(record: &PolicyRecord) -> usize {
    record.policy.size(&record.name)
}

/// Returns the size of a workload in a desired state, in bytes.
pub fn encoded_size(record: &WorkloadRecord) -> usize {
    // With `paused` it is a few bytes larger: a pause must never make a state too large.
    let (revision, spec) = (record.revision, record.spec.clone());
    let desired = DesiredWorkload { revision, paused: true, spec, sealed: None };
    let body = cbor_len(&desired);
    body + record.name.as_str().len() + 4
}

/// Error for a row of the store that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// The kind of the key is unknown, or the name in it is invalid.
    #[error("the store has a key that this version does not know: {0:?}")]
    Key(String),
    /// The value is not the JSON of the key's kind.
    #[error("the store's value of {key:?} cannot be read")]
    Value {
        /// Key of the row.
        key: String,
        /// Error of the JSON reader.
        #[source]
        source: serde_json::Error,
    },
}

/// Complete state of one tenant, as read from the store and changed since. Those of all tenants are
/// in [`super::tenants::Tenants`].
#[derive(Debug)]
pub struct Model {
    /// Name of the tenant.
    pub tenant: Name,
    /// Epoch and counters of the control plane.
    pub meta: Meta,
    /// Devices by their names.
    pub devices: BTreeMap<Name, Device>,
    /// Names of devices by the sha256 of their public keys.
    pub keys: BTreeMap<[u8; 32], Name>,
    /// Workloads by their names.
    pub workloads: BTreeMap<Name, Workload>,
    /// Policy documents by kind and name.
    pub policies: BTreeMap<PolicyKey, KnownPolicy>,
    /// Acknowledgements and silences of alarms, by id.
    pub silences: BTreeMap<Box<str>, Silence>,
    /// Rows about sent and queued notifications, key and value, as the store had them at the start.
    /// The keeper of the alarms takes them out.
    pub told: Vec<(String, Vec<u8>)>,
    /// Last revisions of deleted workloads: a number is never used twice for one name.
    pub gone: BTreeMap<Name, u64>,
    /// Enrolment tokens by id.
    pub tokens: BTreeMap<Box<str>, TokenRecord>,
    /// Access tokens by id.
    pub access: BTreeMap<Box<str>, AccessRecord>,
    /// Local users by their names.
    pub users: BTreeMap<Name, UserRecord>,
    /// Logins of browsers by the sha256 of their secrets.
    pub sessions: BTreeMap<[u8; 32], SessionRecord>,
    /// Artifacts that the tenant has pushed. Nobody else fetches them or names them in documents.
    pub artifacts: BTreeMap<Digest, ArtifactRecord>,
    /// Images of the tenant. Their configurations and layers are artifacts.
    pub images: Images,
    /// Limits of the tenant, from its `Tenant` document. See [`super::tenants::Tenants::settle`].
    pub quotas: Quotas,
    /// Names of tenants that were deleted and whose rows are not all removed yet. Only in the tables
    /// of the tenant that the control plane began with.
    pub ended: BTreeSet<Name>,
    /// Newest entries of the audit log, at most [`super::audit::RECENT`], oldest entry first.
    pub audit: VecDeque<AuditRecord>,
    /// Chain of the audit log.
    pub chain: Chain,
    /// Positions of the sinks of the audit log, by their names.
    pub sunk: BTreeMap<Name, Sunk>,
    /// Number of the last batch of this tenant given to the store.
    pub batches: u64,
    /// Time at which this control plane began to serve, in seconds since 1970; 0: not yet.
    pub started: u64,
    /// Rules for the absence of devices, each shared by the devices that it applies to.
    pub rules: Made,
}

/// Key of the certificate authority's keys in the store. They are sealed.
pub const AUTHORITY: &str = "authority";

/// Key of the data keys in the store. They are wrapped by the master key.
pub const KEYRING: &str = "keyring";

/// Key of the store's format, see [`crate::format`].
pub const FORMAT: &str = "format";

/// Keys of rows that belong to no tenant.
pub const SHARED: [&str; 3] = [AUTHORITY, FORMAT, KEYRING];

/// Keys of the rows in the store. Those that are made here are within a tenant; [`key::of`] makes
/// the store's key, `KIND/TENANT/REST`.
pub mod key {
    use holdfast_base::ids::{Digest, Name, hex};
    use holdfast_oci::Repository;

    use crate::records::PolicyKey;
    use crate::timeline::Ring;

    /// Prefix of the keys of timelines. They are read one device at a time, never all at once.
    pub const HISTORIES: &str = "history/";
    /// Prefix of the keys of audit entries. All but the newest are read page by page.
    pub const AUDIT: &str = "audit/";
    /// Prefix of the keys of checkpoints of the audit log.
    pub const CHECKPOINTS: &str = "checkpoint/";
    /// Key of the newest checkpoint of the audit log over all tenants. It belongs to no tenant.
    pub const WHOLE_CHECKPOINT: &str = "checkpoint";
    /// Prefix of the keys of the positions of audit sinks; in no backup.
    pub const SUNK: &str = "sunk/";
    /// Prefix of the keys of browser logins.
    pub const SESSIONS: &str = "session/";

    /// Prefixes of the keys about notifications: groups that were notified, queued messages,
    /// delivery state. See `core/alarms/outbox.rs`.
    pub const TOLD: [&str; 3] = ["told/", "outbox/", "notified/"];

    /// Key of the epoch and the counters.
    pub const META: &str = "meta";

    /// Returns the store's key of a row of a tenant. The kind comes first, so that all rows of a
    /// kind are next to each other.
    pub fn of(tenant: &Name, local: &str) -> String {
        match local.split_once('/') {
            Some((kind, rest)) => format!("{kind}/{tenant}/{rest}"),
            None => format!("{local}/{tenant}"),
        }
    }

    /// Divides a store's key into the tenant and the key within it. None: it names no tenant.
    pub fn divide(key: &str) -> Option<(Name, String)> {
        let (kind, rest) = key.split_once('/')?;
        let (tenant, local) = match rest.split_once('/') {
            Some((tenant, rest)) if kind != META => (tenant, format!("{kind}/{rest}")),
            None if kind == META => (rest, META.to_owned()),
            _ => return None,
        };
        Some((tenant.parse().ok()?, local))
    }

    /// Returns the key of a device's identity.
    pub fn device(name: &Name) -> String {
        format!("device/{name}")
    }
    /// Returns the key of a device's desired state.
    pub fn desired(name: &Name) -> String {
        format!("desired/{name}")
    }
    /// Returns the key of a device's last report.
    pub fn report(name: &Name) -> String {
        format!("report/{name}")
    }
    /// Returns the prefix of the keys of a device's timeline.
    pub fn history_of(name: &Name) -> String {
        format!("{HISTORIES}{name}/")
    }
    /// Returns the key of an event of a device's timeline. Numbers wrap at the ring's size, so that
    /// a new event overwrites the oldest.
    pub fn history(name: &Name, ring: Ring, number: u32) -> String {
        format!("{HISTORIES}{name}/{}{:03}", ring.letter(), number % ring.size())
    }
    /// Returns the key of an event of the fleet's rings, where numbers wrap as well. No device can
    /// be named `*`.
    pub fn fleet_event(ring: Ring, number: u32) -> String {
        format!("{HISTORIES}*/{}{:04}", ring.letter(), number % ring.fleet_size())
    }
    /// Returns the key of a workload.
    pub fn workload(name: &Name) -> String {
        format!("workload/{name}")
    }
    /// Returns the key of a policy document.
    pub fn policy((kind, name): &PolicyKey) -> String {
        format!("{}/{name}", kind.word())
    }
    /// Returns the key of a revision. The number has 20 digits, so that keys sort by it.
    pub fn revision(name: &Name, number: u64) -> String {
        format!("revision/{name}/{number:020}")
    }
    /// Returns the key of the last revision of a deleted workload.
    pub fn gone(name: &Name) -> String {
        format!("gone/{name}")
    }
    /// Returns the key of an enrolment token.
    pub fn token(id: &str) -> String {
        format!("token/{id}")
    }
    /// Returns the key of an access token.
    pub fn access(id: &str) -> String {
        format!("access/{id}")
    }
    /// Returns the key of a local user.
    pub fn user(name: &Name) -> String {
        format!("user/{name}")
    }
    /// Returns the key of a browser login, from the sha256 of its secret.
    pub fn session(digest: &[u8; 32]) -> String {
        format!("{SESSIONS}{}", hex(digest))
    }
    /// Returns the key of an artifact that the tenant has pushed.
    pub fn artifact(digest: &Digest) -> String {
        format!("artifact/{}", digest.hex())
    }
    /// Returns the key of an image, by its digest.
    pub fn image(digest: &Digest) -> String {
        format!("image/{}", digest.hex())
    }
    /// Returns the key of a repository of images.
    pub fn repository(name: &Repository) -> String {
        format!("repository/{name}")
    }
    /// Returns the key of a deleted tenant whose rows are not all removed yet.
    pub fn ended(tenant: &Name) -> String {
        format!("ended/{tenant}")
    }
    /// Returns the key of an acknowledgement or a silence.
    pub fn silence(id: &str) -> String {
        format!("silence/{id}")
    }
    /// Returns the key of the position of an audit sink.
    pub fn sunk(name: &Name) -> String {
        format!("{SUNK}{name}")
    }
    /// Returns the key of an audit entry. The number has 20 digits, so that keys sort by it.
    pub fn audit(number: u64) -> String {
        format!("{AUDIT}{number:020}")
    }
    /// Returns the key of a checkpoint of the audit log, by the number of its entry.
    pub fn checkpoint(number: u64) -> String {
        format!("{CHECKPOINTS}{number:020}")
    }
}

impl Model {
    /// Creates a model without any content.
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
            users: BTreeMap::new(),
            sessions: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            images: Images::default(),
            quotas: Quotas::default(),
            ended: BTreeSet::new(),
            audit: VecDeque::new(),
            chain: Chain::default(),
            sunk: BTreeMap::new(),
            batches: 0,
            started: 0,
            rules: Made::new(),
        }
    }

    /// Takes in a stored entry of the audit log; entries come in order.
    pub fn read_audit(&mut self, entry: AuditRecord) {
        self.chain.read(&entry, self.tenant.as_str());
        self.keep_audit(entry);
    }

    /// Adds an entry to the newest ones.
    pub(crate) fn keep_audit(&mut self, entry: AuditRecord) {
        self.audit.push_back(entry);
        while self.audit.len() > RECENT {
            self.audit.pop_front();
        }
    }

    /// Returns the full id of a device.
    pub fn id(&self, name: &Name) -> DeviceId {
        DeviceId { tenant: self.tenant.clone(), device: name.clone() }
    }

    /// Returns the device with this public key (base64).
    pub fn by_key(&self, public_key: &str) -> Option<&Device> {
        self.keys.get(&sha256(public_key.as_bytes())).and_then(|name| self.devices.get(name))
    }

    /// Returns the retention of a stream of a device with these labels: that of the `Stream`
    /// document with the narrowest matching pattern, or the default without one.
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

    /// Returns the desired state to sign for a device. None: there is no such device, it is not
    /// approved, or it never had a desired state.
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
                Some((name.clone(), DesiredWorkload { revision, paused, spec, sealed: None }))
            })
            .collect();
        Some(DesiredState {
            v: holdfast_base::WIRE_VERSION,
            device: self.id(name),
            epoch: self.meta.epoch,
            generation: device.desired.generation,
            workloads,
            data: self.data_policies(&device.desired.data),
            audit: self.chain.shown,
        })
    }

    /// True if an artifact belongs to a workload that the device should run, in any stored
    /// revision: a device may go back to the last one that worked. An image's configuration and
    /// layers belong to each workload that names the image.
    pub fn names_artifact(&self, device: &Name, digest: &Digest) -> bool {
        let Some(device) = self.devices.get(device) else { return false };
        let names = self.names_of(digest);
        let files = BTreeSet::from([*digest]);
        let wanted = device.desired.workloads.iter();
        let mut wanted = wanted.filter_map(|(name, _)| self.workloads.get(name));
        wanted.any(|known| known.names(&names, &files))
    }

    /// Returns the texts by which documents name an artifact: its digest, and those of the images
    /// that have it.
    fn names_of(&self, digest: &Digest) -> BTreeSet<String> {
        let mut names = self.images.names_of_images_with(digest);
        names.insert(digest.to_string());
        names
    }

    /// Returns the workloads of which a stored revision names an artifact, or an image that has it.
    pub fn workloads_with(&self, digest: &Digest) -> Vec<&Name> {
        self.workloads_naming(&self.names_of(digest), &BTreeSet::from([*digest]))
    }

    /// Returns the workloads of which a stored revision names an image.
    pub fn workloads_with_image(&self, image: &Digest) -> Vec<&Name> {
        // The newest revision names it in its document too.
        self.workloads_naming(&self.images.names_of(image), &BTreeSet::new())
    }

    /// Returns every digest that a stored revision of a workload names, of a file or of an image, with
    /// the workloads.
    pub fn named_digests(&self) -> BTreeMap<String, BTreeSet<&Name>> {
        let mut named: BTreeMap<String, BTreeSet<&Name>> = BTreeMap::new();
        for (name, known) in &self.workloads {
            let mut found = BTreeSet::new();
            known.revisions.iter().for_each(|it| digests_in(&it.written, &mut found));
            found.extend(known.record.spec.run.artifacts().map(|it| it.digest.to_string()));
            for digest in found {
                named.entry(digest).or_default().insert(name);
            }
        }
        named
    }

    fn workloads_naming(&self, names: &BTreeSet<String>, files: &BTreeSet<Digest>) -> Vec<&Name> {
        let naming = self.workloads.iter().filter(|(_, known)| known.names(names, files));
        naming.map(|(name, _)| name).collect()
    }

    fn data_policies(&self, wanted: &[(PolicyKey, u64)]) -> Option<Box<DataPolicies>> {
        let mut policies = DataPolicies::default();
        for known in wanted.iter().filter_map(|(key, _)| self.policies.get(key)) {
            known.record.policy.send(&known.record.name, &mut policies);
        }
        (policies != DataPolicies::default()).then(|| Box::new(policies))
    }
}

/// Reads the JSON of a row.
pub(crate) fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, BadRecord> {
    serde_json::from_slice(value).map_err(|source| BadRecord::Value { key: key.into(), source })
}

/// Returns the sha256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}
