//! Admission: documents as operators write them become values with every unit resolved, or are
//! refused whole with the path of each fault. It asks nothing of the network or the disk.

mod absence;
mod data;
mod decode;
mod documents;
mod notification;
mod parts;
mod workload;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_base::ids::{Digest, Labels, Name};
use holdfast_protocol::enrol::Fault;
use holdfast_protocol::workload::WorkloadSpec;
use serde_json::Value;

use self::decode::{At, Faults, quote};
use crate::records::Policy;
use holdfast_api::API_VERSION;
use holdfast_api::selector::Selector;

pub use self::decode::nearest;
pub use self::documents::schema;

/// Largest document as compact JSON, in bytes: a quarter of what a device accepts in one message,
/// so that one workload cannot take a device's whole desired state.
pub const MAX_DOCUMENT: usize = 256 * 1024;

/// Most documents in one apply: it is one transaction, held in memory.
pub const MAX_DOCUMENTS: usize = 1_000;

/// The kinds that can be applied.
const KINDS: [&str; 5] = ["Workload", "Stream", "LinkBudget", "Notification", "DevicePolicy"];

/// What a document describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// What devices run.
    Workload(Box<WorkloadSpec>),
    /// What they do with data.
    Policy(Box<Policy>),
}

/// A document that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// The resource version of what was edited: it must be the present one, so that
    /// nobody's change is overwritten unseen. 0: there must be none.
    pub resource_version: Option<u64>,
    /// Which devices it is for.
    pub devices: Selector,
    /// What it describes.
    pub what: What,
    /// `spec` as it was written, for people to read back.
    pub written: Value,
}

impl Admitted {
    /// What devices run, if it is a workload.
    pub fn workload(&self) -> Option<&WorkloadSpec> {
        match &self.what {
            What::Workload(spec) => Some(spec),
            What::Policy(_) => None,
        }
    }
}

/// Lets all documents in, or none: the faults of every one, with paths. With more than one
/// document a path begins with `documents[N] (Workload/NAME): `.
/// `artifact_size` knows the artifacts of the store.
///
/// # Errors
/// Every fault found.
pub fn admit(
    documents: &[Value],
    artifact_size: &dyn Fn(&Digest) -> Option<u64>,
) -> Result<Vec<Admitted>, Vec<Fault>> {
    let faults = Faults::default();
    if documents.is_empty() {
        faults.add("documents", "none: there is nothing to apply");
    }
    if documents.len() > MAX_DOCUMENTS {
        let count = documents.len();
        faults
            .add("documents", format!("{count}, at most {MAX_DOCUMENTS} in one apply; split them"));
        return Err(faults.into_vec());
    }
    let mut admitted = Vec::new();
    let mut first_of: BTreeMap<String, usize> = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        let prefix = if documents.len() > 1 { prefix(index, document) } else { String::new() };
        if let Some((kind, name)) = kind_and_name(document) {
            let whole = format!("{kind}/{name}");
            match first_of.get(&whole) {
                Some(first) => faults.add(
                    &format!("{prefix}metadata.name"),
                    format!(
                        "{:?}: documents[{first}] has the same name; keep one of them",
                        cut(name)
                    ),
                ),
                None => drop(first_of.insert(whole, index)),
            }
        }
        admitted.extend(one(&At::new(document, prefix, &faults), artifact_size));
    }
    if faults.count() == 0 { Ok(admitted) } else { Err(faults.into_vec()) }
}

fn one(document: &At<'_>, artifact_size: &dyn Fn(&Digest) -> Option<u64>) -> Option<Admitted> {
    let size = serde_json::to_vec(document.value()).map_or(usize::MAX, |json| json.len());
    if size > MAX_DOCUMENT {
        document.fault(format!(
            "the document has {size} bytes, at most {MAX_DOCUMENT} are allowed; \
             push large files as artifacts"
        ));
        return None;
    }
    if !of_a_known_kind(document) {
        return None;
    }
    match document.value().get("kind").and_then(Value::as_str) {
        Some("Stream") => {
            workload::document(document, "it says which streams, and what of them", |at| {
                let (devices, policy) = data::stream(at)?;
                Some((devices, What::Policy(Box::new(policy))))
            })
        }
        Some("LinkBudget") => workload::document(document, "it says how much, and where", |at| {
            let (devices, policy) = data::link_budget(at)?;
            Some((devices, What::Policy(Box::new(policy))))
        }),
        Some("Notification") => {
            workload::document(document, "it says of which alarms, and where to", |at| {
                let (devices, policy) = notification::notification(at)?;
                Some((devices, What::Policy(Box::new(policy))))
            })
        }
        Some("DevicePolicy") => {
            workload::document(document, "it says whether devices may be away", |at| {
                let (devices, policy) = absence::device_policy(at)?;
                Some((devices, What::Policy(Box::new(policy))))
            })
        }
        _ => workload::document(document, "it says what to run, and where", |at| {
            let (devices, spec) = workload::spec(at, artifact_size)?;
            Some((devices, What::Workload(Box::new(spec))))
        }),
    }
}

/// False when the rest of the document cannot be judged.
fn of_a_known_kind(document: &At<'_>) -> bool {
    let Value::Object(object) = document.value() else {
        document.fault(format!(
            "{}: expected a document with {}",
            quote(document.value()),
            workload::DOCUMENT.join(", ")
        ));
        return false;
    };
    match object.get("apiVersion") {
        Some(Value::String(version)) if version == API_VERSION => {}
        Some(other) => document
            .child("apiVersion", other)
            .refuse(format!("unknown version; there is {API_VERSION}")),
        None => document.missing("apiVersion", &format!("it is {API_VERSION}")),
    }
    let kinds = KINDS.join(", ");
    match object.get("kind") {
        Some(Value::String(kind)) if KINDS.contains(&kind.as_str()) => true,
        Some(other) => {
            let meant = other.as_str().and_then(|kind| nearest(kind, &KINDS));
            let meant = meant.map(|kind| format!("; did you mean {kind:?}?")).unwrap_or_default();
            let kind = document.child("kind", other);
            kind.refuse(format!("cannot be applied; kinds are: {kinds}{meant}"));
            false
        }
        None => {
            document.missing("kind", &format!("kinds are: {kinds}"));
            // Of somebody who forgot it the rest is judged as well, when it says what it is.
            document.value().pointer("/spec/run").is_some()
        }
    }
}

fn kind_and_name(document: &Value) -> Option<(&str, &str)> {
    Some((document.get("kind")?.as_str()?, document.pointer("/metadata/name")?.as_str()?))
}

fn prefix(index: usize, document: &Value) -> String {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(cut);
    let kind = text("/kind").unwrap_or_else(|| "?".to_owned());
    let name = text("/metadata/name").unwrap_or_else(|| "?".to_owned());
    format!("documents[{index}] ({kind}/{name}): ")
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(63).collect()
}
