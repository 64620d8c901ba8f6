//! Policies (documents other than workloads, such as `Stream` and `LinkBudget`): applied, placed on
//! devices as workloads are, listed and deleted. They have no stored revisions, because a change
//! restarts nothing.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_records::DataPolicies;

use super::alarms::{Standings, notification_status};
use super::apply::approved;
use super::read::page;
use super::{Failure, Listed, Query, Service};
use crate::api::count::{count, either};
use crate::api::{self, ChangedDevices, Explanation, PolicyStatus};
use crate::core::absence;
use crate::core::admission::Admitted;
use crate::core::change::Change;
use crate::core::model::{Device, KnownPolicy, Model, key, policy_size};
use crate::core::placement::{self, Wanted};
use crate::core::policies;
use crate::core::records::{Policy, PolicyKey, PolicyKind, PolicyRecord};
use crate::core::view;

/// Maximum number of devices that a result names in each of its lists: gain, lose, update.
const CHANGED: usize = 100;

/// Maximum number of reasons in an explanation.
const REASONS: usize = 20;

/// Computes a policy's next record and the action (`created`, `changed`, `unchanged`).
///
/// # Errors
/// Returns [`Failure::Conflict`] when there are too many of its kind, and [`Failure::Invalid`] when
/// a hidden secret is not stored.
pub(super) fn next(
    model: &Model,
    mut admitted: Admitted,
    mut policy: Policy,
    now: u64,
) -> Result<(PolicyRecord, &'static str), Failure> {
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
        return Err(Failure::Conflict(format!("there are {most} {plural}: delete some")));
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
        None => "created",
        Some(_) if same => "unchanged",
        Some(_) => "changed",
    };
    Ok((record, action))
}

/// Replaces hidden secrets of a document by the stored ones.
fn keep_secrets(
    admitted: &mut Admitted,
    policy: &mut Policy,
    known: Option<&PolicyRecord>,
) -> Result<(), Failure> {
    let Policy::Notification { notification } = policy else { return Ok(()) };
    let stored = known.and_then(|known| match &known.policy {
        Policy::Notification { notification } => Some(&**notification),
        _ => None,
    });
    notification.keep_secrets(&mut admitted.written, stored).map_err(|faults| Failure::Invalid {
        message: "refused, a hidden secret is not stored".into(),
        faults,
    })
}

/// View of all policies as they will be after a change, without copying the others.
pub(super) struct Overlay<'a> {
    all: BTreeMap<PolicyKey, &'a PolicyRecord>,
    touched: BTreeSet<PolicyKey>,
}

impl<'a> Overlay<'a> {
    /// Makes a view with these policies added or replaced.
    pub(super) fn with(model: &'a Model, changed: &[&'a PolicyRecord]) -> Self {
        let mut overlay = Self::of(model);
        for record in changed {
            overlay.all.insert(record.key(), record);
            overlay.touched.insert(record.key());
        }
        overlay
    }

    /// Makes a view without one policy.
    fn without(model: &'a Model, gone: &PolicyKey) -> Self {
        let mut overlay = Self::of(model);
        overlay.all.remove(gone);
        overlay.touched.insert(gone.clone());
        overlay
    }

    /// Makes a view of the present policies.
    fn of(model: &'a Model) -> Self {
        let known = model.policies.iter();
        let all = known.map(|(key, known)| (key.clone(), &known.record)).collect();
        Self { all, touched: BTreeSet::new() }
    }

    /// Returns the policies that a device should follow by this view, when they differ from its
    /// desired state.
    pub(super) fn changed(&self, device: &Device) -> Option<Vec<(PolicyKey, u64)>> {
        let labels = &device.record.labels;
        let concerned = self.touched.iter().filter(|key| key.0.on_devices()).any(|key| {
            self.all.get(key).is_some_and(|record| record.devices.matches(labels))
                || device.desired.data.iter().any(|(known, _)| known == key)
        });
        if !concerned {
            return None;
        }
        let data = placement::policies(labels, self.all.values().copied());
        (data != device.desired.data).then_some(data)
    }

    /// Size of a policy in a desired state, in bytes.
    pub(super) fn size(&self, model: &Model, key: &PolicyKey) -> usize {
        match self.all.get(key) {
            Some(record) if self.touched.contains(key) => policy_size(record),
            _ => model.policies.get(key).map_or(0, |known| known.encoded),
        }
    }

    /// Counts and names the approved devices that gain, lose or update a policy by this view.
    pub(super) fn changes(&self, model: &Model, key: &PolicyKey) -> ChangedDevices {
        if key.0 == PolicyKind::DevicePolicy {
            return absence::changes(model, self.all.values().copied(), &key.1, CHANGED);
        }
        let mut all = ChangedDevices::default();
        let of = |data: &[(PolicyKey, u64)]| {
            data.iter().find(|(known, _)| known == key).map(|(_, revision)| *revision)
        };
        for device in approved(model) {
            let Some(data) = self.changed(device) else { continue };
            let (names, count) = match (of(&device.desired.data), of(&data)) {
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

    /// Number of streams on devices whose effective policy changes.
    pub(super) fn changed_streams(&self, model: &Model) -> u64 {
        let of = |device: &Device| {
            let data = self.changed(device)?;
            let next: Vec<&PolicyRecord> =
                data.iter().filter_map(|(key, _)| self.all.get(key).copied()).collect();
            Some(policies::changed_streams(model, device, &next))
        };
        approved(model).filter_map(of).sum()
    }

    /// Returns a warning when another policy of the same kind takes precedence on some of the
    /// devices.
    pub(super) fn shadowed(&self, model: &Model, record: &PolicyRecord) -> Option<String> {
        if record.policy.kind() == PolicyKind::DevicePolicy {
            return absence::shadowed(model, self.all.values().copied(), record);
        }
        if record.policy.kind() != PolicyKind::LinkBudget {
            return None;
        }
        let mut names: Vec<&str> = Vec::new();
        let mut count = 0;
        for device in approved(model) {
            let labels = &device.record.labels;
            if !record.devices.matches(labels) {
                continue;
            }
            let first = self.all.iter().find(|((kind, _), other)| {
                *kind == PolicyKind::LinkBudget && other.devices.matches(labels)
            });
            if let Some(((_, name), _)) = first
                && *name != record.name
            {
                count += 1;
                if !names.contains(&name.as_str()) && names.len() < 5 {
                    names.push(name.as_str());
                }
            }
        }
        (count > 0).then(|| {
            format!(
                "on {count} of its devices another budget holds, the first by name: {}",
                names.join(", ")
            )
        })
    }
}

/// Puts a policy's record into a change. The caller sets the devices' desired states.
pub(super) fn put_policy(
    change: &mut Change<'_>,
    mut record: PolicyRecord,
    by: &str,
    message: String,
) {
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

/// Explains a notification's delivery.
fn explain_delivery(name: &str, delivery: &api::Delivery, devices: u64) -> Explanation {
    let mut reasons = Vec::new();
    if let (Some(since), Some(why)) = (&delivery.failing_since, &delivery.last_error) {
        reasons.push(format!("every attempt since {since} failed: {why}"));
    }
    if delivery.queued > 0 {
        reasons.push(format!("{} messages wait to be delivered", delivery.queued));
    }
    if delivery.dropped > 0 {
        reasons.push(format!("{} messages were given up", delivery.dropped));
    }
    if devices == 0 {
        reasons.push("its spec.devices matches the labels of no device".into());
    }
    let reached = match (&delivery.failing_since, &delivery.last_success) {
        (Some(_), _) => "its receiver is not reached".to_owned(),
        (None, Some(at)) => format!("its receiver was last reached at {at}"),
        (None, None) => "nothing was told yet".to_owned(),
    };
    let summary = format!("alarms of {devices} devices to {}: {reached}", delivery.place);
    let settled = delivery.failing_since.is_none() && devices > 0;
    Explanation {
        kind: "notification".into(),
        name: name.into(),
        settled,
        summary,
        reasons,
        hints: Vec::new(),
    }
}

/// Computes a policy's status. `told` must be taken before the model is locked; `statuses` holds
/// those of the policies that devices follow.
fn status_of(
    told: &Standings,
    statuses: &mut BTreeMap<holdfast_base::ids::Name, PolicyStatus>,
    model: &Model,
    key: &PolicyKey,
    record: &PolicyRecord,
    now: u64,
) -> PolicyStatus {
    match &record.policy {
        Policy::Notification { notification } => {
            notification_status(told, model, record, notification)
        }
        Policy::DevicePolicy { .. } => absence::policy_status(model, &key.1, now),
        Policy::Stream { .. } | Policy::LinkBudget { .. } => {
            statuses.remove(&key.1).unwrap_or_default()
        }
    }
}

impl Service {
    /// Lists policies of one kind in the order of their names.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`] for a bad query.
    pub fn policies(&self, kind: PolicyKind, query: &Query) -> Listed<api::Policy> {
        let limit = query.limit()?;
        let after = query.after.as_deref().unwrap_or_default();
        let told = self.standings(kind);
        let model = self.model();
        let mut statuses = policies::statuses(&model, kind, None);
        let items = model
            .policies
            .iter()
            .filter(|((of, name), _)| *of == kind && name.as_str() > after)
            .filter(|(_, known)| query.chooses(&known.record.labels))
            .take(limit + 1)
            .map(|(key, known)| {
                let status =
                    status_of(&told, &mut statuses, &model, key, &known.record, self.now());
                (known.record.name.to_string(), view::policy(&known.record, status))
            })
            .collect();
        Ok(page(items, limit, model.meta.version))
    }

    /// Returns one policy.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown name.
    pub fn policy(&self, kind: PolicyKind, name: &str) -> Result<api::Policy, Failure> {
        let none = || Failure::no(kind.word(), name);
        let told = self.standings(kind);
        let model = self.model();
        let wanted = (kind, name.parse().map_err(|_| none())?);
        let known = model.policies.get(&wanted).ok_or_else(none)?;
        let mut statuses = policies::statuses(&model, kind, Some(&wanted.1));
        let status = status_of(&told, &mut statuses, &model, &wanted, &known.record, self.now());
        Ok(view::policy(&known.record, status))
    }

    /// Lists the devices whose desired state holds a policy, in the order of their names, with what
    /// it does there.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown policy, and [`Failure::Invalid`] for a bad
    /// query.
    pub fn policy_devices(
        &self,
        kind: PolicyKind,
        name: &str,
        query: &Query,
    ) -> Listed<api::PolicyDevice> {
        let limit = query.limit()?;
        let none = || Failure::no(kind.word(), name);
        let after = query.after.as_deref().unwrap_or_default();
        let model = self.model();
        let wanted = (kind, name.parse().map_err(|_| none())?);
        let record = &model.policies.get(&wanted).ok_or_else(none)?.record;
        let items = approved(&model)
            .filter(|device| device.record.name.as_str() > after)
            .filter(|device| query.chooses(&device.record.labels))
            .filter(|device| policies::is_desired(device, &wanted))
            .take(limit + 1)
            .map(|device| {
                let name = device.record.name.to_string();
                (name, policies::on_device(&model, device, record))
            })
            .collect();
        Ok(page(items, limit, model.meta.version))
    }

    /// Deletes a policy; devices fall back to other policies or their defaults. When `expected` is
    /// given, the policy must still have this resource version.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], [`Failure::Conflict`] for another resource version, or a
    /// [`Failure`] when the change cannot be stored.
    pub async fn delete_policy(
        &self,
        kind: PolicyKind,
        name: &str,
        expected: Option<u64>,
        by: &str,
    ) -> Result<(), Failure> {
        self.change(|change| {
            let none = || Failure::no(kind.word(), name);
            let gone = (kind, name.parse().map_err(|_| none())?);
            let present = change.model.policies.get(&gone).ok_or_else(none)?.record.version;
            if expected.is_some_and(|expected| expected != present) {
                return Err(Failure::Conflict(format!(
                    "{} {name} was changed by somebody else meanwhile (its resourceVersion is {present}): read it again",
                    kind.word()
                )));
            }
            let overlay = Overlay::without(change.model, &gone);
            let sets: Vec<_> = approved(change.model)
                .filter_map(|device| {
                    let data = overlay.changed(device)?;
                    let workloads = device.desired.workloads.clone();
                    Some((device.record.name.clone(), Wanted { workloads, data }))
                })
                .collect();
            change.model.policies.remove(&gone);
            change.delete(key::policy(&gone));
            if kind == PolicyKind::DevicePolicy {
                change.model.settle_rules();
            }
            for (device, wanted) in sets {
                change.set_desired(&device, wanted);
            }
            change.event(kind.word(), name, "deleted", format!("deleted by {by}"));
            change.audit(by, &format!("{}.delete", kind.word()), name, String::new());
            Ok(())
        })
        .await?;
        if kind == PolicyKind::DevicePolicy {
            self.note_every_due();
        }
        Ok(())
    }

    /// Explains why a policy is not in force on all of its devices.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`] for an unknown policy.
    pub(super) fn explain_policy(
        &self,
        kind: PolicyKind,
        name: &str,
    ) -> Result<Explanation, Failure> {
        let none = || Failure::no(kind.word(), name);
        let told = self.standings(kind);
        let model = self.model();
        let wanted = (kind, name.parse().map_err(|_| none())?);
        let record = &model.policies.get(&wanted).ok_or_else(none)?.record;
        if kind == PolicyKind::DevicePolicy {
            return Ok(absence::explain_policy(&model, record, self.now()));
        }
        let mut statuses = policies::statuses(&model, kind, Some(&wanted.1));
        let status = status_of(&told, &mut statuses, &model, &wanted, record, self.now());
        if let Some(delivery) = &status.delivery {
            return Ok(explain_delivery(name, delivery, status.devices));
        }
        let mut reasons = status.misfits.clone();
        for device in approved(&model).filter(|it| policies::is_desired(it, &wanted)) {
            let on = &device.record.name;
            if device.report.applied.generation != device.desired.generation {
                let state = if device.live.connection == 0 { "offline, " } else { "" };
                reasons.push(format!("{on}: {state}has not applied it yet"));
            }
            if reasons.len() > REASONS {
                break;
            }
        }
        if reasons.len() > REASONS {
            reasons.truncate(REASONS);
            reasons.push("and more".into());
        }
        let settled =
            status.devices > 0 && status.applied == status.devices && status.problems == 0;
        let summary = format!(
            "in force on {} of {} ({})",
            status.applied,
            count(status.devices, "device"),
            either(status.problems, "reports a problem", "report a problem")
        );
        Ok(Explanation {
            kind: kind.word().into(),
            name: name.into(),
            settled,
            summary,
            reasons,
            hints: Vec::new(),
        })
    }

    /// Returns the policies of a device's desired state.
    pub fn data_policies(&self, device: &str) -> Option<DataPolicies> {
        let model = self.model();
        let (name, _) = model.devices.get_key_value(device)?;
        model.desired_state(name)?.data.map(|data| *data)
    }
}
