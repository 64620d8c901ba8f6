//! Whether it works, and what it is.
//! See decision 0099.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};

use super::App;
use crate::api::{About, Licences};
use crate::service::Failure;

/// The process lives.
#[utoipa::path(get, path = "/healthz", operation_id = "getHealth", tag = "system", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// It serves devices and operators.
#[utoipa::path(get, path = "/readyz", operation_id = "getReady", tag = "system",
    responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn readyz(State(app): State<App>) -> (StatusCode, Cow<'static, str>) {
    let (status, text) = ready(&app);
    if let Some(why) = app.service.refusing().filter(|_| status == StatusCode::OK) {
        let text = format!(
            "changes are refused: {why}. Free space on the control plane's disk, or see its log\n"
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text.into());
    }
    // Data may wait on devices: what else the control plane does, it does.
    match app.service.data_trouble().filter(|_| status == StatusCode::OK) {
        Some(trouble) => (status, format!("{text}but {trouble}\n").into()),
        None => (status, text.into()),
    }
}

fn ready(app: &App) -> (StatusCode, &'static str) {
    if *app.stop.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if app.service.is_closed() {
        (StatusCode::SERVICE_UNAVAILABLE, "nothing can be stored any more: see the log\n")
    } else if app.service.is_adrift() {
        (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read: see the log\n")
    } else if app.service.needs_restart() {
        (StatusCode::SERVICE_UNAVAILABLE, "restored with another CA: restart it\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// JSON Schema of the documents that can be applied, for editors.
#[utoipa::path(get, path = "/api/v1/schema.json", operation_id = "getSchema", tag = "system",
    responses((status = 200, body = serde_json::Value)))]
pub(super) async fn schema() -> Json<serde_json::Value> {
    Json(crate::core::admission::schema())
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "system", operation_id = "getOpenapi",
    responses((status = 200, body = serde_json::Value)))]
pub(super) async fn openapi(State(app): State<App>) -> Json<utoipa::openapi::OpenApi> {
    Json((*app.description).clone())
}

/// Which control plane this is.
#[utoipa::path(get, path = "/api/v1/about", operation_id = "getAbout", tag = "system", security(("bearer" = [])),
    responses((status = 200, body = About), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn about(State(app): State<App>) -> Result<Json<About>, Failure> {
    app.service.about().map(Json)
}

/// The certificate of its CA as PEM: public, so no token is needed. Whoever takes it on trust from
/// here compares its sha256 with the one that `holdfast serve` prints.
#[utoipa::path(get, path = "/api/v1/ca", operation_id = "getCa", tag = "system",
    responses((status = 200, body = String, content_type = "application/x-pem-file")))]
pub(super) async fn ca(State(app): State<App>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], app.service.ca_pem())
}

/// The crates that the programs are made of, and their licences.
#[utoipa::path(get, path = "/api/v1/licences", operation_id = "listLicences", tag = "system", security(("bearer" = [])),
    responses((status = 200, body = Licences), (status = "4XX", body = super::error_schema::ErrorBody)))]
pub(super) async fn licences() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], LICENCES)
}

/// Written from `cargo metadata` by the test that holds it current.
const LICENCES: &str = include_str!("licences.json");
