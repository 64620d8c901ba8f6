//! One change: the model in memory, what goes to the store for it, and what is told once it is
//! safe there.
//! See decisions 0018, 0027 and 0126.

use holdfast_base::ids::{DeviceId, Name};
use serde::Serialize;

use crate::api::Event;
use crate::api::time::rfc3339;
use crate::core::model::{Model, key};
use crate::core::placement::Wanted;
use crate::core::records::{AccessRecord, AuditRecord, MAX_AUDIT};
use crate::core::timeline::{EventRecord, What};
use crate::store::Batch;

/// What is told once the change is safe.
#[derive(Debug, Default)]
pub(super) struct After {
    pub(super) events: Vec<(u64, Event)>,
    pub(super) desired: Vec<DeviceId>,
    pub(super) disconnect: Vec<DeviceId>,
}

/// A change under way. Whoever makes it decides first and changes then: an error returned after
/// the model was touched would leave memory and disk apart.
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

    /// What is to be stored, its number, and what is told then.
    pub(super) fn finish(mut self) -> (u64, Batch, After) {
        if !self.batch.writes.is_empty() || self.living {
            self.model.meta.alive = self.now;
            let meta = self.model.meta.clone();
            self.put(key::META.into(), &meta);
        }
        (self.model.batches, self.batch, self.after)
    }

    /// Stores that the control plane lives, also when nothing else is stored.
    pub(crate) fn live(&mut self) {
        self.living = true;
    }

    /// The next resource version.
    pub(crate) fn version(&mut self) -> u64 {
        self.model.meta.version += 1;
        self.model.meta.version
    }

    pub(crate) fn put<T: Serialize>(&mut self, key: String, value: &T) {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.batch.put(key, bytes),
            Err(error) => tracing::error!(key, %error, "a record has no JSON: this is a defect"),
        }
    }

    /// Everything that is stored goes first.
    pub(crate) fn clear(&mut self) {
        self.batch.clear = true;
    }

    /// Stores a value that is JSON already.
    pub(crate) fn put_bytes(&mut self, key: String, value: Vec<u8>) {
        self.batch.put(key, value);
    }

    pub(crate) fn delete(&mut self, key: String) {
        self.batch.delete(key);
    }

    /// Stores who a device is, as the model has it.
    pub(crate) fn put_device(&mut self, name: &Name) {
        self.model.settle_rule(name);
        if let Some(device) = self.model.devices.get(name) {
            let bytes = serde_json::to_vec(&device.record);
            self.raw(key::device(name), bytes);
        }
    }

    /// Writes to a device's timeline that its connection began, if that is still to be written.
    /// It waits for the device's first report, or for what else is written of it.
    pub(crate) fn put_arrival(&mut self, name: &Name) {
        let Some(device) = self.model.devices.get_mut(name) else { return };
        let at = std::mem::take(&mut device.live.unwritten);
        if at > 0 {
            let address = device.report.address;
            self.happened(name, (at, false), [What::Connected { address }]);
        }
    }

    /// Writes to a device's timeline, and to the fleet's, what happened to it at this time; whether
    /// while it was away. The device's record, which counts it, is to be written too.
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

    /// Stores what a device said, as the model has it.
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

    /// A device should run and do this from now on; nothing happens when it should already.
    pub(crate) fn set_desired(&mut self, name: &Name, wanted: Wanted) {
        let number = self.model.batches;
        let floor = self.model.meta.generation_floor;
        let paused = self.model.paused(name, &wanted.workloads);
        let Some(device) = self.model.devices.get_mut(name) else { return };
        // Whoever was deleted and comes back may have an old state on its disk: an empty set is
        // then something to say, see `Meta::generation_floor`.
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

    /// Stores what a device should run, as the model has it.
    pub(crate) fn put_desired(&mut self, name: &Name) {
        if let Some(device) = self.model.devices.get(name) {
            let bytes = serde_json::to_vec(&device.desired);
            self.raw(key::desired(name), bytes);
        }
    }

    /// Tells the device's connection to read its desired state once this is safe.
    pub(crate) fn disconnect(&mut self, name: &Name) {
        let id = self.model.id(name);
        self.after.disconnect.push(id);
    }

    /// Tells those who watch.
    pub(crate) fn event(&mut self, kind: &str, name: &str, action: &str, message: String) {
        let (kind, action) = (kind.into(), action.into());
        let at = rfc3339(self.now);
        let event = Event { kind, name: name.into(), action, at, message, parts: Vec::new() };
        let version = self.version();
        self.after.events.push((version, event));
    }

    /// Tells those who watch which parts of a device changed, so that they read no others anew.
    pub(crate) fn device_event(&mut self, name: &Name, message: String, parts: Vec<String>) {
        self.event("device", name.as_str(), "changed", message);
        if let Some((_, event)) = self.after.events.last_mut() {
            event.parts = parts;
        }
    }

    /// How people call an access token: by what it is for.
    fn name_of(&self, access: &str) -> Option<Box<str>> {
        self.model.access.get(access).and_then(AccessRecord::title).map(Into::into)
    }

    /// Writes down who did what.
    pub(crate) fn audit(&mut self, by: &str, action: &str, subject: &str, message: String) {
        self.audit_revision(by, action, subject, message, None);
    }

    /// Writes down who made which revision of a workload.
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
