//! One device.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::App;
use super::auth::Operator;
use super::extract::{Path, SMALL, json};
use crate::api::{Device, LabelPatch};
use crate::service::Failure;

type Answer<T> = Result<Json<T>, Failure>;

/// A device.
#[utoipa::path(get, path = "/api/v1/devices/{name}", operation_id = "getDevice", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Device), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn get(State(app): State<App>, Path(name): Path<String>) -> Answer<Device> {
    app.service.device(&name).map(Json)
}

/// Sets and removes labels; workloads follow.
#[utoipa::path(patch, path = "/api/v1/devices/{name}", operation_id = "labelDevice", tag = "devices",
    params(("name" = String, Path)), request_body = LabelPatch, security(("bearer" = [])),
    responses((status = 200, body = Device), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn patch(
    State(app): State<App>,
    Extension(Operator(by)): Extension<Operator>,
    Path(name): Path<String>,
    body: Body,
) -> Answer<Device> {
    let patch: LabelPatch = json(body, SMALL).await?;
    app.service.label(&name, patch, &by).await.map(Json)
}

/// Forgets a device: its certificate is of no use any more, its name is free.
#[utoipa::path(delete, path = "/api/v1/devices/{name}", operation_id = "deleteDevice", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(Operator(by)): Extension<Operator>,
    Path(name): Path<String>,
) -> Result<StatusCode, Failure> {
    app.service.delete_device(&name, &by).await.map(|()| StatusCode::NO_CONTENT)
}

/// Lets a device in that waits for it.
#[utoipa::path(post, path = "/api/v1/devices/{name}/approve", operation_id = "approveDevice", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Device), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn approve(
    State(app): State<App>,
    Extension(Operator(by)): Extension<Operator>,
    Path(name): Path<String>,
) -> Answer<Device> {
    app.service.approve(&name, &by).await.map(Json)
}

/// Shuts a device out; what it runs, runs on.
#[utoipa::path(post, path = "/api/v1/devices/{name}/revoke", operation_id = "revokeDevice", tag = "devices",
    params(("name" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Device), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn revoke(
    State(app): State<App>,
    Extension(Operator(by)): Extension<Operator>,
    Path(name): Path<String>,
) -> Answer<Device> {
    app.service.revoke(&name, &by).await.map(Json)
}
