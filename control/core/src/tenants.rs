//! Whole state of the control plane: the tables of each tenant. A function of the core is given the
//! tables of one tenant, so it cannot show or change what belongs to another one.
//!
//! See decision 0151.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;

use holdfast_api::count::either;

use super::audit::Whole;
use super::change::{Change, Finished};
use super::kinds::{Policy, PolicyKind};
use super::loading::Late;
use super::model::{BadRecord, Model, SHARED, key, read};
use super::quota::Quotas;

/// Tables of all tenants.
#[derive(Debug)]
pub struct Tenants {
    /// Tenant that the control plane began with. Its tables have the `Tenant` documents.
    first: Name,
    tables: BTreeMap<Name, Model>,
    /// Tables of every tenant that there is not. They are always empty.
    nobody: Model,
    /// Number of the last batch given to the store, over all tenants.
    pub batches: u64,
    /// Chain over the audit logs of all tenants.
    pub whole: Whole,
}

/// Rows that wait for their device or workload while the store is read, by tenant.
#[derive(Debug, Default)]
pub struct AllLate(BTreeMap<Name, Late>);

impl Tenants {
    /// Creates the state with one tenant, whose tables are empty.
    pub fn new(first: Name) -> Self {
        let nobody = Model::empty(first.clone());
        let tables = BTreeMap::from([(first.clone(), Model::empty(first.clone()))]);
        Self { first, tables, nobody, batches: 0, whole: Whole::default() }
    }

    /// Returns the tables of a tenant. Those of an unknown tenant are empty.
    pub fn of(&self, tenant: &Name) -> &Model {
        self.tables.get(tenant).unwrap_or(&self.nobody)
    }

    /// Returns the tables of a tenant for a change that is stored nowhere. None: there is no such
    /// tenant.
    pub fn of_mut(&mut self, tenant: &Name) -> Option<&mut Model> {
        self.tables.get_mut(tenant)
    }

    /// Adds a tenant with empty tables, unless there is one of this name.
    pub fn add(&mut self, tenant: &Name) -> &mut Model {
        self.tables.entry(tenant.clone()).or_insert_with(|| Model::empty(tenant.clone()))
    }

    /// Returns whether there is a tenant of this name.
    pub fn has(&self, tenant: &Name) -> bool {
        self.tables.contains_key(tenant)
    }

    /// Names of all tenants, in their order.
    pub fn names(&self) -> Vec<Name> {
        self.tables.keys().cloned().collect()
    }

    /// Tables of all tenants, in the order of the tenants' names.
    pub fn all(&self) -> impl Iterator<Item = &Model> {
        self.tables.values()
    }

    /// Tables of all tenants, for changes that are stored nowhere.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Model> {
        self.tables.values_mut()
    }

    /// Begins a change of a tenant's tables at the time `now`, in seconds since 1970, with the next
    /// number of all batches. None: there is no such tenant.
    pub fn begin(&mut self, tenant: &Name, now: u64) -> Option<Change<'_>> {
        let model = self.tables.get_mut(tenant)?;
        model.batches = self.batches;
        self.batches += 1;
        Some(Change::in_whole(model, &mut self.whole, now))
    }

    /// Adds one row of the store to the tables of the tenant that its key names.
    ///
    /// # Errors
    /// [`BadRecord`]. A key without a tenant was written by an earlier version.
    pub fn take(&mut self, late: &mut AllLate, key: &str, value: &[u8]) -> Result<(), BadRecord> {
        if SHARED.contains(&key) {
            return Ok(());
        }
        if key == key::WHOLE_CHECKPOINT {
            self.whole.checkpoint = Some(read(key, value)?);
            return Ok(());
        }
        let unknown = || BadRecord::Key(key.chars().take(200).collect());
        let (tenant, local) = key::divide(key).ok_or_else(unknown)?;
        let waiting = late.0.entry(tenant.clone()).or_default();
        self.add(&tenant).take(waiting, &local, value)
    }

    /// Adds the rows that waited for their device or workload, and gives each tenant its quotas. Rows
    /// of a tenant that was deleted are left out: they wait to be removed.
    pub fn settle(&mut self, late: AllLate) {
        for (tenant, late) in late.0 {
            self.add(&tenant).settle(late);
        }
        for ended in self.of(&self.first).ended.clone() {
            self.tables.remove(&ended);
        }
        for tenant in self.settle_quotas() {
            self.add(&tenant);
        }
        self.settle_quotas();
        self.settle_whole();
    }

    /// Lets the chain over all go on behind the newest entry that was read.
    pub fn settle_whole(&mut self) {
        for model in self.tables.values() {
            self.whole.read(model.chain.whole);
        }
    }

    /// Gives each tenant the quotas of its document. Returns the tenants that have a document and no
    /// tables.
    fn settle_quotas(&mut self) -> Vec<Name> {
        let mut quotas: BTreeMap<Name, Quotas> = BTreeMap::new();
        for ((_, name), known) in &self.of(&self.first).policies {
            if let Policy::Tenant { quotas: of } = &known.record.policy {
                quotas.insert(name.clone(), *of);
            }
        }
        for model in self.tables.values_mut() {
            model.quotas = quotas.get(&model.tenant).copied().unwrap_or_default();
        }
        quotas.into_keys().filter(|name| !self.tables.contains_key(name)).collect()
    }

    /// Takes in what a change of `Tenant` documents means: gives each tenant its quotas, and makes
    /// the tables of those that have none. Their rows are added to `done`. `now` is in seconds since
    /// 1970.
    pub fn make(&mut self, now: u64, done: &mut Finished) {
        let started = self.of(&self.first).started;
        for tenant in self.settle_quotas() {
            let model = self.add(&tenant);
            // A time as the epoch is higher than what devices of an earlier tenant of this name hold.
            model.meta.epoch = now.max(1);
            model.meta.artifacts_owned = true;
            model.started = started;
            if let Some(mut change) = self.begin(&tenant, now) {
                change.live();
                let made = change.finish();
                done.number = made.number;
                done.add(made);
            }
        }
        self.settle_quotas();
    }

    /// Ends a tenant: its tables are gone from memory, its document is deleted, and a row says that
    /// its rows are to be removed. None: there is no such tenant, or it is the first one.
    pub fn end(&mut self, tenant: &Name, now: u64, by: &str) -> Option<(Model, Finished)> {
        if *tenant == self.first {
            return None;
        }
        let gone = self.tables.remove(tenant)?;
        let mut change = self.begin(&self.first.clone(), now)?;
        change.model.ended.insert(tenant.clone());
        change.put(key::ended(tenant), &now);
        let document = (PolicyKind::Tenant, tenant.clone());
        if change.model.policies.remove(&document).is_some() {
            change.delete(key::policy(&document));
            change.event("tenant", tenant.as_str(), "deleted", format!("deleted by {by}"));
        }
        let entries = gone.meta.next_audit;
        let with = format!("its audit log went with it: {}", either(entries, "entry", "entries"));
        change.audit(by, "tenant.delete", tenant.as_str(), with).cut = Some(entries);
        let mut done = change.finish();
        done.after.disconnect.extend(gone.devices.keys().map(|name| gone.id(name)));
        Some((gone, done))
    }

    /// Replaces the whole state by that of a backup, in a higher epoch. `records` are the backup's
    /// rows and `fresh` the tables that were read from them. `more` adds to the change of each
    /// tenant, after its tables were replaced. Tenants that the backup does not know end.
    pub fn restore(
        &mut self,
        records: Vec<(String, Vec<u8>)>,
        mut fresh: Self,
        now: u64,
        mut more: impl FnMut(&mut Change<'_>),
    ) -> Finished {
        let mut rows: BTreeMap<Name, Vec<(String, Vec<u8>)>> = BTreeMap::new();
        for (key, value) in records {
            if let Some((tenant, local)) = key::divide(&key) {
                rows.entry(tenant).or_default().push((local, value));
            }
        }
        self.batches += 1;
        // The history over all goes on behind that of the backup.
        self.whole = std::mem::take(&mut fresh.whole);
        let mut whole = Finished::new(self.batches);
        whole.writes.clear = true;
        let mut present = std::mem::take(&mut self.tables);
        let started = present.values().map(|model| model.started).max().unwrap_or(0);
        for tenant in fresh.names() {
            let mut model = present.remove(&tenant).unwrap_or_else(|| Model::empty(tenant.clone()));
            let Some(of_backup) = fresh.tables.remove(&tenant) else { continue };
            model.batches = self.batches.saturating_sub(1);
            model.started = started;
            let mut change = Change::in_whole(&mut model, &mut self.whole, now);
            let devices: Vec<Name> = change.model.devices.keys().cloned().collect();
            devices.iter().for_each(|name| change.disconnect(name));
            let before = change.model.meta.epoch.max(of_backup.meta.epoch);
            let epoch = before.saturating_add(1).max(now);
            change.restore(rows.remove(&tenant).unwrap_or_default(), of_backup, epoch);
            more(&mut change);
            whole.add(change.finish());
            self.tables.insert(tenant, model);
        }
        for (tenant, model) in present {
            let ids = model.devices.keys().map(|name| model.id(name));
            whole.after.disconnect.extend(ids);
            self.tables.insert(tenant.clone(), Model::empty(tenant));
        }
        self.settle_quotas();
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::DeviceRecord;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn device(tenants: &mut Tenants, tenant: &str, device: &str) -> Finished {
        let record: DeviceRecord = serde_json::from_value(serde_json::json!({
            "name": device, "shard": 0, "publicKey": format!("{tenant} {device}"),
            "standing": "approved", "createdAt": 0, "updatedAt": 0, "version": 0, "token": "",
        }))
        .unwrap();
        tenants.add(&name(tenant));
        let mut change = tenants.begin(&name(tenant), 7).unwrap();
        let device = crate::model::Device::new(record);
        let of = device.record.name.clone();
        change.model.devices.insert(of.clone(), device);
        change.put_device(&of);
        change.event("device", of.as_str(), "changed", String::new());
        change.finish()
    }

    fn two() -> (Tenants, Vec<(String, Vec<u8>)>) {
        let mut tenants = Tenants::new(name("acme"));
        let mut rows = Vec::new();
        for (tenant, of) in [("acme", "pump-1"), ("zeta", "pump-1"), ("zeta", "pump-2")] {
            let done = device(&mut tenants, tenant, of);
            rows.extend(done.writes.rows.into_iter().map(|(key, value)| (key, value.unwrap())));
        }
        (tenants, rows)
    }

    #[test]
    fn one_name_in_two_tenants_is_two_devices_in_memory_and_in_the_store() {
        let (tenants, rows) = two();
        let count = |tenant: &str| tenants.of(&name(tenant)).devices.len();
        assert_eq!((count("acme"), count("zeta"), count("nobody")), (1, 2, 0));
        let keys: Vec<&str> = rows.iter().map(|(key, _)| &**key).collect();
        assert_eq!(
            keys,
            [
                "device/acme/pump-1",
                "meta/acme",
                "device/zeta/pump-1",
                "meta/zeta",
                "device/zeta/pump-2",
                "meta/zeta"
            ]
        );
        let (mut again, mut late) = (Tenants::new(name("acme")), AllLate::default());
        for (key, value) in &rows {
            again.take(&mut late, key, value).unwrap();
        }
        again.settle(late);
        for tenant in ["acme", "zeta"] {
            let (before, after) = (tenants.of(&name(tenant)), again.of(&name(tenant)));
            assert!(before.devices.keys().eq(after.devices.keys()), "{tenant}");
            assert_eq!(before.meta.version, after.meta.version, "versions are counted alone");
        }
        assert_eq!(tenants.batches, 3, "and the batches together");
    }

    /// Applies the document of a tenant in the first one, `acme`.
    fn apply(tenants: &mut Tenants, tenant: &str, devices: u64) -> Finished {
        let document = serde_json::json!({
            "apiVersion": "holdfast/v1", "kind": "Tenant", "metadata": { "name": tenant },
            "spec": { "quotas": { "devices": devices } },
        });
        let admitted = crate::admission::admit(&[document], &|_| None).unwrap();
        let mut change = tenants.begin(&name("acme"), 70).unwrap();
        crate::apply::plan(change.model, admitted, 70).unwrap().carry_out(&mut change, "me", None);
        let mut done = change.finish();
        tenants.make(70, &mut done);
        done
    }

    #[test]
    fn a_document_makes_the_tables_of_its_tenant_and_gives_it_its_quotas() {
        let mut tenants = Tenants::new(name("acme"));
        let made = apply(&mut tenants, "beta", 5);
        let quotas = |tenants: &Tenants| tenants.of(&name("beta")).quotas.devices;
        assert_eq!((quotas(&tenants), tenants.of(&name("beta")).meta.epoch), (Some(5), 70));
        assert_eq!(made.number, tenants.batches);
        let keys: Vec<&str> = made.writes.rows.iter().map(|(key, _)| &**key).collect();
        assert!(keys.contains(&"tenant/acme/beta") && keys.contains(&"meta/beta"), "{keys:?}");
        let changed = apply(&mut tenants, "beta", 7);
        assert_eq!(quotas(&tenants), Some(7));
        let again = changed.writes.rows.iter().any(|(key, _)| key == "meta/beta");
        assert!(!again, "it is made once");
        let (mut loaded, mut late) = (Tenants::new(name("acme")), AllLate::default());
        for (key, value) in made.writes.rows.iter().chain(&changed.writes.rows) {
            loaded.take(&mut late, key, value.as_ref().unwrap()).unwrap();
        }
        loaded.settle(late);
        assert_eq!(quotas(&loaded), Some(7), "and read back");
    }

    #[test]
    fn a_tenant_that_ended_is_gone_although_its_rows_are_still_there() {
        let mut tenants = Tenants::new(name("acme"));
        let mut rows: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        rows.extend(apply(&mut tenants, "beta", 5).writes.rows);
        rows.extend(device(&mut tenants, "beta", "pump-1").writes.rows);
        assert!(tenants.end(&name("acme"), 80, "me").is_none(), "the first one stays");
        let (gone, done) = tenants.end(&name("beta"), 80, "me").unwrap();
        assert_eq!((gone.devices.len(), done.after.disconnect.len()), (1, 1));
        assert!(
            tenants.begin(&name("beta"), 81).is_none() && !tenants.names().contains(&name("beta"))
        );
        rows.extend(done.writes.rows);
        let (mut again, mut late) = (Tenants::new(name("acme")), AllLate::default());
        for (key, value) in rows.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            again.take(&mut late, key, value).unwrap();
        }
        again.settle(late);
        assert_eq!(again.names(), [name("acme")]);
        assert!(again.of(&name("acme")).ended.contains(&name("beta")), "for the sweep");
    }

    #[test]
    fn a_row_without_a_tenant_is_of_an_earlier_version() {
        for key in ["device/pump-1", "meta", "audit/00000000000000000000", "meta/acme/x"] {
            let taken = Tenants::new(name("acme")).take(&mut AllLate::default(), key, b"{}");
            assert!(matches!(taken, Err(BadRecord::Key(_))), "{key}: {taken:?}");
        }
    }

    #[test]
    fn a_restore_replaces_every_tenant() {
        let (mut tenants, rows) = two();
        device(&mut tenants, "acme", "later");
        device(&mut tenants, "newcomer", "pump-9");
        let (mut backup, mut late) = (Tenants::new(name("acme")), AllLate::default());
        for (key, value) in &rows {
            backup.take(&mut late, key, value).unwrap();
        }
        backup.settle(late);
        let done = tenants.restore(rows, backup, 50, |_| {});
        let count = |tenant: &str| tenants.of(&name(tenant)).devices.len();
        assert_eq!((count("acme"), count("zeta"), count("newcomer")), (1, 2, 0));
        assert!(done.writes.clear && done.number == tenants.batches);
        let mut cut: Vec<String> = done.after.disconnect.iter().map(ToString::to_string).collect();
        cut.sort();
        let all = ["acme_later", "acme_pump-1", "newcomer_pump-9", "zeta_pump-1", "zeta_pump-2"];
        assert_eq!(cut, all);
        let (mut again, mut late) = (Tenants::new(name("acme")), AllLate::default());
        for (key, value) in done.writes.rows {
            again.take(&mut late, &key, &value.unwrap()).unwrap();
        }
        again.settle(late);
        assert_eq!(again.of(&name("zeta")).devices.len(), 2);
        assert!(again.all().all(|model| model.meta.epoch == 50));
    }
}
