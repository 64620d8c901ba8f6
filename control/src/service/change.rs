//! One change: the model in memory, what is written to the store for it, and what is told to others
//! once it is durable.

use holdfast_base::ids::{DeviceId, Name};
use serde::Serialize;

use crate::api::Event;
use crate::api::time::rfc3339;
use crate::core::model::{Model, key};
use crate::core::placement::Wanted;
use crate::core::records::{AccessRecord, AuditRecord, MAX_AUDIT};
use crate::core::timeline::{EventRecord, What};
use crate::store::Batch;

/// Notices that are sent once the change is durable.
#[derive(Debug, Default)]
pub(super) struct After {
    /// Events for those who watch, each with its resource version.
    pub(super) events: Vec<(u64, Event)>,
    /// Devices whose desired state changed.
    pub(super) desired: Vec<DeviceId>,
    /// Devices whose connection is to end.
    pub(super) disconnect: Vec<DeviceId>,
}

/// Change under way. A change must make all its checks before it touches the model: an error that
/// is returned later would leave the memory and the store different.
pub(crate) struct Change<'a> {
    pub(crate) model: &'a mut Model,
    pub(crate) now: u64,
    batch: Batch,
    after: After,
    living: bool,
}

impl<'a> Change<'a> {
    pub(super) fn new(model: &'a mut Model, now: u64) -> Self {
        model.batches += 1;
        Self { model, now, batch: Batch::default(), after: After::default(), living: false }
    }

    /// Ends the change. Returns its batch's number, what to write, and what to tell once that is
    /// durable.
    pub(super) fn finish(mut self) -> (u64, Batch, After) {
        if !self.batch.writes.is_empty() || self.living {
            self.model.meta.alive = self.now;
            let meta = self.model.meta.clone();
            self.put(key::META.into(), &meta);
        }
        (self.model.batches, self.batch, self.after)
    }

    /// Writes the control plane's own record (with the time at which it was last alive) even when
    /// nothing else is written.
    pub(crate) fn live(&mut self) {
        self.living = true;
    }

    /// Takes the next resource version.
    pub(crate) fn version(&mut self) -> u64 {
        self.model.meta.version += 1;
        self.model.meta.version
    }

    /// Writes a record as JSON.
    pub(crate) fn put<T: Serialize>(&mut self, key: String, value: &T) {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.batch.put(key, bytes),
            Err(error) => tracing::error!(key, %error, "a record has no JSON: this is a defect"),
        }
    }

    /// Deletes everything in the store before the batch's writes.
    pub(crate) fn clear(&mut self) {
        self.batch.clear = true;
    }

    /// Writes a value that is JSON already.
    pub(crate) fn put_bytes(&mut self, key: String, value: Vec<u8>) {
        self.batch.put(key, value);
    }

    pub(crate) fn delete(&mut self, key: String) {
        self.batch.delete(key);
    }

    /// Writes a device's record (identity, labels, standing) as the model has it.
    pub(crate) fn put_device(&mut self, name: &Name) {
        self.model.settle_rule(name);
        if let Some(device) = self.model.devices.get(name) {
            let bytes = serde_json::to_vec(&device.record);
            self.raw(key::device(name), bytes);
        }
    }

    /// Adds the beginning of a device's connection to its timeline, if that is still unwritten. It
    /// is written late, together with the device's first report or its next event, which saves a
    /// write for each connection.
    pub(crate) fn put_arrival(&mut self, name: &Name) {
        let Some(device) = self.model.devices.get_mut(name) else { return };
        let at = std::mem::take(&mut device.live.unwritten);
        if at > 0 {
            let address = device.report.address;
            self.happened(name, (at, false), [What::Connected { address }]);
        }
    }

    /// Adds events to a device's timeline and to the fleet's. `when` is their time in seconds since
    /// 1970, and whether they happened while the device was away. The caller must also write the
    /// device's report, which counts the events.
    pub(crate) fn happened(
        &mut self,
        name: &Name,
        when: (u64, bool),
        events: impl IntoIterator<Item = What>,
    ) {
        for what in events {
            let Some(device) = self.model.devices.get_mut(name) else { return };
            let recent = device.recent.get_or_insert_default();
            let fleet = &mut self.model.meta.events;
            let kept = recent.keep(&mut device.report.events, fleet, when, what);
            self.put(key::history(name, kept.ring, kept.place), &kept.record);
            if let Some((number, place)) = kept.fleet {
                let record = EventRecord { number, device: Some(name.clone()), ..kept.record };
                self.put(key::fleet_event(kept.ring, place), &record);
            }
        }
    }

    /// Writes a device's reported state as the model has it.
    pub(crate) fn put_report(&mut self, name: &Name) {
        self.put_arrival(name);
        if let Some(device) = self.model.devices.get(name) {
            let bytes = serde_json::to_vec(&device.report);
            self.raw(key::report(name), bytes);
        }
    }

    fn raw(&mut self, key: String, bytes: Result<Vec<u8>, serde_json::Error>) {
        match bytes {
            Ok(bytes) => self.batch.put(key, bytes),
            Err(error) => tracing::error!(key, %error, "a record has no JSON: this is a defect"),
        }
    }

    /// Sets a device's desired state and gives it the next generation. Does nothing when the device
    /// should already run just this.
    pub(crate) fn set_desired(&mut self, name: &Name, wanted: Wanted) {
        let number = self.model.batches;
        let floor = self.model.meta.generation_floor;
        let paused = self.model.paused(name, &wanted.workloads);
        let Some(device) = self.model.devices.get_mut(name) else { return };
        // A device that was deleted and enrols again may have an old desired state on its disk. An
        // empty set is then something to send, see `Meta::generation_floor`.
        let unsaid = device.desired.generation == 0 && floor > 0;
        let Wanted { workloads, data } = wanted;
        let same = device.desired.workloads == workloads
            && device.desired.data == data
            && device.desired.paused == paused;
        if same && !unsaid {
            return;
        }
        device.desired.generation = device.desired.generation.max(floor) + 1;
        device.desired.workloads = workloads;
        device.desired.workloads.shrink_to_fit();
        device.desired.data = data;
        device.desired.data.shrink_to_fit();
        device.desired.paused = paused;
        device.desired_in = number;
        self.put_desired(name);
        let id = self.model.id(name);
        self.after.desired.push(id);
    }

    /// Writes a device's desired state as the model has it.
    pub(crate) fn put_desired(&mut self, name: &Name) {
        if let Some(device) = self.model.devices.get(name) {
            let bytes = serde_json::to_vec(&device.desired);
            self.raw(key::desired(name), bytes);
        }
    }

    /// Ends the device's connection once the change is durable.
    pub(crate) fn disconnect(&mut self, name: &Name) {
        let id = self.model.id(name);
        self.after.disconnect.push(id);
    }

    /// Sends an event to those who watch, once the change is durable.
    pub(crate) fn event(&mut self, kind: &str, name: &str, action: &str, message: String) {
        let (kind, action) = (kind.into(), action.into());
        let at = rfc3339(self.now);
        let event = Event { kind, name: name.into(), action, at, message, parts: Vec::new() };
        let version = self.version();
        self.after.events.push((version, event));
    }

    /// Sends an event that names the parts of a device that changed, so that readers read only
    /// those again.
    pub(crate) fn device_event(&mut self, name: &Name, message: String, parts: Vec<String>) {
        self.event("device", name.as_str(), "changed", message);
        if let Some((_, event)) = self.after.events.last_mut() {
            event.parts = parts;
        }
    }

    /// Comment of an access token, by which people know it.
    fn name_of(&self, access: &str) -> Option<Box<str>> {
        self.model.access.get(access).and_then(AccessRecord::title).map(Into::into)
    }

    /// Adds an entry to the audit log: who did what to which object.
    pub(crate) fn audit(&mut self, by: &str, action: &str, subject: &str, message: String) {
        self.audit_revision(by, action, subject, message, None);
    }

    /// Adds an entry to the audit log about a new revision of a workload.
    pub(crate) fn audit_revision(
        &mut self,
        by: &str,
        action: &str,
        subject: &str,
        message: String,
        revision: Option<u64>,
    ) {
        let number = self.model.meta.next_audit;
        self.model.meta.next_audit += 1;
        let subject_name = match action.split('.').next() {
            Some("access" | "session") => self.name_of(subject),
            _ => None,
        };
        let record = AuditRecord {
            number,
            at: self.now,
            by: by.into(),
            by_name: self.name_of(by),
            action: action.into(),
            subject: subject.into(),
            subject_name,
            revision,
            message,
        };
        self.put(key::audit(number), &record);
        self.model.audit.push_back(record);
        while self.model.audit.len() as u64 > MAX_AUDIT {
            if let Some(oldest) = self.model.audit.pop_front() {
                self.delete(key::audit(oldest.number));
            }
        }
    }
}
