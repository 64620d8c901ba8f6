//! Headers that make another thing of a body than its bytes: nothing here decodes or pieces
//! together, so they are refused, never ignored.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::service::Failure;

/// Why a body with these headers is not what its bytes say. `documents`: it is a text.
fn fault(headers: &HeaderMap, documents: bool) -> Option<(StatusCode, String)> {
    let all = |name: header::HeaderName| {
        let values = headers.get_all(name).into_iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase())
    };
    if let Some(value) = all(header::CONTENT_ENCODING).find(|value| value != "identity") {
        let text = format!("Content-Encoding: {value}: send the body as it is, not compressed");
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    if let Some(value) = all(header::TRANSFER_ENCODING).find(|value| value != "chunked") {
        let text = format!("Transfer-Encoding: {value}: there is only chunked here");
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    if let Some(value) = all(header::CONTENT_RANGE).next() {
        let text = format!("Content-Range: {value}: send the whole body, there are no parts here");
        return Some((StatusCode::BAD_REQUEST, text));
    }
    let types: Vec<String> = all(header::CONTENT_TYPE).collect();
    let foreign = types.len() > 1 || types.iter().any(|value| !is_text(value));
    (documents && foreign).then(|| {
        let text = format!("Content-Type: {}: send JSON in UTF-8", types.join(", "));
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    })
}

/// Not a form of several parts, and in no other charset than UTF-8.
fn is_text(content_type: &str) -> bool {
    !content_type.starts_with("multipart/")
        && content_type.split(';').skip(1).all(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_matches('"');
            key.trim() != "charset" || matches!(value, "utf-8" | "utf8" | "us-ascii")
        })
}

/// Refuses what [`fault`] finds, whatever the route.
pub(super) async fn refused(request: Request, next: Next) -> Response {
    // These two take bytes, of whatever they are.
    let documents = !matches!(request.uri().path(), "/api/v1/artifacts" | "/api/v1/restore");
    let Some((status, text)) = fault(request.headers(), documents) else {
        return next.run(request).await;
    };
    let mut response = Failure::invalid(text).into_response();
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_another_thing_of_a_body_is_refused() {
        for (name, value, of_documents, of_bytes) in [
            ("content-encoding", "gzip", 415, 415),
            ("content-encoding", "identity, br", 415, 415),
            ("content-encoding", "Identity", 0, 0),
            ("content-range", "bytes 0-1/9", 400, 400),
            ("transfer-encoding", "gzip, chunked", 415, 415),
            ("transfer-encoding", "Chunked", 0, 0),
            ("content-type", "application/json", 0, 0),
            ("content-type", "application/json; Charset=\"UTF-8\"", 0, 0),
            ("content-type", "application/json;charset=utf-16", 415, 0),
            ("content-type", "multipart/form-data; boundary=x", 415, 0),
            ("content-type", "application/octet-stream", 0, 0),
        ] {
            for (documents, wanted) in [(true, of_documents), (false, of_bytes)] {
                let mut headers = HeaderMap::new();
                headers.insert(name, value.parse().unwrap());
                let found = fault(&headers, documents).map_or(0, |(status, _)| status.as_u16());
                assert_eq!(found, wanted, "{name}: {value}, {documents}");
            }
        }
    }
}
