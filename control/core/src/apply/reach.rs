//! Whether a caller whose roles reach some devices alone may apply, change or delete documents: it
//! must reach every device that a document chose before and that it chooses afterwards, now and
//! later. What a workload refers to in secrets and configurations must be there for it already: a
//! workload that the caller may change refers to it.
//!
//! See decision 0167.

use std::collections::BTreeSet;

use super::planned::Refusal;
use crate::admission::{Admitted, What};
use crate::kinds::AnyKind;
use crate::model::Model;
use crate::rights::Sight;
use crate::secrets::place::Place;
use crate::secrets::references::References;
use crate::seen::Seen;
use holdfast_api::selector::Selector;
use holdfast_base::ids::Name;

/// Words for the devices of a selector.
fn words(devices: &Selector) -> String {
    if devices.is_empty() {
        "all devices".into()
    } else {
        format!("devices with {}", devices.words())
    }
}

/// Checks that documents of devices may be applied with this sight.
///
/// # Errors
/// [`Refusal::Outside`] for a document that can choose devices out of sight, [`Refusal::Theirs`] for
/// one that did so before, [`Refusal::Taken`] for a name that a document out of sight has, and
/// [`Refusal::Reference`] for a value that no workload refers to which the caller may change.
pub fn may_apply(model: &Model, sight: &Sight<'_>, documents: &[Admitted]) -> Result<(), Refusal> {
    if sight.is_all() {
        return Ok(());
    }
    for document in documents {
        let any = document.what.kind();
        may_change(model, sight, any, &document.name).map_err(|refusal| match refusal {
            Refusal::Unknown { .. } => {
                Refusal::Taken { kind: any.words().document, name: document.name.clone() }
            }
            other => other,
        })?;
        if !sight.holds(&document.devices) {
            return Err(Refusal::Outside {
                kind: any.words().document,
                name: document.name.clone(),
                devices: words(&document.devices),
                sight: sight.words(),
                lacking: sight.lacking(&document.devices),
            });
        }
        if let What::Workload(_, references) = &document.what {
            may_refer(model, sight, &document.name, references)?;
        }
    }
    Ok(())
}

/// Checks that a workload refers only to values that a present workload refers to which the caller
/// may change: that one could be changed to show them, so nothing more is given away. Whether a value
/// exists plays no part, so that a refusal does not tell.
fn may_refer(
    model: &Model,
    sight: &Sight<'_>,
    name: &Name,
    references: &References,
) -> Result<(), Refusal> {
    if references.is_empty() {
        return Ok(());
    }
    let theirs = model.workloads.values().filter(|known| sight.holds(&known.record.devices));
    let given: BTreeSet<&Place> =
        theirs.flat_map(|known| known.record.references.places()).collect();
    match references.places().into_iter().find(|place| !given.contains(place)) {
        None => Ok(()),
        Some(place) => Err(Refusal::Reference {
            name: name.clone(),
            place: place.to_string(),
            sight: sight.words(),
        }),
    }
}

/// Checks that the present document of a kind and name, if there is one, may be changed or deleted
/// with this sight.
///
/// # Errors
/// [`Refusal::Unknown`] for a document out of sight, and [`Refusal::Theirs`] for one that can choose
/// devices out of sight.
pub fn may_change(
    model: &Model,
    sight: &Sight<'_>,
    kind: AnyKind,
    name: &Name,
) -> Result<(), Refusal> {
    let seen = Seen::new(model, sight);
    match seen.devices_of(kind, name) {
        None => Ok(()),
        Some(devices) if sight.holds(devices) => Ok(()),
        Some(devices) if seen.document(kind, name.as_str()) => Err(Refusal::Theirs {
            kind: kind.words().document,
            name: name.clone(),
            devices: words(devices),
            sight: sight.words(),
        }),
        Some(_) => Err(Refusal::unknown(kind.words().word, name.as_str())),
    }
}
