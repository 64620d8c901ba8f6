//! `Tenant`: a tenant and its quotas. The documents are in the tables of the tenant that the control
//! plane began with, and only its admins apply them.
//!
//! See decision 0168.

use super::{PolicyRules, Preview};
use crate::admission::{At, Quantity, quantities};
use crate::quota::Quotas;
use crate::records::Policy;
use holdfast_api::selector::Selector;
use holdfast_api::units;

/// Implementation of the kind `Tenant`.
#[derive(Debug)]
pub(super) struct Tenant;

/// Largest number of a quota that counts: more than any control plane has.
const MOST: u64 = 1_000_000_000;

impl PolicyRules for Tenant {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        at.object("Content of a tenant.", "{ quotas: { devices: 100 } }", |spec| {
            let quotas = spec.or(
                "quotas",
                "Limits on what the tenant has and uses. Default: no limit.",
                Quotas::default(),
                quotas,
            );
            Some((Selector::default(), Policy::Tenant { quotas: quotas? }))
        })
    }

    fn effect(&self, _devices: u64, _preview: &Preview) -> String {
        "the tenant exists, with these quotas".to_owned()
    }
}

/// Decodes the quotas of a tenant.
fn quotas(at: &At<'_>) -> Option<Quotas> {
    at.object("Limits of a tenant. One that is absent is none.", "{ devices: 100 }", |fields| {
        let count = |at: &At<'_>| at.whole(0, MOST);
        let devices = fields.maybe("devices", "Most devices, whatever their standing.", count);
        let artifacts = fields.maybe(
            "artifacts",
            "Most bytes of artifacts that the tenant has pushed, such as `10Gi`.",
            |at| at.quantity(&quantities::SIZE),
        );
        let data_per_day = fields.maybe(
            "dataPerDay",
            "Most bytes of records that are taken from its devices in a day (UTC), such as `2Gi`. Beyond it devices keep their records and send them the next day.",
            |at| at.quantity(&quantities::SIZE),
        );
        let requests_per_second = fields.maybe(
            "requestsPerSecond",
            "Most requests of the API in a second, of all of its tokens, logins and devices together.",
            |at| at.whole(1, MOST),
        );
        let cpu = fields.maybe(
            "cpu",
            "Most processor time of all of its workloads on all of its devices, by their limits: cores (`40`) or thousandths of one (`40000m`). With it, each workload needs `resources.cpu`.",
            |at| {
                let form = Quantity { parse: units::cpu, pattern: quantities::CPU, bare: "number" };
                at.quantity(&form).map(u64::from)
            },
        );
        let memory = fields.maybe(
            "memory",
            "Most memory of all of its workloads on all of its devices, by their limits, such as `64Gi`. With it, each workload needs `resources.memory`.",
            |at| at.quantity(&quantities::SIZE),
        );
        Some(Quotas {
            devices: devices?,
            artifacts: artifacts?,
            data_per_day: data_per_day?,
            requests_per_second: requests_per_second?,
            cpu: cpu?,
            memory: memory?,
        })
    })
}
