//! One change of a tenant: the model in memory, the rows that go to the store for it, and what is
//! told to others once it is durable. Nothing here writes or tells: the service carries it out, and
//! so does the deterministic world of the tests.
//!
//! See decisions 0018, 0027 and 0126.

use holdfast_base::ids::{DeviceId, Labels, Name};
use serde::Serialize;

use super::desired::Changed;
use super::model::{Model, key};
use super::records::{AccessRecord, AuditRecord, DesiredRecord, MAX_AUDIT};
use super::timeline::{EventRecord, What};
use holdfast_api::Event;
use holdfast_api::selector::Selector;
use holdfast_api::time::rfc3339;

/// Rows of the store that a change writes and deletes.
#[derive(Debug, Default)]
pub struct Writes {
    /// True if every row is deleted before the first write.
    pub clear: bool,
    /// Keys in the order of the writes, each with its new value. None: the row is deleted.
    pub rows: Vec<(String, Option<Vec<u8>>)>,
}

/// What an object was before an event, for readers who no longer see it afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Was {
    /// Labels that a device had.
    Device(Labels),
    /// Devices that a document chose.
    Document(Selector),
}

/// Event for those who watch a tenant.
#[derive(Debug, Clone)]
pub struct Told {
    /// Resource version of the tenant at the event, which is its id.
    pub id: u64,
    /// Event as whoever sees all devices reads it.
    pub event: Event,
    /// What its object was before, if that decides who sees the event.
    pub was: Option<Box<Was>>,
}

/// Notices that are sent once the change is durable.
#[derive(Debug, Default)]
pub struct After {
    /// Events for those who watch a tenant, each with the tenant.
    pub events: Vec<(Name, Told)>,
    /// Devices whose desired state changed.
    pub desired: Vec<DeviceId>,
    /// Devices whose connection is to end.
    pub disconnect: Vec<DeviceId>,
}

/// Complete change, ready to be carried out.
#[derive(Debug)]
pub struct Finished {
    /// Number of the change, see [`Model::batches`].
    pub number: u64,
    /// Rows to write as one transaction.
    pub writes: Writes,
    /// Notices to send once the rows are durable.
    pub after: After,
    /// Keys of records that have no JSON and are not written, each with the error: a defect.
    pub defects: Vec<String>,
}

impl Finished {
    /// Creates a change that does nothing, for [`Finished::add`].
    pub fn new(number: u64) -> Self {
        let (writes, after) = (Writes::default(), After::default());
        Self { number, writes, after, defects: Vec::new() }
    }

    /// Adds the rows and notices of another change.
    pub fn add(&mut self, other: Self) {
        self.writes.rows.extend(other.writes.rows);
        self.after.events.extend(other.after.events);
        self.after.desired.extend(other.after.desired);
        self.after.disconnect.extend(other.after.disconnect);
        self.defects.extend(other.defects);
    }
}

/// Change under way. A change must make all its checks before it touches the model: an error that
/// is returned later would leave the memory and the store different.
#[derive(Debug)]
pub struct Change<'a> {
    /// Model that the change is made to.
    pub model: &'a mut Model,
    /// Time of the change, in seconds since 1970.
    pub now: u64,
    writes: Writes,
    after: After,
    living: bool,
    defects: Vec<String>,
}

impl<'a> Change<'a> {
    /// Begins a change at the time `now`, in seconds since 1970, and gives it the next number.
    pub fn new(model: &'a mut Model, now: u64) -> Self {
        model.batches += 1;
        let (writes, after) = (Writes::default(), After::default());
        Self { model, now, writes, after, living: false, defects: Vec::new() }
    }

    /// Ends the change. Whatever writes anything also writes the control plane's own record.
    pub fn finish(mut self) -> Finished {
        if !self.writes.rows.is_empty() || self.living {
            self.model.meta.alive = self.now;
            let meta = self.model.meta.clone();
            self.put(key::META.into(), &meta);
        }
        let Self { model, writes, after, defects, .. } = self;
        Finished { number: model.batches, writes, after, defects }
    }

    /// Writes the control plane's own record (with the time at which it was last alive) even when
    /// nothing else is written.
    pub fn live(&mut self) {
        self.living = true;
    }

    /// Takes the next resource version.
    pub fn version(&mut self) -> u64 {
        self.model.meta.version += 1;
        self.model.meta.version
    }

    /// Writes a record as JSON.
    pub fn put<T: Serialize>(&mut self, key: String, value: &T) {
        self.raw(key, serde_json::to_vec(value));
    }

    /// Replaces the model and its rows by those of a backup, in a higher epoch. `records` are the
    /// backup's rows of this tenant and `fresh` the model that was read from them. The caller
    /// deletes all rows first, and writes the rows that belong to no tenant.
    pub fn restore(&mut self, records: Vec<(String, Vec<u8>)>, mut fresh: Model, epoch: u64) {
        let replaced = |key: &str| key.starts_with("desired/") || key == key::META;
        for (key, value) in records {
            if !replaced(&key) {
                self.put_bytes(key, value);
            }
        }
        let number = self.model.batches;
        fresh.batches = number;
        fresh.started = self.model.started;
        fresh.settle_rules();
        fresh.meta.epoch = epoch;
        fresh.meta.version = fresh.meta.version.max(self.model.meta.version);
        fresh.meta.generation_floor = fresh.meta.generation_floor.max(1);
        for (name, device) in &mut fresh.devices {
            // Every device gets a new generation, even when it should run nothing: it may have been
            // given more since the backup.
            device.desired.generation = device.desired.generation.saturating_add(1);
            device.desired_in = number;
            // Each device will report by itself what it has applied.
            device.report.applied = Default::default();
            if let Some(known) = self.model.devices.get(name) {
                device.live = known.live.clone();
            }
        }
        *self.model = fresh;
        let names: Vec<Name> = self.model.devices.keys().cloned().collect();
        for name in &names {
            self.put_desired(name);
        }
    }

    /// Writes a value that is JSON already.
    pub fn put_bytes(&mut self, key: String, value: Vec<u8>) {
        self.writes.rows.push((key::of(&self.model.tenant, &key), Some(value)));
    }

    /// Writes a row that belongs to no tenant: its key is one of [`super::model::SHARED`].
    pub fn put_shared(&mut self, key: &'static str, value: Vec<u8>) {
        self.writes.rows.push((key.into(), Some(value)));
    }

    /// Deletes a row.
    pub fn delete(&mut self, key: String) {
        self.writes.rows.push((key::of(&self.model.tenant, &key), None));
    }

    /// Writes a device's record (identity, labels, standing) as the model has it.
    pub fn put_device(&mut self, name: &Name) {
        self.model.settle_rule(name);
        if let Some(device) = self.model.devices.get(name) {
            let bytes = serde_json::to_vec(&device.record);
            self.raw(key::device(name), bytes);
        }
    }

    /// Adds the beginning of a device's connection to its timeline, if that is still unwritten. It
    /// is written late, together with the device's first report or its next event, which saves a
    /// write for each connection.
    pub fn put_arrival(&mut self, name: &Name) {
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
    pub fn happened(
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
    pub fn put_report(&mut self, name: &Name) {
        self.put_arrival(name);
        if let Some(device) = self.model.devices.get(name) {
            let bytes = serde_json::to_vec(&device.report);
            self.raw(key::report(name), bytes);
        }
    }

    fn raw(&mut self, key: String, bytes: Result<Vec<u8>, serde_json::Error>) {
        match bytes {
            Ok(bytes) => self.put_bytes(key, bytes),
            Err(error) => self.defects.push(format!("{key}: {error}")),
        }
    }

    /// Sets a device's desired state, which the device is told of once the change is durable.
    pub fn set_desired(&mut self, name: &Name, desired: DesiredRecord) {
        let number = self.model.batches;
        let Some(device) = self.model.devices.get_mut(name) else { return };
        (device.desired, device.desired_in) = (desired, number);
        self.put_desired(name);
        let id = self.model.id(name);
        self.after.desired.push(id);
    }

    /// Sets the desired states of several devices.
    pub fn set_all_desired(&mut self, changed: Changed) {
        for (name, desired) in changed {
            self.set_desired(&name, desired);
        }
    }

    /// Writes a device's desired state as the model has it.
    pub fn put_desired(&mut self, name: &Name) {
        if let Some(device) = self.model.devices.get(name) {
            let bytes = serde_json::to_vec(&device.desired);
            self.raw(key::desired(name), bytes);
        }
    }

    /// Ends the device's connection once the change is durable.
    pub fn disconnect(&mut self, name: &Name) {
        let id = self.model.id(name);
        self.after.disconnect.push(id);
    }

    /// Sends an event to those who watch, once the change is durable.
    pub fn event(&mut self, kind: &str, name: &str, action: &str, message: String) {
        let (kind, action) = (kind.into(), action.into());
        let at = rfc3339(self.now);
        let event = Event { kind, name: name.into(), action, at, message, parts: Vec::new() };
        let id = self.version();
        self.after.events.push((self.model.tenant.clone(), Told { id, event, was: None }));
    }

    /// Notes what the object of the last event was before it: who saw it then is told too.
    pub fn was(&mut self, was: Was) {
        if let Some((_, told)) = self.after.events.last_mut() {
            told.was = Some(Box::new(was));
        }
    }

    /// Sends an event that names the parts of a device that changed, so that readers read only
    /// those again.
    pub fn device_event(&mut self, name: &Name, message: String, parts: Vec<String>) {
        self.event("device", name.as_str(), "changed", message);
        if let Some((_, told)) = self.after.events.last_mut() {
            told.event.parts = parts;
        }
    }

    /// Returns the comment of an access token, by which people know it. None: it has none.
    pub fn name_of(&self, access: &str) -> Option<Box<str>> {
        self.model.access.get(access).and_then(AccessRecord::title).map(Into::into)
    }

    /// Adds an entry to the audit log: who did what to which object.
    pub fn audit(&mut self, by: &str, action: &str, subject: &str, message: String) {
        self.audit_revision(by, action, subject, message, None);
    }

    /// Adds an entry to the audit log about a new revision of a workload.
    pub fn audit_revision(
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
