//! Serving of the pages of the dashboard. They hold nothing secret and are served to anyone; the
//! data that they show comes from the API.
//!
//! See decision 0035.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use holdfast_base::ids::hex;

use super::app::App;
use super::files::{File, Pages};
use crate::service::Failure;

/// Placeholder in `index.html` for the nonce.
const NONCE: &str = "__CSP_NONCE__";

/// Prefix of files whose names change with their content, so that browsers need not revalidate
/// them.
const HASHED: &str = "/assets/";

/// First parts of paths that are never a page, so that a mistyped API address gives an error.
const NOT_PAGES: [&str; 4] = ["api", "healthz", "readyz", "metrics"];

/// Handler of requests that no route takes: serves a file, the pages, or an error.
pub(super) async fn pages(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if NOT_PAGES.contains(&first) || !reads {
        let path: String = path.chars().take(80).collect();
        return Failure::NotFound(format!("there is no {path}: see /api/v1/openapi.json"))
            .into_response();
    }
    let mut response = match app.pages.files.get(path) {
        Some((file, tag)) => answer(file, tag, request.headers()),
        // A page of an older build requests a file that is gone; a page would be no answer to that.
        None if path.starts_with(HASHED) => {
            (StatusCode::NOT_FOUND, "there is no such file; load the page anew\n").into_response()
        }
        None => match app.service.enrolment.authority().random::<16>() {
            Ok(nonce) => index(&app.pages, &hex(&nonce)),
            Err(error) => Failure::internal(error).into_response(),
        },
    };
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (
            header::HeaderName::from_static("permissions-policy"),
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Serves the index page with a nonce of its own. It is never cached, because a cached page's nonce
/// would not match the response's policy.
fn index(pages: &Pages, nonce: &str) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    );
    let head = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (head, pages.index.replace(NONCE, nonce)).into_response()
}

/// Serves a file in the best encoding that the client accepts.
fn answer(file: &File, tag: &str, headers: &HeaderMap) -> Response {
    let (encoding, bytes) = match (&file.brotli, &file.gzip) {
        (Some(brotli), _) if accepts(headers, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(headers, "gzip") => (Some("gzip"), gzip),
        _ => (None, &file.plain),
    };
    let tag = format!("\"{tag}{}\"", encoding.map(|word| format!("-{word}")).unwrap_or_default());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = known.is_some_and(|known| {
        known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*")
    });
    let keep = if file.path.starts_with(HASHED) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, file.kind)];
        (kind, Body::from(bytes.clone())).into_response()
    };
    let head = response.headers_mut();
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    head.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(encoding) = encoding.filter(|_| !known) {
        head.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        head.insert(header::ETAG, tag);
    }
    response
}

/// Returns true when the client accepts this encoding: it is named, without a weight of zero.
pub(super) fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter();
    given.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|one| {
        let (word, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        word.trim().eq_ignore_ascii_case(encoding)
            && weight.parse::<f32>().is_ok_and(|weight| weight > 0.0)
    })
}
