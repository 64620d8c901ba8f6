//! One change of a tenant: the model in memory, the rows that go to the store for it, and what is
//! told to others once it is durable. Nothing here writes or tells: the service carries it out, and
//! so does the deterministic world of the tests.
//!
//! See decisions 0018, 0027 and 0126.

use std::collections::BTreeMap;

use holdfast_api::chain::Hash;
use holdfast_base::ids::{DeviceId, Labels, Name, hex};
use holdfast_protocol::checkpoint::Checkpoint;
use serde::Serialize;

use super::audit::{CUT_AT_ONCE, CheckpointRecord, Origin, Whole, digest};
use super::desired::Changed;
use super::model::{Model, key, sha256};
use super::records::{AccessRecord, AuditRecord, DesiredRecord};
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
    /// Origin of the request that makes the change, for the audit log.
    pub origin: Origin,
    /// Chain over the audit logs of all tenants. None: there is none, as in worlds of one tenant.
    whole: Option<&'a mut Whole>,
    /// Entries for the audit log, which have no numbers yet.
    entries: Vec<AuditRecord>,
    /// Newest entry of the audit log that a restore replaced.
    replaced: Option<(u64, Hash)>,
    /// Digests of objects before the change, by their keys.
    was: BTreeMap<String, Box<str>>,
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
        Self {
            model,
            now,
            origin: Origin::default(),
            whole: None,
            entries: Vec::new(),
            replaced: None,
            was: BTreeMap::new(),
            writes,
            after,
            living: false,
            defects: Vec::new(),
        }
    }

    /// Begins a change whose entries are also sealed into the chain over all tenants.
    pub fn in_whole(model: &'a mut Model, whole: &'a mut Whole, now: u64) -> Self {
        Self { whole: Some(whole), ..Self::new(model, now) }
    }

    /// Ends the change. Whatever writes anything also writes the control plane's own record.
    pub fn finish(mut self) -> Finished {
        self.seal();
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
        let replaced = self.model.meta.next_audit.checked_sub(1);
        self.replaced = replaced.map(|number| (number, self.model.chain.hash));
        // What was sent of the replaced history is sent; what comes now begins with the entry of
        // the restore.
        fresh.sunk = std::mem::take(&mut self.model.sunk);
        let next = fresh.meta.next_audit;
        fresh.sunk.values_mut().for_each(|sunk| sunk.next = sunk.next.min(next));
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
        for (name, sunk) in self.model.sunk.clone() {
            self.put(key::sunk(&name), &sunk);
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
    pub fn event_was(&mut self, was: Was) {
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

    /// Adds an entry to the audit log: who did what to which object. It gets its number and its
    /// hashes at the end of the change; until then more can be said in it.
    #[allow(clippy::indexing_slicing, reason = "it was pushed a line above")]
    pub fn audit(
        &mut self,
        by: &str,
        action: &str,
        subject: &str,
        message: String,
    ) -> &mut AuditRecord {
        let subject_name = match action.split('.').next() {
            Some("access" | "session") => self.name_of(subject),
            _ => None,
        };
        let Origin { address, request } = self.origin.clone();
        let record = AuditRecord {
            at: self.now,
            count: 1,
            by: by.into(),
            by_name: self.name_of(by),
            from: address.map(|address| address.to_string().into()),
            request: Some(request).filter(|id| !id.is_empty()),
            action: action.into(),
            subject: subject.into(),
            subject_name,
            message,
            ..AuditRecord::default()
        };
        let at = self.entries.len();
        self.entries.push(record);
        &mut self.entries[at]
    }

    /// Adds an entry to the audit log that was made elsewhere, such as one that counts refusals.
    pub fn audit_entry(&mut self, mut record: AuditRecord) {
        record.by_name = record.by_name.or_else(|| self.name_of(&record.by));
        self.entries.push(record);
    }

    /// Gives the entries of this change their numbers and hashes, and writes them.
    fn seal(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        if entries.is_empty() {
            return;
        }
        if let Some(begin) = self.model.chain.begin(self.now) {
            entries.insert(0, begin);
        }
        let tenant = self.model.tenant.clone();
        for mut record in entries {
            if let Some(key) = object_key(&record) {
                record.before = record.before.take().or_else(|| self.was.get(&key).cloned());
                record.after = record.after.take().or_else(|| self.written(&key));
            }
            record.number = self.model.meta.next_audit;
            self.model.meta.next_audit += 1;
            if let Some(whole) = self.whole.as_deref_mut() {
                whole.seal(&mut record, tenant.as_str());
            }
            self.model.chain.seal(&mut record, tenant.as_str());
            self.put(key::audit(record.number), &record);
            self.model.keep_audit(record);
        }
    }

    /// Notes what an object was before this change, by the key of its row. The first word counts.
    pub fn was<T: Serialize>(&mut self, key: String, before: &T) {
        if let Some(digest) = digest(before) {
            self.was.entry(key).or_insert(digest);
        }
    }

    /// Begins the chain of the audit log behind the entries of a version before it, if there are
    /// such that nothing covers.
    pub fn begin_chain(&mut self) {
        self.entries.extend(self.model.chain.begin(self.now));
    }

    /// Digest of the row that this change wrote under a key of the tenant.
    fn written(&self, key: &str) -> Option<Box<str>> {
        let key = key::of(&self.model.tenant, key);
        let mut rows = self.writes.rows.iter().rev();
        let (_, value) = rows.find(|(written, _)| *written == key)?;
        Some(hex(&sha256(value.as_deref()?)).into())
    }

    /// Number and hash of the newest entry of the audit log that a restore replaced in this change.
    pub fn replaced(&self) -> Option<(u64, Hash)> {
        self.replaced
    }

    /// Makes the checkpoint of the tenant's audit log that is due, signed by `sign`. Returns it, to
    /// be shown once the change is durable.
    pub fn checkpoint(
        &mut self,
        sign: impl FnOnce(&Checkpoint, &str) -> Option<Box<str>>,
    ) -> Option<Checkpoint> {
        let next = self.model.meta.next_audit;
        if !self.model.chain.is_due(next, self.now) {
            return None;
        }
        let number = next.checked_sub(1)?;
        let made = Checkpoint { number, hash: self.model.chain.hash, at: self.now };
        let signed = sign(&made, self.model.tenant.as_str())?;
        let whole = self.model.chain.whole;
        let record = CheckpointRecord {
            number,
            hash: hex(&made.hash).into(),
            at: made.at,
            signed,
            whole_number: whole.map(|(number, _)| number),
            whole: whole.map(|(_, hash)| hex(&hash).into()),
        };
        self.put(key::checkpoint(number), &record);
        if let Some(goes) = self.model.chain.add(record) {
            self.delete(key::checkpoint(goes));
        }
        Some(made)
    }

    /// Makes the checkpoint of the audit log over all tenants that is due, signed by `sign`.
    pub fn checkpoint_whole(&mut self, sign: impl FnOnce(&Checkpoint) -> Option<Box<str>>) {
        let now = self.now;
        let Some(whole) = self.whole.as_deref_mut().filter(|whole| whole.is_due(now)) else {
            return;
        };
        let number = whole.next.saturating_sub(1);
        let made = Checkpoint { number, hash: whole.hash, at: now };
        let Some(signed) = sign(&made) else { return };
        let hash = hex(&made.hash).into();
        let record =
            CheckpointRecord { number, hash, at: now, signed, whole_number: None, whole: None };
        whole.checkpoint = Some(record.clone());
        match serde_json::to_vec(&record) {
            Ok(bytes) => self.writes.rows.push((key::WHOLE_CHECKPOINT.into(), Some(bytes))),
            Err(error) => self.defects.push(format!("{}: {error}", key::WHOLE_CHECKPOINT)),
        }
    }

    /// Cuts the oldest entries of the audit log, at most [`CUT_AT_ONCE`] and none after the
    /// checkpoint `last`, which stays with all later ones. Returns true when nothing is left to
    /// cut.
    pub fn cut_audit(&mut self, last: u64) -> bool {
        let Some(first) = self.model.chain.first else { return true };
        let to = last.min(first.saturating_add(CUT_AT_ONCE - 1));
        (first..=to).for_each(|number| self.delete(key::audit(number)));
        self.model.chain.first = Some(to.saturating_add(1));
        if to < last {
            return false;
        }
        let later = self.model.chain.checkpoints.split_off(&last);
        let gone = std::mem::replace(&mut self.model.chain.checkpoints, later);
        gone.keys().for_each(|number| self.delete(key::checkpoint(*number)));
        let message = format!("entries before {} went: too many, or too old", last + 1);
        self.audit("holdfast", "audit.cut", "audit log", message);
        true
    }
}

/// Key of the row that is the object of an entry, where the object is one row.
fn object_key(entry: &AuditRecord) -> Option<String> {
    let kind = match entry.action.split('.').next()? {
        kind @ ("device" | "token" | "access" | "user") => kind,
        "alarm" | "silence" => "silence",
        _ => return None,
    };
    Some(format!("{kind}/{}", entry.subject))
}
