//! What is reported and shown of data: streams, the buffer, the link's ledger, the horizon.

use std::collections::BTreeMap;

use holdfast_protocol::data::report::MAX_REPORTED_STREAMS;
use holdfast_protocol::data::{DataReport, Horizon, Ship, Storage, StreamName, StreamReport};
use serde_json::{Value, json};

use super::Driver;
use super::health::LOW;
use crate::adapters::buffer::StreamSummary;
use crate::adapters::clock::{self, uptime_ms};
use crate::adapters::identity::Identity;
use crate::core::data::horizon::{Filling, Known, Rate, horizon, life};

/// How fast what fills is filled.
#[derive(Debug, Default)]
pub(super) struct Rates {
    streams: BTreeMap<StreamName, Rate>,
    disk: Rate,
    /// Bytes of the disk in use since the agent started, as far as they grew.
    grown: u64,
    free: Option<u64>,
}

impl Driver {
    /// Takes note of how the buffer has grown.
    pub(super) fn note_rates(&mut self) {
        let now = uptime_ms();
        let rates = &mut self.shipping.rates;
        let present = &self.shipping.summary.streams;
        rates.streams.retain(|name, _| present.iter().any(|it| it.name == *name));
        for stream in present {
            rates.streams.entry(stream.name.clone()).or_default().note(stream.taken, now);
        }
        if let Some(free) = self.trouble.free {
            rates.grown += rates.free.map_or(0, |former| former.saturating_sub(free));
            rates.free = Some(free);
            rates.disk.note(rates.grown, now);
        }
    }

    /// Everything about data; None: there is nothing to tell.
    pub(super) fn data_report(&self) -> Option<DataReport> {
        let shipping = &self.shipping;
        let silent = !shipping.buffer.is_in_use() && !shipping.buffer.has_failed();
        if silent && *shipping.policies == Default::default() {
            return None;
        }
        let summary = &shipping.summary;
        let mut busiest: Vec<&StreamSummary> = summary.streams.iter().collect();
        busiest.sort_by_key(|it| std::cmp::Reverse((it.waiting, it.bytes)));
        let streams = busiest.into_iter().take(MAX_REPORTED_STREAMS).map(|it| {
            let policy = shipping.policies.of(&it.name).map(|(name, _)| name.clone());
            let report = StreamReport {
                policy,
                last: it.last,
                waiting: it.waiting,
                bytes: it.bytes,
                oldest: it.oldest,
                problem: it.problem.clone(),
            };
            (it.name.clone(), report)
        });
        let written = summary.written;
        let endurance = self.config.storage.endurance;
        let now = self.time.now();
        let storage = Storage {
            used: summary.used,
            quota: summary.quota,
            written: written.total(),
            life_years_hundredths: endurance
                .and_then(|endurance| life(endurance, written.total(), written.since, now)),
        };
        Some(DataReport {
            streams: streams.collect(),
            storage,
            link: shipping.link.report(&shipping.policies),
            horizon: self.horizon(),
        })
    }

    fn horizon(&self) -> Option<Horizon> {
        let (shipping, summary) = (&self.shipping, &self.shipping.summary);
        let mut buffers = Vec::new();
        let (mut waiting, mut rate) = (0, 0);
        for stream in &summary.streams {
            let policy = shipping.policies.of(&stream.name).map(|(_, policy)| policy);
            // What is not shipped is missed by nobody.
            if policy.is_some_and(|policy| policy.ship == Ship::Never) {
                continue;
            }
            let rates = &shipping.rates.streams;
            let per_hour = rates.get(&stream.name).map_or(0, Rate::per_hour);
            let waits = stream.waiting_bytes();
            (waiting, rate) = (waiting + waits, rate + per_hour);
            if let Some(quota) = policy.and_then(|policy| policy.quota_bytes) {
                let left = quota.saturating_sub(waits);
                buffers.push((stream.name.to_string(), Filling { left, per_hour }));
            }
        }
        let left = summary.quota.saturating_sub(waiting);
        buffers.push((String::new(), Filling { left, per_hour: rate }));
        let free = self.trouble.free.unwrap_or(u64::MAX);
        let disk =
            Filling { left: free.saturating_sub(LOW), per_hour: shipping.rates.disk.per_hour() };
        let life = self.identity.as_ref().and_then(Identity::life);
        horizon(&Known {
            now: self.time.now(),
            certificate: life.map(|life| life.not_after),
            buffers,
            disk,
            clock_synchronised: clock::is_synchronised(),
            clock_wrong: self.time.problem().is_some(),
        })
    }

    /// What `holdfast-agent status` shows of it.
    pub(super) fn data_status(&self) -> Value {
        let Some(report) = self.data_report() else { return Value::Null };
        let written = self.shipping.summary.written;
        let streams: BTreeMap<String, Value> = report
            .streams
            .iter()
            .map(|(name, it)| {
                let shown = json!({
                    "policy": it.policy,
                    "last": it.last,
                    "waiting": it.waiting,
                    "bytes": it.bytes,
                    "oldest": it.oldest,
                    "problem": it.problem,
                });
                (name.to_string(), shown)
            })
            .collect();
        let classes: BTreeMap<&str, Value> = report
            .link
            .classes
            .iter()
            .map(|(class, it)| {
                let shown = json!({"sent": it.sent, "received": it.received, "budget": it.budget});
                (class.as_str(), shown)
            })
            .collect();
        json!({
            "streams": streams,
            "storage": {
                "used": report.storage.used,
                "quota": report.storage.quota,
                "written": {
                    "total": written.total(),
                    "records": written.records,
                    "retention": written.retention,
                    "bookkeeping": written.bookkeeping,
                    "payload": written.payload,
                    "since": written.since,
                },
                "lifeYears": report
                    .storage
                    .life_years_hundredths
                    .map(|hundredths| f64::from(hundredths) / 100.0),
            },
            "link": {
                "since": report.link.since,
                "budget": report.link.budget,
                "classes": classes,
            },
            "horizon": report.horizon.map(|it| {
                json!({"until": it.until, "cause": it.cause.as_str(), "detail": it.detail})
            }),
        })
    }
}
