//! Routes of one device.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{Path, SMALL, json};
use crate::api::{Device, LabelPatch};
use crate::core::rights::Actor;
use crate::service::Failure;

type JsonResult<T> = Result<Json<T>, Failure>;

/// Returns the device with this name.
#[utoipa::path(get, path = "/api/v1/devices/{name}", operation_id = "getDevice", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Device), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> JsonResult<Device> {
    app.service.fleet.device(&actor, &name).map(Json)
}

/// Sets and removes labels of a device.
///
/// Workloads and policies are placed anew by the changed labels.
#[utoipa::path(patch, path = "/api/v1/devices/{name}", operation_id = "labelDevice", tag = "devices",
    params(("name" = String, Path)), request_body = LabelPatch, security(("bearer" = [])),
    responses((status = 200, body = Device), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn patch(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Body,
) -> JsonResult<Device> {
    let patch: LabelPatch = json(body, SMALL).await?;
    app.service.fleet.label(&actor, &name, patch).await.map(Json)
}

/// Deletes a device.
///
/// Its certificate is no longer accepted, its stored data is removed, and its name is free.
#[utoipa::path(delete, path = "/api/v1/devices/{name}", operation_id = "deleteDevice", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.fleet.delete_device(&actor, &name).await.map(|()| StatusCode::NO_CONTENT)
}

/// Approves a device that is pending.
#[utoipa::path(post, path = "/api/v1/devices/{name}/approve", operation_id = "approveDevice", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Device), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn approve(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> JsonResult<Device> {
    app.service.fleet.approve(&actor, &name).await.map(Json)
}

/// Revokes a device.
///
/// Its connection ends and no further one is accepted. Its workloads keep running.
#[utoipa::path(post, path = "/api/v1/devices/{name}/revoke", operation_id = "revokeDevice", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Device), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn revoke(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> JsonResult<Device> {
    app.service.fleet.revoke(&actor, &name).await.map(Json)
}
