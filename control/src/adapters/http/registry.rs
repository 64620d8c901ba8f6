//! Read side of the OCI distribution API: engines and other tools pull images with an access token.
//!
//! Its errors have the form of that API. Nothing is pushed here: `PUT /api/v1/images` is.
//!
//! See decision 0174.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use holdfast_base::ids::Digest;
use holdfast_oci::{Repository, Wanted};
use serde::Deserialize;
use serde_json::json;

use super::app::App;
use super::artifacts::stored;
use super::auth::puller;
use super::extract::{Params, Path};
use super::noted::Said;
use crate::core::rights::{Action, Actor};
use crate::service::{Failure, may};

/// Header by which clients know the API.
const VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("docker-distribution-api-version"),
    HeaderValue::from_static("registry/2.0"),
);

/// Header with the digest of a response's document.
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Most tags of one response.
const MOST_TAGS: usize = 1_000;

/// Thing that a path of the API names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    /// Manifest or index, by tag or digest.
    Manifest(Repository, Wanted),
    /// Configuration or layer.
    Blob(Repository, Digest),
    /// Tags of a repository.
    Tags(Repository),
}

/// Reads a path behind `/v2/`. Names may have slashes, and parts that are words of the API.
fn asked(path: &str) -> Option<Asked> {
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some(Asked::Tags(name.parse().ok()?));
    }
    let (front, last) = path.rsplit_once('/')?;
    let (name, kind) = front.rsplit_once('/')?;
    let name: Repository = name.parse().ok()?;
    match kind {
        "manifests" => {
            let wanted = match last.parse::<Digest>() {
                Ok(digest) => Wanted::Digest(digest),
                Err(_) => Wanted::Tag(last.parse().ok()?),
            };
            Some(Asked::Manifest(name, wanted))
        }
        "blobs" => Some(Asked::Blob(name, last.parse().ok()?)),
        _ => None,
    }
}

/// Returns a failure in the form of the API. `missing` is the word for what is not there.
pub(super) fn refused(failure: &Failure, missing: &'static str) -> Response {
    let (status, code) = match failure {
        Failure::Unauthorized(_) | Failure::Csrf(_) | Failure::SecondFactor(_) => {
            (StatusCode::UNAUTHORIZED, "UNAUTHORIZED")
        }
        Failure::Refused(_) | Failure::Quota(_) => (StatusCode::FORBIDDEN, "DENIED"),
        Failure::NotFound(_) | Failure::NoStream(_) | Failure::NothingShipped(_) => {
            (StatusCode::NOT_FOUND, missing)
        }
        Failure::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        Failure::Invalid { .. } | Failure::Conflict(_) | Failure::TooLarge(_) => {
            (StatusCode::BAD_REQUEST, "NAME_INVALID")
        }
        Failure::Unavailable(_) | Failure::Later { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
        }
        Failure::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    };
    let message = failure.to_string();
    let body = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
    let mut response = (status, Extension(Said(message)), Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(VERSION.0, VERSION.1);
    if status == StatusCode::UNAUTHORIZED {
        let basic = HeaderValue::from_static(
            "Basic realm=\"holdfast: any user name, and an access token as password\"",
        );
        headers.insert(header::WWW_AUTHENTICATE, basic);
    }
    if let Failure::TooMany { seconds, .. } | Failure::Later { seconds, .. } = failure {
        headers.insert(header::RETRY_AFTER, (*seconds).into());
    }
    response
}

/// Response to a method that is not served below `/v2/`.
pub(super) fn not_served() -> Response {
    let text = "images are read here, and pushed by holdfast image push";
    let body = json!({ "errors": [{ "code": "UNSUPPORTED", "message": text, "detail": null }] });
    (StatusCode::METHOD_NOT_ALLOWED, [VERSION], Json(body)).into_response()
}

/// Middleware that admits callers with an access token, as a bearer token or as a password.
pub(super) async fn callers(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match puller(&app.service, &request) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(failure) => refused(&failure, "NAME_UNKNOWN"),
    }
}

/// Says that the OCI distribution API is served here, and that the caller is known.
#[utoipa::path(get, path = "/v2/", operation_id = "probeRegistry", tag = "images",
    security(("bearer" = [])),
    responses((status = 200, description = "the OCI distribution API is served"), (status = "4XX", description = "errors in the form of that API")))]
pub(super) async fn probe(Extension(actor): Extension<Actor>) -> Response {
    match may(&actor, Action::ProbeRegistry, "") {
        Ok(_permit) => ([VERSION], Json(json!({}))).into_response(),
        Err(failure) => refused(&failure, "NAME_UNKNOWN"),
    }
}

/// Page of a list of tags.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagsQuery {
    /// Most tags of the response, for `tags/list`.
    n: Option<usize>,
    /// Tag behind which the response begins, for `tags/list`.
    last: Option<String>,
    /// Registry that a mirror is asked for. It has no meaning here.
    #[serde(rename = "ns")]
    _ns: Option<String>,
}

/// Reads of the OCI distribution API: `NAME/manifests/REFERENCE`, `NAME/blobs/DIGEST` with `Range`,
/// and `NAME/tags/list`.
///
/// `NAME` is the name of a repository, with slashes. Manifests are those of raw twins: their layers
/// are uncompressed. With Basic authentication, the password is an access token.
#[utoipa::path(get, path = "/v2/{*path}", operation_id = "pullImage", tag = "images",
    params(("path" = String, Path, description = "`NAME/manifests/REFERENCE`, `NAME/blobs/DIGEST` or `NAME/tags/list`"), TagsQuery),
    security(("bearer" = [])),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", description = "errors in the form of that API")))]
pub(super) async fn pull(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(path): Path<String>,
    Params(query): Params<TagsQuery>,
    headers: HeaderMap,
) -> Response {
    let Some(asked) = asked(&path) else {
        let none = Failure::NotFound(format!("{path:.200} names nothing of a registry"));
        return refused(&none, "NAME_UNKNOWN");
    };
    let workloads = &app.service.workloads;
    let (answer, missing) = match asked {
        Asked::Manifest(name, wanted) => {
            let found = workloads.image_document(&actor, &name, &wanted);
            let response = found.map(|document| {
                let digest = document.digest.to_string();
                let kind = HeaderValue::from_static(document.media_type);
                let tag = format!("\"{digest}\"");
                let head = [(header::CONTENT_TYPE, kind)];
                (head, [(DIGEST, digest), (header::ETAG, tag)], document.bytes).into_response()
            });
            (response, "MANIFEST_UNKNOWN")
        }
        Asked::Blob(name, digest) => {
            let response = match workloads.may_read_blob(&actor, &name, &digest) {
                Ok(()) => stored(&app, &digest, &headers).await,
                Err(failure) => Err(failure),
            };
            let named = response.map(|it| ([(DIGEST, digest.to_string())], it).into_response());
            (named, "BLOB_UNKNOWN")
        }
        Asked::Tags(name) => {
            let tags = workloads.image_tags(&actor, &name);
            (tags.map(|tags| tag_page(&name, tags, &query)), "NAME_UNKNOWN")
        }
    };
    match answer {
        Ok(response) => ([VERSION], response).into_response(),
        Err(failure) => refused(&failure, missing),
    }
}

/// Returns a page of tags, with the address of the next one.
fn tag_page(name: &Repository, tags: Vec<String>, query: &TagsQuery) -> Response {
    let most = query.n.unwrap_or(MOST_TAGS).min(MOST_TAGS);
    let after = query.last.as_deref().unwrap_or_default();
    let mut left = tags.into_iter().filter(|tag| after.is_empty() || tag.as_str() > after);
    let page: Vec<String> = left.by_ref().take(most).collect();
    let next = match (left.next(), page.last()) {
        (Some(_), Some(last)) => {
            Some(format!("</v2/{name}/tags/list?n={most}&last={last}>; rel=\"next\""))
        }
        _ => None,
    };
    let body = Json(json!({ "name": name, "tags": page }));
    match next {
        Some(next) => ([(header::LINK, next)], body).into_response(),
        None => body.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:7c05fdfd7c05fdfd7c05fdfd7c05fdfd7c05fdfd7c05fdfd7c05fdfd7c05fdfd";

    #[test]
    fn paths_are_read_from_behind() {
        let name = |text: &str| text.parse::<Repository>().unwrap();
        let digest: Digest = DIGEST.parse().unwrap();
        let tag = |text: &str| Wanted::Tag(text.parse().unwrap());
        for (path, wanted) in [
            ("app/manifests/1.2".into(), Some(Asked::Manifest(name("app"), tag("1.2")))),
            ("a/b/c/manifests/latest".into(), Some(Asked::Manifest(name("a/b/c"), tag("latest")))),
            (
                format!("manifests/blobs/manifests/{DIGEST}"),
                Some(Asked::Manifest(name("manifests/blobs"), Wanted::Digest(digest))),
            ),
            (format!("a/b/blobs/{DIGEST}"), Some(Asked::Blob(name("a/b"), digest))),
            ("a/tags/list".into(), Some(Asked::Tags(name("a")))),
            ("tags/list/tags/list".into(), Some(Asked::Tags(name("tags/list")))),
            ("a/blobs/1".into(), None),
            ("a/manifests/".into(), None),
            ("A/manifests/1".into(), None),
            ("a/../b/manifests/1".into(), None),
            ("manifests/1".into(), None),
            ("_catalog".into(), None),
            ("a/uploads/1".into(), None),
        ] {
            let path: String = path;
            assert_eq!(asked(&path), wanted, "{path}");
        }
    }
}
