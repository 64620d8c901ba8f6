//! Routes of the volumes of a device's containers.
//!
//! See decision 0180.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Path, json};
use crate::api::{List, RestoreVolume, StoredArtifact, Volume};
use crate::core::rights::Actor;
use crate::service::Failure;

/// Largest body of a request, in bytes: a digest.
const SMALL: usize = 4 * 1024;

/// Lists the volumes of a device's containers, as the device knows them now.
#[utoipa::path(get, path = "/api/v1/devices/{name}/volumes", operation_id = "listVolumes", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = List<Volume>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<List<Volume>>, Failure> {
    app.service.workloads.volumes(&actor, &name).await.map(Json)
}

/// Deletes a volume of a device for good. A volume that a container uses is not deleted.
#[utoipa::path(delete, path = "/api/v1/devices/{name}/volumes/{workload}/{volume}", operation_id = "deleteVolume", tag = "devices",
    params(("name" = String, Path), ("workload" = String, Path), ("volume" = String, Path)),
    security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, workload, volume)): Path<(String, String, String)>,
) -> Result<StatusCode, Failure> {
    app.service.workloads.delete_volume(&actor, &name, &workload, &volume).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has a device upload the content of a volume.
///
/// The response comes when it is uploaded: the artifact of this digest is a tar of the volume's files.
#[utoipa::path(post, path = "/api/v1/devices/{name}/volumes/{workload}/{volume}/backup", operation_id = "backVolumeUp", tag = "devices",
    params(("name" = String, Path), ("workload" = String, Path), ("volume" = String, Path)),
    security(("bearer" = [])),
    responses((status = 200, body = StoredArtifact), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn back_up(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, workload, volume)): Path<(String, String, String)>,
) -> Result<Json<StoredArtifact>, Failure> {
    app.service.workloads.back_volume_up(&actor, &name, &workload, &volume).await.map(Json)
}

/// Has a device replace the content of a volume by that of a tar.
///
/// The tar is an artifact. A volume that a container uses is not replaced: pause the workload first.
#[utoipa::path(post, path = "/api/v1/devices/{name}/volumes/{workload}/{volume}/restore", operation_id = "restoreVolume", tag = "devices",
    params(("name" = String, Path), ("workload" = String, Path), ("volume" = String, Path)),
    request_body = RestoreVolume, security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn restore(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, workload, volume)): Path<(String, String, String)>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let RestoreVolume { digest } = json(body, SMALL).await?;
    let which = (name.as_str(), workload.as_str(), volume.as_str());
    app.service.workloads.restore_volume(&actor, which, &digest).await?;
    Ok(StatusCode::NO_CONTENT)
}
