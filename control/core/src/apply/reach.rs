//! Whether a caller whose roles reach some devices alone may apply, change or delete documents: it
//! must reach every device that a document chose before and that it chooses afterwards, now and
//! later.
//!
//! See decision NEW-sight.

use super::planned::Refusal;
use crate::admission::Admitted;
use crate::kinds::AnyKind;
use crate::model::Model;
use crate::rights::Sight;
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
/// one that did so before, and [`Refusal::Taken`] for a name that a document out of sight has.
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
    }
    Ok(())
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
