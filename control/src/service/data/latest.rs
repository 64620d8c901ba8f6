//! Data for monitoring systems: the latest value of each stream, and the number of devices by
//! horizon.
//!
//! See decision 0063.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_records::{HorizonCause, Pattern, StreamName};

use super::Data;
use crate::api::selector::Selector;
use crate::core::exposition::{Exposition, Latest};
use crate::core::ingest;
use crate::core::records::Standing;
use crate::core::rights::{Action, Actor};
use crate::service::Failure;
use crate::service::rights::may;

/// Key of the label by which devices that share a place and a link are grouped.
const SITE: &str = "site";

/// Bounds under which horizons are counted: the label's value and the bound in seconds.
pub const WITHIN: [(&str, u64); 5] =
    [("0s", 0), ("1h", 3_600), ("1d", 86_400), ("7d", 7 * 86_400), ("30d", 30 * 86_400)];

/// Devices whose horizon has the same cause. The horizon is the time until which a device can keep
/// its records without a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Horizons {
    /// Number of devices with this cause.
    pub devices: u64,
    /// Seconds until the nearest horizon; negative when it has passed.
    pub least: i64,
    /// Number of devices whose horizon is nearer than each bound of [`WITHIN`].
    pub within: [u64; WITHIN.len()],
}

impl Data {
    /// Returns the latest values of streams in Prometheus's text format: of the devices that
    /// `devices` matches, and the streams that one of `streams` matches (all when it is empty).
    /// Values older than `age` milliseconds are left out.
    pub fn latest_values(
        &self,
        actor: &Actor,
        devices: &Selector,
        streams: &[Pattern],
        age: u64,
    ) -> Result<String, Failure> {
        let permit = may(actor, Action::ReadStreamMetrics, "")?;
        let mut out = Exposition::new(self.documents.now().saturating_mul(1_000), age);
        let chosen: Vec<(Name, Option<String>)> = {
            let model = self.documents.model(&actor.tenant);
            let of = |(name, device): (&Name, &crate::core::model::Device)| {
                let labels = &device.record.labels;
                let site = labels.iter().find(|(key, _)| key.as_str() == SITE);
                (permit.sight().sees(labels) && devices.matches(labels))
                    .then(|| (name.clone(), site.map(|(_, value)| value.to_string())))
            };
            model.devices.iter().filter_map(of).collect()
        };
        for (device, site) in chosen {
            let wanted = |name: &StreamName| {
                streams.is_empty() || streams.iter().any(|pattern| pattern.matches(name))
            };
            // The values are copied, so that no writer waits for their parsing.
            let found: Vec<(StreamName, ingest::Latest)> =
                self.of_device(&actor.tenant, &device, |known| {
                    let known = known.iter().filter(|(name, _)| wanted(name));
                    known
                        .filter_map(|(name, row)| Some((name.clone(), row.tally.latest.clone()?)))
                        .collect()
                });
            for (stream, latest) in found {
                out.add(&Latest {
                    tenant: actor.tenant.as_str(),
                    device: device.as_str(),
                    site: site.as_deref(),
                    stream: stream.as_str(),
                    time: latest.time,
                    record: latest.record(),
                });
            }
        }
        Ok(out.finish())
    }

    /// Number of approved devices by the cause of their horizon, with its distance.
    pub(in crate::service) fn horizons_of(
        &self,
        tenant: &Name,
    ) -> BTreeMap<HorizonCause, Horizons> {
        let now = self.documents.now();
        let mut found: BTreeMap<HorizonCause, Horizons> = BTreeMap::new();
        for device in self.documents.model(tenant).devices.values() {
            if device.record.standing != Standing::Approved {
                continue;
            }
            let data = device.report.data.as_deref();
            let Some(horizon) = data.and_then(|data| data.horizon.as_ref()) else { continue };
            let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
            let left = signed(horizon.until).saturating_sub(signed(now));
            let entry = found.entry(horizon.cause).or_default();
            entry.least = if entry.devices == 0 { left } else { entry.least.min(left) };
            entry.devices += 1;
            for ((_, seconds), count) in WITHIN.iter().zip(&mut entry.within) {
                *count += u64::from(left <= signed(*seconds));
            }
        }
        found
    }
}
