//! Sealed content of workloads: which devices get which values of secrets, configurations and
//! labels, and what is wrong with references. Values of secrets are known here by their digests
//! alone; the service opens and seals them when a desired state is sent.
//!
//! See decision 0163.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::ids::{Labels, Name};
use holdfast_protocol::enrol::Fault;

use super::documents::Documents;
use crate::model::{Device, Model, sha256};
use crate::records::{DesiredRecord, Policy, PolicyKey, PolicyKind, Use, WorkloadRecord};
use crate::secrets::place::{Place, Store};
use crate::secrets::references::{OnChange, Source};
use crate::secrets::template::Piece;
use crate::secrets::value::{SealedValue, Setting, short};

/// Size of sealed content besides its values, in bytes: key, tag, version, and its frame.
const FRAME: usize = 160;

/// Longest value of a label and longest name of a device, in bytes.
const LONGEST_NAME: usize = 63;

/// Versions are below this number, so that every reader of JSON keeps their digits.
const VERSIONS: u64 = 1 << 53;

/// Value of a document, as far as it is known without opening it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    /// Value of a secret.
    Secret(&'a SealedValue),
    /// Value of a configuration.
    Config(&'a Setting),
}

impl Known<'_> {
    /// Returns the digest of the value.
    fn digest(&self) -> String {
        match self {
            Self::Secret(value) => value.digest.to_string(),
            Self::Config(value) => value.digest(),
        }
    }

    /// Returns the length of the value, in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Secret(value) => usize::try_from(value.length).unwrap_or(usize::MAX),
            Self::Config(value) => value.size(),
        }
    }

    /// True if the value can stand in a text.
    pub(super) fn is_text(&self) -> bool {
        match self {
            Self::Secret(value) => value.text,
            Self::Config(value) => value.is_text(),
        }
    }
}

/// Returns the key of the document that has a value.
pub(crate) fn key_of(store: Store, name: &Name) -> PolicyKey {
    let kind = match store {
        Store::Secret => PolicyKind::Secret,
        Store::Config => PolicyKind::Config,
    };
    (kind, name.clone())
}

/// Returns the kind of values that a kind of documents has. None: it has none.
pub(crate) fn store_of(kind: PolicyKind) -> Option<Store> {
    match kind {
        PolicyKind::Secret => Some(Store::Secret),
        PolicyKind::Config => Some(Store::Config),
        _ => None,
    }
}

/// Returns a value.
pub(super) fn value<'a>(documents: &Documents<'a>, place: &Place) -> Option<Known<'a>> {
    match &documents.policy(&key_of(place.store, &place.name))?.policy {
        Policy::Secret { secret } => secret.value(&place.key).map(Known::Secret),
        Policy::Config { config } => config.data.get(&place.key).map(Known::Config),
        _ => None,
    }
}

/// Reason for which a value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The document does not exist.
    #[error("there is no {} {name}: apply it first, or in the same apply", .store.word())]
    NoDocument {
        /// Kind of the document.
        store: Store,
        /// Name of the document.
        name: Name,
    },
    /// The document does not have the key.
    #[error("{} {name} has no key {key}; it has {}", .store.word(), .keys.join(", "))]
    NoKey {
        /// Kind of the document.
        store: Store,
        /// Name of the document.
        name: Name,
        /// Key that was asked for.
        key: String,
        /// First keys of the document.
        keys: Vec<String>,
    },
    /// The value cannot stand in a text.
    #[error("{0} is no text (UTF-8 without NUL): lay it as a file of its own by spec.files")]
    NotText(Place),
}

/// Most keys that a fault names.
const NAMED_KEYS: usize = 10;

/// Returns what is wrong with a value. `text`: it must be a text.
pub(crate) fn problem(documents: &Documents<'_>, place: &Place, text: bool) -> Option<Problem> {
    let Place { store, name, key } = place;
    if let Some(known) = value(documents, place) {
        let fits = known.is_text() || !text;
        return (!fits).then(|| Problem::NotText(place.clone()));
    }
    let (store, name) = (*store, name.clone());
    let Some(record) = documents.policy(&key_of(store, &name)) else {
        return Some(Problem::NoDocument { store, name });
    };
    let first = |keys: Vec<&String>| keys.into_iter().take(NAMED_KEYS).cloned().collect();
    let keys = match &record.policy {
        Policy::Secret { secret } => first(secret.data.keys().collect()),
        Policy::Config { config } => first(config.data.keys().collect()),
        _ => Vec::new(),
    };
    Some(Problem::NoKey { store, name, key: key.clone(), keys })
}

/// Sealed content of a workload on one device: its version, and the values in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Number that follows from the values.
    pub version: u64,
    /// Values of documents.
    pub uses: Vec<Use>,
}

/// What the sealed content of a workload is made of: the same for all devices, except for labels.
#[derive(Debug)]
pub struct Sealing<'a> {
    /// Digest of the values of documents.
    values: [u8; 32],
    uses: Vec<Use>,
    labels: BTreeSet<&'a str>,
}

impl<'a> Sealing<'a> {
    /// Gathers what a workload refers to. None: it refers to nothing.
    pub fn of(documents: &Documents<'_>, record: &'a WorkloadRecord) -> Option<Self> {
        let references = &record.references;
        if references.is_empty() {
            return None;
        }
        let (mut text, mut uses) = (String::new(), Vec::new());
        for place in references.places() {
            let digest = value(documents, place).map(|known| known.digest()).unwrap_or_default();
            text.push_str(&format!("{place}\n{digest}\n"));
            uses.push(Use { place: place.clone(), digest: short(&digest).into() });
        }
        Some(Self { values: sha256(text.as_bytes()), uses, labels: references.labels() })
    }

    /// Returns the content on a device.
    pub fn on(&self, device: &Device) -> Content {
        let record = &device.record;
        let mut all = self.values.to_vec();
        // A device with another key cannot open what was sealed for the former one.
        all.extend_from_slice(record.sealing_key.as_deref().unwrap_or_default().as_bytes());
        for key in &self.labels {
            let value = record.labels.get(*key).map_or("", String::as_str);
            all.extend_from_slice(format!("\n{key}={value}").as_bytes());
        }
        let digest = sha256(&all);
        let number = digest.iter().take(8).fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte));
        Content { version: (number % VERSIONS).max(1), uses: self.uses.clone() }
    }
}

/// Returns the workloads whose sealed content may change: those that change, and those that refer to
/// a document that does. None: the workload has no sealed content any more.
pub fn touched<'a>(documents: &Documents<'a>) -> BTreeMap<Name, Option<Sealing<'a>>> {
    let names = touched_names(documents);
    let sealing = |name: Name| {
        let record = documents.workload(&name);
        let sealing = record.and_then(|record| Sealing::of(documents, record));
        (name, sealing)
    };
    names.into_iter().map(sealing).collect()
}

fn touched_names(documents: &Documents<'_>) -> BTreeSet<Name> {
    let mut names: BTreeSet<Name> = documents.changed_workloads().cloned().collect();
    for (kind, document) in documents.changed_policies() {
        let Some(store) = store_of(*kind) else { continue };
        let users = documents.workloads().filter(|it| it.references.uses(store, document));
        names.extend(users.map(|record| record.name.clone()));
    }
    names
}

/// Returns a bound of the size of a workload's sealed content, in bytes. 0: it has none.
pub fn size(documents: &Documents<'_>, name: &Name) -> usize {
    let Some(record) = documents.workload(name) else { return 0 };
    let references = &record.references;
    let of = |(name, source): (&String, &Source)| {
        length(documents, source).saturating_add(name.len() + 16)
    };
    let each = references.env.iter().chain(&references.files).map(of);
    let bytes = each.fold(0, usize::saturating_add);
    if references.is_empty() { 0 } else { bytes.saturating_add(FRAME) }
}

/// Returns a bound of the length of a resolved source on any device, in bytes.
pub(crate) fn length(documents: &Documents<'_>, source: &Source) -> usize {
    let of = |place: &Place| value(documents, place).map_or(0, |known| known.len());
    match source {
        Source::Value(place) => of(place),
        Source::Template(pieces) => {
            let each = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => text.len(),
                Piece::Label { default, .. } => {
                    default.as_ref().map_or(0, String::len).max(LONGEST_NAME)
                }
                Piece::DeviceName | Piece::TenantName => LONGEST_NAME,
                Piece::Value(place) => of(place),
            });
            each.fold(0, usize::saturating_add)
        }
    }
}

/// True if a device with these labels lacks one that a workload refers to without a default.
pub(super) fn lacks<'a>(record: &'a WorkloadRecord, labels: &Labels) -> Option<&'a str> {
    let all = record.references.sources().flat_map(Source::labels);
    all.filter(|(key, has_default)| !has_default && !labels.contains_key(*key))
        .map(|(key, _)| key)
        .next()
}

/// Returns the fault if a device lacks something that one of its workloads refers to: a label, or a
/// key to which content can be sealed.
pub(super) fn missing(
    documents: &Documents<'_>,
    device: &Device,
    desired: &DesiredRecord,
) -> Option<Fault> {
    let record = &device.record;
    for name in desired.sealed.keys() {
        let workload = documents.workload(name)?;
        if record.sealing_key.is_none() {
            return Some(Fault {
                path: format!("devices.{}", record.name),
                message: format!(
                    "workload {name} has secrets or files that are sealed to the device's key, and its agent has none: update the agent, or give the device labels that do not choose the workload"
                ),
                of_key: false,
            });
        }
        if let Some(key) = lacks(workload, &record.labels) {
            return Some(Fault {
                path: format!("labels.{key}"),
                message: format!(
                    "workload {name} refers to it, and device {} would not have it: give it a value, or write a default into the workload, as ${{label.{key}:-none}}",
                    record.name
                ),
                of_key: false,
            });
        }
    }
    None
}

/// Part of a variable's or a file's content on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Bytes that are no secret.
    Bytes(Vec<u8>),
    /// Value of a secret, which has to be opened.
    Secret {
        /// Name of the document.
        name: Name,
        /// Key of the value.
        key: String,
        /// Value as it is stored.
        value: SealedValue,
    },
}

/// Content of a workload on a device, before its secrets are opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Variables by their names.
    pub env: BTreeMap<String, Vec<Part>>,
    /// Files by their paths.
    pub files: BTreeMap<String, Vec<Part>>,
}

/// Reference that cannot be resolved: a document was changed in a way that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// A value does not exist.
    #[error("there is no {0}")]
    Value(Place),
    /// A label does not exist.
    #[error("the device has no label {0}")]
    Label(String),
}

/// Resolves what a workload refers to on a device.
///
/// # Errors
/// [`Unresolved`], which no admitted change brings about.
pub fn resolve(
    model: &Model,
    device: &Device,
    record: &WorkloadRecord,
) -> Result<Resolved, Unresolved> {
    let documents = Documents::of(model);
    let part = |place: &Place| match value(&documents, place) {
        Some(Known::Config(value)) => Ok(Part::Bytes(value.bytes())),
        Some(Known::Secret(value)) => Ok(Part::Secret {
            name: place.name.clone(),
            key: place.key.clone(),
            value: value.clone(),
        }),
        None => Err(Unresolved::Value(place.clone())),
    };
    let text = |text: &str| Ok(Part::Bytes(text.as_bytes().to_vec()));
    let piece = |piece: &Piece| match piece {
        Piece::Text(plain) => text(plain),
        Piece::DeviceName => text(device.record.name.as_str()),
        Piece::TenantName => text(model.tenant.as_str()),
        Piece::Value(place) => part(place),
        Piece::Label { key, default } => {
            let value = device.record.labels.get(key).or(default.as_ref());
            text(value.ok_or_else(|| Unresolved::Label(key.clone()))?)
        }
    };
    let parts = |(name, source): (&String, &Source)| {
        let parts = match source {
            Source::Value(place) => vec![part(place)?],
            Source::Template(pieces) => {
                pieces.iter().map(piece).collect::<Result<Vec<Part>, Unresolved>>()?
            }
        };
        Ok((name.clone(), parts))
    };
    let references = &record.references;
    Ok(Resolved {
        env: references.env.iter().map(parts).collect::<Result<_, Unresolved>>()?,
        files: references.files.iter().map(parts).collect::<Result<_, Unresolved>>()?,
    })
}

/// What a device gets of one workload beside its specification, before it is opened and sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Name of the workload.
    pub workload: Name,
    /// Version of the content.
    pub version: u64,
    /// What a change of it does to the running workload.
    pub on_change: OnChange,
    /// Content with its secrets closed.
    pub content: Resolved,
}

/// Returns what has to be sealed for a device's desired state.
///
/// # Errors
/// [`Unresolved`], which no admitted change brings about.
pub fn parcels(model: &Model, device: &Device) -> Result<Vec<Parcel>, Unresolved> {
    let each = device.desired.sealed.iter().filter_map(|(name, given)| {
        let record = &model.workloads.get(name)?.record;
        let parcel = resolve(model, device, record).map(|content| Parcel {
            workload: name.clone(),
            version: given.version,
            on_change: record.references.on_change,
            content,
        });
        Some(parcel)
    });
    each.collect()
}
