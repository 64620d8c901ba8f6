//! Policy documents in a plan: the next record, what it does on devices, and their deletion. They
//! have no stored revisions, because a change restarts nothing.
//!
//! See decision 0119.

use std::collections::BTreeMap;

use super::impact;
use super::planned::{Next, Planned, Refusal};
use super::references;
use crate::admission::{Admitted, What};
use crate::audit::digest;
use crate::change::{Change, Was};
use crate::desired::{self, Documents};
use crate::granted;
use crate::kinds::PolicyRules;
use crate::model::{KnownPolicy, Model, key};
use crate::notification::Hidden;
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
    rules: &dyn PolicyRules,
    mut admitted: Admitted,
    mut policy: Policy,
    now: u64,
) -> Result<(PolicyRecord, AppliedAction), Refusal> {
    let key = (policy.kind(), admitted.name.clone());
    let known = model.policies.get(&key).map(|known| &known.record);
    rules
        .keep_secrets(&mut admitted.written, &mut policy, known.map(|known| &known.policy))
        .map_err(Refusal::Secret)?;
    let same_spec = known.is_some_and(|known| {
        known.written == admitted.written
            && known.policy == policy
            && known.devices == admitted.devices
    });
    let same = same_spec && known.is_some_and(|known| known.labels == admitted.labels);
    let of_kind = model.policies.keys().filter(|(kind, _)| *kind == key.0).count();
    let (most, plural) = (key.0.facts().most, key.0.plural());
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

/// Plans a policy of a kind with these rules: its result, and unless it is unchanged its new record with the text for the
/// audit log.
///
/// # Errors
/// [`Refusal::Full`], or [`Refusal::Secret`] when a hidden secret is not stored.
pub(crate) fn plan(
    model: &Model,
    rules: &dyn PolicyRules,
    document: Admitted,
    now: u64,
) -> Result<Planned, Refusal> {
    let What::Policy(policy) = document.what.clone() else {
        return Err(Refusal::unknown("policy", document.name.as_str()));
    };
    let (record, action) = next(model, rules, document, *policy, now)?;
    let known = model.policies.get(&record.key()).map(|known| &known.record);
    let kind = record.policy.kind();
    let documents = Documents::of(model).with_policy(&record);
    let preview = rules.preview(&documents, &record);
    let (mut devices, mut device_count, mut warnings) = (Vec::new(), 0, Vec::new());
    let mut message = action.as_str().to_owned();
    if kind.facts().chooses {
        (devices, device_count) = impact::chosen(model, &record.devices);
        warnings.extend(impact::nobody(device_count));
        message.push_str(&format!(", for {}", count(device_count, "device")));
    }
    warnings.extend(preview.warning.clone());
    let result = AppliedDocument {
        effect: rules.effect(device_count, &preview),
        changed_streams: preview.streams,
        kind: kind.document().into(),
        name: record.name.to_string(),
        action,
        revision: 0,
        warnings,
        device_count,
        devices,
        before: known.map(|known| view::policy_document(known, rules.shown(known))),
        after: view::policy_document(&record, rules.shown(&record)),
        changed_devices: preview.changed,
    };
    let next =
        (action != AppliedAction::Unchanged).then_some(Next::Policy(Box::new(record), message));
    Ok(Planned { result, next })
}

/// Puts a policy's record into a change. The desired states are set apart from it.
pub(super) fn put(change: &mut Change<'_>, mut record: PolicyRecord, by: &str, message: String) {
    let policy_key = record.key();
    let (word, name) = (policy_key.0.word(), record.name.to_string());
    change.event(word, &name, "changed", message.clone());
    let known = change.model.policies.get(&policy_key).map(|known| &known.record);
    let (was, before) = (known.map(|known| known.devices.clone()), known.and_then(seen));
    if let Some(devices) = was {
        change.event_was(Was::Document(devices));
    }
    let after = seen(&record);
    let entry = change.audit(by, &format!("{word}.apply"), &name, message);
    (entry.before, entry.after) = (before, after);
    record.version = change.version();
    change.put(key::policy(&policy_key), &record);
    let rules = policy_key.0.decides_absence();
    change.model.policies.insert(policy_key, KnownPolicy::new(record));
    if rules {
        change.model.settle_rules();
    }
}

/// Deletes a policy document; devices go on without it. `expected` is the resource version that it
/// must have, if that matters.
///
/// # Errors
/// [`Refusal::Unknown`], [`Refusal::Changed`] or [`Refusal::Used`].
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
    let users = references::users_of(change.model, &gone);
    if !users.is_empty() {
        return Err(Refusal::Used { kind: kind.word(), name: gone.1, by: users });
    }
    if kind.administers() && granted::locks_out(change.model, std::iter::empty(), Some(&gone)) {
        return Err(Refusal::NoAdmin);
    }
    let desired = desired::diff(&Documents::of(change.model).without_policy(&gone));
    let was = change.model.policies.remove(&gone);
    change.delete(key::policy(&gone));
    if kind.decides_absence() {
        change.model.settle_rules();
    }
    change.set_all_desired(desired);
    change.event(kind.word(), name, "deleted", format!("deleted by {by}"));
    let before = was.as_ref().and_then(|known| seen(&known.record));
    if let Some(known) = was {
        change.event_was(Was::Document(known.record.devices));
    }
    let entry = change.audit(by, &format!("{}.delete", kind.word()), name, String::new());
    entry.before = before;
    Ok(())
}

/// Digest of a document for the audit log. Of what is secret in it, the digests are within that are
/// keyed by random bytes: a plain one would tell a value that can be guessed.
fn seen(record: &PolicyRecord) -> Option<Box<str>> {
    let secrets: BTreeMap<&str, &str> = match &record.policy {
        Policy::Secret { secret } => {
            let keys = secret.data.keys();
            keys.filter_map(|key| Some((key.as_str(), &*secret.value(key)?.digest))).collect()
        }
        Policy::Notification { notification } => hidden(&notification.hidden),
        Policy::AuditSink { sink } => hidden(&sink.hidden),
        _ => BTreeMap::new(),
    };
    digest(&(record.policy.kind().rules().shown(record), secrets))
}

fn hidden(all: &BTreeMap<String, Hidden>) -> BTreeMap<&str, &str> {
    let sealed = all.iter().filter_map(|(path, hidden)| match hidden {
        Hidden::Sealed(value) => Some((path.as_str(), &*value.digest)),
        // What is referred to stands in the document itself.
        Hidden::Secret(_) => None,
    });
    sealed.collect()
}
