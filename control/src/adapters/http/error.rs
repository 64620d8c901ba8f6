//! Failures as HTTP responses: always the same JSON body, with a stable code.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use holdfast_protocol::enrol::{ApiError, ApiErrorBody};

use crate::api::{NO_STREAM, NOTHING_SHIPPED};
use crate::service::Failure;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let message = self.to_string();
        let wait = match &self {
            Self::TooMany { seconds, .. } => Some([(header::RETRY_AFTER, seconds.to_string())]),
            _ => None,
        };
        let (status, code, faults) = match self {
            Self::Invalid { faults, .. } if faults.is_empty() => {
                (StatusCode::BAD_REQUEST, "invalid", faults)
            }
            Self::Invalid { faults, .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", faults),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", Vec::new()),
            Self::NoStream(_) => (StatusCode::NOT_FOUND, NO_STREAM, Vec::new()),
            Self::NothingShipped(_) => (StatusCode::NOT_FOUND, NOTHING_SHIPPED, Vec::new()),
            Self::Refused(_) => (StatusCode::FORBIDDEN, "refused", Vec::new()),
            Self::Csrf(_) => (StatusCode::FORBIDDEN, "csrf", Vec::new()),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many", Vec::new()),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized", Vec::new()),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", Vec::new()),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", Vec::new()),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Vec::new()),
            Self::Internal(_) => {
                tracing::error!(error = message, "a request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", Vec::new())
            }
        };
        let error = ApiError { code: code.into(), message, faults };
        (status, wait, Json(ApiErrorBody { error })).into_response()
    }
}
