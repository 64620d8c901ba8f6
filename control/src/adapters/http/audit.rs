//! Routes of the audit log as a chain: its verification, and its export.
//!
//! See decisions 0169 and 0170.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;

use super::app::App;
use super::extract::Params;
use crate::api::Verification;
use crate::core::rights::Actor;
use crate::service::{AuditLines, Failure};

/// Parameters of a verification.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyParams {
    /// True to ask the connected devices too, at most 1,000, for the checkpoints that they keep.
    #[serde(default)]
    witness: bool,
}

/// Verifies the audit log: its chain of hashes as it is on disk, the signed checkpoints and, if
/// asked, what connected devices have seen of it.
///
/// The first wrong entry is named. A device's answer takes a few hundred bytes of its link.
#[utoipa::path(get, path = "/api/v1/audit/verification", operation_id = "verifyAudit", tag = "system",
    params(VerifyParams), security(("bearer" = [])),
    responses((status = 200, body = Verification), (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn verify(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Params(VerifyParams { witness }): Params<VerifyParams>,
) -> Result<Json<Verification>, Failure> {
    app.service.audit().verify(&actor, witness).await.map(Json)
}

/// Returns the whole audit log as JSON lines that can be checked without a control plane.
///
/// The first line has the signed checkpoints (`AuditHead`), each further one an entry with its
/// hashes.
#[utoipa::path(get, path = "/api/v1/audit/export", operation_id = "exportAudit", tag = "system",
    security(("bearer" = [])),
    responses((status = 200, description = "JSON lines", content_type = "application/x-ndjson", body = String),
        (status = "4XX", body = super::error::ErrorBody)))]
pub(super) async fn export(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
) -> Result<Response, Failure> {
    let service = app.service;
    let begun = tokio::task::spawn_blocking(move || service.audit().export(&actor));
    let lines = begun.await.map_err(Failure::internal)??;
    let body = Body::from_stream(stream::unfold(Some(lines), |lines| async {
        let (piece, rest) = read(lines?).await;
        piece.map(|piece| (piece, rest))
    }));
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.ndjson\""),
    ];
    Ok((headers, body).into_response())
}

/// Reads the next lines. A response that fails ends without the last chunk, so that the client
/// notices.
async fn read(
    mut lines: AuditLines,
) -> (Option<Result<Bytes, std::io::Error>>, Option<AuditLines>) {
    let part = tokio::task::spawn_blocking(move || (lines.next_lines(), lines)).await;
    match part {
        Ok((Ok(Some(text)), lines)) => (Some(Ok(text.into())), Some(lines)),
        Ok((Ok(None), _)) => (None, None),
        Ok((Err(failure), _)) => {
            tracing::error!(%failure, "the audit log was not read to its end");
            (Some(Err(std::io::Error::other(failure.to_string()))), None)
        }
        Err(error) => (Some(Err(std::io::Error::other(error))), None),
    }
}
