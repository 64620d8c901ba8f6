//! Check of headers that give a body another meaning than its bytes. Nothing here decompresses or
//! combines bodies, so such requests are refused and the headers never ignored.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::service::Failure;

/// Returns why a body with these headers is not what its bytes say. `documents` is true when the
/// body must be text.
fn fault(headers: &HeaderMap, documents: bool) -> Option<String> {
    let all = |name: header::HeaderName| {
        let values = headers.get_all(name).into_iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase())
    };
    if let Some(value) = all(header::CONTENT_ENCODING).find(|value| value != "identity") {
        let text = format!("Content-Encoding: {value}: send the body as it is, not compressed");
        return Some(text);
    }
    if let Some(value) = all(header::TRANSFER_ENCODING).find(|value| value != "chunked") {
        let text = format!("Transfer-Encoding: {value}: there is only chunked here");
        return Some(text);
    }
    if let Some(value) = all(header::CONTENT_RANGE).next() {
        let text = format!("Content-Range: {value}: send the whole body, there are no parts here");
        return Some(text);
    }
    let types: Vec<String> = all(header::CONTENT_TYPE).collect();
    let foreign = types.len() > 1 || types.iter().any(|value| !is_text(value));
    (documents && foreign)
        .then(|| format!("Content-Type: {}: send JSON in UTF-8", types.join(", ")))
}

/// Returns true unless it is a multipart type or a charset other than UTF-8.
fn is_text(content_type: &str) -> bool {
    !content_type.starts_with("multipart/")
        && content_type.split(';').skip(1).all(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_matches('"');
            key.trim() != "charset" || matches!(value, "utf-8" | "utf8" | "us-ascii")
        })
}

/// Middleware that refuses the requests that [`fault`] rejects, on every route.
pub(super) async fn refused(request: Request, next: Next) -> Response {
    // These two routes take bytes of any kind.
    let documents = !matches!(request.uri().path(), "/api/v1/artifacts" | "/api/v1/restore");
    let Some(text) = fault(request.headers(), documents) else {
        return next.run(request).await;
    };
    let mut response = Failure::invalid(text).into_response();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_another_thing_of_a_body_is_refused() {
        for (name, value, of_documents, of_bytes) in [
            ("content-encoding", "gzip", true, true),
            ("content-encoding", "identity, br", true, true),
            ("content-encoding", "Identity", false, false),
            ("content-range", "bytes 0-1/9", true, true),
            ("transfer-encoding", "gzip, chunked", true, true),
            ("transfer-encoding", "Chunked", false, false),
            ("content-type", "application/json", false, false),
            ("content-type", "application/json; Charset=\"UTF-8\"", false, false),
            ("content-type", "application/json;charset=utf-16", true, false),
            ("content-type", "multipart/form-data; boundary=x", true, false),
            ("content-type", "application/octet-stream", false, false),
        ] {
            for (documents, wanted) in [(true, of_documents), (false, of_bytes)] {
                let mut headers = HeaderMap::new();
                headers.insert(name, value.parse().unwrap());
                let found = fault(&headers, documents).is_some();
                assert_eq!(found, wanted, "{name}: {value}, {documents}");
            }
        }
    }
}
