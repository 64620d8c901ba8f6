//! Whether it works.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::App;

/// The process lives.
#[utoipa::path(get, path = "/healthz", operation_id = "getHealth", tag = "system", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// It serves devices and operators.
#[utoipa::path(get, path = "/readyz", operation_id = "getReady", tag = "system",
    responses((status = 200, body = String), (status = 503, body = String)))]
pub(super) async fn readyz(State(app): State<App>) -> (StatusCode, &'static str) {
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
