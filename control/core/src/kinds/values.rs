//! What `Secret` and `Config` have in common: who uses their values, and which devices have them.

use super::{Policy, PolicyKind, Preview};
use crate::apply::{impact, references};
use crate::desired::sealing::{Sealing, store_of};
use crate::desired::{Documents, approved};
use crate::model::{Device, Model};
use crate::policies::{Reaches, some, values};
use crate::records::PolicyRecord;
use holdfast_api::count::count;
use holdfast_api::{Explanation, PolicyStatus, PolicyValues};

/// Most users that a status names.
const USERS: usize = 20;

/// Most reasons in an explanation.
const REASONS: usize = 20;

/// Returns the devices whose sealed content changes with the document.
pub(super) fn preview(documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
    let Some(store) = store_of(record.policy.kind()) else { return Preview::default() };
    let users = documents.workloads().filter(|it| it.references.uses(store, &record.name));
    let users: Vec<_> =
        users.filter_map(|it| Some((&it.name, Sealing::of(documents, it)?))).collect();
    let changed = impact::changes(documents.model(), |device| {
        let changes = users.iter().any(|(name, sealing)| {
            let given = device.desired.sealed.get(*name);
            given.is_some_and(|given| given.version != sealing.on(device).version)
        });
        (Some(0), Some(u64::from(changes)))
    });
    Preview { changed, ..Preview::default() }
}

/// Describes the effect of a document in words.
pub(super) fn effect(preview: &Preview) -> String {
    match preview.changed.update_count {
        0 => "changes nothing on devices".to_owned(),
        count => format!("{} {} other values", some(count, "device"), gets(count)),
    }
}

fn gets(count: u64) -> &'static str {
    if count == 1 { "gets" } else { "get" }
}

/// Adds what one device has of the documents of a kind.
pub(super) fn gather<'a>(
    kind: PolicyKind,
    model: &'a Model,
    device: &'a Device,
    all: &mut Reaches<'a>,
) {
    if device.desired.sealed.is_empty() {
        return;
    }
    for (name, reach) in all.iter_mut() {
        let key = (kind, (*name).clone());
        if values::given(device, &key).next().is_some() {
            reach.count(device, values::is_current(model, device, &key));
        }
    }
}

/// Returns the status of a document. `followed` is that on the devices.
pub(super) fn status(model: &Model, record: &PolicyRecord, followed: PolicyStatus) -> PolicyStatus {
    let Some(store) = store_of(record.policy.kind()) else { return followed };
    let mut used_by = references::users(&Documents::of(model), store, &record.name);
    let users = used_by.len() as u64;
    used_by.truncate(USERS);
    let (keys, bytes, sha256) = match &record.policy {
        Policy::Secret { secret } => (secret.data.len(), secret.bytes(), None),
        Policy::Config { config } => (config.data.len(), config.bytes(), Some(config.digest())),
        _ => (0, 0, None),
    };
    let values = PolicyValues {
        keys: keys as u64,
        bytes: bytes as u64,
        revision: record.revision,
        sha256,
        used_by,
        users,
    };
    PolicyStatus { values: Some(values), ..followed }
}

/// Explains which devices do not have the values of a document.
pub(super) fn explain(model: &Model, record: &PolicyRecord) -> Explanation {
    let key = record.key();
    let (mut devices, mut current, mut reasons) = (0, 0, Vec::new());
    for device in approved(model) {
        if values::given(device, &key).next().is_none() {
            continue;
        }
        devices += 1;
        if values::is_current(model, device, &key) {
            current += 1;
        } else if reasons.len() < REASONS {
            let state = if device.live.connection == 0 { "offline, " } else { "" };
            reasons.push(format!(
                "{}: {state}does not have the newest values yet",
                device.record.name
            ));
        } else if reasons.len() == REASONS {
            reasons.push("and more".into());
        }
    }
    let summary = match devices {
        0 => "no device uses it".to_owned(),
        _ => format!("{current} of {} have the newest values", count(devices, "device")),
    };
    Explanation {
        kind: key.0.word().into(),
        name: record.name.to_string(),
        settled: devices == current,
        summary,
        reasons,
        hints: Vec::new(),
    }
}
