//! Extractors of requests: bodies bounded in size and time, query parameters, and path parameters.
//! Each is refused with the API's own error.
//!
//! See decision 0099.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::api::words;
use crate::service::Failure;

/// Maximum size of an operator's large JSON documents, in bytes: some hundred workloads.
pub(super) const LARGE: usize = 16 * 1024 * 1024;

/// Maximum size of any other JSON document, in bytes.
pub(super) const SMALL: usize = 64 * 1024;

/// Time within which a JSON document must have arrived, whatever the link.
const BODY_TIME: Duration = Duration::from_secs(60);

/// Reads a body as a JSON object of at most `limit` bytes.
pub(super) async fn json<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Failure> {
    let bytes = object(body, limit).await?;
    serde_json::from_slice(&bytes).map_err(|error| not_json(&error))
}

/// Makes the failure of a body that is not the JSON asked for.
pub(super) fn not_json(error: &serde_json::Error) -> Failure {
    Failure::invalid(format!("the body is not the JSON asked for: {}", words::json(error)))
}

/// Reads a body of at most `limit` bytes that is an object, if it is JSON.
pub(super) async fn object(body: Body, limit: usize) -> Result<Bytes, Failure> {
    let bytes = read(body, limit).await?;
    // Serde would also take an object's values from a JSON array, which nobody means.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| *byte != b'{') {
        return Err(Failure::invalid("the body is not the JSON asked for: it is no object"));
    }
    Ok(bytes)
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Failure> {
    let reading = Limited::new(body, limit).collect();
    match tokio::time::timeout(BODY_TIME, reading).await {
        Err(_) => Err(Failure::invalid("the body did not come in time")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::TooLarge(format!("the body is larger than {limit} bytes")))
        }
        Ok(Err(error)) => Err(Failure::invalid(format!("the body did not come whole: {error}"))),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
    }
}

/// Query parameters of a request.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failure;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, Failure>> + Send {
        let found = Query::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|error| Failure::invalid(format!("query: {}", error.body_text())));
        std::future::ready(found)
    }
}

/// Path parameters of a request.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|error| Failure::invalid(format!("path: {}", error.body_text())))
    }
}
