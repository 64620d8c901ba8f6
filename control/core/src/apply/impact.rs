//! Counts of the devices that a document concerns, with the names of the first of them.

use crate::desired::approved;
use crate::model::{Device, Model};
use holdfast_api::ChangedDevices;
use holdfast_api::selector::Selector;

/// Most selected devices that a result names.
const NAMED: usize = 20;

/// Most devices that a result names in each of its lists: gain, lose, update.
pub(crate) const CHANGED: usize = 100;

/// Returns the names of the first 20 approved devices that a selector matches, and the number of
/// all.
pub(super) fn chosen(model: &Model, selector: &Selector) -> (Vec<String>, u64) {
    let mut matching = approved(model)
        .filter(|device| selector.matches(&device.record.labels))
        .map(|device| device.record.name.to_string());
    let devices: Vec<String> = matching.by_ref().take(NAMED).collect();
    let count = (devices.len() + matching.count()) as u64;
    (devices, count)
}

/// Returns the warning about a document that selects no device.
pub(super) fn nobody(count: u64) -> Option<String> {
    (count == 0).then(|| "no enrolled and approved device matches spec.devices".to_owned())
}

/// Counts and names the approved devices that gain, lose or update a document. `revisions` returns
/// the document's revision on a device, now and after the change; None: it is not there.
pub(crate) fn changes(
    model: &Model,
    revisions: impl Fn(&Device) -> (Option<u64>, Option<u64>),
) -> ChangedDevices {
    let mut all = ChangedDevices::default();
    for device in approved(model) {
        let (names, count) = match revisions(device) {
            (None, Some(_)) => (&mut all.gain, &mut all.gain_count),
            (Some(_), None) => (&mut all.lose, &mut all.lose_count),
            (Some(present), Some(wanted)) if present != wanted => {
                (&mut all.update, &mut all.update_count)
            }
            _ => continue,
        };
        *count += 1;
        if names.len() < CHANGED {
            names.push(device.record.name.to_string());
        }
    }
    all
}
