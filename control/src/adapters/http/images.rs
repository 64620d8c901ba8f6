//! Routes of images.
//!
//! See decision 0174.

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{LARGE, Params, Path, SMALL, json};
use super::lists::PageQuery;
use crate::api::{DeletedImage, Image, ImageSummary, List, PushedImage, TagImage};
use crate::core::rights::Actor;
use crate::service::Failure;

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
