//! Routes of artifacts, which are streamed in and out.
//!
//! See decision 0097.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use holdfast_base::ids::Digest;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::app::App;
use super::extract::{Params, Path};
use super::lists::PageQuery;
use crate::adapters::artifacts::Upload;
use crate::adapters::deltas::{Answer, MOST_BASES};
use crate::api::{ArtifactOfTenant, List, StoredArtifact};
use crate::core::rights::Actor;
use crate::service::Failure;

/// Time without a byte after which an upload is given up.
const STALL: Duration = Duration::from_secs(60);

/// Number of bytes that are read from the disk at once.
const PIECE: usize = 64 * 1024;

/// Writes a request's body to disk, at most `most` bytes.
pub(super) async fn take(
    mut body: Body,
    upload: &mut Upload,
    most: u64,
    what: &str,
) -> Result<(), Failure> {
    loop {
        let frame = tokio::time::timeout(STALL, body.frame()).await;
        let frame = match frame.map_err(|_| Failure::invalid("the body did not come in time"))? {
            None => return Ok(()),
            Some(frame) => frame.map_err(|error| {
                Failure::invalid(format!("the body did not come whole: {error}"))
            })?,
        };
        if let Ok(bytes) = frame.into_data() {
            let size = upload.write(&bytes).await.map_err(disk)?;
            if size > most {
                return Err(Failure::TooLarge(format!("{what} may have {most} bytes at most")));
            }
        }
    }
}

pub(super) fn disk(error: std::io::Error) -> Failure {
    Failure::Unavailable(format!("the control plane's disk: {error}"))
}

/// Stores an artifact, which is the request's body.
///
/// The response contains the digest by which workloads refer to it.
#[utoipa::path(put, path = "/api/v1/artifacts", operation_id = "putArtifact", tag = "artifacts",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    security(("bearer" = [])),
    responses((status = 200, body = StoredArtifact), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn put(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StoredArtifact>, Failure> {
    let most = app.artifacts.max;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|size| size > most) {
        return Err(Failure::TooLarge(format!("an artifact may have {most} bytes at most")));
    }
    let room = app.service.workloads.artifact_room(&actor, announced)?;
    let mut upload = app.artifacts.begin().await.map_err(disk)?;
    let fits = room.map_or(most, |(left, _)| left.min(most));
    take(body, &mut upload, fits, "an artifact").await.map_err(|failure| {
        match (failure, room) {
            (Failure::TooLarge(_), Some((left, over))) if left < most => over.into(),
            (failure, _) => failure,
        }
    })?;
    let (temporary, digest, size) = upload.finish().await.map_err(disk)?;
    // Whose it is comes first: bytes that nobody has are never left behind. What a crash in between
    // leaves out is not stored, and pushed again.
    app.service.workloads.own_artifact(&actor, digest, size).await?;
    app.artifacts.adopt(&temporary, digest, size).map_err(disk)?;
    Ok(Json(StoredArtifact { digest: digest.to_string(), size }))
}

/// Lists the artifacts that the caller's tenant has pushed, in the order of their digests.
#[utoipa::path(get, path = "/api/v1/artifacts", operation_id = "listArtifacts", tag = "artifacts", params(PageQuery),
    security(("bearer" = [])),
    responses((status = 200, body = List<ArtifactOfTenant>), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(query): Params<PageQuery>,
) -> Result<Json<List<ArtifactOfTenant>>, Failure> {
    app.service.workloads.artifacts(&actor, &query.query()).map(Json)
}

/// Deletes an artifact that no revision of a workload names any more.
#[utoipa::path(delete, path = "/api/v1/artifacts/{digest}", operation_id = "deleteArtifact", tag = "artifacts",
    params(("digest" = String, Path, description = "`sha256:<64 hex>`")),
    security(("bearer" = [])),
    responses((status = 204), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn delete(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(digest): Path<String>,
) -> Result<StatusCode, Failure> {
    let digest: Digest =
        digest.parse().map_err(|error| Failure::invalid(format!("digest: {error}")))?;
    app.service.workloads.delete_artifact(&actor, &digest).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Part of an artifact that a `Range` header asks for.
enum Part {
    Whole,
    From(u64, u64),
    Unsatisfiable,
}

/// Reads a `Range` header with one range of bytes. Any other header is answered with the whole, as
/// RFC 9110 says.
fn part(headers: &HeaderMap, size: u64) -> Part {
    let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Part::Whole;
    };
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|text| text.split_once('-'))
    else {
        return Part::Whole;
    };
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(count)) if first.is_empty() && count > 0 && size > 0 => {
            (size.saturating_sub(count), size - 1)
        }
        (Err(_), Ok(_)) if first.is_empty() => return Part::Unsatisfiable,
        _ => return Part::Whole,
    };
    if first >= size { Part::Unsatisfiable } else { Part::From(first, last) }
}

/// Type of a response that is a delta.
const DELTA: &str = "application/vnd.holdfast.delta";

/// What a device has, and has to spare.
#[derive(Debug, serde::Deserialize)]
pub(super) struct DeltaQuery {
    from: Option<String>,
    memory: Option<u64>,
}

/// Bases that a device names: as many as are looked at.
fn bases(from: Option<&str>) -> Result<Vec<Digest>, Failure> {
    let named = from.into_iter().flat_map(|from| from.split(',')).filter(|one| !one.is_empty());
    let bases: Result<Vec<Digest>, _> = named.take(MOST_BASES + 1).map(str::parse).collect();
    let bases = bases.map_err(|error| Failure::invalid(format!("from: {error}")))?;
    if bases.len() > MOST_BASES {
        return Err(Failure::invalid(format!("from: {MOST_BASES} digests at most")));
    }
    Ok(bases)
}

/// Downloads an artifact, or one range of its bytes.
///
/// A device may download the artifacts of its own workloads. One that says how much memory it can
/// spare may get a delta instead, whose type is `application/vnd.holdfast.delta`: from one of the
/// artifacts that it has, or the artifact compressed.
#[utoipa::path(get, path = "/api/v1/artifacts/{digest}", operation_id = "getArtifact", tag = "artifacts",
    params(("digest" = String, Path, description = "`sha256:<64 hex>`"),
        ("from" = Option<String>, Query, description = "digests of artifacts that the device has, joined by commas, the best first, 8 at most"),
        ("memory" = Option<u64>, Query, description = "bytes of memory that the device can spare to apply a delta; without it the artifact comes as it is"),
        ("Range" = Option<String>, Header, description = "`bytes=FIRST-LAST`"),
        ("If-Range" = Option<String>, Header, description = "ETag of the delta that the range is of: with another one, it comes from its first byte")),
    security(("bearer" = []), ()),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 416, description = "no such part"),
        (status = 503, description = "`delta-not-ready`: ask again after the seconds of Retry-After", body = super::error::ErrorBody),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn get(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path(digest): Path<String>,
    Params(query): Params<DeltaQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let digest: Digest =
        digest.parse().map_err(|error| Failure::invalid(format!("digest: {error}")))?;
    app.service.workloads.may_fetch(&actor, &digest)?;
    let none = || Failure::no("artifact", &digest.to_string());
    let size = app.artifacts.size(&digest).ok_or_else(none)?;
    let mut bases = bases(query.from.as_deref())?;
    if let Some(memory) = query.memory {
        // A base that the tenant does not have is as one that nobody has.
        bases.retain(|base| app.service.workloads.has_artifact(&actor, base));
        match app.artifacts.deltas.ask(&bases, digest, memory) {
            Answer::Ready(path) => match delta(&path, &headers).await {
                Ok(response) => return Ok(response),
                // It went meanwhile.
                Err(error) => tracing::debug!(%error, "a delta cannot be read"),
            },
            Answer::Later(seconds) => {
                let message = format!("a delta to {digest} is being made: ask again");
                return Err(Failure::Later { message, seconds });
            }
            Answer::Whole => {}
        }
    }
    let file = tokio::fs::File::open(app.artifacts.path(&digest)).await.map_err(disk)?;
    send(file, size, part(&headers, size)).await.map_err(disk)
}

/// Sends the file of a delta.
async fn delta(path: &std::path::Path, headers: &HeaderMap) -> std::io::Result<Response> {
    let file = tokio::fs::File::open(path).await?;
    let meta = file.metadata().await?;
    let since = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Made again it has another time, and perhaps other bytes.
    let tag = format!("\"{:x}-{:x}\"", since.as_nanos(), meta.len());
    let other =
        headers.get(header::IF_RANGE).is_some_and(|value| value.as_bytes() != tag.as_bytes());
    let part = if other { Part::Whole } else { part(headers, meta.len()) };
    let mut response = send(file, meta.len(), part).await?;
    let sent = response.headers_mut();
    sent.insert(header::CONTENT_TYPE, HeaderValue::from_static(DELTA));
    if let Ok(tag) = tag.parse() {
        sent.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Sends a file, or a part of it.
async fn send(mut file: tokio::fs::File, size: u64, part: Part) -> std::io::Result<Response> {
    let (status, first, last) = match part {
        Part::Whole => (StatusCode::OK, 0, size),
        Part::From(first, last) => (StatusCode::PARTIAL_CONTENT, first, last + 1),
        Part::Unsatisfiable => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    file.seek(std::io::SeekFrom::Start(first)).await?;
    let length = last - first;
    let mut response = Body::from_stream(stream::unfold((file, length), piece)).into_response();
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {first}-{}/{size}", last - 1).parse()
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

type Reading = (tokio::fs::File, u64);

async fn piece((mut file, left): Reading) -> Option<(std::io::Result<Bytes>, Reading)> {
    if left == 0 {
        return None;
    }
    let most = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
    let mut buffer = BytesMut::with_capacity(most);
    match (&mut file).take(most as u64).read_buf(&mut buffer).await {
        Ok(0) => {
            let short = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            Some((Err(short), (file, 0)))
        }
        Ok(read) => Some((Ok(buffer.freeze()), (file, left.saturating_sub(read as u64)))),
        Err(error) => Some((Err(error), (file, 0))),
    }
}
