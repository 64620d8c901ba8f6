//! Routes of streams: lists, records, series and ledgers. Long responses are streamed while they
//! are read.
//!
//! See decision 0122.

use std::io::Write as _;
use std::ops::ControlFlow;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use holdfast_query::parse;
use holdfast_records::{Range, RangeSet, Record};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::app::App;
use super::extract::{Params, Path};
use crate::api::selector;
use crate::api::time::{moment, rfc3339_millis};
use crate::api::{
    DataMeta, DataRecord, DataRecords, DeviceStreams, Ledger, List, MissingRange, Series,
    StreamItem,
};
use crate::core::listing::Filter;
use crate::core::rights::{Action, Actor};
use crate::core::values::{record_json, value_form, value_json};
use crate::service::{Failure, LedgerPart, Query, Readable, Service, Window};

type JsonResult<T> = Result<Json<T>, Failure>;

/// Default number of records on a page.
const PAGE: usize = 500;

/// Maximum number of records on a page.
const MAX_PAGE: usize = 5_000;

/// Size of values after which a page ends, in bytes.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of records that one page of a search looks at, about one second's work.
const SEARCHED: usize = 200_000;

/// Default and maximum number of ranges on a ledger's page.
const RANGES: (usize, usize) = (5_000, 100_000);

/// Size of one piece of a streamed response, in bytes.
const PIECE: usize = 64 * 1024;

/// Default and maximum number of points of a series.
const POINTS: (u64, u64) = (300, 5_000);

/// Default length of a series, in milliseconds: a day.
const DAY: u64 = 86_400_000;

/// Parameters of the list of streams.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StreamsQuery {
    /// Only streams of this device.
    device: Option<String>,
    /// Only streams of devices with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    label_selector: Option<String>,
    /// Only streams with this text in their own or their device's name, in upper or lower case.
    q: Option<String>,
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<String>,
}

/// Parameters of a stream's records.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordsQuery {
    /// Only records since this time: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Only records before this time: RFC 3339, or a length of time before now such as `2h`.
    until: Option<String>,
    /// Maximum number of records. As JSON: default 500, at most 5000. As NDJSON or CSV: all by
    /// default.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page: the sequence number after which the page begins.
    #[serde(rename = "continue")]
    after: Option<u64>,
    /// Order of sequence numbers: `asc` (default) or `desc`.
    order: Option<String>,
    /// Only records whose value, as JSON, contains this text, in upper or lower case. A page ends
    /// after 200,000 records were searched; `metadata.continue` gives the next one.
    q: Option<String>,
}

/// Parameters of a series.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesQuery {
    /// Begin of the series: RFC 3339, or a length of time before now. The default is a day before
    /// `until`.
    since: Option<String>,
    /// End of the series (exclusive): RFC 3339, or a length of time before now. The default is now.
    until: Option<String>,
    /// Path of the number in each record, as in questions: parts are separated by `.`, and a part
    /// with other characters is put in backquotes. Without it, the record itself is the number.
    field: Option<String>,
    /// Number of points; default 300, at most 5000.
    points: Option<u64>,
}

/// Parameters of a ledger.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LedgerQuery {
    /// Maximum number of ranges; default 5000, at most 100000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<u64>,
    /// Order of sequence numbers: `asc` (default) or `desc`.
    order: Option<String>,
    /// Only ranges that are `missing`, or that were left on the device `by-policy`.
    only: Option<String>,
}

/// Runs a function that reads the disk on a thread that may block.
pub(super) async fn aside<T: Send + 'static>(
    app: App,
    look: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(move || look(&app.service)).await.map_err(Failure::internal)?
}

fn limit(given: Option<usize>, (usual, most): (usize, usize)) -> Result<usize, Failure> {
    match given {
        None => Ok(usual),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(Failure::invalid(format!("limit={limit}: from 1 to {most}"))),
    }
}

/// Parses a time of a request, in milliseconds since 1970; `None` for an absent or empty one.
pub(super) fn time(what: &str, text: Option<&str>, now: u64) -> Result<Option<u64>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    moment(text, now).map(Some).ok_or_else(|| {
        Failure::invalid(format!(
            "{what}: RFC 3339 such as 2026-11-23T21:00:00Z, or a length of time before now such as 2h"
        ))
    })
}

/// Parses the ends of a request's time window, in milliseconds since 1970. The default is all of
/// the time.
pub(super) fn times(
    since: Option<&str>,
    until: Option<&str>,
    now: u64,
) -> Result<(u64, u64), Failure> {
    let usual = Window::default();
    let since = time("since", since, now)?.unwrap_or(usual.since);
    let until = time("until", until, now)?.unwrap_or(usual.until);
    if since >= until {
        return Err(Failure::invalid("since is not before until"));
    }
    Ok((since, until))
}

fn newest_first(order: Option<&str>) -> Result<bool, Failure> {
    match order {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(_) => Err(Failure::invalid("order: asc or desc")),
    }
}

impl RecordsQuery {
    fn window(&self, now: u64) -> Result<Window, Failure> {
        let newest_first = newest_first(self.order.as_deref())?;
        let usual = Window::default();
        let mut numbers = usual.numbers;
        match self.after {
            Some(after) if newest_first => {
                // Below sequence number 0 there is nothing: the range is empty.
                numbers.to = after.saturating_sub(1);
            }
            Some(after) => numbers.from = after.saturating_add(1),
            None => {}
        }
        let (since, until) = times(self.since.as_deref(), self.until.as_deref(), now)?;
        Ok(Window { numbers: Range { ..numbers }, since, until, newest_first })
    }
}

/// Lists streams in the order of device and name.
#[utoipa::path(get, path = "/api/v1/streams", operation_id = "listStreams", tag = "data", params(StreamsQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<StreamItem>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn streams(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<StreamsQuery>,
) -> JsonResult<List<StreamItem>> {
    let selector = selector::parse(query.label_selector.as_deref().unwrap_or_default())
        .map_err(|error| Failure::invalid(format!("labelSelector: {error}")))?;
    let text = Filter::text(&query.q.unwrap_or_default())
        .map_err(|error| Failure::invalid(format!("q: {error}")))?;
    let part = Query { limit: query.limit, after: query.after, selector };
    let device = query.device.filter(|name| !name.is_empty());
    aside(app, move |service| {
        service.data.streams(&actor, &part, device.as_deref(), text.as_deref())
    })
    .await
    .map(Json)
}

/// Lists a device's streams, with the state of its buffer, link and horizon as the device reports
/// it.
#[utoipa::path(get, path = "/api/v1/devices/{name}/streams", operation_id = "listDeviceStreams", tag = "data",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = DeviceStreams), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn of_device(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> JsonResult<DeviceStreams> {
    aside(app, move |service| service.data.device_streams(&actor, &name)).await.map(Json)
}

/// Returns data records of a stream.
///
/// The format follows `Accept`: a page as `application/json` (default), or all records as
/// `application/x-ndjson` or `text/csv`.
#[utoipa::path(get, path = "/api/v1/devices/{name}/streams/{stream}/records", operation_id = "listRecords", tag = "data",
    params(("name" = String, Path), ("stream" = String, Path, description = "percent-encoded: it may hold `/`"), RecordsQuery),
    security(("bearer" = [])),
    responses((status = 200, body = DataRecords, content_type = "application/json"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn records(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, stream)): Path<(String, String)>,
    Params(query): Params<RecordsQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let window = query.window(app.service.documents.now().saturating_mul(1_000))?;
    let needle = query.q.as_deref().map(str::trim).filter(|q| !q.is_empty());
    let needle = needle.map(str::to_lowercase);
    let row = app.service.data.stream(&actor, Action::ListRecords, &name, &stream)?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let accept = accept.unwrap_or_default();
    if accept.contains("application/x-ndjson") {
        let most = query.limit.unwrap_or(usize::MAX);
        return Ok(stream_of(app, row, window, (most, needle), Form::Ndjson));
    }
    if accept.contains("text/csv") {
        let most = query.limit.unwrap_or(usize::MAX);
        return Ok(stream_of(app, row, window, (most, needle), Form::Csv));
    }
    let limit = limit(query.limit, (PAGE, MAX_PAGE))?;
    let page =
        aside(app, move |service| page(service, &row, window, limit, needle.as_deref())).await?;
    Ok(Json(page).into_response())
}

/// Returns true when a record's value (JSON text) contains `needle`, which must be in lower case.
fn has(value: &str, needle: Option<&str>) -> bool {
    needle.is_none_or(|needle| value.to_lowercase().contains(needle))
}

/// Reads one page of records.
fn page(
    service: &Service,
    row: &Readable,
    window: Window,
    limit: usize,
    needle: Option<&str>,
) -> Result<DataRecords, Failure> {
    let mut items: Vec<DataRecord> = Vec::new();
    let (mut bytes, mut seen, mut more) = (0, 0_usize, false);
    let mut last: Option<(u64, u64)> = None;
    let mut left_out = RangeSet::new();
    if window.numbers.from <= window.numbers.to {
        left_out = service.data.visit_records(row, window, &mut |record| {
            if items.len() == limit || bytes > PAGE_BYTES || seen == SEARCHED {
                more = true;
                return ControlFlow::Break(());
            }
            seen += usize::from(needle.is_some());
            last = Some((record.seq, record.time));
            let value = value_json(&record);
            if has(&value, needle) {
                bytes += record.value.len();
                let value = RawValue::from_string(value).unwrap_or_default();
                let (time, form) = (rfc3339_millis(record.time), value_form(&record).into());
                items.push(DataRecord { seq: record.seq, time, value, form });
            }
            ControlFlow::Continue(())
        })?;
    }
    let next = last.filter(|_| more).map(|(seq, _)| seq.to_string());
    let searched = last.filter(|_| needle.is_some()).map(|(_, time)| rfc3339_millis(time));
    let damaged = MissingRange::damaged(&left_out);
    Ok(DataRecords { items, damaged, metadata: DataMeta { next, searched } })
}

/// Format of streamed records.
#[derive(Debug, Clone, Copy)]
enum Form {
    Ndjson,
    Csv,
}

impl Form {
    fn kind(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    fn write(self, record: &Record, to: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Self::Ndjson => writeln!(to, "{}", record_json(record)),
            // RFC 4180.
            Self::Csv => {
                let value = value_json(record).replace('"', "\"\"");
                write!(to, "{},{},\"{value}\"\r\n", record.seq, rfc3339_millis(record.time))
            }
        }
    }
}

/// Streams records into a response. They are read from the disk as fast as the client takes them.
fn stream_of(
    app: App,
    row: Readable,
    window: Window,
    (most, needle): (usize, Option<String>),
    form: Form,
) -> Response {
    let (to, from) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let service = app.service;
    tokio::task::spawn_blocking(move || {
        let mut piece = Vec::new();
        if matches!(form, Form::Csv) {
            piece.extend_from_slice(b"seq,time,value\r\n");
        }
        let mut left = most;
        let read = service.data.visit_records(&row, window, &mut |record| {
            if needle.is_some() && !has(&value_json(&record), needle.as_deref()) {
                return ControlFlow::Continue(());
            }
            if left == 0 || form.write(&record, &mut piece).is_err() {
                return ControlFlow::Break(());
            }
            left -= 1;
            if piece.len() >= PIECE
                && to.blocking_send(Ok(std::mem::take(&mut piece).into())).is_err()
            {
                return ControlFlow::Break(()); // The client has gone.
            }
            ControlFlow::Continue(())
        });
        // The response of a failed reading ends without the last chunk, so that the client notices.
        let last = read.map(|_| piece.into()).map_err(|error| {
            tracing::error!(%error, "records were not read to their end");
            std::io::Error::other(error.to_string())
        });
        drop(to.blocking_send(last));
    });
    let body = Body::from_stream(stream::unfold(from, |mut from| async {
        from.recv().await.map(|piece| (piece, from))
    }));
    ([(header::CONTENT_TYPE, form.kind())], body).into_response()
}

/// Returns a number of a stream over time, folded into points, for charts.
#[utoipa::path(get, path = "/api/v1/devices/{name}/streams/{stream}/series", operation_id = "getSeries", tag = "data",
    params(("name" = String, Path), ("stream" = String, Path), SeriesQuery), security(("bearer" = [])),
    responses((status = 200, body = Series), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn series(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, stream)): Path<(String, String)>,
    Params(query): Params<SeriesQuery>,
) -> JsonResult<Series> {
    let now = app.service.documents.now().saturating_mul(1_000);
    let until = time("until", query.until.as_deref(), now)?.unwrap_or(now.saturating_add(1));
    let since = time("since", query.since.as_deref(), now)?.unwrap_or(until.saturating_sub(DAY));
    if since >= until {
        return Err(Failure::invalid("since is not before until"));
    }
    let points = query.points.unwrap_or(POINTS.0);
    if !(1..=POINTS.1).contains(&points) {
        return Err(Failure::invalid(format!("points={points}: from 1 to {}", POINTS.1)));
    }
    let row = app.service.data.stream(&actor, Action::GetSeries, &name, &stream)?;
    let field = parse::path("field", &query.field.unwrap_or_default())
        .map_err(|fault| Failure::invalid(fault.to_string()))?;
    let (points, left_out) =
        aside(app, move |service| service.data.series(&row, (since, until), &field, points))
            .await?;
    Ok(Json(Series { points, damaged: MissingRange::damaged(&left_out) }))
}

/// Returns a stream's ledger: how many records were received, and which are missing and why.
#[utoipa::path(get, path = "/api/v1/devices/{name}/streams/{stream}/ledger", operation_id = "getLedger", tag = "data",
    params(("name" = String, Path), ("stream" = String, Path), LedgerQuery), security(("bearer" = [])),
    responses((status = 200, body = Ledger), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn ledger(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, stream)): Path<(String, String)>,
    Params(query): Params<LedgerQuery>,
) -> JsonResult<Ledger> {
    let limit = limit(query.limit, RANGES)?;
    let newest_first = newest_first(query.order.as_deref())?;
    let by_policy = match query.only.as_deref() {
        None => None,
        Some("missing") => Some(false),
        Some("by-policy") => Some(true),
        Some(_) => return Err(Failure::invalid("only: missing or by-policy")),
    };
    let part = LedgerPart { after: query.after, limit, newest_first, by_policy };
    if let Some(ledger) = app.service.data.ledger_of_nothing(&actor, &name, &stream)? {
        return Ok(Json(ledger));
    }
    let row = app.service.data.stream(&actor, Action::GetLedger, &name, &stream)?;
    aside(app, move |service| service.data.ledger(&row, part)).await.map(Json)
}
