//! Routes of metrics in Prometheus's text format. `/metrics` has counts of the caller's tenant, and
//! for the tenant that the control plane began with also those of the process, which are sums over
//! all tenants. The latest values of streams have names of the caller's tenant.
//!
//! See decisions 0063 and 0168.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderName, header};
use holdfast_records::Pattern;

use super::app::App;
use super::extract::Params;
use crate::api::selector;
use crate::api::time::duration;
use crate::core::rights::Actor;
use crate::service::{Counts, Failure, WITHIN};

/// Content type of Prometheus's text format.
const TEXT: [(HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];

/// Default maximum age of a value, in seconds. Prometheus rejects samples that are older than what
/// it has in memory, with a warning.
const AGE: u64 = 3_600;

/// Parameters of the latest values.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LatestQuery {
    /// Only values of devices with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    label_selector: Option<String>,
    /// Only values of these streams, separated by commas: names, or prefixes that end with `*`.
    streams: Option<String>,
    /// Maximum age of a value, such as `5m`; default `1h`.
    max_age: Option<String>,
}

/// Returns the latest values of streams in Prometheus's text format.
///
/// Samples are `holdfast_stream_value{device,stream,site,field,tenant}` with their time. There are
/// at most 50,000, and 64 of one record. Values that are left out are counted in
/// `holdfast_streams_left_out`.
#[utoipa::path(get, path = "/api/v1/metrics/streams", operation_id = "getStreamMetrics", tag = "data",
    params(LatestQuery), security(("bearer" = [])),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn streams(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<LatestQuery>,
) -> Result<([(HeaderName, &'static str); 1], String), Failure> {
    let devices = selector::parse(query.label_selector.as_deref().unwrap_or_default())
        .map_err(|error| Failure::invalid(format!("labelSelector: {error}")))?;
    let patterns = query.streams.unwrap_or_default();
    let patterns = patterns.split(',').map(str::trim).filter(|text| !text.is_empty());
    let patterns: Vec<Pattern> = patterns
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::invalid(format!("streams: {error}")))?;
    let age = match query.max_age.as_deref() {
        None | Some("") => AGE,
        Some(text) => duration(text)
            .ok_or_else(|| Failure::invalid("maxAge: a length of time such as 5m, 2h or 30d"))?,
    };
    let text = tokio::task::spawn_blocking(move || {
        app.service.data.latest_values(&actor, &devices, &patterns, age.saturating_mul(1_000))
    });
    Ok((TEXT, text.await.map_err(Failure::internal)??))
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        if writeln!(self.0, "{line}").is_err() {
            tracing::debug!("a String takes every line");
        }
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: &AtomicU64) {
        self.one(name, "counter", help, value.load(Ordering::Relaxed));
    }

    fn labelled<'a>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        values: impl Iterator<Item = (&'a str, u64)>,
    ) {
        self.family(name, kind, help);
        for (word, value) in values {
            self.line(format_args!("{name}{{{label}=\"{word}\"}} {value}"));
        }
    }
}

/// Returns metrics of the control plane in Prometheus's text format.
///
/// They are counts of the caller's tenant, without names but the tenant's. Figures of the process as
/// a whole are sums over all tenants, and are there for the tenant that the control plane began with.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "system", security(("bearer" = [])),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn metrics(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> Result<([(HeaderName, &'static str); 1], String), Failure> {
    let mut text = Text(String::with_capacity(8 * 1024));
    let all = [app.service.fleet.counts(&actor)?];
    let whole = actor.tenant == *app.service.documents.first_tenant();
    devices(&all, &mut text);
    data(&all, &mut text);
    horizons(&all, &mut text);
    alarms(&all, &mut text);
    if whole {
        gateway(&app, &mut text);
        service(&app, &mut text);
        data_of_all(&app, &mut text);
        messages(&app, &mut text);
    }
    Ok((TEXT, text.0))
}

/// One value of each tenant, with the tenant as its label.
fn each(
    text: &mut Text,
    (name, help): (&str, &str),
    all: &[Counts],
    value: impl Fn(&Counts) -> u64,
) {
    text.family(name, "gauge", help);
    for counts in all {
        let (tenant, value) = (&counts.tenant, value(counts));
        text.line(format_args!("{name}{{tenant=\"{tenant}\"}} {value}"));
    }
}

fn alarms(all: &[Counts], text: &mut Text) {
    let name = "holdfast_alarms";
    text.family(name, "gauge", "Active alarms, by severity, state and tenant.");
    for of in all {
        let tenant = &of.tenant;
        for severity in ["critical", "warning", "info"] {
            for state in ["firing", "acknowledged", "silenced"] {
                let count = of.alarms.counts.get(&(severity, state)).copied().unwrap_or(0);
                text.line(format_args!(
                    "{name}{{severity=\"{severity}\",state=\"{state}\",tenant=\"{tenant}\"}} {count}"
                ));
            }
        }
    }
    let help = "Alarms that are not tracked because there are more than 100,000.";
    each(text, ("holdfast_alarms_skipped", help), all, |of| of.alarms.skipped);
    let help = "Messages about alarms that wait to be delivered.";
    each(text, ("holdfast_notifications_waiting", help), all, |of| of.alarms.waiting);
}

fn messages(app: &App, text: &mut Text) {
    let counters = app.service.alarms.counters();
    let help = "Messages about alarms that receivers accepted, tests included.";
    text.counter("holdfast_notifications_sent_total", help, &counters.notifications_sent);
    let help = "Failed attempts to deliver a message about alarms.";
    text.counter("holdfast_notifications_failed_total", help, &counters.notifications_failed);
}

fn horizons(all: &[Counts], text: &mut Text) {
    let name = "holdfast_devices_horizon_seconds";
    text.family(name, "gauge", "Seconds until the nearest horizon of a device, by cause.");
    for of in all {
        for (cause, horizons) in &of.horizons {
            let (cause, tenant, least) = (cause.as_str(), &of.tenant, horizons.least);
            text.line(format_args!("{name}{{cause=\"{cause}\",tenant=\"{tenant}\"}} {least}"));
        }
    }
    let name = "holdfast_devices_horizon_within";
    text.family(name, "gauge", "Devices whose horizon is within a time, by cause.");
    for of in all {
        for (cause, horizons) in &of.horizons {
            let counts = WITHIN.iter().map(|(word, _)| *word).zip(horizons.within);
            for (within, count) in counts.chain([("any", horizons.devices)]) {
                let (cause, tenant) = (cause.as_str(), &of.tenant);
                text.line(format_args!(
                    "{name}{{cause=\"{cause}\",within=\"{within}\",tenant=\"{tenant}\"}} {count}"
                ));
            }
        }
    }
}

fn gateway(app: &App, text: &mut Text) {
    let counters = app.gateway.counters();
    let refused = [
        ("full", &counters.refused_full),
        ("tls", &counters.refused_tls),
        ("slow", &counters.refused_slow),
        ("certificate", &counters.refused_certificate),
        ("unknown", &counters.refused_unknown),
        ("pending", &counters.refused_pending),
        ("revoked", &counters.refused_revoked),
        ("connect", &counters.refused_connect),
        ("topic", &counters.refused_topic),
        ("reader", &counters.refused_readers),
        ("protocol", &counters.protocol_errors),
    ];
    text.labelled(
        ("holdfast_gateway_refused_total", "counter", "What the gateway refused, by reason."),
        "reason",
        refused.into_iter().map(|(word, count)| (word, count.load(Ordering::Relaxed))),
    );
    let connections = counters.connections.load(Ordering::Relaxed);
    text.one("holdfast_gateway_connections", "gauge", "Devices connected now.", connections);
    let readers = counters.readers.load(Ordering::Relaxed);
    text.one("holdfast_gateway_readers", "gauge", "Readers of streams connected now.", readers);
    let handshakes = counters.handshakes.load(Ordering::Relaxed);
    text.one("holdfast_gateway_handshakes", "gauge", "TLS handshakes under way.", handshakes);
    for (name, help, counter) in [
        ("accepted", "TCP connections accepted.", &counters.accepted),
        ("connected", "Devices admitted.", &counters.connected),
        ("cut_silent", "Connections ended because the device was silent.", &counters.cut_silent),
        ("taken_over", "Connections replaced by a newer one.", &counters.taken_over),
        ("bytes_in", "MQTT bytes from devices.", &counters.bytes_in),
        ("bytes_out", "MQTT bytes to devices.", &counters.bytes_out),
        ("publishes_in", "Publishes from devices.", &counters.publishes_in),
        ("publishes_out", "Publishes to devices.", &counters.publishes_out),
        ("pubacks_out", "PUBACKs to devices.", &counters.pubacks_out),
        ("not_stored", "Publishes that could not be stored.", &counters.not_stored),
        ("not_delivered", "Messages that a device did not take.", &counters.not_delivered),
        ("cut_readers", "Readers that did not read, or whose token ended.", &counters.cut_readers),
        ("reader_records", "Records sent to readers.", &counters.reader_records),
        (
            "reader_dropped",
            "Records that readers were too slow for and lost.",
            &counters.reader_dropped,
        ),
    ] {
        text.counter(&format!("holdfast_gateway_{name}_total"), help, counter);
    }
}

fn devices(all: &[Counts], text: &mut Text) {
    let name = "holdfast_devices";
    text.family(name, "gauge", "Devices, by connection and tenant.");
    for of in all {
        for (connection, count) in of.devices {
            let (connection, tenant) = (connection.as_str(), &of.tenant);
            text.line(format_args!(
                "{name}{{connection=\"{connection}\",tenant=\"{tenant}\"}} {count}"
            ));
        }
    }
    let name = "holdfast_devices_absent";
    let help =
        "Devices that are offline or were never connected, by whether their policy expects it.";
    text.family(name, "gauge", help);
    for of in all {
        for (class, count) in of.absent {
            let (class, tenant) = (class.as_str(), &of.tenant);
            text.line(format_args!("{name}{{absence=\"{class}\",tenant=\"{tenant}\"}} {count}"));
        }
    }
    let help = "Devices whose absence is an alarm.";
    each(text, ("holdfast_devices_lost", help), all, |of| of.lost);
    let help = "Connected devices that were not heard for longer than their keep-alive.";
    each(text, ("holdfast_devices_overdue", help), all, |of| of.overdue);
    let help = "Inputs that devices refused, summed.";
    each(text, ("holdfast_device_refused", help), all, |of| of.refused);
}

fn service(app: &App, text: &mut Text) {
    let service = &app.service;
    let (enrolment, store) = (service.enrolment.counters(), service.documents.counters());
    let (inbox, data) = (service.directory.counters(), service.data.counters());
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let malformed = AtomicU64::new(count(&inbox.malformed) + count(&data.malformed));
    let reasons = enrolment.refused();
    text.labelled(
        ("holdfast_enrolments_refused_total", "counter", "Refused enrolments and renewals."),
        "reason",
        reasons.iter().map(|(word, count)| (*word, *count)),
    );
    for (name, help, counter) in [
        ("enrolments", "Devices enrolled.", &enrolment.enrolled),
        ("renewals", "Certificates renewed.", &enrolment.renewed),
        ("logins_refused", "Logins to the pages refused.", service.access.logins_refused()),
        ("reports", "State reports processed.", &inbox.reports),
        ("malformed", "Messages of devices that could not be decoded.", &malformed),
        ("store_commits", "Transactions of the store.", &store.commits),
        ("store_commits_failed", "Transactions of the store that failed.", &store.commits_failed),
        ("store_writes", "Keys written to the store.", &store.writes),
        (
            "store_overloads",
            "Changes refused because too many waited for the disk.",
            &store.overloads,
        ),
    ] {
        text.counter(&format!("holdfast_{name}_total"), help, counter);
    }
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    text.labelled(
        ("holdfast_http_requests_total", "counter", "Requests answered, by class of status."),
        "status",
        classes
            .into_iter()
            .zip(&app.requests.classes)
            .map(|(class, count)| (class, count.load(Ordering::Relaxed))),
    );
}

fn data(all: &[Counts], text: &mut Text) {
    each(text, ("holdfast_data_streams", "Streams of devices."), all, |of| of.data.0);
    each(text, ("holdfast_data_records_kept", "Records in the data store."), all, |of| of.data.1);
    let help = "Bytes of the blocks in the data store.";
    each(text, ("holdfast_data_bytes_kept", help), all, |of| of.data.2);
}

fn data_of_all(app: &App, text: &mut Text) {
    let (service, counters) = (&app.service, app.service.data.counters());
    for (name, help, counter) in [
        ("data_batches", "Batches of records from devices.", &counters.batches),
        (
            "data_batches_not_taken",
            "Batches not taken because the queue was full.",
            &counters.batches_not_taken,
        ),
        ("data_batches_refused", "Batches that can never be stored.", &counters.batches_refused),
        ("data_records", "Records stored.", &counters.records),
        (
            "data_records_repeated",
            "Records that were stored before and arrived again.",
            &counters.records_repeated,
        ),
        ("data_records_retired", "Records removed by retention.", &counters.records_retired),
        (
            "data_blocks_damaged",
            "Damaged blocks of records, found since the start.",
            &counters.blocks_damaged,
        ),
        ("data_commits", "Transactions of the data store.", &counters.data_commits),
        (
            "data_commits_failed",
            "Transactions of the data store that failed.",
            &counters.data_commits_failed,
        ),
    ] {
        text.counter(&format!("holdfast_{name}_total"), help, counter);
    }
    for (name, help, value) in [
        ("data_batches_waiting", "Batches that wait to be stored.", service.data.batches_waiting()),
        ("data_readers", "Readers of live data.", service.data.data_readers() as u64),
        (
            "data_store_trouble",
            "1: the data store cannot be written, has no room, or was damaged; see /readyz.",
            u64::from(service.data.data_trouble().is_some()),
        ),
    ] {
        text.one(&format!("holdfast_{name}"), "gauge", help, value);
    }
    let room = service.data.room();
    if let Some(free) = room.free() {
        let help = "Free bytes on the disk of the data folder.";
        text.one("holdfast_disk_free_bytes", "gauge", help, free);
        let help = "Free bytes on that disk below which no more data is stored.";
        text.one("holdfast_disk_reserve_bytes", "gauge", help, room.reserve());
    }
}
