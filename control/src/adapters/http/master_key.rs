//! Routes of the master key.

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};

use super::app::App;
use super::extract::{SMALL, json};
use crate::api::{MasterKey, RotateMasterKey};
use crate::core::rights::Actor;
use crate::service::Failure;

/// Describes the master key, without any key.
#[utoipa::path(get, path = "/api/v1/master-key", operation_id = "getMasterKey", tag = "system",
    security(("bearer" = [])),
    responses((status = 200, body = MasterKey), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<MasterKey>, Failure> {
    app.service.keys.master_key(&actor).map(Json)
}

/// Rotates the master key, while everything runs.
///
/// The data keys are wrapped anew in one transaction; on request there is a new data key as well, and
/// everything that is sealed is sealed again.
#[utoipa::path(post, path = "/api/v1/master-key/rotate", operation_id = "rotateMasterKey", tag = "system",
    request_body = RotateMasterKey, security(("bearer" = [])),
    responses((status = 200, body = MasterKey), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn rotate(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Json<MasterKey>, Failure> {
    let wanted: RotateMasterKey = json(body, SMALL).await?;
    app.service.keys.rotate(&actor, wanted).await.map(Json)
}
