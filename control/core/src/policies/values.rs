//! Values of secrets and configurations on devices: which a device should have, and which it has.

use holdfast_base::ids::Name;

use crate::desired::sealing::store_of;
use crate::model::{Device, Model};
use crate::records::{Given, PolicyKey, Use};
use holdfast_api::PolicyValue;

/// Returns the sealed contents of a device that have values of a document, by workload.
pub(crate) fn given<'a>(
    device: &'a Device,
    key: &'a PolicyKey,
) -> impl Iterator<Item = (&'a Name, &'a Given)> {
    let all = device.desired.sealed.iter().filter(|_| store_of(key.0).is_some());
    all.filter(|(_, given)| given.uses.iter().any(|it| is_of(it, key)))
}

/// True if a value is of a document.
fn is_of(value: &Use, (kind, name): &PolicyKey) -> bool {
    store_of(*kind) == Some(value.place.store) && value.place.name == *name
}

/// Returns the values that a device has of a workload's sealed content, by the last desired state
/// that it applied. None: it has none of them, or it is not known which.
fn held<'a>(model: &Model, device: &Device, given: &'a Given) -> Option<&'a [Use]> {
    let applied = device.report.last_applied;
    if applied.epoch != model.meta.epoch {
        return None;
    }
    if applied.generation >= given.since {
        return Some(&given.uses);
    }
    let before = given.before.as_deref()?;
    (applied.generation >= before.since).then_some(before.uses.as_slice())
}

/// Returns what a device should have and has of the values of a document.
pub(crate) fn on_device(model: &Model, device: &Device, key: &PolicyKey) -> Vec<PolicyValue> {
    let each = given(device, key).flat_map(|(workload, given)| {
        let held = held(model, device, given);
        given.uses.iter().filter(|it| is_of(it, key)).map(move |wanted| {
            let has = held.and_then(|held| held.iter().find(|it| it.place == wanted.place));
            PolicyValue {
                workload: workload.to_string(),
                key: wanted.place.key.clone(),
                sha256: wanted.digest.to_string(),
                has: has.map(|has| has.digest.to_string()),
            }
        })
    });
    each.collect()
}

/// True if a device has all values of a document that it should have.
pub(crate) fn is_current(model: &Model, device: &Device, key: &PolicyKey) -> bool {
    given(device, key).all(|(_, given)| held(model, device, given) == Some(&given.uses))
}
