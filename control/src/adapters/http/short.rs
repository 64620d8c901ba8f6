//! Short responses for clients that ask again: a JSON response has an `ETag`, a client that sends
//! it back is told that nothing changed (304), and a client that accepts zstd gets the response
//! compressed. No state is stored: the tag is the digest of the body.
//!
//! See decision 0113.

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use holdfast_base::ids::hex;
use http_body_util::BodyExt as _;

use super::pages::accepts;
use crate::core::model::sha256;

/// Maximum size of a body that is processed, in bytes: a page of the longest list. Streamed bodies
/// have no size and pass unchanged.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Minimum size of a compressed body, in bytes. For a smaller one the additional headers weigh as
/// much.
const WORTH: usize = 256;

/// Compression level of zstd. It is fast, and within a tenth of what slower levels reach on JSON.
const LEVEL: i32 = 3;

/// Number of characters of the digest in an `ETag`: 64 bits, enough for a client that compares with
/// its own last response only.
const TAG: usize = 16;

/// Route whose responses hold a secret. They are never compressed, because their length would
/// reveal something of it.
const SECRET: &str = "/api/v1/session";

/// Middleware that adds the tag and compresses.
pub(super) async fn short(request: Request, next: Next) -> Response {
    let reads = request.method() == Method::GET && request.uri().path() != SECRET;
    let asked = reads.then(|| request.headers().clone());
    let response = next.run(request).await;
    match asked {
        Some(asked) if is_whole_json(&response) => shortened(&asked, response).await,
        _ => response,
    }
}

fn is_whole_json(response: &Response) -> bool {
    let json = HeaderValue::from_static("application/json");
    response.status() == StatusCode::OK
        && response.headers().get(header::CONTENT_TYPE) == Some(&json)
        && !response.headers().contains_key(header::CONTENT_ENCODING)
        && !response.headers().contains_key(header::ETAG)
        && response.body().size_hint().exact().is_some_and(|size| size <= LARGEST)
}

async fn shortened(asked: &HeaderMap, response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(whole) = body.collect().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let whole = whole.to_bytes();
    let tag: String = hex(&sha256(&whole)).chars().take(TAG).collect();
    // The tag is weak because it is the same in any encoding.
    let tag = format!("W/\"{tag}\"");
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        head.headers.insert(header::ETAG, tag);
    }
    head.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if known {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(head, Body::empty());
    }
    if whole.len() >= WORTH
        && accepts(asked, "zstd")
        && let Ok(packed) = zstd::bulk::compress(&whole, LEVEL)
    {
        head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        head.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(head, packed.into());
    }
    Response::from_parts(head, whole.into())
}
