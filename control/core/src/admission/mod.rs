//! Admission of documents that operators write: they become values with every unit resolved, or are
//! refused as a whole with the path of each fault. Admission uses neither network nor disk.

mod admitted;
mod at;
mod command;
mod container;
mod container_parts;
pub(crate) mod data;
pub(crate) mod document;
mod environment;
mod faults;
mod fields;
mod group;
pub(crate) mod identity_provider;
pub(crate) mod notification;
mod parts;
pub(crate) mod quantities;
pub(crate) mod references;
pub(crate) mod roles;
pub(crate) mod secret;
mod windows;
pub(crate) mod workload;

#[cfg(test)]
mod container_samples;
#[cfg(test)]
mod container_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_base::ids::Digest;
use holdfast_protocol::container::Image;
use holdfast_protocol::enrol::Fault;
use serde_json::{Map, Value, json};

use self::faults::{Faults, quote};
use crate::images::{Images, NotResolved};
use crate::kinds::AnyKind;
use holdfast_api::API_VERSION;

pub use self::admitted::{Admitted, Stored, What};
pub(crate) use self::at::{At, Quantity, Words};
pub use self::faults::nearest;

/// Largest document, in bytes of compact JSON: a quarter of the largest message of a device, so
/// that one workload cannot take up the whole desired state.
pub const MAX_DOCUMENT: usize = 256 * 1024;

/// Most documents in one apply. It is one transaction, held in memory.
pub const MAX_DOCUMENTS: usize = 1_000;

/// Returns the kinds of documents that can be applied.
fn known_kinds() -> Vec<&'static str> {
    AnyKind::all().map(|kind| kind.words().document).collect()
}

/// Admits all documents, or none of them. If there is more than one document, the path of a fault
/// begins with `documents[N] (Workload/NAME): `. `stored` is what they may name.
///
/// # Errors
/// Every fault found; the first 200 are listed, the others counted.
pub fn admit_with(documents: &[Value], stored: &Stored<'_>) -> Result<Vec<Admitted>, Vec<Fault>> {
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
        admitted.extend(one(&At::new(document, prefix, &faults), stored));
    }
    if faults.count() == 0 { Ok(admitted) } else { Err(faults.into_vec()) }
}

/// Admits all documents, or none of them, where there are artifacts and no images: as [`admit_with`].
///
/// # Errors
/// Every fault found; the first 200 are listed, the others counted.
pub fn admit(
    documents: &[Value],
    artifact_size: &dyn Fn(&Digest) -> Option<u64>,
) -> Result<Vec<Admitted>, Vec<Fault>> {
    admit_with(documents, &Stored { artifact_size, image: &no_image })
}

/// Finds a reference where there are no images.
fn no_image(text: &str) -> Result<Image, NotResolved> {
    Images::default().resolve(text)
}

fn one(document: &At<'_>, stored: &Stored<'_>) -> Option<Admitted> {
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
    // Without a kind it is a workload, see `of_a_known_kind`.
    let kind = document.value().get("kind").and_then(Value::as_str);
    let kind = kind.and_then(AnyKind::of_document).unwrap_or(AnyKind::Workload);
    let rules = kind.rules();
    let mut admitted = document::document(document, kind.facts(), |at| rules.spec(at, stored))?;
    if let What::Workload(spec, _) = &admitted.what {
        container::pin(&mut admitted.written, &spec.run);
    }
    Some(admitted)
}

/// Returns the JSON Schema (draft 2020-12) of all documents that can be applied, for editors and
/// for programs that check documents before they send them. It is written by the functions that
/// decode the documents.
///
/// See decision 0147.
pub fn schema() -> Value {
    let (mut definitions, mut any) = (Map::new(), Vec::new());
    for kind in AnyKind::all() {
        let rules = kind.rules();
        let stored = Stored { artifact_size: &|_| None, image: &no_image };
        let form = At::describe(|at| {
            drop(document::document(at, kind.facts(), |at| rules.spec(at, &stored)));
        });
        let name = format!("{}Document", kind.words().document);
        any.push(json!({ "$ref": format!("#/$defs/{name}") }));
        definitions.insert(name, form);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Holdfast document",
        "description": "Any document that can be applied.",
        "anyOf": any,
        "$defs": definitions,
    })
}

/// Checks version and kind of a document. Returns false if the rest cannot be decoded.
fn of_a_known_kind(document: &At<'_>) -> bool {
    let Value::Object(object) = document.value() else {
        document.fault(format!(
            "{}: expected a document with apiVersion, kind, metadata, spec",
            quote(document.value())
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
    let known = known_kinds();
    let kinds = known.join(", ");
    match object.get("kind") {
        Some(Value::String(kind)) if known.contains(&kind.as_str()) => true,
        Some(other) => {
            let meant = other.as_str().and_then(|kind| nearest(kind, &known));
            let meant = meant.map(|kind| format!("; did you mean {kind:?}?")).unwrap_or_default();
            let kind = document.child("kind", other);
            kind.refuse(format!("cannot be applied; kinds are: {kinds}{meant}"));
            false
        }
        None => {
            document.missing("kind", &format!("kinds are: {kinds}"));
            // If only the kind was forgotten, `spec.run` tells that this is a workload, and the
            // rest of the document is checked as well.
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
