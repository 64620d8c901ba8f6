//! Routes of the control plane itself: health, description, version, CA and licences.
//!
//! See decision 0099.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::{Extension, Json};

use super::app::App;
use crate::api::{About, Licences};
use crate::core::rights::{Action, Actor};
use crate::service::{Failure, may};

/// Returns 200 while the process runs.
#[utoipa::path(get, path = "/healthz", operation_id = "getHealth", tag = "system", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Returns 200 while the control plane serves devices and operators.
///
/// The text says what is wrong otherwise, and also when data cannot be stored, which keeps the
/// status at 200.
#[utoipa::path(get, path = "/readyz", operation_id = "getReady", tag = "system",
    responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn readyz(State(app): State<App>) -> (StatusCode, Cow<'static, str>) {
    let (status, text) = ready(&app);
    if let Some(why) = app.service.documents.refusing().filter(|_| status == StatusCode::OK) {
        let text = format!(
            "changes are refused: {why}. Free space on the control plane's disk, or see its log\n"
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text.into());
    }
    // Trouble with data does not change the status: devices keep their data, and everything else
    // works.
    match app.service.data.data_trouble().filter(|_| status == StatusCode::OK) {
        Some(trouble) => (status, format!("{text}but {trouble}\n").into()),
        None => (status, text.into()),
    }
}

fn ready(app: &App) -> (StatusCode, &'static str) {
    if *app.stop.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if app.service.documents.check_held().is_err() {
        (StatusCode::SERVICE_UNAVAILABLE, "another control plane has taken over: this one stops\n")
    } else if app.service.documents.is_closed() {
        (StatusCode::SERVICE_UNAVAILABLE, "nothing can be stored any more: see the log\n")
    } else if app.service.documents.has_diverged() {
        (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read: see the log\n")
    } else if app.service.enrolment.needs_restart() {
        (StatusCode::SERVICE_UNAVAILABLE, "restored with another CA: restart it\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// Returns the JSON Schema of the documents that can be applied, for editors.
#[utoipa::path(get, path = "/api/v1/schema.json", operation_id = "getSchema", tag = "system",
    responses((status = 200, body = serde_json::Value)))]
pub(super) async fn schema() -> Json<serde_json::Value> {
    Json(crate::core::admission::schema())
}

/// Returns the OpenAPI document of this API.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "system", operation_id = "getOpenapi",
    responses((status = 200, body = serde_json::Value)))]
pub(super) async fn openapi(State(app): State<App>) -> Json<utoipa::openapi::OpenApi> {
    Json((*app.description).clone())
}

/// Returns the control plane's version, tenant, addresses and CA.
#[utoipa::path(get, path = "/api/v1/about", operation_id = "getAbout", tag = "system", security(("bearer" = [])),
    responses((status = 200, body = About), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn about(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<About>, Failure> {
    app.service.enrolment.about(&actor).map(Json)
}

/// Returns the CA certificate in PEM.
///
/// It is public, so no token is needed. A client that trusts the certificate must compare its
/// SHA-256 digest with the one that `holdfast serve` prints.
#[utoipa::path(get, path = "/api/v1/ca", operation_id = "getCa", tag = "system",
    responses((status = 200, body = String, content_type = "application/x-pem-file")))]
pub(super) async fn ca(State(app): State<App>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], app.service.enrolment.ca_pem())
}

/// Lists the crates that the programs are made of, with their licences.
#[utoipa::path(get, path = "/api/v1/licences", operation_id = "listLicences", tag = "system", security(("bearer" = [])),
    responses((status = 200, body = Licences), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn licences(
    Extension(actor): Extension<Actor>,
) -> Result<([(HeaderName, &'static str); 1], &'static str), Failure> {
    may(&actor, Action::ListLicences, "")?;
    Ok(([(header::CONTENT_TYPE, "application/json")], LICENCES))
}

/// Licences as JSON, written from `cargo metadata` by a test.
const LICENCES: &str = include_str!("licences.json");
