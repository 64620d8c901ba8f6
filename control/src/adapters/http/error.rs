//! Failures as HTTP responses: always the same JSON body, with a stable code.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use holdfast_protocol::enrol::{ApiError, ApiErrorBody};
use utoipa::ToSchema;

use super::noted::Said;
use crate::api::{ApiCode, ErrorDocument};
use crate::service::Failure;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let message = self.to_string();
        let wait = match &self {
            Self::TooMany { seconds, .. } | Self::Later { seconds, .. } => {
                Some([(header::RETRY_AFTER, seconds.to_string())])
            }
            _ => None,
        };
        let (code, faults) = match self {
            Self::Invalid { faults, .. } => (ApiCode::Invalid, faults),
            Self::NotFound(_) => (ApiCode::NotFound, Vec::new()),
            Self::NoStream(_) => (ApiCode::NoStream, Vec::new()),
            Self::NothingShipped(_) => (ApiCode::NothingShipped, Vec::new()),
            Self::Refused(_) => (ApiCode::Refused, Vec::new()),
            Self::Quota(_) => (ApiCode::Quota, Vec::new()),
            Self::Csrf(_) => (ApiCode::Csrf, Vec::new()),
            Self::TooMany { .. } => (ApiCode::TooMany, Vec::new()),
            Self::Unauthorized(_) => (ApiCode::Unauthorized, Vec::new()),
            Self::SecondFactor(_) => (ApiCode::SecondFactor, Vec::new()),
            Self::Conflict(_) => (ApiCode::Conflict, Vec::new()),
            Self::TooLarge(_) => (ApiCode::TooLarge, Vec::new()),
            Self::Later { .. } => (ApiCode::DeltaNotReady, Vec::new()),
            Self::Unavailable(_) => (ApiCode::Unavailable, Vec::new()),
            Self::Internal(_) => (ApiCode::Internal, Vec::new()),
        };
        if code == ApiCode::Internal {
            tracing::error!(error = message, "a request failed");
        }
        let status = if faults.is_empty() {
            StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        };
        let said = Extension(Said(message.clone()));
        let error = ApiError { code: code.as_str().into(), message, faults };
        (status, wait, said, Json(ApiErrorBody { error })).into_response()
    }
}

/// Body of every error response.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used; the values are protocol::enrol's")]
pub(crate) struct ErrorBody {
    error: ErrorDocument,
}
