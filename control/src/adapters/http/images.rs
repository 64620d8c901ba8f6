//! Routes of images.
//!
//! See decision 0174.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: the answer is written by a task of its own"
)]

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use holdfast_oci::Reference;
use tokio::sync::mpsc;

use super::app::App;
use super::extract::{LARGE, Params, Path, SMALL, json};
use super::lists::PageQuery;
use crate::adapters::registry::{self, Copying};
use crate::api::{
    CopyImage, CopyLine, DeletedImage, Image, ImageSummary, List, PushedImage, TagImage,
};
use crate::core::rights::Actor;
use crate::service::{Credentials, Failure};

/// Lists the images of the caller's tenant, in the order of their names and digests.
#[utoipa::path(get, path = "/api/v1/images", operation_id = "listImages", tag = "images", params(PageQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<ImageSummary>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<ImageSummary>>, Failure> {
    app.service.workloads.images(&actor, &query.query()).map(Json)
}

/// Stores an image under a name and a tag.
///
/// Its configurations and its uncompressed layers are pushed as artifacts before. Each configuration
/// must name the layers as its `diff_ids`.
#[utoipa::path(put, path = "/api/v1/images", operation_id = "putImage", tag = "images",
    request_body = PushedImage, security(("bearer" = [])),
    responses((status = 200, body = Image), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn put(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Json<Image>, Failure> {
    let image: PushedImage = json(body, LARGE).await?;
    app.service.workloads.push_image(&actor, &image).await.map(Json)
}

/// Returns one image with its layers.
#[utoipa::path(get, path = "/api/v1/images/{reference}", operation_id = "getImage", tag = "images",
    params(("reference" = String, Path, description = "`NAME[:TAG][@DIGEST]`, each `/` written as `%2F`")),
    security(("bearer" = [])),
    responses((status = 200, body = Image), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(reference): Path<String>,
) -> Result<Json<Image>, Failure> {
    app.service.workloads.image(&actor, &reference).map(Json)
}

/// Whether to delete what is in use.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    /// True: an image that workloads name is deleted too. Layers that they name stay.
    #[serde(default)]
    force: bool,
}

/// Deletes a tag, and the image with its last tag.
///
/// By a digest, it deletes the image with all of its tags. Layers that neither another image nor a
/// workload names are deleted with it.
#[utoipa::path(delete, path = "/api/v1/images/{reference}", operation_id = "deleteImage", tag = "images",
    params(("reference" = String, Path, description = "`NAME[:TAG][@DIGEST]`, each `/` written as `%2F`"), DeleteQuery),
    security(("bearer" = [])),
    responses((status = 200, body = DeletedImage), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(reference): Path<String>,
    Params(query): Params<DeleteQuery>,
) -> Result<Json<DeletedImage>, Failure> {
    app.service.workloads.delete_image(&actor, &reference, query.force).await.map(Json)
}

/// Gives an image another name, or another tag.
#[utoipa::path(post, path = "/api/v1/images/{reference}/tag", operation_id = "tagImage", tag = "images",
    params(("reference" = String, Path, description = "`NAME[:TAG][@DIGEST]`, each `/` written as `%2F`")),
    request_body = TagImage, security(("bearer" = [])),
    responses((status = 200, body = Image), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn tag(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(reference): Path<String>,
    body: Body,
) -> Result<Json<Image>, Failure> {
    let to: TagImage = json(body, SMALL).await?;
    app.service.workloads.tag_image(&actor, &reference, &to.name).await.map(Json)
}

/// Maximum number of lines that wait for a client. Further progress is left out.
const WAITING: usize = 16;

/// Copies an image from another registry.
///
/// The response is NDJSON: lines `{"progress"}` and, at the end, `{"result"}` or `{"failed"}`. Layers
/// that are here already are not fetched, so a copy that was cut goes on where it was. When the
/// client closes the connection, the copy ends.
#[utoipa::path(post, path = "/api/v1/images/copy", operation_id = "copyImage", tag = "images",
    request_body = CopyImage, security(("bearer" = [])),
    responses((status = 200, body = CopyLine, content_type = "application/x-ndjson"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn copy(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: CopyImage = json(body, SMALL).await?;
    let copying = copying(&app, actor, wanted)?;
    let (to, from) = mpsc::channel(WAITING);
    tokio::spawn(answer(app, copying, to));
    let body = Body::from_stream(stream::unfold(from, |mut from| async {
        from.recv().await.map(|line| (line, from))
    }));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Reads what is to be copied.
fn copying(app: &App, actor: Actor, wanted: CopyImage) -> Result<Copying, Failure> {
    let name =
        |text: &str| text.parse::<Reference>().map_err(|why| Failure::invalid(why.to_string()));
    let from = name(&wanted.from)?;
    let to = match &wanted.to {
        Some(to) => name(to)?,
        None => from.clone(),
    };
    let platforms = wanted.platforms.iter().map(|one| one.parse());
    let platforms = platforms.collect::<Result<Vec<_>, _>>();
    let platforms = platforms.map_err(|why| Failure::invalid(format!("platforms: {why}")))?;
    let named = app.service.workloads.may_copy(&actor, &wanted.from, wanted.secret.as_deref())?;
    let credentials = match (wanted.username, wanted.password, named) {
        (None, None, named) => named,
        (Some(username), Some(password), None) => Some(Credentials { username, password }),
        (Some(_), Some(_), Some(_)) => {
            return Err(Failure::invalid("a user and a secret: give one of them"));
        }
        _ => return Err(Failure::invalid("username and password: give both, or neither")),
    };
    let (ca, plain_http) = (wanted.ca, wanted.plain_http);
    let artifacts = Arc::clone(&app.artifacts);
    Ok(Copying { artifacts, actor, from, to, platforms, credentials, ca, plain_http })
}

type Line = Result<Bytes, std::io::Error>;

fn line(of: &CopyLine) -> Line {
    let mut text = serde_json::to_vec(of)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Runs a copy until it ends, the client has gone, or the control plane stops.
async fn answer(app: App, copying: Copying, to: mpsc::Sender<Line>) {
    let progress = to.clone();
    let told = Mutex::new(None);
    let running = registry::copy(&app.service.workloads, copying, move |so_far| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        // A client that is behind misses this line and gets a later one.
        if progress.capacity() > 1 && *told != Some(so_far) {
            *told = Some(so_far);
            drop(progress.try_send(line(&CopyLine::Progress(so_far))));
        }
    });
    let mut stop = app.stop.clone();
    tokio::select! {
        result = Box::pin(running) => {
            let last = match result {
                Ok(image) => CopyLine::Result(Box::new(image)),
                Err(why) => CopyLine::Failed(why.to_string()),
            };
            drop(to.send(line(&last)).await);
        }
        () = to.closed() => {}
        _ = stop.changed() => {
            let stops = std::io::Error::other("the control plane stops");
            drop(to.send(Err(stops)).await);
        }
    }
}
