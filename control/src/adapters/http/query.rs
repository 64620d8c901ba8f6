//! Routes of questions to devices, and of fetches. The response has a line of JSON for each device
//! that has answered, then the result. A client that disconnects ends its question.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: the answer is written by a task of its own"
)]

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::app::App;
use super::extract::{self, Path};
use crate::api::{FetchStarted, NewFetch, NewQuery, QueryLine, QueryResult};
use crate::core::rights::Actor;
use crate::service::{Asking, Failure};

/// Maximum number of lines that wait for a client. Further progress is left out.
const WAITING: usize = 16;

/// Asks devices about the data records that they hold.
///
/// The response is NDJSON: lines `{"progress"}` and, at the end, `{"result"}`. With `Accept:
/// application/json` it is the result alone. When the client closes the connection, the question
/// ends.
#[utoipa::path(post, path = "/api/v1/query", operation_id = "query", tag = "data", request_body = NewQuery,
    security(("bearer" = [])),
    responses((status = 200, body = QueryResult, content_type = "application/json"),
        (status = 200, body = QueryLine, content_type = "application/x-ndjson"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn query(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: NewQuery = extract::json(body, extract::SMALL).await?;
    let asking = app.service.calls.query(&actor, &wanted)?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/json")) {
        return Ok(Json(asking.run(|_| {}).await).into_response());
    }
    let (to, from) = mpsc::channel(WAITING);
    tokio::spawn(answer(asking, to, app.stop));
    let body = Body::from_stream(stream::unfold(from, |mut from| async {
        from.recv().await.map(|line| (line, from))
    }));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

type Line = Result<Bytes, std::io::Error>;

fn line(of: &QueryLine) -> Line {
    let mut text = serde_json::to_vec(of)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Runs the question until there is a result, the client has gone, or the control plane stops.
async fn answer(
    asking: Asking,
    to: mpsc::Sender<Line>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let progress = to.clone();
    let running = asking.run(move |so_far| {
        if progress.capacity() > 1 {
            // A client that is behind misses this line and gets a later one.
            drop(progress.try_send(line(&QueryLine::Progress(so_far))));
        }
    });
    tokio::select! {
        result = running => drop(to.send(line(&QueryLine::Result(result))).await),
        () = to.closed() => {}
        _ = stop.changed() => {
            let stops = std::io::Error::other("the control plane stops");
            drop(to.send(Err(stops)).await);
        }
    }
}

/// Ends a question that waits for devices.
///
/// Its result is made of the answers so far.
#[utoipa::path(post, path = "/api/v1/query/{id}/end", operation_id = "endQuery", tag = "data",
    params(("id" = String, Path, description = "`id` of its progress")), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn end(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.calls.end_query(&actor, &id).map(|()| StatusCode::NO_CONTENT)
}

/// Makes a device ship data records unreduced, although its policy reduced or held them back.
#[utoipa::path(post, path = "/api/v1/devices/{name}/streams/{stream}/fetch", operation_id = "fetchRecords", tag = "data",
    params(("name" = String, Path), ("stream" = String, Path, description = "percent-encoded: it may hold `/`")),
    request_body = NewFetch, security(("bearer" = [])),
    responses((status = 200, body = FetchStarted), (status = "4XX", body = super::error::ErrorBody),
        (status = 503, description = "the device cannot be asked now", body = super::error::ErrorBody)))]
pub(super) async fn fetch(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, stream)): Path<(String, String)>,
    body: Body,
) -> Result<Json<FetchStarted>, Failure> {
    let wanted: NewFetch = extract::json(body, extract::SMALL).await?;
    app.service.calls.fetch(&actor, &name, &stream, &wanted).await.map(Json)
}
