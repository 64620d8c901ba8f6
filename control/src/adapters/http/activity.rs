//! Routes of history: a device's timeline, the audit log, and both together as the fleet's
//! activity.
//!
//! See decisions 0125 and 0126.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::app::App;
use super::extract::{Params, Path};
use super::fleet::aside;
use crate::api::{Activity, List, TimelineEvent};
use crate::core::activity::{self, Asked, Filter};
use crate::core::records::AuditRecord;
use crate::core::rights::Actor;
use crate::service::{Failure, Query, Service, TimelineQuery};

type JsonResult<T> = Result<Json<T>, Failure>;

/// Size of one piece of an exported file, in bytes.
const PIECE: usize = 32 * 1024;

/// Parameters of a device's timeline.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimelineParams {
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// Only events of these kinds, separated by commas: `connection`, `phase`, `restart`,
    /// `revision`, `generation`, `problem`, `more`.
    kind: Option<String>,
    /// Only events of this workload.
    workload: Option<String>,
    /// Only events since this time: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Only events before this time: RFC 3339, or a length of time before now such as `2h`.
    until: Option<String>,
}

/// Lists the events of a device, the newest first.
///
/// Events are connections, phases, restarts and revisions of workloads, applied generations, and
/// problems. At most 500 are stored for each device.
#[utoipa::path(get, path = "/api/v1/devices/{name}/history", operation_id = "getDeviceHistory", tag = "devices",
    params(("name" = String, Path), TimelineParams), security(("bearer" = [])),
    responses((status = 200, body = List<TimelineEvent>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn timeline(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Params(params): Params<TimelineParams>,
) -> JsonResult<List<TimelineEvent>> {
    let now = app.service.documents.now();
    let second = |name, text: &Option<String>| {
        activity::second(name, text.as_deref(), now).map_err(Failure::from)
    };
    let query = TimelineQuery {
        kinds: activity::kinds(params.kind.as_deref().unwrap_or_default())
            .map_err(|error| Failure::invalid(format!("kind: {error}")))?,
        since: second("since", &params.since)?,
        until: second("until", &params.until)?,
        workload: params.workload.filter(|name| !name.is_empty()),
        query: Query { limit: params.limit, after: params.after, ..Query::default() },
    };
    aside(app, move |service| service.fleet.timeline(&actor, &name, &query)).await?.map(Json)
}

/// Parameters of the audit log.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditParams {
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// Order: `oldest` first (default) or `newest` first.
    order: Option<String>,
    /// Only entries of access tokens with this text in their id or comment.
    who: Option<String>,
    /// Only these actions, separated by commas. A first word stands for all of its actions, for
    /// example `workload.apply,device`.
    action: Option<String>,
    /// Only entries about this object: `KIND/NAME`, `KIND/` or `NAME`.
    object: Option<String>,
    /// Only entries that contain this text, in upper or lower case.
    q: Option<String>,
    /// Only these categories, separated by commas: `change`, `login`, `read`.
    category: Option<String>,
    /// Only entries since this time: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Only entries before this time: RFC 3339, or a length of time before now such as `2h`.
    until: Option<String>,
}

/// Lists entries of the audit log: who did what to which object.
///
/// At most 1,000,000 entries are stored, for three years; `GET /api/v1/audit/verification` checks
/// that they are whole.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "listAudit", tag = "system", params(AuditParams),
    security(("bearer" = [])),
    responses((status = 200, body = List<AuditRecord>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn audit(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(params): Params<AuditParams>,
) -> JsonResult<List<AuditRecord>> {
    let newest_first = match params.order.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Failure::invalid("order: oldest or newest")),
    };
    let AuditParams { limit, after, who, action, object, q, category, since, until, .. } = params;
    let asked = Asked { who, action, object, q, category, since, until };
    let filter = Filter::read(asked, app.service.documents.now())?;
    let query = Query { limit, after, ..Query::default() };
    let list = move |service: &Service| service.fleet.audit(&actor, &query, &filter, newest_first);
    aside(app, list).await?.map(Json)
}

/// Parameters of the activity.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivityParams {
    /// Maximum number of items of a page; default 500, at most 5000. Of a file: maximum number of
    /// items, without a default.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page; not for a file.
    #[serde(rename = "continue")]
    after: Option<String>,
    /// Only items with this text in the access token's id or comment, or in the device's name.
    who: Option<String>,
    /// Only these actions, separated by commas. A first word stands for all of its actions, for
    /// example `workload.apply,device`.
    action: Option<String>,
    /// Only items about or by this object: `KIND/NAME`, `KIND/` or `NAME`.
    object: Option<String>,
    /// Only items that contain this text, in upper or lower case.
    q: Option<String>,
    /// Only these categories, separated by commas: `change`, `login`, `read`, `device`.
    category: Option<String>,
    /// Only items since this time: RFC 3339, or a length of time before now such as `2h`.
    since: Option<String>,
    /// Only items before this time: RFC 3339, or a length of time before now such as `2h`.
    until: Option<String>,
    /// Format: `json` for a page (default), `csv` or `ndjson` for a file with all items.
    format: Option<String>,
}

/// Lists actions of people (the audit log) and events of devices, the newest first.
///
/// Of the fleet's devices, the newest 4,000 connections, 4,000 phases and restarts, and 2,000
/// problems are stored, at most 60 of one device in an hour. The device's own timeline has more.
#[utoipa::path(get, path = "/api/v1/activity", operation_id = "listActivity", tag = "system", params(ActivityParams),
    security(("bearer" = [])),
    responses((status = 200, body = List<Activity>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn activity(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(params): Params<ActivityParams>,
) -> Result<Response, Failure> {
    let ActivityParams { limit, after, who, action, object, q, category, since, until, format } =
        params;
    let asked = Asked { who, action, object, q, category, since, until };
    let filter = Filter::read(asked, app.service.documents.now())?;
    let form = match format.as_deref() {
        None | Some("" | "json") => {
            let query = Query { limit, after, ..Query::default() };
            let page = aside(app, move |service| service.fleet.activity(&actor, &query, &filter))
                .await??;
            return Ok(Json(page).into_response());
        }
        Some("csv") => Form::Csv,
        Some("ndjson") => Form::Ndjson,
        Some(_) => return Err(Failure::invalid("format: one of json, csv and ndjson")),
    };
    if after.is_some() {
        return Err(Failure::invalid("continue goes with format=json: a file has all of it"));
    }
    Ok(file(app, actor, filter, limit.unwrap_or(usize::MAX), form))
}

/// Format of an exported file.
#[derive(Debug, Clone, Copy)]
enum Form {
    Csv,
    Ndjson,
}

impl Form {
    /// Content type, and extension of the file's name.
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

/// Writes the items into a file that is read from the disk as fast as the client takes it.
fn file(app: App, actor: Actor, filter: Filter, most: usize, form: Form) -> Response {
    let (to, from) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let service = app.service;
    tokio::task::spawn_blocking(move || {
        let mut piece = match form {
            Form::Csv => activity::COLUMNS.to_owned(),
            Form::Ndjson => String::new(),
        };
        let (mut left, mut defect) = (most, None);
        let read = service.fleet.every_activity(&actor, &filter, &mut |item| {
            if left == 0 {
                return false;
            }
            left -= 1;
            match form.line(item) {
                Ok(line) => piece.push_str(&line),
                Err(error) => defect = Some(error),
            }
            // False when the client has gone.
            defect.is_none()
                && (piece.len() < PIECE
                    || to.blocking_send(Ok(std::mem::take(&mut piece).into())).is_ok())
        });
        // The response of a failed export ends without the last chunk, so that the client notices.
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
