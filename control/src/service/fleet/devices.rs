//! Actions of people on devices: label, approve, revoke, delete.

use holdfast_base::ids::DeviceId;

use super::Fleet;
use crate::api::{self, LabelPatch};
use crate::core::audit::digest;
use crate::core::change::{Change, Was};
use crate::core::desired;
use crate::core::enrolment::check_labels;
use crate::core::jobs;
use crate::core::model::{Device, key, sha256};
use crate::core::placed::check_device;
use crate::core::records::{DesiredRecord, Standing};
use crate::core::rights::{Action, Actor};
use crate::core::streams::owner;
use crate::core::timeline::Ring;
use crate::core::view;
use crate::service::Failure;
use crate::service::rights::may_device;

fn known(change: &Change<'_>, name: &str) -> Result<Device, Failure> {
    change.model.devices.get(name).cloned().ok_or_else(|| Failure::no("device", name))
}

/// Records that a person changed a device: event, audit log, new resource version.
fn changed(change: &mut Change<'_>, was: &Device, by: &str, (action, message): (&str, &str)) {
    let name = &was.record.name;
    change.event("device", name.as_str(), "changed", message.to_owned());
    let entry = change.audit(by, action, name.as_str(), message.to_owned());
    entry.before = digest(&was.record);
    let (version, now) = (change.version(), change.now);
    if let Some(device) = change.model.devices.get_mut(name) {
        device.record.version = version;
        device.record.updated_at = now;
    }
    change.put_device(name);
}

/// Computes the new desired state of a device as it will be. Fails when it would be too large for
/// one message, or when the device lacks what a workload refers to.
fn placed(change: &Change<'_>, device: &Device) -> Result<Option<DesiredRecord>, Failure> {
    let next = desired::admit_device(change.model, device).map_err(|fault| Failure::Invalid {
        message: "the device cannot be given what its labels choose".into(),
        faults: vec![fault],
    })?;
    check_device(change.model, device, next.as_ref())?;
    Ok(next)
}

impl Fleet {
    /// Sets and removes a device's labels, and places workloads and policies anew.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], [`Failure::Conflict`] for another resource version, or
    /// [`Failure::Invalid`] for bad labels or a desired state that would be too large.
    pub async fn label(
        &self,
        actor: &Actor,
        name: &str,
        patch: LabelPatch,
    ) -> Result<api::Device, Failure> {
        let permit =
            may_device(actor, Action::LabelDevice, &self.documents.model(&actor.tenant), name)?;
        let by = permit.by();
        self.documents.change(&actor.tenant, |change| {
            let device = known(change, name)?;
            let version = device.record.version;
            if patch.resource_version.is_some_and(|expected| expected != version) {
                return Err(Failure::Conflict(format!(
                    "device {name} was changed by somebody else meanwhile (its resourceVersion is {version}): read it again"
                )));
            }
            let mut next = device.clone();
            let labels = &mut next.record.labels;
            for (key, value) in patch.labels {
                match value {
                    Some(value) => drop(labels.insert(key, value)),
                    None => drop(labels.remove(&key)),
                }
            }
            check_labels(labels).map_err(|fault| Failure::invalid(fault.to_string()))?;
            let name = device.record.name.clone();
            if !permit.sight().sees(labels) {
                return Err(Failure::Refused(format!(
                    "with these labels device {name} would be outside of what you reach, which is devices with {}: somebody whose role reaches both labels it",
                    permit.sight().words()
                )));
            }
            if *labels == device.record.labels {
                return Ok(view::device(&device, self.documents.now()));
            }
            let desired = placed(change, &next)?;
            change.model.devices.insert(name.clone(), next);
            changed(change, &device, by, ("device.label", "labels changed"));
            change.event_was(Was::Device(device.record.labels.clone()));
            if let Some(desired) = desired {
                change.set_desired(&name, desired);
            }
            known(change, name.as_str()).map(|device| view::device(&device, self.documents.now()))
        })
        .await
    }

    /// Approves a device that is pending. An approved device stays as it is.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], [`Failure::Conflict`] for a revoked device, or
    /// [`Failure::Invalid`] for a desired state that would be too large.
    pub async fn approve(&self, actor: &Actor, name: &str) -> Result<api::Device, Failure> {
        let permit =
            may_device(actor, Action::ApproveDevice, &self.documents.model(&actor.tenant), name)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                let device = known(change, name)?;
                let name = device.record.name.clone();
                match device.record.standing {
                    Standing::Approved => return Ok(view::device(&device, self.documents.now())),
                    Standing::Revoked => {
                        return Err(Failure::Conflict(format!(
                            "device {name} was revoked: delete it, and let it enrol anew"
                        )));
                    }
                    Standing::Pending => {}
                }
                let mut next = device.clone();
                next.record.standing = Standing::Approved;
                let desired = placed(change, &next)?;
                change.model.devices.insert(name.clone(), next);
                changed(change, &device, by, ("device.approve", "approved"));
                if let Some(desired) = desired {
                    change.set_desired(&name, desired);
                }
                known(change, name.as_str())
                    .map(|device| view::device(&device, self.documents.now()))
            })
            .await
    }

    /// Revokes a device: its connection ends and no further one is accepted. Its workloads keep
    /// running.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], or a [`Failure`] when the change cannot be stored.
    pub async fn revoke(&self, actor: &Actor, name: &str) -> Result<api::Device, Failure> {
        let permit =
            may_device(actor, Action::RevokeDevice, &self.documents.model(&actor.tenant), name)?;
        let by = permit.by();
        self.documents
            .change(&actor.tenant, |change| {
                let device = known(change, name)?;
                if device.record.standing == Standing::Revoked {
                    return Ok(view::device(&device, self.documents.now()));
                }
                let name = device.record.name.clone();
                if let Some(device) = change.model.devices.get_mut(&name) {
                    device.record.standing = Standing::Revoked;
                }
                changed(change, &device, by, ("device.revoke", "revoked"));
                change.disconnect(&name);
                known(change, name.as_str())
                    .map(|device| view::device(&device, self.documents.now()))
            })
            .await
    }

    /// Deletes a device with its timeline, its pauses and its stored data. Its certificate is no longer
    /// accepted, and its name is free.
    ///
    /// # Errors
    /// Returns [`Failure::NotFound`], or a [`Failure`] when the change cannot be stored.
    pub async fn delete_device(&self, actor: &Actor, name: &str) -> Result<(), Failure> {
        let permit =
            may_device(actor, Action::DeleteDevice, &self.documents.model(&actor.tenant), name)?;
        let by = permit.by();
        let (name, key) = self
            .documents
            .change(&actor.tenant, |change| {
                let device = known(change, name)?;
                let name = device.record.name.clone();
                change.model.devices.remove(&name);
                change.model.keys.remove(&sha256(device.record.public_key.as_bytes()));
                let floor = &mut change.model.meta.generation_floor;
                *floor = (*floor).max(device.desired.generation).max(1);
                for key in [key::device(&name), key::desired(&name), key::report(&name)] {
                    change.delete(key);
                }
                for ring in Ring::ALL {
                    for place in 0..device.report.events.of(ring).min(ring.size()) {
                        change.delete(key::history(&name, ring, place));
                    }
                }
                jobs::forget(change, &name);
                change.disconnect(&name);
                change.event("device", name.as_str(), "deleted", format!("deleted by {by}"));
                change.event_was(Was::Device(device.record.labels.clone()));
                let entry = change.audit(by, "device.delete", name.as_str(), String::new());
                entry.before = digest(&device.record);
                Ok((name, device.record.public_key))
            })
            .await?;
        let device = DeviceId { tenant: actor.tenant.clone(), device: name };
        self.data.forget(device, owner(&key));
        Ok(())
    }
}
