//! Use of the quotas of tenants.

use holdfast_base::ids::Name;

use super::Tenancy;
use crate::api::time::rfc3339;
use crate::api::{List, QuotaUnit, QuotaUse, Tenant};
use crate::core::model::Model;
use crate::core::placed::placed;
use crate::core::quota::{DayUse, Quota};
use crate::core::records::{Meta, PolicyKind};
use crate::core::rights::{Action, Actor};
use crate::service::listing::page;
use crate::service::rights::{may, may_whole};
use crate::service::workloads::artifact_bytes;
use crate::service::{Listed, Query};

impl Tenancy {
    /// Lists tenants with the use of their quotas, in the order of their names: all of them for an
    /// admin of the first tenant, and for anybody else the own one.
    ///
    /// # Errors
    /// Returns [`Failure::Invalid`](crate::service::Failure::Invalid) for a bad query.
    pub fn list(&self, actor: &Actor, query: &Query) -> Listed<Tenant> {
        may(actor, Action::ListTenants, "")?;
        let limit = query.limit()?;
        let first = self.documents.first_tenant();
        let names: Vec<Name> = match may_whole(actor, Action::CreateTenant, first) {
            Ok(_) => self.documents.tenant_names(),
            Err(_) => vec![actor.tenant.clone()],
        };
        let after = query.after.as_deref().unwrap_or_default();
        let version = self.documents.model(first).meta.version;
        let known = names.iter().filter(|name| self.is_there(name));
        let items = known.filter(|name| name.as_str() > after).take(limit + 1);
        let items = items.map(|name| (name.to_string(), self.one(name))).collect();
        let list: List<Tenant> = page(items, limit, version);
        Ok(list)
    }

    /// True unless nothing is known of the tenant: it ended with a restore.
    fn is_there(&self, tenant: &Name) -> bool {
        tenant == self.documents.first_tenant()
            || self.documents.model(tenant).meta != Meta::default()
    }

    /// Returns a tenant with the use of its quotas.
    fn one(&self, tenant: &Name) -> Tenant {
        let first = self.documents.first_tenant();
        let document = (PolicyKind::Tenant, tenant.clone());
        let created_at = {
            let model = self.documents.model(first);
            model.policies.get(&document).map(|known| rfc3339(known.record.created_at))
        };
        let (day, requests) = (self.data.day_of(tenant), self.documents.requests_of(tenant));
        let model = self.documents.model(tenant);
        let placed = placed(&model);
        let used = |quota: Quota| match quota {
            Quota::Devices => model.devices.len() as u64,
            Quota::Artifacts => artifact_bytes(&model),
            Quota::DataPerDay => day.bytes,
            Quota::RequestsPerSecond => requests,
            Quota::Cpu => placed.cpu,
            Quota::Memory => placed.memory,
        };
        let quotas = Quota::ALL.map(|quota| QuotaUse {
            quota: quota.word().to_owned(),
            used: used(quota),
            limit: model.quotas.limit(quota),
            unit: unit(quota),
        });
        Tenant {
            name: tenant.to_string(),
            first: tenant == first,
            created_at,
            quotas: quotas.into(),
            held_back: held_back(&model, day, self.documents.now()),
        }
    }
}

fn unit(quota: Quota) -> QuotaUnit {
    match quota {
        Quota::Devices | Quota::RequestsPerSecond => QuotaUnit::Count,
        Quota::Artifacts | Quota::DataPerDay | Quota::Memory => QuotaUnit::Bytes,
        Quota::Cpu => QuotaUnit::Millicores,
    }
}

/// Says that devices of a tenant hold their records back, and until when.
fn held_back(model: &Model, day: DayUse, now: u64) -> Option<String> {
    let limit =
        model.quotas.data_per_day.filter(|limit| day.held > 0 && day.bytes >= *limit / 2)?;
    Some(format!(
        "quota {}: {} of {limit} bytes are used, so devices hold records back until {} (UTC)",
        Quota::DataPerDay.word(),
        day.bytes,
        rfc3339(now + DayUse::left(now)),
    ))
}
