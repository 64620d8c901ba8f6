//! What time alone does to devices: the last sign of life is stored, timelines leave the memory, and
//! a device whose identity was used twice is trusted again.

use super::Fleet;
use crate::core::change::Change;
use crate::core::lineage::Lineage;
use crate::core::model::Device;
use crate::core::timeline::{Said, problems};

impl Fleet {
    /// Stores the present time as the last sign of life: after a crash, devices that were connected
    /// count as connected until about then. Also drops what is outdated of timelines. Must be called
    /// about once a minute.
    pub fn live(&self) {
        for tenant in self.documents.tenant_names() {
            // When the change is not taken, the next call's is.
            let _taken = self.documents.note(&tenant, |change| change.live(), |_| {});
        }
        self.settle_lineages();
        self.settle_timelines();
    }

    /// Drops timeline entries of more than an hour ago from memory. They stay in the store.
    fn settle_timelines(&self) {
        let now = self.documents.now();
        let mut tables = self.documents.tables_mut();
        for device in tables.all_mut().flat_map(|model| model.devices.values_mut()) {
            if device.recent.as_mut().is_some_and(|recent| recent.settle(now)) {
                device.recent = None;
            }
        }
    }

    /// Ends the problem "diverged" of devices whose identity has been used by one machine only for
    /// long enough.
    fn settle_lineages(&self) {
        let now = self.documents.now();
        let settle = |change: &mut Change<'_>| {
            let mut over = Vec::new();
            for (name, device) in &mut change.model.devices {
                let Some(lineage) = device.report.lineage.as_deref_mut() else { continue };
                let said = |lineage: &Lineage| -> Vec<Said> {
                    lineage.problem().into_iter().map(|it| (it.code, it.message)).collect()
                };
                let before = said(lineage);
                if lineage.settle(now) {
                    over.push((name.clone(), problems(&before, &said(lineage))));
                }
            }
            for (name, events) in over {
                change.happened(&name, (now, false), events);
                change.put_report(&name);
                let message = "its identity is used by one machine again".to_owned();
                change.event("device", name.as_str(), "changed", message);
            }
        };
        let diverged = |device: &Device| {
            device.report.lineage.as_deref().is_some_and(|lineage| lineage.problem().is_some())
        };
        for tenant in self.documents.tenant_names() {
            let any = self.documents.model(&tenant).devices.values().any(diverged);
            if any {
                let _later = self.documents.note(&tenant, settle, |_| {});
            }
        }
    }
}
