//! Policy documents in a plan: the next record, what it does on devices, and their deletion. They
//! have no stored revisions, because a change restarts nothing.
//!
//! See decision 0119.

use super::{Refusal, impact};
use crate::admission::Admitted;
use crate::change::Change;
use crate::desired::{self, Documents};
use crate::kinds::{self, Preview};
use crate::model::{KnownPolicy, Model, key};
use crate::policies;
use crate::records::{Policy, PolicyKind, PolicyRecord};
use crate::view;
use holdfast_api::count::count;
use holdfast_api::{AppliedAction, AppliedDocument};

/// Computes a policy's next record and the action.
///
/// # Errors
/// [`Refusal::Full`], or [`Refusal::Secret`] when a hidden secret is not stored.
pub(super) fn next(
    model: &Model,
    mut admitted: Admitted,
    mut policy: Policy,
    now: u64,
) -> Result<(PolicyRecord, AppliedAction), Refusal> {
    let key = (policy.kind(), admitted.name.clone());
    let known = model.policies.get(&key).map(|known| &known.record);
    keep_secrets(&mut admitted, &mut policy, known)?;
    let same_spec = known.is_some_and(|known| {
        known.written == admitted.written
            && known.policy == policy
            && known.devices == admitted.devices
    });
    let same = same_spec && known.is_some_and(|known| known.labels == admitted.labels);
    let of_kind = model.policies.keys().filter(|(kind, _)| *kind == key.0).count();
    let (most, plural) = (key.0.most(), key.0.plural());
    if known.is_none() && of_kind >= most {
        return Err(Refusal::Full { most, plural });
    }
    // Devices tell versions of a policy apart by this number, so none is given twice.
    let kept = known.filter(|known| known.policy == policy).map(|known| known.revision);
    let record = PolicyRecord {
        created_at: known.map_or(now, |known| known.created_at),
        updated_at: now,
        version: known.map_or(0, |known| known.version),
        revision: kept.unwrap_or(model.meta.version + 1),
        name: admitted.name,
        labels: admitted.labels,
        devices: admitted.devices,
        policy,
        written: admitted.written,
    };
    let action = match known {
        None => AppliedAction::Created,
        Some(_) if same => AppliedAction::Unchanged,
        Some(_) => AppliedAction::Changed,
    };
    Ok((record, action))
}

/// Replaces the hidden secrets of a document by those of the stored one.
fn keep_secrets(
    admitted: &mut Admitted,
    policy: &mut Policy,
    known: Option<&PolicyRecord>,
) -> Result<(), Refusal> {
    let Policy::Notification { notification } = policy else { return Ok(()) };
    let stored = known.and_then(|known| match &known.policy {
        Policy::Notification { notification } => Some(&**notification),
        _ => None,
    });
    notification.keep_secrets(&mut admitted.written, stored).map_err(Refusal::Secret)
}

/// Plans a policy: its result, and unless it is unchanged its new record with the text for the
/// audit log.
pub(super) fn plan(
    model: &Model,
    document: Admitted,
    policy: Policy,
    now: u64,
) -> Result<(AppliedDocument, Option<(PolicyRecord, String)>), Refusal> {
    let (record, action) = next(model, document, policy, now)?;
    let known = model.policies.get(&record.key()).map(|known| &known.record);
    let (devices, device_count) = impact::chosen(model, &record.devices);
    let documents = Documents::of(model).with_policy(&record);
    let mut warnings: Vec<String> = impact::nobody(device_count).into_iter().collect();
    let kind = record.policy.kind();
    let Preview { changed, streams, warning } = kinds::of(kind).preview(&documents, &record);
    warnings.extend(warning);
    let result = AppliedDocument {
        effect: policies::effect(kind, device_count, &changed, streams),
        changed_streams: streams,
        kind: kind.document().into(),
        name: record.name.to_string(),
        action,
        revision: 0,
        warnings,
        device_count,
        devices,
        before: known.map(view::policy_document),
        after: view::policy_document(&record),
        changed_devices: changed,
    };
    let message = format!("{}, for {}", action.as_str(), count(device_count, "device"));
    Ok((result, (action != AppliedAction::Unchanged).then_some((record, message))))
}

/// Puts a policy's record into a change. The desired states are set apart from it.
pub(super) fn put(change: &mut Change<'_>, mut record: PolicyRecord, by: &str, message: String) {
    let policy_key = record.key();
    let (word, name) = (policy_key.0.word(), record.name.to_string());
    change.event(word, &name, "changed", message.clone());
    change.audit(by, &format!("{word}.apply"), &name, message);
    record.version = change.version();
    change.put(key::policy(&policy_key), &record);
    let rules = policy_key.0 == PolicyKind::DevicePolicy;
    change.model.policies.insert(policy_key, KnownPolicy::new(record));
    if rules {
        change.model.settle_rules();
    }
}

/// Deletes a policy document; devices go on without it. `expected` is the resource version that it
/// must have, if that matters.
///
/// # Errors
/// [`Refusal::Unknown`] or [`Refusal::Changed`].
pub fn delete(
    change: &mut Change<'_>,
    kind: PolicyKind,
    name: &str,
    expected: Option<u64>,
    by: &str,
) -> Result<(), Refusal> {
    let unknown = || Refusal::unknown(kind.word(), name);
    let gone = (kind, name.parse().map_err(|_| unknown())?);
    let present = change.model.policies.get(&gone).ok_or_else(unknown)?.record.version;
    if expected.is_some_and(|expected| expected != present) {
        return Err(Refusal::Changed { kind: kind.word(), name: gone.1, present });
    }
    let desired = desired::diff(&Documents::of(change.model).without_policy(&gone));
    change.model.policies.remove(&gone);
    change.delete(key::policy(&gone));
    if kind == PolicyKind::DevicePolicy {
        change.model.settle_rules();
    }
    change.set_all_desired(desired);
    change.event(kind.word(), name, "deleted", format!("deleted by {by}"));
    change.audit(by, &format!("{}.delete", kind.word()), name, String::new());
    Ok(())
}
