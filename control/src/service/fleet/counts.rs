//! Counts of one tenant's devices and alarms, for `/metrics`. They hold no name but the tenant's.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_records::HorizonCause;

use super::Fleet;
use crate::api::{Absence, Connection};
use crate::core::absence;
use crate::core::model::Device;
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::alarms::AlarmCounts;
use crate::service::data::Horizons;
use crate::service::rights::may;

/// Counts of a tenant.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Name of the tenant.
    pub tenant: Name,
    /// Number of devices by connection.
    pub devices: [(Connection, u64); 5],
    /// Number of messages that all devices have refused.
    pub refused: u64,
    /// Number of absent devices by class of absence.
    pub absent: [(Absence, u64); 3],
    /// Number of devices whose absence is an alarm.
    pub lost: u64,
    /// Number of connected devices that were not heard for longer than their keep-alive.
    pub overdue: u64,
    /// Number of approved devices by the cause of their horizon, with its distance.
    pub horizons: BTreeMap<HorizonCause, Horizons>,
    /// Number of streams, of stored records, and of these records' bytes.
    pub data: (u64, u64, u64),
    /// Counts of alarms.
    pub alarms: AlarmCounts,
}

impl Counts {
    /// Creates counts of nothing.
    pub(in crate::service) fn new(tenant: Name) -> Self {
        Self {
            tenant,
            devices: [
                (Connection::Online, 0),
                (Connection::Offline, 0),
                (Connection::NeverSeen, 0),
                (Connection::Pending, 0),
                (Connection::Revoked, 0),
            ],
            refused: 0,
            absent: Absence::ALL.map(|class| (class, 0)),
            lost: 0,
            overdue: 0,
            horizons: BTreeMap::new(),
            data: (0, 0, 0),
            alarms: AlarmCounts::default(),
        }
    }

    /// Counts a device at the time `now`; the control plane has served since `started`, both in
    /// seconds since 1970.
    pub(in crate::service) fn add(&mut self, device: &Device, now: u64, started: u64) {
        let connection = device.live.seen(device.record.standing, device.report.last_seen > 0);
        let of = self.devices.iter_mut().filter(|(known, _)| *known == connection);
        of.for_each(|(_, count)| *count += 1);
        self.refused += device.report.agent.as_deref().map_or(0, |agent| agent.refused);
        self.overdue += u64::from(device.live.overdue(now).is_some());
        if let Some(away) = absence::of(device, now, started) {
            let of = self.absent.iter_mut().filter(|(known, _)| *known == away.class);
            of.for_each(|(_, count)| *count += 1);
            self.lost += u64::from(away.is_alarm(now));
        }
    }
}

impl Fleet {
    /// Counts of the devices, data and alarms of the actor's tenant, without the names of any.
    ///
    /// # Errors
    /// Returns [`Failure::Refused`] when the actor may not read them.
    pub fn counts(&self, actor: &Actor) -> Result<Counts, Failure> {
        may(actor, Action::ReadMetrics, "")?;
        let (tenant, now) = (&actor.tenant, self.documents.now());
        let mut counts = Counts {
            alarms: self.alarms.counts_of(tenant),
            horizons: self.data.horizons_of(tenant),
            data: self.data.data_sums(tenant),
            ..Counts::new(tenant.clone())
        };
        for device in self.documents.model(tenant).devices.values() {
            counts.add(device, now, self.documents.started());
        }
        Ok(counts)
    }
}
