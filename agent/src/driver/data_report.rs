//! Report and status of data: streams, the buffer, the link's ledger, the horizon.
//!
//! See decision 0068.

use holdfast_base::collect;
use holdfast_base::ids::Name;
use holdfast_records::report::MAX_REPORTED_STREAMS;
use holdfast_records::{DataReport, Horizon, Ship, Storage, StreamPolicy, StreamReport};
use serde_json::{Value, json};

use super::data::Shipping;
use crate::adapters::buffer::StreamSummary;
use crate::adapters::clock;
use crate::core::certificate::Life;
use crate::core::data::horizon::{Filling, Known, horizon, life};
use crate::core::data::ship::until_window;

impl Shipping {
    /// Report of everything about data. A device without streams has a horizon all the same.
    /// `certificate`: validity of the certificate, which bounds the horizon.
    pub(super) fn report(&self, certificate: Option<Life>) -> DataReport {
        let summary = &self.summary;
        let mut busiest: Vec<&StreamSummary> = summary.streams.iter().collect();
        busiest.sort_by_key(|it| std::cmp::Reverse((it.waiting, it.bytes)));
        let streams = busiest.into_iter().take(MAX_REPORTED_STREAMS).map(|it| {
            let policy = self.policies.of(&it.name).map(|(name, _)| name.clone());
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
        let endurance = self.limits.endurance;
        let now = self.time.now();
        let storage = Storage {
            used: summary.used,
            quota: summary.quota,
            written: written.total(),
            life_years_hundredths: endurance
                .and_then(|endurance| life(endurance, written.total(), written.since, now)),
        };
        DataReport {
            streams: collect::map(streams),
            storage,
            link: self.link.report(&self.policies),
            horizon: self.horizon(certificate),
        }
    }

    fn horizon(&self, certificate: Option<Life>) -> Option<Horizon> {
        let summary = &self.summary;
        let mut buffers = Vec::new();
        let (mut waiting, mut rate) = (0, 0);
        for stream in &summary.streams {
            let policy = self.policies.of(&stream.name).map(|(_, policy)| policy);
            // Records that are not shipped are not missed when they are dropped.
            if policy.is_some_and(|policy| policy.ship == Ship::Never) {
                continue;
            }
            let waits = stream.waiting_bytes();
            let quota = policy.and_then(|policy| policy.quota_bytes);
            let left = quota.unwrap_or(summary.quota).saturating_sub(waits);
            let per_hour = self.rates.per_hour(&stream.name, left);
            (waiting, rate) = (waiting + waits, rate + per_hour);
            if quota.is_some() {
                buffers.push((stream.name.to_string(), Filling { left, per_hour }));
            }
        }
        let left = summary.quota.saturating_sub(waiting);
        buffers.push((String::new(), Filling { left, per_hour: rate }));
        let disk = self.rates.disk();
        horizon(&Known {
            now: self.time.now(),
            certificate: certificate.map(|life| life.not_after),
            buffers,
            disk,
            clock_synchronised: clock::is_synchronised(),
            clock_wrong: self.time.problem().is_some(),
        })
    }

    /// Part of `holdfast-agent status` about data, with all streams; the report has the busiest
    /// alone.
    pub(super) fn status(&self, certificate: Option<Life>) -> Value {
        let report = self.report(certificate);
        let written = self.summary.written;
        let now_ms = self.time.now_ms();
        let shown = |it: &StreamSummary| {
            let policy = self.policies.of(&it.name);
            (it.name.to_string(), stream_status(it, policy, now_ms))
        };
        let streams = collect::map(self.summary.streams.iter().map(shown));
        let classes = collect::map(report.link.classes.iter().map(|(class, it)| {
            let shown = json!({
                "sent": it.sent, "received": it.received, "budget": it.budget,
                "waits": it.waits,
            });
            (class.as_str().to_owned(), shown)
        }));
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
                "period": report.link.period,
                "budget": report.link.budget,
                "classes": classes,
            },
            "horizon": report.horizon.map(|it| {
                json!({"until": it.until, "cause": it.cause.as_str(), "detail": it.detail})
            }),
        })
    }
}

/// Stream in `holdfast-agent status`. `withheld`: none of its records is shipped. `shipsFrom`:
/// start of the next time window, in seconds since 1970, if records wait for it.
fn stream_status(it: &StreamSummary, policy: Option<(&Name, &StreamPolicy)>, now_ms: u64) -> Value {
    let rules = policy.map(|(_, policy)| policy);
    let windows = rules.map(|policy| policy.windows.as_slice()).unwrap_or_default();
    let waits = until_window(windows, now_ms);
    let has_something = it.waiting > 0 || it.wanted;
    json!({
        "policy": policy.map(|(name, _)| name),
        "last": it.last,
        "held": it.count,
        "waiting": it.waiting,
        "bytes": it.bytes,
        "oldest": it.oldest,
        "withheld": rules.is_some_and(|policy| policy.ship == Ship::Never),
        "shipsFrom": (waits > 0 && has_something).then(|| (now_ms + waits) / 1_000),
        "problem": it.problem,
    })
}
