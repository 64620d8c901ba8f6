//! Routes of enrolment and renewal. They need no credentials: token and key prove the request.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use holdfast_protocol::enrol::{
    EnrolAnswer, EnrolRequest, NonceAnswer, NonceRequest, RenewRequest,
};

use super::app::App;
use super::extract::{SMALL, json};
use crate::service::Failure;

/// Enrols a device.
///
/// A repeated request with the same key gives the same device.
#[utoipa::path(post, path = "/api/v1/enrol", operation_id = "enrol", tag = "enrolment",
    request_body(content = serde_json::Value, description = "`EnrolRequest` of PROTOCOL.md: token, name, labels, publicKey, sealingKey, proof"),
    responses((status = 200, body = serde_json::Value, description = "`EnrolAnswer` of PROTOCOL.md"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn enrol(
    State(app): State<App>,
    body: Body,
) -> Result<Json<EnrolAnswer>, Failure> {
    let request: EnrolRequest = json(body, SMALL).await?;
    app.service.enrolment.enrol(request).await.map(Json)
}

/// Renews the certificate of a known device, or says that the device still waits for approval.
#[utoipa::path(post, path = "/api/v1/renew", operation_id = "renew", tag = "enrolment",
    request_body(content = serde_json::Value, description = "`RenewRequest` of PROTOCOL.md: publicKey, nonce, sealingKey, proof"),
    responses((status = 200, body = serde_json::Value, description = "`EnrolAnswer` of PROTOCOL.md"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn renew(
    State(app): State<App>,
    body: Body,
) -> Result<Json<EnrolAnswer>, Failure> {
    let request: RenewRequest = json(body, SMALL).await?;
    app.service.enrolment.renew(request).await.map(Json)
}

/// Gives a nonce that the next renewal of a key is signed with.
///
/// It is good once, within a minute, and at this control plane.
#[utoipa::path(post, path = "/api/v1/renew/nonce", operation_id = "drawNonce", tag = "enrolment",
    request_body(content = serde_json::Value, description = "`NonceRequest` of PROTOCOL.md: publicKey"),
    responses((status = 200, body = serde_json::Value, description = "`NonceAnswer` of PROTOCOL.md"),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn nonce(
    State(app): State<App>,
    body: Body,
) -> Result<Json<NonceAnswer>, Failure> {
    let request: NonceRequest = json(body, SMALL).await?;
    app.service.enrolment.nonce(&request).map(Json)
}
