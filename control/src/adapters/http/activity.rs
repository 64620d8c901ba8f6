//! What happened: a device's timeline, the audit log, and both together with the fleet's events.
//! See decisions 0125 and 0126.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::App;
use super::extract::{Params, Path};
use super::fleet::aside;
use crate::api::{Activity, List, TimelineEvent};
use crate::core::activity::{self, Asked, Filter};
use crate::core::records::AuditRecord;
use crate::service::{Failure, Query, TimelineQuery};

type Answer<T> = Result<Json<T>, Failure>;

/// Bytes of a piece of an export.
const PIECE: usize = 32 * 1024;

/// Which part of a timeline.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimelineParams {
    /// Most items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// `connection,phase,restart,revision,generation,problem,more`: only those.
    kind: Option<String>,
    /// Only those of this workload.
    workload: Option<String>,
    /// Not before: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Before: likewise.
    until: Option<String>,
}

/// What happened to a device, newest first: its connections, the phases, restarts and revisions of
/// its workloads, the generations that it applied, its problems. At most 500 events are kept.
#[utoipa::path(get, path = "/api/v1/devices/{name}/history", operation_id = "getDeviceHistory", tag = "devices",
    params(("name" = String, Path), TimelineParams), security(("bearer" = [])),
    responses((status = 200, body = List<TimelineEvent>), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn timeline(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(params): Params<TimelineParams>,
) -> Answer<List<TimelineEvent>> {
    let now = app.service.now();
    let second = |name, text: &Option<String>| {
        activity::second(name, text.as_deref(), now).map_err(Failure::invalid)
    };
    let query = TimelineQuery {
        kinds: activity::kinds(params.kind.as_deref().unwrap_or_default())
            .map_err(|error| Failure::invalid(format!("kind: {error}")))?,
        since: second("since", &params.since)?,
        until: second("until", &params.until)?,
        workload: params.workload.filter(|name| !name.is_empty()),
        query: Query { limit: params.limit, after: params.after, ..Query::default() },
    };
    aside(app, move |service| service.timeline(&name, &query)).await?.map(Json)
}

/// Which entries of the audit log.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditParams {
    /// Most items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// `oldest` (default) or `newest` first.
    order: Option<String>,
    /// Part of the id of who did it, or of what the access token is for.
    who: Option<String>,
    /// `workload.apply,device`: only these actions, or those that begin with the word.
    action: Option<String>,
    /// `KIND/NAME`, `KIND/` or `NAME`: only what was done to it.
    object: Option<String>,
    /// Only those in which this text stands, whatever the case.
    q: Option<String>,
    /// `change,login,read`: only these categories.
    category: Option<String>,
    /// Not before: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Before: likewise.
    until: Option<String>,
}

/// Who did what, oldest first or newest first. At most 10,000 entries are kept.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "listAudit", tag = "system", params(AuditParams),
    security(("bearer" = [])),
    responses((status = 200, body = List<AuditRecord>), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn audit(
    State(app): State<App>,
    Params(params): Params<AuditParams>,
) -> Answer<List<AuditRecord>> {
    let newest_first = match params.order.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Failure::invalid("order: oldest or newest")),
    };
    let AuditParams { limit, after, who, action, object, q, category, since, until, .. } = params;
    let asked = Asked { who, action, object, q, category, since, until };
    let filter = Filter::read(asked, app.service.now()).map_err(Failure::invalid)?;
    let query = Query { limit, after, ..Query::default() };
    app.service.audit(&query, &filter, newest_first).map(Json)
}

/// Which activity, and as what.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivityParams {
    /// Most items of a page; default 500, at most 5000. Of a file: all of them, or so many.
    limit: Option<usize>,
    /// `metadata.continue` of the page before; not of a file.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// Part of the id of who did it, of what the access token is for, or of the device.
    who: Option<String>,
    /// `workload.apply,device`: only these actions, or those that begin with the word.
    action: Option<String>,
    /// `KIND/NAME`, `KIND/` or `NAME`: only what was done to it, or what it did.
    object: Option<String>,
    /// Only those in which this text stands, whatever the case.
    q: Option<String>,
    /// `change,login,read,device`: only these categories.
    category: Option<String>,
    /// Not before: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Before: likewise.
    until: Option<String>,
    /// `json` (default): a page. `csv` or `ndjson`: a file with all of it.
    format: Option<String>,
}

/// What people did (the audit log) and what devices did, newest first. Of devices the newest 4,000
/// connections, 4,000 phases and restarts and 2,000 problems of the fleet are kept, of one device at
/// most 60 in an hour; its timeline has more.
#[utoipa::path(get, path = "/api/v1/activity", operation_id = "listActivity", tag = "system", params(ActivityParams),
    security(("bearer" = [])),
    responses((status = 200, body = List<Activity>), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn activity(
    State(app): State<App>,
    Params(params): Params<ActivityParams>,
) -> Result<Response, Failure> {
    let ActivityParams { limit, after, who, action, object, q, category, since, until, format } =
        params;
    let asked = Asked { who, action, object, q, category, since, until };
    let filter = Filter::read(asked, app.service.now()).map_err(Failure::invalid)?;
    let form = match format.as_deref() {
        None | Some("" | "json") => {
            let query = Query { limit, after, ..Query::default() };
            let page = aside(app, move |service| service.activity(&query, &filter)).await??;
            return Ok(Json(page).into_response());
        }
        Some("csv") => Form::Csv,
        Some("ndjson") => Form::Ndjson,
        Some(_) => return Err(Failure::invalid("format: one of json, csv and ndjson")),
    };
    if after.is_some() {
        return Err(Failure::invalid("continue goes with format=json: a file has all of it"));
    }
    Ok(file(app, filter, limit.unwrap_or(usize::MAX), form))
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Csv,
    Ndjson,
}

impl Form {
    /// Its type, and how its name ends.
    fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
            Self::Ndjson => ("application/x-ndjson", "ndjson"),
        }
    }

    fn line(self, item: &Activity) -> serde_json::Result<String> {
        match self {
            Self::Csv => Ok(activity::csv(item)),
            Self::Ndjson => serde_json::to_string(item).map(|line| line + "\n"),
        }
    }
}

/// A file, read from the disk as fast as it is taken.
fn file(app: App, filter: Filter, most: usize, form: Form) -> Response {
    let (to, from) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let service = app.service;
    tokio::task::spawn_blocking(move || {
        let mut piece = match form {
            Form::Csv => activity::COLUMNS.to_owned(),
            Form::Ndjson => String::new(),
        };
        let (mut left, mut defect) = (most, None);
        let read = service.every_activity(&filter, &mut |item| {
            if left == 0 {
                return false;
            }
            left -= 1;
            match form.line(item) {
                Ok(line) => piece.push_str(&line),
                Err(error) => defect = Some(error),
            }
            // False: whoever read has gone.
            defect.is_none()
                && (piece.len() < PIECE
                    || to.blocking_send(Ok(std::mem::take(&mut piece).into())).is_ok())
        });
        // An answer that is not whole ends without its end.
        let why = read.err().map(|error| error.to_string());
        let last = match why.or_else(|| defect.map(|error| error.to_string())) {
            None => Ok(piece.into()),
            Some(why) => {
                tracing::error!(why, "activity was not read to its end");
                Err(std::io::Error::other(why))
            }
        };
        drop(to.blocking_send(last));
    });
    let body = Body::from_stream(stream::unfold(from, |mut from| async {
        from.recv().await.map(|piece| (piece, from))
    }));
    let (kind, ending) = form.kind();
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"activity.{ending}\"")),
    ];
    (headers, body).into_response()
}
