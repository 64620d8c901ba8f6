//! Routes of rollback, pause and restart of workloads.
//!
//! See decision 0117.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: the answer is written by a task of its own"
)]

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::app::App;
use super::extract::{LARGE, Params, Path, json};
use super::workloads::ApplyQuery;
use crate::api::{OnDevices, PauseResult, RestartLine, RestartResult, Rollback, RolledBack};
use crate::core::rights::Actor;
use crate::service::{Failure, Restarting};

/// Maximum number of lines that wait for a client. Further progress is left out.
const WAITING: usize = 16;

/// Rolls a workload back: applies the document of a former revision as a new revision.
#[utoipa::path(post, path = "/api/v1/workloads/{name}/rollback", operation_id = "rollbackWorkload", tag = "workloads",
    params(("name" = String, Path), ApplyQuery), request_body = Rollback, security(("bearer" = [])),
    responses((status = 200, body = RolledBack), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn rollback(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Params(query): Params<ApplyQuery>,
    body: Body,
) -> Result<Json<RolledBack>, Failure> {
    let wanted: Rollback = json(body, LARGE).await?;
    app.service.workloads.rollback(&actor, &name, &wanted, query.dry_run).await.map(Json)
}

/// Pauses a workload, on all of its devices or on selected ones.
///
/// It stays stopped until it is resumed, through new revisions, reboots and times without a link.
#[utoipa::path(post, path = "/api/v1/workloads/{name}/pause", operation_id = "pauseWorkload", tag = "workloads",
    params(("name" = String, Path)), request_body = OnDevices, security(("bearer" = [])),
    responses((status = 200, body = PauseResult), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn pause(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<PauseResult>, Failure> {
    let on: OnDevices = json(body, LARGE).await?;
    app.service.workloads.pause(&actor, &name, &on, true).await.map(Json)
}

/// Resumes a paused workload, on all of its devices or on selected ones.
#[utoipa::path(post, path = "/api/v1/workloads/{name}/resume", operation_id = "resumeWorkload", tag = "workloads",
    params(("name" = String, Path)), request_body = OnDevices, security(("bearer" = [])),
    responses((status = 200, body = PauseResult), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn resume(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<PauseResult>, Failure> {
    let on: OnDevices = json(body, LARGE).await?;
    app.service.workloads.pause(&actor, &name, &on, false).await.map(Json)
}

/// Restarts a workload on the devices that are connected.
///
/// The response is NDJSON: lines `{"progress"}` and, at the end, `{"result"}`. With `Accept:
/// application/json` it is the result alone. When the client closes the connection, no further
/// device is asked.
#[utoipa::path(post, path = "/api/v1/workloads/{name}/restart", operation_id = "restartWorkload", tag = "workloads",
    params(("name" = String, Path)), request_body = OnDevices, security(("bearer" = [])),
    responses((status = 200, body = RestartResult, content_type = "application/json"),
        (status = 200, body = RestartLine, content_type = "application/x-ndjson"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn restart(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let on: OnDevices = json(body, LARGE).await?;
    let restarting = app.service.workloads.restart(&actor, &name, &on).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/json")) {
        return Ok(Json(restarting.run(|_| {}).await).into_response());
    }
    let (to, from) = mpsc::channel(WAITING);
    tokio::spawn(answer(restarting, to, app.stop));
    let body = Body::from_stream(stream::unfold(from, |mut from| async {
        from.recv().await.map(|line| (line, from))
    }));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

type Line = Result<Bytes, std::io::Error>;

fn line(of: &RestartLine) -> Line {
    let mut text = serde_json::to_vec(of)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Runs the restart until all devices have replied, the client has gone, or the control plane
/// stops.
async fn answer(
    restarting: Restarting,
    to: mpsc::Sender<Line>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let progress = to.clone();
    let running = restarting.run(move |so_far| {
        if progress.capacity() > 1 {
            // A client that is behind misses this line and gets a later one.
            drop(progress.try_send(line(&RestartLine::Progress(so_far))));
        }
    });
    tokio::select! {
        result = running => drop(to.send(line(&RestartLine::Result(result))).await),
        () = to.closed() => {}
        _ = stop.changed() => {
            let stops = std::io::Error::other("the control plane stops");
            drop(to.send(Err(stops)).await);
        }
    }
}
